"""Which moves are legal: the four state machines of the books, as data.

``move`` is the only way a state changes: a guarded UPDATE that names the states it may leave.  Two
movers race at the row; the one that comes second changes nothing, and is told so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection


class ChargeState(StrEnum):
    """Where a charge is."""

    PENDING = "pending"
    PAID = "paid"
    EXPIRED = "expired"
    CANCELED = "canceled"


class AttemptState(StrEnum):
    """Where one try at one provider is."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"
    MISMATCHED = "mismatched"  # verified money of the wrong amount or currency: a person decides


class RefundState(StrEnum):
    """Where money on its way back is."""

    RESERVED = "reserved"  # counted against the payment; the provider has not said yes or no
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# To -> from.  Verified money outranks what we thought before: hence the ways back into PAID and SUCCEEDED.
CHARGE_MOVES: dict[ChargeState, frozenset[ChargeState]] = {
    ChargeState.PAID: frozenset({ChargeState.PENDING, ChargeState.EXPIRED}),
    ChargeState.EXPIRED: frozenset({ChargeState.PENDING}),
    ChargeState.CANCELED: frozenset({ChargeState.PENDING}),
}
ATTEMPT_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.SUCCEEDED: frozenset({AttemptState.STARTED, AttemptState.FAILED, AttemptState.CLOSED}),
    AttemptState.MISMATCHED: frozenset({AttemptState.STARTED, AttemptState.FAILED, AttemptState.CLOSED}),
    AttemptState.FAILED: frozenset({AttemptState.STARTED}),
    AttemptState.CLOSED: frozenset({AttemptState.STARTED}),
}
REFUND_MOVES: dict[RefundState, frozenset[RefundState]] = {
    RefundState.SUCCEEDED: frozenset({RefundState.RESERVED}),
    RefundState.FAILED: frozenset({RefundState.RESERVED}),
}


def move(
    tx: Connection,
    table: sa.Table,
    merchant_id: str,
    row_id: str,
    to: ChargeState | AttemptState | RefundState,
    **values: Any,
) -> sa.Row[Any] | None:
    """Move one row to ``to`` if it is where it may come from, setting ``values`` with it.  A step.

    The row as it is after the move; None if it was elsewhere, which the caller must handle.
    """
    statement = (
        sa.update(table)
        .where(
            table.c.merchant_id == merchant_id,
            table.c.id == row_id,
            table.c.state.in_(_SOURCES[type(to)][to]),
        )
        .values(state=to, **values)
        .returning(*table.c)
    )
    return tx.execute(statement).first()


# By enumeration first: AttemptState.SUCCEEDED and RefundState.SUCCEEDED are equal as strings.
_SOURCES: dict[type, dict[Any, list[Any]]] = {
    ChargeState: {to: sorted(sources) for to, sources in CHARGE_MOVES.items()},
    AttemptState: {to: sorted(sources) for to, sources in ATTEMPT_MOVES.items()},
    RefundState: {to: sorted(sources) for to, sources in REFUND_MOVES.items()},
}
