"""How accounts do: left after failures in a row, tried again one payment at a time, returned to.

What fails is the account, never a shopper: no answer, the provider's own troubles, credentials that count
no more.  Nothing is written for a payment that begins well through an account that is well.  All of it is in
one row an account, so every process knows what one of them has learnt.

An account that was left is asked something harmless by the worker (``trial.py``), at growing gaps.  Once
it answers, one payment at a time may try it; the first that begins well brings the others back, and so does
an answer that still holds SURE_AFTER later: where payments are opened without a call, nothing else tells.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.merchants.models import AccountHealth, ProviderAccount
from app.merchants.routing import Standing

OPEN_AFTER = 3
RUN_WITHIN = timedelta(minutes=10)  # a failure this long after the last one begins a new run
# Between the harmless questions, after so many that failed and payments that did.
GAPS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 20, 40, 60, 120, 300))
SURE_AFTER = timedelta(seconds=60)
PROBE_LEASE = timedelta(seconds=30)  # a payment is begun in at most two calls of 10 s

_health, _accounts = table_of(AccountHealth), table_of(ProviderAccount)


def standing_of(left_at: datetime | None, next_probe_at: datetime | None, now: datetime) -> Standing:
    """How an account does for a payment now.  Pure."""
    if left_at is None:
        return Standing.WELL
    return Standing.DUE if next_probe_at is not None and next_probe_at <= now else Standing.LEFT


def gap_after(failed_probes: int) -> timedelta:
    """Until the worker asks again.  Pure."""
    return GAPS[min(failed_probes, len(GAPS) - 1)]


def note_failure(tx: Connection, merchant_id: str, account_id: str, reason: str) -> sa.Row[Any] | None:
    """A payment could not begin, through no fault of the shopper's.  A step.

    The row if that was enough: payments leave the account.
    """
    now = moment(tx)
    mine = _own(merchant_id, account_id)
    row = {
        "merchant_id": merchant_id,
        "account_id": account_id,
        "failures": 0,
        "failed_at": now,
        "reason": "",
        "failed_probes": 0,
    }
    tx.execute(insert_or_skip(tx, _health), row)
    is_old = sa.and_(_health.c.left_at.is_(None), _health.c.failed_at < now - RUN_WITHIN)
    noted = tx.execute(
        sa.update(_health)
        .where(*mine)
        .values(
            failures=sa.case((is_old, 1), else_=_health.c.failures + 1),
            failed_probes=sa.case((_health.c.left_at.is_(None), 0), else_=_health.c.failed_probes + 1),
            failed_at=now,
            reason=reason[:64],
            answers_since=None,
            next_probe_at=None,
        )
        .returning(_health.c.failures, _health.c.left_at)
    ).first()
    # None: another payment has just begun well, and took the row away.
    if noted is None or noted.left_at is not None or noted.failures < OPEN_AFTER:
        return None
    return tx.execute(sa.update(_health).where(*mine).values(left_at=now).returning(*_health.c)).one()


def be_patient(tx: Connection, merchant_id: str, account_id: str, often: int) -> None:
    """An account that payments have just left was left so often lately: ask it the later.  A step."""
    if often:
        tx.execute(sa.update(_health).where(*_own(merchant_id, account_id)).values(failed_probes=often))


def note_success(tx: Connection, merchant_id: str, account_id: str) -> sa.Row[Any] | None:
    """A payment began well through an account that had failed.  A step.

    The row as it was if the account had been left: payments return to it.
    """
    gone = tx.execute(sa.delete(_health).where(*_own(merchant_id, account_id)).returning(*_health.c)).first()
    return gone if gone is not None and gone.left_at is not None else None


def take_probe(merchant_id: str, account_id: str, seen: datetime) -> bool:
    """Whether this payment is the one that tries the account; whoever else saw the same moment is not."""
    with transaction() as tx:
        taken = tx.execute(
            sa.update(_health)
            .where(*_own(merchant_id, account_id), _health.c.next_probe_at == seen)
            .values(next_probe_at=moment(tx) + PROBE_LEASE)
        )
    return taken.rowcount == 1


def note_answer(tx: Connection, merchant_id: str, account_id: str, *, answers: bool) -> bool:
    """What the harmless question found.  A step.  Whether it is sure enough to return to the account."""
    now = moment(tx)
    mine = (*_own(merchant_id, account_id), _health.c.left_at.is_not(None))
    if not answers:
        values = {"failed_probes": _health.c.failed_probes + 1, "answers_since": None, "next_probe_at": None}
        tx.execute(sa.update(_health).where(*mine).values(values))
        return False
    from_now = sa.literal(now, _health.c.failed_at.type)
    row = tx.execute(
        sa.update(_health)
        .where(*mine)
        .values(
            answers_since=sa.func.coalesce(_health.c.answers_since, from_now),
            next_probe_at=sa.func.coalesce(_health.c.next_probe_at, from_now),
        )
        .returning(_health.c.answers_since)
    ).first()
    return row is not None and row.answers_since <= now - SURE_AFTER


def health_in(connection: Connection, merchant_id: str, account_id: str) -> sa.Row[Any] | None:
    """An account's row; None: it is well."""
    return connection.execute(sa.select(*_health.c).where(*_own(merchant_id, account_id))).first()


def ailing(merchant_id: str) -> dict[str, sa.Row[Any]]:
    """Every account of a merchant that has failed lately, by its id."""
    query = sa.select(*_health.c).where(_health.c.merchant_id == merchant_id)
    with reading() as connection:
        return {row.account_id: row for row in connection.execute(query)}


def list_left(connection: Connection) -> list[sa.Row[Any]]:
    """What payments have left, whoever's it is, the longest first; with ``provider`` and ``livemode``."""
    same = sa.and_(_accounts.c.merchant_id == _health.c.merchant_id, _accounts.c.id == _health.c.account_id)
    query = (
        sa.select(*_health.c, _accounts.c.provider, _accounts.c.livemode)
        .join(_accounts, same)
        .where(_health.c.left_at.is_not(None))
        .order_by(_health.c.left_at)
        .limit(50)
    )
    return list(connection.execute(query))


def _own(merchant_id: str, account_id: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _health.c.merchant_id == merchant_id, _health.c.account_id == account_id
