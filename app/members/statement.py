"""A member's statement as a file that a spreadsheet opens, oldest first."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.charges.export import MARK, safe
from app.clock import to_beijing
from app.money import Money
from app.purses import members

BATCH = 500
COLUMNS = (
    "time",
    "number",
    "kind",
    "balance",
    "bonus",
    "balance_after",
    "bonus_after",
    "cause",
    "charge",
    "note",
)


def csv_of(member: Any, columns: Mapping[str, str], kinds: Mapping[str, str]) -> Iterator[str]:
    """The file, in pieces; ``columns`` and ``kinds`` are words for the reader."""
    yield MARK + _line([*[columns[name] for name in COLUMNS], columns["currency"]])
    after = 0
    while True:
        rows = members.walk_movements(member.merchant_id, member.id, after=after, limit=BATCH)
        yield "".join([_line(_cells(row, kinds)) for row in rows])
        if len(rows) < BATCH:
            return
        after = rows[-1].number


def _cells(row: Any, kinds: Mapping[str, str]) -> list[str]:
    minors = (row.balance_minor, row.bonus_minor, row.balance_after_minor, row.bonus_after_minor)
    amounts = [Money(minor, row.currency).major() for minor in minors]
    texts = (row.cause_id, row.charge_id or "", row.note, row.currency)
    # A minus of ours is a number, where one that somebody typed may begin a formula.
    return [
        to_beijing(row.created_at),
        str(row.number),
        kinds[row.kind],
        *amounts,
        *[safe(text) for text in texts],
    ]


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
