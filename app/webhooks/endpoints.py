"""Where a merchant wants to hear of events: endpoints made, listed, tried out, disabled, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.addresses import Guard
from app.config import Settings
from app.db import reading, retried, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id
from app.merchants.models import Merchant
from app.queue import Job, Kind
from app.runtime import settings, vault
from app.webhooks import types
from app.webhooks.models import Delivery, DeliveryState, Event, WebhookEndpoint
from app.webhooks.outbox import Fact, emit, emit_to
from app.webhooks.present import endpoint_json
from app.webhooks.signature import new_secret

# A merchant needs a handful; each one multiplies every event, and could be aimed at a third party.
ENDPOINTS_MAX = 20
DESCRIPTION_MAX_CHARS = 200

# Why an endpoint was disabled, as the API says it.
GONE = "gone"  # it answered 410
FAILING = "failing"  # nothing but failures for days

_endpoints, _deliveries, _events, _jobs = (
    WebhookEndpoint.__table__,
    Delivery.__table__,
    Event.__table__,
    Job.__table__,
)


def guard_of(chosen: Settings) -> Guard:
    """Where webhooks may go under these settings: in demo mode also to this machine, by HTTP, at any port."""
    return Guard(
        chosen.allowed_networks,
        https_only=not chosen.is_demo,
        ports=frozenset() if chosen.is_demo else frozenset(map(int, chosen.webhook_ports)),
    )


def secret_place(endpoint_id: str) -> str:
    """Where the vault believes an endpoint's secret to be stored."""
    return f"webhook_endpoints/{endpoint_id}/secret"


def create_endpoint(
    merchant_id: str,
    *,
    livemode: bool,
    url: str,
    event_types: Sequence[str] = (types.EVERY,),
    description: str = "",
) -> tuple[sa.Row[Any], str]:
    """Make an endpoint in a transaction of its own: see ``store_endpoint``."""
    with transaction() as tx:
        return store_endpoint(
            tx, merchant_id, livemode=livemode, url=url, event_types=event_types, description=description
        )


def store_endpoint(
    tx: Connection,
    merchant_id: str,
    *,
    livemode: bool,
    url: str,
    event_types: Sequence[str] = (types.EVERY,),
    description: str = "",
) -> tuple[sa.Row[Any], str]:
    """Store an endpoint; its row, and the secret that is never shown again.  A step.

    Raises InvalidRequest naming the field at fault, Conflict when the merchant has enough of them.
    """
    guard_of(settings()).check_url(url)
    wanted = _checked_types(event_types)
    if len(description) > DESCRIPTION_MAX_CHARS or not description.isprintable():
        raise InvalidRequest(
            f"must be at most {DESCRIPTION_MAX_CHARS} printable characters", param="description"
        )
    _refuse_too_many(tx, merchant_id, livemode)
    endpoint_id, secret = new_id("we"), new_secret()
    row = tx.execute(
        sa.insert(WebhookEndpoint)
        .values(
            merchant_id=merchant_id,
            id=endpoint_id,
            livemode=livemode,
            url=url,
            description=description,
            event_types=wanted,
            sealed_secret=vault().seal(secret, secret_place(endpoint_id)),
            created_at=clock.now(),
        )
        .returning(*_endpoints.c)
    ).one()
    return row, secret


