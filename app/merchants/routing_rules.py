"""A merchant's rules about which account a payment goes through, stored.

A rule is never changed, so that what chose the account of an old payment can still be read: who edits or
disables one has another take its place.  Only its place in the order moves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import is_among, moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id
from app.merchants import accounts, audit, stores
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import Merchant, RoutingRule
from app.merchants.roles import Permission
from app.merchants.routing import MINUTES_A_DAY, Rule, Share
from app.money import EXPONENTS, MINOR_MAX

NAME_CHARS_MAX = 80
RULES_MAX = 50  # of one wallet in one mode: each payment may read them all
WEIGHT_MAX = 1000

_rules, _merchants = table_of(RoutingRule), table_of(Merchant)


@dataclass(frozen=True, slots=True)
class RuleTerms:
    """What a rule says.  Building one checks all but whose accounts and store they are: InvalidRequest."""

    provider: str
    name: str
    shares: tuple[Share, ...]
    currency: str | None = None
    min_minor: int | None = None
    max_minor: int | None = None
    store_id: str | None = None
    from_minute: int | None = None
    until_minute: int | None = None
    is_strict: bool = False
    enabled: bool = True

    def __post_init__(self) -> None:
        if not 1 <= len(self.name.strip()) <= NAME_CHARS_MAX or not self.name.isprintable():
            raise InvalidRequest(f"a rule's name has 1 to {NAME_CHARS_MAX} characters", param="name")
        ids = [share.account_id for share in self.shares]
        if not ids or len(set(ids)) < len(ids):
            raise InvalidRequest("a rule names accounts, each once", param="shares")
        if any(not 0 <= share.weight <= WEIGHT_MAX for share in self.shares):
            raise InvalidRequest(f"a weight is 0 to {WEIGHT_MAX}", param="shares")
        self._check_amounts()
        minutes = (self.from_minute, self.until_minute)
        if minutes != (None, None) and (None in minutes or minutes[0] == minutes[1]):
            raise InvalidRequest("hours have a beginning and another end", param="hours")
        if any(minute is not None and not 0 <= minute <= MINUTES_A_DAY for minute in minutes):
            raise InvalidRequest("hours lie within a day", param="hours")

    def _check_amounts(self) -> None:
        if self.currency is not None and self.currency not in EXPONENTS:
            raise InvalidRequest(f"{self.currency[:8]!r} is not a currency we know", param="currency")
        amounts = [each for each in (self.min_minor, self.max_minor) if each is not None]
        if amounts and self.currency is None:
            raise InvalidRequest("amounts go with a currency", param="currency")
        if any(not 0 <= each <= MINOR_MAX for each in amounts) or sorted(amounts) != amounts:
            raise InvalidRequest("the smallest amount is above the largest", param="amounts")


def list_rules(merchant_id: str, *, livemode: bool, provider: str | None = None) -> list[sa.Row[Any]]:
    """The rules that hold, disabled ones too, in their order by wallet."""
    query = sa.select(*_rules.c).where(*_standing(merchant_id, livemode, provider))
    with reading() as connection:
        return list(connection.execute(query.order_by(_rules.c.provider, _rules.c.position, _rules.c.id)))


def find_rule(merchant_id: str, rule_id: str) -> sa.Row[Any]:
    """One rule, even one that has ended.  Raises NotFound."""
    with reading() as connection:
        return _find(connection, merchant_id, rule_id)


def names_of(merchant_id: str, rule_ids: Collection[str]) -> dict[str, str]:
    """The names of rules by their ids, even of those that have ended."""
    if not rule_ids:
        return {}
    query = sa.select(_rules.c.id, _rules.c.name).where(
        _rules.c.merchant_id == merchant_id, is_among(_rules.c.id, "ids")
    )
    with reading() as connection:
        return {row.id: row.name for row in connection.execute(query, {"ids": list(rule_ids)})}


def rule_of(row: sa.Row[Any]) -> Rule:
    """A stored rule as ``routing.decide`` wants it.  Pure."""
    return Rule(
        id=row.id,
        name=row.name,
        shares=tuple(Share(account_id, weight) for account_id, weight in row.shares),
        currency=row.currency,
        min_minor=row.min_minor,
        max_minor=row.max_minor,
        store_id=row.store_id,
        from_minute=row.from_minute,
        until_minute=row.until_minute,
        is_strict=row.is_strict,
        enabled=row.enabled,
    )


def terms_of(row: sa.Row[Any]) -> RuleTerms:
    """What a stored rule says.  Pure."""
    rule = rule_of(row)
    same = {name: getattr(rule, name) for name in RuleTerms.__slots__ if name != "provider"}
    return RuleTerms(provider=row.provider, **same)


@retried
def add_rule(merchant_id: str, terms: RuleTerms, *, livemode: bool, by: Actor = SERVER) -> str:
    """Ask this rule after all others of its wallet.  Its id.

    Raises InvalidRequest naming the field, Conflict if there are too many.
    """
    by.require(Permission.PROVIDERS_WRITE)
    _check_owners(merchant_id, terms, livemode)
    with transaction() as tx:
        held = _hold(tx, merchant_id, livemode, terms.provider)
        if len(held) >= RULES_MAX:
            raise Conflict(f"a wallet has at most {RULES_MAX} rules", code="too_many_rules")
        last = max((each.position for each in held), default=0)
        rule_id = _insert(tx, merchant_id, terms, livemode, last + 1, by)
        audit.append(tx, merchant_id, by, Action.ROUTING_ADDED, rule_id, after=_told(terms))
    return rule_id


@retried
def replace_rule(merchant_id: str, rule_id: str, terms: RuleTerms, *, by: Actor = SERVER) -> str:
    """Have another rule take this one's place.  Its id.  Raises NotFound, InvalidRequest."""
    by.require(Permission.PROVIDERS_WRITE)
    old = find_rule(merchant_id, rule_id)
    terms = replace(terms, provider=old.provider)
    _check_owners(merchant_id, terms, old.livemode)
    with transaction() as tx:
        return _supersede(tx, merchant_id, rule_id, terms, by)


