"""What Alipay's result codes mean for us, as data: one row per word of the manual.

Source: Alipay open platform, common error codes, and the error table of each alipay.trade method.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Verdict(StrEnum):
    """What an answer says about the call that it answers."""

    DONE = "done"  # accepted: read the business fields
    REJECTED = "rejected"  # a definite no to this call; sending it again changes nothing
    ABSENT = "absent"  # Alipay has no such trade (yet); nothing happened
    CLOSED = "closed"  # the trade is closed; nothing happened
    QUERY = "query"  # the trade is not where we thought; nothing happened, a query tells
    UNKNOWN = "unknown"  # perhaps done, perhaps not now: query or repeat with the same number
    UNFUNDED = "unfunded"  # not done; the same number goes through once the merchant has topped up


# Gateway codes.  40004 is not here: it is decided by its sub_code.
CODES: dict[str, tuple[Verdict, str]] = {
    "10000": (Verdict.DONE, "accepted"),
    "10003": (Verdict.UNKNOWN, "waiting for the buyer"),
    "20000": (Verdict.UNKNOWN, "service unavailable"),
    "20001": (Verdict.REJECTED, "authorisation token invalid"),
    "40001": (Verdict.REJECTED, "required parameter missing"),
    "40002": (Verdict.REJECTED, "parameter invalid"),
    "40003": (Verdict.REJECTED, "conditions for this method not met"),
    # A refused call did not happen, but the same one may succeed in a minute: a "no" here would
    # release a refund's reserve for good.
    "40005": (Verdict.UNKNOWN, "called too often"),
    "40006": (Verdict.REJECTED, "no permission for this method"),
}
BUSINESS_FAILURE = "40004"

# Business sub codes, without their ``ACQ.``, ``aop.ACQ.``, ``isp.`` or ``isv.`` prefix.
SUB_CODES: dict[str, tuple[Verdict, str]] = {
    "SYSTEM_ERROR": (Verdict.UNKNOWN, "system error"),
    "unknow-error": (Verdict.UNKNOWN, "system error"),  # the manual's spelling
    "TRADE_NOT_EXIST": (Verdict.ABSENT, "no such trade, or not opened by the buyer yet"),
    "TRADE_HAS_SUCCESS": (Verdict.QUERY, "already paid"),
    "TRADE_HAS_CLOSE": (Verdict.CLOSED, "trade closed"),
    "TRADE_BUYER_NOT_MATCH": (Verdict.QUERY, "another buyer opened this trade"),
    "CONTEXT_INCONSISTENT": (Verdict.QUERY, "number already used with other parameters"),
    "TRADE_STATUS_ERROR": (Verdict.QUERY, "trade is in another state"),
    "REASON_TRADE_STATUS_INVALID": (Verdict.QUERY, "trade is in another state"),
    # Paying
    "PAYMENT_AUTH_CODE_INVALID": (Verdict.REJECTED, "payment code invalid"),
    "SOUNDWAVE_PARSER_FAIL": (Verdict.REJECTED, "payment code unreadable"),
    "BUYER_BALANCE_NOT_ENOUGH": (Verdict.REJECTED, "buyer's balance too low"),
    "BUYER_BANKCARD_BALANCE_NOT_ENOUGH": (Verdict.REJECTED, "buyer's card balance too low"),
    "ERROR_BALANCE_PAYMENT_DISABLE": (Verdict.REJECTED, "buyer's balance is switched off"),
    "NO_PAYMENT_INSTRUMENTS_AVAILABLE": (Verdict.REJECTED, "buyer has nothing to pay with"),
    "PAYMENT_FAIL": (Verdict.REJECTED, "payment failed"),
    "BUYER_ENABLE_STATUS_FORBID": (Verdict.REJECTED, "buyer's account is barred"),
    "PULL_MOBILE_CASHIER_FAIL": (Verdict.REJECTED, "cashier could not be opened"),
    "MOBILE_PAYMENT_SWITCH_OFF": (Verdict.REJECTED, "buyer switched mobile payment off"),
    "BUYER_SELLER_EQUAL": (Verdict.REJECTED, "buyer and seller are the same"),
    "BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": (Verdict.REJECTED, "over the buyer's daily limit"),
    "BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR": (Verdict.REJECTED, "over the buyer's monthly limit"),
    "PAYMENT_REQUEST_HAS_RISK": (Verdict.REJECTED, "refused by risk control"),
    "TOTAL_FEE_EXCEED": (Verdict.REJECTED, "amount over the limit"),
    "BEYOND_PAY_RESTRICTION": (Verdict.REJECTED, "over the merchant's total limit"),
    "BEYOND_PER_RECEIPT_RESTRICTION": (Verdict.REJECTED, "over the merchant's limit per payment"),
    "SELLER_BEEN_BLOCKED": (Verdict.REJECTED, "merchant's account is barred"),
    "EXIST_FORBIDDEN_WORD": (Verdict.REJECTED, "description holds a forbidden word"),
    "PARTNER_ERROR": (Verdict.REJECTED, "application id is wrong"),
    "ACCESS_FORBIDDEN": (Verdict.REJECTED, "no contract for this product"),
    "INVALID_PARAMETER": (Verdict.REJECTED, "parameter invalid"),
    # Refunding
    "SELLER_BALANCE_NOT_ENOUGH": (Verdict.UNFUNDED, "merchant's balance too low for the refund"),
    "REFUND_AMT_NOT_EQUAL_TOTAL": (Verdict.REJECTED, "refund is not the whole amount"),
    "REASON_TRADE_REFUND_FEE_ERR": (Verdict.REJECTED, "refund exceeds what is left"),
    "REFUND_FEE_ERROR": (Verdict.REJECTED, "refund amount invalid"),
    "TRADE_NOT_ALLOW_REFUND": (Verdict.REJECTED, "trade cannot be refunded"),
    "TRADE_HAS_FINISHED": (Verdict.REJECTED, "refund window is over"),
    "NOT_ALLOW_PARTIAL_REFUND": (Verdict.REJECTED, "partial refund not allowed"),
    "REASON_REFUND_TIMEOUT": (Verdict.REJECTED, "refund window is over"),
    # Bills
    "bill_not_exist": (Verdict.REJECTED, "no bill for that day, or not yet"),
    "BILL_NOT_EXIST": (Verdict.REJECTED, "no bill for that day, or not yet"),
    "INVAILID_ARGUMENTS": (Verdict.REJECTED, "parameter invalid"),  # the manual's spelling
}

# Refusals, by the end of their sub code, that the next shopper would meet as well.
# Source: Alipay open platform, common error codes 20001, 40002, 40006, and alipay.trade.precreate and .pay.
ACCOUNT_FAULTS = frozenset(
    {
        "invalid-auth-token",
        "invalid-app-auth-token",
        "invalid-app-auth-token-no-api",
        "auth-token-time-out",
        "app-auth-token-time-out",
        "no-product-reg-by-partner",
        "invalid-app-id",
        "invalid-signature",
        "invalid-signature-type",
        "invalid-timestamp",
        "insufficient-isv-permissions",
        "insufficient-user-permissions",
        "PARTNER_ERROR",
        "ACCESS_FORBIDDEN",
        "SELLER_BEEN_BLOCKED",
        "BEYOND_PAY_RESTRICTION",
    }
)

_PREFIX = re.compile(r"(?:aop\.)?(?:ACQ|isp|isv|aop)\.")
# The manual lists a family of limits (day, month, and more by contract) under one pattern.
_BUYER_LIMIT = re.compile(r"BUYER_PAYMENT_AMOUNT_[A-Z_]+_LIMIT_ERROR")


def judge(code: str, sub_code: str) -> tuple[Verdict, str] | None:
    """What a result means, in our verdict and in English; None for a word that is in no table.  Pure.

    ``("40004", "ACQ.TRADE_NOT_EXIST") -> (Verdict.ABSENT, "no such trade, ...")``
    """
    if code != BUSINESS_FAILURE:
        return CODES.get(code)
    word = _PREFIX.sub("", sub_code, count=1)
    if _BUYER_LIMIT.fullmatch(word):
        return SUB_CODES.get(word, (Verdict.REJECTED, "over one of the buyer's limits"))
    return SUB_CODES.get(word)
