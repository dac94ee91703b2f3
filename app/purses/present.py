"""What the API and the events say of a member, a movement and a debit.  Pure but for the link's key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.clock import to_rfc3339
from app.qr.links import MEMBER_PATH, LinkFacts, link_for
from app.runtime import runtime
from app.webhooks import types
from app.webhooks.outbox import Fact


def facts_of(member: Any) -> LinkFacts:
    """What the link to a member's page promises.  Pure."""
    return LinkFacts(member.id, member.merchant_id, 0, member.currency)


def link_of(member: Any) -> str:
    """The signed address of the page on which this member tops up and sees what they have."""
    here = runtime()
    token = here.member_links.token_for(facts_of(member))
    return link_for(here.settings.origin, token, host_upper=here.settings.qr_host_upper, path=MEMBER_PATH)


def member_json(member: Any) -> dict[str, Any]:
    """The member object of the API."""
    return {
        "id": member.id,
        "object": "member",
        "livemode": member.livemode,
        "account": member.account,
        "name": member.name,
        "phone": member.phone,
        "currency": member.currency.lower(),
        "balance": member.balance_minor,
        "bonus": member.bonus_minor,
        "available": available_of(member),
        "blocked": member.blocked_at is not None,
        "topup_url": link_of(member),
        "created_at": to_rfc3339(member.created_at),
        "updated_at": to_rfc3339(member.updated_at),
    }


def movement_json(movement: Any) -> dict[str, Any]:
    """One line of a member's statement."""
    return {
        "id": movement.id,
        "object": "movement",
        "livemode": movement.livemode,
        "member": movement.member_id,
        "number": movement.number,
        "kind": movement.kind,
        "cause": movement.cause_id,
        "charge": movement.charge_id,
        "balance": movement.balance_minor,
        "bonus": movement.bonus_minor,
        "balance_after": movement.balance_after_minor,
        "bonus_after": movement.bonus_after_minor,
        "currency": movement.currency.lower(),
        "note": movement.note or None,
        "made_by": movement.made_by,
        "created_at": to_rfc3339(movement.created_at),
    }


def debit_json(debit: Any) -> dict[str, Any]:
    """The debit object of the API."""
    return {
        "id": debit.id,
        "object": "debit",
        "livemode": debit.livemode,
        "member": debit.member_id,
        "debit_no": debit.debit_no,
        "amount": debit.amount_minor,
        "from_balance": debit.balance_minor,
        "from_bonus": debit.bonus_minor,
        "currency": debit.currency.lower(),
        "description": debit.description,
        "amount_reversed": debit.reversed_minor,
        "reversed_at": _time(debit.reversed_at),
        "created_at": to_rfc3339(debit.created_at),
    }


def rule_json(rule: Any) -> dict[str, Any]:
    """The bonus rule object of the API."""
    return {
        "id": rule.id,
        "object": "bonus_rule",
        "livemode": rule.livemode,
        "currency": rule.currency.lower(),
        "valid_from": to_rfc3339(rule.valid_from),
        "tiers": [{"amount": amount_minor, "bonus": bonus_minor} for amount_minor, bonus_minor in rule.tiers],
        "created_at": to_rfc3339(rule.created_at),
    }


def available_of(member: Any) -> int:
    """What can be spent now: nothing of a purse that is blocked or owes.  Pure."""
    total_minor: int = member.balance_minor + member.bonus_minor
    return max(total_minor, 0) if member.blocked_at is None else 0


def changed(member: Any, movement: Any) -> Fact:
    """The event that says this of a member."""
    return Fact(
        member.merchant_id,
        member.livemode,
        types.MEMBER_BALANCE_CHANGED,
        member.id,
        member.sequence,
        member_json(member),
        {"movement": movement_json(movement)},
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
