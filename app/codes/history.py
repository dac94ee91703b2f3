"""How often a code was scanned on each of the last days, as numbers and as a drawing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from app import clock
from app.charges.overview import DAYS
from app.clock import day_of, start_of
from app.codes.models import ScanHour
from app.db import reading, table_of

_hours = table_of(ScanHour)


@dataclass(frozen=True, slots=True)
class ScanDay:
    """The scans of a day in Beijing."""

    day: date
    scans: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A day drawn: whole units of a picture 100 high, of which 6 belong to each day."""

    day: ScanDay
    x: int
    y: int
    height: int


def scans_by_day(code: sa.Row[Any]) -> list[ScanDay]:
    """The last two weeks, oldest first."""
    today = day_of(clock.now())
    first = today - timedelta(days=DAYS - 1)
    query = sa.select(_hours.c.hour, _hours.c.scans).where(
        _hours.c.merchant_id == code.merchant_id,
        _hours.c.code_id == code.id,
        _hours.c.hour >= start_of(first),
    )
    counts = dict.fromkeys([first + timedelta(days=number) for number in range(DAYS)], 0)
    with reading() as connection:
        for row in connection.execute(query):
            counts[day_of(row.hour)] = counts.get(day_of(row.hour), 0) + row.scans
    return [ScanDay(day, scans) for day, scans in counts.items()]


def bars_of(days: list[ScanDay]) -> list[Bar]:
    """The days as bars, the best of them 100 high; a day with any scan is seen.  Pure."""
    most = max((day.scans for day in days), default=0)
    bars = []
    for number, day in enumerate(days):
        height = max(100 * day.scans // most, 2) if day.scans else 0
        bars.append(Bar(day, x=6 * number + 1, y=100 - height, height=height))
    return bars
