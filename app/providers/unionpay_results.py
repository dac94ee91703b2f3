"""What a verified message of UnionPay says of a payment or a refund, in our words.  All of it pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime

from app import clock
from app.errors import SignatureMismatch
from app.money import Money
from app.providers import unionpay_codes, unionpay_wire
from app.providers.base import Outcome, PaymentRef, PaymentResult, RefundOrder, RefundResult
from app.providers.unionpay_codes import Fate
from app.providers.unionpay_wire import STAMP

log = logging.getLogger(__name__)

VOID_TYPE = "31"
# A payment by code is one try and not several: once it has failed it has failed, whatever the deadline;
# except that the shopper may still be typing the password.
ONE_TRY = "06"
BEING_ENTERED = frozenset({"70"})
UNDONE = frozenset({"46"})  # reversed, whether or not it had been paid
REF_CHARS_MAX = 64  # a queryId has 21; the books hold 64
# ISO 4217 numbers.  Money in another currency than was asked for must be seen, not refused.
CURRENCIES = {
    "156": "CNY",
    "344": "HKD",
    "392": "JPY",
    "410": "KRW",
    "826": "GBP",
    "840": "USD",
    "978": "EUR",
}

_DIGITS = re.compile(r"[0-9]{1,12}")


def payment_outcome(status: str, *, over: bool) -> Outcome:
    """``over``: whether the deadline is known to be past."""
    match _fate(status):
        case Fate.SUCCEEDED:
            return Outcome.SUCCEEDED
        case Fate.OVER:
            return Outcome.FAILED
        case Fate.FAILED if over:
            return Outcome.FAILED
        case _:
            return Outcome.PENDING


def refund_outcome(status: str) -> Outcome:
    """Nobody can try a refund again under its number, so its failures are final at once."""
    match _fate(status):
        case Fate.SUCCEEDED:
            return Outcome.SUCCEEDED
        case Fate.PENDING:
            return Outcome.PENDING
        case _:
            return Outcome.FAILED


def payment_answer(ref: PaymentRef, fields: Mapping[str, str], *, over: bool) -> PaymentResult:
    """What the answer to a query says of a payment.  A paid one may lack what the caller must have."""
    status = fields.get("origRespCode", "")
    outcome = _outcome_of(fields, status, over=over)
    paid_at = _moment(fields.get("traceTime", ""), ref.started_at) if outcome is Outcome.SUCCEEDED else None
    return PaymentResult(
        ref.out_trade_no,
        outcome,
        _amount(fields),
        fields.get("queryId", "")[:REF_CHARS_MAX] or None,
        paid_at,
        status,
        is_undone=status in UNDONE,
    )


def payment_news(fields: Mapping[str, str]) -> PaymentResult:
    """What a notification says of a payment.  Raises SignatureMismatch if it is none after all."""
    status = fields["respCode"]
    outcome = _outcome_of(fields, status, over=False)
    amount = _amount(fields)
    # The answer to an order for a QR code or an app also says 00, but knows no such numbers yet.
    if outcome is Outcome.SUCCEEDED and (amount is None or not _is_carried_out(fields)):
        raise SignatureMismatch("the notification of a payment lacks its amount or numbers")
    return PaymentResult(
        out_trade_no=fields["orderId"],
        outcome=outcome,
        amount=amount,
        provider_ref=fields.get("queryId", "")[:REF_CHARS_MAX] or None,
        paid_at=_traced_at(fields) if outcome is Outcome.SUCCEEDED else None,
        provider_status=status,
        is_undone=status in UNDONE,
    )


def refund_news(fields: Mapping[str, str]) -> RefundResult:
    """What a notification says of a refund or a void.  Raises SignatureMismatch if it is none after all."""
    status = fields["respCode"]
    outcome = refund_outcome(status)
    if outcome is Outcome.FAILED and fields["txnType"] == VOID_TYPE:
        outcome = Outcome.PENDING  # a refund of the same number may be under way in its place: ask
    # The answer to a refund also says 00, for "accepted".
    if outcome is Outcome.SUCCEEDED and not _is_carried_out(fields):
        raise SignatureMismatch("the notification of a refund lacks its numbers")
    return RefundResult(
        out_trade_no=fields.get("reqReserved", ""),
        out_refund_no=fields["orderId"],
        outcome=outcome,
        amount=_amount(fields),
        provider_ref=fields.get("queryId", "")[:REF_CHARS_MAX] or None,
        refunded_at=_traced_at(fields) if outcome is Outcome.SUCCEEDED else None,
        provider_status=status,
    )


def refund_answer(order: RefundOrder, fields: Mapping[str, str]) -> RefundResult:
    """What the answer to a query says of a refund."""
    status = fields.get("origRespCode", "")
    return refund_result(order, refund_outcome(status), status, fields)


def refund_result(
    order: RefundOrder, outcome: Outcome, status: str, fields: Mapping[str, str] | None = None
) -> RefundResult:
    """The result of a refund that was asked for, with what the fields say beside."""
    said = fields or {}
    succeeded = outcome is Outcome.SUCCEEDED
    return RefundResult(
        out_trade_no=order.payment.out_trade_no,
        out_refund_no=order.out_refund_no,
        outcome=outcome,
        amount=(_amount(said) or order.amount) if succeeded else None,
        provider_ref=said.get("queryId", "")[:REF_CHARS_MAX] or None,
        refunded_at=_moment(said.get("traceTime", ""), order.started_at) if succeeded else None,
        provider_status=status,
    )


def _fate(status: str) -> Fate:
    known = unionpay_codes.fate(status)
    if known is None:
        log.warning("unionpay: unknown response code of a transaction", extra={"status": status[:64]})
        return Fate.PENDING
    return known


def _outcome_of(fields: Mapping[str, str], status: str, *, over: bool) -> Outcome:
    if fields.get("txnSubType") != ONE_TRY:
        return payment_outcome(status, over=over)
    if status in UNDONE:
        return Outcome.CLOSED  # given up, and no failure
    return payment_outcome(status, over=over or status not in BEING_ENTERED)


def _is_carried_out(fields: Mapping[str, str]) -> bool:
    return bool(fields.get("queryId") and fields.get("traceNo"))


def _traced_at(fields: Mapping[str, str]) -> datetime | None:
    try:
        sent_at = clock.from_beijing(fields.get("txnTime", ""), STAMP)
    except (ValueError, OverflowError):
        return None
    return _moment(fields.get("traceTime", ""), sent_at)


def _moment(text: str, near: datetime) -> datetime | None:
    """When a transaction was carried out.  An unreadable time is no reason to refuse money."""
    try:
        return unionpay_wire.moment_near(text, near)
    except ValueError:
        return None


def _amount(fields: Mapping[str, str]) -> Money | None:
    """The amount of the transaction, or None for anything that is not one.

    Of ``txnAmt``, not of ``settleAmt``: UnionPay bears what its coupons take off.
    """
    text, currency = fields.get("txnAmt", ""), CURRENCIES.get(fields.get("currencyCode", ""))
    if currency is None or _DIGITS.fullmatch(text) is None or int(text) == 0:
        return None
    return Money(int(text), currency)
