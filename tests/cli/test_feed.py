"""Events in order and without a gap, whatever appears late, in however many pages."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.cli.feed import PAGE, SETTLED_AFTER, Feed
from app.providers.base import HttpAnswer

START = datetime(2026, 1, 15, 2, 0, tzinfo=UTC)


@dataclass
class Api:
    """``GET /v1/events`` as Mafu answers it; ``now`` is its clock."""

    now: datetime = START
    events: dict[str, str] = field(default_factory=dict)  # id -> when
    calls: int = 0

    def happens(self, number: int, at: datetime | None = None) -> str:
        id_ = f"evt_{number + 1:026d}"
        self.events[id_] = (at or self.now).isoformat()
        return id_

    def get(self, _path: str, *, limit: str, ending_before: str = "") -> HttpAnswer:
        self.calls += 1
        ids = sorted(id_ for id_ in self.events if id_ > ending_before)
        shown = ids[: int(limit)] if ending_before else ids[-int(limit) :]
        data = [{"id": id_, "created_at": self.events[id_]} for id_ in reversed(shown)]
        body = json.dumps({"data": data, "has_more": len(ids) > len(shown)}).encode()
        return HttpAnswer(200, {"date": format_datetime(self.now, usegmt=True)}, body)


@pytest.fixture
def api() -> Api:
    return Api()


def ids(events) -> list[str]:
    return [event["id"] for event in events]


def test_what_was_there_before_is_not_told(api):
    for number in range(3):
        api.happens(number)
    feed = Feed.from_now(api)
    assert feed.look() == []
    new = api.happens(3)
    assert ids(feed.look()) == [new]
    assert feed.look() == []


def test_the_very_first_event_of_a_shop_is_told(api):
    feed = Feed.from_now(api)
    new = api.happens(0)
    assert ids(feed.look()) == [new]


def test_since_an_event_everything_younger_is_told_in_order_over_many_pages(api):
    told = [api.happens(number, START - timedelta(hours=1)) for number in range(2 * PAGE + 7)]
    feed = Feed.since(api, told[2])
    assert ids(feed.look()) == told[3:]
    assert feed.look() == []


def test_an_event_that_appears_below_a_younger_one_is_told_once(api):
    feed = Feed.from_now(api)
    younger = api.happens(5)
    assert ids(feed.look()) == [younger]
    older = api.happens(4)  # its transaction was longer
    assert ids(feed.look()) == [older]
    assert feed.look() == []


def test_one_that_was_late_when_we_began_is_told_too(api):
    api.happens(1, START - timedelta(minutes=5))
    api.happens(5)
    feed = Feed.from_now(api)
    late = api.happens(4)
    assert ids(feed.look()) == [late]


def test_what_is_settled_is_not_read_again(api):
    feed = Feed.from_now(api)
    for number in range(PAGE + 1):
        api.happens(number)
    assert len(feed.look()) == PAGE + 1
    api.now += SETTLED_AFTER + timedelta(seconds=1)
    feed.look()
    api.calls = 0
    feed.look()
    assert api.calls == 1
    assert feed._seen == set()


def test_the_far_sides_clock_decides_and_not_ours(api, at):
    at(timedelta(days=30))
    feed = Feed.from_now(api)
    younger = api.happens(5)
    assert ids(feed.look()) == [younger]
    older = api.happens(4)
    assert ids(feed.look()) == [older]
