"""A merchant's days: how each came out, account by account."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from app.db import reading, table_of
from app.errors import InvalidRequest, NotFound
from app.ids import is_id
from app.reconciliation import proof
from app.reconciliation.models import Discrepancy, Reconciliation
from app.reconciliation.proof import Summary
from app.reconciliation.states import DONE, DayState, ItemState

DAYS = 14
LIMIT_MAX = 100

_days, _items = table_of(Reconciliation), table_of(Discrepancy)


@dataclass(frozen=True, slots=True)
class AccountDay:
    """One account on one day.  ``row`` is that of the table."""

    row: Any
    summary: Summary
    open: int
    pooled: int

    @property
    def is_good(self) -> bool:
        return self.row.state in (DayState.MATCHED, DayState.EMPTY) and not self.open


@dataclass(frozen=True, slots=True)
class Day:
    """All accounts on one day."""

    day: date
    accounts: tuple[AccountDay, ...]

    @property
    def open(self) -> int:
        return sum(each.open for each in self.accounts)

    @property
    def is_done(self) -> bool:
        return all(each.row.state in DONE for each in self.accounts)

    @property
    def is_good(self) -> bool:
        return self.is_done and all(each.is_good for each in self.accounts)

    @property
    def lines(self) -> int:
        return sum(each.summary.lines for each in self.accounts)

    @property
    def matched(self) -> int:
        return sum(each.summary.matched for each in self.accounts)


def list_days(
    merchant_id: str, *, livemode: bool, before: date | None = None, limit: int = DAYS
) -> tuple[list[Day], bool]:
    """Days, newest first, and whether there are more."""
    mine = [_days.c.merchant_id == merchant_id, _days.c.livemode == livemode]
    which = sa.select(_days.c.day).where(*mine)
    if before is not None:
        which = which.where(_days.c.day < before)
    with reading() as connection:
        some = list(connection.scalars(which.distinct().order_by(_days.c.day.desc()).limit(limit + 1)))
        shown = some[:limit]
        rows = (
            list(connection.execute(sa.select(*_days.c).where(*mine, _days.c.day.in_(shown))))
            if shown
            else []
        )
        waiting = _waiting(connection, merchant_id, livemode, shown)
    return [_day(day, rows, waiting) for day in shown], len(some) > limit


def find_day(merchant_id: str, *, livemode: bool, day: date) -> Day:
    """One day.  Raises NotFound."""
    mine = (_days.c.merchant_id == merchant_id, _days.c.livemode == livemode, _days.c.day == day)
    with reading() as connection:
        rows = list(connection.execute(sa.select(*_days.c).where(*mine)))
        waiting = _waiting(connection, merchant_id, livemode, [day])
    if not rows:
        raise NotFound("no bill of this day has been looked for")
    return _day(day, rows, waiting)


def latest(merchant_id: str, *, livemode: bool) -> Day | None:
    """The last day that was gone through."""
    done = sa.select(sa.func.max(_days.c.day)).where(
        _days.c.merchant_id == merchant_id, _days.c.livemode == livemode, _days.c.finished_at.is_not(None)
    )
    with reading() as connection:
        day: date | None = connection.execute(done).scalar()
    return None if day is None else find_day(merchant_id, livemode=livemode, day=day)


def find(merchant_id: str, run_id: str, *, livemode: bool) -> sa.Row[Any]:
    """One account's day by its id.  Raises NotFound."""
    mine = (_days.c.merchant_id == merchant_id, _days.c.id == run_id[:40], _days.c.livemode == livemode)
    with reading() as connection:
        row = connection.execute(sa.select(*_days.c).where(*mine)).first()
    if row is None:
        raise NotFound("no such reconciliation")
    return row


def search(
    merchant_id: str,
    *,
    livemode: bool,
    day: date | None = None,
    account_id: str | None = None,
    starting_after: str | None = None,
    ending_before: str | None = None,
    limit: int = 10,
) -> tuple[list[sa.Row[Any]], bool]:
    """One page of accounts' days, newest first, and whether there is more in its direction.

    Raises InvalidRequest.
    """
    query = sa.select(*_days.c).where(_days.c.merchant_id == merchant_id, _days.c.livemode == livemode)
    for column, value in ((_days.c.day, day), (_days.c.account_id, account_id)):
        if value is not None:
            query = query.where(column == value)
    for name, cursor in (("starting_after", starting_after), ("ending_before", ending_before)):
        if cursor is not None and not is_id(cursor, "rec"):
            raise InvalidRequest("a cursor is the id of a reconciliation", param=name)
    if starting_after is not None:
        query = query.where(_days.c.id < starting_after)
    if ending_before is not None:
        query = query.where(_days.c.id > ending_before)
    is_backwards = ending_before is not None and starting_after is None
    order = _days.c.id.asc() if is_backwards else _days.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(min(limit, LIMIT_MAX) + 1)))
    shown = rows[:limit]
    return (shown[::-1] if is_backwards else shown), len(rows) > limit


def _day(day: date, rows: list[sa.Row[Any]], waiting: dict[tuple[date, str, str], int]) -> Day:
    mine = sorted((row for row in rows if row.day == day), key=lambda row: (row.provider, row.account_id))
    return Day(
        day,
        tuple(
            AccountDay(
                row,
                proof.read_stored(row.summary),
                waiting[day, row.account_id, ItemState.OPEN],
                waiting[day, row.account_id, ItemState.POOLED],
            )
            for row in mine
        ),
    )


def _waiting(
    connection: sa.Connection, merchant_id: str, livemode: bool, which: list[date]
) -> dict[tuple[date, str, str], int]:
    keys = (_items.c.day, _items.c.account_id, _items.c.state)
    found: dict[tuple[date, str, str], int] = defaultdict(int)
    if which:
        query = (
            sa.select(*keys, sa.func.count().label("items"))
            .where(
                _items.c.merchant_id == merchant_id,
                _items.c.livemode == livemode,
                _items.c.state != ItemState.RESOLVED,
                _items.c.day.in_(which),
            )
            .group_by(*keys)
        )
        for row in connection.execute(query):
            found[row.day, row.account_id, row.state] = row.items
    return found
