"""Facts for the merchant, written in the transaction that makes them true.

``emit`` stores the event, one delivery per endpoint that wants it and one job per delivery.  If the
transaction commits, all of it will be delivered; if it rolls back, nobody ever hears of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, ids, queue
from app.db import moment
from app.queue import Kind
from app.webhooks import types
from app.webhooks.models import Delivery, DeliveryState, Event, WebhookEndpoint

_endpoints, _events = WebhookEndpoint.__table__, Event.__table__

# Built once: compiling a statement costs more than running it.
_LISTENERS = (
    sa.select(sa.func.aggregate_strings(_endpoints.c.id + " " + _endpoints.c.event_types, "\n"))
    .where(
        _endpoints.c.merchant_id == sa.bindparam("of_merchant_id"),
        _endpoints.c.livemode == sa.bindparam("of_livemode"),
        _endpoints.c.disabled_at.is_(None),
        _endpoints.c.deleted_at.is_(None),
    )
    .scalar_subquery()
)
# Who listens comes back with the event: asking apart is a round trip more in every movement of money,
# a tenth of making a charge on PostgreSQL.
_INSERT_EVENT = sa.insert(Event).returning(_LISTENERS)
_INSERT_DELIVERIES = sa.insert(Delivery)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that has happened to an object, as its owner shall read it.

    ``sequence`` rises with each fact of the same object, in commit order, so that a receiver can
    drop stale news; ``data`` is the object in the API's own JSON, and ``beside`` what else belongs to
    the fact, by name.
    """

    merchant_id: str
    livemode: bool
    type: str
    object_id: str
    sequence: int
    data: Mapping[str, Any]
    beside: Mapping[str, Any] = field(default_factory=dict)


# What else has to be done in the transaction that makes a fact true.
Hearer = Callable[[Connection, Fact], None]
_hearers: dict[str, dict[str, Hearer]] = {}


def hear(event_type: str, name: str, hearer: Hearer) -> None:
    """Let the wiring say who, on a floor above this one, acts upon a fact in its own transaction."""
    _hearers.setdefault(event_type, {})[name] = hearer


def emit(tx: Connection, *facts: Fact) -> None:
    """Store facts and what is needed to deliver them, now, and let those act who have to.  A step.

    A statement for each fact, and two more if somebody listens.
    """
    pairs = []
    for fact in facts:
        event, listeners = _insert_event(tx, fact)
        for hearer in _hearers.get(fact.type, {}).values():
            hearer(tx, fact)
        pairs += [(event, id_) for id_, event_types in listeners if wants(event_types, fact.type)]
    _insert_deliveries(tx, pairs)


def emit_to(tx: Connection, endpoint_id: str, fact: Fact) -> str:
    """Store a fact for one endpoint alone, whatever it subscribes to.  A step.  The event's id."""
    event, _ = _insert_event(tx, fact)
    _insert_deliveries(tx, [(event, endpoint_id)])
    return str(event["id"])


def next_sequence(tx: Connection, merchant_id: str, object_id: str) -> int:
    """The number of an object's next event, where it keeps none itself.  A step.

    Its row is locked by the caller, so that no number is used twice.
    """
    mine = (_events.c.merchant_id == merchant_id, _events.c.object_id == object_id)
    return int(tx.execute(sa.select(sa.func.max(_events.c.sequence)).where(*mine)).scalar() or 0) + 1


def wants(event_types: str, event_type: str) -> bool:
    """Whether a subscription ("*", or names with commas between) covers an event.  Pure."""
    return event_types == types.EVERY or event_type in event_types.split(",")


def _insert_event(tx: Connection, fact: Fact) -> tuple[dict[str, Any], list[list[str]]]:
    """The stored row, and the id and subscription of each endpoint of its merchant and mode."""
    row = _event_row(fact, moment(tx))
    owner = {"of_merchant_id": fact.merchant_id, "of_livemode": fact.livemode}
    listeners: str | None = tx.execute(_INSERT_EVENT, row | owner).scalar_one()
    return row, [line.split(" ") for line in (listeners or "").splitlines()]


def _event_row(fact: Fact, now: datetime) -> dict[str, Any]:
    event_id = ids.new_id("evt")
    return {
        "merchant_id": fact.merchant_id,
        "id": event_id,
        "livemode": fact.livemode,
        "type": fact.type,
        "object_id": fact.object_id,
        "sequence": fact.sequence,
        "body": _body(event_id, fact, clock.to_rfc3339(now)),
        "created_at": now,
    }


def _body(event_id: str, fact: Fact, at: str) -> str:
    # Frozen here, because every try must send the same bytes.  `timestamp` is Standard Webhooks' word
    # and `created_at` that of our API, for the same moment.  ASCII, so that no encoding can spoil it.
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": fact.type,
            "created_at": at,
            "timestamp": at,
            "livemode": fact.livemode,
            "sequence": fact.sequence,
            "data": {"object": fact.data, **fact.beside},
        },
        separators=(",", ":"),
    )


def _insert_deliveries(tx: Connection, pairs: Sequence[tuple[Mapping[str, Any], str]]) -> None:
    if not pairs:
        return
    rows = [
        {
            "merchant_id": event["merchant_id"],
            "id": ids.new_id("dlv"),
            "event_id": event["id"],
            "endpoint_id": endpoint_id,
            "state": DeliveryState.PENDING,
            "tries": 0,
            "next_try_at": event["created_at"],
            "created_at": event["created_at"],
        }
        for event, endpoint_id in pairs
    ]
    tx.execute(_INSERT_DELIVERIES, rows)
    queue.put_many(tx, [(Kind.DELIVER, row["merchant_id"], row["id"], row["created_at"]) for row in rows])