def list_endpoints(merchant_id: str, *, livemode: bool) -> list[sa.Row[Any]]:
    """A merchant's endpoints, newest first, disabled ones too; ENDPOINTS_MAX keeps it one page."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(*_endpoints.c)
                .where(
                    _endpoints.c.merchant_id == merchant_id,
                    _endpoints.c.livemode == livemode,
                    _endpoints.c.deleted_at.is_(None),
                )
                .order_by(_endpoints.c.id.desc())
            )
        )


def find_endpoint(merchant_id: str, endpoint_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """One endpoint.  Raises NotFound, also for a deleted one."""
    with reading() as connection:
        return _find(connection, merchant_id, endpoint_id, livemode)


def enable_endpoint(merchant_id: str, endpoint_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """Let events come again.  What happened in between is not sent by itself: see ``history.resend``.

    Harmless for one that is enabled.  Raises NotFound.
    """
    with transaction() as tx:
        _find(tx, merchant_id, endpoint_id, livemode)
        tx.execute(
            sa.update(WebhookEndpoint)
            .where(*_alive(merchant_id, endpoint_id))
            .values(disabled_at=None, disabled_reason=None, failing_since=None)
        )
        return _find(tx, merchant_id, endpoint_id, livemode)


@retried
def delete_endpoint(merchant_id: str, endpoint_id: str, *, livemode: bool | None = None) -> None:
    """Send nothing there any more; its history stays.  Raises NotFound.

    A request that is on the wire at this moment may still arrive.
    """
    with transaction() as tx:
        _find(tx, merchant_id, endpoint_id, livemode)
        tx.execute(
            sa.update(WebhookEndpoint).where(*_alive(merchant_id, endpoint_id)).values(deleted_at=clock.now())
        )
        _abandon(tx, merchant_id, endpoint_id)


@retried
def disable_endpoint(
    merchant_id: str, endpoint_id: str, reason: str, failing_before: datetime | None = None
) -> bool:
    """Stop sending there until a person enables it again, and tell the merchant's other endpoints.

    With ``failing_before`` only if the failures began before that.  False if there was nothing to do.
    """
    conditions = [*_alive(merchant_id, endpoint_id), _endpoints.c.disabled_at.is_(None)]
    if failing_before is not None:
        conditions.append(_endpoints.c.failing_since < failing_before)
    with transaction() as tx:
        moved = tx.execute(
            sa.update(WebhookEndpoint)
            .where(*conditions)
            .values(disabled_at=clock.now(), disabled_reason=reason)
            .returning(*_endpoints.c)
        ).first()
        if moved is None:
            return False
        _abandon(tx, merchant_id, endpoint_id)
        emit(tx, _fact(tx, types.WEBHOOK_ENDPOINT_DISABLED, moved))
        return True


def ping_endpoint(merchant_id: str, endpoint_id: str, *, livemode: bool | None = None) -> str:
    """Send ``endpoint.ping`` to this endpoint alone; the event's id.

    Raises NotFound, Conflict if it is disabled.
    """
    with transaction() as tx:
        endpoint = _find(tx, merchant_id, endpoint_id, livemode, lock=True)
        if endpoint.disabled_at is not None:
            raise Conflict("this endpoint is disabled: enable it first", code="endpoint_disabled")
        return emit_to(tx, endpoint_id, _fact(tx, types.ENDPOINT_PING, endpoint))


def _checked_types(event_types: Sequence[str]) -> str:
    if not event_types or types.EVERY in event_types:
        return types.EVERY
    for name in event_types:
        if name not in types.SUBSCRIBABLE:
            raise InvalidRequest(f"{name[:64]!r} is not an event type", param="event_types")
    return ",".join(dict.fromkeys(event_types))


def _refuse_too_many(tx: Connection, merchant_id: str, livemode: bool) -> None:
    # The merchant's row is the lock at which two that create the twentieth take turns.  NO KEY, because
    # each may have stored an Idempotency-Key before, whose foreign key shares that row: a full lock would
    # have each wait for the other.
    tx.execute(sa.select(Merchant.id).where(Merchant.id == merchant_id).with_for_update(key_share=True))
    count = tx.execute(
        sa.select(sa.func.count()).where(
            _endpoints.c.merchant_id == merchant_id,
            _endpoints.c.livemode == livemode,
            _endpoints.c.deleted_at.is_(None),
        )
    ).scalar_one()
    if count >= ENDPOINTS_MAX:
        raise Conflict(
            f"there are {ENDPOINTS_MAX} endpoints already: delete one first", code="too_many_endpoints"
        )


def _find(
    connection: Connection, merchant_id: str, endpoint_id: str, livemode: bool | None, *, lock: bool = False
) -> sa.Row[Any]:
    statement = sa.select(*_endpoints.c).where(*_alive(merchant_id, endpoint_id))
    if livemode is not None:
        statement = statement.where(_endpoints.c.livemode == livemode)
    row = connection.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise NotFound("no such webhook endpoint")
    return row


def _alive(merchant_id: str, endpoint_id: str) -> list[sa.ColumnElement[bool]]:
    return [
        _endpoints.c.merchant_id == merchant_id,
        _endpoints.c.id == endpoint_id,
        _endpoints.c.deleted_at.is_(None),
    ]


def _abandon(tx: Connection, merchant_id: str, endpoint_id: str) -> None:
    """Give up every pending delivery of an endpoint, and its job, claimed or not."""
    pending = [
        _deliveries.c.merchant_id == merchant_id,
        _deliveries.c.endpoint_id == endpoint_id,
        _deliveries.c.state == DeliveryState.PENDING,
    ]
    tx.execute(
        sa.delete(Job).where(
            _jobs.c.merchant_id == merchant_id,
            _jobs.c.kind == Kind.DELIVER,
            _jobs.c.subject_id.in_(sa.select(_deliveries.c.id).where(*pending)),
        )
    )
    tx.execute(sa.update(Delivery).where(*pending).values(state=DeliveryState.ABANDONED, next_try_at=None))


def _fact(tx: Connection, event_type: str, endpoint: sa.Row[Any]) -> Fact:
    """A fact about an endpoint whose row this transaction has locked, so that no number is used twice."""
    last = tx.execute(
        sa.select(sa.func.max(_events.c.sequence)).where(
            _events.c.merchant_id == endpoint.merchant_id, _events.c.object_id == endpoint.id
        )
    ).scalar()
    return Fact(
        endpoint.merchant_id,
        endpoint.livemode,
        event_type,
        endpoint.id,
        (last or 0) + 1,
        endpoint_json(endpoint),
    )
