"""Giving up a payment by code: when that may be done, and that it is written down before it is done.

The network may have taken the money already, or take it this very moment.  So it is asked before and
after; and from the moment when an attempt is marked as given up, whatever money comes of it goes back
(``settle.py``), whoever hears of it first.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt
from app.charges.states import AttemptState
from app.db import moment, table_of, transaction
from app.errors import ProviderRejected, ProviderUnreachable
from app.providers.base import COUNTER, PaymentRef, Provider

# Source: WeChat Pay, 撤销订单: not sooner than 15 seconds after paying.  The others give no number.
NOT_BEFORE = timedelta(seconds=15)
# A shopper types a password for half a minute; the manuals end their loops after 30 to 45 seconds.
PATIENCE = timedelta(seconds=45)
POLL_EVERY = timedelta(seconds=5)

_attempts = table_of(Attempt)


def is_over(attempt: sa.Row[Any], now: datetime) -> bool:
    """Whether an open attempt by code is to be given up: somebody said so, or it took too long.  Pure."""
    if attempt.scene != COUNTER:
        return False
    return attempt.given_up_at is not None or now >= attempt.started_at + PATIENCE


def next_look(attempt: sa.Row[Any], now: datetime) -> datetime:
    """When to ask about an open attempt by code again.  Pure.

    Every few seconds while the shopper is asked; then as soon as it may be reversed; and when that came to
    nothing each time after half as long again as has passed since it began.
    """
    age = now - attempt.started_at
    if attempt.given_up_at is not None and age < NOT_BEFORE:
        return attempt.started_at + NOT_BEFORE
    if attempt.given_up_at is None and age < PATIENCE:
        return min(now + POLL_EVERY, attempt.started_at + PATIENCE)
    return now + max(age / 2, POLL_EVERY)


def give_up(tx: Connection, attempt: sa.Row[Any]) -> bool:
    """Mark an open attempt: its money goes back from now on.  A step.  False if it is not open any more."""
    marked = tx.execute(
        sa.update(_attempts)
        .where(
            _attempts.c.merchant_id == attempt.merchant_id,
            _attempts.c.id == attempt.id,
            _attempts.c.state == AttemptState.STARTED,
        )
        .values(given_up_at=sa.func.coalesce(_attempts.c.given_up_at, sa.bindparam("now", moment(tx))))
    )
    return marked.rowcount == 1


def reverse(attempt: sa.Row[Any], provider: Provider, ref: PaymentRef) -> None:
    """Have the network undo an open attempt, marked as given up before.  A query tells what came of it.

    Raises ProviderUnreachable, also while it is too early.
    """
    with transaction() as tx:
        early = attempt.started_at + NOT_BEFORE - moment(tx)
        if early > timedelta():
            raise ProviderUnreachable(
                "it is too early to reverse a payment by code",
                retry_after_s=math.ceil(early.total_seconds()),
            )
        if not give_up(tx, attempt):
            return
    with suppress(ProviderRejected):  # In a state that forbids it, which may mean undone: the query tells.
        provider.reverse(ref)
