"""What Alipay's words say of a payment and of a refund.  Pure.

TRADE_CLOSED means "never paid" or "paid and refunded in full": whether a time of payment is given
decides.  A refund in part is told as TRADE_SUCCESS.
Source: Alipay open platform, trade states, asynchronous notification.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from app import clock
from app.errors import SignatureMismatch
from app.money import Money
from app.providers.base import Outcome, PaymentResult, RefundOrder, RefundResult

log = logging.getLogger(__name__)

OUTCOMES = {
    "WAIT_BUYER_PAY": Outcome.PENDING,
    "TRADE_SUCCESS": Outcome.SUCCEEDED,
    "TRADE_FINISHED": Outcome.SUCCEEDED,  # paid, and the refund window is over
    "TRADE_CLOSED": Outcome.CLOSED,  # unless it was paid before: see payment_outcome
}
# TRADE_FINISHED is never news of a refund: it comes when refunds are over.
REFUND_STATUSES = frozenset({"TRADE_SUCCESS", "TRADE_CLOSED"})

REF_CHARS_MAX = 64  # of trade_no, as the manual has it and as the books hold it


def payment_outcome(status: str, paid_at: str) -> Outcome:
    """TRADE_CLOSED with a time of payment was paid and is refunded in full: the payment succeeded."""
    if status not in OUTCOMES:
        log.warning("alipay: unknown trade_status", extra={"trade_status": status[:64]})
        return Outcome.PENDING
    if status == "TRADE_CLOSED" and paid_at:
        return Outcome.SUCCEEDED
    return OUTCOMES[status]


def news(fields: Mapping[str, str]) -> PaymentResult | RefundResult:
    """What a notification tells.  Raises SignatureMismatch for a paid trade without a readable amount."""
    return _refund_news(fields) if _tells_of_refund(fields) else _payment_news(fields)


def _tells_of_refund(fields: Mapping[str, str]) -> bool:
    """A refund arrives as TRADE_SUCCESS (in part) or TRADE_CLOSED (in full), with these beside it."""
    if fields["trade_status"] not in REFUND_STATUSES:
        return False
    return "gmt_refund" in fields or positive(fields.get("refund_fee", ""), "CNY") is not None


def _refund_news(fields: Mapping[str, str]) -> RefundResult:
    return RefundResult(
        out_trade_no=fields["out_trade_no"],
        # Without a number of its own a refund goes by the order's (and is then a refund in full).
        out_refund_no=fields.get("out_biz_no") or fields["out_trade_no"],
        outcome=Outcome.SUCCEEDED,
        amount=None,  # refund_fee is the sum of all refunds of this trade, so it is not this one's
        refunded_at=moment(fields.get("gmt_refund", "")),
        provider_status=fields["trade_status"],
    )


def _payment_news(fields: Mapping[str, str]) -> PaymentResult:
    paid_at = fields.get("gmt_payment", "")
    outcome = payment_outcome(fields["trade_status"], paid_at)
    amount = positive(fields.get("total_amount", ""), "CNY")
    if amount is None and outcome is Outcome.SUCCEEDED:
        raise SignatureMismatch("the notification names no readable amount")
    return PaymentResult(
        out_trade_no=fields["out_trade_no"],
        outcome=outcome,
        amount=amount,
        provider_ref=fields.get("trade_no", "")[:REF_CHARS_MAX] or None,
        paid_at=moment(paid_at),
        provider_status=fields["trade_status"],
    )


def refund_result(
    order: RefundOrder, outcome: Outcome, status: str, at: str = "", amount: Money | None = None
) -> RefundResult:
    """What became of a refund that was asked for."""
    return RefundResult(
        out_trade_no=order.payment.out_trade_no,
        out_refund_no=order.out_refund_no,
        outcome=outcome,
        amount=amount or (order.amount if outcome is Outcome.SUCCEEDED else None),
        refunded_at=moment(at),
        provider_status=status,
    )


def positive(text: str, currency: str) -> Money | None:
    """A positive amount, or None for anything else."""
    try:
        money = Money.from_major(text, currency)
    except ValueError:
        return None
    return money if money.minor > 0 else None


def moment(text: str) -> datetime | None:
    """Beijing time to UTC, milliseconds dropped.  An unreadable time is no reason to refuse money."""
    try:
        return clock.from_beijing(text[:19])
    except (ValueError, OverflowError):
        return None
