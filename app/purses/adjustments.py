"""Corrections by hand: what somebody gives a member or takes away, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.errors import InvalidRequest
from app.ids import new_id
from app.merchants import audit
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.roles import Permission
from app.money import MINOR_MAX
from app.purses import members
from app.purses.change import Move, change
from app.purses.models import MoveKind

REASON_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class NewAdjustment:
    """So much more, or below zero: less, of what was paid in and of the bonus.

    Building one checks it: raises InvalidRequest naming the field.
    """

    member: str  # our id or the merchant's own account id
    balance_minor: int
    bonus_minor: int
    reason: str

    def __post_init__(self) -> None:
        text = " ".join(self.reason.split())
        if not 1 <= len(text) <= REASON_CHARS_MAX or not text.isprintable():
            raise InvalidRequest(f"a reason has 1 to {REASON_CHARS_MAX} characters", param="reason")
        if not 1 <= max(abs(self.balance_minor), abs(self.bonus_minor)) <= MINOR_MAX:
            raise InvalidRequest(f"an amount is 1 to {MINOR_MAX} minor units", param="amount")
        object.__setattr__(self, "reason", text)


def adjust(tx: Connection, merchant_id: str, new: NewAdjustment, *, livemode: bool, by: Actor) -> sa.Row[Any]:
    """Give or take; the movement.  A step, and the last one of its transaction.

    Raises NotFound, PermissionDenied, or Conflict with code ``member_balance_too_low``: whatever the rules
    let a refund do, a hand takes neither balance nor bonus below zero.
    """
    by.require(Permission.MEMBERS_ADJUST)
    found = members.lock(tx, merchant_id, new.member, livemode=livemode)
    wanted = Move(
        MoveKind.ADJUSTMENT,
        new_id("adj"),
        new.balance_minor,
        new.bonus_minor,
        note=new.reason,
        made_by=by.name,
    )
    _, movement = change(tx, merchant_id, found.id, wanted)
    facts = {"balance_minor": new.balance_minor, "bonus_minor": new.bonus_minor, "reason": new.reason}
    audit.append(tx, merchant_id, by, Action.MEMBER_ADJUSTED, found.id, after=facts)
    return movement
