"""Rules about who may begin to pay, and whether one of them speaks against a payment.  Pure.

A rule asks for at most one count, and says by it whether it matches.  Where the count comes from is the
caller's: the books as they stand when somebody begins to pay, or the last weeks run through again when a
rule is tried.  Both judge by these functions, so that what a trial says is what the rule would have done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from math import inf
from typing import Any, NamedTuple

from app.clock import day_of, start_of
from app.errors import InvalidRequest
from app.money import EXPONENTS, MINOR_MAX

WINDOW_S_MIN, WINDOW_S_MAX = 60, 86400
COUNT_MAX = 1_000_000
ENTRIES_MAX, ENTRY_CHARS_MAX = 200, 64
# A list is tried on the past by the digests of its addresses, one by one: as many as an IPv4 /16 has.
PLACES_MAX = 65_536
PATTERN_STARS_MAX = 3
_PLACE_BITS = 64  # of IPv6: a subscriber has all of it
_MAPPED_BITS = 96  # of IPv6: before an address of IPv4 written in it
_HEX = frozenset("0123456789abcdef")


class RuleKind(StrEnum):
    """What a rule looks at."""

    PAYMENT_AMOUNT = "payment_amount"  # one payment is too small or too large
    DAY_TOTAL = "day_total"  # what the shop takes in a day
    CODE_DAY_TOTAL = "code_day_total"  # what one printed code takes in a day
    PAYER_DAY_TOTAL = "payer_day_total"  # what one payer pays in a day, where the wallet names them
    ADDRESS_PACE = "address_pace"  # how fast one address begins payments at open-amount codes
    DEVICE_PACE = "device_pace"  # how fast one browser does
    REPEATED_AMOUNT = "repeated_amount"  # one odd amount, typed again and again
    ROUND_AMOUNTS = "round_amounts"  # a series of round amounts
    JUST_BELOW = "just_below"  # amounts that keep just below a limit
    BLOCK_LIST = "block_list"


class Action(StrEnum):
    """What happens to a payment that a rule matches, the weakest first."""

    NOTE = "note"  # it goes on, and the match is kept
    REVIEW = "review"  # it waits until a person releases it
    BLOCK = "block"


class On(StrEnum):
    """What a block list names."""

    ADDRESS = "address"
    DEVICE = "device"
    PAYER = "payer"
    CODE = "code"
    ORDER = "order"  # patterns of the merchant's own order numbers


class Count(StrEnum):
    """What is counted: payments of a day that were paid or may still be, or beginnings within a window."""

    DAY = "day"
    CODE_DAY = "code_day"
    PAYER_DAY = "payer_day"
    ADDRESS = "address"
    DEVICE = "device"
    AMOUNTS = "amounts"  # between low and high, and multiples of step


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers of a rule; which of them a kind has is in FIELDS."""

    min_amount_minor: int | None = None
    max_amount_minor: int | None = None
    max_sum_minor: int | None = None
    max_count: int | None = None
    window_s: int | None = None
    step_minor: int | None = None
    margin_minor: int | None = None
    on: On | None = None
    entries: tuple[str, ...] = ()

    def stored(self) -> dict[str, Any]:
        """For the table and the API: what is set, amounts without their suffix.  Pure."""
        return {
            name.removesuffix("_minor"): list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None and value != ()
        }


NAMES = {field.name.removesuffix("_minor"): field.name for field in fields(Terms)}


def read_terms(stored: dict[str, Any]) -> Terms:
    """The way back.  Pure."""
    values = {NAMES[name]: value for name, value in stored.items()}
    if "on" in values:
        values["on"] = On(values["on"])
    return Terms(**{**values, "entries": tuple(values.get("entries", ()))})


@dataclass(frozen=True, slots=True)
class Fields:
    """Which terms a kind must have, and of which it must have at least one."""

    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return self.one_of + self.needs


