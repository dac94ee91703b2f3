"""Money that no charge takes: how tests make it come, and the sums that must hold whatever was done."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.charges import proving, refunds, unclaimed
from app.charges.models import Attempt, Charge, Refund
from app.charges.settle import settle_unknown
from app.charges.states import RefundState
from app.charges.unclaimed import Account, Why
from app.db import snapshot, transaction
from app.merchants import accounts
from app.money import Money
from app.providers.base import Outcome, PaymentResult, RefundResult
from tests.books import make_attempt, make_charge, rows_of
from tests.conftest import Shop
from tests.review.rounds import hear


def waiting(shop: Shop) -> list[tuple[Why, int, str]]:
    """(why, minor units, currency) of what waits, oldest first."""
    items, has_more = unclaimed.list_unclaimed(shop.id, livemode=False, limit=100)
    assert not has_more
    assert len(items) == unclaimed.count_unclaimed(shop.id, livemode=False)
    return [(item.why, item.waiting.minor, item.waiting.currency) for item in reversed(items)]


def hear_unknown(
    shop: Shop, number: str = "X1", minor: int = 1999, currency: str = "CNY", ref: str | None = None
) -> bool:
    """Verified money arrives under a number that nobody here gave out."""
    result = PaymentResult(number, Outcome.SUCCEEDED, Money(minor, currency), ref or f"T{number}")
    with transaction() as tx:
        return settle_unknown(tx, accounts.open_account(shop.account_id), result)


def pay_twice(shop: Shop) -> tuple[sa.Row[Any], str]:
    """A charge that is paid, and the number of the attempt whose money it does not need."""
    charge = make_charge(shop)
    numbers = make_attempt(shop, charge.id), make_attempt(shop, charge.id, scene="mobile")
    for number in numbers:
        hear(shop.account_id, number)
    return charge, numbers[1]


def tell_refund(shop: Shop, refund: sa.Row[Any], outcome: Outcome) -> bool:
    """News of a refund arrives; whether it was any."""
    result = RefundResult("", refund.out_refund_no, outcome, provider_status="SELLER_BALANCE_NOT_ENOUGH")
    with transaction() as tx:
        return refunds.settle_refund(tx, shop.account_id, result)


def check_sums(shop: Shop) -> dict[str, Account]:
    """The sums of the page, and the same taken from charges, refunds and the ledger; by currency."""
    assert [str(fault) for part in proving.check_all(snapshot, shop.id) for fault in part.faults] == []
    known = {account.received.currency: account for account in unclaimed.account_for(shop.id, livemode=False)}
    received = [row for row in rows_of(Attempt, merchant_id=shop.id) if row.received_minor is not None]
    for currency, account in known.items():
        assert account.is_balanced, account
        kept = sum(
            row.paid_minor - row.refunded_minor
            for row in rows_of(Charge, merchant_id=shop.id, state="paid", currency=currency)
        )
        back = sum(_gone_back(row) for row in received if row.received_currency == currency)
        listed = sum(minor for _, minor, unit in waiting(shop) if unit == currency)
        assert (account.credited.minor, account.refunded.minor) == (kept, back)
        assert account.waiting.minor == listed
    return known


def _gone_back(attempt: sa.Row[Any]) -> int:
    """By its refunds; what a provider sent back beyond what came in is not counted."""
    sent = [
        row.amount_minor for row in rows_of(Refund, attempt_id=attempt.id) if row.state != RefundState.FAILED
    ]
    return min(sum(sent), attempt.received_minor)
