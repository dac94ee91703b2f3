"""Time: aware UTC inside, Beijing's at the providers' door."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import clock


def test_now_is_aware_and_utc():
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


@given(seconds=st.integers(694_224_000, 4_070_908_800))  # 1992 to 2099
def test_beijing_time_is_written_and_read_back(seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    assert clock.from_beijing(clock.to_beijing(moment)) == moment


def test_beijing_is_eight_hours_ahead_whatever_the_zone_of_the_moment():
    moment = datetime(2024, 1, 15, 2, 0, tzinfo=UTC)
    assert clock.to_beijing(moment) == "2024-01-15 10:00:00"
    assert clock.to_beijing(moment.astimezone(timezone(timedelta(hours=-5)))) == "2024-01-15 10:00:00"
    assert clock.from_beijing("2024-01-15 10:00:00") == moment
    assert clock.from_beijing("20240115100000", "%Y%m%d%H%M%S") == moment
    assert clock.from_beijing("2024-01-15 10:00:00").tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "2024-01-15", "2024-13-01 00:00:00", "2024-01-15T10:00:00", "yesterday"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"time data|unconverted"):
        clock.from_beijing(text)


def test_the_api_writes_milliseconds_and_z():
    moment = datetime(2024, 1, 15, 10, 0, 0, 123999, tzinfo=clock.BEIJING)
    assert clock.to_rfc3339(moment) == "2024-01-15T02:00:00.123Z"
    assert clock.to_rfc3339(datetime(2024, 1, 15, tzinfo=UTC)) == "2024-01-15T00:00:00.000Z"


@given(st.datetimes(timezones=st.sampled_from([UTC, clock.BEIJING])), st.integers(-90_000_000, 90_000_000))
def test_days_are_numbered_as_they_are_named(moment, later_ms):
    later = moment + timedelta(milliseconds=later_ms)
    days = (clock.day_of(later) - clock.day_of(moment)).days
    assert clock.day_number(later) - clock.day_number(moment) == days
