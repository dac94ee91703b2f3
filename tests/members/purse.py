"""Short ways for tests to fill and spend a purse, and to see that it agrees with everything else."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.charges import proving, topups
from app.charges.models import Charge
from app.charges.topups import NewTopup
from app.db import snapshot, transaction
from app.merchants.actor import SERVER, Actor
from app.purses import adjustments, bonus, debits, members
from app.purses.adjustments import NewAdjustment
from app.purses.bonus import NewRule
from app.purses.debits import NewDebit
from app.purses.members import NewMember
from app.purses.models import Member, Movement, Topup
from tests.books import pay, row_of, rows_of
from tests.conftest import Shop

TIERS = ((10_000, 1_000), (50_000, 8_000))


def add_member(shop: Shop, account: str = "user-42", **more: Any) -> sa.Row[Any]:
    """A member with nothing yet."""
    with transaction() as tx:
        return members.put(tx, shop.id, NewMember(account, **more), livemode=False)[0]


def give_bonus(shop: Shop, *tiers: tuple[int, int], currency: str = "CNY") -> sa.Row[Any]:
    """A rule from now on."""
    return bonus.add_rule(shop.id, NewRule(currency, tiers or TIERS), livemode=False)


def begin_topup(shop: Shop, member_id: str, minor: int = 10_000, **more: Any) -> sa.Row[Any]:
    """A top-up that is not paid."""
    with transaction() as tx:
        return topups.begin(tx, shop.id, NewTopup(member_id, minor, **more), livemode=False).topup


def top_up(shop: Shop, member_id: str, minor: int = 10_000) -> sa.Row[Any]:
    """A top-up that is paid; its row then."""
    topup = begin_topup(shop, member_id, minor)
    pay(topup.charge_id)
    return row_of(Topup, id=topup.id)


def spend(shop: Shop, member_id: str, minor: int, number: str = "d-1") -> sa.Row[Any]:
    """A debit."""
    with transaction() as tx:
        return debits.take(tx, shop.id, NewDebit(member_id, number, minor), livemode=False)


def give_back(shop: Shop, debit: sa.Row[Any], minor: int | None = None) -> sa.Row[Any]:
    """Its reversal."""
    with transaction() as tx:
        return debits.reverse(tx, shop.id, debit.member_id, debit.id, minor, livemode=False)


def adjust(
    shop: Shop, member: str, move: tuple[int, int], reason: str = "by hand", by: Actor = SERVER
) -> sa.Row[Any]:
    """So much more or less of balance and bonus; the movement."""
    with transaction() as tx:
        return adjustments.adjust(tx, shop.id, NewAdjustment(member, *move, reason), livemode=False, by=by)


def has(member_id: str) -> tuple[int, int]:
    """Balance and bonus, as the member's row has them."""
    member = row_of(Member, id=member_id)
    return member.balance_minor, member.bonus_minor


def kinds(member_id: str) -> list[str]:
    """What has moved a purse, oldest first."""
    rows = sorted(rows_of(Movement, member_id=member_id), key=lambda row: row.number)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    return [row.kind for row in rows]


def faults() -> list[str]:
    """What ``flask ledger check`` would say."""
    return [str(fault) for part in proving.check_all(snapshot) for fault in part.faults]


def charge_of(topup: sa.Row[Any]) -> sa.Row[Any]:
    """What is paid for it."""
    return row_of(Charge, id=topup.charge_id)
