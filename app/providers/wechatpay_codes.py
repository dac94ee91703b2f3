"""What WeChat Pay's error codes mean for us, as data: one row per word of the manual.

HTTP status and code decide together; the message is for people and never read.
Source: WeChat Pay API v3, error codes, and the error table of each call.
"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What an answer says about the call that it answers."""

    DONE = "done"  # accepted: read the fields
    REJECTED = "rejected"  # a definite no to this call; sending it again changes nothing
    ABSENT = "absent"  # WeChat Pay has no such order or refund (yet); nothing happened
    CLOSED = "closed"  # the order is closed; nothing happened
    QUERY = "query"  # the order is not where we thought; nothing happened, a query tells
    UNKNOWN = "unknown"  # perhaps done, perhaps not now: query or repeat with the same number
    UNFUNDED = "unfunded"  # not done; the same number goes through once the merchant has topped up


CODES: dict[str, tuple[Verdict, str]] = {
    # The request itself
    "PARAM_ERROR": (Verdict.REJECTED, "parameter invalid"),
    "INVALID_REQUEST": (Verdict.REJECTED, "request against the rules"),
    "SIGN_ERROR": (Verdict.REJECTED, "our signature or our clock is wrong"),
    "APPID_MCHID_NOT_MATCH": (Verdict.REJECTED, "app id is not bound to the merchant number"),
    "MCH_NOT_EXISTS": (Verdict.REJECTED, "merchant number does not exist"),
    "NO_AUTH": (Verdict.REJECTED, "no permission for this product"),
    "RULE_LIMIT": (Verdict.REJECTED, "refused by a business rule"),
    "TRADE_ERROR": (Verdict.REJECTED, "trade refused"),
    # Where the order is
    "ORDER_CLOSED": (Verdict.CLOSED, "order closed"),
    "OUT_TRADE_NO_USED": (Verdict.QUERY, "number already used with other parameters"),
    "ORDERPAID": (Verdict.QUERY, "already paid"),
    "ORDER_NOT_EXIST": (Verdict.ABSENT, "no such order, or not yet"),
    "RESOURCE_NOT_EXISTS": (Verdict.ABSENT, "no such thing, or not yet"),
    # The payer, or who pays a refund
    "ACCOUNT_ERROR": (Verdict.REJECTED, "payer's account unusable"),
    "USER_ACCOUNT_ABNORMAL": (Verdict.REJECTED, "payer's account unusable"),
    "NOT_ENOUGH": (Verdict.REJECTED, "balance too low"),
    "AUTH_CODE_INVALID": (Verdict.REJECTED, "payment code invalid"),
    "AUTHCODEEXPIRE": (Verdict.REJECTED, "payment code expired"),
    "USERPAYING": (Verdict.UNKNOWN, "payer is entering the password"),
    # Not now.  A refused call did not happen, but the same one may succeed in a minute: a "no" here
    # would release a refund's reserve for good.
    "FREQUENCY_LIMITED": (Verdict.UNKNOWN, "called too often"),
    "RATELIMIT_EXCEEDED": (Verdict.UNKNOWN, "called too often"),
    "SYSTEM_ERROR": (Verdict.UNKNOWN, "system error"),
    "SERVICE_UNAVAILABLE": (Verdict.UNKNOWN, "service unavailable"),
    "BANK_ERROR": (Verdict.UNKNOWN, "bank's system error"),
    # Bills
    "NO_STATEMENT_EXIST": (Verdict.REJECTED, "no bill for that day"),
    "STATEMENT_CREATING": (Verdict.REJECTED, "the bill is being made"),
}

# Refusals that the next shopper would meet as well.
ACCOUNT_FAULTS = frozenset({"SIGN_ERROR", "APPID_MCHID_NOT_MATCH", "MCH_NOT_EXISTS", "NO_AUTH"})

# The same words where money goes back.
REFUND_CODES: dict[str, tuple[Verdict, str]] = {
    "NOT_ENOUGH": (Verdict.UNFUNDED, "merchant's balance too low for the refund"),
}


def judge(status: int, code: str, *, refunding: bool = False) -> tuple[Verdict, str] | None:
    """What a refusal means, in our verdict and in English; None for a word that is in no table.  Pure.

    ``(404, "ORDER_NOT_EXIST") -> (Verdict.ABSENT, "no such order, or not yet")``.  Only a 4xx can be a
    definite no, whatever the code beside it.
    """
    if status == 429:
        return Verdict.UNKNOWN, "called too often"
    if not 400 <= status < 500:
        return Verdict.UNKNOWN, f"HTTP {status}"
    return (REFUND_CODES.get(code) if refunding else None) or CODES.get(code)