_TOTAL = Fields(one_of=("max_sum_minor", "max_count"))
_PACE = Fields(needs=("max_count", "window_s"))
FIELDS: dict[RuleKind, Fields] = {
    RuleKind.PAYMENT_AMOUNT: Fields(one_of=("min_amount_minor", "max_amount_minor")),
    RuleKind.DAY_TOTAL: _TOTAL,
    RuleKind.CODE_DAY_TOTAL: _TOTAL,
    RuleKind.PAYER_DAY_TOTAL: _TOTAL,
    RuleKind.ADDRESS_PACE: _PACE,
    RuleKind.DEVICE_PACE: _PACE,
    RuleKind.REPEATED_AMOUNT: _PACE,
    RuleKind.ROUND_AMOUNTS: Fields(needs=("step_minor", "max_count", "window_s")),
    RuleKind.JUST_BELOW: Fields(needs=("max_amount_minor", "margin_minor", "max_count", "window_s")),
    RuleKind.BLOCK_LIST: Fields(needs=("on", "entries")),
}
# Where shoppers type the amount: a price list repeats itself, and everybody in a shop shares its address.
OPEN_AMOUNTS = frozenset(
    {
        RuleKind.ADDRESS_PACE,
        RuleKind.DEVICE_PACE,
        RuleKind.REPEATED_AMOUNT,
        RuleKind.ROUND_AMOUNTS,
        RuleKind.JUST_BELOW,
    }
)
DAY_TOTALS = {
    RuleKind.DAY_TOTAL: Count.DAY,
    RuleKind.CODE_DAY_TOTAL: Count.CODE_DAY,
    RuleKind.PAYER_DAY_TOTAL: Count.PAYER_DAY,
}
_LIMITS = {"max_count": (0, COUNT_MAX), "window_s": (WINDOW_S_MIN, WINDOW_S_MAX)}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.  Building it checks it: raises InvalidRequest naming the field."""

    kind: RuleKind
    action: Action
    terms: Terms
    currency: str = "CNY"
    name: str = ""
    id: str = ""
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def __post_init__(self) -> None:
        if self.currency not in EXPONENTS:
            raise InvalidRequest(f"{self.currency[:8]!r} is not a currency we know", param="currency")
        if self.valid_from and self.valid_until and self.valid_until <= self.valid_from:
            raise InvalidRequest("a rule ends after it has begun", param="valid_until")
        _check(self.kind, self.terms)

    def is_in_force(self, at: datetime) -> bool:
        """Whether its dates allow it."""
        return (self.valid_from is None or self.valid_from <= at) and (
            self.valid_until is None or at < self.valid_until
        )


class Start(NamedTuple):
    """A payment that somebody is about to begin, as far as rules look at it.

    ``address`` is known while it happens; what is kept of it, of a device and of a payer are digests.
    """

    at: datetime
    charge_id: str
    amount_minor: int
    currency: str
    by_shopper: bool = False  # the amount was typed at an open-amount code
    code_id: str | None = None
    order_no: str | None = None
    address: str | None = None
    address_key: str | None = None
    device_key: str | None = None
    payer_key: str | None = None


class Ask(NamedTuple):
    """What must be counted, without the charge of the start itself."""

    of: Count
    since: datetime
    currency: str
    key: str = ""
    low_minor: int = 0
    high_minor: int = MINOR_MAX
    step_minor: int = 1


@dataclass(frozen=True, slots=True)
class Tally:
    """The answer: how many charges, and what they ask for together."""

    count: int = 0
    sum_minor: int = 0


Facts = dict[str, Any]  # what matched, for people: numbers and words, by the names of the API
Counter = Callable[[Ask], Tally]


def judge(rule: Rule, start: Start, count: Counter) -> Facts | None:
    """What of this start the rule matches; None: nothing.  Its dates are the caller's.  Pure, if count is."""
    if rule.kind is RuleKind.BLOCK_LIST:
        entry = _listed(rule.terms, start)
        return None if entry is None else {"on": rule.terms.on, "entry": entry}
    if rule.currency != start.currency:
        return None
    if rule.kind is RuleKind.PAYMENT_AMOUNT:
        return _of_amount(rule.terms, start)
    ask = ask_of(rule, start)
    return None if ask is None else _above(rule.terms, start, ask, count(ask))


