"""Whether a payment may begin: the merchant's rules, asked where an attempt is about to be stored.

It is asked once for each attempt, under the lock of its charge, and never about money that has come:
``settle`` knows of no rule.  Two who begin at once are judged one after the other, because whoever has
rules to heed locks the merchant's gate before anything is counted, until their own attempt is among it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import risk_counts
from app.charges.models import Attempt, Charge
from app.charges.present import charge_fact
from app.charges.states import Review
from app.db import insert_or_skip, moment, reading, retried, table_of, transaction
from app.errors import Conflict, PaymentStopped
from app.ids import new_id
from app.merchants import risk_rules
from app.merchants.accounts import OpenAccount
from app.merchants.risk import Action, Facts, On, Rule, RuleKind, Start, judge, strongest
from app.merchants.risk_models import RiskDecision
from app.rates import place_of
from app.runtime import runtime
from app.webhooks import types
from app.webhooks.outbox import emit

# Whence somebody paid is of use while a rule counts it, or is tried; who it was is then forgotten.
NAMES_KEPT_FOR = timedelta(days=31)
# Each press that is stopped holds the gate for a moment, and the address of one page is all it takes.
STOPS_MAX = 50  # of one charge
DIGEST_CHARS = 32
_SLICE = 500

_attempts, _charges, _decisions = table_of(Attempt), table_of(Charge), table_of(RiskDecision)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is about to begin, as far as anybody knows; None for what nobody does."""

    scene: str
    address: str | None = None  # the shopper's own, never a server's or a till's
    device: str | None = None  # what this browser's cookie says, or would say from now on
    payer_key: str | None = None


@dataclass(frozen=True, slots=True)
class Screened:
    """What the rules say.  ``device_key`` is set if some rule looks at devices: then it must be stored."""

    stopped_by: Action | None = None
    device_key: str | None = None

    def refusal(self) -> PaymentStopped:
        """To be raised after the commit, which keeps the decision."""
        return stop(self.stopped_by or Action.BLOCK)


PASSED = Screened()


def stop(action: Action) -> PaymentStopped:
    """What whoever wants to begin is told: not why, which would tell them how to get around it."""
    if action is Action.REVIEW:
        return PaymentStopped("the merchant must confirm this payment first", code="payment_held")
    return PaymentStopped("the merchant does not accept this payment")


def screen(tx: Connection, charge: sa.Row[Any], account: OpenAccount, visitor: Visitor) -> Screened:
    """Judge a payment that is about to begin, and keep what was found.  A step, of the transaction that
    locks the charge and stores the attempt.

    Costs no statement where the merchant has no rules: ``charge.live_rules`` came with the charge.
    Raises Conflict for a charge that was stopped too often.
    """
    if not charge.live_rules:
        return PASSED
    stops = tx.execute(_STOPS, {"merchant_id": charge.merchant_id, "charge_id": charge.id}).scalar()
    if (stops or 0) >= STOPS_MAX:
        raise Conflict("this charge was tried too often", code="too_many_attempts")
    risk_rules.lock_gate(tx, charge.merchant_id, livemode=charge.livemode)
    now = moment(tx)
    rules = risk_rules.rules_in_force(tx, charge.merchant_id, now, livemode=charge.livemode)
    if charge.review == Review.RELEASED:  # a person has looked at it
        rules = [rule for rule in rules if rule.action is not Action.REVIEW]
    start = start_of_payment(charge, visitor, now, knows_devices=any(map(_is_about_devices, rules)))
    count = risk_counts.counter(tx, charge.merchant_id, charge.id, livemode=charge.livemode)
    found = [(rule, facts) for rule in rules if (facts := judge(rule, start, count)) is not None]
    worst = strongest([rule.action for rule, _ in found])
    for rule, facts in found:
        if rule.action in (worst, Action.NOTE):
            _keep(tx, charge, rule, start, facts, provider=account.provider.info.code, scene=visitor.scene)
    return Screened(None if worst is Action.NOTE else worst, start.device_key)


def start_of_payment(
    charge: sa.Row[Any], visitor: Visitor, now: datetime, *, knows_devices: bool = True
) -> Start:
    """What rules look at."""
    merchant_id, address, device = charge.merchant_id, visitor.address, visitor.device
    return Start(
        at=now,
        charge_id=charge.id,
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        by_shopper=charge.amount_by_shopper,
        code_id=charge.qr_code_id,
        order_no=charge.merchant_order_no,
        address=None if address is None else place_of(address),
        address_key=address_key(merchant_id, address),
        device_key=_digest(merchant_id, "device", device) if device and knows_devices else None,
        payer_key=visitor.payer_key,
    )


def address_key(merchant_id: str, address: str | None) -> str | None:
    """By what whoever is behind an address is known again, by this merchant alone."""
    return None if address is None else _digest(merchant_id, "address", place_of(address))


def place_key(merchant_id: str, place: str) -> str:
    """The same of what ``place_of`` says: an IPv4 address, or the first of a /64."""
    return _digest(merchant_id, "address", place)


def forget_old() -> int:
    """Remove the digests of whence and by whom something was begun long ago; how many rows."""
    return sum(
        _forget_all(table, query, names)
        for table, query, names in (
            (_attempts, _old(_attempts, "address_key", "started_at"), ("address_key", "device_key")),
            (_attempts, _old(_attempts, "device_key", "started_at"), ("device_key",)),
            (
                _decisions,
                _old(_decisions, "is_named", "created_at"),
                ("payer_key", "address_key", "device_key"),
            ),
        )
    )


