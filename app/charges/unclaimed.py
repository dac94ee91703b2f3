"""Money that came in and that no charge has taken: an inbox for a person (see ``decisions.py``).

It is arithmetic, not a state: what an attempt received, less what its charge took, what was settled
elsewhere and what of it has gone back or is on its way.  A refund that fails thus puts its money here
by itself, and at every commit what came in is what charges keep, what went back, what was settled
elsewhere and what waits here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt, Charge, Refund
from app.charges.states import AttemptState, ChargeState, RefundState
from app.db import reading, table_of
from app.errors import InvalidRequest
from app.ids import is_id
from app.merchants.models import ProviderAccount
from app.money import Money

COUNT_MAX = 1000  # beyond it a number says only "very many", and costs more to know

_attempts, _charges, _refunds = table_of(Attempt), table_of(Charge), table_of(Refund)
_accounts = table_of(ProviderAccount)

# What has gone back of a settling attempt is its charge's refunds first; only the rest is ours.
_OF_CHARGE = sa.case((_attempts.c.settles, sa.func.coalesce(_charges.c.refunded_minor, 0)), else_=0)
_WAITING = (
    _attempts.c.received_minor
    - _attempts.c.credited_minor
    - _attempts.c.outside_minor
    - _attempts.c.refunded_minor
    + _OF_CHARGE
)
_BOOKS = _attempts.join(
    _accounts,
    sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
).outerjoin(
    _charges,
    sa.and_(_charges.c.merchant_id == _attempts.c.merchant_id, _charges.c.id == _attempts.c.charge_id),
)
# All attempts are summed up, so a charge is looked at only where something of its payment has gone back.
_ALL = _attempts.outerjoin(
    _charges,
    sa.and_(
        _charges.c.merchant_id == _attempts.c.merchant_id,
        _charges.c.id == _attempts.c.charge_id,
        _attempts.c.settles,
        _attempts.c.refunded_minor > 0,
    ),
)
_FAILURE = (
    sa.select(_refunds.c.failure_code)
    .where(
        _refunds.c.merchant_id == _attempts.c.merchant_id,
        _refunds.c.attempt_id == _attempts.c.id,
        _refunds.c.automatic,
        _refunds.c.state == RefundState.FAILED,
    )
    .order_by(_refunds.c.id.desc())
    .limit(1)
    .correlate(_attempts)
)
_ITEM: sa.Select[Any] = sa.select(
    *_attempts.c,
    _accounts.c.livemode,
    _charges.c.state.label("charge_state"),
    _charges.c.amount_minor.label("asked_minor"),
    _charges.c.currency.label("asked_currency"),
    _charges.c.description,
    _WAITING.label("waiting_minor"),
    _FAILURE.scalar_subquery().label("failure_code_of_refund"),
    sa.exists(_FAILURE).label("refund_failed"),
).select_from(_BOOKS)
_FEW = 100  # so many are named one by one
_IS_UNNEEDED = _attempts.c.received_minor > _attempts.c.credited_minor  # in the words of its index


class Why(StrEnum):
    """Why money waits."""

    UNKNOWN = "unknown"  # nobody here gave out its number
    WRONG_CURRENCY = "wrong_currency"
    WRONG_AMOUNT = "wrong_amount"
    SURPLUS = "surplus"  # more than the charge asked for
    UNNEEDED = "unneeded"  # its charge is paid otherwise, or was canceled, and it could not go back


@dataclass(frozen=True, slots=True)
class Item:
    """Waiting money.  ``row`` is its attempt, with ``charge_state`` and the like of its charge."""

    row: sa.Row[Any]
    why: Why
    waiting: Money
    can_be_accepted: bool  # by the charge that it came for
    can_be_matched: bool  # to another


@dataclass(frozen=True, slots=True)
class Account:
    """All money of one currency: ``received + overdrawn == credited + refunded + outside + waiting``."""

    received: Money
    credited: Money  # what charges keep
    refunded: Money  # gone back, or on its way
    outside: Money  # settled elsewhere
    waiting: Money
    overdrawn: Money  # gone back although it was used: a provider said no first, and yes later

    @property
    def is_balanced(self) -> bool:
        spent = self.credited.minor + self.refunded.minor + self.outside.minor + self.waiting.minor
        return self.received.minor + self.overdrawn.minor == spent


def list_unclaimed(
    merchant_id: str, *, livemode: bool, before: str | None = None, limit: int = 20
) -> tuple[list[Item], bool]:
    """What waits in a mode, newest first, and whether there is more.  Raises InvalidRequest."""
    if before is not None and not is_id(before, "at"):
        raise InvalidRequest("a cursor is the id of an attempt", param="before")
    query = _ITEM.where(*_waiting_in(merchant_id, livemode))
    if before is not None:
        query = query.where(_attempts.c.id < before)
    with reading() as connection:
        rows = list(connection.execute(query.order_by(_attempts.c.id.desc()).limit(limit + 1)))
    return [_item(row) for row in rows[:limit]], len(rows) > limit


def count_unclaimed(merchant_id: str, *, livemode: bool) -> int:
    """How many payments wait; COUNT_MAX says as many or more.

    Every page asks.  PostgreSQL has no statistics of two columns compared, takes a third of all attempts for
    unneeded and would read them all: so first it is asked for those, in the order of their own index.
    """
    few = (
        sa.select(_attempts.c.id)
        .where(_attempts.c.merchant_id == merchant_id, _IS_UNNEEDED)
        .order_by(_attempts.c.id)
        .limit(_FEW + 1)
    )
    some = sa.select(_attempts.c.id).select_from(_BOOKS).where(*_waiting_in(merchant_id, livemode))
    with reading() as connection:
        ids = connection.execute(few).scalars().all()
        if not ids:
            return 0
        if len(ids) <= _FEW:
            some = some.where(_attempts.c.id.in_(ids))
        return connection.execute(
            sa.select(sa.func.count()).select_from(some.limit(COUNT_MAX).subquery())
        ).scalar_one()


def account_for(merchant_id: str, *, livemode: bool) -> list[Account]:
    """Where all money is that ever came in, by currency, as of one moment."""
    sums = sa.select(
        _attempts.c.received_currency,
        *[
            sa.func.sum(part)
            for part in (
                _attempts.c.received_minor,
                _attempts.c.credited_minor - _OF_CHARGE,
                _attempts.c.refunded_minor,
                _attempts.c.outside_minor,
                sa.case((_WAITING > 0, _WAITING), else_=0),
                sa.case((_WAITING < 0, -_WAITING), else_=0),
            )
        ],
    ).select_from(_ALL)
    of_mode = sums.where(
        _attempts.c.merchant_id == merchant_id,
        _attempts.c.received_minor.is_not(None),
        _attempts.c.account_id.in_(
            sa.select(_accounts.c.id).where(
                _accounts.c.merchant_id == merchant_id, _accounts.c.livemode == livemode
            )
        ),
    )
    with reading() as connection:
        rows = connection.execute(of_mode.group_by(_attempts.c.received_currency).order_by(sa.text("1")))
        return [Account(*[Money(int(minor), currency) for minor in parts]) for currency, *parts in rows]


def read_one(tx: Connection, merchant_id: str, attempt_id: str) -> sa.Row[Any]:
    """One attempt as this inbox sees it, with ``waiting_minor`` and ``livemode``.  A step."""
    return tx.execute(_ITEM.where(_attempts.c.merchant_id == merchant_id, _attempts.c.id == attempt_id)).one()


def why_of(row: Any) -> Why:
    """Pure."""
    if row.settles:
        return Why.SURPLUS
    if row.charge_id is None:
        return Why.UNKNOWN
    if row.received_currency != row.asked_currency:
        return Why.WRONG_CURRENCY
    return Why.WRONG_AMOUNT if row.state == AttemptState.MISMATCHED else Why.UNNEEDED


def _waiting_in(merchant_id: str, livemode: bool) -> list[sa.ColumnElement[bool]]:
    mine = _attempts.c.merchant_id == merchant_id
    return [mine, _IS_UNNEEDED, _accounts.c.livemode == livemode, _WAITING > 0]


def _item(row: sa.Row[Any]) -> Item:
    is_whole = row.waiting_minor == row.received_minor  # a payment pays one charge, or none
    return Item(
        row,
        why_of(row),
        Money(row.waiting_minor, row.received_currency),
        can_be_accepted=(
            is_whole
            and row.charge_state not in (None, ChargeState.PAID)
            and row.received_currency == row.asked_currency
        ),
        can_be_matched=is_whole,
    )
