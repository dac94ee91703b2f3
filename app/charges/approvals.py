"""Refunds above the merchant's limit: a second person approves or declines them, never the one who asked.

While it waits a refund is counted like any other, so no two can exceed what was paid; it has no job, so
nothing of it goes out.  Of several who decide at once the first wins: the move names where it comes from.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import queue
from app.charges import bookings, refunds
from app.charges.models import Refund
from app.charges.present import refund_fact
from app.charges.states import RefundState, move
from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, NotFound, PermissionDenied
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.roles import Permission
from app.queue import Kind
from app.webhooks import types
from app.webhooks.outbox import emit

DECLINED = "declined"  # the failure_code of a refund that a person did not want

_refunds = table_of(Refund)


@retried
def approve(merchant_id: str, refund_id: str, *, by: Actor) -> None:
    """Have it sent.  Raises NotFound, PermissionDenied (one's own, too), Conflict (decided already)."""
    with transaction() as tx:
        refund = _find(tx, merchant_id, refund_id, by)
        if refund.asked_by == by.name:
            raise PermissionDenied("whoever asked for a refund does not approve it", code="own_refund")
        to = RefundState.RESERVED
        moved = _decided(move(tx, _refunds, merchant_id, refund.id, to, by_person=True, decided_by=by.name))
        queue.put(tx, Kind.REFUND, merchant_id, refund.id, moment(tx))
        refunds.note(tx, by, Action.REFUND_APPROVED, moved)


@retried
def decline(merchant_id: str, refund_id: str, *, by: Actor) -> None:
    """Give what it reserved back to the charge.  Raises NotFound, PermissionDenied, Conflict."""
    with transaction() as tx:
        refund = _find(tx, merchant_id, refund_id, by)
        moved = _decided(
            move(
                tx,
                _refunds,
                merchant_id,
                refund.id,
                RefundState.FAILED,
                by_person=True,
                decided_by=by.name,
                failure_code=DECLINED,
                finished_at=moment(tx),
                sequence=refunds.NEXT_SEQUENCE,
            )
        )
        bookings.post_declined(tx, moved)
        refunds.give_up(tx, moved)
        emit(tx, refund_fact(types.REFUND_FAILED, moved))
        refunds.note(tx, by, Action.REFUND_DECLINED, moved)


def count_waiting(merchant_id: str, *, livemode: bool) -> int:
    """How many refunds wait for somebody's approval."""
    query = (
        sa.select(sa.func.count())
        .select_from(_refunds)
        .where(
            _refunds.c.merchant_id == merchant_id,
            _refunds.c.livemode == livemode,
            _refunds.c.state == RefundState.AWAITING,
        )
    )
    with reading() as connection:
        return int(connection.execute(query).scalar_one())


def _find(tx: Connection, merchant_id: str, refund_id: str, by: Actor) -> sa.Row[Any]:
    by.require(Permission.REFUNDS_APPROVE)
    own = (_refunds.c.merchant_id == merchant_id, _refunds.c.id == refund_id[:64])
    refund = tx.execute(sa.select(*_refunds.c).where(*own).with_for_update()).first()
    if refund is None:
        raise NotFound("no such refund")
    return refund


def _decided(moved: sa.Row[Any] | None) -> sa.Row[Any]:
    if moved is None:
        raise Conflict("somebody has decided about this refund", code="already_decided")
    return moved
