"""What a shift or a day took, provider by provider: plain sums over the books, for X and Z reports.

Nothing here is kept up to date beside the books.  A Z report is what these sums were when the shift was
closed; what came after it is what they are now, less that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt, Charge, Refund, Shift
from app.charges.states import ChargeState, RefundState
from app.db import is_among, reading, table_of

DRAWER = "CNY"  # what the float is counted in

_charges, _refunds, _attempts = table_of(Charge), table_of(Refund), table_of(Attempt)
_shifts = table_of(Shift)


@dataclass(frozen=True, slots=True)
class Line:
    """What went through one provider in one currency.  A refund counts from when it was asked for."""

    provider: str
    currency: str
    payments: int = 0
    paid_minor: int = 0
    refunds: int = 0
    refunded_minor: int = 0

    @property
    def net_minor(self) -> int:
        return self.paid_minor - self.refunded_minor


@dataclass(frozen=True, slots=True)
class Report:
    """The sums of one shift.  ``waiting``: charges begun in it that may still be paid."""

    lines: tuple[Line, ...]
    waiting: int = 0

    @property
    def totals(self) -> tuple[Line, ...]:
        """One line for each currency, without a provider."""
        return totals_of(self.lines)

    def since(self, before: Report) -> Report:
        """What this report has more than an earlier one of the same shift.  Pure."""
        negated = [
            Line(x.provider, x.currency, -x.payments, -x.paid_minor, -x.refunds, -x.refunded_minor)
            for x in before.lines
        ]
        more = [line for line in added([*self.lines, *negated]) if line != Line(line.provider, line.currency)]
        return Report(tuple(more), self.waiting)

    def to_json(self) -> dict[str, Any]:
        """As it is stored with a closed shift."""
        return {"lines": [_fields(line) for line in self.lines], "waiting": self.waiting}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Report:
        """What ``to_json`` made."""
        return Report(tuple([Line(**line) for line in stored["lines"]]), stored["waiting"])


@dataclass(frozen=True, slots=True)
class Share:
    """What one shift has of a day; ``shift`` None is what was outside any: links, printed codes, the API."""

    shift: sa.Row[Any] | None
    lines: tuple[Line, ...]


def report_of(connection: Connection, merchant_id: str, shift_id: str) -> Report:
    """The sums of a shift as the books are now."""
    of_charges = (_charges.c.merchant_id == merchant_id, _charges.c.shift_id == shift_id)
    of_refunds = (_refunds.c.merchant_id == merchant_id, _refunds.c.shift_id == shift_id)
    lines = _lines(connection, of_charges, of_refunds)
    waiting = connection.execute(
        sa.select(sa.func.count()).where(*of_charges, _charges.c.state == ChargeState.PENDING)
    ).scalar_one()
    return Report(tuple([line for _, line in lines]), waiting)


def shares_of(merchant_id: str, begin: datetime, end: datetime, *, livemode: bool) -> list[Share]:
    """A day, from ``begin`` up to ``end``, shared out: shifts in their order, the rest last.

    Together they are the day's takings and its refunds, each counted once.
    """
    of_charges = (
        _charges.c.merchant_id == merchant_id,
        _charges.c.livemode == livemode,
        _charges.c.paid_at >= begin,
        _charges.c.paid_at < end,
    )
    of_refunds = (
        _refunds.c.merchant_id == merchant_id,
        _refunds.c.livemode == livemode,
        _refunds.c.created_at >= begin,
        _refunds.c.created_at < end,
    )
    with reading() as connection:
        lines = _lines(connection, of_charges, of_refunds)
        ids = sorted({shift_id for shift_id, _ in lines if shift_id is not None})
        mine = (_shifts.c.merchant_id == merchant_id, is_among(_shifts.c.id, "ids"))
        found = connection.execute(sa.select(*_shifts.c).where(*mine), {"ids": ids})
        shifts = {row.id: row for row in found}
    return [
        Share(shifts.get(shift_id or ""), tuple([line for of, line in lines if of == shift_id]))
        for shift_id in [*ids, None]
    ]


def added(lines: Iterable[Line]) -> list[Line]:
    """One line for each provider and currency, in their order.  Pure."""
    sums: dict[tuple[str, str], Line] = {}
    for line in lines:
        key = (line.provider, line.currency)
        before = sums.get(key, Line(*key))
        sums[key] = Line(
            *key,
            before.payments + line.payments,
            before.paid_minor + line.paid_minor,
            before.refunds + line.refunds,
            before.refunded_minor + line.refunded_minor,
        )
    return [sums[key] for key in sorted(sums)]


def totals_of(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line for each currency, without a provider.  Pure."""
    return tuple(
        added(
            Line("", line.currency, line.payments, line.paid_minor, line.refunds, line.refunded_minor)
            for line in lines
        )
    )


def _lines(
    connection: Connection,
    of_charges: tuple[sa.ColumnElement[bool], ...],
    of_refunds: tuple[sa.ColumnElement[bool], ...],
) -> list[tuple[str | None, Line]]:
    """(shift, line) for what these conditions select; money that no charge took is nobody's takings."""
    paid = connection.execute(
        sa.select(
            _charges.c.shift_id,
            _charges.c.provider,
            _charges.c.currency,
            sa.func.count(),
            sa.func.sum(_charges.c.paid_minor),
        )
        .where(*of_charges, _charges.c.state == ChargeState.PAID)
        .group_by(_charges.c.shift_id, _charges.c.provider, _charges.c.currency)
    ).all()
    same = sa.and_(_attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id)
    back = connection.execute(
        sa.select(
            _refunds.c.shift_id,
            _attempts.c.provider,
            _refunds.c.currency,
            sa.func.count(),
            sa.func.sum(_refunds.c.amount_minor),
        )
        .join(_attempts, same)
        .where(*of_refunds, _refunds.c.state != RefundState.FAILED, _refunds.c.automatic.is_(False))
        .group_by(_refunds.c.shift_id, _attempts.c.provider, _refunds.c.currency)
    ).all()
    found: dict[str | None, list[Line]] = {}
    for shift_id, provider, currency, count, minor in paid:
        found.setdefault(shift_id, []).append(Line(provider, currency, count, int(minor)))
    for shift_id, provider, currency, count, minor in back:
        line = Line(provider, currency, refunds=count, refunded_minor=int(minor))
        found.setdefault(shift_id, []).append(line)
    return [(shift_id, line) for shift_id, lines in found.items() for line in added(lines)]


def _fields(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in Line.__slots__}
