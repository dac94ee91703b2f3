"""Our side of a bill's lines: attempts and refunds by number, each with its entry in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt, Refund
from app.db import is_among, table_of
from app.ledger.events import Event
from app.ledger.models import Entry
from app.merchants.accounts import OpenAccount
from app.merchants.models import ProviderAccount
from app.reconciliation import days
from app.reconciliation.judge import Around, Ours
from app.reconciliation.lines import subject_of
from app.reconciliation.models import BillRow
from app.reconciliation.states import Sort

_attempts, _refunds, _accounts = table_of(Attempt), table_of(Refund), table_of(ProviderAccount)
_entries, _lines = table_of(Entry), table_of(BillRow)

WENT_BACK = (Event.REFUND_SUCCEEDED, Event.REFUND_CONTRADICTED)
_WITH_ATTEMPT = sa.and_(
    _attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id
)


def look_around(connection: Connection, account: OpenAccount, lines: Sequence[Any]) -> dict[int, Around]:
    """What is known of each of these lines of one day, by its number in the file."""
    cut, mine = account.provider.info.bill_cut, {"merchant_id": account.merchant_id, "account_id": account.id}
    payments = [line.out_trade_no for line in lines if line.kind == "payment" and line.out_trade_no]
    refunds = [_tail(line) for line in lines if line.kind == "refund"]
    ours: dict[str, Ours] = {}
    if payments:
        for row in connection.execute(_PAYMENTS, {**mine, "numbers": payments}):
            ours[subject_of("payment", row.out_trade_no)] = _ours(row, cut, "payment", row.out_trade_no)
    if refunds:
        for row in connection.execute(_REFUNDS, {**mine, "numbers": refunds}):
            ours[subject_of("refund", row.out_refund_no)] = _ours(row, cut, "refund", row.out_refund_no)
    found = {line.number: ours.get(line.subject) for line in lines}
    _find_reversals(connection, mine, cut, lines, found)
    lost = [line for line in lines if found[line.number] is None and line.out_trade_no]
    elsewhere = _elsewhere(connection, account, lost)
    taken = _taken(connection, mine, [each.subject for each in found.values() if each is not None])
    around = {}
    for line in lines:
        known = found[line.number]
        is_taken = known is not None and taken.setdefault(known.subject, (line.day, line.number)) != (
            line.day,
            line.number,
        )
        around[line.number] = Around(known, is_taken, line.subject in elsewhere)
    return around


def _ours(row: Any, cut: timedelta, kind: str, number: str) -> Ours:
    here_day: date | None = None if row.posted_at is None else days.day_of(cut, row.posted_at)
    return Ours(row, row.entry_minor, here_day, subject_of(kind, number))


def _find_reversals(
    connection: Connection, mine: dict[str, str], cut: timedelta, lines: Sequence[Any], found: dict[int, Any]
) -> None:
    """A payment by code that was reversed: its refund here has a number that no bill can know."""
    lost = [line for line in lines if line.kind == "refund" and found[line.number] is None]
    numbers = [line.out_trade_no for line in lost if line.out_trade_no]
    if not numbers:
        return
    reversed_ = {
        (row.out_trade_no, row.amount_minor): row
        for row in connection.execute(_REVERSALS, {**mine, "numbers": numbers})
    }
    for line in lost:
        row = reversed_.get((line.out_trade_no, -line.amount_minor))
        if row is not None:
            found[line.number] = _ours(row, cut, "refund", row.out_refund_no)


def _elsewhere(connection: Connection, account: OpenAccount, lost: Iterable[Any]) -> set[str]:
    """Which of these lines have a number that another account of the same provider gave out."""
    which = {"provider": account.provider.info.code, "account_id": account.id}
    numbers = {line.out_trade_no: line for line in lost}
    if not numbers:
        return set()
    theirs = set(connection.scalars(_ELSEWHERE, {**which, "numbers": list(numbers)}))
    return {line.subject for line in lost if line.out_trade_no in theirs}


def _taken(connection: Connection, mine: dict[str, str], subjects: list[str]) -> dict[str, tuple[date, int]]:
    """Which line is already about each of these subjects."""
    if not subjects:
        return {}
    rows = connection.execute(_TAKEN, {**mine, "subjects": subjects})
    return {row.subject: (row.day, row.number) for row in rows}


def _tail(line: Any) -> str:
    return str(line.subject.partition(":")[2])


def _own(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.merchant_id == sa.bindparam("merchant_id"),
        table.c.account_id == sa.bindparam("account_id"),
    )


def _with_entry(
    table: sa.Table, events: Sequence[Event], source: sa.FromClause, *more: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    entry = sa.and_(
        _entries.c.merchant_id == table.c.merchant_id,
        _entries.c.cause_id == table.c.id,
        _entries.c.event.in_(list(events)),
    )
    facts = (_entries.c.amount_minor.label("entry_minor"), _entries.c.posted_at)
    return sa.select(*table.c, *more, *facts).select_from(source.outerjoin(_entries, entry))


_PAYMENTS: sa.Select[Any] = _with_entry(_attempts, [Event.PAYMENT], _attempts).where(
    *_own(_attempts), is_among(_attempts.c.out_trade_no, "numbers")
)
_REFUNDS: sa.Select[Any] = _with_entry(
    _refunds, WENT_BACK, _refunds.join(_attempts, _WITH_ATTEMPT), _attempts.c.out_trade_no
).where(
    *_own(_attempts),
    _refunds.c.merchant_id == _attempts.c.merchant_id,
    is_among(_refunds.c.out_refund_no, "numbers"),
)
_REVERSALS: sa.Select[Any] = _with_entry(
    _refunds, WENT_BACK, _attempts.join(_refunds, _WITH_ATTEMPT), _attempts.c.out_trade_no
).where(
    *_own(_attempts),
    is_among(_attempts.c.out_trade_no, "numbers"),
    _attempts.c.given_up_at.is_not(None),
    _refunds.c.automatic,
)
_ELSEWHERE: sa.Select[Any] = sa.select(_attempts.c.out_trade_no).where(
    _attempts.c.account_id.in_(
        sa.select(_accounts.c.id).where(
            _accounts.c.provider == sa.bindparam("provider"), _accounts.c.id != sa.bindparam("account_id")
        )
    ),
    is_among(_attempts.c.out_trade_no, "numbers"),
)
_TAKEN: sa.Select[Any] = sa.select(_lines.c.subject, _lines.c.day, _lines.c.number).where(
    *_own(_lines),
    is_among(_lines.c.subject, "subjects"),
    _lines.c.cause_id.is_not(None),
    _lines.c.verdict != Sort.DUPLICATE,
)
