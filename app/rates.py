"""How often a caller may call: token buckets in this process's memory.

A bucket holds ``burst`` tokens and is refilled at ``per_s``; a call takes one, and without one it is
refused.  Each process counts for itself, so several of them allow several times as much, unless they count
together: see ``shared_rates.py``.  The limits keep one runaway client from crowding out the others, and
nothing's correctness rests on them.  What is kept is bounded: the caller not seen for longest is forgotten
first, which can only be to its advantage.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from app.errors import TooManyRequests

_KEPT = 10_000  # callers; a bucket takes 200 bytes
BURST_S = 2  # a full bucket holds what is refilled in two seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call may go on, and what the caller is told."""

    allowed: bool
    limit: int  # calls that a full bucket allows at once
    remaining: int
    reset_s: int  # until it is full again
    retry_after_s: int  # until there is a token


class Counts(Protocol):
    """One class of calls, counted here or elsewhere."""

    def take(self, who: str) -> Verdict:
        """Let ``who`` call once, if there is a token left."""

    def look(self, who: str) -> Verdict:
        """What ``take`` would say, without taking."""


def must_allow(counts: Counts | None, who: str) -> None:
    """Let ``who`` call once; without counts, as often as they like.  Raises TooManyRequests."""
    if counts is None:
        return
    verdict = counts.take(who)
    if not verdict.allowed:
        raise TooManyRequests("too often: wait a little", retry_after_s=verdict.retry_after_s)


class Buckets:
    """One class of calls; a bucket for each caller.  Shared by all threads."""

    def __init__(
        self, per_s: float, burst: int, *, kept: int = _KEPT, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._burst, self._kept, self._now_s = per_s, burst, kept, now_s
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when
        self._lock = threading.Lock()

    def take(self, who: str) -> Verdict:
        """Let ``who`` call once, if there is a token left."""
        return self._judge(who, 1)

    def look(self, who: str) -> Verdict:
        """What ``take`` would say, without taking."""
        return self._judge(who, 0)

    def _judge(self, who: str, taken: int) -> Verdict:
        now_s = self._now_s()
        with self._lock:
            level, since_s = self._levels.get(who, (float(self._burst), now_s))
            level = min(float(self._burst), level + (now_s - since_s) * self._per_s)
            allowed = level >= 1
            if taken:
                level -= taken if allowed else 0
                self._levels[who] = level, now_s
                self._levels.move_to_end(who)
                if len(self._levels) > self._kept:
                    self._levels.popitem(last=False)
        return verdict_of(level, self._burst, self._per_s, allowed=allowed)


@dataclass(frozen=True, slots=True)
class Rates:
    """The buckets of the API.  None where the operator sets no limit."""

    reads: Counts | None
    writes: Counts | None
    batches: Counts | None
    failures: Counts | None  # calls without a valid key, by address
    misses: Counts | None  # addresses that no printed code has, by who tries them
    payments: Counts | None  # charges begun at a printed code, by visitor and code


# The class's name, how many tokens come back in a second, how many there are at most.
MakeCounts = Callable[[str, float, int], Counts]


def in_memory(_name: str, per_s: float, burst: int) -> Counts:
    """Counted by this process, for itself."""
    return Buckets(per_s, burst)


def rates_of(
    *,
    reads_per_s: int,
    writes_per_s: int,
    failures_per_min: int,
    payments_per_min: int = 0,
    make: MakeCounts = in_memory,
) -> Rates:
    """Buckets for these limits; 0 is none."""

    def by_minute(name: str, per_min: int) -> Counts | None:
        return make(name, per_min / 60, per_min) if per_min else None

    return Rates(
        reads=make("reads", reads_per_s, reads_per_s * BURST_S) if reads_per_s else None,
        writes=make("writes", writes_per_s, writes_per_s * BURST_S) if writes_per_s else None,
        # A batch makes up to a thousand charges: at a hundredth of the rate it still makes more of them.
        batches=make("batches", writes_per_s / 100, 5) if writes_per_s else None,
        failures=by_minute("failures", failures_per_min),
        misses=by_minute("misses", failures_per_min),
        payments=by_minute("payments", payments_per_min),
    )


def verdict_of(level: float, burst: int, per_s: float, *, allowed: bool) -> Verdict:
    """What a caller is told whose bucket holds ``level`` tokens after this call.  Pure."""
    return Verdict(
        allowed,
        burst,
        int(level),
        math.ceil((burst - level) / per_s),
        0 if allowed else max(1, math.ceil((1 - level) / per_s)),
    )


def place_of(address: str) -> str:
    """Who is behind an address: itself, or its /64, all of which belongs to one subscriber.  Pure.

    ``"2001:db8::1:2" -> "2001:db8::"``; ``"::ffff:192.0.2.1" -> "192.0.2.1"``
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