@retried
def switch_rule(merchant_id: str, rule_id: str, *, enabled: bool, by: Actor = SERVER) -> str:
    """Pass a rule over, or ask it again.  The id of what takes its place.  Raises NotFound."""
    by.require(Permission.PROVIDERS_WRITE)
    with transaction() as tx:
        terms = replace(terms_of(_find(tx, merchant_id, rule_id)), enabled=enabled)
        return _supersede(tx, merchant_id, rule_id, terms, by)


@retried
def delete_rule(merchant_id: str, rule_id: str, *, by: Actor = SERVER) -> None:
    """End a rule; what it has chosen still names it.  Raises NotFound."""
    by.require(Permission.PROVIDERS_WRITE)
    with transaction() as tx:
        row = _end(tx, merchant_id, rule_id)
        audit.append(tx, merchant_id, by, Action.ROUTING_DELETED, rule_id, before=_told(terms_of(row)))


@retried
def move_rule(merchant_id: str, rule_id: str, *, earlier: bool, by: Actor = SERVER) -> None:
    """Change places with the rule before, or after.  At the end nothing happens.  Raises NotFound."""
    by.require(Permission.PROVIDERS_WRITE)
    with transaction() as tx:
        row = _find(tx, merchant_id, rule_id)
        held = _hold(tx, merchant_id, row.livemode, row.provider)
        ids = [each.id for each in held]
        if rule_id not in ids:
            raise NotFound("no such rule, or it has ended")
        here = ids.index(rule_id)
        there = here - 1 if earlier else here + 1
        if not 0 <= there < len(ids):
            return
        ids[here], ids[there] = ids[there], ids[here]
        for position, each in enumerate(ids, 1):
            tx.execute(
                sa.update(_rules)
                .where(_rules.c.merchant_id == merchant_id, _rules.c.id == each)
                .values(position=position)
            )
        audit.append(tx, merchant_id, by, Action.ROUTING_MOVED, rule_id, after={"position": there + 1})


