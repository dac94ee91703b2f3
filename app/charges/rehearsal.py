"""What a rule would have stopped in the last weeks, had it been in force: a trial that changes nothing.

The attempts of that time are gone through in their order.  Counts come from memory, and where they are too
much the rule is asked by the very function that judges when somebody begins to pay.  What the rule would
have stopped counts for nothing from then on, as it would not have been begun; and a charge that it holds
stays held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nlargest
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any

from app.charges.commands import EXPIRES_IN_S_MAX
from app.charges.past import Past, Read, looked_at, read
from app.charges.recount import recount_of
from app.charges.screening import place_key
from app.clock import day_of, start_of
from app.db import moment, reading
from app.merchants.risk import (
    Action,
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
    """Try a rule on the last days, whatever its dates.  One statement; ATTEMPTS_MAX bounds the memory."""
    places = places_of(merchant_id, rule)
    with reading() as connection:
        now = moment(connection)
        since = start_of(day_of(now - timedelta(days=days)))
        span = {"since": since, "made_since": since - timedelta(seconds=EXPIRES_IN_S_MAX)}
        found = read(connection, rule, {"merchant_id": merchant_id, "livemode": livemode, **span})
    return replay(rule, found, places, since=since, until=now)


def replay(
    rule: Rule, found: Read, places: Mapping[str, str], *, since: datetime, until: datetime
) -> Rehearsal:
    """The same of what was read; ``places`` are addresses by digest.  Pure."""

    def facts_of(each: Past, tally: Tally) -> Facts | None:
        return judge(rule, _start_of(rule, each, places), lambda _: tally)

    recount = recount_of(rule, facts_of)
    is_review, is_note = rule.action is Action.REVIEW, rule.action is Action.NOTE
    stopped: dict[str, tuple[Past, Tally]] = {}  # by charge, the first time
    lost: list[Past] = []
    for each in found.past:
        charge_id = each.charge_id
        is_stopped = is_review and charge_id in stopped
        if not is_stopped and each.key is not None:
            tally = recount.matched(each)
            if tally is not None:
                is_stopped = True
                stopped.setdefault(charge_id, (each, tally))
        if is_stopped and each.settles:
            lost.append(each)
        if is_note or not is_stopped:
            recount.add(each)
    latest = nlargest(EXAMPLES_MAX, stopped.values(), key=lambda stop: stop[0].started_at)
    return Rehearsal(
        since=since if found.is_whole else found.first or since,
        until=until,
        is_whole=found.is_whole,
        judged=found.judged,
        stopped=_sums(each for each, _ in stopped.values()),
        lost=_sums(lost),
        examples=tuple([_example(each, facts_of(each, tally)) for each, tally in latest]),
    )


def places_of(merchant_id: str, rule: Rule) -> dict[str, str]:
    """The addresses that a block list covers, by their digests, which are all that the past keeps of them."""
    if rule.terms.on is not On.ADDRESS:
        return {}
    networks = [network_of(entry) for entry in rule.terms.entries if not is_digest(entry)]
    places = (place for network in networks for place in _places_in(network))
    return {place_key(merchant_id, place): place for place in places}


def _sums(past: Iterable[Past]) -> tuple[Sum, ...]:
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for each in past:
        so_far = sums[each.currency]
        so_far[0] += 1
        so_far[1] += each.amount_minor
    return tuple([Sum(currency, count, minor) for currency, (count, minor) in sums.items()])


def _example(each: Past, facts: Facts | None) -> Example:
    """Raises ValueError if the rule does not say what was counted for it: then one of the two is wrong."""
    if facts is None:
        raise ValueError("a trial stopped what its rule does not match")
    return Example(each.charge_id, each.started_at, each.amount_minor, each.paid_at, facts)


def _places_in(network: IPv4Network | IPv6Network) -> Iterator[str]:
    if isinstance(network, IPv6Network):
        first = int(network.network_address)
        return (str(IPv6Address(first + (number << 64))) for number in range(places_in(network)))
    return map(str, network)


def _start_of(rule: Rule, each: Past, places: Mapping[str, str]) -> Start:
    """What a rule sees of it.  Where it matters who typed the amount, only what shoppers typed was read."""
    seen: dict[str, Any] = {"amount_minor": each.amount_minor, "by_shopper": True}
    name = looked_at(rule)
    if name is not None:
        seen[name] = each.key
    if name == "address_key":
        seen["address"] = places.get(str(each.key))
    return Start(each.started_at, each.charge_id, currency=each.currency, **seen)
