"""When a day of a bill begins and ends, and when its bill is there.  Pure.

Days are Beijing's.  Most providers cut at midnight; UnionPay's day ends at 23:00 and has its date.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from app import clock

DAY = timedelta(hours=24)
READY_AT = time(10, 30)  # Beijing, the day after; Alipay says 9:00 and WeChat Pay 10:00
# What we book within this span of a day's beginning or end may be on the neighbour's bill: the provider's
# clock is not ours, and a callback takes its time.
EDGE = timedelta(minutes=30)
# So many bills later it is on none: then what waited in the pool becomes a discrepancy.
POOL_DAYS = 2


def span_of(cut: timedelta, day: date) -> tuple[datetime, datetime]:
    """From when, included, to when, excluded.  ``cut`` is the provider's ``Info.bill_cut``."""
    end = (clock.start_of(day) + cut).astimezone(UTC)
    return end - DAY, end


def day_of(cut: timedelta, at: datetime) -> date:
    """On whose bill a moment is.  With a cut of 23 hours, 23:00 is tomorrow's."""
    return clock.day_of(at + DAY - cut)


def is_near_edge(cut: timedelta, day: date, at: datetime) -> bool:
    """Whether a moment of this day may as well be on a neighbour's bill."""
    begins, ends = span_of(cut, day)
    return at < begins + EDGE or at >= ends - EDGE


def ready_at(day: date) -> datetime:
    """From when to ask for a day's bill."""
    return datetime.combine(day + timedelta(days=1), READY_AT, clock.BEIJING).astimezone(UTC)
