"""Callbacks' bodies are kept as evidence for MAFU_KEEP_CALLBACKS_DAYS; that they came is kept longer."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from app.callbacks.models import Callback
from app.db import moment, reading, retried, table_of, transaction
from app.runtime import settings

SLICE = 500
SLICES_MAX = 200

_callbacks = table_of(Callback)
_HAS_BODY = sa.func.length(_callbacks.c.body) > 0
_OLD = (
    sa.select(_callbacks.c.merchant_id, _callbacks.c.id)
    .where(_HAS_BODY, _callbacks.c.last_at < sa.bindparam("before"))
    .order_by(_callbacks.c.last_at)
    .limit(SLICE)
)
_EMPTY = (
    sa.update(Callback)
    .where(
        _callbacks.c.merchant_id == sa.bindparam("of_merchant_id"), _callbacks.c.id == sa.bindparam("of_id")
    )
    .values(body=b"")
)


def forget_old_bodies() -> int:
    """One round; how many bodies are gone.  Their digests stay, so a repeated message is still known."""
    days = settings().keep_callbacks_days
    count = 0
    for _ in range(SLICES_MAX if days else 0):
        gone = _forget_some(timedelta(days=days))
        count += gone
        if gone < SLICE:
            break
    return count


@retried
def _forget_some(keep: timedelta) -> int:
    with reading() as connection:
        rows = list(connection.execute(_OLD, {"before": moment(connection) - keep}))
    if rows:
        with transaction() as tx:
            tx.execute(_EMPTY, [{"of_merchant_id": row.merchant_id, "of_id": row.id} for row in rows])
    return len(rows)
