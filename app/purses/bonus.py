"""What is given on top of a top-up: rules by date, each with a few tiers ("from 100 on, 10 on top").

The rule that holds is the latest that has begun.  A rule without tiers ends the bonus.  What a member was
promised stands in the top-up itself, so a rule that begins while they pay changes nothing for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_or_skip, moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants import audit
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.roles import Permission
from app.money import EXPONENTS, MINOR_MAX, Money
from app.purses.models import BonusRule

TIERS_MAX = 10  # more does not fit on a phone
RULES_SHOWN = 100
LATEST = datetime(9999, 12, 31, tzinfo=UTC)  # a few hours later no clock east of here could show it

Tier = tuple[int, int]  # (from so much on, so much on top), in minor units

_rules = table_of(BonusRule)


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule that may be made.  Building one checks it: raises InvalidRequest naming the field."""

    currency: str
    tiers: tuple[Tier, ...]
    valid_from: datetime | None = None  # None: now

    def __post_init__(self) -> None:
        if self.currency not in EXPONENTS:
            raise InvalidRequest(
                f"{self.currency[:8]!r} is not a currency we can charge in", param="currency"
            )
        if len(self.tiers) > TIERS_MAX:
            raise InvalidRequest(f"a rule has at most {TIERS_MAX} tiers", param="tiers")
        if self.valid_from is not None and self.valid_from > LATEST:
            raise InvalidRequest("a rule begins before the end of time", param="valid_from")
        before = 0
        for amount_minor, bonus_minor in self.tiers:
            if not before < amount_minor <= MINOR_MAX:
                raise InvalidRequest("the amounts of the tiers rise", param="tiers")
            # More on top than was paid is a slip of the keyboard: 1000 where 10.00 was meant.
            if not 1 <= bonus_minor <= amount_minor:
                raise InvalidRequest("a bonus is at least 1 and at most what is paid", param="tiers")
            before = amount_minor


@dataclass(frozen=True, slots=True)
class Promise:
    """The tiers that hold for a top-up, and the rule that they are of."""

    rule_id: str | None
    tiers: tuple[Tier, ...]


def bonus_for(tiers: Sequence[Sequence[int]], amount_minor: int) -> int:
    """What comes on top: of the highest tier that is reached.  Pure.

    ``([(10000, 1000), (50000, 8000)], 20000) -> 1000``.
    """
    reached = [bonus_minor for from_minor, bonus_minor in tiers if from_minor <= amount_minor]
    return reached[-1] if reached else 0


def on_top_of(tiers: Sequence[Tier], amounts: Sequence[int], currency: str) -> dict[int, Money]:
    """What comes on top of each of these amounts; none of those without.  Pure."""
    found = {minor: bonus_for(tiers, minor) for minor in amounts}
    return {minor: Money(bonus_minor, currency) for minor, bonus_minor in found.items() if bonus_minor}


def bonus_to_take(credited_minor: int, bonus_minor: int, taken_minor: int, bonus_taken_minor: int) -> int:
    """What of a bonus goes back next, when so much of the top-up has gone back in all.  Pure.

    In proportion, rounded down over the sum and not over each part: so the last part brings it to the
    bonus exactly, however many there were.  ``(10000, 1000, 3333, 0) -> 333``.
    """
    due_minor = bonus_minor * min(taken_minor, credited_minor) // credited_minor
    return max(due_minor - bonus_taken_minor, 0)


def promise_of(connection: Connection, merchant_id: str, currency: str, *, livemode: bool) -> Promise:
    """The rule that holds now.  A step."""
    rule = connection.execute(
        _CURRENT,
        {
            "merchant_id": merchant_id,
            "currency": currency,
            "livemode": livemode,
            "now": moment(connection),
        },
    ).first()
    return Promise(None, ()) if rule is None else Promise(rule.id, tuple((a, b) for a, b in rule.tiers))


@retried
def add_rule(merchant_id: str, new: NewRule, *, livemode: bool, by: Actor = SERVER) -> sa.Row[Any]:
    """Give this on top from a moment on.  Raises InvalidRequest, Conflict (there is a rule from then)."""
    with transaction() as tx:
        return put_rule(tx, merchant_id, new, livemode=livemode, by=by)


def put_rule(
    tx: Connection, merchant_id: str, new: NewRule, *, livemode: bool, by: Actor = SERVER
) -> sa.Row[Any]:
    """The same as a step."""
    by.require(Permission.MEMBERS_WRITE)
    now = moment(tx)
    since = new.valid_from or now
    if since < now:
        raise InvalidRequest("a rule begins now or later", param="valid_from")
    row = tx.execute(
        insert_or_skip(tx, _rules, *_rules.c),
        {
            "merchant_id": merchant_id,
            "id": new_id("br"),
            "livemode": livemode,
            "currency": new.currency,
            "valid_from": since,
            "tiers": [list(tier) for tier in new.tiers],
            "created_at": now,
        },
    ).first()
    if row is None:
        raise Conflict("there is a rule from this moment", code="bonus_rule_exists")
    facts = {"currency": row.currency, "valid_from": row.valid_from, "tiers": row.tiers}
    audit.append(tx, merchant_id, by, Action.BONUS_RULE_ADDED, row.id, after=facts)
    return row


@retried
def withdraw_rule(merchant_id: str, rule_id: str, *, livemode: bool, by: Actor = SERVER) -> sa.Row[Any]:
    """Take back a rule that has not begun.  Raises NotFound, Conflict (it has)."""
    by.require(Permission.MEMBERS_WRITE)
    if not is_id(rule_id, "br"):
        raise NotFound("no such bonus rule")
    with transaction() as tx:
        mine = (
            _rules.c.merchant_id == merchant_id,
            _rules.c.id == rule_id,
            _rules.c.livemode == livemode,
        )
        gone = tx.execute(
            sa.delete(_rules).where(*mine, _rules.c.valid_from > moment(tx)).returning(*_rules.c)
        ).first()
        if gone is None:
            if tx.execute(sa.select(_rules.c.id).where(*mine)).first() is None:
                raise NotFound("no such bonus rule")
            raise Conflict("it has begun: add another that follows it", code="bonus_rule_begun")
        facts = {"currency": gone.currency, "valid_from": gone.valid_from, "tiers": gone.tiers}
        audit.append(tx, merchant_id, by, Action.BONUS_RULE_WITHDRAWN, gone.id, before=facts)
    return gone


def list_rules(merchant_id: str, *, livemode: bool) -> list[sa.Row[Any]]:
    """The latest, newest first by when they begin."""
    query = (
        sa.select(*_rules.c)
        .where(_rules.c.merchant_id == merchant_id, _rules.c.livemode == livemode)
        .order_by(_rules.c.valid_from.desc(), _rules.c.id.desc())
        .limit(RULES_SHOWN)
    )
    with reading() as connection:
        return list(connection.execute(query))


_CURRENT = (
    sa.select(_rules.c.id, _rules.c.tiers)
    .where(
        _rules.c.merchant_id == sa.bindparam("merchant_id"),
        _rules.c.livemode == sa.bindparam("livemode"),
        _rules.c.currency == sa.bindparam("currency"),
        _rules.c.valid_from <= sa.bindparam("now"),
    )
    .order_by(_rules.c.valid_from.desc())
    .limit(1)
)
