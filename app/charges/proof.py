"""Whether books and ledger are of one mind: each payment's rows against each other and its entries.  Pure.

Of two rows that contradict each other nobody can say which one was changed, so a fault names both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.charges.bookings import PAYING, history_of
from app.charges.states import AttemptState, ChargeState, Deed, RefundState
from app.ledger.events import Event
from app.ledger.post import Posting, rows_of
from app.money import Money

_MONEY_IN = (AttemptState.SUCCEEDED, AttemptState.MISMATCHED)


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not hold, by the row that says it: ``ledger_entries at_1/payment``."""

    merchant_id: str
    table: str
    row_id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {self.row_id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Payment:
    """An attempt with everything that was written of it; ``charge`` is its own, if it has one."""

    attempt: Any  # with ``livemode`` of its account
    charge: Any
    refunds: Sequence[Any]
    decisions: Sequence[Any]
    entries: Sequence[Any]


def faults_of(payment: Payment) -> Iterator[Fault]:
    """Everything that is wrong with a payment."""
    yield from _compare(payment)
    yield from _check_attempt(payment)
    if payment.charge is not None and payment.attempt.settles:
        yield from _check_charge(payment)
    for refund in payment.refunds:
        yield from _check_refund(payment, refund)
    for decision in payment.decisions:
        yield from _check_decision(payment, decision)


def _compare(payment: Payment) -> Iterator[Fault]:
    """Every entry that the books call for is there as they say, and no other."""
    attempt = payment.attempt
    found = {(row.cause_id, row.event): row for row in payment.entries}
    failed = {cause_id for cause_id, event in found if event == Event.REFUND_FAILED}
    for at, transfer in history_of(attempt, payment.refunds, payment.decisions, failed):
        posting = Posting(
            attempt.merchant_id, attempt.livemode, attempt.received_currency, attempt.id, [transfer]
        )
        [wanted] = rows_of(posting, at)
        row = found.pop((transfer.cause_id, transfer.event), None)
        if row is None:
            yield _of_entry(attempt, transfer.cause_id, transfer.event, f"is missing: {_told(wanted)}")
            continue
        for name, value in wanted.items():
            if name != "posted_at" and getattr(row, name) != value:
                reason = f"{name} is {getattr(row, name)}, and {value} by {_witness(transfer.cause_id)}"
                yield _of_entry(attempt, transfer.cause_id, transfer.event, reason)
    for cause_id, event in found:
        yield _of_entry(attempt, cause_id, event, "tells of something that the books do not know")


def _check_attempt(payment: Payment) -> Iterator[Fault]:
    attempt = payment.attempt
    received_minor = attempt.received_minor or 0
    live_minor = _live(payment.refunds)
    aside_minor = sum(row.amount_minor for row in payment.decisions if row.deed == Deed.SET_ASIDE)
    if attempt.received_minor is not None and attempt.state not in _MONEY_IN:
        yield _of(attempt, f"is {attempt.state}, and {received_minor} came in")
    if attempt.received_minor is None and (attempt.settles or payment.entries):
        yield _of(attempt, "has no money, and the ledger or its charge has some of it")
    if attempt.refunded_minor != min(live_minor, received_minor):
        yield _of(attempt, f"refunded_minor is {attempt.refunded_minor}, and {live_minor} by its refunds")
    if attempt.outside_minor != aside_minor:
        yield _of(attempt, f"outside_minor is {attempt.outside_minor}, and {aside_minor} by its decisions")
    if not attempt.settles and attempt.credited_minor:
        yield _of(attempt, f"credited_minor is {attempt.credited_minor}, and it settles nothing")
    if attempt.settles and payment.charge is None:
        yield _of(attempt, f"settles charge {attempt.charge_id}, which is not there")


def _check_charge(payment: Payment) -> Iterator[Fault]:
    """Of a charge that this attempt settles."""
    attempt, charge = payment.attempt, payment.charge
    back_minor = min(_live([row for row in payment.refunds if not row.automatic]), attempt.credited_minor)
    paying = [row for row in payment.decisions if row.deed in PAYING]
    credited_minor = paying[0].amount_minor if paying else attempt.received_minor
    facts = {
        "state": (charge.state, ChargeState.PAID),
        "paid_attempt_id": (charge.paid_attempt_id, attempt.id),
        "paid_minor": (charge.paid_minor, attempt.credited_minor),
        "refunded_minor": (charge.refunded_minor, back_minor),
        "currency": (charge.currency, attempt.received_currency),
        "livemode": (charge.livemode, attempt.livemode),
        "provider": (charge.provider, attempt.provider),
    }
    if not paying:
        facts["amount_minor"] = (charge.amount_minor, attempt.received_minor)
    for name, (said, meant) in facts.items():
        if said != meant:
            reason = f"{name} is {said}, and {meant} by attempt {attempt.id} and its refunds"
            yield Fault(charge.merchant_id, "charges", charge.id, reason)
    if attempt.credited_minor != credited_minor:
        yield _of(attempt, f"credited_minor is {attempt.credited_minor}, where {credited_minor} was taken")


def _check_refund(payment: Payment, refund: Any) -> Iterator[Fault]:
    attempt = payment.attempt
    facts = {
        "currency": (refund.currency, attempt.received_currency),
        "livemode": (refund.livemode, attempt.livemode),
    }
    for name, (said, meant) in facts.items():
        if said != meant:
            reason = f"{name} is {said}, and {meant} by attempt {attempt.id}"
            yield Fault(refund.merchant_id, "refunds", refund.id, reason)


def _check_decision(payment: Payment, decision: Any) -> Iterator[Fault]:
    attempt = payment.attempt
    reason = ""
    if decision.currency != attempt.received_currency:
        reason = f"currency is {decision.currency}, and {attempt.received_currency} by attempt {attempt.id}"
    elif decision.deed in PAYING and (not attempt.settles or decision.charge_id != attempt.charge_id):
        reason = f"pays charge {decision.charge_id}, and attempt {attempt.id} does not"
    elif decision.deed == Deed.REFUNDED and not _sent(payment.refunds, decision.amount_minor):
        reason = f"sent {decision.amount_minor} back, and no refund of attempt {attempt.id} is of that"
    if reason:
        yield Fault(decision.merchant_id, "decisions", decision.id, reason)


def _live(refunds: Sequence[Any]) -> int:
    return sum(row.amount_minor for row in refunds if row.state != RefundState.FAILED)


def _sent(refunds: Sequence[Any], minor: int) -> bool:
    return any(row.automatic and row.amount_minor == minor for row in refunds)


def _of(attempt: Any, reason: str) -> Fault:
    return Fault(attempt.merchant_id, "attempts", attempt.id, reason)


def _of_entry(attempt: Any, cause_id: str, event: str, reason: str) -> Fault:
    return Fault(attempt.merchant_id, "ledger_entries", f"{cause_id}/{event}", reason)


def _witness(cause_id: str) -> str:
    tables = {"at": "attempts", "re": "refunds", "dec": "decisions"}
    return f"{tables[cause_id.partition('_')[0]]} {cause_id}"


def _told(wanted: dict[str, Any]) -> str:
    amount = Money(wanted["amount_minor"], wanted["currency"])
    return f"{_witness(wanted['cause_id'])} says {amount} from {wanted['credit']} to {wanted['debit']}"
