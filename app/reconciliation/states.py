"""What can be wrong between a bill and our books, and what becomes of it.  Pure.

``docs/reconciliation.md`` has the same as a table, with what to do about each.
"""

from __future__ import annotations

from enum import StrEnum

MATCHED = "matched"  # the verdict on a line that agrees with our books; all others are a ``Sort``


class Sort(StrEnum):
    """What is wrong.  Stored as text; of a line the first that holds is said, in this order."""

    MALFORMED = "malformed"  # a line that cannot be read
    TOTALS = "totals"  # the bill states totals of itself that its lines do not add up to
    OTHER_MERCHANT = "other_merchant"  # a line of another merchant, or of another account
    ADJUSTMENT = "adjustment"  # a line that names no payment
    MISSING_HERE = "missing_here"  # a payment on the bill that we do not know
    REFUND_UNKNOWN = "refund_unknown"  # a refund on the bill that we do not know
    DUPLICATE = "duplicate"  # the same payment or refund once more
    STATUS = "status"  # done on the bill, and not here
    CURRENCY = "currency"
    AMOUNT = "amount"
    LEDGER = "ledger"  # our own books contradict the ledger
    FEE = "fee"  # not what was foreseen, or what makes no sense
    MISSING_THERE = "missing_there"  # a payment here that is on no bill
    REFUND_MISSING = "refund_missing"  # a refund that has gone back here and is on no bill
    DAY_EDGE = "day_edge"  # either of both, so near midnight that the next bill may have it


# What our side has and no bill: found by going through the ledger, not through lines.
OURS_ALONE = (Sort.MISSING_THERE, Sort.REFUND_MISSING, Sort.DAY_EDGE)


class ItemState(StrEnum):
    """Where a discrepancy is."""

    POOLED = "pooled"  # waits for the neighbour's bill
    OPEN = "open"  # waits for a person
    RESOLVED = "resolved"


class Resolution(StrEnum):
    """How a discrepancy ended."""

    HEALED = "healed"  # by itself: later evidence agrees
    SETTLED = "settled"  # by itself: the provider was asked, and the payment settled by the usual door
    UNCLAIMED = "unclaimed"  # by itself: the money is in the books, and waits as unclaimed money
    CORRECTED = "corrected"  # a person has corrected it here
    PROVIDER = "provider"  # the provider corrects it
    NOT_OURS = "not_ours"  # it is none of this shop's business
    WRITTEN_OFF = "written_off"  # it is borne, or kept


BY_PERSON = (Resolution.CORRECTED, Resolution.PROVIDER, Resolution.NOT_OURS, Resolution.WRITTEN_OFF)


class DayState(StrEnum):
    """How far a day of an account is."""

    WAITING = "waiting"  # its bill is not there yet
    READING = "reading"  # it is being read and matched
    MATCHED = "matched"  # it adds up, and nothing is open
    DIFFERS = "differs"  # something is open, or it does not add up
    EMPTY = "empty"  # no bill, and nothing in our books: a day without trades
    MISSING = "missing"  # no bill, although our books have payments: upload it by hand


DONE = (DayState.MATCHED, DayState.DIFFERS, DayState.EMPTY, DayState.MISSING)
