"""Top-ups as their merchant knows them: begun, found, listed.  ``crediting.py`` has what paying one does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.commands import EXPIRES_IN_S_DEFAULT, NewCharge
from app.charges.crediting import Known, known_of, topup_of
from app.charges.lifecycle import create_charge
from app.charges.models import Charge
from app.db import reading, table_of
from app.errors import Conflict, NotFound
from app.ids import new_id
from app.merchants.models import Merchant
from app.money import Money
from app.purses import bonus, members
from app.purses.models import Topup

# What the wallet shows, where the merchant's system says nothing.
DESCRIPTIONS = {"zh": "会员充值", "en": "Member top-up"}

_topups, _charges, _merchants = table_of(Topup), table_of(Charge), table_of(Merchant)


@dataclass(frozen=True, slots=True)
class NewTopup:
    """A top-up that may be begun; what is beside member and amount is the charge's."""

    member: str  # our id or the merchant's own account id
    amount_minor: int
    description: str = ""
    merchant_order_no: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    return_url: str | None = None
    expires_in_s: int = EXPIRES_IN_S_DEFAULT
    qr_code_id: str | None = None
    store_id: str | None = None


@dataclass(frozen=True, slots=True)
class TopupFilter:
    """What a list is narrowed to."""

    member: str | None = None  # our id or the merchant's own account id; who is not there has none
    merchant_order_no: str | None = None
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


def begin(tx: Connection, merchant_id: str, new: NewTopup, *, livemode: bool) -> Known:
    """Make a top-up and its charge; the bonus is promised now.  A step.

    The same order number with the same content returns the one made before.  Raises NotFound,
    InvalidRequest, or Conflict with code ``member_blocked`` or ``merchant_order_no_taken``.
    """
    member = members.read(tx, merchant_id, new.member, livemode=livemode)
    if member.blocked_at is not None:
        raise Conflict("this member is blocked", code="member_blocked")
    topup_id = new_id("tu")
    wanted = NewCharge(
        Money(new.amount_minor, member.currency),
        new.description or _description(tx, merchant_id),
        merchant_order_no=new.merchant_order_no,
        metadata=new.metadata,
        return_url=new.return_url,
        expires_in_s=new.expires_in_s,
        qr_code_id=new.qr_code_id,
        store_id=new.store_id,
        topup_id=topup_id,
    )
    charge = create_charge(tx, merchant_id, livemode=livemode, new=wanted)
    if charge.topup_id != topup_id:
        return Known(_of_member(tx, charge, member), charge, member)
    promise = bonus.promise_of(tx, merchant_id, member.currency, livemode=livemode)
    topup = tx.execute(
        sa.insert(_topups).returning(*_topups.c),
        {
            "merchant_id": merchant_id,
            "id": topup_id,
            "member_id": member.id,
            "charge_id": charge.id,
            "livemode": livemode,
            "amount_minor": new.amount_minor,
            "bonus_minor": bonus.bonus_for(promise.tiers, new.amount_minor),
            "currency": member.currency,
            "rule_id": promise.rule_id,
            "tiers": [list(tier) for tier in promise.tiers],
            "bonus_credited_minor": 0,
            "taken_minor": 0,
            "bonus_taken_minor": 0,
            "sequence": 0,
            "created_at": charge.created_at,
        },
    ).one()
    return Known(topup, charge, member)


def find(merchant_id: str, topup_id: str, *, livemode: bool) -> Known:
    """Raises NotFound, for another merchant's or mode's top-up too."""
    mine = (
        _topups.c.merchant_id == merchant_id,
        _topups.c.id == topup_id[:64],
        _topups.c.livemode == livemode,
    )
    with reading() as connection:
        topup = connection.execute(sa.select(*_topups.c).where(*mine)).first()
        if topup is None:
            raise NotFound("no such top-up")
        return known_of(connection, [topup])[0]


def list_topups(merchant_id: str, *, livemode: bool, wanted: TopupFilter) -> tuple[list[Known], bool]:
    """One page, newest first, and whether there is more."""
    backwards = wanted.ending_before is not None
    query = sa.select(*_topups.c).where(_topups.c.merchant_id == merchant_id, _topups.c.livemode == livemode)
    if wanted.member is not None:
        owner = members.named(merchant_id, wanted.member, livemode=livemode).subquery()
        query = query.where(_topups.c.member_id.in_(sa.select(owner.c.id)))
    if wanted.merchant_order_no is not None:
        of_number = sa.select(_charges.c.id).where(
            _charges.c.merchant_id == merchant_id,
            _charges.c.livemode == livemode,
            _charges.c.merchant_order_no == wanted.merchant_order_no,
        )
        query = query.where(_topups.c.charge_id.in_(of_number))
    if wanted.starting_after is not None:
        query = query.where(_topups.c.id < wanted.starting_after)
    if wanted.ending_before is not None:
        query = query.where(_topups.c.id > wanted.ending_before)
    order = _topups.c.id.asc() if backwards else _topups.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(wanted.limit + 1)))
        page = rows[: wanted.limit]
        known = known_of(connection, page[::-1] if backwards else page)
    return known, len(rows) > wanted.limit


def _of_member(tx: Connection, charge: Any, member: Any) -> sa.Row[Any]:
    """The top-up that had this order number before.  Raises Conflict if it is another member's."""
    topup = topup_of(tx, charge)
    if topup.member_id != member.id:
        raise Conflict(
            f"order number {charge.merchant_order_no} belongs to a top-up of another member",
            code="merchant_order_no_taken",
        )
    return topup


def _description(tx: Connection, merchant_id: str) -> str:
    language = tx.execute(sa.select(_merchants.c.language).where(_merchants.c.id == merchant_id)).scalar()
    return DESCRIPTIONS.get(str(language), DESCRIPTIONS["en"])
