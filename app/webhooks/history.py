"""What a merchant can look up of events and deliveries, and send again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import queue
from app.db import moment, reading, retried, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id
from app.queue import Kind
from app.webhooks import breaker
from app.webhooks.models import Delivery, DeliveryAttempt, DeliveryState, Event, WebhookEndpoint

LIST_LIMIT_MAX = 100
# 15 tries a delivery, and some that people asked for.
_ATTEMPTS_MAX = 30 * LIST_LIMIT_MAX

_events, _deliveries, _attempts, _endpoints = (
    Event.__table__,
    Delivery.__table__,
    DeliveryAttempt.__table__,
    WebhookEndpoint.__table__,
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest first: the ids are its cursors."""

    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


@dataclass(frozen=True, slots=True)
class DeliveryStory:
    """A delivery (its row has the event's ``type`` and the ``url`` too) and its attempts in order."""

    delivery: sa.Row[Any]
    attempts: list[sa.Row[Any]]


def list_events(
    merchant_id: str,
    *,
    livemode: bool,
    event_types: Sequence[str] = (),
    object_id: str | None = None,
    page: Page,
) -> tuple[list[sa.Row[Any]], bool]:
    """Events, newest first, and whether there are more.  Raises InvalidRequest for a bad cursor."""
    statement = sa.select(*_events.c).where(
        _events.c.merchant_id == merchant_id, _events.c.livemode == livemode
    )
    if event_types:
        statement = statement.where(_events.c.type.in_(event_types))
    if object_id is not None:
        statement = statement.where(_events.c.object_id == object_id)
    with reading() as connection:
        return _turn_to(connection, statement, _events.c.id, "evt", page)


def find_event(merchant_id: str, event_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """One event.  Raises NotFound."""
    statement = sa.select(*_events.c).where(_events.c.merchant_id == merchant_id, _events.c.id == event_id)
    if livemode is not None:
        statement = statement.where(_events.c.livemode == livemode)
    with reading() as connection:
        row = connection.execute(statement).first()
    if row is None:
        raise NotFound("no such event")
    return row


def list_deliveries(
    merchant_id: str,
    *,
    livemode: bool,
    event_id: str | None = None,
    endpoint_id: str | None = None,
    object_id: str | None = None,
    state: DeliveryState | None = None,
    page: Page,
) -> tuple[list[DeliveryStory], bool]:
    """Deliveries of an event, to an endpoint or about an object, newest first, and whether there are more.

    Raises InvalidRequest for a bad cursor.
    """
    statement = _joined(merchant_id).where(_events.c.livemode == livemode)
    if event_id is not None:
        statement = statement.where(_deliveries.c.event_id == event_id)
    if endpoint_id is not None:
        statement = statement.where(_deliveries.c.endpoint_id == endpoint_id)
    if object_id is not None:
        statement = statement.where(_events.c.object_id == object_id)
    if state is not None:
        statement = statement.where(_deliveries.c.state == state)
    with reading() as connection:
        rows, has_more = _turn_to(connection, statement, _deliveries.c.id, "dlv", page)
        return _with_attempts(connection, merchant_id, rows), has_more


def find_delivery(merchant_id: str, delivery_id: str, *, livemode: bool | None = None) -> DeliveryStory:
    """One delivery with its attempts.  Raises NotFound."""
    with reading() as connection:
        row = _find_delivery(connection, merchant_id, delivery_id, livemode)
        return _with_attempts(connection, merchant_id, [row])[0]


@retried
def resend(merchant_id: str, delivery_id: str, *, livemode: bool | None = None) -> None:
    """Send an event again, now, to the same endpoint: same id, same bytes, new signature.

    One that is waiting for its next try is sent at once.  Raises NotFound, Conflict when its
    endpoint is deleted or disabled.
    """
    with transaction() as tx:
        found = _find_delivery(tx, merchant_id, delivery_id, livemode)
        if found.deleted_at is not None:
            raise Conflict("the endpoint of this delivery was deleted", code="endpoint_deleted")
        if found.disabled_at is not None:
            raise Conflict("this endpoint is disabled: enable it first", code="endpoint_disabled")
        now = moment(tx)
        breaker.hasten(tx, merchant_id, found.endpoint_id, now)
        moved = tx.execute(
            sa.update(Delivery)
            .where(
                _deliveries.c.merchant_id == merchant_id,
                _deliveries.c.id == delivery_id,
                _deliveries.c.state != DeliveryState.PENDING,
            )
            .values(state=DeliveryState.PENDING, next_try_at=now, delivered_at=None)
        )
        if moved.rowcount == 1:
            queue.put(tx, Kind.DELIVER, merchant_id, delivery_id, now)
        else:
            queue.hasten(tx, Kind.DELIVER, merchant_id, delivery_id, now)


def _joined(merchant_id: str) -> sa.Select[Any]:
    event = sa.and_(
        _events.c.merchant_id == _deliveries.c.merchant_id, _events.c.id == _deliveries.c.event_id
    )
    endpoint = sa.and_(
        _endpoints.c.merchant_id == _deliveries.c.merchant_id, _endpoints.c.id == _deliveries.c.endpoint_id
    )
    return (
        sa.select(
            *_deliveries.c,
            _events.c.type,
            _events.c.object_id,
            _events.c.livemode,
            _endpoints.c.url,
            _endpoints.c.disabled_at,
            _endpoints.c.deleted_at,
        )
        .join(_events, event)
        .join(_endpoints, endpoint)
        .where(_deliveries.c.merchant_id == merchant_id)
    )


def _find_delivery(
    connection: Connection, merchant_id: str, delivery_id: str, livemode: bool | None
) -> sa.Row[Any]:
    statement = _joined(merchant_id).where(_deliveries.c.id == delivery_id)
    if livemode is not None:
        statement = statement.where(_events.c.livemode == livemode)
    row = connection.execute(statement).first()
    if row is None:
        raise NotFound("no such delivery")
    return row


def _turn_to(
    connection: Connection, statement: sa.Select[Any], column: sa.ColumnElement[str], prefix: str, page: Page
) -> tuple[list[sa.Row[Any]], bool]:
    for name in ("starting_after", "ending_before"):
        cursor = getattr(page, name)
        if cursor is not None and not is_id(cursor, prefix):
            raise InvalidRequest(f"must be an id that begins with {prefix}_", param=name)
    if not 1 <= page.limit <= LIST_LIMIT_MAX:
        raise InvalidRequest(f"must be between 1 and {LIST_LIMIT_MAX}", param="limit")
    if page.starting_after is not None:
        statement = statement.where(column < page.starting_after)
    if page.ending_before is not None:
        statement = statement.where(column > page.ending_before)
    backwards = page.ending_before is not None and page.starting_after is None
    ordered = statement.order_by(column.asc() if backwards else column.desc())
    rows = list(connection.execute(ordered.limit(page.limit + 1)))
    shown = rows[: page.limit]
    return (shown[::-1] if backwards else shown), len(rows) > page.limit


def _with_attempts(
    connection: Connection, merchant_id: str, deliveries: list[sa.Row[Any]]
) -> list[DeliveryStory]:
    stories = {row.id: DeliveryStory(row, []) for row in deliveries}
    for attempt in connection.execute(
        sa.select(*_attempts.c)
        .where(_attempts.c.merchant_id == merchant_id, _attempts.c.delivery_id.in_(list(stories)))
        .order_by(_attempts.c.id)
        .limit(_ATTEMPTS_MAX)
    ):
        stories[attempt.delivery_id].attempts.append(attempt)
    return list(stories.values())
