"""The worker's hands: deliveries claimed, sent side by side, and recorded as their answers come in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from app import clock
from app.http import Post, Sender, Sent
from app.queue import Claim
from app.runtime import vault
from app.vault import SealBroken
from app.webhooks.delivery import LEASE, Parcel, Result, claim_parcels, disable_hopeless, record
from app.webhooks.endpoints import secret_place
from app.webhooks.hosts import HostPace
from app.webhooks.lanes import SLOW_S, Lanes
from app.webhooks.signature import headers_for, schemes_of

BATCH = 400
RECORD_AT = 200  # results are written when there are so many,
UNRECORDED_MAX = 800  # answers in memory; a kill makes us send them again, so with more of them we wait
RECORD_AFTER_S = 0.1  # or when the oldest is this old: nobody's result waits for a slow neighbour
RINGS_MAX = 1000  # kept open in memory
POLL_S = 0.01  # how often to look for new work while some is on the wire
DESK_S = 0.002  # how often to look whether the desk is through, while some is on the wire

T = TypeVar("T")

log = logging.getLogger(__name__)


class Inline(Executor):
    """Does at once what it is given, in the thread that gives it."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The future has its outcome already, whatever that is."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - not swallowed: it waits in the future, as in any executor
            future.set_exception(error)
        return future


@dataclass(slots=True)
class _Trip:
    """A parcel on the wire."""

    parcel: Parcel
    started_at: datetime
    started_s: float
    signed_with: str | None = None


