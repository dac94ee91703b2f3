"""A merchant's rules about payments, as they are kept: added, replaced, ended, never changed.

Who asks why a payment was stopped finds the rule as it was then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.clock import to_rfc3339
from app.db import insert_or_skip, moment, reading, table_of
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants import audit
from app.merchants.actor import Actor
from app.merchants.audit import Action as Deed
from app.merchants.keys import LINE_PATTERN
from app.merchants.risk import Action, Rule, RuleKind, read_terms
from app.merchants.risk_models import RiskGate, RiskRule
from app.merchants.roles import Permission

RULES_MAX = 50  # in force in a mode: each may cost whoever begins to pay a look into the books
NAME_CHARS_MAX = 80
# Within which every moment has a day in Beijing, for the pages.
DATES = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

_LINE = re.compile(LINE_PATTERN)
_rules, _gates = table_of(RiskRule), table_of(RiskGate)


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """What a list is narrowed to.  ``starting_after`` and ``ending_before`` are ids: a page's cursor."""

    live: bool | None = None  # neither replaced nor ended; False: those that are
    starting_after: str | None = None
    ending_before: str | None = None
    limit: int = 10


def add_rule(tx: Connection, merchant_id: str, rule: Rule, *, livemode: bool, by: Actor) -> sa.Row[Any]:
    """Put a rule in force.  A step.  Raises PermissionDenied, InvalidRequest, Conflict (too many)."""
    by.require(Permission.RISK_WRITE)
    if lock_gate(tx, merchant_id, livemode=livemode) >= RULES_MAX:
        raise Conflict(f"a merchant has at most {RULES_MAX} rules in a mode", code="too_many_rules")
    row = _insert(tx, merchant_id, rule, livemode=livemode, by=by)
    _shift(tx, merchant_id, livemode=livemode, count=1)
    audit.append(tx, merchant_id, by, Deed.RISK_RULE_ADDED, row.id, after=_told(row))
    return row


def replace_rule(
    tx: Connection, merchant_id: str, rule_id: str, rule: Rule, *, livemode: bool, by: Actor
) -> sa.Row[Any]:
    """Have another rule take the place of this one, from this moment on.  A step.  The new row.

    Raises PermissionDenied, InvalidRequest, NotFound, Conflict (it was replaced or ended before).
    """
    by.require(Permission.RISK_WRITE)
    lock_gate(tx, merchant_id, livemode=livemode)
    old = _end(tx, merchant_id, rule_id, livemode=livemode, by=by)
    row = _insert(tx, merchant_id, rule, livemode=livemode, by=by, replaces=old.id)
    audit.append(tx, merchant_id, by, Deed.RISK_RULE_REPLACED, row.id, before=_told(old), after=_told(row))
    return row


def end_rule(tx: Connection, merchant_id: str, rule_id: str, *, livemode: bool, by: Actor) -> sa.Row[Any]:
    """Have a rule decide nothing any more; ending twice is harmless.  A step.

    Raises PermissionDenied, NotFound.
    """
    by.require(Permission.RISK_WRITE)
    lock_gate(tx, merchant_id, livemode=livemode)
    found = find_in(tx, merchant_id, rule_id, livemode=livemode)
    if found.ended_at is not None:
        return found
    row = _end(tx, merchant_id, rule_id, livemode=livemode, by=by)
    _shift(tx, merchant_id, livemode=livemode, count=-1)
    audit.append(tx, merchant_id, by, Deed.RISK_RULE_ENDED, row.id, before=_told(row))
    return row


def lock_gate(tx: Connection, merchant_id: str, *, livemode: bool) -> int:
    """Let nobody else of this merchant and mode count or change rules until the end.  A step.

    How many rules there are.
    """
    key = {"merchant_id": merchant_id, "livemode": livemode}
    found = tx.execute(_LOCK_GATE, key).first()
    if found is None:
        tx.execute(insert_or_skip(tx, _gates), {**key, "live_rules": 0})
        found = tx.execute(_LOCK_GATE, key).one()
    return int(found.live_rules)


def count_of(merchant_id: Any, livemode: Any) -> sa.ScalarSelect[int]:
    """How many rules a merchant has, as a column of another SELECT; NULL: it never had one."""
    return (
        sa.select(_gates.c.live_rules)
        .where(_gates.c.merchant_id == merchant_id, _gates.c.livemode == livemode)
        .scalar_subquery()
    )


def rules_in_force(connection: Connection, merchant_id: str, now: datetime, *, livemode: bool) -> list[Rule]:
    """What whoever begins to pay now is judged by, oldest first."""
    rows = connection.execute(_LIVE, {"merchant_id": merchant_id, "livemode": livemode})
    return [rule for rule in map(rule_of, rows) if rule.is_in_force(now)]


def find(merchant_id: str, rule_id: str, *, livemode: bool) -> sa.Row[Any]:
    """A rule, whether it still decides or not, with ``replaced_by``.  Raises NotFound."""
    with reading() as connection:
        return find_in(connection, merchant_id, rule_id, livemode=livemode)


def find_in(connection: Connection, merchant_id: str, rule_id: str, *, livemode: bool) -> sa.Row[Any]:
    """The same within a transaction.  A step."""
    key = {"merchant_id": merchant_id, "rule_id": rule_id[:64], "livemode": livemode}
    found = connection.execute(_FIND, key).first()
    if found is None:
        raise NotFound("no such rule")
    return found


