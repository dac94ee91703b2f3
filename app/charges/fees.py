"""What a provider kept of payments after all: its bill corrects what was foreseen, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import bookings
from app.charges.models import Attempt, Refund
from app.charges.states import RefundState
from app.db import is_among, table_of
from app.merchants.models import ProviderAccount

_attempts, _refunds, _accounts = table_of(Attempt), table_of(Refund), table_of(ProviderAccount)
_LOCK: sa.Select[Any] = (
    sa.select(*_attempts.c, _accounts.c.livemode)
    .join(
        _accounts,
        sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
    )
    .where(_attempts.c.merchant_id == sa.bindparam("merchant_id"), is_among(_attempts.c.id, "ids"))
    .order_by(_attempts.c.id)
)
_LOCK_FOR_UPDATE = _LOCK.with_for_update(of=_attempts)
_BILL = (
    sa.update(Attempt)
    .where(
        _attempts.c.merchant_id == sa.bindparam("of_merchant_id"),
        _attempts.c.id == sa.bindparam("of_id"),
        _attempts.c.fee_billed_minor.is_(None),
    )
    .values(fee_billed_minor=sa.bindparam("billed_minor"))
)
_REFUNDS: sa.Select[Any] = (
    sa.select(*_refunds.c, _attempts.c.account_id)
    .join(
        _attempts,
        sa.and_(_attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id),
    )
    .where(
        _refunds.c.merchant_id == sa.bindparam("merchant_id"),
        is_among(_refunds.c.id, "ids"),
        _refunds.c.state == RefundState.SUCCEEDED,
    )
    .order_by(_refunds.c.id)
)
_REFUNDS_FOR_UPDATE = _REFUNDS.with_for_update(of=_refunds)
_GIVE_BACK = (
    sa.update(Refund)
    .where(
        _refunds.c.merchant_id == sa.bindparam("of_merchant_id"),
        _refunds.c.id == sa.bindparam("of_id"),
        _refunds.c.fee_back_minor.is_(None),
    )
    .values(fee_back_minor=sa.bindparam("back_minor"))
)


def refusal_of(attempt: Any, billed_minor: int) -> str | None:
    """Why a fee is not booked as a bill says it, or None if it is, or was.  Pure."""
    if attempt.received_minor is None:
        return "no money came of this attempt"
    if not 0 <= billed_minor <= attempt.received_minor:
        return "a fee is 0 to all of the payment"
    if attempt.fee_billed_minor not in (None, billed_minor):
        return f"it was billed as {attempt.fee_billed_minor} before"
    return None


def correct_fees(tx: Connection, merchant_id: str, billed: Mapping[str, int]) -> set[str]:
    """Book the fees of payments, by attempt, as their provider's bill says.  A step.

    The attempts of which something was booked: not of those billed before, nor where ``refusal_of`` says why.
    """
    which = {"merchant_id": merchant_id, "ids": list(billed)}
    new = {
        row.id: row
        for row in tx.execute(_LOCK_FOR_UPDATE, which)
        if row.fee_billed_minor is None and refusal_of(row, billed[row.id]) is None
    }
    if new:
        tx.execute(
            _BILL,
            [{"of_merchant_id": merchant_id, "of_id": each, "billed_minor": billed[each]} for each in new],
        )
        rows = tx.execute(_LOCK, {"merchant_id": merchant_id, "ids": list(new)}).all()
        bookings.post_fees_adjusted(tx, rows, livemode=rows[0].livemode)
    return set(new)


def give_back(tx: Connection, merchant_id: str, back: Mapping[str, int]) -> set[str]:
    """Book what came back of fees with refunds, by refund, as the bill says.  A step.

    The refunds of which something was booked: only such as have gone back, and once each.
    """
    which = {"merchant_id": merchant_id, "ids": list(back)}
    new = [row.id for row in tx.execute(_REFUNDS_FOR_UPDATE, which) if row.fee_back_minor is None]
    if new:
        tx.execute(
            _GIVE_BACK,
            [{"of_merchant_id": merchant_id, "of_id": each, "back_minor": back[each]} for each in new],
        )
        bookings.post_fees_back(tx, tx.execute(_REFUNDS, {"merchant_id": merchant_id, "ids": new}).all())
    return set(new)