def _check_owners(merchant_id: str, terms: RuleTerms, livemode: bool) -> None:
    """Raises InvalidRequest for an account or a store that is not there."""
    known = accounts.names_of(merchant_id, livemode=livemode)
    for share in terms.shares:
        if known.get(share.account_id, ("", ""))[0] != terms.provider:
            raise InvalidRequest(f"no such account at {terms.provider[:16]}", param="shares")
    if terms.store_id is not None and terms.store_id not in stores.names_of(merchant_id, livemode=livemode):
        raise InvalidRequest("there is no such store in this mode", param="store")


def _supersede(tx: Connection, merchant_id: str, rule_id: str, terms: RuleTerms, by: Actor) -> str:
    _lock(tx, merchant_id)
    old = _end(tx, merchant_id, rule_id)
    new_rule_id = _insert(tx, merchant_id, terms, old.livemode, old.position, by)
    facts = {"before": _told(terms_of(old)), "after": {"superseded_by": new_rule_id, **_told(terms)}}
    audit.append(tx, merchant_id, by, Action.ROUTING_CHANGED, rule_id, **facts)
    return new_rule_id


def _end(tx: Connection, merchant_id: str, rule_id: str) -> sa.Row[Any]:
    ended = tx.execute(
        sa.update(_rules)
        .where(*_own(merchant_id, rule_id), _rules.c.ended_at.is_(None))
        .values(ended_at=moment(tx))
        .returning(*_rules.c)
    ).first()
    if ended is None:
        raise NotFound("no such rule, or it has ended")
    return ended


def _insert(
    tx: Connection, merchant_id: str, terms: RuleTerms, livemode: bool, position: int, by: Actor
) -> str:
    rule_id = new_id("rr")
    facts = {name: getattr(terms, name) for name in RuleTerms.__slots__}
    row = {
        **facts,
        "merchant_id": merchant_id,
        "id": rule_id,
        "livemode": livemode,
        "position": position,
        "name": terms.name.strip(),
        "shares": _listed(terms),
        "made_by": by.name[:254],
        "created_at": moment(tx),
    }
    tx.execute(sa.insert(_rules), row)
    return rule_id


def _hold(tx: Connection, merchant_id: str, livemode: bool, provider: str) -> list[sa.Row[Any]]:
    """A wallet's rules in their order; nobody else changes it until the end of the transaction."""
    _lock(tx, merchant_id)
    query = sa.select(*_rules.c).where(*_standing(merchant_id, livemode, provider))
    return list(tx.execute(query.order_by(_rules.c.position, _rules.c.id)))


def _lock(tx: Connection, merchant_id: str) -> None:
    """Let nobody else change the order of this merchant's rules.

    Everybody who stores something of a merchant's shares its key: they go on meanwhile, and whoever notes
    another deed in the audit log does not wait for us who wait for the log.
    """
    mine = sa.select(_merchants.c.id).where(_merchants.c.id == merchant_id)
    tx.execute(mine.with_for_update(key_share=True))


def _find(connection: Connection, merchant_id: str, rule_id: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(*_rules.c).where(*_own(merchant_id, rule_id))).first()
    if row is None:
        raise NotFound("no such rule")
    return row


def _standing(merchant_id: str, livemode: bool, provider: str | None) -> list[sa.ColumnElement[bool]]:
    mine = [_rules.c.merchant_id == merchant_id, _rules.c.livemode == livemode, _rules.c.ended_at.is_(None)]
    return mine if provider is None else [*mine, _rules.c.provider == provider]


def _own(merchant_id: str, rule_id: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _rules.c.merchant_id == merchant_id, _rules.c.id == rule_id[:40]


def _listed(terms: RuleTerms) -> list[list[Any]]:
    return [[share.account_id, share.weight] for share in terms.shares]


def _told(terms: RuleTerms) -> Mapping[str, Any]:
    """For the audit log."""
    facts = {name: getattr(terms, name) for name in RuleTerms.__slots__}
    return {name: value for name, value in {**facts, "shares": _listed(terms)}.items() if value is not None}
