"""A bill's lines as rows: what each is about, and reading a file into the table piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_many, table_of, transaction
from app.errors import Conflict
from app.merchants.accounts import OpenAccount
from app.providers.base import BillLine, StatementLine, WrongTotals
from app.reconciliation import files
from app.reconciliation.models import BillRow, Reconciliation

SLICE = 500  # lines in one transaction: some ten milliseconds

_lines, _days = table_of(BillRow), table_of(Reconciliation)
_LAST: sa.Select[Any] = sa.select(sa.func.max(_lines.c.number)).where(
    _lines.c.merchant_id == sa.bindparam("merchant_id"),
    _lines.c.account_id == sa.bindparam("account_id"),
    _lines.c.day == sa.bindparam("day"),
)


def load(account: OpenAccount, run: Any, file: Any, hold: Callable[[], None]) -> int:
    """Bring a file's lines into the table, from where it was left off.  How many it has.

    ``hold`` is called before each slice and raises where somebody else has the day.  Each slice moves the
    day's cursor in its own transaction, so a worker that dies leaves nothing out and nothing twice.
    """
    content = files.content_of(account.merchant_id, file.id)
    lines = iter(account.provider.read_bill(content, run.day))
    done: int = run.lines_read
    next(islice(lines, done, done), None)
    while batch := list(islice(lines, SLICE)):
        hold()
        with transaction() as tx:
            _move_cursor(tx, run, file.id, done, done + len(batch))
            insert_many(tx, _lines, [row_of(run, line) for line in batch])
        done += len(batch)
    return done


def clear(run: Any, hold: Callable[[], None]) -> None:
    """Take the lines of an earlier file of the day away, some at once, because another has come."""
    own = (
        _lines.c.merchant_id == run.merchant_id,
        _lines.c.account_id == run.account_id,
        _lines.c.day == run.day,
    )
    which = {"merchant_id": run.merchant_id, "account_id": run.account_id, "day": run.day}
    while True:
        hold()
        with transaction() as tx:
            last = tx.execute(_LAST, which).scalar_one()
            if last is None:
                return
            tx.execute(sa.delete(_lines).where(*own, _lines.c.number > last - SLICE))


def row_of(run: Any, line: BillLine) -> dict[str, Any]:
    """A line as a row of the table, not judged yet.  Pure."""
    row = {
        "merchant_id": run.merchant_id,
        "account_id": run.account_id,
        "day": run.day,
        "number": line.number,
        "kind": "unread",
        "subject": "",
        "out_trade_no": "",
        "provider_ref": "",
        "amount_minor": 0,
        "currency": "",
        "fee_minor": 0,
        "happened_at": None,
        "is_open": False,
        "is_foreign": False,
        "text": "",
        "here_minor": 0,
        "here_fee_minor": 0,
    }
    if isinstance(line, WrongTotals):
        return row | {"kind": "totals", "subject": "totals", "text": _plain(line.text)}
    if not isinstance(line, StatementLine):
        digest = hashlib.sha256(line.text.encode()).hexdigest()[:16]
        text = _plain(f"{line.reason}: {line.text}")
        return row | {"subject": f"unread:{line.number}:{digest}", "text": text}
    return row | {
        "kind": line.kind,
        "subject": subject_of(line.kind, _number_of(line)),
        "out_trade_no": line.out_trade_no[:64],
        "provider_ref": line.provider_ref[:64],
        "amount_minor": line.amount.minor,
        "currency": line.amount.currency,
        "fee_minor": line.fee.minor,
        "happened_at": line.happened_at,
        "is_open": line.is_open,
        "is_foreign": line.is_foreign,
    }


def subject_of(kind: str, number: str) -> str:
    """``("payment", "01JD…") -> "payment:01JD…"``: what a line and our own books call the same.  Pure."""
    return f"{kind}:{number}"[:80]


def slices_of(read: Callable[[int], list[sa.Row[Any]]]) -> Iterator[list[sa.Row[Any]]]:
    """Lines in slices by their number; ``read`` takes the last one that was seen."""
    last = -1
    while rows := read(last):
        yield rows
        last = rows[-1].number


def _number_of(line: StatementLine) -> str:
    """A line that names nothing of ours is known by its provider's number."""
    ours = line.out_trade_no if line.kind == "payment" else line.out_refund_no
    return ours or line.provider_ref


def _plain(text: str) -> str:
    return "".join([char if char.isprintable() else " " for char in text])[:300]


def _move_cursor(tx: Connection, run: Any, file_id: str, done: int, to: int) -> None:
    moved = tx.execute(
        sa.update(_days)
        .where(
            _days.c.merchant_id == run.merchant_id,
            _days.c.id == run.id,
            _days.c.file_id == file_id,
            _days.c.lines_read == done,
        )
        .values(lines_read=to)
    )
    if moved.rowcount != 1:
        raise Conflict("somebody else reads this bill now", code="day_is_busy")
