"""Which moves are legal: the four state machines of the books, as data.

``move`` is the only way a state changes: a guarded UPDATE that names the states it may leave.  Two
movers race at the row; the one that comes second changes nothing, and is told so.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection


class ChargeState(StrEnum):
    """Where a charge is."""

    PENDING = "pending"
    PAID = "paid"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Review(StrEnum):
    """What became of a charge that a rule holds until a person has looked at it."""

    OPEN = "open"  # it cannot be paid while it is pending
    RELEASED = "released"
    REFUSED = "refused"


class AttemptState(StrEnum):
    """Where one try at one provider is."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"
    MISMATCHED = "mismatched"  # verified money of the wrong amount or currency: a person decides


class RefundState(StrEnum):
    """Where money on its way back is."""

    AWAITING = "awaiting"  # counted like the next, but not sent before a second person approves
    RESERVED = "reserved"  # counted against the payment; the provider has not said yes or no
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Deed(StrEnum):
    """What a person can do with money that no charge has taken."""

    ACCEPTED = "accepted"  # it pays the charge that it came for
    MATCHED = "matched"  # it pays another charge
    REFUNDED = "refunded"
    SET_ASIDE = "set_aside"  # settled elsewhere


# To -> from.  Verified money outranks what we thought before: hence the ways back into PAID and SUCCEEDED.
CHARGE_MOVES: dict[ChargeState, frozenset[ChargeState]] = {
    ChargeState.PAID: frozenset({ChargeState.PENDING, ChargeState.EXPIRED}),
    ChargeState.EXPIRED: frozenset({ChargeState.PENDING}),
    ChargeState.CANCELED: frozenset({ChargeState.PENDING}),
}
# What a person may do besides: take money for a charge that the merchant had withdrawn.
CHARGE_MOVES_BY_PERSON: dict[ChargeState, frozenset[ChargeState]] = {
    ChargeState.PAID: CHARGE_MOVES[ChargeState.PAID] | {ChargeState.CANCELED},
}
ATTEMPT_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.SUCCEEDED: frozenset({AttemptState.STARTED, AttemptState.FAILED, AttemptState.CLOSED}),
    AttemptState.MISMATCHED: frozenset({AttemptState.STARTED, AttemptState.FAILED, AttemptState.CLOSED}),
    AttemptState.FAILED: frozenset({AttemptState.STARTED}),
    AttemptState.CLOSED: frozenset({AttemptState.STARTED}),
}
REFUND_MOVES: dict[RefundState, frozenset[RefundState]] = {
    RefundState.SUCCEEDED: frozenset({RefundState.RESERVED, RefundState.FAILED}),
    RefundState.FAILED: frozenset({RefundState.RESERVED}),
}
# What a person may do besides: approve or decline a refund that waits for them.
REFUND_MOVES_BY_PERSON: dict[RefundState, frozenset[RefundState]] = {
    RefundState.RESERVED: frozenset({RefundState.AWAITING}),
    RefundState.FAILED: frozenset({RefundState.AWAITING}),
}


def move(
    tx: Connection,
    table: sa.Table,
    merchant_id: str,
    row_id: str,
    to: ChargeState | AttemptState | RefundState,
    *,
    by_person: bool = False,
    **values: Any,
) -> sa.Row[Any] | None:
    """Move one row to ``to`` if it is where it may come from, setting ``values`` with it.  A step.

    ``by_person`` means the moves that nothing but a person's decision makes.  The row as it
    is after the move; None if it was elsewhere, which the caller must handle.
    """
    computed = {name: value for name, value in values.items() if isinstance(value, sa.ColumnElement)}
    plain = {name: value for name, value in values.items() if name not in computed}
    statement = _guarded(table, to, by_person, frozenset(computed.items()))
    return tx.execute(statement, {"own_merchant_id": merchant_id, "own_id": row_id, **plain}).first()


# Building the statement costs as much as running it.  Expressions are told apart by identity: a caller
# that moves often makes them once.
@lru_cache(maxsize=64)
def _guarded(
    table: sa.Table,
    to: ChargeState | AttemptState | RefundState,
    by_person: bool,
    computed: frozenset[tuple[str, sa.ColumnElement[Any]]],
) -> sa.UpdateBase:
    """The UPDATE of a move; what is to be set to plain values comes with its parameters."""
    sources = (_SOURCES_BY_PERSON if by_person else _SOURCES)[type(to)][to]
    return (
        sa.update(table)
        .where(
            table.c.merchant_id == sa.bindparam("own_merchant_id"),
            table.c.id == sa.bindparam("own_id"),
            sa.or_(*[table.c.state == source for source in sources]),
        )
        .values(state=to, **dict(computed))
        .returning(*table.c)
    )


# By enumeration first: AttemptState.SUCCEEDED and RefundState.SUCCEEDED are equal as strings.
_SOURCES: dict[type, dict[Any, list[Any]]] = {
    ChargeState: {to: sorted(sources) for to, sources in CHARGE_MOVES.items()},
    AttemptState: {to: sorted(sources) for to, sources in ATTEMPT_MOVES.items()},
    RefundState: {to: sorted(sources) for to, sources in REFUND_MOVES.items()},
}
_SOURCES_BY_PERSON: dict[type, dict[Any, list[Any]]] = {
    ChargeState: {to: sorted(sources) for to, sources in CHARGE_MOVES_BY_PERSON.items()},
    RefundState: {to: sorted(sources) for to, sources in REFUND_MOVES_BY_PERSON.items()},
}
