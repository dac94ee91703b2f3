"""The proof of a day: what our ledger has is what the bill has, give or take named items, to the cent.

Our side is summed up from the ledger, the other from the bill's lines, and the terms from what was said of
each line and entry; so that they add up is a result and not a definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import table_of
from app.ledger import accounts as chart
from app.ledger.events import Event
from app.ledger.models import Entry
from app.merchants.accounts import OpenAccount
from app.reconciliation import days
from app.reconciliation.books import WENT_BACK
from app.reconciliation.models import BillRow, Discrepancy
from app.reconciliation.states import MATCHED, OURS_ALONE, Resolution, Sort

_lines, _items, _entries = table_of(BillRow), table_of(Discrepancy), table_of(Entry)

PAYMENTS, REFUNDS, FEES = "payments", "refunds", "fees"
OTHER_DAY_HERE = "other_day_here"  # on this bill, and booked here on another day
OTHER_DAY_THERE = "other_day_there"  # booked here on this day, and on another day's bill
ON_ITS_WAY = "on_its_way"  # a refund that has left over there and not arrived, and is not booked yet


@dataclass(frozen=True, slots=True)
class Term:
    """What has to be added to the bill's sum because of something, in minor units."""

    name: str
    count: int
    minor: int


@dataclass(frozen=True, slots=True)
class Sum:
    """One line of the proof.  Money that left the merchant is negative on both sides."""

    what: str
    here_count: int
    here_minor: int
    there_count: int
    there_minor: int
    terms: tuple[Term, ...] = ()

    @property
    def explained_minor(self) -> int:
        """What the terms come to."""
        return sum(term.minor for term in self.terms)

    @property
    def unexplained_minor(self) -> int:
        """What is left: nothing, or the proof has failed."""
        return self.here_minor - self.there_minor - self.explained_minor


@dataclass(frozen=True, slots=True)
class Proof:
    """One currency of a day."""

    currency: str
    sums: tuple[Sum, ...]

    @property
    def is_proven(self) -> bool:
        return all(each.unexplained_minor == 0 for each in self.sums)


@dataclass(frozen=True, slots=True)
class Summary:
    """How a day came out.  ``verdicts`` counts its lines by what was said of them."""

    lines: int
    verdicts: Mapping[str, int]
    proofs: tuple[Proof, ...]

    @property
    def matched(self) -> int:
        return self.verdicts.get(MATCHED, 0)

    @property
    def is_proven(self) -> bool:
        return all(each.is_proven for each in self.proofs)


def summary_of(connection: Connection, account: OpenAccount, day: date) -> Summary:
    """Sum it up, as of now.  A step."""
    lines = list(connection.execute(_LINES, _which(account, day)))
    others = list(connection.execute(_OTHERS, _which(account, day)))
    alone = list(connection.execute(_ALONE, _which(account, day)))
    here = _here(connection, account, day)
    verdicts: dict[str, int] = defaultdict(int)
    for row in lines:
        verdicts[row.verdict or ""] += row.lines
    currencies = {row.currency for row in (*lines, *others, *alone, *here) if row.currency}
    proofs = tuple(
        _proof(
            each,
            *[[row for row in rows if row.currency == each] for rows in (lines, others, alone, here)],
        )
        for each in sorted(currencies)
    )
    return Summary(sum(verdicts.values()), dict(sorted(verdicts.items())), proofs)


def stored(summary: Summary) -> dict[str, Any]:
    """For the table.  Pure."""
    return {
        "lines": summary.lines,
        "verdicts": dict(summary.verdicts),
        "proofs": [
            {
                "currency": proof.currency,
                "sums": [
                    {
                        "what": each.what,
                        "here_count": each.here_count,
                        "here_minor": each.here_minor,
                        "there_count": each.there_count,
                        "there_minor": each.there_minor,
                        "terms": [
                            {"name": term.name, "count": term.count, "minor": term.minor}
                            for term in each.terms
                        ],
                    }
                    for each in proof.sums
                ],
            }
            for proof in summary.proofs
        ],
    }


def read_stored(facts: Mapping[str, Any] | None) -> Summary:
    """The way back; of a day without one: nothing.  Pure."""
    if facts is None:
        return Summary(0, {}, ())
    return Summary(
        facts["lines"],
        facts["verdicts"],
        tuple(
            Proof(
                proof["currency"],
                tuple(
                    Sum(**{**each, "terms": tuple(Term(**term) for term in each["terms"])})
                    for each in proof["sums"]
                ),
            )
            for proof in facts["proofs"]
        ),
    )


def _proof(currency: str, lines: list[Any], others: list[Any], alone: list[Any], here: list[Any]) -> Proof:
    sums = []
    for what, kind, events in (
        (PAYMENTS, "payment", (Event.PAYMENT,)),
        (REFUNDS, "refund", WENT_BACK),
    ):
        sign = 1 if kind == "payment" else -1
        booked = [row for row in here if row.event in events]
        mine = [row for row in lines if row.kind == kind]
        terms = _Terms()
        for row in mine:
            _name(terms, row)
        for row in others:
            if row.kind == kind:
                terms.add(OTHER_DAY_THERE, row.lines, row.here_minor)
        for row in alone:
            if row.kind == kind:
                terms.add(row.sort, row.lines, row.here_minor)
        sums.append(
            Sum(
                what,
                sum(row.lines for row in booked),
                sign * sum(int(row.minor) for row in booked),
                sum(row.lines for row in mine),
                sum(int(row.amount_minor) for row in mine),
                terms.all(),
            )
        )
    return Proof(currency, (*sums, _fees(lines)))


