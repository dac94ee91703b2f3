"""A merchant's refunds, found one by one and in lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.charges.models import Attempt, Charge, Refund
from app.charges.states import RefundState
from app.db import reading, table_of
from app.errors import InvalidRequest, NotFound
from app.ids import is_id

_refunds, _attempts, _charges = table_of(Refund), table_of(Attempt), table_of(Charge)
_repeats = _refunds.alias()
_FIND = sa.select(*_refunds.c).where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"), _refunds.c.id == sa.bindparam("refund_id")
)
_REPEATED_BY = (
    sa.select(_repeats.c.id)
    .where(_repeats.c.merchant_id == _refunds.c.merchant_id, _repeats.c.replaces == _refunds.c.id)
    .scalar_subquery()
)
_LISTED: sa.Select[Any] = (
    sa.select(
        *_refunds.c,
        _attempts.c.provider,
        _charges.c.description.label("charge_description"),
        _REPEATED_BY.label("repeated_by"),
    )
    .join(
        _attempts,
        sa.and_(_attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id),
    )
    .outerjoin(  # not all money belongs to a charge
        _charges,
        sa.and_(_charges.c.merchant_id == _refunds.c.merchant_id, _charges.c.id == _refunds.c.charge_id),
    )
)


@dataclass(frozen=True, slots=True)
class RefundFilter:
    """What a list is narrowed to.  ``before`` and ``after`` are ids: a page's cursor."""

    charge_id: str | None = None
    state: RefundState | None = None
    needs_person: bool = False  # only those that wait for somebody
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


def find(merchant_id: str, refund_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """A merchant's refund.  Raises NotFound, for another merchant's or mode's refund too."""
    with reading() as connection:
        refund = connection.execute(_FIND, {"merchant_id": merchant_id, "refund_id": refund_id[:64]}).first()
    if refund is None or (livemode is not None and refund.livemode != livemode):
        raise NotFound("no such refund")
    return refund


def search(merchant_id: str, *, livemode: bool, wanted: RefundFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more; with each its ``provider``, ``repeated_by``
    and ``charge_description`` (None without a charge).

    Raises InvalidRequest for a bad cursor.
    """
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "re"):
            raise InvalidRequest("a cursor is the id of a refund", param=name)
    backwards = wanted.ending_before is not None
    query = (
        _LISTED.where(
            _refunds.c.merchant_id == merchant_id, _refunds.c.livemode == livemode, *_conditions(wanted)
        )
        .order_by(_refunds.c.id.asc() if backwards else _refunds.c.id.desc())
        .limit(wanted.limit + 1)
    )
    with reading() as connection:
        rows = list(connection.execute(query))
    page = rows[: wanted.limit]
    return (page[::-1] if backwards else page), len(rows) > wanted.limit


def list_of_charge(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """All refunds of a charge, oldest first, with the same beside each."""
    with reading() as connection:
        return list(
            connection.execute(
                _LISTED.where(_refunds.c.merchant_id == merchant_id, _refunds.c.charge_id == charge_id)
                .order_by(_refunds.c.id)
                .limit(100)
            )
        )


def _conditions(wanted: RefundFilter) -> list[sa.ColumnElement[bool]]:
    column = _refunds.c
    conditions = []
    if wanted.charge_id is not None:
        conditions.append(column.charge_id == wanted.charge_id)
    if wanted.state is not None:
        # What waits for approval is on its way, too, to whoever asks for that.
        is_pending = wanted.state == RefundState.RESERVED
        states = [RefundState.RESERVED, RefundState.AWAITING] if is_pending else [wanted.state]
        conditions.append(column.state.in_(states))
    if wanted.needs_person:
        conditions.append(column.pending_reason.is_not(None))
    if wanted.starting_after is not None:
        conditions.append(column.id < wanted.starting_after)
    if wanted.ending_before is not None:
        conditions.append(column.id > wanted.ending_before)
    return conditions
