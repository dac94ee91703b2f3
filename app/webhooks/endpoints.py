"""Where a merchant wants to hear of events: endpoints made, changed, tried out, disabled, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.addresses import Guard
from app.config import Settings
from app.db import moment, reading, retried, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id
from app.merchants import audit
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import Merchant
from app.merchants.roles import Permission
from app.queue import Job, Kind
from app.runtime import settings, vault
from app.webhooks import breaker, types
from app.webhooks.models import Delivery, DeliveryState, Event, WebhookEndpoint
from app.webhooks.outbox import Fact, emit, emit_to, next_sequence
from app.webhooks.present import endpoint_json
from app.webhooks.signature import keys_of, new_private_key, new_secret, public_key_of, ring_of

# A merchant needs a handful; each one multiplies every event, and could be aimed at a third party.
ENDPOINTS_MAX = 20
DESCRIPTION_MAX_CHARS = 200

# Why an endpoint was disabled, as the API says it.
GONE = "gone"  # it answered 410
FAILING = "failing"  # nothing but failures for days
ASKED = "asked"  # the merchant wanted it

# How long replaced keys go on signing, so that a receiver can change over without refusing anything.
OVERLAP_S, OVERLAP_S_MAX = 24 * 3600, 7 * 24 * 3600
OLD_RINGS_MAX = 2  # each one lengthens the header of every webhook

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
    """Where the vault believes an endpoint's keys to be stored."""
    return f"webhook_endpoints/{endpoint_id}/secret"


def create_endpoint(
    merchant_id: str,
    *,
    livemode: bool,
    url: str,
    event_types: Sequence[str] = (types.EVERY,),
    description: str = "",
    asymmetric: bool = False,
    by: Actor = SERVER,
) -> tuple[sa.Row[Any], str]:
    """Make an endpoint in a transaction of its own: see ``store_endpoint``."""
    with transaction() as tx:
        return store_endpoint(
            tx,
            merchant_id,
            livemode=livemode,
            url=url,
            event_types=event_types,
            description=description,
            asymmetric=asymmetric,
            by=by,
        )


def store_endpoint(
    tx: Connection,
    merchant_id: str,
    *,
    livemode: bool,
    url: str,
    event_types: Sequence[str] = (types.EVERY,),
    description: str = "",
    asymmetric: bool = False,
    by: Actor = SERVER,
) -> tuple[sa.Row[Any], str]:
    """Store an endpoint; its row, and the secret that is never shown again.  A step.

    ``asymmetric`` adds an ed25519 signature to each message.  Raises InvalidRequest naming the field at
    fault, Conflict when the merchant has enough of them.
    """
    by.require(Permission.WEBHOOKS_WRITE)
    wanted = _checked({"url": url, "event_types": event_types, "description": description})
    _refuse_too_many(tx, merchant_id, livemode)
    endpoint_id, secret = new_id("we"), new_secret()
    row = tx.execute(
        sa.insert(WebhookEndpoint)
        .values(
            merchant_id=merchant_id,
            id=endpoint_id,
            livemode=livemode,
            created_at=clock.now(),
            **wanted,
            **_sealed(endpoint_id, secret, new_private_key() if asymmetric else None),
        )
        .returning(*_endpoints.c)
    ).one()
    audit.append(tx, merchant_id, by, Action.ENDPOINT_CREATED, endpoint_id, after=_told(row))
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


def enable_endpoint(
    merchant_id: str, endpoint_id: str, *, livemode: bool | None = None, by: Actor = SERVER
) -> sa.Row[Any]:
    """Let events come again.  What happened in between is not sent by itself: see ``history.resend``.

    Harmless for one that is enabled.  Raises NotFound.
    """
    by.require(Permission.WEBHOOKS_WRITE)
    with transaction() as tx:
        before = _find(tx, merchant_id, endpoint_id, livemode)
        tx.execute(sa.update(WebhookEndpoint).where(*_alive(merchant_id, endpoint_id)).values(**_FRESH))
        after = _find(tx, merchant_id, endpoint_id, livemode)
        _note_change(tx, by, before, after)
        return after


def update_endpoint(
    merchant_id: str,
    endpoint_id: str,
    changes: Mapping[str, Any],
    *,
    livemode: bool | None = None,
    by: Actor = SERVER,
) -> sa.Row[Any]:
    """Change an endpoint in a transaction of its own: see ``store_changes``."""
    with transaction() as tx:
        return store_changes(tx, merchant_id, endpoint_id, changes, livemode=livemode, by=by)


