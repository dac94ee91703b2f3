"""Events on their way: what is due, what a try has led to, and when to try again.

Three phases, because the request in the middle cannot be rolled back: a short transaction claims,
``courier.py`` uses the network outside any, a short transaction records under the claim's fencing
token.  A crash anywhere leaves deliveries that become due again when the lease ends: the same id
and the same bytes go out once more, and the receiver drops what it has seen.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import metrics, queue
from app.db import are_among, insert_many, moment, reading, retried, table_of, transaction
from app.http import Sent
from app.ids import new_id
from app.queue import Claim, Kind
from app.webhooks import breaker, endpoints
from app.webhooks.models import Delivery, DeliveryAttempt, DeliveryState, Event, WebhookEndpoint

# What to wait after the first, second, ... try that failed: a hiccup is over in seconds, a deployment
# in minutes, a weekend in three days.  15 tries in 76 hours; then a person must ask for another.
GAPS = (
    timedelta(seconds=5),
    timedelta(seconds=15),
    timedelta(seconds=30),
    timedelta(minutes=1),
    timedelta(minutes=3),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=12),
    timedelta(hours=24),
    timedelta(hours=24),
)
TRIES_MAX = len(GAPS) + 1
JITTER = 0.1  # so that what failed together does not come back together
RETRY_AFTER_MAX = timedelta(hours=1)  # or twice the gap, if that is longer
FAILING_MAX = timedelta(days=3)  # an endpoint that has only failed for so long is disabled

LEASE = timedelta(seconds=60)  # 10 s in a lane, 15 s on the wire, and the rest to write it down

HEAD_MAX_CHARS = 2000
_SUCCESS = range(200, 300)
_GONE = 410
_TAKE_IT_EASY = (429, 503)

_deliveries, _events, _endpoints = table_of(Delivery), table_of(Event), table_of(WebhookEndpoint)
_attempts = table_of(DeliveryAttempt)
_AMONG = are_among(_deliveries.c.merchant_id, _deliveries.c.id, "pairs")
# OFFSET keeps this a step of its own: joined with the others in whatever order old statistics suggest, it has
# taken PostgreSQL longer than a statement may.
_mine = (
    sa.select(
        _deliveries.c.merchant_id,
        _deliveries.c.id,
        _deliveries.c.tries,
        _deliveries.c.event_id,
        _deliveries.c.endpoint_id,
    )
    .where(_AMONG, _deliveries.c.state == DeliveryState.PENDING)
    .offset(0)
    .subquery("mine")
)
_LOAD = (
    sa.select(
        _mine.c.merchant_id,
        _mine.c.id,
        _mine.c.tries,
        _events.c.id.label("event_id"),
        _events.c.body,
        _endpoints.c.id.label("endpoint_id"),
        _endpoints.c.url,
        _endpoints.c.sealed_secret,
        _endpoints.c.old_secrets,
        _endpoints.c.failing_since,
        _endpoints.c.next_probe_at,
    )
    .join(_events, sa.and_(_events.c.merchant_id == _mine.c.merchant_id, _events.c.id == _mine.c.event_id))
    .join(
        _endpoints,
        sa.and_(_endpoints.c.merchant_id == _mine.c.merchant_id, _endpoints.c.id == _mine.c.endpoint_id),
    )
    .where(_endpoints.c.disabled_at.is_(None), _endpoints.c.deleted_at.is_(None))
)
_DELIVERED = (
    sa.update(Delivery)
    .where(
        _AMONG,
        _deliveries.c.state == DeliveryState.PENDING,
    )
    .values(
        state=DeliveryState.DELIVERED,
        tries=_deliveries.c.tries + 1,
        next_try_at=None,
        delivered_at=sa.bindparam("new_delivered_at"),
    )
)
_FAILED = (
    sa.update(Delivery)
    .where(
        _deliveries.c.merchant_id == sa.bindparam("key_merchant_id"),
        _deliveries.c.id == sa.bindparam("key_id"),
        _deliveries.c.state == DeliveryState.PENDING,
    )
    .values(
        state=sa.bindparam("new_state"),
        tries=_deliveries.c.tries + 1,
        next_try_at=sa.bindparam("new_next_try_at"),
    )
)
_ABANDONED = (
    sa.update(Delivery)
    .where(
        _AMONG,
        _deliveries.c.state == DeliveryState.PENDING,
    )
    .values(state=DeliveryState.ABANDONED, next_try_at=None)
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claimed delivery with all that its journey needs.  ``number`` is that of the coming try."""

    claim: Claim
    number: int
    event_id: str
    body: bytes
    endpoint_id: str
    url: str
    sealed_secret: str
    old_secrets: Sequence[Mapping[str, str]]
    failing_since: datetime | None
    next_probe_at: datetime | None

    def rings_at(self, now: datetime) -> list[str]:
        """The sealed key rings that sign at this moment, the newest first."""
        old = [each["sealed"] for each in self.old_secrets if datetime.fromisoformat(each["until"]) > now]
        return [self.sealed_secret, *old[::-1]]


