"""What moves money between accounts: every event of the ledger, each with its two sides.  Pure.

``docs/ledger.md`` has the same as a table.
"""

from __future__ import annotations

from enum import StrEnum

from app.ledger.accounts import Kind, clearing
from app.ledger.post import Transfer


class Event(StrEnum):
    """What became of a cause.  Stored as text."""

    PAYMENT = "payment"  # of an attempt: a provider took money
    FEE = "fee"  # of an attempt: what its provider keeps, by the merchant's rates
    FEE_ADJUSTED = "fee_adjusted"  # of an attempt: its provider's bill says otherwise
    CREDITED = "credited"  # of a decision: a charge took what had waited
    SET_ASIDE = "set_aside"  # of a decision: settled elsewhere
    REFUND_RESERVED = "refund_reserved"
    REFUND_SUCCEEDED = "refund_succeeded"
    REFUND_FAILED = "refund_failed"  # or declined: what was reserved is free again
    REFUND_CONTRADICTED = "refund_contradicted"  # went back after all, after it had failed
    FEE_BACK = "fee_back"  # of a refund: its provider gave back so much of the fee
    # Of a movement of a member's purse: of what was paid in, and of the bonus.
    TOPUP = "topup"
    TOPUP_BONUS = "topup_bonus"
    TOPUP_TAKEN_BACK = "topup_taken_back"  # its refund was asked for
    TOPUP_TAKEN_BACK_BONUS = "topup_taken_back_bonus"
    TOPUP_GIVEN_BACK = "topup_given_back"  # that failed
    TOPUP_GIVEN_BACK_BONUS = "topup_given_back_bonus"
    TOPUP_TAKEN_AGAIN = "topup_taken_again"  # and went back after all
    TOPUP_TAKEN_AGAIN_BONUS = "topup_taken_again_bonus"
    DEBIT = "debit"  # spent
    DEBIT_BONUS = "debit_bonus"
    REVERSAL = "reversal"  # of a debit
    REVERSAL_BONUS = "reversal_bonus"
    ADJUSTMENT = "adjustment"  # by hand
    ADJUSTMENT_BONUS = "adjustment_bonus"


# Where what was paid in comes from, or goes to.  A charge's money went to sales when it was paid.
_FACING = {
    Event.TOPUP: Kind.SALES,
    Event.TOPUP_TAKEN_BACK: Kind.REFUNDS,
    Event.TOPUP_GIVEN_BACK: Kind.REFUNDS,
    Event.TOPUP_TAKEN_AGAIN: Kind.REFUNDS,
    Event.DEBIT: Kind.SALES,
    Event.REVERSAL: Kind.SALES,
    Event.ADJUSTMENT: Kind.ADJUSTMENTS,
}


def payment(
    account_id: str, attempt_id: str, minor: int, charge_id: str | None, *, is_taken: bool
) -> Transfer:
    """Money came in; ``is_taken`` by its charge, or it waits."""
    credit = Kind.SALES if is_taken else Kind.UNCLAIMED
    return Transfer(Event.PAYMENT, attempt_id, clearing(account_id), credit, minor, charge_id)


def fee(account_id: str, attempt_id: str, minor: int, charge_id: str | None) -> Transfer:
    """A provider keeps its fee."""
    return Transfer(Event.FEE, attempt_id, Kind.FEES, clearing(account_id), minor, charge_id)


def fee_adjusted(account_id: str, attempt_id: str, more_minor: int, charge_id: str | None) -> Transfer:
    """It kept so much more than was foreseen; below zero: less."""
    sides = (Kind.FEES, clearing(account_id))
    debit, credit = sides if more_minor > 0 else sides[::-1]
    return Transfer(Event.FEE_ADJUSTED, attempt_id, debit, credit, abs(more_minor), charge_id)


def fee_back(account_id: str, refund_id: str, minor: int, charge_id: str | None) -> Transfer:
    """A provider gives back a part of its fee with a refund."""
    return Transfer(Event.FEE_BACK, refund_id, clearing(account_id), Kind.FEES, minor, charge_id)


def credited(decision_id: str, minor: int, charge_id: str | None) -> Transfer:
    """A person had a charge take what waited."""
    return Transfer(Event.CREDITED, decision_id, Kind.UNCLAIMED, Kind.SALES, minor, charge_id)


def set_aside(decision_id: str, minor: int, charge_id: str | None) -> Transfer:
    """A person settled elsewhere what waited."""
    return Transfer(Event.SET_ASIDE, decision_id, Kind.UNCLAIMED, Kind.ELSEWHERE, minor, charge_id)


def refund_reserved(refund_id: str, minor: int, charge_id: str | None, *, is_unneeded: bool) -> Transfer:
    """So much is to go back: of what a charge took, or of what none needed."""
    source = _source(is_unneeded=is_unneeded)
    return Transfer(Event.REFUND_RESERVED, refund_id, source, Kind.REFUNDS_PAYABLE, minor, charge_id)


def refund_failed(refund_id: str, minor: int, charge_id: str | None, *, is_unneeded: bool) -> Transfer:
    """It does not go back."""
    source = _source(is_unneeded=is_unneeded)
    return Transfer(Event.REFUND_FAILED, refund_id, Kind.REFUNDS_PAYABLE, source, minor, charge_id)


def refund_succeeded(account_id: str, refund_id: str, minor: int, charge_id: str | None) -> Transfer:
    """It went back."""
    return Transfer(
        Event.REFUND_SUCCEEDED, refund_id, Kind.REFUNDS_PAYABLE, clearing(account_id), minor, charge_id
    )


def refund_contradicted(
    account_id: str, refund_id: str, minor: int, charge_id: str | None, *, is_unneeded: bool
) -> Transfer:
    """It went back, and nothing was reserved for it any more."""
    source = _source(is_unneeded=is_unneeded)
    return Transfer(Event.REFUND_CONTRADICTED, refund_id, source, clearing(account_id), minor, charge_id)


def _source(*, is_unneeded: bool) -> Kind:
    return Kind.UNCLAIMED if is_unneeded else Kind.REFUNDS


def moved(
    kind: str, movement_id: str, balance_minor: int, bonus_minor: int, charge_id: str | None
) -> list[Transfer]:
    """A member's purse holds so much more, below zero: less, of either kind."""
    parts = [(Event(kind), _FACING[Event(kind)], balance_minor)]
    parts.append((Event(f"{kind}_bonus"), Kind.BONUS, bonus_minor))
    return [
        Transfer(
            event,
            movement_id,
            facing if minor > 0 else Kind.MEMBERS,
            Kind.MEMBERS if minor > 0 else facing,
            abs(minor),
            charge_id,
        )
        for event, facing, minor in parts
        if minor
    ]
