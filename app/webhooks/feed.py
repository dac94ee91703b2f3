"""A merchant's events in an order that can be read on from any of them without missing one.

Ids will not do: they are made before their transaction commits, maybe on a machine whose clock is
late, so an older id may appear after a younger one was read.  Nor will a sequence, which is drawn
before the commit too.  So the place of an event is given out after its commit, by whoever reads:
under the lock of the merchant's row, to the events that are there and have none.  What commits later
comes later, whatever its id says, on either database, through a restore and without any clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import reading, retried, table_of, transaction
from app.errors import InvalidRequest, NotFound
from app.merchants.models import Merchant
from app.webhooks.models import Event

PAGE_MAX = 100
SLICE = 2000  # places given out in one transaction: some tens of milliseconds

_events, _merchants = table_of(Event), table_of(Merchant)
_MINE = _events.c.merchant_id == sa.bindparam("of_merchant_id")
_IS_ONE_WITHOUT = sa.select(_events.c.id).where(_MINE, _events.c.position.is_(None)).limit(1)
# NO KEY: whoever stores a charge shares this row by its foreign key, and must not wait for readers.
_LOCK = (
    sa.select(_merchants.c.id)
    .where(_merchants.c.id == sa.bindparam("of_merchant_id"))
    .with_for_update(key_share=True)
)
_LAST = sa.select(sa.func.coalesce(sa.func.max(_events.c.position), 0)).where(_MINE)
_next = (
    sa.select(_events.c.id, sa.func.row_number().over(order_by=_events.c.id).label("number"))
    .where(_MINE, _events.c.position.is_(None))
    .order_by(_events.c.id)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
    .subquery("next")
)
_GIVE = (
    sa.update(_events)
    .where(_MINE, _events.c.id == _next.c.id)
    .values(position=sa.bindparam("last", type_=sa.BigInteger) + _next.c.number)
)


def read_on(
    merchant_id: str,
    *,
    livemode: bool,
    after: str | None,
    event_types: Sequence[str] = (),
    object_id: str | None = None,
    limit: int,
) -> tuple[list[sa.Row[Any]], bool]:
    """The events that follow ``after`` (None: from the first that is kept), oldest first; is there more?

    Raises NotFound when ``after`` is no event of this merchant and mode, or is not kept any more.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidRequest(f"must be between 1 and {PAGE_MAX}", param="limit")
    _give_places(merchant_id)
    with reading() as connection:
        begin = 0 if after is None else _place_of(connection, merchant_id, livemode, after)
        statement = (
            sa.select(*_events.c)
            .where(
                _events.c.merchant_id == merchant_id,
                _events.c.position > begin,
                _events.c.livemode == livemode,
            )
            .order_by(_events.c.position)
            .limit(limit + 1)
        )
        if event_types:
            statement = statement.where(_events.c.type.in_(event_types))
        if object_id is not None:
            statement = statement.where(_events.c.object_id == object_id)
        rows = list(connection.execute(statement))
    return rows[:limit], len(rows) > limit


def _place_of(connection: Connection, merchant_id: str, livemode: bool, event_id: str) -> int:
    found: int | None = connection.execute(
        sa.select(_events.c.position).where(
            _events.c.merchant_id == merchant_id,
            _events.c.id == event_id,
            _events.c.livemode == livemode,
            _events.c.position.is_not(None),
        )
    ).scalar()
    if found is None:
        raise NotFound("no such event is kept: read again from the start")
    return found


def _give_places(merchant_id: str) -> None:
    owner = {"of_merchant_id": merchant_id}
    while True:
        with reading() as connection:  # most polls find nothing new, and lock nothing
            if connection.execute(_IS_ONE_WITHOUT, owner).first() is None:
                return
        if _give_some(owner) < SLICE:
            return


@retried
def _give_some(owner: dict[str, str]) -> int:
    with transaction() as tx:
        tx.execute(_LOCK, owner)
        # A statement of its own after the lock: it sees what the last holder of the lock has given out.
        last = tx.execute(_LAST, owner).scalar_one()
        return tx.execute(_GIVE, {**owner, "last": last, "at_most": SLICE}).rowcount