def store_changes(
    tx: Connection,
    merchant_id: str,
    endpoint_id: str,
    changes: Mapping[str, Any],
    *,
    livemode: bool | None = None,
    by: Actor = SERVER,
) -> sa.Row[Any]:
    """Change what is named: url, event_types, description, asymmetric, disabled.  A step.  The new row.

    What is on its way goes to the new address.  Disabling drops what is on its way and tells the other
    endpoints.  Raises NotFound, InvalidRequest naming the field at fault.
    """
    by.require(Permission.WEBHOOKS_WRITE)
    before = _find(tx, merchant_id, endpoint_id, livemode, lock=True)
    values = _checked(changes)
    if changes.get("url", before.url) != before.url:
        values |= {"failing_since": None, "failed_rounds": 0, "next_probe_at": None}  # that was the other's
    if "asymmetric" in changes and changes["asymmetric"] != (before.public_key is not None):
        secret, _ = keys_of(vault().unseal(before.sealed_secret, secret_place(endpoint_id)))
        values |= _sealed(endpoint_id, secret, new_private_key() if changes["asymmetric"] else None)
    if changes.get("disabled") is False and before.disabled_at is not None:
        values |= _FRESH
    if values:
        tx.execute(sa.update(WebhookEndpoint).where(*_alive(merchant_id, endpoint_id)).values(**values))
    if changes.get("disabled") is True:
        _disable(tx, merchant_id, endpoint_id, ASKED)
    after = _find(tx, merchant_id, endpoint_id, livemode)
    _note_change(tx, by, before, after)
    return after


def rotate_secret(
    merchant_id: str,
    endpoint_id: str,
    *,
    livemode: bool | None = None,
    overlap_s: int = OVERLAP_S,
    by: Actor = SERVER,
) -> tuple[sa.Row[Any], str]:
    """Change an endpoint's keys in a transaction of its own: see ``store_new_secret``."""
    with transaction() as tx:
        return store_new_secret(tx, merchant_id, endpoint_id, livemode=livemode, overlap_s=overlap_s, by=by)


def store_new_secret(
    tx: Connection,
    merchant_id: str,
    endpoint_id: str,
    *,
    livemode: bool | None = None,
    overlap_s: int,
    by: Actor = SERVER,
) -> tuple[sa.Row[Any], str]:
    """Give an endpoint new keys; its row, and the secret that is never shown again.  A step.

    The replaced ones go on signing beside the new for ``overlap_s`` seconds; with 0 they stop at once.
    Raises NotFound, Conflict while OLD_RINGS_MAX older ones still sign.
    """
    by.require(Permission.WEBHOOKS_WRITE)
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise InvalidRequest(f"must be between 0 and {OVERLAP_S_MAX}", param="expires_in_s")
    row = _find(tx, merchant_id, endpoint_id, livemode, lock=True)
    now = moment(tx)
    old = [each for each in row.old_secrets or [] if datetime.fromisoformat(each["until"]) > now]
    if overlap_s > 0:
        if len(old) >= OLD_RINGS_MAX:
            raise Conflict(
                f"{OLD_RINGS_MAX} older secrets still sign: wait for one to end, or let this one end at once",
                code="too_many_secrets",
            )
        until = now + timedelta(seconds=overlap_s)
        old.append({"sealed": row.sealed_secret, "until": until.isoformat()})
    secret = new_secret()
    keys = _sealed(endpoint_id, secret, new_private_key() if row.public_key is not None else None)
    tx.execute(
        sa.update(WebhookEndpoint)
        .where(*_alive(merchant_id, endpoint_id))
        .values(old_secrets=old or None, **keys)
    )
    facts = {"old_one_signs_for_s": overlap_s}
    audit.append(tx, merchant_id, by, Action.ENDPOINT_ROTATED, endpoint_id, after=facts)
    return _find(tx, merchant_id, endpoint_id, livemode), secret


