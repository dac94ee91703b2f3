"""How long what a network handed out for a payment stays good.  Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.errors import NumberTaken

# Between the network's stamp and the shopper's tap lie an answer's way, a page's way, and two clocks.
MARGIN = timedelta(seconds=20)


def left_s(life: timedelta, started_at: datetime, now: datetime) -> int:
    """Seconds for which a code, number or form is good at the least.  ``(2 h, 10:00, 10:30) -> 5380``

    An order that is sent again may get the handle that it had before, so what counts is the attempt's age,
    not an answer's.  Whether one that has run out is followed by a fresh one no manual promises: another
    number is certain to get one.  Raises NumberTaken when nothing is left.
    """
    left = int((started_at + life - MARGIN - now).total_seconds())
    if left < 1:
        raise NumberTaken("what was opened under this number has run out")
    return left
