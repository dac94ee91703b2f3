"""Who goes next: endpoints side by side, so that a slow one holds up nobody but itself.

In memory and without I/O.  Every endpoint has a lane; a lane whose last answer took long is slow,
and slow lanes together get only a share of the slots.  What a lane cannot take within the lease is
turned away, to be put back into the queue.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

SLOW_S = 1.0
CAP = 4  # in flight at once to one endpoint
SLOW_CAP = 2  # so that the slow share serves several slow endpoints
HOLD_S = 10.0  # and 15 more for the exchange: well within the lease of 60
TURN_AWAY_MIN_S = 2.0
TURN_AWAY_MAX_S = 600.0
_PACE_IF_AILING_S = 5.0  # what an endpoint in trouble is taken to need, until it shows otherwise
_PACES_MAX = 10_000


@dataclass(slots=True)
class _Lane(Generic[T]):
    pace_s: float
    is_known: bool  # whether the pace was seen, not guessed
    waiting: deque[tuple[float, T]] = field(default_factory=deque)
    in_flight: int = 0
    turned_away: int = 0

    @property
    def is_slow(self) -> bool:
        return self.pace_s > SLOW_S

    @property
    def cap(self) -> int:
        return SLOW_CAP if self.is_slow else CAP


class Lanes(Generic[T]):
    """Items waiting for their turn, by lane.  ``slow_slots`` is the share of all slow lanes together."""

    def __init__(self, *, slow_slots: int) -> None:
        self._slow_slots = slow_slots
        self._lanes: dict[str, _Lane[T]] = {}  # those with somebody waiting or away
        self._paces: dict[str, float] = {}  # of the idle ones, oldest first
        self.waiting = 0

    def join(self, name: str, item: T, now_s: float, *, is_ailing: bool = False) -> None:
        """Queue up.  ``is_ailing`` says that the endpoint was failing when we last heard of it."""
        lane = self._lanes.get(name)
        if lane is None:
            pace_s = self._paces.pop(name, None)
            guess_s = _PACE_IF_AILING_S if is_ailing else 0.0
            lane = _Lane(guess_s if pace_s is None else pace_s, is_known=pace_s is not None)
            self._lanes[name] = lane
        lane.waiting.append((now_s, item))
        self.waiting += 1

    def take(self, free: int) -> list[T]:
        """Up to ``free`` items that may go now; the lanes take turns at being first."""
        taken: list[T] = []
        slow_free = self._slow_slots - sum(lane.in_flight for lane in self._lanes.values() if lane.is_slow)
        for name, lane in list(self._lanes.items()):
            room = min(lane.cap - lane.in_flight, len(lane.waiting), free - len(taken))
            if lane.is_slow:
                room = min(room, slow_free)
                slow_free -= max(room, 0)
            if room <= 0:
                continue
            taken += [lane.waiting.popleft()[1] for _ in range(room)]
            lane.in_flight += room
            self._lanes[name] = self._lanes.pop(name)
        self.waiting -= len(taken)
        return taken

    def came_back(self, name: str, took_s: float) -> None:
        """One that was taken has ended."""
        lane = self._lanes[name]
        lane.in_flight -= 1
        lane.pace_s, lane.is_known = took_s, True
        if not lane.is_slow:
            lane.turned_away = 0
        self._retire_if_idle(name)

    def is_late(self, name: str, age_s: float) -> None:
        """One that was taken has been away this long."""
        lane = self._lanes[name]
        lane.pace_s = max(lane.pace_s, age_s) if lane.is_known else age_s
        lane.is_known = True

    def is_proven(self, name: str) -> bool:
        """Whether this lane's last answer was quick; of a new one nobody knows."""
        lane = self._lanes[name]
        return lane.is_known and not lane.is_slow

    def turn_away(self, now_s: float) -> list[tuple[T, float]]:
        """Those that had better not wait here, each with the seconds after which to try again."""
        away: list[tuple[T, float]] = []
        slow_room = 4 * self._slow_slots
        for lane in self._lanes.values():
            if not lane.waiting:
                continue
            keep = len(lane.waiting)
            if lane.is_slow:
                keep = min(keep, 4 * SLOW_CAP, slow_room)
                slow_room -= keep
            if now_s - lane.waiting[0][0] > HOLD_S:
                keep = 0
            away += self._shorten(lane, keep)
        for name in list(self._lanes):
            self._retire_if_idle(name)
        return away

    def clear(self, name: str) -> list[T]:
        """Send everybody in a lane home; those that were waiting."""
        lane = self._lanes.get(name)
        if lane is None:
            return []
        items = [item for item, _ in self._shorten(lane, 0)]
        self._retire_if_idle(name)
        return items

    def clear_all(self) -> list[T]:
        """The same for every lane."""
        return [item for name in list(self._lanes) for item in self.clear(name)]

    def _shorten(self, lane: _Lane[T], keep: int) -> list[tuple[T, float]]:
        excess = len(lane.waiting) - keep
        if not excess:
            return []
        self.waiting -= excess
        lane.turned_away += excess
        # About the time that the lane would need for all it has turned away, spread out.  A pace that was
        # only guessed is none to send anybody away for minutes by.
        need_s = lane.turned_away * lane.pace_s / lane.cap if lane.is_known else 0.0
        delay_s = min(max(need_s, TURN_AWAY_MIN_S), TURN_AWAY_MAX_S)
        return [(lane.waiting.pop()[1], delay_s * random.uniform(0.5, 1.5)) for _ in range(excess)]

    def _retire_if_idle(self, name: str) -> None:
        lane = self._lanes[name]
        if lane.waiting or lane.in_flight:
            return
        del self._lanes[name]
        if lane.is_known:
            self._paces[name] = lane.pace_s
        if len(self._paces) > _PACES_MAX:
            del self._paces[next(iter(self._paces))]
