"""What WeChat Pay's words say of a payment and of a refund.  Pure.

Answers to a query and notifications have the same fields, but for the name of a refund's state.
Source: WeChat Pay API v3, order query, refund query, payment and refund notifications.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from app import clock
from app.money import Money
from app.providers.base import Outcome, PaymentResult, RefundResult
from app.providers.wechatpay_wire import Node

log = logging.getLogger(__name__)

OUTCOMES = {
    "NOTPAY": Outcome.PENDING,  # also after a try that failed: the payer may try again
    "USERPAYING": Outcome.PENDING,
    "SUCCESS": Outcome.SUCCEEDED,
    "REFUND": Outcome.SUCCEEDED,  # paid; some of it went, or is going, back
    "CLOSED": Outcome.CLOSED,
    "REVOKED": Outcome.CLOSED,
    "PAYERROR": Outcome.FAILED,
}
UNDONE = frozenset({"REVOKED"})  # of a payment by code: reversed, whether or not it had been paid
REFUND_OUTCOMES = {
    "SUCCESS": Outcome.SUCCEEDED,
    "PROCESSING": Outcome.PENDING,
    "CLOSED": Outcome.CLOSED,  # nothing went back: another try needs another number
    # The money left the merchant and could not reach the payer (a card that is no more).  The merchant
    # sends it elsewhere in WeChat Pay's console, and then the same refund succeeds.
    "ABNORMAL": Outcome.PENDING,
}
NEEDS_PERSON = frozenset({"ABNORMAL"})

REF_CHARS_MAX = 64  # their numbers have 32; the books hold 64
AMOUNT_MAX = 10**15  # far above any limit of WeChat Pay's, far below what a database counts to


def payment(node: Node) -> PaymentResult:
    """A transaction, as a query or a notification tells it.  Raises ValueError."""
    state, number = node.word("trade_state"), node.word("out_trade_no")
    if not state or not number:
        raise ValueError("it names no order or no state")
    if state not in OUTCOMES:
        log.warning("wechatpay: unknown trade_state", extra={"trade_state": state[:64]})
    outcome = OUTCOMES.get(state, Outcome.PENDING)
    amount = _amount(node.child("amount"), "total")
    if amount is None and outcome is Outcome.SUCCEEDED:
        raise ValueError("it names no readable amount")
    return PaymentResult(
        out_trade_no=number,
        outcome=outcome,
        amount=amount,
        provider_ref=node.word("transaction_id")[:REF_CHARS_MAX] or None,
        paid_at=_moment(node.word("success_time")),
        provider_status=state[:64],
        is_undone=state in UNDONE,
    )


def refund_news(node: Node) -> RefundResult:
    """A refund, as a notification tells it.  Raises ValueError."""
    if not node.word("out_trade_no") or not node.word("out_refund_no"):
        raise ValueError("it names no refund")
    return refund(node, "refund_status")


def refund(node: Node, status_name: str) -> RefundResult:
    """A refund; its state has another name in a notification.  Raises ValueError."""
    status = node.word(status_name)
    if not status:
        raise ValueError("it names no state of the refund")
    if status not in REFUND_OUTCOMES:
        log.warning("wechatpay: unknown refund status", extra={"refund_status": status[:64]})
    amount = _amount(node.child("amount"), "refund")
    if amount is None:
        raise ValueError("it names no readable amount of the refund")
    return RefundResult(
        out_trade_no=node.word("out_trade_no"),
        out_refund_no=node.word("out_refund_no"),
        outcome=REFUND_OUTCOMES.get(status, Outcome.PENDING),
        amount=amount,
        provider_ref=node.word("refund_id")[:REF_CHARS_MAX] or None,
        refunded_at=_moment(node.word("success_time")),
        provider_status=status[:64],
        needs_person=status in NEEDS_PERSON,
    )


def _amount(node: Node, name: str) -> Money | None:
    """A positive amount, or None for anything else.  Notifications of refunds name no currency."""
    minor = node.whole(name)
    if minor is None or not 1 <= minor <= AMOUNT_MAX:
        return None
    try:
        return Money(minor, node.word("currency") if "currency" in node.fields else "CNY")
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    """RFC 3339 to UTC.  An unreadable time is no reason to refuse money."""
    try:
        moment = datetime.fromisoformat(text)
        return (
            moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=clock.BEIJING).astimezone(UTC)
        )
    except (ValueError, OverflowError):
        return None
