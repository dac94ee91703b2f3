"""Which attempts of the last weeks a rule could have matched or counted, read for a trial: cheaply, as
there may be a hundred thousand.

What needs no memory is decided in the database, and only what the rule looks at is read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.charges.models import Attempt, Charge
from app.db import UTCDateTime, table_of
from app.merchants.risk import OPEN_AMOUNTS, Action, On, Rule, RuleKind
from app.money import EXPONENTS

ATTEMPTS_MAX = 200_000  # of a busier shop the latest are gone through: what fits in a second or two

_charges, _attempts = table_of(Charge), table_of(Attempt)


class Past(NamedTuple):
    """An attempt as the books keep it."""

    started_at: datetime
    attempt_id: str
    finished_at: datetime | None
    settles: bool
    payer_key: str | None
    address_key: str | None
    device_key: str | None
    charge_id: str
    amount_minor: int
    currency: str
    by_shopper: bool
    code_id: str | None
    order_no: str | None
    paid_at: datetime | None


def past_of(row: tuple[Any, ...]) -> Past:
    """A row as the driver gave it; SQLite's times are text, in UTC."""
    if isinstance(row[0], datetime):
        return Past._make(row)
    began, attempt_id, ended, *between, paid = row
    return Past._make((_moment(began), attempt_id, _moment(ended), *between, _moment(paid)))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text + "+00:00")


def of_its_sort(rule: Rule) -> sa.Select[*tuple[Any, ...]]:
    """The attempts that a rule can match or count, and of each what it looks at.

    The others leave no trace in a trial, so they stay in the database: the conditions are those of ``judge``
    and ``ask_of``.  Whose charge is held, though, is stopped whoever tries again: then all its attempts come.
    """
    needed = _NEEDED | _looked_at(rule)
    columns = [
        sa.type_coerce(column, sa.types.NullType()) if name in needed else sa.null()
        for name, column in zip(Past._fields, RECENT.c, strict=True)
    ]
    return sa.select(*columns).where(*_conditions(rule))


def _looked_at(rule: Rule) -> set[str]:
    """Fields of Past."""
    match rule.kind:
        case RuleKind.BLOCK_LIST if rule.terms.on is not None:
            return {_LISTED[rule.terms.on]}
        case RuleKind.DAY_TOTAL:
            return {"finished_at"}
        case RuleKind.CODE_DAY_TOTAL:
            return {"finished_at", "code_id"}
        case RuleKind.PAYER_DAY_TOTAL:
            return {"finished_at", "payer_key"}
        case RuleKind.ADDRESS_PACE:
            return {"by_shopper", "address_key"}
        case RuleKind.DEVICE_PACE:
            return {"by_shopper", "device_key"}
        case RuleKind.PAYMENT_AMOUNT:
            return set()
        case _:
            return {"by_shopper"}


def _conditions(rule: Rule) -> list[sa.ColumnElement[bool]]:
    of = dict(zip(Past._fields, RECENT.c, strict=True))
    names = _looked_at(rule) & ({"code_id", "order_no"} if rule.action is Action.REVIEW else _KEYS)
    conditions: list[sa.ColumnElement[bool]] = [of[name].is_not(None) for name in names]
    if rule.kind is RuleKind.BLOCK_LIST:
        return conditions
    conditions.append(of["currency"] == rule.currency)
    if rule.kind in OPEN_AMOUNTS:
        conditions.append(of["by_shopper"])
    terms, amount = rule.terms, of["amount_minor"]
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
_NEEDED = frozenset(
    {"started_at", "attempt_id", "settles", "charge_id", "amount_minor", "currency", "paid_at"}
)
# Of the attempts within the span, through their charges, which have an index by time: the latest if there
# are too many.
RECENT = (
    sa.select(  # in the order of the fields of Past
        _attempts.c.started_at,
        _attempts.c.id.label("attempt_id"),
        _attempts.c.finished_at,
        _attempts.c.settles,
        _attempts.c.payer_key,
        _attempts.c.address_key,
        _attempts.c.device_key,
        _charges.c.id,
        _charges.c.amount_minor,
        _charges.c.currency,
        _charges.c.amount_by_shopper,
        _charges.c.qr_code_id,
        _charges.c.merchant_order_no,
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
    .limit(ATTEMPTS_MAX)
    .subquery()
)
TOTALS = sa.select(
    sa.func.count(), sa.func.count(sa.distinct(RECENT.c.id)), sa.func.min(RECENT.c.started_at)
).select_from(RECENT)
