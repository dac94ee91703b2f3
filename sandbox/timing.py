"""The far side's own clock: unix seconds inside, Beijing time on the networks' wire."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))
WIRE_FORM = "%Y-%m-%d %H:%M:%S"


def now() -> float:
    """Unix seconds; names ending in ``_ts`` hold them."""
    return time.time()


def beijing(ts: float, form: str = WIRE_FORM) -> str:
    """``1705284000.0 -> "2024-01-15 10:00:00"``.  Pure."""
    return datetime.fromtimestamp(ts, BEIJING).strftime(form)


def beijing_millis(ts: float) -> str:
    """``1705284000.123 -> "2024-01-15 10:00:00.123"``: the form of gmt_refund.  Pure."""
    return datetime.fromtimestamp(ts, BEIJING).isoformat(sep=" ", timespec="milliseconds")[:23]


def from_beijing(text: str, form: str = WIRE_FORM) -> float:
    """Read a naive Beijing time.  Pure.  Raises ValueError."""
    return datetime.strptime(text, form).replace(tzinfo=BEIJING).timestamp()


def end_of_day(ts: float) -> float:
    """The midnight, Beijing time, that ends the day of this moment.  Pure."""
    day = datetime.fromtimestamp(ts, BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=1)).timestamp()


def rfc3339(ts: float | None) -> str | None:
    """``1705284000.5 -> "2024-01-15T02:00:00.500Z"``; None stays None.  Pure."""
    if ts is None:
        return None
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def beijing_rfc3339(ts: float) -> str:
    """``1705284000.0 -> "2024-01-15T10:00:00+08:00"``.  Pure."""
    return datetime.fromtimestamp(ts, BEIJING).isoformat(timespec="seconds")