def ask_of(rule: Rule, start: Start) -> Ask | None:
    """What must be counted to judge this start: the others of its own sort.  Pure.  None: it has none."""
    if rule.currency != start.currency or (rule.kind in OPEN_AMOUNTS and not start.by_shopper):
        return None
    terms, amount = rule.terms, start.amount_minor
    if rule.kind in DAY_TOTALS:
        of, key = DAY_TOTALS[rule.kind], _key_of(rule.kind, start)
        return None if key is None else Ask(of, start_of(day_of(start.at)), start.currency, key)
    if terms.window_s is None:
        return None
    since = start.at - timedelta(seconds=terms.window_s)
    if rule.kind in _PACES:
        key = _key_of(rule.kind, start)
        return None if key is None else Ask(_PACES[rule.kind], since, start.currency, key)
    match rule.kind:
        case RuleKind.REPEATED_AMOUNT if amount % 10 ** EXPONENTS[start.currency]:
            low, high, step = amount, amount, 1
        case RuleKind.ROUND_AMOUNTS if terms.step_minor and amount % terms.step_minor == 0:
            low, high, step = 0, MINOR_MAX, terms.step_minor
        case RuleKind.JUST_BELOW if terms.max_amount_minor and terms.margin_minor:
            low, high, step = terms.max_amount_minor - terms.margin_minor, terms.max_amount_minor - 1, 1
        case _:
            return None
    return Ask(Count.AMOUNTS, since, start.currency, "", low, high, step) if low <= amount <= high else None


def limits_of(terms: Terms) -> tuple[float, float]:
    """How many charges there may be and what they may ask for together, or no end of it.  Pure."""
    return (
        inf if terms.max_count is None else terms.max_count,
        inf if terms.max_sum_minor is None else terms.max_sum_minor,
    )


def strongest(actions: list[Action]) -> Action | None:
    """What is done where several rules match.  Pure."""
    return max(actions, key=list(Action).index, default=None)


def network_of(entry: str) -> IPv4Network | IPv6Network:
    """``"203.0.113.9" -> 203.0.113.9/32``; of IPv6 at least a subscriber's /64.  Raises ValueError.

    ``"::ffff:203.0.113.9" -> 203.0.113.9/32``, as ``rates.place_of`` has it.
    """
    network = ip_network(entry, strict=False)
    if not isinstance(network, IPv6Network):
        return network
    mapped = network.network_address.ipv4_mapped
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    if network.prefixlen > _PLACE_BITS:
        return network.supernet(new_prefix=_PLACE_BITS)
    return network


def places_in(network: IPv4Network | IPv6Network) -> int:
    """How many subscribers' addresses it covers.  Pure."""
    bits = _PLACE_BITS if isinstance(network, IPv6Network) else 32
    return int(2 ** (bits - network.prefixlen))


def is_digest(entry: str) -> bool:
    """Whether a list's entry is a digest of an address, device or payer, as a decision shows them."""
    return len(entry) in (32, 64) and _HEX.issuperset(entry)


_PACES = {RuleKind.ADDRESS_PACE: Count.ADDRESS, RuleKind.DEVICE_PACE: Count.DEVICE}


def _key_of(kind: RuleKind, start: Start) -> str | None:
    match kind:
        case RuleKind.CODE_DAY_TOTAL:
            return start.code_id
        case RuleKind.PAYER_DAY_TOTAL:
            return start.payer_key
        case RuleKind.ADDRESS_PACE:
            return start.address_key
        case RuleKind.DEVICE_PACE:
            return start.device_key
        case _:
            return ""


def _of_amount(terms: Terms, start: Start) -> Facts | None:
    least, most = terms.min_amount_minor, terms.max_amount_minor
    if least is not None and start.amount_minor < least:
        return {"amount": start.amount_minor, "min_amount": least}
    if most is not None and start.amount_minor > most:
        return {"amount": start.amount_minor, "max_amount": most}
    return None


def _above(terms: Terms, start: Start, ask: Ask, tally: Tally) -> Facts | None:
    """Whether this start would be one too many, or too much."""
    count, total = tally.count + 1, tally.sum_minor + start.amount_minor
    most, most_minor = limits_of(terms)
    too_many, too_much = count > most, total > most_minor
    if not too_many and not too_much:
        return None
    facts: Facts = {"amount": start.amount_minor, "count": count}
    facts |= {"max_count": terms.max_count} if too_many else {}
    if terms.window_s is not None:
        return facts | {"window_s": terms.window_s}
    facts |= {"sum": total} | ({"max_sum": terms.max_sum_minor} if too_much else {})
    return facts | {"day": day_of(start.at).isoformat()}


