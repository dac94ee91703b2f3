"""What a line of a bill comes to, held against our books and the ledger.  Pure.

Three witnesses: the bill's line, the row of our attempt or refund, and the ledger's entry of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from app.charges.fees import refusal_of
from app.charges.states import RefundState
from app.money import Money
from app.reconciliation.states import MATCHED, Sort


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on a line, and what is written down of it.

    ``here_minor`` and ``here_fee_minor`` are signed as on a bill; without ``here_day`` the ledger has
    nothing of it.  ``fee_minor`` is what to book: kept of a payment, or back with a refund.
    """

    verdict: str
    subject: str
    cause_id: str | None = None
    here_minor: int = 0
    here_fee_minor: int = 0
    here_day: date | None = None
    fee_minor: int | None = None
    detail: str = ""

    @property
    def sort(self) -> Sort | None:
        """What is wrong; None: nothing."""
        return None if self.verdict == MATCHED else Sort(self.verdict)


@dataclass(frozen=True, slots=True)
class Ours:
    """An attempt or refund, with what its ledger entry says: ``entry_minor``, on the bill of ``here_day``.

    ``subject`` is what we call it, which a bill that leaves our number out does not know.
    """

    row: Any
    entry_minor: int | None
    here_day: date | None
    subject: str


@dataclass(frozen=True, slots=True)
class Around:
    """What else is known of a line's number."""

    ours: Ours | None = None
    is_taken: bool = False  # another line is about it already
    is_elsewhere: bool = False  # another account gave the number out


def judge(line: Any, around: Around) -> Finding:
    """The first thing that is wrong with a line, or that nothing is."""
    if line.kind == "unread":
        return Finding(Sort.MALFORMED, line.subject, detail=line.text)
    if line.kind == "totals":
        return Finding(Sort.TOTALS, line.subject, detail=line.text)
    if line.is_foreign or (around.ours is None and around.is_elsewhere):
        return Finding(
            Sort.OTHER_MERCHANT, line.subject, detail="the line is another merchant's or account's"
        )
    if around.ours is not None:
        return _judge_known(line, around.ours, is_taken=around.is_taken)
    if not line.out_trade_no:
        return Finding(Sort.ADJUSTMENT, line.subject, detail="the line names no payment")
    if line.kind == "payment":
        return Finding(Sort.MISSING_HERE, line.subject, detail="our books have no payment of this number")
    return Finding(Sort.REFUND_UNKNOWN, line.subject, detail="our books have no refund of this number")


def item_subject(line: Any, finding: Finding) -> str:
    """What the discrepancy of a line is called: a number may stand on more lines than one."""
    alone = (Sort.DUPLICATE, Sort.OTHER_MERCHANT, Sort.ADJUSTMENT)
    return f"{line.subject[:68]}#{line.number}" if finding.verdict in alone else finding.subject


def _judge_known(line: Any, ours: Ours, *, is_taken: bool) -> Finding:
    cause_id, row = str(ours.row.id), ours.row
    if is_taken:
        return Finding(Sort.DUPLICATE, ours.subject, cause_id, detail="it is on another line already")
    is_payment = line.kind == "payment"
    booked = _booked(row, is_payment=is_payment)
    if booked is None:
        waits = not is_payment and row.state in (RefundState.RESERVED, RefundState.AWAITING) and line.is_open
        verdict = MATCHED if waits else Sort.STATUS
        detail = "" if waits else f"done on the bill, and {row.state} here"
        return Finding(verdict, ours.subject, cause_id, detail=detail)
    sign = 1 if is_payment else -1
    if line.currency != booked.currency:
        # Of this currency we have nothing.
        detail = f"the bill says {_text(line.amount_minor, line.currency)}, we have {booked}"
        return Finding(Sort.CURRENCY, ours.subject, cause_id, detail=detail)
    if ours.entry_minor is None or ours.here_day is None:
        return Finding(Sort.LEDGER, ours.subject, cause_id, detail="the ledger has no entry of it")
    entry_minor = sign * ours.entry_minor
    fee = _fee(line, row, is_payment=is_payment)
    facts = (ours.subject, cause_id, entry_minor, fee.here_minor, ours.here_day, fee.book_minor)
    if line.amount_minor != sign * booked.minor:
        said, known = (_text(minor, line.currency) for minor in (line.amount_minor, sign * booked.minor))
        detail = f"the bill says {said}, we have {known}"
        return Finding(Sort.AMOUNT, *facts, detail=detail)
    if ours.entry_minor != booked.minor:
        detail = f"the ledger says {_text(ours.entry_minor, line.currency)}, and our books {booked}"
        return Finding(Sort.LEDGER, *facts, detail=detail)
    if fee.fault:
        return Finding(Sort.FEE, *facts, detail=fee.fault)
    return Finding(MATCHED, *facts)


@dataclass(frozen=True, slots=True)
class _Fee:
    here_minor: int
    book_minor: int | None = None
    fault: str = ""


def _fee(line: Any, row: Any, *, is_payment: bool) -> _Fee:
    """What of the line's fee is booked: kept of a payment (negative there), or back with a refund."""
    if not is_payment:
        known_minor = row.fee_back_minor
        if line.fee_minor < 0 or line.fee_minor > row.amount_minor:
            return _Fee(
                known_minor or 0, None, f"a fee of {_text(line.fee_minor, line.currency)} on a refund"
            )
        if known_minor not in (None, line.fee_minor):
            return _Fee(known_minor, None, f"it came back as {_text(known_minor, line.currency)} before")
        return _Fee(line.fee_minor, line.fee_minor or None)
    billed_minor = -line.fee_minor
    refusal = refusal_of(row, billed_minor)
    if refusal is not None:
        return _Fee(-(row.fee_billed_minor or 0), None, f"{_text(billed_minor, line.currency)}: {refusal}")
    if row.fee_minor not in (None, billed_minor):
        foreseen, billed = (_text(minor, line.currency) for minor in (row.fee_minor, billed_minor))
        return _Fee(-billed_minor, billed_minor, f"billed {billed}, foreseen {foreseen}")
    return _Fee(-billed_minor, billed_minor)


def _booked(row: Any, *, is_payment: bool) -> Money | None:
    """What our books say has come, or gone back."""
    if is_payment:
        return None if row.received_minor is None else Money(row.received_minor, row.received_currency)
    return Money(row.amount_minor, row.currency) if row.state == RefundState.SUCCEEDED else None


def _text(minor: int, currency: str) -> str:
    return str(Money(minor, currency))