def list_rules(merchant_id: str, *, livemode: bool, wanted: RuleFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "rr"):
            raise InvalidRequest("a cursor is the id of a rule", param=name)
    query = sa.select(*_COLUMNS).where(_rules.c.merchant_id == merchant_id, _rules.c.livemode == livemode)
    if wanted.live is not None:
        query = query.where(_rules.c.ended_at.is_(None) if wanted.live else _rules.c.ended_at.is_not(None))
    if wanted.starting_after is not None:
        query = query.where(_rules.c.id < wanted.starting_after)
    backwards = wanted.ending_before is not None
    if backwards:
        query = query.where(_rules.c.id > wanted.ending_before)
    query = query.order_by(_rules.c.id.asc() if backwards else _rules.c.id.desc()).limit(wanted.limit + 1)
    with reading() as connection:
        rows = list(connection.execute(query))
    page = rows[: wanted.limit]
    return (page[::-1] if backwards else page), len(rows) > wanted.limit


def rule_of(row: sa.Row[Any]) -> Rule:
    """The rule that a row keeps.  Pure."""
    return Rule(
        RuleKind(row.kind),
        Action(row.action),
        read_terms(row.terms),
        row.currency,
        row.name,
        row.id,
        row.valid_from,
        row.valid_until,
    )


def rule_json(row: sa.Row[Any]) -> dict[str, Any]:
    """The rule object of the API."""
    return {
        "id": row.id,
        "object": "risk_rule",
        "livemode": row.livemode,
        "kind": row.kind,
        "action": row.action,
        "name": row.name,
        "currency": row.currency.lower(),
        "terms": row.terms,
        "valid_from": _time(row.valid_from),
        "valid_until": _time(row.valid_until),
        "created_at": to_rfc3339(row.created_at),
        "created_by": row.created_by,
        "ended_at": _time(row.ended_at),
        "replaces": row.replaces,
        "replaced_by": row.replaced_by,
    }


_LOCK_GATE = (
    sa.select(_gates.c.live_rules)
    .where(_gates.c.merchant_id == sa.bindparam("merchant_id"), _gates.c.livemode == sa.bindparam("livemode"))
    .with_for_update()
)
_LIVE = (
    sa.select(*_rules.c)
    .where(
        _rules.c.merchant_id == sa.bindparam("merchant_id"),
        _rules.c.livemode == sa.bindparam("livemode"),
        _rules.c.ended_at.is_(None),
    )
    .order_by(_rules.c.id)
)
_next = _rules.alias("next_rules")
_COLUMNS = (
    *_rules.c,
    sa.select(_next.c.id)
    .where(_next.c.merchant_id == _rules.c.merchant_id, _next.c.replaces == _rules.c.id)
    .scalar_subquery()
    .label("replaced_by"),
)
_FIND = sa.select(*_COLUMNS).where(
    _rules.c.merchant_id == sa.bindparam("merchant_id"),
    _rules.c.id == sa.bindparam("rule_id"),
    _rules.c.livemode == sa.bindparam("livemode"),
)


def _insert(
    tx: Connection, merchant_id: str, rule: Rule, *, livemode: bool, by: Actor, replaces: str | None = None
) -> sa.Row[Any]:
    name = rule.name.strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX or not _LINE.fullmatch(name):
        raise InvalidRequest(f"a name has 1 to {NAME_CHARS_MAX} characters on one line", param="name")
    for param in ("valid_from", "valid_until"):
        at = getattr(rule, param)
        if at is not None and not DATES[0] <= at <= DATES[1]:
            raise InvalidRequest("a rule is in force between the years 2000 and 9999", param=param)
    values: dict[str, Any] = {
        "merchant_id": merchant_id,
        "id": new_id("rr"),
        "livemode": livemode,
        "kind": rule.kind,
        "action": rule.action,
        "name": name,
        "currency": rule.currency,
        "terms": rule.terms.stored(),
        "valid_from": rule.valid_from,
        "valid_until": rule.valid_until,
        "created_at": moment(tx),
        "created_by": by.name[:254],
        "replaces": replaces,
    }
    tx.execute(sa.insert(_rules), values)
    return find_in(tx, merchant_id, values["id"], livemode=livemode)


def _end(tx: Connection, merchant_id: str, rule_id: str, *, livemode: bool, by: Actor) -> sa.Row[Any]:
    """The rule, which was in force until now.  Raises NotFound, Conflict."""
    old = find_in(tx, merchant_id, rule_id, livemode=livemode)
    ended = (
        sa.update(_rules)
        .where(_rules.c.merchant_id == merchant_id, _rules.c.id == old.id, _rules.c.ended_at.is_(None))
        .values(ended_at=moment(tx), ended_by=by.name[:254])
    )
    if tx.execute(ended).rowcount == 0:
        raise Conflict("this rule has been replaced or ended", code="risk_rule_ended")
    return find_in(tx, merchant_id, old.id, livemode=livemode)


def _shift(tx: Connection, merchant_id: str, *, livemode: bool, count: int) -> None:
    tx.execute(
        sa.update(_gates)
        .where(_gates.c.merchant_id == merchant_id, _gates.c.livemode == livemode)
        .values(live_rules=_gates.c.live_rules + count)
    )


def _told(row: sa.Row[Any]) -> dict[str, Any]:
    """What the audit log says of a rule."""
    names = ("id", "kind", "action", "name", "currency", "terms", "valid_from", "valid_until")
    return {name: getattr(row, name) for name in names}


def _time(at: datetime | None) -> str | None:
    return None if at is None else to_rfc3339(at)
