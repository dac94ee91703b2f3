"""A merchant's events as they happen, in order and without a gap, read from ``GET /v1/events``.

An id is made before its transaction commits, so an event may appear after a younger one.  Each look
therefore goes back to events that are a little older, and drops what was handed out before.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from app import clock
from app.cli.remote import Remote
from app.providers.base import HttpAnswer

SETTLED_AFTER = timedelta(seconds=15)  # nothing older appears any more: no transaction takes so long
PAGE = 100
_FIRST_ID = "evt_" + "0" * 26


class Feed:
    """Where a reader of events stands.  Made by ``since`` or ``from_now``."""

    def __init__(self, remote: Remote, floor: str, seen: set[str]) -> None:
        self._remote = remote
        self._floor = floor  # everything up to here has been handed out
        self._seen = seen  # what has been handed out above it

    @classmethod
    def since(cls, remote: Remote, event_id: str) -> Feed:
        """Everything younger than this event."""
        return cls(remote, event_id, set())

    @classmethod
    def from_now(cls, remote: Remote) -> Feed:
        """Everything that is not there yet.  Raises Refused, Away."""
        answer = remote.get("/events", limit=str(PAGE))
        there: list[dict[str, Any]] = json.loads(answer.body)["data"]
        feed = cls(remote, there[-1]["id"] if there else _FIRST_ID, {event["id"] for event in there})
        feed._settle(there[::-1], _time_of(answer))
        return feed

    def look(self) -> list[dict[str, Any]]:
        """What is new, oldest first; empty if nothing is.  Raises Refused, Away, and then loses nothing."""
        found: list[dict[str, Any]] = []
        cursor, has_more = self._floor, True
        while has_more:
            answer = self._remote.get("/events", limit=str(PAGE), ending_before=cursor)
            page = json.loads(answer.body)
            found += page["data"][::-1]
            has_more = page["has_more"] and bool(page["data"])
            cursor = found[-1]["id"] if found else cursor
            now = _time_of(answer)
        fresh = [event for event in found if event["id"] not in self._seen]
        self._seen.update(event["id"] for event in fresh)
        self._settle(found, now)
        return fresh

    def _settle(self, events: list[dict[str, Any]], now: datetime) -> None:
        """Raise the floor over what is so old that nothing can appear below it."""
        for event in events:
            if datetime.fromisoformat(event["created_at"]) > now - SETTLED_AFTER:
                break
            self._floor = max(self._floor, event["id"])
        self._seen = {id_ for id_ in self._seen if id_ > self._floor}


def _time_of(answer: HttpAnswer) -> datetime:
    """The far side's clock, by which its events are dated; ours if it does not say."""
    try:
        return parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return clock.now()
