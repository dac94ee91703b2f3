"""A person asks: has this charge been paid?  Its provider says, through the door that callbacks use."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.charges import attempts, lifecycle
from app.charges.models import Attempt
from app.charges.states import AttemptState, ChargeState
from app.db import moment, table_of, transaction
from app.errors import ProviderRejected, ProviderUnreachable

ASKED_MAX = 5  # the newest tries: a call may take ten seconds, and somebody waits
ASK_EVERY = timedelta(seconds=3)

_attempts = table_of(Attempt)


class Answer(StrEnum):
    """What came of asking."""

    PAID = "asked_paid"
    NOTHING_NEW = "asked_nothing_new"
    SILENT = "asked_in_vain"  # no provider gave an answer of use
    NOBODY = "asked_nobody"  # nobody has tried to pay
    JUST_ASKED = "asked_just_now"


def ask_now(merchant_id: str, charge_id: str) -> Answer:
    """Query each try of a charge that has not brought money, also one that was closed.

    Money that came after a close is taken by the same rules as if a callback had told of it.  Raises
    NotFound.
    """
    charge = lifecycle.find(merchant_id, charge_id)
    tries = [
        attempt
        for attempt in attempts.list_attempts(merchant_id, charge.id)
        if attempt.state not in (AttemptState.SUCCEEDED, AttemptState.MISMATCHED)
    ][-ASKED_MAX:]
    if not tries:
        return Answer.NOBODY
    mine = [attempt for attempt in tries if _take_turn(attempt)]
    if not mine:
        return Answer.JUST_ASKED
    answered = sum([_ask(attempt) for attempt in mine])
    if lifecycle.find(merchant_id, charge.id).state == ChargeState.PAID != charge.state:
        return Answer.PAID
    return Answer.NOTHING_NEW if answered else Answer.SILENT


def _ask(attempt: sa.Row[Any]) -> bool:
    """Whether the provider gave an answer."""
    try:
        attempts.ask(attempt)
    except (ProviderUnreachable, ProviderRejected):
        return False
    return True


def _take_turn(attempt: sa.Row[Any]) -> bool:
    """However often and by however many the button is pressed, a provider hears of it every few seconds."""
    with transaction() as tx:
        now: datetime = moment(tx)
        taken = tx.execute(
            sa.update(_attempts)
            .where(
                _attempts.c.merchant_id == attempt.merchant_id,
                _attempts.c.id == attempt.id,
                sa.or_(_attempts.c.asked_at.is_(None), _attempts.c.asked_at <= now - ASK_EVERY),
            )
            .values(asked_at=now)
        )
    return taken.rowcount == 1
