"""What UnionPay's response codes mean for us, as data: one row per code of the manual.

A code stands in two places and is read in two ways: as ``respCode`` it judges a call (``judge``), as
``origRespCode`` in a query or ``respCode`` in a notification it tells what became of a transaction
(``fate``).  Source: UnionPay ACP 5.1.0, appendix of response codes.
"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a response code says about the call that it answers."""

    DONE = "done"  # accepted: read the other fields
    UNKNOWN = "unknown"  # perhaps done: ask with the same number
    LATER = "later"  # not done, and the same call may be taken in a while
    DUPLICATE = "duplicate"  # this number was used already: ask what became of it
    ABSENT = "absent"  # UnionPay has no such transaction (yet)
    REJECTED = "rejected"  # a definite no; sending it again changes nothing


class Fate(StrEnum):
    """What a response code says about a transaction."""

    SUCCEEDED = "succeeded"
    PENDING = "pending"
    FAILED = "failed"  # of a payment, for good only after its payTimeout: until then it can be tried again
    OVER = "over"  # failed, and the code itself says that the payTimeout is past


CODES: dict[str, tuple[Verdict, str]] = {
    "00": (Verdict.DONE, "accepted"),
    "A6": (Verdict.DONE, "accepted, with defects"),  # the money moved: the manual says to treat it as paid
    "01": (Verdict.REJECTED, "failed"),
    # Nothing happened, but a "no" here would release a refund's reserve for good.
    "02": (Verdict.LATER, "system closed for a while"),
    "03": (Verdict.UNKNOWN, "timed out on the way"),
    "04": (Verdict.UNKNOWN, "state unknown"),
    "05": (Verdict.UNKNOWN, "accepted, not finished"),
    "06": (Verdict.UNKNOWN, "system busy"),
    "10": (Verdict.REJECTED, "message format wrong"),
    "11": (Verdict.REJECTED, "our signature was not accepted"),
    "12": (Verdict.DUPLICATE, "number already used"),
    "13": (Verdict.REJECTED, "required field missing"),
    "30": (Verdict.REJECTED, "failed"),
    "31": (Verdict.REJECTED, "merchant is in a state that forbids this"),
    "32": (Verdict.REJECTED, "no right to this transaction"),
    "33": (Verdict.REJECTED, "amount over the limit"),
    "34": (Verdict.ABSENT, "no such transaction, or not opened by the payer yet"),
    "35": (Verdict.REJECTED, "original transaction missing or in another state"),
    "36": (Verdict.REJECTED, "does not match the original transaction"),
    "37": (Verdict.LATER, "asked too often"),
    "38": (Verdict.REJECTED, "refused by risk control"),
    "39": (Verdict.LATER, "outside the hours of service"),
    "40": (Verdict.REJECTED, "card binding not accepted"),
    "42": (Verdict.REJECTED, "paid after the deadline, and reversed"),
    "43": (Verdict.REJECTED, "product not open to this merchant"),
    "45": (Verdict.REJECTED, "already voided or refunded"),
    "46": (Verdict.REJECTED, "already reversed"),
    "60": (Verdict.REJECTED, "refused by the card's bank"),
    "61": (Verdict.REJECTED, "card not valid"),
    "64": (Verdict.REJECTED, "balance too low"),
    "65": (Verdict.REJECTED, "over the card's limit"),
    "66": (Verdict.REJECTED, "payer's identity not confirmed"),
    "67": (Verdict.REJECTED, "too many wrong PINs"),
    "68": (Verdict.REJECTED, "not supported by the card's bank"),
    "69": (Verdict.REJECTED, "payer did not finish in time"),
    "70": (Verdict.REJECTED, "still being entered by the payer"),
    "73": (Verdict.REJECTED, "card expired"),
    "77": (Verdict.REJECTED, "card not enrolled"),
    "80": (Verdict.REJECTED, "token expired"),
    "83": (Verdict.REJECTED, "not finished by the card's bank"),
    "85": (Verdict.REJECTED, "marketing conditions not met"),
    "86": (Verdict.REJECTED, "code in another state"),
    "87": (Verdict.REJECTED, "over the limit of transactions"),
    "88": (Verdict.REJECTED, "no such code"),
    "89": (Verdict.REJECTED, "token missing"),
    "98": (Verdict.REJECTED, "no such file, or not yet"),
    "99": (Verdict.REJECTED, "failed"),
}
# Refusals that the next shopper would meet as well.
ACCOUNT_FAULTS = frozenset({"11", "31", "32", "43"})
# The one failure that cannot come before the deadline.
_OVER = "42"
_FATES = {
    Verdict.DONE: Fate.SUCCEEDED,
    Verdict.UNKNOWN: Fate.PENDING,
    Verdict.DUPLICATE: Fate.PENDING,  # it speaks of a second message, not of the transaction
}


def judge(code: str) -> tuple[Verdict, str] | None:
    """What a code means for the call it answers, and in English; None for one in no table.  Pure.

    ``"34" -> (Verdict.ABSENT, "no such transaction, ...")``
    """
    return CODES.get(code)


def fate(code: str) -> Fate | None:
    """What a code says of a transaction; None for one that is in no table.  Pure.

    ``"A6" -> Fate.SUCCEEDED``, ``"05" -> Fate.PENDING``, ``"64" -> Fate.FAILED``
    """
    row = CODES.get(code)
    if row is None:
        return None
    return Fate.OVER if code == _OVER else _FATES.get(row[0], Fate.FAILED)
