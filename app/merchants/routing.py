"""Which of a merchant's accounts a payment goes through: the first rule that fits, then health.  Pure.

The first enabled rule that fits names accounts with weights; without one they are all the enabled accounts of
the wallet, the oldest first.  A charge draws its place among the weights from its own id, so that it is
dealt the same way however often somebody presses.  An account that payments have left because they failed is
passed over while another works; a strict rule knows no other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

MINUTES_A_DAY = 24 * 60
BEIJING_AHEAD = 8 * 60  # all year; the last moments that a date can name have none there


class Standing(StrEnum):
    """How an account does, for whoever wants to pay through it now."""

    WELL = "well"
    DUE = "due"  # left, and one payment may try it now
    LEFT = "left"  # payments go elsewhere


@dataclass(frozen=True, slots=True)
class Payment:
    """What is to be paid.  ``key`` is the charge's id; without one the heaviest share comes first."""

    key: str | None
    amount_minor: int
    currency: str
    store_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Share:
    """An account in a rule.  Weight 0: only while none of the others works."""

    account_id: str
    weight: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Payments of one wallet that fit go through these accounts.  What is None fits every payment."""

    id: str
    name: str
    shares: tuple[Share, ...]
    currency: str | None = None
    min_minor: int | None = None
    max_minor: int | None = None
    store_id: str | None = None
    from_minute: int | None = None  # of the day in Beijing
    until_minute: int | None = None
    is_strict: bool = False
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enabled account of the wallet, and how it does."""

    account_id: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Decision:
    """``order`` is what the payment would take one after the other; ``chosen`` what it takes now."""

    order: tuple[str, ...]
    chosen: str | None
    rule: Rule | None = None
    shares: tuple[tuple[str, float], ...] = ()  # of payments that fit the same rule, while all work


def decide(payment: Payment, rules: Sequence[Rule], candidates: Sequence[Candidate]) -> Decision:
    """Where this payment goes.  ``rules`` in their order, ``candidates`` the oldest first.  Pure."""
    ids = [each.account_id for each in candidates]
    rule = next((each for each in rules if each.enabled and fits(each, payment)), None)
    if rule is None:
        shares = tuple((each, 1.0) for each in ids[:1])
        return Decision(tuple(ids), _best(ids, candidates), shares=shares)
    usable = [share for share in rule.shares if share.account_id in ids]
    order = drawn(payment.key, usable)
    if not rule.is_strict:
        order += [each for each in ids if each not in order]
    return Decision(tuple(order), _best(order, candidates), rule, _shares(usable))


def fits(rule: Rule, payment: Payment) -> bool:
    """Whether a rule is about this payment.  Pure."""
    return (
        rule.currency in (None, payment.currency)
        and (rule.min_minor is None or rule.min_minor <= payment.amount_minor)
        and (rule.max_minor is None or payment.amount_minor <= rule.max_minor)
        and rule.store_id in (None, payment.store_id)
        and is_within(rule.from_minute, rule.until_minute, payment.at)
    )


def is_within(from_minute: int | None, until_minute: int | None, at: datetime) -> bool:
    """Whether a moment is in these hours of Beijing; from 22:00 until 06:00 is a night.  Pure."""
    if from_minute is None or until_minute is None:
        return True
    utc = at.astimezone(UTC)
    minute = (utc.hour * 60 + utc.minute + BEIJING_AHEAD) % MINUTES_A_DAY
    if from_minute <= until_minute:
        return from_minute <= minute < until_minute
    return minute >= from_minute or minute < until_minute


def drawn(key: str | None, shares: Sequence[Share]) -> list[str]:
    """The accounts in the order in which this key draws them; those without weight come last.  Pure.

    Each account's lot is -ln(u) / weight with u from the digest of key and account, and the smallest wins:
    so another weight, or an account more, moves no more keys than it must (rendezvous hashing).
    """
    if key is None:
        return [share.account_id for share in sorted(shares, key=lambda share: -share.weight)]
    lots = [(_lot(key, share), number, share.account_id) for number, share in enumerate(shares)]
    return [account_id for _, _, account_id in sorted(lots)]


def _lot(key: str, share: Share) -> float:
    if share.weight == 0:
        return math.inf
    digest = hashlib.sha256(f"{key}\n{share.account_id}".encode()).digest()
    return -math.log((int.from_bytes(digest[:8]) + 1) / (2**64 + 1)) / share.weight


def _best(order: Sequence[str], candidates: Sequence[Candidate]) -> str | None:
    """The first that is not left; else the first: trying is better than refusing."""
    standings = {each.account_id: each.standing for each in candidates}
    works = (each for each in order if standings[each] is not Standing.LEFT)
    return next(works, order[0] if order else None)


def _shares(shares: Sequence[Share]) -> tuple[tuple[str, float], ...]:
    """What part of the payments each account gets while all of them work."""
    weights = [share.weight for share in shares]
    if shares and not any(weights):  # nothing but reserves: the first of them
        weights = [1] + [0] * (len(shares) - 1)
    return tuple(
        (share.account_id, weight / sum(weights)) for share, weight in zip(shares, weights, strict=True)
    )
