"""What a charge that tops up a member does to their purse: when it is paid, and when it is refunded.

A charge knows by ``topup_id`` that it is one, so settling any other costs nothing more.  Everything here is
a step in the transaction that moves the charge or its refund.  Locks: charge, top-up, member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Charge
from app.charges.present import link_of
from app.charges.states import ChargeState
from app.clock import to_rfc3339
from app.db import is_among, moment, table_of
from app.purses import bonus
from app.purses.change import Move, change
from app.purses.models import Member, MoveKind, Movement, Topup
from app.webhooks import types
from app.webhooks.outbox import Fact, emit

_topups, _charges, _members = table_of(Topup), table_of(Charge), table_of(Member)
_movements = table_of(Movement)


@dataclass(frozen=True, slots=True)
class Known:
    """A top-up with the rows that it is told by."""

    topup: Any
    charge: Any
    member: Any


def credit(tx: Connection, charge: Any) -> None:
    """A charge has been paid just now: its member has what it took, and the bonus for that.  A step.

    The caller's guard on the charge lets this happen once; the unique cause of a movement lets it happen
    no second time.
    """
    topup = topup_of(tx, charge)
    bonus_minor = bonus.bonus_for(topup.tiers, charge.paid_minor)
    wanted = Move(MoveKind.TOPUP, topup.id, charge.paid_minor, bonus_minor, charge_id=charge.id, may_owe=True)
    member, _ = change(tx, charge.merchant_id, topup.member_id, wanted)
    credited = _update(
        tx,
        topup,
        credited_minor=charge.paid_minor,
        bonus_credited_minor=bonus_minor,
        credited_at=moment(tx),
        sequence=topup.sequence + 1,
    )
    emit(tx, _fact(types.TOPUP_SUCCEEDED, Known(credited, charge, member)))


def take_back(tx: Connection, charge: Any, refund: Any, *, may_owe: bool) -> None:
    """A refund is reserved: what it gives back is not the member's any more, nor its share of the bonus.

    A step.  Raises Conflict with code ``member_balance_too_low``.
    """
    _take(tx, charge, refund, MoveKind.TOPUP_TAKEN_BACK, may_owe=may_owe)


def take_again(tx: Connection, charge: Any, refund: Any) -> None:
    """A refund went back after it had failed: the money is gone, so it is taken whatever is left.  A step."""
    _take(tx, charge, refund, MoveKind.TOPUP_TAKEN_AGAIN, may_owe=True)


def give_back(tx: Connection, charge: Any, refund: Any) -> None:
    """A refund failed, or was declined: the member has again exactly what it had taken.  A step."""
    taken = tx.execute(
        sa.select(_movements.c.balance_minor, _movements.c.bonus_minor).where(
            _movements.c.merchant_id == refund.merchant_id,
            _movements.c.cause_id == refund.id,
            _movements.c.kind == MoveKind.TOPUP_TAKEN_BACK,
        )
    ).one()
    topup = topup_of(tx, charge)
    _update(
        tx,
        topup,
        taken_minor=topup.taken_minor + taken.balance_minor,
        bonus_taken_minor=topup.bonus_taken_minor + taken.bonus_minor,
    )
    wanted = Move(
        MoveKind.TOPUP_GIVEN_BACK,
        refund.id,
        -taken.balance_minor,
        -taken.bonus_minor,
        charge_id=charge.id,
        may_owe=True,
    )
    change(tx, charge.merchant_id, topup.member_id, wanted)


def announce_refund(tx: Connection, refund: Any, topup_id: str) -> None:
    """Say that a refund of a top-up has gone back.  A step."""
    own = (_topups.c.merchant_id == refund.merchant_id, _topups.c.id == topup_id)
    topup = tx.execute(
        sa.update(_topups).where(*own).values(sequence=_topups.c.sequence + 1).returning(*_topups.c)
    ).one()
    [known] = known_of(tx, [topup])
    emit(tx, _fact(types.TOPUP_REFUNDED, known, {"refund": refund.id}))


def known_of(connection: Connection, topups: Sequence[sa.Row[Any]]) -> list[Known]:
    """With their charges and members, in the same order; all of one merchant."""
    if not topups:
        return []
    which: dict[str, Any] = {"merchant_id": topups[0].merchant_id}
    charge_ids = {**which, "ids": [row.charge_id for row in topups]}
    charges = {row.id: row for row in connection.execute(_CHARGES, charge_ids)}
    member_ids = {**which, "ids": sorted({row.member_id for row in topups})}
    found = {row.id: row for row in connection.execute(_MEMBERS, member_ids)}
    return [Known(row, charges[row.charge_id], found[row.member_id]) for row in topups]


def topup_json(known: Known) -> dict[str, Any]:
    """The top-up object of the API."""
    topup, charge = known.topup, known.charge
    return {
        "id": topup.id,
        "object": "topup",
        "livemode": topup.livemode,
        "member": topup.member_id,
        "account": known.member.account,
        "status": "succeeded" if charge.state == ChargeState.PAID else charge.state,
        "amount": topup.amount_minor,
        "bonus": topup.bonus_minor,
        "currency": topup.currency.lower(),
        "amount_credited": topup.credited_minor,
        "bonus_credited": topup.bonus_credited_minor,
        "amount_taken_back": topup.taken_minor,
        "bonus_taken_back": topup.bonus_taken_minor,
        "charge": charge.id,
        "provider": charge.provider,
        "merchant_order_no": charge.merchant_order_no,
        "metadata": charge.metadata,
        "url": link_of(charge),
        "created_at": to_rfc3339(topup.created_at),
        "expires_at": to_rfc3339(charge.expires_at),
        "credited_at": None if topup.credited_at is None else to_rfc3339(topup.credited_at),
    }


def _take(tx: Connection, charge: Any, refund: Any, kind: MoveKind, *, may_owe: bool) -> None:
    topup = topup_of(tx, charge)
    taken_minor = topup.taken_minor + refund.amount_minor
    bonus_minor = bonus.bonus_to_take(
        topup.credited_minor, topup.bonus_credited_minor, taken_minor, topup.bonus_taken_minor
    )
    _update(tx, topup, taken_minor=taken_minor, bonus_taken_minor=topup.bonus_taken_minor + bonus_minor)
    wanted = Move(kind, refund.id, -refund.amount_minor, -bonus_minor, charge_id=charge.id, may_owe=may_owe)
    change(tx, charge.merchant_id, topup.member_id, wanted)


def topup_of(tx: Connection, charge: Any) -> sa.Row[Any]:
    """The top-up of a charge that is locked, and so stands still."""
    return tx.execute(_OF_CHARGE, {"merchant_id": charge.merchant_id, "topup_id": charge.topup_id}).one()


def _update(tx: Connection, topup: Any, **values: Any) -> sa.Row[Any]:
    own = (_topups.c.merchant_id == topup.merchant_id, _topups.c.id == topup.id)
    return tx.execute(sa.update(_topups).where(*own).values(values).returning(*_topups.c)).one()


def _fact(event_type: str, known: Known, beside: dict[str, Any] | None = None) -> Fact:
    topup = known.topup
    return Fact(
        topup.merchant_id,
        topup.livemode,
        event_type,
        topup.id,
        topup.sequence,
        topup_json(known),
        beside or {},
    )


_OF_CHARGE = sa.select(*_topups.c).where(
    _topups.c.merchant_id == sa.bindparam("merchant_id"), _topups.c.id == sa.bindparam("topup_id")
)
_CHARGES = sa.select(*_charges.c).where(
    _charges.c.merchant_id == sa.bindparam("merchant_id"), is_among(_charges.c.id, "ids")
)
_MEMBERS = sa.select(*_members.c).where(
    _members.c.merchant_id == sa.bindparam("merchant_id"), is_among(_members.c.id, "ids")
)
