"""The one way in which what a member has changes: a guarded UPDATE, a movement, its entries, its event.

All of it in the caller's transaction, so a purse is always the sum of its movements and of its entries.
The member's row is locked by the first of these statements; whoever locks a charge as well does that before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import moment, table_of
from app.errors import Conflict
from app.ids import new_id
from app.ledger import events
from app.ledger.post import Posting, post
from app.money import Money
from app.purses.models import Member, MoveKind, Movement
from app.purses.present import changed
from app.webhooks.outbox import emit

TOO_LOW = "member_balance_too_low"

_members, _movements = table_of(Member), table_of(Movement)


@dataclass(frozen=True, slots=True)
class Move:
    """So much more, or below zero: less, of what was paid in and of the bonus, and why.

    ``may_owe``: it is done even if that takes either of them below zero.
    """

    kind: MoveKind
    cause_id: str
    balance_minor: int
    bonus_minor: int = 0
    charge_id: str | None = None
    note: str = ""
    made_by: str | None = None
    may_owe: bool = False


def change(tx: Connection, merchant_id: str, member_id: str, move: Move) -> tuple[sa.Row[Any], sa.Row[Any]]:
    """Do it; the member and the movement.  A step.

    Raises Conflict with code ``member_balance_too_low``.  Raises IntegrityError if this cause has moved
    the purse in this way before: then a guard above has failed, and nothing of this transaction may stay.
    """
    parts = {"balance": move.balance_minor, "bonus": move.bonus_minor}
    own = {"own_merchant_id": merchant_id, "own_id": member_id, "now": moment(tx)}
    member = tx.execute(_MOVE if move.may_owe else _MOVE_DOWN_TO_ZERO, {**own, **parts}).first()
    if member is None:
        raise Conflict(_shortage(tx, merchant_id, member_id), code=TOO_LOW)
    movement = tx.execute(
        _INSERT,
        {
            "merchant_id": merchant_id,
            "id": new_id("mm"),
            "member_id": member_id,
            "livemode": member.livemode,
            "number": member.sequence,
            "kind": move.kind,
            "cause_id": move.cause_id,
            "charge_id": move.charge_id,
            "balance_minor": move.balance_minor,
            "bonus_minor": move.bonus_minor,
            "balance_after_minor": member.balance_minor,
            "bonus_after_minor": member.bonus_minor,
            "currency": member.currency,
            "note": move.note,
            "made_by": move.made_by,
            "created_at": own["now"],
        },
    ).one()
    post(tx, posting_of(movement))
    emit(tx, changed(member, movement))
    return member, movement


def posting_of(movement: Any) -> Posting:
    """What the ledger says of a movement.  Pure."""
    transfers = events.moved(
        movement.kind, movement.id, movement.balance_minor, movement.bonus_minor, movement.charge_id
    )
    return Posting(
        movement.merchant_id,
        movement.livemode,
        movement.currency,
        None,
        transfers,
        member_id=movement.member_id,
    )


def _shortage(tx: Connection, merchant_id: str, member_id: str) -> str:
    own = (_members.c.merchant_id == merchant_id, _members.c.id == member_id)
    member = tx.execute(sa.select(*_members.c).where(*own)).one()
    left = [Money(minor, member.currency) for minor in (member.balance_minor, member.bonus_minor)]
    return f"the member has {left[0]} and a bonus of {left[1]}"


_BALANCE, _BONUS = (sa.bindparam(name, type_=sa.BigInteger()) for name in ("balance", "bonus"))
_MOVE = (
    sa.update(_members)
    .where(_members.c.merchant_id == sa.bindparam("own_merchant_id"), _members.c.id == sa.bindparam("own_id"))
    .values(
        balance_minor=_members.c.balance_minor + _BALANCE,
        bonus_minor=_members.c.bonus_minor + _BONUS,
        sequence=_members.c.sequence + 1,
        updated_at=sa.bindparam("now"),
    )
    .returning(*_members.c)
)
# What comes in is welcome however much is owed.
_MOVE_DOWN_TO_ZERO = _MOVE.where(
    sa.or_(_BALANCE >= 0, _members.c.balance_minor + _BALANCE >= 0),
    sa.or_(_BONUS >= 0, _members.c.bonus_minor + _BONUS >= 0),
)
_INSERT = sa.insert(_movements).returning(*_movements.c)
