"""Facts for the merchant, written in the transaction that makes them true.

``emit`` stores the event, one delivery per endpoint that wants it and one job per delivery.  If the
transaction commits, all of it will be delivered; if it rolls back, nobody ever hears of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, ids, queue
from app.queue import Kind
from app.webhooks import types
from app.webhooks.models import Delivery, DeliveryState, Event, WebhookEndpoint

_endpoints = WebhookEndpoint.__table__

# Built once: compiling a statement costs more than running it.
_INSERT_EVENTS = sa.insert(Event)
_INSERT_DELIVERIES = sa.insert(Delivery)
_ENABLED_ENDPOINTS = sa.select(_endpoints.c.id, _endpoints.c.event_types).where(
    _endpoints.c.merchant_id == sa.bindparam("merchant_id"),
    _endpoints.c.livemode == sa.bindparam("livemode"),
    _endpoints.c.disabled_at.is_(None),
    _endpoints.c.deleted_at.is_(None),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that has happened to an object, as its owner shall read it.

    ``sequence`` rises with each fact of the same object, in commit order, so that a receiver can
    drop stale news; ``data`` is the object in the API's own JSON.
    """

    merchant_id: str
    livemode: bool
    type: str
    object_id: str
    sequence: int
    data: Mapping[str, Any]


def emit(tx: Connection, *facts: Fact) -> None:
    """Store facts and what is needed to deliver them, now.  A step.

    Of one merchant: two statements if nobody listens, four if somebody does, however many facts there are.
    """
    if not facts:
        return
    events = _insert_events(tx, facts)
    endpoints = {
        (merchant_id, livemode): tx.execute(
            _ENABLED_ENDPOINTS, {"merchant_id": merchant_id, "livemode": livemode}
        ).all()
        for merchant_id, livemode in {(fact.merchant_id, fact.livemode) for fact in facts}
    }
    pairs = [
        (event, endpoint.id)
        for event in events
        for endpoint in endpoints[event["merchant_id"], event["livemode"]]
        if wants(endpoint.event_types, event["type"])
    ]
    _insert_deliveries(tx, pairs)


def emit_to(tx: Connection, endpoint_id: str, fact: Fact) -> str:
    """Store a fact for one endpoint alone, whatever it subscribes to.  A step.  The event's id."""
    [event] = _insert_events(tx, [fact])
    _insert_deliveries(tx, [(event, endpoint_id)])
    return str(event["id"])


def wants(event_types: str, event_type: str) -> bool:
    """Whether a subscription ("*", or names with commas between) covers an event.  Pure."""
    return event_types == types.EVERY or event_type in event_types.split(",")


def _insert_events(tx: Connection, facts: Sequence[Fact]) -> list[dict[str, Any]]:
    now = clock.now()
    rows = [_event_row(fact, now) for fact in facts]
    tx.execute(_INSERT_EVENTS, rows)
    return rows


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
            "data": {"object": fact.data},
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
