"""Counts of a trial, kept in memory as ``risk_counts`` reads them from the books.

A trial has one rule, which asks one kind of question.  So what was begun is counted by the key that the rule
looks at, and only where that is one too many is the rule itself asked: a hundred thousand attempts pass here.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from app.charges.past import Key, Past
from app.clock import day_number
from app.merchants.risk import DAY_TOTALS, Facts, Rule, Tally, Terms, limits_of

Judge = Callable[[Past, Tally], Facts | None]  # what the rule says when it is told this count

_NONE = (0, 0)
_NOTHING = Tally()


class Recount(Protocol):
    """What was begun so far and not stopped.  Attempts come in their order."""

    def matched(self, past: Past) -> Tally | None:
        """What the books would have counted, if that is too much; None: the rule does not match.

        Only of an attempt that has a key.
        """

    def add(self, past: Past) -> None:
        """That this one was begun."""


def recount_of(rule: Rule, judge: Judge) -> Recount:
    """The one that counts what this rule asks for."""
    if rule.kind in DAY_TOTALS:
        return _Days(rule.terms)
    if rule.terms.window_s is not None:
        return _Window(rule.terms, timedelta(seconds=rule.terms.window_s))
    return _Alone(judge)


class _Days:
    """Paid since the beginning of the day, or still open.  A charge counts once for each key."""

    def __init__(self, terms: Terms) -> None:
        self._most, self._most_minor = limits_of(terms)
        # Charges and their amounts.  Tuples of numbers, and not lists, are nothing to a garbage collector.
        self._paid: dict[tuple[Key, int], tuple[int, int]] = {}  # by day
        self._open: dict[Key, tuple[int, int]] = {}
        self._tries: dict[str, list[Key]] = {}  # by charge, one for each attempt that is open
        self._ends: list[tuple[datetime, str, Past]] = []  # a heap

    def matched(self, past: Past) -> Tally | None:
        began, _, _, _, key, charge_id, minor, _, _ = past
        ends = self._ends
        while ends and ends[0][0] <= began:
            self._end(heapq.heappop(ends)[2])
        paid, paid_minor = self._paid.get((key, day_number(began)), _NONE)
        waiting, waiting_minor = self._open.get(key, _NONE)
        count, total = paid + waiting, paid_minor + waiting_minor
        if key in self._tries.get(charge_id, ()):
            count, total = count - 1, total - minor
        if count < self._most and total + minor <= self._most_minor:
            return None
        return Tally(count, total)

    def add(self, past: Past) -> None:
        _, attempt_id, ended, _, key, charge_id, minor, _, _ = past
        if key is not None:
            tries = self._tries.setdefault(charge_id, [])
            if key not in tries:
                self._move(key, 1, minor)
            tries.append(key)
        if ended is not None:
            heapq.heappush(self._ends, (ended, attempt_id, past))

    def _end(self, past: Past) -> None:
        """An attempt came to its end: money of that day, or nothing, unless another is open."""
        tries = self._tries.get(past.charge_id, [])
        if past.settles and past.paid_at is not None:
            for key in set(tries):
                self._move(key, -1, -past.amount_minor)
            tries.clear()
            of_day = past.key, day_number(past.paid_at)
            count, total = self._paid.get(of_day, _NONE)
            self._paid[of_day] = count + 1, total + past.amount_minor
        elif past.key in tries:
            tries.remove(past.key)
            if past.key not in tries:
                self._move(past.key, -1, -past.amount_minor)
        if not tries:
            self._tries.pop(past.charge_id, None)

    def _move(self, key: Key, charges: int, minor: int) -> None:
        waiting, waiting_minor = self._open.get(key, _NONE)
        if waiting + charges:
            self._open[key] = waiting + charges, waiting_minor + minor
        else:
            self._open.pop(key, None)


class _Window:
    """Charges by when they were begun; the left edge only moves on."""

    def __init__(self, terms: Terms, length: timedelta) -> None:
        self._most, _ = limits_of(terms)
        self._length = length
        self._begun: defaultdict[Key, deque[tuple[datetime, str]]] = defaultdict(deque)
        self._times: defaultdict[Key, dict[str, int]] = defaultdict(dict)  # how often, by charge

    def matched(self, past: Past) -> Tally | None:
        key, charge_id = past.key, past.charge_id
        begun, times = self._begun[key], self._times[key]
        since = past.started_at - self._length
        while begun and begun[0][0] <= since:
            _, gone = begun.popleft()
            times[gone] -= 1
            if not times[gone]:
                del times[gone]
        count = len(times) - (charge_id in times)
        return None if count < self._most else Tally(count)

    def add(self, past: Past) -> None:
        key, charge_id = past.key, past.charge_id
        if key is None:
            return
        self._begun[key].append((past.started_at, charge_id))
        times = self._times[key]
        times[charge_id] = times.get(charge_id, 0) + 1


class _Alone:
    """Of a rule that counts nothing: what it looks at decides, and so it is asked once about each."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[Key, bool] = {}

    def matched(self, past: Past) -> Tally | None:
        known = self._known.get(past.key)
        if known is None:
            known = self._known[past.key] = self._judge(past, _NOTHING) is not None
        return _NOTHING if known else None

    def add(self, past: Past) -> None:
        """Nobody asks for it."""
