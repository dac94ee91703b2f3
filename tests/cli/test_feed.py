"""Where a reader of events stands, and that it loses nothing.  Their order: tests/webhooks/test_feed.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from app.cli.feed import PAGE, Feed
from app.cli.remote import Away
from app.providers.base import HttpAnswer


@dataclass
class Api:
    """``GET /v1/events`` as Mafu answers it, in the order of commits."""

    events: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    is_away_at: int = -1  # which call is not answered

    def get(self, _path: str, **query: str) -> HttpAnswer:
        self.asked.append(query)
        if len(self.asked) - 1 == self.is_away_at:
            raise Away("restarting")
        limit = int(query["limit"])
        if "after" in query:
            begin = 0 if query["after"] == "start" else self.events.index(query["after"]) + 1
            shown, rest = self.events[begin : begin + limit], self.events[begin + limit :]
        else:
            newest = sorted(self.events, reverse=True)
            shown, rest = newest[:limit], newest[limit:]
        body = {"data": [{"id": id_} for id_ in shown], "has_more": bool(rest)}
        return HttpAnswer(200, {}, json.dumps(body).encode())


@pytest.fixture
def api() -> Api:
    return Api()


def ids(events) -> list[str]:
    return [event["id"] for event in events]


def test_what_was_there_before_is_not_told(api):
    api.events += ["evt_1", "evt_2"]
    feed = Feed.from_now(api)
    assert feed.look() == []
    api.events.append("evt_3")
    assert ids(feed.look()) == ["evt_3"]
    assert feed.look() == []


def test_the_very_first_event_of_a_shop_is_told(api):
    feed = Feed.from_now(api)
    api.events.append("evt_1")
    assert ids(feed.look()) == ["evt_1"]


def test_one_that_is_committed_after_a_younger_one_is_told_in_its_turn(api):
    feed = Feed.from_now(api)
    api.events += ["evt_5"]
    assert ids(feed.look()) == ["evt_5"]
    api.events += ["evt_4"]
    assert ids(feed.look()) == ["evt_4"]


def test_everything_after_an_event_is_told_over_many_pages(api):
    api.events += [f"evt_{number:03}" for number in range(2 * PAGE + 7)]
    feed = Feed(api, "evt_002")
    assert ids(feed.look()) == api.events[3:]
    assert feed.look() == []


def test_a_page_that_does_not_come_loses_nothing_of_the_one_before(api):
    api.events += [f"evt_{number:03}" for number in range(PAGE + 1)]
    api.is_away_at = 1
    feed = Feed(api)
    with pytest.raises(Away):
        feed.look()
    assert ids(feed.look()) == api.events


def test_what_it_is_narrowed_to_is_asked_for(api):
    Feed(api).look(object_id="ch_1")
    assert api.asked == [{"limit": str(PAGE), "after": "start", "object_id": "ch_1"}]
