"""Which attempts of the last weeks a rule could have matched or counted, read for a trial: cheaply, as
there may be a hundred thousand.

What needs no memory is decided in the database, and only what the rule looks at is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt, Charge
from app.db import UTCDateTime, table_of
from app.merchants.risk import DAY_TOTALS, OPEN_AMOUNTS, Action, On, Rule, RuleKind
from app.money import EXPONENTS

ATTEMPTS_MAX = 200_000  # of a busier shop the latest are gone through: what fits in a second or two

_charges, _attempts = table_of(Charge), table_of(Attempt)
_MOST = sa.bindparam("most", type_=sa.Integer())

Key = str | int | None  # what a rule looks at, see ``looked_at``; None: unknown, and so nothing to judge


class Past(NamedTuple):
    """An attempt as the books keep it."""

    started_at: datetime
    attempt_id: str
    finished_at: datetime | None
    settles: bool
    key: Key
    charge_id: str
    amount_minor: int
    currency: str
    paid_at: datetime | None


@dataclass(frozen=True, slots=True)
class Read:
    """The attempts that a rule can match or count, in their order, and what all attempts of the time were.

    ``judged`` are their charges; ``first`` when the earliest of them began, None if there is none;
    ``is_whole`` if there were not too many.
    """

    past: Iterable[Past]
    judged: int
    first: datetime | None
    is_whole: bool


def read(connection: Connection, rule: Rule, of_whom: dict[str, Any]) -> Read:
    """All that a trial needs, by one statement.  ``of_whom``: whose attempts, and since when: see RECENT."""
    with connection.execute(_statement(rule), of_whom | {"most": ATTEMPTS_MAX}) as result:
        rows = list(result.cursor.fetchall())  # the driver's own tuples: no Row is made of each
    totals = next(row for row in rows if row[1] is None)
    rows.remove(totals)
    rows.sort()  # by when they were begun, then by their ids
    [about] = _past_of([totals])
    return Read(_past_of(rows), about.amount_minor, about.started_at, bool(about.settles))


def looked_at(rule: Rule) -> str | None:
    """What a rule looks at, apart from when and in what currency: a field of ``Start``.  Pure."""
    match rule.kind:
        case RuleKind.BLOCK_LIST if rule.terms.on is not None:
            return _LISTED[rule.terms.on]
        case RuleKind.CODE_DAY_TOTAL:
            return "code_id"
        case RuleKind.PAYER_DAY_TOTAL:
            return "payer_key"
        case RuleKind.ADDRESS_PACE:
            return "address_key"
        case RuleKind.DEVICE_PACE:
            return "device_key"
        case RuleKind.PAYMENT_AMOUNT | RuleKind.REPEATED_AMOUNT:
            return "amount_minor"
        case _:
            return None


def _past_of(rows: list[tuple[Any, ...]]) -> Iterator[Past]:
    """Rows as the driver gives them; SQLite's times are text, in UTC."""
    if rows and not isinstance(rows[0][0], str):
        yield from map(Past._make, rows)
        return
    for began, attempt_id, ended, settles, key, charge_id, minor, currency, paid in rows:
        ends, came = ended and _moment(ended), paid and _moment(paid)
        yield Past(_moment(began), attempt_id, ends, settles, key, charge_id, minor, currency, came)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


def _statement(rule: Rule) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """The attempts that a rule can match or count, and one row about them all, which has no id.

    The others leave no trace in a trial, so they stay in the database: the conditions are those of ``judge``
    and ``ask_of``.  Whose charge is held, though, is stopped whoever tries again: then all its attempts come.
    """
    name, nothing, of = looked_at(rule), sa.null(), RECENT.c
    rows = sa.select(
        of.started_at,
        of.attempt_id,
        of.finished_at if rule.kind in DAY_TOTALS else nothing,
        of.settles,
        sa.literal_column("''") if name is None else of[name],
        of.charge_id,
        of.amount_minor,
        of.currency,
        of.paid_at,
    ).where(*_conditions(rule))
    totals = sa.select(
        sa.func.min(of.started_at),
        *(nothing, nothing, sa.func.count() < _MOST, nothing, nothing),
        *(sa.func.count(sa.distinct(of.charge_id)), nothing, nothing),
    ).select_from(RECENT)
    return sa.union_all(totals, rows)


def _conditions(rule: Rule) -> list[sa.ColumnElement[bool]]:
    of, name = RECENT.c, looked_at(rule)
    named = _OF_CHARGE if rule.action is Action.REVIEW else _KEYS
    conditions: list[sa.ColumnElement[bool]] = []
    if name in named:
        # Whoever pays, and be it unknown who, ends what others have begun of that charge.
        is_end = [of.settles] if rule.kind is RuleKind.PAYER_DAY_TOTAL else []
        conditions.append(sa.or_(of[name].is_not(None), *is_end))
    if rule.kind is RuleKind.BLOCK_LIST:
        return conditions
    conditions.append(of.currency == rule.currency)
    if rule.kind in OPEN_AMOUNTS:
        conditions.append(of.by_shopper)
    terms, amount = rule.terms, of.amount_minor
    match rule.kind:
        case RuleKind.PAYMENT_AMOUNT:
            least, most = terms.min_amount_minor, terms.max_amount_minor
            beyond = [] if least is None else [amount < least]
            conditions.append(sa.or_(*beyond, *([] if most is None else [amount > most])))
        case RuleKind.REPEATED_AMOUNT:
            conditions.append(amount % 10 ** EXPONENTS[rule.currency] != 0)
        case RuleKind.ROUND_AMOUNTS if terms.step_minor:
            conditions.append(amount % terms.step_minor == 0)
        case RuleKind.JUST_BELOW if terms.max_amount_minor and terms.margin_minor:
            below = terms.max_amount_minor
            conditions.append(amount.between(below - terms.margin_minor, below - 1))
    return conditions


_LISTED = {
    On.ADDRESS: "address_key",
    On.DEVICE: "device_key",
    On.PAYER: "payer_key",
    On.CODE: "code_id",
    On.ORDER: "order_no",
}
_KEYS = frozenset(_LISTED.values())  # who or what is asked about: nothing is, where there is none
_OF_CHARGE = frozenset({"code_id", "order_no"})  # and where one attempt has none, no other has
# Of the attempts within the span, through their charges, which have an index by time: the latest if there
# are too many.  Used twice by one statement, so both databases read it once.
RECENT = (
    sa.select(
        _attempts.c.started_at,
        _attempts.c.id.label("attempt_id"),
        _attempts.c.finished_at,
        _attempts.c.settles,
        _attempts.c.payer_key,
        _attempts.c.address_key,
        _attempts.c.device_key,
        _charges.c.id.label("charge_id"),
        _charges.c.amount_minor,
        _charges.c.currency,
        _charges.c.amount_by_shopper.label("by_shopper"),
        _charges.c.qr_code_id.label("code_id"),
        _charges.c.merchant_order_no.label("order_no"),
        _charges.c.paid_at,
    )
    .join(
        _attempts,
        sa.and_(_attempts.c.merchant_id == _charges.c.merchant_id, _attempts.c.charge_id == _charges.c.id),
    )
    .where(
        _charges.c.merchant_id == sa.bindparam("merchant_id"),
        _charges.c.livemode == sa.bindparam("livemode"),
        _charges.c.created_at >= sa.bindparam("made_since", type_=UTCDateTime()),
        _attempts.c.started_at >= sa.bindparam("since", type_=UTCDateTime()),
    )
    .order_by(_charges.c.created_at.desc(), _charges.c.id.desc())
    .limit(_MOST)
    .cte("recent")
)