@dataclass(frozen=True, slots=True)
class Result:
    """How one try of a parcel ended."""

    parcel: Parcel
    started_at: datetime
    sent: Sent
    signed_with: str | None = None  # schemes; None: it was not signed

    @property
    def is_success(self) -> bool:
        return self.sent.error is None and self.sent.status in _SUCCESS


def claim_parcels(limit: int, lease: timedelta = LEASE, *, looks: bool = True) -> tuple[list[Parcel], int]:
    """Take up to ``limit`` due deliveries for a time; what can be sent of them, and how many were taken.

    Those that have become pointless, because their endpoint was deleted or disabled, are abandoned;
    those whose endpoint is in trouble are put back (see ``breaker.py``).  It ``looks`` first whether anything
    is due, because that costs less than to take nothing; not worth it for who has just seen more than enough.
    """
    if looks:
        with reading() as connection:
            if not queue.is_due(connection, Kind.DELIVER):
                return [], 0
    claims = _claim(limit, lease)
    if not claims:
        return [], 0
    with reading() as connection:
        rows = {(row.merchant_id, row.id): row for row in connection.execute(_LOAD, _among(claims))}
    parcels, pointless = [], []
    for claim in claims:
        row = rows.get((claim.merchant_id, claim.subject_id))
        if row is None:
            pointless.append(claim)
        else:
            parcels.append(_parcel(claim, row))
    if pointless:
        _abandon(pointless)
    return breaker.sift(parcels), len(claims)


@retried
def record(
    results: Sequence[Result], put_back: Sequence[tuple[Claim, float]] = ()
) -> tuple[list[Result], set[str]]:
    """Write down how tries ended, and make jobs of ``put_back`` due again after so many seconds.

    Every try is kept as evidence; but one whose claim was lost moves nothing: another worker has that
    delivery now, or its endpoint was deleted or disabled.  The lost ones are returned, and the ids of
    endpoints whose breaker is open.
    """
    lost: list[Result] = []
    is_open: set[str] = set()
    with transaction() as tx:
        now = moment(tx)
        if results:
            insert_many(tx, _attempts, [_attempt_row(result) for result in results])
            lost, is_open = _conclude(tx, results, now)
        if put_back:
            queue.put_back_many(
                tx, [(claim, now + timedelta(seconds=after_s)) for claim, after_s in put_back]
            )
    _count(results, lost)
    return lost, is_open


def _count(results: Sequence[Result], lost: Sequence[Result]) -> None:
    delivered = sum(result.is_success for result in results) - sum(result.is_success for result in lost)
    failed = len(results) - len(lost) - delivered
    counts = ((metrics.DELIVERED, delivered), (metrics.FAILED, failed), (metrics.LOST, len(lost)))
    for outcome, count in counts:
        if count:
            metrics.TRIES.labels(outcome).inc(count)
    for result in results:
        metrics.TRY_SECONDS.observe(result.sent.duration_ms / 1000)


