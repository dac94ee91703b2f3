"""Which account a payment would go through, what it would cost there, and why no other.  Nothing happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.db import moment, reading
from app.errors import InvalidRequest
from app.ledger import rates
from app.merchants import accounts, health, routing, routing_rules
from app.merchants.routing import Candidate, Decision, Payment, Rule, Standing
from app.money import Money
from app.providers import REGISTRY


class Why(StrEnum):
    """What an account has to say for itself."""

    CHOSEN = "chosen"
    DISABLED = "disabled"
    UNHEALTHY = "unhealthy"
    NOT_IN_RULE = "not_in_rule"
    RESERVE = "reserve"  # weight 0: only while none of the others works
    OTHER_SHARE = "other_share"  # the weights give this payment to another
    OLDER_FIRST = "older_first"  # no rule: the oldest that works


@dataclass(frozen=True, slots=True)
class Wish:
    """A payment to think about.  ``at`` None: now.  ``charge_id`` makes the draw by weights certain."""

    provider: str
    amount: Money
    store_id: str | None = None
    at: datetime | None = None
    charge_id: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One account.  ``fee_minor`` None: no rate is known.  ``share``: of such payments, while all work."""

    account: sa.Row[Any]
    health: sa.Row[Any] | None
    why: Why
    share: float
    basis_points: int | None
    fixed_minor: int | None
    fee_minor: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """The decision, and every account of the wallet, the oldest first."""

    wish: Wish
    at: datetime
    rule: Rule | None
    lines: tuple[Line, ...]

    @property
    def chosen(self) -> Line | None:
        """The account that the payment would go through."""
        return next((line for line in self.lines if line.why is Why.CHOSEN), None)


def preview(merchant_id: str, wish: Wish, *, livemode: bool) -> Preview:
    """As rules and accounts are now, at the wished time of day.  Raises InvalidRequest (no such provider)."""
    if wish.provider not in REGISTRY:
        raise InvalidRequest(
            f"{wish.provider[:32]!r} is not one of {', '.join(REGISTRY)}",
            code="unknown_provider",
            param="provider",
        )
    with reading() as connection:
        now = moment(connection)
    at = wish.at or now
    held = [row for row in accounts.list_all(merchant_id, livemode=livemode) if row.provider == wish.provider]
    ailing = health.ailing(merchant_id)
    candidates = [Candidate(row.id, _standing(ailing.get(row.id), now)) for row in held if row.enabled]
    rules = [
        routing_rules.rule_of(row)
        for row in routing_rules.list_rules(merchant_id, livemode=livemode, provider=wish.provider)
    ]
    payment = Payment(wish.charge_id, wish.amount.minor, wish.amount.currency, wish.store_id, at)
    decision = routing.decide(payment, rules, candidates)
    costs = rates.rates_at(merchant_id, wish.amount.currency, at)
    lines = []
    for row in held:
        why = _why(row, decision, candidates)
        lines.append(_line(row, ailing.get(row.id), why, decision, costs.get(row.id), wish.amount))
    return Preview(wish, at, decision.rule, tuple(lines))


def _standing(row: sa.Row[Any] | None, now: datetime) -> Standing:
    return Standing.WELL if row is None else health.standing_of(row.left_at, row.next_probe_at, now)


def _why(account: sa.Row[Any], decision: Decision, candidates: Sequence[Candidate]) -> Why:
    """Pure."""
    standings = {each.account_id: each.standing for each in candidates}
    if account.id == decision.chosen:
        return Why.CHOSEN
    if account.id not in standings:
        return Why.DISABLED
    shares = dict(decision.shares)
    if decision.rule is not None and account.id not in shares:
        return Why.NOT_IN_RULE
    if standings[account.id] is Standing.LEFT:
        return Why.UNHEALTHY
    if decision.rule is None:
        return Why.OLDER_FIRST
    return Why.OTHER_SHARE if shares[account.id] else Why.RESERVE


def _line(
    account: sa.Row[Any],
    ailing: sa.Row[Any] | None,
    why: Why,
    decision: Decision,
    rate: sa.Row[Any] | None,
    amount: Money,
) -> Line:
    share = dict(decision.shares).get(account.id, 0.0)
    if rate is None:
        return Line(account, ailing, why, share, None, None, None)
    fee_minor = rates.fee_of(amount.minor, rate.basis_points, rate.fixed_minor)
    return Line(account, ailing, why, share, rate.basis_points, rate.fixed_minor, fee_minor)
