"""Ctrl-C and SIGTERM, noticed and not obeyed at once: the caller finishes what it holds, then ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Hands out whether anybody has asked us to end.  Outside the block signals act as before.

    The handler only appends to a list: setting an Event there can deadlock with a thread that waits
    for it.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in _NUMBERS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
