"""What merchants' systems hear of reconciliation.  Every function is a step."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import table_of
from app.reconciliation.models import Reconciliation
from app.reconciliation.present import discrepancy_json, reconciliation_json
from app.reconciliation.states import ItemState
from app.webhooks import types
from app.webhooks.outbox import Fact, emit

# Of an account's day: beyond it it is one thing with many lines, and the day's own event has the number.
TOLD_MAX = 100

_days = table_of(Reconciliation)


def tell_opened(tx: Connection, run: Any, new: Sequence[dict[str, Any]]) -> None:
    """Count what a day has brought, and tell of what waits for a person."""
    opened = [row for row in new if row["state"] == ItemState.OPEN]
    if not opened:
        return
    mine = (_days.c.merchant_id == run.merchant_id, _days.c.id == run.id)
    count = sa.update(_days).where(*mine).values(opened=_days.c.opened + len(opened))
    before: int = tx.execute(count.returning(_days.c.opened)).scalar_one() - len(opened)
    emit(
        tx,
        *[
            Fact(
                row["merchant_id"],
                row["livemode"],
                types.DISCREPANCY_OPENED,
                row["id"],
                1,
                discrepancy_json(SimpleNamespace(**row)),
            )
            for row in opened[: max(0, TOLD_MAX - before)]
        ],
    )


def tell_completed(tx: Connection, row: Any) -> None:
    """How a day came out."""
    emit(
        tx,
        Fact(
            row.merchant_id,
            row.livemode,
            types.RECONCILIATION_COMPLETED,
            row.id,
            row.sequence,
            reconciliation_json(row),
        ),
    )