def disable_hopeless(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Disable endpoints that said "gone", or have only failed for days; (merchant, endpoint) of each."""
    reasons: dict[tuple[str, str], str] = {}
    for result in results:
        key = result.parcel.claim.merchant_id, result.parcel.endpoint_id
        if result.sent.status == _GONE:
            reasons[key] = endpoints.GONE
        elif not result.is_success and result.parcel.failing_since is not None:
            reasons.setdefault(key, endpoints.FAILING)
    if not reasons:
        return []
    with reading() as connection:
        failing_before = moment(connection) - FAILING_MAX
    return [
        (merchant_id, endpoint_id)
        for (merchant_id, endpoint_id), reason in reasons.items()
        if endpoints.disable_endpoint(
            merchant_id, endpoint_id, reason, failing_before if reason == endpoints.FAILING else None
        )
    ]


def gap_after(number: int, status: int | None, retry_after_s: int | None) -> timedelta | None:
    """How long to wait after try ``number`` has failed; None when it was the last.  Pure but for jitter.

    A receiver that answers 429 or 503 may ask for more time, within bounds.
    """
    if number >= TRIES_MAX:
        return None
    gap = GAPS[number - 1]
    if status in _TAKE_IT_EASY and retry_after_s is not None:
        asked = timedelta(seconds=retry_after_s)
        if asked > gap:
            return min(asked, max(2 * gap, RETRY_AFTER_MAX)) * random.uniform(1, 1 + JITTER)
    return gap * random.uniform(1 - JITTER, 1 + JITTER)


@retried
def _claim(limit: int, lease: timedelta) -> list[Claim]:
    with transaction() as tx:
        return queue.claim(tx, Kind.DELIVER, limit=limit, lease=lease)


@retried
def _abandon(claims: Sequence[Claim]) -> None:
    with transaction() as tx:
        tx.execute(_ABANDONED, _among(claims))
        queue.finish_many(tx, claims)


def _parcel(claim: Claim, row: Any) -> Parcel:
    return Parcel(
        claim,
        row.tries + 1,
        row.event_id,
        row.body.encode(),
        row.endpoint_id,
        row.url,
        row.sealed_secret,
        row.old_secrets or (),
        row.failing_since,
        row.next_probe_at,
    )


def _attempt_row(result: Result) -> dict[str, Any]:
    head = result.sent.head.decode(errors="replace")[:HEAD_MAX_CHARS]
    return {
        "merchant_id": result.parcel.claim.merchant_id,
        "id": new_id("whd"),
        "delivery_id": result.parcel.claim.subject_id,
        "number": result.parcel.number,
        "started_at": result.started_at,
        "duration_ms": result.sent.duration_ms,
        "status": result.sent.status,
        "error": result.sent.error,
        "signed_with": result.signed_with,
        "response_head": head.replace("\x00", "\ufffd"),  # PostgreSQL has no text with a zero in it
    }


def _conclude(tx: Connection, results: Sequence[Result], now: datetime) -> tuple[list[Result], set[str]]:
    """Move jobs, deliveries and endpoints to where these results leave them.

    Those whose claim was lost, and the endpoints whose breaker is open.
    """
    due = {result.parcel.claim: _due_again(result, now) for result in results if not result.is_success}
    again = [claim for claim, due_at in due.items() if due_at is not None]
    done = [result.parcel.claim for result in results if due.get(result.parcel.claim) is None]
    ours = queue.finish_many(tx, done) | queue.held(tx, again)
    kept = [result for result in results if result.parcel.claim in ours]
    delivered = [result.parcel.claim for result in kept if result.is_success]
    failed = [(result.parcel.claim, due[result.parcel.claim]) for result in kept if not result.is_success]
    if delivered:
        tx.execute(_DELIVERED, {**_among(delivered), "new_delivered_at": now})
    if failed:
        tx.execute(_FAILED, [_failed_row(claim, due_at) for claim, due_at in failed])
    if waiting := [(claim, due_at) for claim, due_at in failed if due_at is not None]:
        queue.put_back_many(tx, waiting)
    bad = {_endpoint(result) for result in kept if not result.is_success}
    good = {_endpoint(result) for result in kept if result.is_success}
    is_open = breaker.note(tx, bad, good, now)
    return [result for result in results if result.parcel.claim not in ours], is_open


def _failed_row(claim: Claim, due_at: datetime | None) -> dict[str, Any]:
    return {
        "key_merchant_id": claim.merchant_id,
        "key_id": claim.subject_id,
        "new_state": DeliveryState.EXHAUSTED if due_at is None else DeliveryState.PENDING,
        "new_next_try_at": due_at,
    }


def _due_again(result: Result, now: datetime) -> datetime | None:
    sent = result.sent
    gap = gap_after(result.parcel.number, sent.status, sent.retry_after_s)
    return None if gap is None else now + gap


def _endpoint(result: Result) -> tuple[str, str]:
    return result.parcel.claim.merchant_id, result.parcel.endpoint_id


def _among(claims: Sequence[Claim]) -> dict[str, Any]:
    return {"pairs": [(claim.merchant_id, claim.subject_id) for claim in claims]}
