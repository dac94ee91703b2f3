"""``act=refund``: the same request makes one refund, however often a shop that heard nothing sends it."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from app.charges import refund_search, refunds
from app.charges.commands import NewRefund
from app.charges.models import Refund
from app.charges.states import RefundState
from app.db import insert_or_skip, table_of, transaction
from app.epay.models import EpayRefund
from app.epay.switch import Front
from app.errors import InvalidRequest, PermissionDenied
from app.money import Money

_NUMBER = re.compile(r"[!-~]{1,64}", re.ASCII)
_asked, _refunds = table_of(EpayRefund), table_of(Refund)


def ask(front: Front, charge_id: str, amount: Money, number: str) -> sa.Row[Any]:
    """Give back so much of an order; the refund as it stands.

    ``number`` is the shop's own for it (``out_refund_no``).  Without one the amount stands for it: then an
    order has one refund of an amount, and a second needs a number.  One that failed is tried anew.
    Raises PermissionDenied (switched off), NotFound, or Conflict as ``refunds.create_refund`` does.
    """
    if not front.refunds_enabled:
        raise PermissionDenied("refunds over this interface are switched off", code="refunds_off")
    if number and not _NUMBER.fullmatch(number):
        raise InvalidRequest("missing, too long, or not of its form", param="out_refund_no")
    key = {
        "merchant_id": front.merchant_id,
        "charge_id": charge_id,
        "number": f"no:{number}" if number else f"money:{amount.minor}",
    }
    with transaction() as tx:
        mine = [_asked.c[name] == value for name, value in key.items()]
        is_new = tx.execute(insert_or_skip(tx, _asked), {**key, "refund_id": ""}).rowcount == 1
        if not is_new:
            locked = tx.execute(sa.select(_asked.c.refund_id).where(*mine).with_for_update()).scalar_one()
            before = tx.execute(
                sa.select(_refunds).where(
                    _refunds.c.merchant_id == front.merchant_id, _refunds.c.id == locked
                )
            ).one()
            if before.state != RefundState.FAILED:
                return before
        new = NewRefund(charge_id, amount.minor)
        refund = refunds.create_refund(tx, front.merchant_id, new, livemode=front.livemode, by=front.actor)
        tx.execute(sa.update(_asked).where(*mine).values(refund_id=refund.id))
    return refund


def find(front: Front, refund_id: str) -> sa.Row[Any]:
    """As it stands now.  Raises NotFound."""
    return refund_search.find(front.merchant_id, refund_id, livemode=front.livemode)