@retried
def delete_endpoint(
    merchant_id: str, endpoint_id: str, *, livemode: bool | None = None, by: Actor = SERVER
) -> None:
    """Send nothing there any more; its history stays.  Raises NotFound.

    A request that is on the wire at this moment may still arrive.
    """
    by.require(Permission.WEBHOOKS_WRITE)
    with transaction() as tx:
        before = _find(tx, merchant_id, endpoint_id, livemode)
        tx.execute(
            sa.update(WebhookEndpoint).where(*_alive(merchant_id, endpoint_id)).values(deleted_at=clock.now())
        )
        _abandon(tx, merchant_id, endpoint_id)
        audit.append(tx, merchant_id, by, Action.ENDPOINT_DELETED, endpoint_id, before=_told(before))


@retried
def disable_endpoint(
    merchant_id: str, endpoint_id: str, reason: str, failing_before: datetime | None = None
) -> bool:
    """Stop sending there until a person enables it again, and tell the merchant's other endpoints.

    With ``failing_before`` only if the failures began before that.  False if there was nothing to do.
    """
    with transaction() as tx:
        return _disable(tx, merchant_id, endpoint_id, reason, failing_before)


def ping_endpoint(merchant_id: str, endpoint_id: str, *, livemode: bool | None = None) -> str:
    """Send ``endpoint.ping`` in a transaction of its own: see ``send_ping``."""
    with transaction() as tx:
        return send_ping(tx, merchant_id, endpoint_id, livemode=livemode)


def send_ping(tx: Connection, merchant_id: str, endpoint_id: str, *, livemode: bool | None = None) -> str:
    """Send ``endpoint.ping`` to this endpoint alone; the event's id.  A step.

    Raises NotFound, Conflict if it is disabled.
    """
    endpoint = _find(tx, merchant_id, endpoint_id, livemode, lock=True)
    if endpoint.disabled_at is not None:
        raise Conflict("this endpoint is disabled: enable it first", code="endpoint_disabled")
    breaker.hasten(tx, merchant_id, endpoint_id, moment(tx))
    return emit_to(tx, endpoint_id, _fact(tx, types.ENDPOINT_PING, endpoint))


# What an endpoint looks like of which nothing bad is known.
_FRESH = {
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "failed_rounds": 0,
    "next_probe_at": None,
}


def _disable(
    tx: Connection, merchant_id: str, endpoint_id: str, reason: str, failing_before: datetime | None = None
) -> bool:
    conditions = [*_alive(merchant_id, endpoint_id), _endpoints.c.disabled_at.is_(None)]
    if failing_before is not None:
        conditions.append(_endpoints.c.failing_since < failing_before)
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


def _note_change(tx: Connection, by: Actor, before: sa.Row[Any], after: sa.Row[Any]) -> None:
    facts = {"before": _told(before), "after": _told(after)}
    if facts["before"] != facts["after"]:
        audit.append(tx, after.merchant_id, by, Action.ENDPOINT_CHANGED, after.id, **facts)


def _told(row: sa.Row[Any]) -> dict[str, Any]:
    """What the audit log is told of an endpoint: no key, and no address beyond its path.  Pure."""
    return {
        "url": row.url.partition("?")[0],  # some receivers keep a token there
        "event_types": row.event_types,
        "description": row.description,
        "livemode": row.livemode,
        "asymmetric": row.public_key is not None,
        "disabled": row.disabled_reason,
    }


def _sealed(endpoint_id: str, secret: str, private_key: str | None) -> dict[str, Any]:
    """The columns that hold an endpoint's keys."""
    ring = ring_of(secret, private_key)
    return {
        "sealed_secret": vault().seal(ring, secret_place(endpoint_id)),
        "public_key": None if private_key is None else public_key_of(private_key),
    }


def _checked(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the columns url, description and event_types that are wished for."""
    columns: dict[str, Any] = {}
    if "url" in wishes:
        guard_of(settings()).check_url(wishes["url"])
        columns["url"] = wishes["url"]
    if "description" in wishes:
        text = wishes["description"]
        if len(text) > DESCRIPTION_MAX_CHARS or not text.isprintable():
            raise InvalidRequest(
                f"must be at most {DESCRIPTION_MAX_CHARS} printable characters", param="description"
            )
        columns["description"] = text
    if "event_types" in wishes:
        columns["event_types"] = _checked_types(wishes["event_types"])
    return columns


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
    return Fact(
        endpoint.merchant_id,
        endpoint.livemode,
        event_type,
        endpoint.id,
        next_sequence(tx, endpoint.merchant_id, endpoint.id),
        endpoint_json(endpoint),
    )
