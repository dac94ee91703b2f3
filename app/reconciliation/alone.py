"""What our ledger has of a day and no bill: found by going through the ledger, entry by entry.

So near midnight that the neighbour's bill may have it, a thing waits in the pool for that bill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt, Refund
from app.db import is_among, reading, table_of, transaction
from app.ledger import accounts as chart
from app.ledger.events import Event
from app.ledger.models import Entry
from app.merchants.accounts import OpenAccount
from app.reconciliation import days, items, matching, news
from app.reconciliation.asking import Answers
from app.reconciliation.books import WENT_BACK
from app.reconciliation.items import Item
from app.reconciliation.lines import SLICE, subject_of
from app.reconciliation.models import BillRow, Discrepancy, Reconciliation
from app.reconciliation.states import OURS_ALONE, DayState, ItemState, Resolution, Sort

_attempts, _refunds, _entries = table_of(Attempt), table_of(Refund), table_of(Entry)
_lines, _days, _items = table_of(BillRow), table_of(Reconciliation), table_of(Discrepancy)

MOVES = (Event.PAYMENT, *WENT_BACK)
_PLACE = sa.tuple_(_entries.c.posted_at, _entries.c.cause_id)
_ENTRIES: sa.Select[Any] = (
    sa.select(
        *(_entries.c.cause_id, _entries.c.event, _entries.c.amount_minor, _entries.c.currency),
        *(_entries.c.attempt_id, _entries.c.charge_id, _entries.c.posted_at),
        *(_attempts.c.out_trade_no, _attempts.c.provider_ref, _refunds.c.out_refund_no),
    )
    .select_from(
        _entries.join(
            _attempts,
            sa.and_(
                _attempts.c.merchant_id == _entries.c.merchant_id, _attempts.c.id == _entries.c.attempt_id
            ),
        ).outerjoin(
            _refunds,
            sa.and_(_refunds.c.merchant_id == _entries.c.merchant_id, _refunds.c.id == _entries.c.cause_id),
        )
    )
    .where(
        _entries.c.merchant_id == sa.bindparam("merchant_id"),
        _entries.c.livemode == sa.bindparam("livemode"),
        _entries.c.posted_at >= sa.bindparam("begins", type_=_entries.c.posted_at.type),
        _entries.c.posted_at < sa.bindparam("ends", type_=_entries.c.posted_at.type),
        sa.or_(_entries.c.debit == sa.bindparam("account"), _entries.c.credit == sa.bindparam("account")),
        _entries.c.event.in_(list(MOVES)),
    )
    .order_by(_entries.c.posted_at, _entries.c.cause_id)
    .limit(SLICE)
)
_AFTER = _ENTRIES.where(
    sa.tuple_(sa.bindparam("after_at", type_=_entries.c.posted_at.type), sa.bindparam("after_id")) < _PLACE
)
_LINES_OF: sa.Select[Any] = sa.select(*_lines.c).where(
    _lines.c.merchant_id == sa.bindparam("merchant_id"),
    _lines.c.account_id == sa.bindparam("account_id"),
    is_among(_lines.c.subject, "subjects"),
)


def look_for_missing(account: OpenAccount, run: Any, hold: Callable[[], None]) -> None:
    """Write down what was booked on a day and is on no bill; a line that waited for it is judged again."""
    is_read = {at: _is_read(run, run.day + timedelta(days=at)) for at in (-1, 1)}
    for entries in slices(account, run.day):
        hold()
        ours = {_subject(each): each for each in entries}
        with reading() as connection:
            lines = _lines_of(connection, run, list(ours))
        _judge_again(account, run, [line for line in lines if line.here_day is None])
        with transaction() as tx:
            # Whoever goes through the same day at once (a person by hand, the worker) waits here, and then
            # sees what the first has written down instead of writing it down, too.
            tx.execute(_run_of(run, run.day).with_for_update())
            billed = {
                line.subject
                for line in _lines_of(tx, run, list(ours))
                if line.cause_id is not None and line.verdict != Sort.DUPLICATE
            }
            known = items.known_of(tx, run, ours)
            kept = {row.subject: row.sort for row in known if row.day == run.day and _stays_so(row)}
            found = [
                _missing(account, run, subject, entry, is_read, kept.get(subject))
                for subject, entry in ours.items()
                if subject not in billed
            ]
            ended = [row for row in known if row.sort in OURS_ALONE and row.subject in billed]
            items.end(tx, [(row, Resolution.HEALED) for row in ended])
            news.tell_opened(tx, run, items.write(tx, run, found, known))


def cross_out_gone(run: Any, hold: Callable[[], None]) -> None:
    """A later file of the day has not all the lines that the first had: what was wrong with those is over."""
    last = ""
    while True:
        query = (
            sa.select(*_items.c)
            .where(
                _items.c.merchant_id == run.merchant_id,
                _items.c.account_id == run.account_id,
                _items.c.day == run.day,
                _items.c.state != ItemState.RESOLVED,
                _items.c.sort.not_in(list(OURS_ALONE)),
                _items.c.id > last,
            )
            .order_by(_items.c.id)
            .limit(SLICE)
        )
        with reading() as connection:
            rows = list(connection.execute(query))
            lines = _lines_of(connection, run, [_base(row) for row in rows]) if rows else []
        if not rows:
            return
        hold()
        there = {(line.subject, line.number) for line in lines if line.day == run.day}
        subjects = {subject for subject, _ in there}
        gone = [
            row
            for row in rows
            if (_base(row), row.line) not in there and ("#" in row.subject or _base(row) not in subjects)
        ]
        with transaction() as tx:
            items.end(tx, [(row, Resolution.HEALED) for row in gone])
        last = rows[-1].id


def slices(account: OpenAccount, day: date) -> Iterator[list[sa.Row[Any]]]:
    """The ledger's entries of an account's payments and refunds on a day, oldest first."""
    begins, ends = days.span_of(account.provider.info.bill_cut, day)
    which: dict[str, Any] = {
        "merchant_id": account.merchant_id,
        "livemode": account.livemode,
        "account": chart.clearing(account.id),
        "begins": begins,
        "ends": ends,
    }
    query = _ENTRIES
    while True:
        with reading() as connection:
            rows = list(connection.execute(query, which))
        if rows:
            yield rows
        if len(rows) < SLICE:
            return
        query = _AFTER
        which |= {"after_at": rows[-1].posted_at, "after_id": rows[-1].cause_id}


def has_moves(account: OpenAccount, day: date) -> bool:
    """Whether our books have anything of this day."""
    return next(slices(account, day), None) is not None


def _judge_again(account: OpenAccount, run: Any, lines: Sequence[Any]) -> None:
    """What is booked now was not when these lines were read, each on its own day."""
    by_day: dict[date, list[Any]] = defaultdict(list)
    for line in lines:
        by_day[line.day].append(line)
    for day, some in by_day.items():
        with transaction() as tx:
            its_run = run if day == run.day else tx.execute(_run_of(run, day)).first()
            if its_run is not None:
                matching.judge_lines(tx, account, its_run, some, Answers())


def _missing(
    account: OpenAccount, run: Any, subject: str, entry: Any, is_read: dict[int, bool], kept: str | None
) -> Item:
    is_refund = entry.event in WENT_BACK
    sort = Sort.REFUND_MISSING if is_refund else Sort.MISSING_THERE
    cut = account.provider.info.bill_cut
    begins, ends = days.span_of(cut, run.day)
    neighbour = -1 if entry.posted_at - begins < ends - entry.posted_at else 1
    waits = days.is_near_edge(cut, run.day, entry.posted_at) and not is_read[neighbour]
    if kept is not None:
        sort, waits = Sort(kept), kept == Sort.DAY_EDGE
    elif waits:
        sort = Sort.DAY_EDGE
    return Item(
        sort=sort,
        subject=subject,
        currency=entry.currency,
        detail="in our books, and on no bill" + (" yet: near the end of a day" if waits else ""),
        here_minor=-entry.amount_minor if is_refund else entry.amount_minor,
        out_trade_no=entry.out_trade_no,
        provider_ref=entry.provider_ref or "",
        attempt_id=entry.attempt_id,
        refund_id=entry.cause_id if is_refund else None,
        charge_id=entry.charge_id,
        state=ItemState.POOLED if waits else ItemState.OPEN,
    )


def _stays_so(row: Any) -> bool:
    """What has left the pool once does not go back: there is one item of a subject, day and sort."""
    return row.sort in OURS_ALONE and (row.sort != Sort.DAY_EDGE or row.resolution != Resolution.HEALED)


def _subject(entry: Any) -> str:
    if entry.event in WENT_BACK:
        return subject_of("refund", entry.out_refund_no)
    return subject_of("payment", entry.out_trade_no)


def _base(row: Any) -> str:
    return str(row.subject.partition("#")[0])


def _lines_of(connection: Connection, run: Any, subjects: list[str]) -> list[sa.Row[Any]]:
    which = {"merchant_id": run.merchant_id, "account_id": run.account_id, "subjects": subjects}
    return list(connection.execute(_LINES_OF, which))


def _run_of(run: Any, day: date) -> sa.Select[Any]:
    return sa.select(*_days.c).where(
        _days.c.merchant_id == run.merchant_id, _days.c.account_id == run.account_id, _days.c.day == day
    )


def _is_read(run: Any, day: date) -> bool:
    """Whether that day's bill is in and was gone through."""
    with reading() as connection:
        row = connection.execute(_run_of(run, day)).first()
    return row is not None and row.state in (DayState.MATCHED, DayState.DIFFERS)
