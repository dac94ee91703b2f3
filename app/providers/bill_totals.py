"""What a bill states of itself, held against what its lines add up to.  Pure.

A table that was cut short and mended at its end, or lost lines on the way, still says how many it had.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,8})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(slots=True)
class Added:
    """The rows of a table so far and the sums of its columns.

    ``unread`` are lines that may be rows and cannot be added: with them no sum is compared, and a count
    only as far as it can be told; each of them is a discrepancy of its own.
    """

    rows: int = 0
    unread: int = 0
    sums: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def add(self, cells: Mapping[str, str]) -> None:
        """One row: its amounts by column, in yuan."""
        if any(_AMOUNT.fullmatch(text or "0") is None for text in cells.values()):
            self.unread += 1
            return
        self.rows += 1
        for name, text in cells.items():
            self.sums[name] += Decimal(text or "0")

    def wrong_count(self, name: str, stated: str, *also: int) -> Iterator[str]:
        """What is wrong with a stated number of rows; ``also`` is what it may mean besides."""
        if _COUNT.fullmatch(stated) is None:
            yield f"{name}: {stated[:32]!r} is no number"
        elif int(stated) not in also and not self.rows <= int(stated) <= self.rows + self.unread:
            yield f"{name}: {int(stated)} stated, {self.rows} found"

    def wrong_sum(self, name: str, stated: str, column: str) -> Iterator[str]:
        """What is wrong with the stated sum of a column; it may be rounded."""
        if _AMOUNT.fullmatch(stated) is None:
            yield f"{name}: {stated[:32]!r} is no amount"
            return
        said = Decimal(stated)
        places = len(stated.partition(".")[2])
        found = self.sums[column].quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        if not self.unread and said != found:
            yield f"{name}: {said} stated, {found} found"
