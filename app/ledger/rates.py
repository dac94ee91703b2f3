"""What providers keep of a payment, as the merchant knows it beforehand: rates by account and date.

No rate, no fee: then only the provider's bill tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id
from app.ledger.models import FeeRate
from app.merchants import audit
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import ProviderAccount
from app.merchants.roles import Permission
from app.money import EXPONENTS

BASIS_POINTS_MAX = 1000  # a tenth: whoever types 60 for 0.6 % and 600 for 6 % is stopped only beyond it
FIXED_MINOR_MAX = 100_000

_rates, _accounts = table_of(FeeRate), table_of(ProviderAccount)


@dataclass(frozen=True, slots=True)
class NewRate:
    """A rate from a moment on."""

    account_id: str
    currency: str
    basis_points: int
    fixed_minor: int
    valid_from: datetime | None = None  # None: now


def fee_of(amount_minor: int, basis_points: int, fixed_minor: int) -> int:
    """``(1250, 60, 0) -> 8``: half a unit is rounded up, as in bills; never more than came.  Pure."""
    return min((amount_minor * basis_points + 5000) // 10_000 + fixed_minor, amount_minor)


@retried
def add_rate(merchant_id: str, new: NewRate, *, by: Actor = SERVER) -> str:
    """Have payments cost this from a moment on; what is posted stays.  The rate's id.

    Raises NotFound, InvalidRequest, Conflict (there is one from that moment).
    """
    by.require(Permission.PROVIDERS_WRITE)
    if not 0 <= new.basis_points <= BASIS_POINTS_MAX:
        raise InvalidRequest(f"a rate is 0 to {BASIS_POINTS_MAX} basis points", param="basis_points")
    if not 0 <= new.fixed_minor <= FIXED_MINOR_MAX:
        raise InvalidRequest(f"a fixed fee is 0 to {FIXED_MINOR_MAX} minor units", param="fixed")
    if new.currency not in EXPONENTS:
        raise InvalidRequest(f"{new.currency[:8]!r} is not a currency we can charge in", param="currency")
    with transaction() as tx:
        own = (_accounts.c.merchant_id == merchant_id, _accounts.c.id == new.account_id[:40])
        if tx.execute(sa.select(_accounts.c.id).where(*own).with_for_update()).first() is None:
            raise NotFound("no such provider account")
        now = moment(tx)
        since = new.valid_from or now
        mine = (
            _rates.c.merchant_id == merchant_id,
            _rates.c.account_id == new.account_id,
            _rates.c.currency == new.currency,
            _rates.c.valid_from == since,
        )
        if tx.execute(sa.select(_rates.c.id).where(*mine)).first() is not None:
            raise Conflict("there is a rate from this moment", code="rate_exists")
        row = {
            "merchant_id": merchant_id,
            "id": new_id("fr"),
            "account_id": new.account_id,
            "currency": new.currency,
            "valid_from": since,
            "basis_points": new.basis_points,
            "fixed_minor": new.fixed_minor,
            "created_at": now,
        }
        tx.execute(sa.insert(_rates), row)
        facts = {"basis_points": new.basis_points, "fixed_minor": new.fixed_minor, "valid_from": since}
        audit.append(tx, merchant_id, by, Action.RATE_ADDED, new.account_id, after=facts)
    return str(row["id"])


def list_rates(merchant_id: str, *, livemode: bool) -> list[sa.Row[Any]]:
    """All rates of a mode, newest first by account, with the account's ``provider`` and ``name``."""
    same = sa.and_(_accounts.c.merchant_id == _rates.c.merchant_id, _accounts.c.id == _rates.c.account_id)
    query = (
        sa.select(*_rates.c, _accounts.c.provider, _accounts.c.name)
        .join(_accounts, same)
        .where(_rates.c.merchant_id == merchant_id, _accounts.c.livemode == livemode)
        .order_by(_rates.c.account_id, _rates.c.currency, _rates.c.valid_from.desc())
        .limit(100)
    )
    with reading() as connection:
        return list(connection.execute(query))


def rates_at(merchant_id: str, currency: str, at: datetime) -> dict[str, sa.Row[Any]]:
    """What holds at a moment, by account; one that is not there has no rate."""
    query = (
        sa.select(*_rates.c)
        .where(_rates.c.merchant_id == merchant_id, _rates.c.currency == currency, _rates.c.valid_from <= at)
        .order_by(_rates.c.valid_from)
    )
    with reading() as connection:
        return {row.account_id: row for row in connection.execute(query)}


def current_rate(
    merchant_id: sa.ColumnElement[str], account_id: sa.ColumnElement[str], currency: sa.ColumnElement[str]
) -> sa.ScalarSelect[str]:
    """The id of the rate that holds at ``:now``, as a column of another SELECT; NULL: there is none."""
    return (
        sa.select(_rates.c.id)
        .where(
            _rates.c.merchant_id == merchant_id,
            _rates.c.account_id == account_id,
            _rates.c.currency == currency,
            _rates.c.valid_from <= sa.bindparam("now"),
        )
        .order_by(_rates.c.valid_from.desc())
        .limit(1)
        .scalar_subquery()
    )


def fee_by(tx: Connection, merchant_id: str, rate_id: str, amount_minor: int) -> int:
    """What a payment costs by this rate.  A step."""
    rate = tx.execute(_FIND, {"merchant_id": merchant_id, "rate_id": rate_id}).one()
    return fee_of(amount_minor, rate.basis_points, rate.fixed_minor)


def foreseen(tx: Connection, merchant_id: str, account_id: str, currency: str, minor: int) -> int | None:
    """What a payment that is credited now costs; None without a rate.  A step."""
    query = sa.select(
        current_rate(sa.literal(merchant_id), sa.literal(account_id), sa.literal(currency)).label("rate_id")
    )
    rate_id = tx.execute(query, {"now": moment(tx)}).scalar_one()
    return None if rate_id is None else fee_by(tx, merchant_id, rate_id, minor)


_FIND = sa.select(_rates.c.basis_points, _rates.c.fixed_minor).where(
    _rates.c.merchant_id == sa.bindparam("merchant_id"), _rates.c.id == sa.bindparam("rate_id")
)
