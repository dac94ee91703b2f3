"""Many charges from one CSV file: read strictly, each line judged by itself, repeated without harm.

The order number makes a line safe to send again, so it is required: whoever is not sure that a file
arrived sends it once more, and what was made before is found and not made again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import lifecycle
from app.charges.commands import EXPIRES_IN_S_DEFAULT, NewCharge, currency_of
from app.charges.models import Charge
from app.charges.present import link_of
from app.db import is_among, table_of, transaction
from app.errors import Conflict, InvalidRequest, PlatformError
from app.money import Money

LINES_MAX = 1_000
BYTES_MAX = 2 * 1024 * 1024
LINES_A_COMMIT = 50  # a commit costs as much as ten lines, and others wait for as long as one takes

METADATA = "metadata."
_PLAIN_COLUMNS = frozenset(
    "amount amount_major currency description merchant_order_no return_url expires_in_s store".split()
)
_REQUIRED = ("merchant_order_no", "description")
_WHOLE = re.compile(r"[0-9]{1,19}", re.ASCII)

_charges = table_of(Charge)
_KNOWN = sa.select(_charges.c.merchant_order_no).where(
    _charges.c.merchant_id == sa.bindparam("merchant_id"),
    _charges.c.livemode == sa.bindparam("livemode"),
    is_among(_charges.c.merchant_order_no, "order_nos"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file: its number as a spreadsheet shows it, and a cell for each column."""

    number: int
    cells: dict[str, str]

    @property
    def order_no(self) -> str:
        """As it was sent."""
        return self.cells["merchant_order_no"].strip()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a line.  ``word`` is created, existing or failed; only the last has no charge."""

    number: int
    order_no: str
    word: str
    charge: sa.Row[Any] | None = None
    error: PlatformError | None = None

    @property
    def link(self) -> str:
        """Where the charge is paid; empty if there is none."""
        return "" if self.charge is None else link_of(self.charge)


def read_lines(body: bytes) -> list[Line]:
    """The lines of a CSV file, in UTF-8 or as Excel writes it in China (GBK).  Pure.

    Raises InvalidRequest for what spoils the file as a whole: no header, an unknown or repeated column, a
    line of another length, more than a thousand lines.
    """
    rows = _rows(_decoded(body))
    header = [cell.strip() for cell in next(rows, [])]
    _check_header(header)
    lines = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue  # spreadsheets leave empty lines at the end
        if len(row) != len(header):
            raise _fault(f"line {number} has {len(row)} cells, the header {len(header)}")
        lines.append(Line(number, dict(zip(header, row, strict=True))))
        if len(lines) > LINES_MAX:
            raise _fault(f"a file has at most {LINES_MAX} lines", code="batch_too_large")
    if not lines:
        raise _fault("the file has no line below its header")
    return lines


def create_charges(merchant_id: str, lines: Sequence[Line], *, livemode: bool) -> list[Outcome]:
    """Make a charge of each line that can be one; what became of each, in their order."""
    drafts = [(line, _draft(line)) for line in lines]
    outcomes: list[Outcome] = []
    for start in range(0, len(drafts), LINES_A_COMMIT):
        with transaction() as tx:
            some = drafts[start : start + LINES_A_COMMIT]
            order_nos = [new.merchant_order_no for _, new in some if isinstance(new, NewCharge)]
            scope = {"merchant_id": merchant_id, "livemode": livemode, "order_nos": order_nos}
            known = {row.merchant_order_no for row in tx.execute(_KNOWN, scope)}
            for line, new in some:
                if isinstance(new, InvalidRequest):
                    outcomes.append(Outcome(line.number, line.order_no, "failed", error=new))
                else:
                    outcomes.append(_create(tx, merchant_id, livemode, line, new, known))
                    known.add(line.order_no)
    return outcomes


def charge_of(line: Line) -> NewCharge:
    """The charge that a line asks for.  Pure.  Raises InvalidRequest naming the column."""
    cells = line.cells
    currency = currency_of(cells.get("currency", "").strip() or "CNY")
    metadata = {
        name.removeprefix(METADATA): value
        for name, value in cells.items()
        if name.startswith(METADATA) and value
    }
    if not line.order_no:
        raise InvalidRequest("a line has an order number of yours", param="merchant_order_no")
    expires_in_s = cells.get("expires_in_s", "").strip()
    return NewCharge(
        amount=_amount(cells, currency),
        description=cells["description"],
        merchant_order_no=line.order_no,
        metadata=metadata,
        return_url=cells.get("return_url", "").strip() or None,
        store_id=cells.get("store", "").strip() or None,
        expires_in_s=_whole(expires_in_s, "expires_in_s") if expires_in_s else EXPIRES_IN_S_DEFAULT,
    )


def _draft(line: Line) -> NewCharge | InvalidRequest:
    try:
        return charge_of(line)
    except InvalidRequest as error:
        return error


def _create(
    tx: Connection, merchant_id: str, livemode: bool, line: Line, new: NewCharge, known: set[str]
) -> Outcome:
    try:
        # A refusal leaves nothing behind: the transaction of the other lines goes on.
        charge = lifecycle.create_charge(tx, merchant_id, livemode=livemode, new=new)
    except (Conflict, InvalidRequest) as error:
        return Outcome(line.number, line.order_no, "failed", error=error)
    return Outcome(line.number, line.order_no, "existing" if line.order_no in known else "created", charge)


def _amount(cells: dict[str, str], currency: str) -> Money:
    if "amount" in cells:
        return Money(_whole(cells["amount"].strip(), "amount"), currency)
    text = cells["amount_major"].strip()
    try:
        return Money.from_major(text, currency)
    except ValueError:
        raise InvalidRequest(
            f"{text[:20]!r} is no amount such as 12.50", code="parameter_invalid", param="amount_major"
        ) from None


def _whole(text: str, column: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise InvalidRequest(f"{text[:20]!r} is no whole number", code="parameter_invalid", param=column)
    return int(text)


def _decoded(body: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _fault("the file is neither UTF-8 nor GBK")


def _rows(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise _fault(f"the file is no CSV: {error}") from None


def _check_header(header: list[str]) -> None:
    for column in header:
        if column not in _PLAIN_COLUMNS and not (column.startswith(METADATA) and column != METADATA):
            raise _fault(f"there is no column {column[:60]!r}", code="parameter_unknown", param=column[:60])
        if header.count(column) > 1:
            raise _fault(f"the column {column[:60]!r} comes twice", param=column[:60])
    for column in _REQUIRED:
        if column not in header:
            raise _fault(f"the column {column} is missing", code="parameter_missing", param=column)
    if ("amount" in header) == ("amount_major" in header):
        raise _fault(
            "give amount (minor units) or amount_major (12.50), one of them",
            code="parameter_missing",
            param="amount",
        )


def _fault(text: str, *, code: str = "invalid_csv", param: str | None = None) -> InvalidRequest:
    return InvalidRequest(text, code=code, param=param)
