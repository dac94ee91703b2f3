"""A day or a month of the ledger as an accountant reads it: what came, what went, what is left, and where.

Days are the merchant's: midnight to midnight in Beijing.  Everything is summed up from entries alone; a
statement of one store is made of the entries of charges that were begun there.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Charge
from app.charges.overview import start_of
from app.db import reading, snapshot, table_of
from app.errors import InvalidRequest
from app.ledger.accounts import Kind, balance_of, kind_of, owner_of
from app.ledger.events import Event
from app.ledger.models import Entry

_PERIOD = re.compile(r"20\d\d-\d\d(-\d\d)?", re.ASCII)
_BATCH = 1000

_entries, _charges = table_of(Entry), table_of(Charge)
_WITH_CHARGE = _entries.outerjoin(
    _charges,
    sa.and_(_charges.c.merchant_id == _entries.c.merchant_id, _charges.c.id == _entries.c.charge_id),
)


@dataclass(frozen=True, slots=True)
class Period:
    """A day (``2026-01-15``) or a month (``2026-01``) of the merchant's."""

    name: str
    begins: date
    ends: date  # the day after its last

    @classmethod
    def of(cls, text: str) -> Period:
        """Raises InvalidRequest."""
        try:
            if not _PERIOD.fullmatch(text):
                raise ValueError
            if len(text) == 10:
                begins = date.fromisoformat(text)
                return cls(text, begins, begins + timedelta(days=1))
            begins = date.fromisoformat(f"{text}-01")
            return cls(text, begins, (begins + timedelta(days=31)).replace(day=1))
        except ValueError:
            raise InvalidRequest(
                "a period is a day, 2026-01-15, or a month, 2026-01", param="period"
            ) from None

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From when, included, to when, excluded."""
        return start_of(self.begins), start_of(self.ends)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose statement of what.  Without a store: all of the merchant's."""

    merchant_id: str
    livemode: bool
    period: Period
    store_id: str | None = None


@dataclass(frozen=True, slots=True)
class Takings:
    """What charges brought, in minor units: ``net`` is what is left of it for the merchant.

    ``topups_minor`` of that is members' to spend, less what refunds took back; what they spent is in none of
    it, because it came in before.
    """

    sales_count: int
    sales_minor: int
    refunds_count: int  # reserved in this period, less those that failed in it
    refunds_minor: int
    fees_minor: int
    topups_minor: int = 0
    spent_minor: int = 0

    @property
    def net_minor(self) -> int:
        return self.sales_minor - self.refunds_minor - self.fees_minor


@dataclass(frozen=True, slots=True)
class Balance:
    """One account: what was on it, what was booked on either side of it, what is on it now."""

    account: str
    opening_minor: int
    debits_minor: int
    credits_minor: int

    @property
    def closing_minor(self) -> int:
        return self.opening_minor + balance_of(self.account, self.debits_minor, self.credits_minor)


@dataclass(frozen=True, slots=True)
class Wallet:
    """One provider account: what its own bill of the period should say."""

    account_id: str
    payments_count: int
    payments_minor: int
    refunds_count: int
    refunds_minor: int
    fees_minor: int

    @property
    def net_minor(self) -> int:
        return self.payments_minor - self.refunds_minor - self.fees_minor


@dataclass(frozen=True, slots=True)
class Sheet:
    """A statement in one currency.  ``stores`` by id; None, the last: charges begun at no store."""

    currency: str
    takings: Takings
    wallets: tuple[Wallet, ...]
    stores: dict[str | None, Takings]
    balances: tuple[Balance, ...]

    @property
    def debits_minor(self) -> int:
        return sum(each.debits_minor for each in self.balances)

    @property
    def credits_minor(self) -> int:
        return sum(each.credits_minor for each in self.balances)

    @property
    def is_balanced(self) -> bool:
        """Whether both sides are the same, of the period and of all time: it cannot be otherwise."""
        closing_minor = sum(balance_of(each.account, each.closing_minor, 0) for each in self.balances)
        return closing_minor == 0 and self.debits_minor == self.credits_minor


@dataclass(frozen=True, slots=True)
class Statement:
    """A sheet for each currency in which anything was ever booked."""

    wanted: Wanted
    entries: int
    sheets: tuple[Sheet, ...]


def statement_of(wanted: Wanted) -> Statement:
    """Sum it up, as of one moment."""
    begins, ends = wanted.period.span
    with snapshot() as connection:
        before = _openings(connection, wanted, begins)
        within = _sums(connection, wanted, _entries.c.posted_at >= begins, _entries.c.posted_at < ends)
    currencies = sorted({row.currency for row in (*before, *within)})
    sheets = tuple(
        _sheet(
            each,
            [row for row in before if row.currency == each],
            [row for row in within if row.currency == each],
        )
        for each in currencies
    )
    return Statement(wanted, sum(row.lines for row in within), sheets)


def entries_of(wanted: Wanted) -> Iterator[sa.Row[Any]]:
    """The entries of a statement, oldest first, with ``order_no`` and ``store_id`` of their charge."""
    begins, ends = wanted.period.span
    place = sa.tuple_(_entries.c.posted_at, _entries.c.cause_id, _entries.c.event)
    query: sa.Select[Any] = (
        sa.select(*_entries.c, _charges.c.merchant_order_no.label("order_no"), _charges.c.store_id)
        .select_from(_WITH_CHARGE)
        .where(*_of(wanted), _entries.c.posted_at >= begins, _entries.c.posted_at < ends)
        .order_by(_entries.c.posted_at, _entries.c.cause_id, _entries.c.event)
        .limit(_BATCH)
    )
    more = query
    while True:
        with reading() as connection:
            rows = list(connection.execute(more))
        yield from rows
        if len(rows) < _BATCH:
            return
        last = rows[-1]
        at = sa.literal(last.posted_at, _entries.c.posted_at.type)
        more = query.where(place > sa.tuple_(at, last.cause_id, last.event))


