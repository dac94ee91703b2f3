"""What was collected and given back, by currency: the sums of the books, as the dashboard shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.charges.models import Charge, Refund
from app.charges.states import RefundState
from app.db import reading, table_of

_charges, _refunds = table_of(Charge), table_of(Refund)
_ON_THE_WAY = (RefundState.RESERVED, RefundState.AWAITING)


@dataclass(frozen=True, slots=True)
class Sum:
    """One currency's sums, in minor units.  Money that charges did not need is in none of them."""

    currency: str
    charges_paid: int
    collected_minor: int  # what paid charges brought in
    refunded_minor: int  # of that: gone back, as the wallets confirm
    pending_minor: int  # of that: on its way back

    @property
    def net_minor(self) -> int:
        """What is left when all that is on its way has arrived."""
        return self.collected_minor - self.refunded_minor - self.pending_minor


def sums_of(
    merchant_id: str,
    *,
    livemode: bool,
    paid_from: datetime | None = None,
    paid_before: datetime | None = None,
) -> list[Sum]:
    """A line for each currency in which something was paid in that time, by ISO code."""
    conditions = [
        _charges.c.merchant_id == merchant_id,
        _charges.c.livemode == livemode,
        _charges.c.paid_at.is_not(None) if paid_from is None else _charges.c.paid_at >= paid_from,
    ]
    if paid_before is not None:
        conditions.append(_charges.c.paid_at < paid_before)
    # One statement and so one moment: a refund that settles in between is in neither or both sums.
    pending = (
        sa.select(_charges.c.currency, sa.func.sum(_refunds.c.amount_minor).label("pending"))
        .select_from(
            _refunds.join(
                _charges,
                sa.and_(
                    _charges.c.merchant_id == _refunds.c.merchant_id, _charges.c.id == _refunds.c.charge_id
                ),
            )
        )
        .where(_refunds.c.state.in_(_ON_THE_WAY), _refunds.c.automatic.is_(False), *conditions)
        .group_by(_charges.c.currency)
        .cte("pending")
    )
    collected = (
        sa.select(
            _charges.c.currency,
            sa.func.count().label("charges_paid"),
            sa.func.sum(sa.func.coalesce(_charges.c.paid_minor, _charges.c.amount_minor)).label("collected"),
            sa.func.sum(_charges.c.refunded_minor).label("refunded"),
        )
        .where(*conditions)
        .group_by(_charges.c.currency)
        .cte("collected")
    )
    query = (
        sa.select(collected, sa.func.coalesce(pending.c.pending, 0).label("pending"))
        .select_from(collected.outerjoin(pending, pending.c.currency == collected.c.currency))
        .order_by(collected.c.currency)
    )
    with reading() as connection:
        rows = connection.execute(query).all()
    return [
        Sum(
            row.currency,
            row.charges_paid,
            int(row.collected),
            int(row.refunded) - int(row.pending),
            int(row.pending),
        )
        for row in rows
    ]