class Courier:
    """Carries deliveries until told otherwise: call ``step`` in a loop, from one thread.

    Work is claimed whenever there is room, not when the last batch is through, so that a receiver
    that takes its time holds up nobody but itself.  Claims and records are made at ``desk``: with
    threads there, the network and the database do not wait for one another.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        batch: int = BATCH,
        desk: Executor | None = None,
        lease: timedelta = LEASE,
        pace: HostPace | None = None,
    ) -> None:
        self._sender = sender
        self._pace = pace
        self._lease = lease
        self._batch = batch
        self._desk = desk or Inline()
        self._lanes: Lanes[Parcel] = Lanes(slow_slots=max(1, sender.free // 4))
        self._away: dict[str, _Trip] = {}  # by key, oldest first
        self._results: list[Result] = []
        self._turned_away: list[tuple[Claim, float]] = []
        self._claiming: Future[tuple[list[Parcel], int]] | None = None
        self._recording: Future[Recorded] | None = None
        self._being_recorded = 0  # results
        self._rings: dict[tuple[str, str], str] = {}
        self._record_by_s = 0.0
        self._next_claim_s = 0.0
        self._found_nothing = self._there_is_more = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand and the last look found nothing due."""
        return self._found_nothing and not (
            self._away
            or self._results
            or self._turned_away
            or self._lanes.waiting
            or self._claiming
            or self._recording
        )

    @property
    def _room(self) -> int:
        """How many may leave now."""
        unrecorded = len(self._results) + self._being_recorded
        return max(0, min(self._sender.free, UNRECORDED_MAX - unrecorded))

    def step(self) -> int:
        """One turn: record, claim, send, and wait a moment for answers.  How many claims and answers it saw.

        An exception (a database that is away) loses nothing: results stay for the next step.
        """
        self._record_if_time()
        claimed = self._claim()
        for parcel in self._lanes.take(self._room):
            self._start(parcel)
        # A receiver that takes its time must not make others wait for what is claimed already.
        wait_s = DESK_S if self._claiming else POLL_S
        answered = self._collect(wait_s if self._away else 0.0)
        if not self._away:
            self._wait_at_the_desk()
        self._mind_the_slow()
        return claimed + answered

    def close(self) -> None:
        """Put back what waits, let what is on the wire end (POST_TIMEOUT_S at most), and record it."""
        if self._claiming is not None:
            self._hear_of_claims(self._claiming)
        self._turned_away += [(parcel.claim, 0.0) for parcel in self._lanes.clear_all()]
        while self._away:
            self._collect(POLL_S)
        while self._recording or self._results or self._turned_away:
            self._record()
            if self._recording:
                self._hear_of_records(self._recording)

    def _claim(self) -> int:
        now_s = time.monotonic()
        if self._claiming is None:
            if self._lanes.waiting >= self._batch or (self._away and now_s < self._next_claim_s):
                return 0
            self._claiming = self._desk.submit(
                claim_parcels, self._batch, self._lease, looks=not self._there_is_more
            )
        return self._hear_of_claims(self._claiming) if self._claiming.done() else 0

    def _hear_of_claims(self, claiming: Future[tuple[list[Parcel], int]]) -> int:
        self._claiming = None
        parcels, count = claiming.result()
        now_s = time.monotonic()
        for parcel in parcels:
            wait_s = self._pace.wait_s(parcel.url) if self._pace else 0.0
            if wait_s:
                self._turned_away.append((parcel.claim, wait_s))
                continue
            self._lanes.join(parcel.endpoint_id, parcel, now_s, is_ailing=parcel.failing_since is not None)
        self._found_nothing = count == 0
        self._there_is_more = count == self._batch
        self._next_claim_s = 0.0 if self._there_is_more else now_s + POLL_S
        return count

    def _start(self, parcel: Parcel) -> None:
        key = f"{parcel.claim.token}/{parcel.claim.subject_id}"
        now, started_s = clock.now(), time.monotonic()
        self._away[key] = _Trip(parcel, now, started_s)
        try:
            rings = self._rings_of(parcel, now)
            headers = headers_for(rings, parcel.event_id, int(now.timestamp()), parcel.body)
            is_stranger = not self._lanes.is_proven(parcel.endpoint_id)
            self._sender.start(Post(key, parcel.url, headers, parcel.body, aside=is_stranger))
        except (SealBroken, ValueError) as error:
            # What cannot be signed or sent fails like anything else, and is pushed away ever longer: left
            # in hand, it would keep its slot until the lease ends, and then do it again.
            log.critical("a webhook cannot be made ready", extra={"endpoint_id": parcel.endpoint_id})
            reason = str(error) if isinstance(error, SealBroken) else "it cannot be signed"
            self._end(Sent(key, None, reason, 0))
            return
        self._away[key].signed_with = schemes_of(rings)

    def _rings_of(self, parcel: Parcel, now: datetime) -> list[str]:
        newest, *older = parcel.rings_at(now)
        rings = [self._open(parcel, newest)]
        for sealed in older:
            try:
                rings.append(self._open(parcel, sealed))
            except SealBroken:  # the new one is enough for those who have it
                log.critical(
                    "an old webhook secret cannot be opened", extra={"endpoint_id": parcel.endpoint_id}
                )
        return rings

    def _open(self, parcel: Parcel, sealed: str) -> str:
        # Unsealing costs a fifth of sending.  The sealed text is in the key: a changed secret is another.
        key = parcel.endpoint_id, sealed
        ring = self._rings.get(key)
        if ring is None:
            ring = vault().unseal(sealed, secret_place(parcel.endpoint_id))
            if len(self._rings) >= RINGS_MAX:
                self._rings.clear()
            self._rings[key] = ring
        return ring

    def _collect(self, wait_s: float) -> int:
        sent = self._sender.finished(wait_s)
        for one in sent:
            self._end(one)
        return len(sent)

    def _end(self, sent: Sent) -> None:
        trip = self._away.pop(sent.key)
        self._lanes.came_back(trip.parcel.endpoint_id, sent.duration_ms / 1000)
        if not self._results:
            self._record_by_s = time.monotonic() + RECORD_AFTER_S
        self._results.append(Result(trip.parcel, trip.started_at, sent, trip.signed_with))

    def _mind_the_slow(self) -> None:
        now_s = time.monotonic()
        for trip in self._away.values():
            if now_s - trip.started_s <= SLOW_S:
                break  # those behind it left later
            self._lanes.is_late(trip.parcel.endpoint_id, now_s - trip.started_s)
        self._turned_away += [(parcel.claim, delay_s) for parcel, delay_s in self._lanes.turn_away(now_s)]

    def _record_if_time(self) -> None:
        if self._recording and self._recording.done():
            self._hear_of_records(self._recording)
        if self._recording:
            return
        is_time = len(self._results) >= RECORD_AT or time.monotonic() >= self._record_by_s
        is_all = not self._away and not self._lanes.waiting
        if (self._results or self._turned_away) and (is_time or is_all):
            self._record()

    def _record(self) -> None:
        """Hand over what there is to record, unless the desk is still busy with what it had."""
        if self._recording is None and (self._results or self._turned_away):
            results, turned_away = self._results, self._turned_away
            self._results, self._turned_away = [], []
            self._recording = self._desk.submit(_write_down, results, turned_away)
            self._being_recorded = len(results)
            if self._recording.done():
                self._hear_of_records(self._recording)

    def _hear_of_records(self, recording: Future[Recorded]) -> None:
        self._recording, self._being_recorded = None, 0
        recorded = recording.result()
        if recorded.failure is not None:
            self._results = recorded.results + self._results
            self._turned_away = recorded.turned_away + self._turned_away
            raise recorded.failure
        # A claim that was lost says that its endpoint may be gone, and an open breaker that nobody should
        # go there: those that wait for it find out by being claimed afresh.  If their jobs were dropped,
        # putting them back does nothing.
        for endpoint_id in {result.parcel.endpoint_id for result in recorded.lost} | recorded.is_open:
            waiting = self._lanes.clear(endpoint_id)
            self._turned_away += [(parcel.claim, 0.0) for parcel in waiting]
        for endpoint_id in recorded.disabled:
            self._lanes.clear(endpoint_id)

    def _wait_at_the_desk(self) -> None:
        """With nothing on the wire, and nothing that may leave, there is nothing else to wait for."""
        busy: list[Future[Any]] = [each for each in (self._recording, self._claiming) if each is not None]
        if busy and not (self._lanes.waiting and self._room):
            wait(busy, timeout=POLL_S, return_when=FIRST_COMPLETED)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of writing down: what was lost, disabled and cut off, or why nothing was written."""

    results: list[Result]
    turned_away: list[tuple[Claim, float]]
    lost: list[Result] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    is_open: set[str] = field(default_factory=set)
    failure: Exception | None = None


def _write_down(results: list[Result], turned_away: list[tuple[Claim, float]]) -> Recorded:
    try:
        lost, is_open = record(results, turned_away)
    except Exception as failure:  # noqa: BLE001 - not swallowed: the courier raises it where it is heard of
        return Recorded(results, turned_away, failure=failure)
    disabled = disable_hopeless(results)
    for merchant_id, endpoint_id in disabled:
        log.warning(
            "webhook endpoint disabled", extra={"merchant_id": merchant_id, "endpoint_id": endpoint_id}
        )
    return Recorded(results, turned_away, lost, [endpoint_id for _, endpoint_id in disabled], is_open)
