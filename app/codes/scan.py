"""What a scan finds, and how a charge is begun at a printed code without taking more than it may.

A code may be scanned by many at once.  Whoever begins a charge locks the code's row first and counts
afterwards, so what is counted stands still until the new charge is among it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import topups
from app.charges.commands import AT_CODE_S, NewCharge
from app.charges.lifecycle import create_charge
from app.charges.models import Charge
from app.charges.states import ChargeState
from app.charges.topups import NewTopup
from app.clock import day_of, start_of
from app.codes.models import QRCode
from app.codes.terms import Standing, check_amount, standing_of
from app.db import moment, reading, table_of
from app.errors import BadLink, Conflict
from app.merchants.models import Brand, Merchant, Store
from app.money import Money
from app.qr.short_code import parse_code

# Charges of one code that wait to be paid.  A crowd before a stage stays below it; somebody who begins
# charges for the sake of it does not get beyond.
PENDING_MAX = 500

_codes, _charges = table_of(QRCode), table_of(Charge)
_merchants, _stores, _brands = table_of(Merchant), table_of(Store), table_of(Brand)


@dataclass(frozen=True, slots=True)
class Sign:
    """A code as somebody who scans it sees it; ``row`` has its merchant's and its store's names."""

    row: sa.Row[Any]
    standing: Standing


def find_public(text: str) -> Sign:
    """What a scanned or typed code opens, as it is now.

    Raises BadLink, in the same words for a code that cannot be one and for one that nobody has.
    """
    params = {"code": parse_code(text)}
    with reading() as connection:
        row = connection.execute(_FIND_PUBLIC, params).first()
        if row is None:
            raise BadLink("this is no code of a sign", code="no_such_code")
        standing = standing_of(row, moment(connection))
        if standing is Standing.ACTIVE and row.max_payments is not None:
            taken = _count(connection, row, row.max_payments, ChargeState.PAID)
            standing = Standing.USED_UP if taken >= row.max_payments else standing
    return Sign(row, standing)


def begin_charge(
    tx: Connection, code: sa.Row[Any], amount: Money, member_id: str | None = None
) -> sa.Row[Any]:
    """A fresh charge of this amount, if the code may still take it; a member's top-up, if one is named.
    A step.

    Pending charges count as if they were paid: they may be.  Raises InvalidRequest (the amount is not one
    that this code takes), Conflict (``code`` is a Standing, ``in_payment`` while others pay what is left,
    ``daily_cap`` or ``too_many_pending``).
    """
    row = tx.execute(_LOCK, {"merchant_id": code.merchant_id, "code_id": code.id}).one()
    now = moment(tx)
    standing = standing_of(row, now)
    if standing is not Standing.ACTIVE:
        raise Conflict("nothing can be paid at this code now", code=standing)
    check_amount(row, amount)
    _check_number(tx, row)
    if row.daily_cap_minor is not None and _taken_since(tx, row, now) + amount.minor > row.daily_cap_minor:
        raise Conflict("this code takes no more today", code="daily_cap")
    if member_id is not None:
        topup = NewTopup(
            member_id,
            amount.minor,
            description_of(row),
            expires_in_s=AT_CODE_S,
            qr_code_id=row.id,
            store_id=row.store_id,
        )
        begun: sa.Row[Any] = topups.begin(tx, row.merchant_id, topup, livemode=row.livemode).charge
        return begun
    new = NewCharge(
        amount,
        description_of(row),
        expires_in_s=AT_CODE_S,
        qr_code_id=row.id,
        store_id=row.store_id,
        amount_by_shopper=row.amount_minor is None,
    )
    return create_charge(tx, row.merchant_id, livemode=row.livemode, new=new)


def description_of(row: sa.Row[Any]) -> str:
    """What shopper and merchant read of a charge: ``"堂食 · 7"``.  Pure."""
    return f"{row.name} · {row.label_text}" if row.label_text else row.name


def _check_number(tx: Connection, row: sa.Row[Any]) -> None:
    """Raises Conflict."""
    if _count(tx, row, PENDING_MAX, ChargeState.PENDING) >= PENDING_MAX:
        raise Conflict("too many are paying at this code: try again later", code="too_many_pending")
    most = row.max_payments
    if most is None:
        return
    if _count(tx, row, most, ChargeState.PAID) >= most:
        raise Conflict("this code has taken all its payments", code=Standing.USED_UP)
    if _count(tx, row, most, ChargeState.PAID, ChargeState.PENDING) >= most:
        raise Conflict("others are paying what is left: try again later", code="in_payment")


def _count(connection: Connection, row: sa.Row[Any], most: int, *states: ChargeState) -> int:
    """How many charges of a code are in these states; no further than to ``most``."""
    some = (
        sa.select(_charges.c.id)
        .where(
            _charges.c.merchant_id == row.merchant_id,
            _charges.c.qr_code_id == row.id,
            _charges.c.state.in_(states),
        )
        .limit(most)
        .subquery()
    )
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _taken_since(tx: Connection, row: sa.Row[Any], now: datetime) -> int:
    """Minor units of today's charges that are paid or may be.  A refund gives nothing back to the cap."""
    taken = sa.select(
        sa.func.coalesce(sa.func.sum(sa.func.coalesce(_charges.c.paid_minor, _charges.c.amount_minor)), 0)
    ).where(
        _charges.c.merchant_id == row.merchant_id,
        _charges.c.qr_code_id == row.id,
        _charges.c.state.in_((ChargeState.PAID, ChargeState.PENDING)),
        _charges.c.created_at >= start_of(day_of(now)),
    )
    return int(tx.execute(taken).scalar_one())


_FIND_PUBLIC: sa.Select[Any] = (
    sa.select(
        *_codes.c,
        _merchants.c.name.label("merchant_name"),
        _merchants.c.language.label("merchant_language"),
        _stores.c.name.label("store_name"),
        _stores.c.address.label("store_address"),
        _brands.c.accent,
        _brands.c.logo_version,
    )
    .outerjoin(_brands, _brands.c.merchant_id == _codes.c.merchant_id)
    .join(_merchants, _merchants.c.id == _codes.c.merchant_id)
    .outerjoin(
        _stores, sa.and_(_stores.c.merchant_id == _codes.c.merchant_id, _stores.c.id == _codes.c.store_id)
    )
    .where(_codes.c.code == sa.bindparam("code"))
)
_LOCK: sa.Select[Any] = (
    sa.select(*_codes.c)
    .where(_codes.c.merchant_id == sa.bindparam("merchant_id"), _codes.c.id == sa.bindparam("code_id"))
    .with_for_update()
)