def _listed(terms: Terms, start: Start) -> str | None:
    """The entry that names this start."""
    match terms.on:
        case On.ADDRESS:
            return _entry_of_address(terms.entries, start)
        case On.ORDER:
            number = start.order_no
            return next((each for each in terms.entries if number and fits(each, number)), None)
        case On.DEVICE:
            key = start.device_key
        case On.PAYER:
            key = start.payer_key
        case _:
            key = start.code_id
    return key if key is not None and key in terms.entries else None


def _entry_of_address(entries: tuple[str, ...], start: Start) -> str | None:
    if start.address_key is not None and start.address_key in entries:
        return start.address_key
    try:
        here = ip_address(start.address or "")
    except ValueError:  # unknown, or a proxy's own word for it
        return None
    return next((entry for entry, network in _networks(entries) if here in network), None)


def fits(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, in which ``*`` stands for anything.  Pure.

    ``("TEST-*", "TEST-7") -> True``.  Linear, whatever the two look like.
    """
    head, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, tail = rest
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@lru_cache(maxsize=256)
def _networks(entries: tuple[str, ...]) -> tuple[tuple[str, IPv4Network | IPv6Network], ...]:
    return tuple([(entry, network_of(entry)) for entry in entries if not is_digest(entry)])


def _check(kind: RuleKind, terms: Terms) -> None:
    """Raises InvalidRequest."""
    given = {name for name in NAMES.values() if getattr(terms, name) not in (None, ())}
    wanted = FIELDS[kind]
    for name in sorted(given - set(wanted.all)):
        raise InvalidRequest(f"a rule of the kind {kind} has no such term", param=_param(name))
    for name in wanted.needs:
        if name not in given:
            raise InvalidRequest("this kind of rule needs it", code="parameter_missing", param=_param(name))
    if wanted.one_of and not given & set(wanted.one_of):
        names = " or ".join(map(_short, wanted.one_of))
        raise InvalidRequest(f"say {names}", code="parameter_missing", param=_param(wanted.one_of[0]))
    for name in sorted(given - {"on", "entries"}):
        least, most = _LIMITS.get(name, (1, MINOR_MAX))
        if not least <= getattr(terms, name) <= most:
            raise InvalidRequest(f"is {least} to {most}", param=_param(name))
    _check_pairs(kind, terms)
    if terms.on is not None:
        _check_entries(terms.on, terms.entries)


def _check_pairs(kind: RuleKind, terms: Terms) -> None:
    least, most = terms.min_amount_minor, terms.max_amount_minor
    if least is not None and most is not None and least > most:
        raise InvalidRequest("is below the least amount", param=_param("max_amount_minor"))
    if kind is RuleKind.JUST_BELOW and (terms.margin_minor or 0) >= (most or 0):
        raise InvalidRequest("is less than the amount", param=_param("margin_minor"))
    if kind in (RuleKind.ADDRESS_PACE, RuleKind.DEVICE_PACE) and terms.max_count == 0:
        raise InvalidRequest(f"is 1 to {COUNT_MAX}", param=_param("max_count"))


def _check_entries(on: On, entries: tuple[str, ...]) -> None:
    if len(entries) > ENTRIES_MAX:
        raise InvalidRequest(f"a list has at most {ENTRIES_MAX} entries", param=_param("entries"))
    places = 0
    for entry in entries:
        if not 1 <= len(entry) <= ENTRY_CHARS_MAX or not entry.isascii() or not entry.isprintable():
            raise InvalidRequest(f"an entry has 1 to {ENTRY_CHARS_MAX} characters", param=_param("entries"))
        if on is On.ADDRESS and not is_digest(entry):
            try:
                places += places_in(network_of(entry))
            except ValueError:
                text = f"{entry!r} is neither an address nor a range"
                raise InvalidRequest(text, param=_param("entries")) from None
        elif on in (On.DEVICE, On.PAYER) and not is_digest(entry):
            raise InvalidRequest(f"{entry!r} is no digest of a decision's", param=_param("entries"))
        elif on is On.ORDER and (entry.count("*") > PATTERN_STARS_MAX or not entry.strip("*")):
            raise InvalidRequest(f"{entry!r} is no pattern of order numbers", param=_param("entries"))
    if places > PLACES_MAX:
        raise InvalidRequest(f"a list covers at most {PLACES_MAX} addresses", param=_param("entries"))


def _short(name: str) -> str:
    return name.removesuffix("_minor")


def _param(name: str) -> str:
    return f"terms.{_short(name)}"
