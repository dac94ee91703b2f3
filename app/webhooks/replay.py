"""What was told is told again: one event, or a span of them, to endpoints of the same merchant and mode.

Nothing new is written about the world: an event keeps its id and its bytes, and a receiver that has seen
it drops it by that id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import queue
from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest
from app.ids import new_id
from app.queue import Job, Kind
from app.webhooks import endpoints, history, types
from app.webhooks.models import Delivery, DeliveryState, Event, WebhookEndpoint
from app.webhooks.outbox import wants

BATCH = 500  # events a transaction: short enough for those who wait behind it

_events, _deliveries, _endpoints, _jobs = (
    table_of(Event),
    table_of(Delivery),
    table_of(WebhookEndpoint),
    table_of(Job),
)


@dataclass(frozen=True, slots=True)
class Span:
    """Events of one merchant and mode: from ``begin``, before ``end``, of these ``types`` or of all."""

    merchant_id: str
    livemode: bool
    begin: datetime
    end: datetime
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """What one endpoint gets: how many events."""

    endpoint_id: str
    url: str
    events: int


def resend_event(merchant_id: str, event_id: str, *, endpoint_id: str | None = None) -> list[Share]:
    """Send one event again, now: to this endpoint, or to each that wants its type.

    Raises NotFound, Conflict when the endpoint is disabled or there is none to send to.
    """
    event = history.find_event(merchant_id, event_id)
    receivers = _receivers(merchant_id, event.livemode, endpoint_id)
    if endpoint_id is None:
        receivers = [one for one in receivers if wants(one.event_types, event.type)]
    if not receivers:
        raise Conflict(f"no enabled endpoint wants {event.type}", code="no_endpoint")
    return [Share(one.id, one.url, _send(one, [event.id])) for one in receivers]


def plan(span: Span, *, endpoint_id: str | None = None) -> list[Share]:
    """What ``replay`` would send, and nothing sent: look at it first.

    Raises InvalidRequest, NotFound, Conflict as ``replay`` does.
    """
    receivers = _checked(span, endpoint_id)
    with reading() as connection:
        return [
            Share(one.id, one.url, connection.execute(_counted(_wanted(span, one))).scalar_one())
            for one in receivers
        ]


def replay(span: Span, *, endpoint_id: str | None = None) -> list[Share]:
    """Send a span of events again, oldest first: to this endpoint, or to every one that is enabled.

    Each endpoint gets what it subscribes to, also what happened before it was made or while it was
    disabled; a delivery that waits for its next try is sent now.  Stored in batches: cut short, it can be
    run again.  Raises InvalidRequest for a span or a type that makes no sense, NotFound, Conflict when the
    endpoint is disabled or there is none.
    """
    return [Share(one.id, one.url, _send_span(span, one)) for one in _checked(span, endpoint_id)]


def _checked(span: Span, endpoint_id: str | None) -> list[sa.Row[Any]]:
    if span.end <= span.begin:
        raise InvalidRequest("must be later than the beginning", param="to")
    for name in span.types:
        if name not in types.SUBSCRIBABLE:
            raise InvalidRequest(f"{name[:64]!r} is not an event type", param="types")
    receivers = _receivers(span.merchant_id, span.livemode, endpoint_id)
    if not receivers:
        raise Conflict("there is no enabled endpoint", code="no_endpoint")
    return receivers


def _receivers(merchant_id: str, livemode: bool, endpoint_id: str | None) -> list[sa.Row[Any]]:
    if endpoint_id is None:
        every = endpoints.list_endpoints(merchant_id, livemode=livemode)
        return [one for one in every if one.disabled_at is None]
    found = endpoints.find_endpoint(merchant_id, endpoint_id, livemode=livemode)
    if found.disabled_at is not None:
        raise Conflict("this endpoint is disabled: enable it first", code="endpoint_disabled")
    return [found]


def _wanted(span: Span, endpoint: sa.Row[Any]) -> sa.Select[Any]:
    """The ids of the events of a span that an endpoint subscribes to.  Pure."""
    statement = sa.select(_events.c.id).where(
        _events.c.merchant_id == span.merchant_id,
        _events.c.livemode == span.livemode,
        _events.c.created_at >= span.begin,
        _events.c.created_at < span.end,
        _events.c.type != types.ENDPOINT_PING,  # that was for the one endpoint that was tried out
    )
    if span.types:
        statement = statement.where(_events.c.type.in_(span.types))
    if endpoint.event_types != types.EVERY:
        statement = statement.where(_events.c.type.in_(endpoint.event_types.split(",")))
    return statement


def _counted(statement: sa.Select[Any]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(statement.subquery())


def _send_span(span: Span, endpoint: sa.Row[Any]) -> int:
    statement = _wanted(span, endpoint).order_by(_events.c.id).limit(BATCH)
    count, last_id = 0, ""
    while True:
        with reading() as connection:
            ids = list(connection.scalars(statement.where(_events.c.id > last_id)))
        count += _send(endpoint, ids)
        if len(ids) < BATCH:
            return count
        last_id = ids[-1]


@retried
def _send(endpoint: sa.Row[Any], event_ids: Sequence[str]) -> int:
    """Make each of these events due at this endpoint; how many, none if it is gone or disabled by now."""
    if not event_ids:
        return 0
    with transaction() as tx:
        # Two replays take turns, so that neither makes a delivery that the other has made.  NO KEY: those
        # who store new events for this endpoint need not wait.
        still_there = tx.execute(
            sa.select(_endpoints.c.id)
            .where(
                _endpoints.c.merchant_id == endpoint.merchant_id,
                _endpoints.c.id == endpoint.id,
                _endpoints.c.disabled_at.is_(None),
                _endpoints.c.deleted_at.is_(None),
            )
            .with_for_update(key_share=True)
        ).first()
        if still_there is None:
            return 0
        now = moment(tx)
        known = {
            row.event_id: row
            for row in tx.execute(
                sa.select(_deliveries.c.event_id, _deliveries.c.id, _deliveries.c.state).where(
                    _deliveries.c.merchant_id == endpoint.merchant_id,
                    _deliveries.c.endpoint_id == endpoint.id,
                    _deliveries.c.event_id.in_(event_ids),
                )
            )
        }
        # Claims go by due time, so the oldest event is due first.
        due = {id_: now - timedelta(microseconds=later) for later, id_ in enumerate(reversed(event_ids))}
        _store(tx, endpoint, {id_: at for id_, at in due.items() if id_ not in known})
        waiting = [row.id for row in known.values() if row.state == DeliveryState.PENDING]
        _hasten(tx, endpoint.merchant_id, waiting, now)
        over = {row.id: due[row.event_id] for row in known.values() if row.state != DeliveryState.PENDING}
        _open_again(tx, endpoint.merchant_id, over, now)
        return len(event_ids)


def _store(tx: Connection, endpoint: sa.Row[Any], due: dict[str, datetime]) -> None:
    """Deliveries of events that this endpoint has never been sent.  A step."""
    if not due:
        return
    rows = [
        {
            "merchant_id": endpoint.merchant_id,
            "id": new_id("dlv"),
            "event_id": event_id,
            "endpoint_id": endpoint.id,
            "state": DeliveryState.PENDING,
            "tries": 0,
            "next_try_at": at,
            "created_at": at,
        }
        for event_id, at in due.items()
    ]
    tx.execute(sa.insert(Delivery), rows)
    queue.put_many(tx, [(Kind.DELIVER, row["merchant_id"], row["id"], row["next_try_at"]) for row in rows])


def _open_again(tx: Connection, merchant_id: str, due: dict[str, datetime], now: datetime) -> None:
    """Deliveries that had come to an end, whatever end that was.  A step."""
    if not due:
        return
    opened = tx.scalars(
        sa.update(Delivery)
        .where(
            _deliveries.c.merchant_id == merchant_id,
            _deliveries.c.id.in_(due),
            _deliveries.c.state != DeliveryState.PENDING,
        )
        .values(state=DeliveryState.PENDING, next_try_at=now, delivered_at=None)
        .returning(_deliveries.c.id)
    ).all()
    if opened:
        queue.put_many(tx, [(Kind.DELIVER, merchant_id, id_, due[id_]) for id_ in opened])


def _hasten(tx: Connection, merchant_id: str, delivery_ids: Sequence[str], now: datetime) -> None:
    """Deliveries that wait for their next try; one in a worker's hands is left alone.  A step."""
    if not delivery_ids:
        return
    tx.execute(
        sa.update(Job)
        .where(
            _jobs.c.merchant_id == merchant_id,
            _jobs.c.kind == Kind.DELIVER,
            _jobs.c.subject_id.in_(delivery_ids),
            _jobs.c.due_at > now,
            _jobs.c.token.is_(None),
        )
        .values(due_at=now)
    )
