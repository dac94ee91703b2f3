"""The list of charges as a file that a spreadsheet opens: UTF-8 with a byte order mark, rows as they come.

A cell that begins like a formula would be run by the spreadsheet of whoever opens the file, and what a
shopper or a colleague typed is in these cells: such a cell gets an apostrophe in front.  A number of more
than 15 digits would be rounded there, so it gets a tab behind it, as the networks' own bills have it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.charges import search
from app.charges.models import Attempt
from app.charges.search import Wanted
from app.clock import to_beijing
from app.db import is_among, reading, table_of
from app.merchants.models import Store
from app.money import Money

BATCH = 500
ROWS_MAX = 1_000_000  # a sheet of Excel has 1,048,576
MARK = "\ufeff"  # without it Excel takes UTF-8 for the code page of its machine
# What Excel, LibreOffice and WPS take for the beginning of a formula, in both widths; a tab or a line
# break in front of one is skipped by some.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_DIGITS_MAX = 15  # what a spreadsheet keeps of a number

_attempts, _stores = table_of(Attempt), table_of(Store)
COLUMNS = (
    *("created_beijing", "created_utc", "paid_beijing", "paid_utc", "id", "order_no", "description"),
    *("status", "currency", "amount", "amount_minor", "paid", "paid_minor", "refunded", "refunded_minor"),
    *("provider", "provider_ref", "out_trade_no", "store", "qr_code"),
)


@dataclass(frozen=True, slots=True)
class Words:
    """What the reader's language calls the columns, the states and the providers."""

    columns: Mapping[str, str]
    states: Mapping[str, str]
    providers: Mapping[str, str]


def csv_of(merchant_id: str, *, livemode: bool, wanted: Wanted, words: Words) -> Iterator[str]:
    """The file, in pieces: the first at once, before the database is asked for anything."""
    yield MARK + _line([words.columns[name] for name in COLUMNS])
    stores = _names_of_stores(merchant_id)
    for charges in search.walk(merchant_id, livemode=livemode, wanted=wanted, batch=BATCH, limit=ROWS_MAX):
        numbers = _numbers_of(merchant_id, charges)
        cells = [_cells(row, numbers.get(row.paid_attempt_id), stores, words) for row in charges]
        yield "".join([_line(each) for each in cells])


def safe(text: str) -> str:
    """A cell that a spreadsheet shows and does not run: ``"=1+1" -> "'=1+1"``.  Pure."""
    if text.startswith(_FORMULA):
        return f"'{text}"
    return f"{text}\t" if len(text) > _DIGITS_MAX and text.isascii() and text.isdigit() else text


def _cells(
    charge: sa.Row[Any], attempt: sa.Row[Any] | None, stores: Mapping[str, str], words: Words
) -> Iterable[str]:
    """One charge, in the order of COLUMNS.  Pure."""
    paid_minor = charge.paid_minor
    if paid_minor is None and charge.paid_at is not None:
        paid_minor = charge.amount_minor
    return (
        *_times(charge.created_at),
        *_times(charge.paid_at),
        charge.id,
        charge.merchant_order_no or "",
        charge.description,
        words.states[charge.state],
        charge.currency,
        *_amounts(charge.amount_minor, charge.currency),
        *_amounts(paid_minor, charge.currency),
        *_amounts(charge.refunded_minor, charge.currency),
        words.providers.get(charge.provider or "", charge.provider or ""),
        (attempt.provider_ref or "") if attempt else "",
        attempt.out_trade_no if attempt else "",
        stores.get(charge.store_id or "", ""),
        charge.qr_code_id or "",
    )


def _times(at: datetime | None) -> tuple[str, str]:
    return ("", "") if at is None else (to_beijing(at), f"{at:%Y-%m-%d %H:%M:%S}")


def _amounts(minor: int | None, currency: str) -> tuple[str, str]:
    return ("", "") if minor is None else (Money(minor, currency).major(), str(minor))


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([safe(cell) for cell in cells])
    return out.getvalue()


def _names_of_stores(merchant_id: str) -> dict[str, str]:
    with reading() as connection:
        rows = connection.execute(
            sa.select(_stores.c.id, _stores.c.name).where(_stores.c.merchant_id == merchant_id)
        )
        return {row.id: row.name for row in rows}


def _numbers_of(merchant_id: str, charges: Sequence[sa.Row[Any]]) -> dict[str, Any]:
    """The attempts that paid these charges, by their ids."""
    ids = [charge.paid_attempt_id for charge in charges if charge.paid_attempt_id]
    with reading() as connection:
        rows = list(connection.execute(_NUMBERS, {"merchant_id": merchant_id, "ids": ids}))
    return {row.id: row for row in rows}


_NUMBERS = sa.select(_attempts.c.id, _attempts.c.out_trade_no, _attempts.c.provider_ref).where(
    _attempts.c.merchant_id == sa.bindparam("merchant_id"), is_among(_attempts.c.id, "ids")
)
