"""Versions of the API: which there are, and how an object of today reads in an older one.

Objects are built once, as the newest version has them.  A version that changes something adds its name
to VERSIONS and, for each object it changes, one Change that turns the new form back into the old one; a
caller of an older version is shown the object with all later changes undone, the latest first.  So the
code that builds objects knows nothing of versions, and an old version costs one small function.

A key keeps the version that was the newest when it was made; the header Mafu-Version overrides it for
one request.  Events are frozen in the version of the day they happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VERSIONS = ("2026-11-21",)  # oldest to newest
CURRENT = VERSIONS[-1]


@dataclass(frozen=True, slots=True)
class Change:
    """What a version changed in one kind of object, and how to take it back."""

    since: str  # the version that brought it
    kind: str  # the object's ``object``: charge, refund, …
    undo: Callable[[dict[str, Any]], dict[str, Any]]


CHANGES: tuple[Change, ...] = ()  # oldest to newest


def is_known(version: str) -> bool:
    """Whether there is such a version."""
    return version in VERSIONS


def shown(value: Any, version: str) -> Any:
    """``value`` as ``version`` has it: every object in it, at any depth, with later changes undone.  Pure."""
    later = [change for change in CHANGES if change.since > version]
    return _undone(value, later) if later else value


def _undone(value: Any, later: list[Change]) -> Any:
    if isinstance(value, list):
        return [_undone(item, later) for item in value]
    if not isinstance(value, dict):
        return value
    shown_value = {name: _undone(item, later) for name, item in value.items()}
    for change in reversed(later):
        if shown_value.get("object") == change.kind:
            shown_value = change.undo(shown_value)
    return shown_value
