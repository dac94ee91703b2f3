"""What a rule would have stopped in the last weeks, had it been in force: a trial that changes nothing.

The attempts of that time are gone through in their order and judged by the very functions that judge when
somebody begins to pay; only the counts come from memory.  What the rule would have stopped counts for
nothing from then on, as it would not have been begun; and a charge that it holds stays held.
"""

from __future__ import annotations

import heapq
from collections import Counter as Times
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from app.charges.commands import EXPIRES_IN_S_MAX
from app.charges.past import ATTEMPTS_MAX, TOTALS, Past, of_its_sort, past_of
from app.charges.screening import place_key
from app.clock import day_of, start_of
from app.db import moment, snapshot
from app.merchants.risk import (
    Action,
    Ask,
    Count,
    Facts,
    On,
    Rule,
    Start,
    Tally,
    is_digest,
    judge,
    network_of,
    places_in,
)

DAYS = 30
EXAMPLES_MAX = 20

_DAYS = (Count.DAY, Count.CODE_DAY, Count.PAYER_DAY)
_Sort = tuple[Count, str, int, int, int]  # what a rule counts together


@dataclass(frozen=True, slots=True)
class Example:
    """A charge that would have been stopped; ``paid_at`` if it was paid all the same."""

    charge_id: str
    at: datetime
    amount_minor: int
    paid_at: datetime | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class Sum:
    """Charges and what they ask for, in one currency."""

    currency: str
    count: int = 0
    minor: int = 0


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a trial found.

    ``judged`` are charges that somebody began to pay since ``since``; ``stopped`` those of them that the
    rule would have stopped at least once; ``lost`` those that were paid by an attempt which it would have
    stopped: money that would not have come.  ``is_whole``: all of the time that was asked for.
    """

    since: datetime
    until: datetime
    is_whole: bool
    judged: int
    stopped: tuple[Sum, ...]
    lost: tuple[Sum, ...]
    examples: tuple[Example, ...]


def rehearse(merchant_id: str, rule: Rule, *, livemode: bool, days: int = DAYS) -> Rehearsal:
    """Try a rule on the last days, whatever its dates.  Two statements; ATTEMPTS_MAX bounds the memory."""
    places = places_of(merchant_id, rule)
    with snapshot() as connection:
        now = moment(connection)
        since = start_of(day_of(now - timedelta(days=days)))
        span = {"since": since, "made_since": since - timedelta(seconds=EXPIRES_IN_S_MAX)}
        of_whom = {"merchant_id": merchant_id, "livemode": livemode, **span}
        attempts, judged, first = connection.execute(TOTALS, of_whom).one()
        rows = [tuple(row) for row in connection.execute(of_its_sort(rule), of_whom).all()]
    rows.sort()  # by when they were begun, then by their ids
    is_whole = attempts < ATTEMPTS_MAX
    found = replay(rule, map(past_of, rows), places, since=since if is_whole else first, until=now)
    return replace(found, is_whole=is_whole, judged=judged)


def replay(
    rule: Rule,
    past: Iterable[Past],
    places: Mapping[str, str],
    *,
    since: datetime,
    until: datetime,
) -> Rehearsal:
    """The same of these attempts in their order; ``places`` are addresses by digest.  Pure."""
    memory = Memory()
    judged: set[str] = set()
    stopped: dict[str, tuple[Past, Facts]] = {}  # by charge, the first time
    is_review = rule.action is Action.REVIEW
    lost: list[Past] = []
    for each in past:
        judged.add(each.charge_id)
        is_stopped = is_review and each.charge_id in stopped
        if not is_stopped:
            facts = judge(rule, _start_of(each, places), partial(memory.count, each))
            if facts is not None:
                is_stopped = True
                stopped.setdefault(each.charge_id, (each, facts))
        if is_stopped and each.settles:
            lost.append(each)
        if not is_stopped or rule.action is Action.NOTE:
            memory.add(each)
    latest = sorted(stopped.values(), key=lambda stop: stop[0].started_at, reverse=True)[:EXAMPLES_MAX]
    return Rehearsal(
        since=since,
        until=until,
        is_whole=True,
        judged=len(judged),
        stopped=_sums(each for each, _ in stopped.values()),
        lost=_sums(lost),
        examples=tuple([_example(each, facts) for each, facts in latest]),
    )


def places_of(merchant_id: str, rule: Rule) -> dict[str, str]:
    """The addresses that a block list covers, by their digests, which are all that the past keeps of them."""
    if rule.terms.on is not On.ADDRESS:
        return {}
    networks = [network_of(entry) for entry in rule.terms.entries if not is_digest(entry)]
    places = (place for network in networks for place in _places_in(network))
    return {place_key(merchant_id, place): place for place in places}


class Memory:
    """What was begun so far and not stopped, counted as ``risk_counts`` counts it in the books."""

    def __init__(self) -> None:
        self._open: defaultdict[_Sort, dict[str, int]] = defaultdict(dict)  # amounts by charge
        self._open_sums: Times[_Sort] = Times()
        self._sorts_of: defaultdict[str, list[_Sort]] = defaultdict(list)  # one for each open attempt
        self._ends: list[tuple[datetime, str, Past, _Sort]] = []
        self._paid: defaultdict[tuple[_Sort, datetime], list[int]] = defaultdict(lambda: [0, 0])
        self._windows: defaultdict[_Sort, _Window] = defaultdict(_Window)
        self._asked: tuple[Past, Ask] | None = None  # about the start that was judged last

    def count(self, start: Past, ask: Ask) -> Tally:
        """What the books would have answered at that moment."""
        sort, self._asked = _sort_of(ask), (start, ask)
        if ask.of not in _DAYS:
            return Tally(self._windows[sort].count(ask.since, start.charge_id))
        while self._ends and self._ends[0][0] <= start.started_at:
            self._end(*heapq.heappop(self._ends)[2:])
        count, total = self._paid[sort, ask.since]
        mine, waiting = self._open[sort].get(start.charge_id), self._open[sort]
        count += len(waiting) - (mine is not None)
        return Tally(count, total + self._open_sums[sort] - (mine or 0))

    def add(self, start: Past) -> None:
        """That this one was begun, if something was asked to judge it: then it is of the sort that counts."""
        if self._asked is None or self._asked[0] is not start:
            return
        ask = self._asked[1]
        sort = _sort_of(ask)
        if ask.of not in _DAYS:
            self._windows[sort].add(start.started_at, start.charge_id)
            return
        if start.charge_id not in self._open[sort]:
            self._open[sort][start.charge_id] = start.amount_minor
            self._open_sums[sort] += start.amount_minor
        self._sorts_of[start.charge_id].append(sort)
        if start.finished_at is not None:
            heapq.heappush(self._ends, (start.finished_at, start.attempt_id, start, sort))

    def _end(self, start: Past, sort: _Sort) -> None:
        """An attempt came to its end: money of that day, or nothing, unless another is open."""
        sorts = self._sorts_of[start.charge_id]
        if start.settles and start.paid_at is not None:
            for other in set(sorts):
                self._close(other, start.charge_id)
            sorts.clear()
            paid = self._paid[sort, start_of(day_of(start.paid_at))]
            paid[0] += 1
            paid[1] += start.amount_minor
        elif sort in sorts:
            sorts.remove(sort)
            if sort not in sorts:
                self._close(sort, start.charge_id)

    def _close(self, sort: _Sort, charge_id: str) -> None:
        self._open_sums[sort] -= self._open[sort].pop(charge_id, 0)


class _Window:
    """Charges by when they were begun; the left edge only moves on."""

    def __init__(self) -> None:
        self._whens: list[tuple[datetime, str]] = []
        self._times: Times[str] = Times()

    def add(self, when: datetime, charge_id: str) -> None:
        heapq.heappush(self._whens, (when, charge_id))
        self._times[charge_id] += 1

    def count(self, since: datetime, charge_id: str) -> int:
        """How many others there are after ``since``."""
        while self._whens and self._whens[0][0] <= since:
            _, gone = heapq.heappop(self._whens)
            self._times[gone] -= 1
            if not self._times[gone]:
                del self._times[gone]
        return len(self._times) - (charge_id in self._times)


def _sort_of(ask: Ask) -> _Sort:
    return ask.of, ask.key, ask.low_minor, ask.high_minor, ask.step_minor


def _sums(past: Iterable[Past]) -> tuple[Sum, ...]:
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for each in past:
        so_far = sums[each.currency]
        so_far[0] += 1
        so_far[1] += each.amount_minor
    return tuple([Sum(currency, count, minor) for currency, (count, minor) in sums.items()])


def _example(each: Past, facts: Facts) -> Example:
    return Example(each.charge_id, each.started_at, each.amount_minor, each.paid_at, facts)


def _places_in(network: IPv4Network | IPv6Network) -> Iterator[str]:
    if isinstance(network, IPv6Network):
        first = int(network.network_address)
        return (str(IPv6Address(first + (number << 64))) for number in range(places_in(network)))
    return map(str, network)


def _start_of(each: Past, places: Mapping[str, str]) -> Start:
    """What a rule sees of it."""
    return Start(
        at=each.started_at,
        charge_id=each.charge_id,
        amount_minor=each.amount_minor,
        currency=each.currency,
        by_shopper=each.by_shopper,
        code_id=each.code_id,
        order_no=each.order_no,
        address=places.get(each.address_key or ""),
        address_key=each.address_key,
        device_key=each.device_key,
        payer_key=each.payer_key,
    )
