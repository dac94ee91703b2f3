"""Whether a member's purse is the sum of its movements, and these of their entries and causes.  Pure.

The causes are top-ups and their charges, refunds of those, and debits; of what a person gave or took by hand
the movement itself and the audit log are the only witnesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.charges.proof import Fault
from app.charges.states import RefundState
from app.ledger.post import rows_of
from app.money import Money
from app.purses.bonus import bonus_for
from app.purses.change import posting_of
from app.purses.debits import reversal_of
from app.purses.models import MoveKind

_REFUNDS = (MoveKind.TOPUP_TAKEN_BACK, MoveKind.TOPUP_GIVEN_BACK, MoveKind.TOPUP_TAKEN_AGAIN)


@dataclass(frozen=True, slots=True)
class Purse:
    """A member with everything that was written of them; movements by number."""

    member: Any
    movements: Sequence[Any]
    entries: Sequence[Any]
    debits: Sequence[Any]
    topups: Sequence[Any]
    charges: Mapping[str, Any]  # those of the top-ups, by id
    refunds: Sequence[Any]  # what was asked for of those charges


def faults_of_purse(purse: Purse) -> Iterator[Fault]:
    """Everything that is wrong with a member's purse."""
    yield from _check_sum(purse)
    yield from _compare_entries(purse)
    yield from _compare_causes(purse)
    for topup in purse.topups:
        yield from _check_topup(purse, topup)


def _check_sum(purse: Purse) -> Iterator[Fault]:
    """The movements lead from nothing to what the member has now."""
    member, balance_minor, bonus_minor = purse.member, 0, 0
    for number, row in enumerate(purse.movements, 1):
        balance_minor += row.balance_minor
        bonus_minor += row.bonus_minor
        facts = {
            "number": (row.number, number),
            "balance_after_minor": (row.balance_after_minor, balance_minor),
            "bonus_after_minor": (row.bonus_after_minor, bonus_minor),
            "currency": (row.currency, member.currency),
            "livemode": (row.livemode, member.livemode),
        }
        yield from _differences(
            "member_movements", row, facts, f"member {member.id} and the movements before"
        )
    facts = {
        "balance_minor": (member.balance_minor, balance_minor),
        "bonus_minor": (member.bonus_minor, bonus_minor),
        "sequence": (member.sequence, len(purse.movements)),
    }
    yield from _differences("members", member, facts, "its movements")


def _compare_entries(purse: Purse) -> Iterator[Fault]:
    """Every entry that the movements call for is there as they say, and no other."""
    found = {(row.cause_id, row.event): row for row in purse.entries}
    for movement in purse.movements:
        for wanted in rows_of(posting_of(movement), movement.created_at):
            key = (wanted["cause_id"], wanted["event"])
            row = found.pop(key, None)
            if row is None:
                amount = Money(wanted["amount_minor"], wanted["currency"])
                told = f"{amount} from {wanted['credit']} to {wanted['debit']}"
                yield _of_entry(movement, *key, f"is missing: member_movements {movement.id} says {told}")
                continue
            for name, value in wanted.items():
                if name != "posted_at" and getattr(row, name) != value:
                    reason = f"{name} is {getattr(row, name)}, and {value} by member_movements {movement.id}"
                    yield _of_entry(movement, *key, reason)
    for cause_id, event in found:
        yield _of_entry(purse.member, cause_id, event, "tells of a movement that is not there")


def _compare_causes(purse: Purse) -> Iterator[Fault]:
    """Every movement that the books call for is there as they say, and no other."""
    found = {(row.cause_id, row.kind): row for row in purse.movements if row.kind != MoveKind.ADJUSTMENT}
    for table, cause, kind, balance_minor, bonus_minor in _called_for(purse):
        row = found.pop((cause.id, kind), None)
        witness = f"{table} {cause.id}"
        if row is None:
            reason = f"calls for a movement ({kind}) of member {purse.member.id} that is not there"
            yield Fault(cause.merchant_id, table, cause.id, reason)
            continue
        facts = {"balance_minor": (row.balance_minor, balance_minor)}
        if bonus_minor is not None:
            facts["bonus_minor"] = (row.bonus_minor, bonus_minor)
        yield from _differences("member_movements", row, facts, witness)
    for (cause_id, kind), movement in found.items():
        reason = f"is a {kind} of {cause_id}, and the books know of none"
        yield Fault(movement.merchant_id, "member_movements", movement.id, reason)


def _called_for(purse: Purse) -> Iterator[tuple[str, Any, MoveKind, int, int | None]]:
    """Table, cause, kind, balance and bonus; of a refund what it took of the bonus is told by its top-up."""
    for row in purse.topups:
        if row.credited_minor is not None:
            yield "topups", row, MoveKind.TOPUP, row.credited_minor, row.bonus_credited_minor
    for row in purse.debits:
        yield "member_debits", row, MoveKind.DEBIT, -row.balance_minor, -row.bonus_minor
        if row.reversed_at is not None:
            yield "member_debits", row, MoveKind.REVERSAL, *reversal_of(row, row.reversed_minor)
    had_failed = {row.cause_id for row in purse.movements if row.kind == MoveKind.TOPUP_GIVEN_BACK}
    for row in purse.refunds:
        yield "refunds", row, MoveKind.TOPUP_TAKEN_BACK, -row.amount_minor, None
        if row.state == RefundState.FAILED or row.id in had_failed:
            yield "refunds", row, MoveKind.TOPUP_GIVEN_BACK, row.amount_minor, None
        if row.state != RefundState.FAILED and row.id in had_failed:
            yield "refunds", row, MoveKind.TOPUP_TAKEN_AGAIN, -row.amount_minor, None


def _check_topup(purse: Purse, topup: Any) -> Iterator[Fault]:
    """A top-up against its charge, and against what its refunds took back."""
    charge = purse.charges.get(topup.charge_id)
    mine = {row.id for row in purse.refunds if row.charge_id == topup.charge_id}
    taken = [row for row in purse.movements if row.cause_id in mine and row.kind in _REFUNDS]
    paid_minor = None if charge is None else charge.paid_minor
    facts = {
        "credited_minor": (topup.credited_minor, paid_minor),
        "bonus_credited_minor": (topup.bonus_credited_minor, bonus_for(topup.tiers, paid_minor or 0)),
        "taken_minor": (topup.taken_minor, -sum(row.balance_minor for row in taken)),
        "bonus_taken_minor": (topup.bonus_taken_minor, -sum(row.bonus_minor for row in taken)),
        "currency": (topup.currency, purse.member.currency),
        "livemode": (topup.livemode, purse.member.livemode),
    }
    yield from _differences("topups", topup, facts, f"charge {topup.charge_id} and its refunds")
    if charge is not None:
        facts = {
            "topup_id": (charge.topup_id, topup.id),
            "amount_minor": (charge.amount_minor, topup.amount_minor),
        }
        yield from _differences("charges", charge, facts, f"topups {topup.id}")


def _differences(table: str, row: Any, facts: Mapping[str, tuple[Any, Any]], witness: str) -> Iterator[Fault]:
    for name, (said, meant) in facts.items():
        if said != meant:
            yield Fault(row.merchant_id, table, row.id, f"{name} is {said}, and {meant} by {witness}")


def _of_entry(row: Any, cause_id: str, event: str, reason: str) -> Fault:
    return Fault(row.merchant_id, "ledger_entries", f"{cause_id}/{event}", reason)