def entries_of_attempts(merchant_id: str, attempt_ids: Iterable[str]) -> list[sa.Row[Any]]:
    """What is booked of these payments, oldest first."""
    query = (
        sa.select(*_entries.c)
        .where(_entries.c.merchant_id == merchant_id, _entries.c.attempt_id.in_(list(attempt_ids)))
        .order_by(_entries.c.posted_at, _entries.c.cause_id)
        .limit(100)
    )
    with reading() as connection:
        return list(connection.execute(query))


def _of(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    mine = [_entries.c.merchant_id == wanted.merchant_id, _entries.c.livemode == wanted.livemode]
    return mine if wanted.store_id is None else [*mine, _charges.c.store_id == wanted.store_id]


def _sums(connection: Connection, wanted: Wanted, *conditions: sa.ColumnElement[bool]) -> list[sa.Row[Any]]:
    """Entries by currency, accounts, event and store."""
    keys = (_entries.c.currency, _entries.c.debit, _entries.c.credit, _entries.c.event, _charges.c.store_id)
    query = (
        sa.select(*keys, sa.func.count().label("lines"), sa.func.sum(_entries.c.amount_minor).label("minor"))
        .select_from(_WITH_CHARGE)
        .where(*_of(wanted), *conditions)
        .group_by(*keys)
    )
    return list(connection.execute(query))


def _openings(connection: Connection, wanted: Wanted, begins: datetime) -> list[sa.Row[Any]]:
    """Entries before a moment by currency and accounts: all there ever were, so charges are left alone."""
    keys = (_entries.c.currency, _entries.c.debit, _entries.c.credit)
    query = (
        sa.select(*keys, sa.func.sum(_entries.c.amount_minor).label("minor"))
        .select_from(_entries if wanted.store_id is None else _WITH_CHARGE)
        .where(*_of(wanted), _entries.c.posted_at < begins)
        .group_by(*keys)
    )
    return list(connection.execute(query))


def _sheet(currency: str, before: list[sa.Row[Any]], within: list[sa.Row[Any]]) -> Sheet:
    by_store: dict[str | None, list[sa.Row[Any]]] = defaultdict(list)
    for row in within:
        by_store[row.store_id].append(row)
    named_first = sorted(by_store, key=lambda store_id: (store_id is None, store_id))
    stores = {store_id: _takings(by_store[store_id]) for store_id in named_first}
    return Sheet(
        currency,
        _takings(within),
        tuple(_wallets(within)),
        {store_id: each for store_id, each in stores.items() if each != _NOTHING},
        tuple(_balances(before, within)),
    )


_NOTHING = Takings(0, 0, 0, 0, 0)


@dataclass(slots=True)
class _Tally:
    count: Counter[str] = field(default_factory=Counter)
    minor: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, row: Any, sign: int = 1) -> None:
        self.count[name] += sign * row.lines
        self.minor[name] += sign * int(row.minor)


_FILLING = (Event.TOPUP, Event.TOPUP_TAKEN_BACK, Event.TOPUP_GIVEN_BACK, Event.TOPUP_TAKEN_AGAIN)
_BY_MEMBERS = {
    **dict.fromkeys(_FILLING, "topups"),
    **dict.fromkeys((Event.DEBIT, Event.REVERSAL), "spent"),
}


def _takings(rows: Iterable[Any]) -> Takings:
    told = _Tally()
    for row in rows:
        for side, sign in ((row.debit, 1), (row.credit, -1)):
            kind = kind_of(side)
            if Kind.MEMBERS in (row.debit, row.credit):
                if kind == Kind.MEMBERS and row.event in _BY_MEMBERS:
                    told.add(_BY_MEMBERS[row.event], row, -sign if row.event in _FILLING else sign)
            elif kind in (Kind.SALES, Kind.REFUNDS, Kind.FEES):
                told.add(kind, row, -sign if kind == Kind.SALES else sign)
    return Takings(
        told.count[Kind.SALES],
        told.minor[Kind.SALES],
        told.count[Kind.REFUNDS],
        told.minor[Kind.REFUNDS],
        told.minor[Kind.FEES],
        told.minor["topups"],
        told.minor["spent"],
    )


def _wallets(rows: Iterable[Any]) -> Iterator[Wallet]:
    told: dict[str, _Tally] = defaultdict(_Tally)
    for row in rows:
        for side, sign in ((row.debit, 1), (row.credit, -1)):
            if kind_of(side) == Kind.CLEARING:
                is_payment, is_fee = row.event == Event.PAYMENT, Kind.FEES in (row.debit, row.credit)
                name = "payments" if is_payment else "fees" if is_fee else "refunds"
                told[owner_of(side)].add(name, row, sign if is_payment else -sign)
    for account_id in sorted(told):
        count, minor = told[account_id].count, told[account_id].minor
        yield Wallet(
            account_id,
            count["payments"],
            minor["payments"],
            count["refunds"],
            minor["refunds"],
            minor["fees"],
        )


def _balances(before: Iterable[Any], within: Iterable[Any]) -> Iterator[Balance]:
    """In the order of the chart of accounts."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for when, rows in (("before", before), ("within", within)):
        for row in rows:
            sums[row.debit][f"debits_{when}"] += int(row.minor)
            sums[row.credit][f"credits_{when}"] += int(row.minor)
    chart = list(Kind)
    for account in sorted(sums, key=lambda name: (chart.index(kind_of(name)), name)):
        each = sums[account]
        opening_minor = balance_of(account, each["debits_before"], each["credits_before"])
        yield Balance(account, opening_minor, each["debits_within"], each["credits_within"])
