"""What the API and the dashboard say of endpoints, events and deliveries.  Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.clock import to_rfc3339
from app.http import USER_AGENT
from app.webhooks.replay import Share, seconds_for


def endpoint_json(endpoint: sa.Row[Any], secret: str | None = None) -> dict[str, Any]:
    """The webhook endpoint object; with its secret only in the answer to its creation."""
    shown = {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "livemode": endpoint.livemode,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": endpoint.event_types.split(","),
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": _time(endpoint.disabled_at),
        "failing_since": _time(endpoint.failing_since),
        "public_key": endpoint.public_key,
        "created_at": to_rfc3339(endpoint.created_at),
    }
    return shown if secret is None else {**shown, "secret": secret}


def event_json(event: sa.Row[Any]) -> dict[str, Any]:
    """The event object: what endpoints receive, word for word."""
    body: dict[str, Any] = json.loads(event.body)
    return body


def delivery_json(delivery: sa.Row[Any], attempts: Sequence[sa.Row[Any]] = ()) -> dict[str, Any]:
    """The delivery object with its attempts, first to last."""
    return {
        "id": delivery.id,
        "object": "delivery",
        "livemode": delivery.livemode,
        "event": delivery.event_id,
        "event_type": delivery.type,
        "object_id": delivery.object_id,
        "endpoint": delivery.endpoint_id,
        "url": delivery.url,
        "status": delivery.state,
        "tries": delivery.tries,
        "next_try_at": _time(delivery.next_try_at),
        "created_at": to_rfc3339(delivery.created_at),
        "delivered_at": _time(delivery.delivered_at),
        "attempts": [_attempt_json(delivery.event_id, attempt) for attempt in attempts],
    }


def replay_json(shares: Sequence[Share], *, dry_run: bool) -> dict[str, Any]:
    """What a replay sends, or would send."""
    return {
        "object": "replay",
        "dry_run": dry_run,
        "endpoints": [{"endpoint": share.endpoint_id, "events": share.events} for share in shares],
        "lasts_s": seconds_for(shares),
    }


def _attempt_json(event_id: str, attempt: sa.Row[Any]) -> dict[str, Any]:
    # The signatures themselves are not kept: what is logged must not be of use to who reads the log.
    signatures = [f"{scheme},…" for scheme in (attempt.signed_with or "").split(" ") if scheme]
    return {
        "id": attempt.id,
        "object": "delivery_attempt",
        "number": attempt.number,
        "started_at": to_rfc3339(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "request_headers": {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": event_id,
            "webhook-timestamp": str(int(attempt.started_at.timestamp())),
            "webhook-signature": " ".join(signatures),
        },
        "response_status": attempt.status,
        "response_head": attempt.response_head,
        "error": attempt.error,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
