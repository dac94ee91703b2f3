"""What time it is: aware UTC inside, Beijing time only at the providers' door.

Callers write ``clock.now()`` (never ``from app.clock import now``), so that a test can move time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))  # No daylight saving since 1991; providers mean this offset.
_FIRST_MIDNIGHT = datetime(1970, 1, 1, tzinfo=BEIJING)


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def from_beijing(text: str, form: str = "%Y-%m-%d %H:%M:%S") -> datetime:
    """Read a provider's naive Beijing time.  Raises ValueError.

    ``"2024-01-15 10:00:00" -> 2024-01-15 02:00:00+00:00``
    """
    return datetime.strptime(text, form).replace(tzinfo=BEIJING).astimezone(UTC)


def to_beijing(moment: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a moment as a provider's naive Beijing time.

    ``2024-01-15 02:00:00+00:00 -> "2024-01-15 10:00:00"``
    """
    return moment.astimezone(BEIJING).strftime(form)


def day_of(moment: datetime) -> date:
    """The merchant's day: from midnight to midnight in Beijing."""
    return moment.astimezone(BEIJING).date()


def start_of(day: date) -> datetime:
    """When the merchant's day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=BEIJING)


def day_number(moment: datetime) -> int:
    """The merchant's days, numbered: for whoever goes through very many moments.

    Two moments have one number exactly if ``day_of`` is the same, in a third of its time.
    """
    return (moment - _FIRST_MIDNIGHT).days


def to_rfc3339(moment: datetime) -> str:
    """``2024-01-15T02:00:00.123Z``: the form of every time in the API; milliseconds, UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
