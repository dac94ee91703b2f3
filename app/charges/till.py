"""A sale at the counter or at a cashier's desk: how its charge stands, in one word for big type.

The words are made of the charge's and its attempts' states, both moved by ``settle`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import attempts, counter, lifecycle, reversal, shifts
from app.charges.commands import NewCharge
from app.charges.states import AttemptState, ChargeState, Review
from app.db import moment, reading
from app.errors import Conflict
from app.merchants.actor import Actor
from app.providers.base import COUNTER

SALE_LIFE_S = 900  # nobody stands at a counter for longer


class Face(StrEnum):
    """What the screen says."""

    READY = "ready"  # nobody has tried yet
    PAYING = "paying"  # a shopper has scanned our code
    ASKING = "asking"  # a shopper's code was scanned, and the wallet asks for the password
    LEAVING = "leaving"  # that is given up: it ends without money, or its money goes back
    REFUSED = "refused"  # the wallet said no to the code
    NOTHING = "nothing"  # nobody confirmed in time
    PAID = "paid"
    HELD = "held"  # by a rule of the shop's, until a person has looked at it
    REVIEW = "review"  # money of another amount: a person decides
    OVER = "over"  # withdrawn, or its time is up


LIVE = frozenset({Face.READY, Face.PAYING, Face.ASKING, Face.LEAVING, Face.REFUSED, Face.NOTHING, Face.HELD})
# Where another code may be scanned for the same charge.
OPEN_TO_CODES = LIVE - {Face.ASKING, Face.HELD}


@dataclass(frozen=True, slots=True)
class Sale:
    """A charge on the screen.  ``left_s``: until what is asked is given up."""

    charge: sa.Row[Any]
    face: Face
    attempt: sa.Row[Any] | None
    left_s: int

    @property
    def is_live(self) -> bool:
        """Whether it may still change by itself."""
        return self.face in LIVE

    @property
    def takes_codes(self) -> bool:
        """Whether another code may be scanned."""
        return self.face in OPEN_TO_CODES

    @property
    def version(self) -> str:
        """A word that changes with everything the screen shows but the countdown."""
        return f"{self.face}-{self.attempt.id if self.attempt else ''}-{self.charge.state}"


def sell(tx: Connection, merchant_id: str, *, livemode: bool, new: NewCharge, by: Actor) -> sa.Row[Any]:
    """Make a charge as a person at the dashboard, in their shift if one is open.  A step.

    Raises Conflict and InvalidRequest as ``create_charge`` does.
    """
    shift_id = shifts.hold(tx, merchant_id, by, livemode=livemode)
    return lifecycle.create_charge(
        tx, merchant_id, livemode=livemode, new=replace(new, taken_by=by.name, shift_id=shift_id)
    )


def sale_of(merchant_id: str, charge_id: str, *, livemode: bool) -> Sale:
    """How a sale stands.  Raises NotFound."""
    charge = lifecycle.find(merchant_id, charge_id, livemode=livemode)
    tries = attempts.list_attempts(merchant_id, charge.id)
    with reading() as connection:
        now = moment(connection)
    face, attempt = face_of(charge.state, tries)
    if face in OPEN_TO_CODES and face is not Face.LEAVING and charge.review == Review.OPEN:
        face = Face.HELD
    ends = attempt.started_at + reversal.PATIENCE if attempt is not None else now
    return Sale(charge, face, attempt, max(0, _seconds(ends - now)) if face is Face.ASKING else 0)


def face_of(state: str, tries: Sequence[sa.Row[Any]]) -> tuple[Face, sa.Row[Any] | None]:
    """What the screen says, and of which attempt; ``tries`` run from the oldest to the newest.  Pure."""
    latest = tries[-1] if tries else None
    if state == ChargeState.PAID:
        return Face.PAID, next((each for each in tries if each.settles), latest)
    if any(each.state == AttemptState.MISMATCHED for each in tries):
        return Face.REVIEW, latest
    if state != ChargeState.PENDING:
        return Face.OVER, latest
    if latest is None:
        return Face.READY, None
    if latest.scene != COUNTER:
        return (Face.PAYING if latest.state == AttemptState.STARTED else Face.READY), latest
    if latest.state == AttemptState.STARTED:
        return (Face.ASKING if latest.given_up_at is None else Face.LEAVING), latest
    is_refused = latest.state == AttemptState.FAILED and latest.given_up_at is None
    return (Face.REFUSED if is_refused else Face.NOTHING), latest


def scanned_before(merchant_id: str, text: str) -> sa.Row[Any] | None:
    """The charge for which this code was scanned in the last minutes.  Raises InvalidRequest for no code."""
    known = counter.find_scanned(merchant_id, counter.read_code(text)[0])
    return None if known is None else lifecycle.find(merchant_id, known.charge_id)


def withdraw(merchant_id: str, charge_id: str, *, livemode: bool) -> bool:
    """Cancel the sale.  False if it is paid, or over.  Raises NotFound, ProviderUnreachable."""
    try:
        lifecycle.cancel_charge(merchant_id, charge_id, livemode=livemode)
    except Conflict:
        return False
    return True


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())
