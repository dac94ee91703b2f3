"""Passwords that a guesser tries first: well-known ones, rows of keys, what everybody knows of the person.

``common_passwords.txt`` holds the well-known ones of ten characters and more, as the first 16 digits of their
SHA-256 (a good part of them is obscene): docs/decisions/0010-people.md says where they come from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

DIFFERENT_MIN = 5  # characters: "aaaaaaaaaa" and "1212121212" are no passwords
_FILE = Path(__file__).with_name("common_passwords.txt")
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
)
# What people put around a well-known word to please a form: "manchester2026!"
_TRIMMINGS = re.compile(r"^[\d\W_]+|[\d\W_]+$")


def is_weak(password: str, about: Iterable[str] = ()) -> bool:
    """Whether it is among the first guesses; ``about`` is what is known of the person.  Pure.

    ``"Manchester2026!" -> True``, ``"correct horse battery" -> False``.
    """
    text = password.casefold()
    core = _TRIMMINGS.sub("", text)
    return (
        len(set(text)) < DIFFERENT_MIN
        or any(text in row or text in row[::-1] for row in _ROWS)
        or not _known().isdisjoint((_digest(text), _digest(core)))
        or any(core in (word, "") for word in _words(about))
    )


def _words(about: Iterable[str]) -> set[str]:
    """An e-mail address as a whole and up to its @, a name with and without spaces.  Pure."""
    found = set[str]()
    for text in about:
        plain = text.casefold()
        found |= {plain, plain.partition("@")[0], "".join(plain.split())}
    return found - {""}


@cache
def _known() -> frozenset[str]:
    return frozenset(_FILE.read_text().split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