def _old(table: sa.Table, name: str, since: str) -> sa.Select[Any]:
    kept = table.c.is_named if name == "is_named" else table.c[name].is_not(None)
    old = sa.select(table.c.merchant_id, table.c.id).where(kept, table.c[since] < sa.bindparam("before"))
    return old.limit(_SLICE)


def _forget_all(table: sa.Table, query: sa.Select[Any], names: tuple[str, ...]) -> int:
    gone = 0
    while count := _forget_some(table, query, names):
        gone += count
        if count < _SLICE:
            break
    return gone


@retried
def _forget_some(table: sa.Table, query: sa.Select[Any], names: tuple[str, ...]) -> int:
    with reading() as connection:
        rows = list(connection.execute(query, {"before": moment(connection) - NAMES_KEPT_FOR}))
    if rows:
        empty: dict[str, Any] = dict.fromkeys(names)
        empty |= {"is_named": False} if table is _decisions else {}
        own = (table.c.merchant_id == sa.bindparam("of_merchant_id"), table.c.id == sa.bindparam("of_id"))
        with transaction() as tx:
            tx.execute(
                sa.update(table).where(*own).values(empty),
                [{"of_merchant_id": row.merchant_id, "of_id": row.id} for row in rows],
            )
    return len(rows)


def _is_about_devices(rule: Rule) -> bool:
    return rule.kind is RuleKind.DEVICE_PACE or rule.terms.on is On.DEVICE


def _digest(merchant_id: str, what: str, text: str) -> str:
    """Keyed: there are too few addresses for a plain digest to hide one."""
    secret = runtime().settings.secret_keys[-1].encode()
    message = f"risk {what}\n{merchant_id}\n{text}".encode()
    return hmac.digest(secret, message, hashlib.sha256).hex()[:DIGEST_CHARS]


def _keep(
    tx: Connection,
    charge: sa.Row[Any],
    rule: Rule,
    start: Start,
    facts: Facts,
    *,
    provider: str,
    scene: str,
) -> None:
    """Keep a match, and tell the merchant the first time.  However often somebody presses, it is one row."""
    key = {"merchant_id": charge.merchant_id, "charge_id": charge.id, "rule_id": rule.id}
    names = {name: getattr(start, name) for name in ("payer_key", "address_key", "device_key")}
    values = {
        **key,
        "id": new_id("rd"),
        "livemode": charge.livemode,
        "kind": rule.kind,
        "action": rule.action,
        "provider": provider,
        "scene": scene,
        "amount_minor": charge.amount_minor,
        "currency": charge.currency,
        "qr_code_id": charge.qr_code_id,
        "facts": facts,
        "is_named": any(names.values()),
        **names,
        "times": 1,
        "created_at": start.at,
        "last_at": start.at,
    }
    kept = tx.execute(insert_or_skip(tx, _decisions, *_decisions.c), values).first()
    if kept is None:
        tx.execute(_AGAIN, {**{f"own_{name}": value for name, value in key.items()}, "now": start.at})
    elif rule.action is Action.BLOCK:
        _tell(tx, types.CHARGE_BLOCKED, charge, kept)
    elif rule.action is Action.REVIEW:
        _hold(tx, charge, kept, start.at)


def _hold(tx: Connection, charge: sa.Row[Any], kept: sa.Row[Any], now: datetime) -> None:
    """Open the review, unless another rule has done so a moment ago."""
    held = (
        sa.update(_charges)
        .where(
            _charges.c.merchant_id == charge.merchant_id,
            _charges.c.id == charge.id,
            _charges.c.review.is_(None),
        )
        .values(review=Review.OPEN, review_opened_at=now)
    )
    if tx.execute(held).rowcount:
        _tell(tx, types.CHARGE_REVIEW_OPENED, charge, kept)


def _tell(tx: Connection, event_type: str, charge: sa.Row[Any], decision: sa.Row[Any]) -> None:
    moved = tx.execute(
        sa.update(_charges)
        .where(_charges.c.merchant_id == charge.merchant_id, _charges.c.id == charge.id)
        .values(sequence=_charges.c.sequence + 1)
        .returning(*_charges.c)
    ).one()
    emit(tx, charge_fact(event_type, moved, risk=risk_json(decision)))


def risk_json(decision: sa.Row[Any]) -> dict[str, Any]:
    """The decision that an event is about."""
    names = ("rule", "kind", "action", "facts")
    values = (decision.rule_id, decision.kind, decision.action, decision.facts)
    return {"decision": decision.id, **dict(zip(names, values, strict=True))}


_STOPS = sa.select(sa.func.max(_decisions.c.times)).where(
    _decisions.c.merchant_id == sa.bindparam("merchant_id"),
    _decisions.c.charge_id == sa.bindparam("charge_id"),
    _decisions.c.action == Action.BLOCK,
)
_AGAIN = (
    sa.update(_decisions)
    .where(
        _decisions.c.merchant_id == sa.bindparam("own_merchant_id"),
        _decisions.c.charge_id == sa.bindparam("own_charge_id"),
        _decisions.c.rule_id == sa.bindparam("own_rule_id"),
    )
    .values(times=_decisions.c.times + 1, last_at=sa.bindparam("now", type_=_decisions.c.last_at.type))
)
