"""Charges that a rule holds: a person with the right releases or refuses them, once, and says why.

A charge that nobody looks at ends by its deadline, like any other.  One that was released is judged by the
rules that block, but held no more; one that is refused is canceled in the same transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import attempts, lifecycle
from app.charges.models import Charge
from app.charges.present import charge_fact
from app.charges.states import ChargeState, Review
from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest
from app.merchants import audit
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.keys import NAME_PATTERN
from app.merchants.roles import Permission
from app.webhooks import types
from app.webhooks.outbox import emit

REASON_CHARS_MAX = 200
SHOWN_MAX = 100  # somebody who lets more of them pile up works from the oldest on

_REASON = re.compile(NAME_PATTERN)
_charges = table_of(Charge)
# As the partial index says it.
_IS_OPEN = _charges.c.review == sa.literal_column("'open'")


@retried
def release(merchant_id: str, charge_id: str, reason: str, *, by: Actor) -> sa.Row[Any]:
    """Let it be paid after all.  Raises PermissionDenied, NotFound, InvalidRequest, Conflict (it is over)."""
    by.require(Permission.RISK_WRITE)
    found, reason = lifecycle.find(merchant_id, charge_id), _checked(reason)
    with transaction() as tx:
        charge = _close(tx, found, Review.RELEASED, reason, by)
        audit.append(tx, merchant_id, by, Action.REVIEW_RELEASED, charge.id, after={"reason": reason})
    return charge


@retried
def refuse(merchant_id: str, charge_id: str, reason: str, *, by: Actor) -> sa.Row[Any]:
    """Cancel it.  Raises PermissionDenied, NotFound, InvalidRequest, Conflict, ProviderUnreachable.

    What somebody had begun before it was held is closed at its provider first.
    """
    by.require(Permission.RISK_WRITE)
    found, reason = lifecycle.find(merchant_id, charge_id), _checked(reason)
    retired = attempts.retire_all(merchant_id, found.id)
    with transaction() as tx:
        charge = _close(tx, found, Review.REFUSED, reason, by)
        canceled = lifecycle.close_charge(tx, merchant_id, charge.id, ChargeState.CANCELED, retired=retired)
        audit.append(tx, merchant_id, by, Action.REVIEW_REFUSED, charge.id, after={"reason": reason})
    return canceled or charge


DECIDING: dict[str, Callable[..., sa.Row[Any]]] = {"release": release, "refuse": refuse}


def list_waiting(merchant_id: str, *, livemode: bool) -> list[sa.Row[Any]]:
    """The charges that wait for somebody, the oldest first."""
    query = sa.select(*_charges.c).where(*_waiting(merchant_id, livemode)).order_by(_charges.c.id)
    with reading() as connection:
        return list(connection.execute(query.limit(SHOWN_MAX)))


def count_waiting(merchant_id: str, *, livemode: bool) -> int:
    """How many there are."""
    query = sa.select(sa.func.count()).select_from(_charges).where(*_waiting(merchant_id, livemode))
    with reading() as connection:
        return int(connection.execute(query).scalar_one())


def _waiting(merchant_id: str, livemode: bool) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _charges.c.merchant_id == merchant_id,
        _charges.c.livemode == livemode,
        _IS_OPEN,
        _charges.c.state == ChargeState.PENDING,
    )


def _close(tx: Connection, charge: sa.Row[Any], to: Review, reason: str, by: Actor) -> sa.Row[Any]:
    """OPEN -> RELEASED or REFUSED, with its event.  A step.  Raises Conflict if somebody was faster."""
    closed = (
        sa.update(_charges)
        .where(*_waiting(charge.merchant_id, charge.livemode), _charges.c.id == charge.id)
        .values(
            review=to,
            review_closed_at=moment(tx),
            review_by=by.name[:254],
            review_reason=reason,
            sequence=_charges.c.sequence + 1,
        )
        .returning(*_charges.c)
    )
    moved = tx.execute(closed).first()
    if moved is None:
        raise Conflict("this charge waits for nobody any more", code="review_closed")
    emit(tx, charge_fact(types.CHARGE_REVIEW_CLOSED, moved))
    return moved


def _checked(reason: str) -> str:
    reason = reason.strip()
    if len(reason) > REASON_CHARS_MAX or not _REASON.fullmatch(reason):
        raise InvalidRequest(f"a reason has 1 to {REASON_CHARS_MAX} characters", param="reason")
    return reason
