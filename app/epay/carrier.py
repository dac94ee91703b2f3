"""The worker's hands for notices: claimed, sent side by side by GET, recorded as their answers come in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from app import clock
from app.addresses import Guard
from app.config import Settings
from app.epay import notices
from app.epay.notices import Errand, Outcome
from app.http import Post, Sender, Sent
from app.queue import Claim
from app.webhooks.endpoints import guard_of
from app.webhooks.hosts import HostPace, host_of

SLOTS = 24
PER_HOST_MAX = 4  # so that a shop that hangs leaves slots to the others
BEHIND_S = 2.0  # what would be one too many looks again after so long
WAIT_S = 0.05
_PLAIN_HTTP_PORT = 80


def guard_for_shops(chosen: Settings) -> Guard:
    """Where notices may go: as webhooks, and by plain HTTP too, as most of these shops have no other.

    Whoever listens in on the way learns what was bought; to forge a notice they lack the key.
    """
    guard = guard_of(chosen)
    ports = guard.ports | {_PLAIN_HTTP_PORT} if guard.ports else guard.ports
    return replace(guard, https_only=False, ports=ports)


@dataclass(frozen=True, slots=True)
class _Trip:
    errand: Errand
    started_at: datetime
    host: str


class Carrier:
    """Carries notices: call ``step`` in a loop, from one thread."""

    def __init__(self, sender: Sender, *, pace: HostPace | None = None) -> None:
        self._sender = sender
        self._pace = pace
        self._away: dict[str, _Trip] = {}
        self._outcomes: list[Outcome] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on the wire or waits to be written down."""
        return not self._away and not self._outcomes

    def step(self) -> int:
        """Claim, send, wait a moment for answers, write down.  How many claims and answers it saw.

        An exception (a database that is away) loses no outcome: they stay for the next step.
        """
        claimed = self._send_due()
        answered = self._sender.finished(WAIT_S if self._away else 0.0)
        for sent in answered:
            self._come_back(sent)
        if self._outcomes:
            notices.record(self._outcomes)
            self._outcomes = []
        return claimed + len(answered)

    def close(self) -> None:
        """Let what is on the wire end (POST_TIMEOUT_S at most), and write it down."""
        while not self.is_idle:
            for sent in self._sender.finished(WAIT_S):
                self._come_back(sent)
            if self._outcomes:
                notices.record(self._outcomes)
                self._outcomes = []

    def _send_due(self) -> int:
        if not self._sender.free:
            return 0
        errands, count = notices.claim_errands(self._sender.free)
        turned_away: list[tuple[Claim, float]] = []
        busy = Counter(trip.host for trip in self._away.values())
        for errand in errands:
            host = host_of(errand.url)
            wait_s = self._pace.wait_s(errand.url) if self._pace else 0.0
            if busy[host] >= PER_HOST_MAX:
                wait_s = max(wait_s, BEHIND_S)
            if wait_s:
                turned_away.append((errand.claim, wait_s))
                continue
            busy[host] += 1
            self._start(errand, host)
        if turned_away:
            notices.put_back(turned_away)
        return count

    def _start(self, errand: Errand, host: str) -> None:
        key = f"{errand.claim.token}/{errand.claim.subject_id}"
        self._away[key] = _Trip(errand, clock.now(), host)
        self._sender.start(Post(key, errand.url, {}, b"", method="GET"))

    def _come_back(self, sent: Sent) -> None:
        trip = self._away.pop(sent.key)
        self._outcomes.append(Outcome(trip.errand, trip.started_at, sent))


def carry_due(sender: Sender) -> None:
    """Tell everything that is due now, and wait for the outcome."""
    carrier = Carrier(sender)
    while carrier.step() or not carrier.is_idle:
        pass
