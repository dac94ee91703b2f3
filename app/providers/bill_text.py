"""How much of a bill is read at once: a file of some kilobytes can unpack to one line of many gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from app.errors import ProviderUnreachable

# A merchant of a million payments a day has a bill of about 400 MB; more is a bomb.
UNPACKED_CHARS_MAX = 1 << 30
# Some thirty cells; the longest, a product's name, has 256 characters.
LINE_CHARS_MAX = 1 << 16


def lines_of(text: TextIO) -> Iterator[str]:
    """The lines with their ends.  Raises ProviderUnreachable if one of them or all together are too long."""
    left = UNPACKED_CHARS_MAX
    while line := text.readline(LINE_CHARS_MAX):
        left -= len(line)
        if left < 0 or len(line) == LINE_CHARS_MAX:
            raise ProviderUnreachable("the bill is too large to unpack")
        yield line
