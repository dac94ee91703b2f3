"""Public identifiers: a prefix that says what it is and a body that sorts by time of birth.

The body is a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32, lower case.
Inserts stay at the right edge of an index, an id is its own page cursor, and the alphabet (digits
before letters, one case) sorts alike under every collation.
"""

from __future__ import annotations

import os
import re
import threading
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
BODY_CHARS = 26

_BODY = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]  # two at once: half the time
_RANDOM_BITS = 80
_lock = threading.Lock()
_last = 0


def new_body() -> str:
    """26 characters, strictly rising within this process, unguessable across them."""
    global _last
    fresh = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | int.from_bytes(os.urandom(10), "big")
    with _lock:
        # A tie within a millisecond, or a clock set back, steps on by a random stride, so that the
        # order holds and the next id cannot be guessed from the last.
        if fresh <= _last:
            fresh = _last + 1 + int.from_bytes(os.urandom(8), "big")
        _last = fresh
    return _encode(fresh)


def new_id(prefix: str) -> str:
    """``new_id("ch") -> "ch_01jd3w6j7h..."``."""
    return f"{prefix}_{new_body()}"


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the form of an id of this kind; says nothing of existence."""
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None


def _encode(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
