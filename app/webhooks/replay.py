"""What was told is told again: one event, or a span of them, to endpoints of the same merchant and mode.

Nothing new is written about the world: an event keeps its id and its bytes, and a receiver that has seen
it drops it by that id.  A span goes at an even pace, so that a receiver that has just come back is not
overrun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import queue
from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest
from app.ids import new_id
from app.queue import Kind
from app.webhooks import breaker, endpoints, history, types
from app.webhooks.models import Delivery, DeliveryState, Event, WebhookEndpoint
from app.webhooks.outbox import wants

BATCH = 500  # events a transaction: short enough for those who wait behind it
PER_SECOND = 50  # to one endpoint
EVENTS_MAX = 20_000  # of one endpoint in one request over HTTP, which takes some seconds

_events, _deliveries, _endpoints = table_of(Event), table_of(Delivery), table_of(WebhookEndpoint)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """Events of one merchant and mode: from ``begin``, before ``end``, of these ``types`` or of all.

    ``only_missed`` leaves out, for each endpoint, what it has received.
    """

    merchant_id: str
    livemode: bool
    begin: datetime
    end: datetime
    types: tuple[str, ...] = ()
    only_missed: bool = False


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
    with reading() as connection:
        now = moment(connection)
    return [Share(one.id, one.url, _send(one, [event.id], 0, now)) for one in receivers]


def plan(span: Span, *, endpoint_id: str | None = None, events_max: int | None = None) -> list[Share]:
    """What ``replay`` would send, and nothing sent: look at it first.

    Raises InvalidRequest, NotFound, Conflict as ``replay`` does.
    """
    receivers = _checked(span, endpoint_id)
    with reading() as connection:
        shares = [
            Share(one.id, one.url, connection.execute(_counted(_wanted(span, one))).scalar_one())
            for one in receivers
        ]
    if events_max is not None and any(share.events > events_max for share in shares):
        raise InvalidRequest(f"holds more than {events_max} events: replay it in parts", param="until")
    return shares


def replay(span: Span, *, endpoint_id: str | None = None, events_max: int | None = None) -> list[Share]:
    """Send a span of events again, oldest first: to this endpoint, or to every one that is enabled.

    Each endpoint gets what it subscribes to, also what happened before it was made or while it was
    disabled; a delivery that waits for its next try waits no longer than until its turn.  Stored in
    batches: cut short, it can be run again.  With ``events_max`` no endpoint may get more.  Raises
    InvalidRequest for a span or a type that makes no sense, NotFound, Conflict when the endpoint is
    disabled or there is none.
    """
    planned = plan(span, endpoint_id=endpoint_id, events_max=events_max)
    shares = [Share(one.id, one.url, _send_span(span, one)) for one in _checked(span, endpoint_id)]
    log.info(
        "events replayed",
        merchant_id=span.merchant_id,
        livemode=span.livemode,
        begin=span.begin.isoformat(),
        end=span.end.isoformat(),
        types=list(span.types),
        only_missed=span.only_missed,
        planned=sum(share.events for share in planned),
        sent={share.endpoint_id: share.events for share in shares},
    )
    return shares


def seconds_for(shares: Sequence[Share]) -> int:
    """How long the last event waits for its turn.  Pure."""
    return max((share.events for share in shares), default=0) // PER_SECOND


def _checked(span: Span, endpoint_id: str | None) -> list[sa.Row[Any]]:
    if span.end <= span.begin:
        raise InvalidRequest("must be later than the beginning", param="until")
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
    if span.only_missed:
        received = sa.select(_deliveries.c.id).where(
            _deliveries.c.merchant_id == _events.c.merchant_id,
            _deliveries.c.event_id == _events.c.id,
            _deliveries.c.endpoint_id == endpoint.id,
            _deliveries.c.state == DeliveryState.DELIVERED,
        )
        statement = statement.where(~received.exists())
    return statement


def _counted(statement: sa.Select[Any]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(statement.subquery())


def _send_span(span: Span, endpoint: sa.Row[Any]) -> int:
    statement = _wanted(span, endpoint).order_by(_events.c.id).limit(BATCH)
    count, last_id = 0, ""
    with reading() as connection:
        began_at = moment(connection)
    while True:
        with reading() as connection:
            ids = list(connection.scalars(statement.where(_events.c.id > last_id)))
        count += _send(endpoint, ids, count, began_at)
        if len(ids) < BATCH:
            return count
        last_id = ids[-1]


@retried
def _send(endpoint: sa.Row[Any], event_ids: Sequence[str], turn: int, began_at: datetime) -> int:
    """Make each of these events due at this endpoint; how many, none if it is gone or disabled by now.

    ``turn`` is that of the first: PER_SECOND of them are due in each second after ``began_at``.
    """
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
        breaker.hasten(tx, endpoint.merchant_id, endpoint.id, moment(tx))
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
        due = {id_: began_at + _wait_of(turn + number) for number, id_ in enumerate(event_ids)}
        _store(tx, endpoint, {id_: at for id_, at in due.items() if id_ not in known})
        waiting = {row.id: due[row.event_id] for row in known.values() if row.state == DeliveryState.PENDING}
        _hasten(tx, endpoint.merchant_id, waiting)
        over = {row.id: due[row.event_id] for row in known.values() if row.state != DeliveryState.PENDING}
        _open_again(tx, endpoint.merchant_id, over, began_at)
        return len(event_ids)


def _wait_of(turn: int) -> timedelta:
    # Claims go by due time, so within a second the oldest event is due first.
    second, place = divmod(turn, PER_SECOND)
    return timedelta(seconds=second, microseconds=place - PER_SECOND)


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
    """Deliveries that had come to an end, whatever end that was, with the whole schedule anew.  A step."""
    if not due:
        return
    opened = tx.scalars(
        sa.update(Delivery)
        .where(
            _deliveries.c.merchant_id == merchant_id,
            _deliveries.c.id.in_(due),
            _deliveries.c.state != DeliveryState.PENDING,
        )
        .values(state=DeliveryState.PENDING, tries=0, next_try_at=now, delivered_at=None)
        .returning(_deliveries.c.id)
    ).all()
    if opened:
        queue.put_many(tx, [(Kind.DELIVER, merchant_id, id_, due[id_]) for id_ in opened])


def _hasten(tx: Connection, merchant_id: str, due: dict[str, datetime]) -> None:
    """Deliveries that wait for their next try; one in a worker's hands is left alone.  A step."""
    for delivery_id, due_at in due.items():
        queue.hasten(tx, Kind.DELIVER, merchant_id, delivery_id, due_at)