def _name(terms: _Terms, row: Any) -> None:
    """What the lines of one verdict add to the bill's sum."""
    amount_minor, here_minor = int(row.amount_minor), int(row.here_minor)
    if row.place == "same":
        if here_minor != amount_minor:
            terms.add(row.verdict, row.lines, here_minor - amount_minor)
    elif row.place == "other":
        terms.add(OTHER_DAY_HERE, row.lines, -amount_minor)
    else:
        terms.add(ON_ITS_WAY if row.verdict == MATCHED else row.verdict, row.lines, -amount_minor)


def _fees(lines: list[Any]) -> Sum:
    """What the bill says was kept and given back, and what of that is booked."""
    terms = _Terms()
    for row in lines:
        if row.here_fee_minor != row.fee_minor:
            name = ON_ITS_WAY if row.verdict == MATCHED else row.verdict
            terms.add(name, row.lines, int(row.here_fee_minor) - int(row.fee_minor))
    count = sum(row.lines for row in lines)
    booked, billed = (
        sum(int(getattr(row, name)) for row in lines) for name in ("here_fee_minor", "fee_minor")
    )
    return Sum(FEES, count, booked, count, billed, terms.all())


class _Terms:
    """Terms by name, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[str, list[int]] = {}

    def add(self, name: str, count: int, minor: Any) -> None:
        each = self._found.setdefault(str(name), [0, 0])
        each[0] += count
        each[1] += int(minor)

    def all(self) -> tuple[Term, ...]:
        return tuple(Term(name, count, minor) for name, (count, minor) in self._found.items())


def _here(connection: Connection, account: OpenAccount, day: date) -> list[sa.Row[Any]]:
    begins, ends = days.span_of(account.provider.info.bill_cut, day)
    clearing = chart.clearing(account.id)
    query = (
        sa.select(
            _entries.c.currency,
            _entries.c.event,
            sa.func.count().label("lines"),
            sa.func.sum(_entries.c.amount_minor).label("minor"),
        )
        .where(
            _entries.c.merchant_id == account.merchant_id,
            _entries.c.livemode == account.livemode,
            _entries.c.posted_at >= begins,
            _entries.c.posted_at < ends,
            sa.or_(_entries.c.debit == clearing, _entries.c.credit == clearing),
            _entries.c.event.in_([Event.PAYMENT, *WENT_BACK]),
        )
        .group_by(_entries.c.currency, _entries.c.event)
    )
    return list(connection.execute(query))


def _which(account: OpenAccount, day: date) -> dict[str, Any]:
    return {"merchant_id": account.merchant_id, "account_id": account.id, "day": day}


def _own(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.merchant_id == sa.bindparam("merchant_id"),
        table.c.account_id == sa.bindparam("account_id"),
    )


def _sums(columns: Iterable[sa.Column[Any]]) -> list[sa.Label[Any]]:
    return [sa.func.sum(each).label(each.name) for each in columns]


_PLACE = sa.case(
    (_lines.c.here_day.is_(None), "none"), (_lines.c.here_day == _lines.c.day, "same"), else_="other"
).label("place")
_LINES: sa.Select[Any] = (
    sa.select(
        *(_lines.c.kind, _lines.c.verdict, _lines.c.currency, _PLACE, sa.func.count().label("lines")),
        *_sums((_lines.c.amount_minor, _lines.c.fee_minor, _lines.c.here_minor, _lines.c.here_fee_minor)),
    )
    .where(*_own(_lines), _lines.c.day == sa.bindparam("day"))
    .group_by(_lines.c.kind, _lines.c.verdict, _lines.c.currency, sa.text("place"))
    .order_by(_lines.c.kind, _lines.c.verdict, sa.text("place"))
)
_OTHERS: sa.Select[Any] = (
    sa.select(
        *(_lines.c.kind, _lines.c.currency, sa.func.count().label("lines")), *_sums((_lines.c.here_minor,))
    )
    .where(
        *_own(_lines),
        _lines.c.here_day == sa.bindparam("day"),
        _lines.c.here_day != _lines.c.day,
    )
    .group_by(_lines.c.kind, _lines.c.currency)
)
# A subject of OURS_ALONE begins with its kind; so does that of another currency, of which the day of the
# bill stands for ours.
_KIND = sa.case((_items.c.subject.startswith("refund:"), "refund"), else_="payment").label("kind")
_ALONE: sa.Select[Any] = (
    sa.select(
        *(_KIND, _items.c.sort, _items.c.currency, sa.func.count().label("lines")),
        *_sums((_items.c.here_minor,)),
    )
    .where(
        *_own(_items),
        _items.c.day == sa.bindparam("day"),
        _items.c.sort.in_([*OURS_ALONE, Sort.CURRENCY]),
        sa.func.coalesce(_items.c.resolution, "") != Resolution.HEALED,
    )
    .group_by(sa.text("kind"), _items.c.sort, _items.c.currency)
    .order_by(_items.c.sort)
)
