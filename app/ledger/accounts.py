"""The chart of accounts: where money can be, and on which side it grows.  Pure.

Accounts are a merchant's, of one mode and currency; those three are columns of an entry and no part of a
name.  A name is a kind, or a kind and whose it is: ``"sales"``, ``"clearing:pa_01jd…"``.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an account is for."""

    CLEARING = "clearing"  # with a provider, for one account there: what it took less what it gave back
    SALES = "sales"  # what charges took
    REFUNDS = "refunds"  # of that: gone back, or on its way
    FEES = "fees"  # what providers keep
    REFUNDS_PAYABLE = "refunds_payable"  # reserved, and not known to have gone back
    UNCLAIMED = "unclaimed"  # came in, and no charge has taken it; below zero: gone back although it was used
    ELSEWHERE = "elsewhere"  # a person settled it outside these books
    MEMBERS = "members"  # what members of the merchant's app have to spend, bonus included
    BONUS = "bonus"  # of that: given on top by the merchant, and not spent yet
    ADJUSTMENTS = "adjustments"  # what people gave members by hand, less what they took


# Accounts that grow by debits; all others grow by credits.
DEBIT_KINDS = frozenset({Kind.CLEARING, Kind.REFUNDS, Kind.FEES, Kind.BONUS, Kind.ADJUSTMENTS})


def clearing(account_id: str) -> str:
    """``"pa_1" -> "clearing:pa_1"``, a provider account's."""
    return f"{Kind.CLEARING}:{account_id}"


def kind_of(name: str) -> Kind:
    """``"clearing:pa_1" -> Kind.CLEARING``.  Raises ValueError for a name that is no account's."""
    return Kind(name.partition(":")[0])


def owner_of(name: str) -> str:
    """``"clearing:pa_1" -> "pa_1"``; nothing for the accounts of which there is one."""
    return name.partition(":")[2]


def balance_of(name: str, debits_minor: int, credits_minor: int) -> int:
    """What is on it, positive on the side on which it grows."""
    net_minor = debits_minor - credits_minor
    return net_minor if kind_of(name) in DEBIT_KINDS else -net_minor
