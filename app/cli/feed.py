"""A merchant's events as they happen, in order and without a gap, read from ``GET /v1/events?after=``."""

from __future__ import annotations

import json
from typing import Any

from app.cli.remote import Remote

PAGE = 100
_START = "start"


class Feed:
    """Where a reader of events stands: behind the last one that was handed out."""

    def __init__(self, remote: Remote, after: str = _START) -> None:
        self._remote = remote
        self._after = after

    @classmethod
    def from_now(cls, remote: Remote) -> Feed:
        """Behind what is there already; what is being committed just now may still be told.

        Raises Refused, Away.
        """
        there: list[dict[str, Any]] = json.loads(remote.get("/events", limit="1").body)["data"]
        return cls(remote, there[0]["id"] if there else _START)

    def look(self, **narrowed: str) -> list[dict[str, Any]]:
        """What is new, oldest first; empty if nothing is.  Raises Refused, Away, and then loses nothing."""
        found: list[dict[str, Any]] = []
        after, has_more = self._after, True
        while has_more:
            page = json.loads(self._remote.get("/events", limit=str(PAGE), after=after, **narrowed).body)
            found += page["data"]
            after = found[-1]["id"] if found else after
            has_more = page["has_more"]
        self._after = after
        return found
