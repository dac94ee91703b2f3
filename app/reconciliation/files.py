"""Bills as they came: stored whole or not at all, named by their SHA-256, kept for years.

In tables and not on disk, because workers on several machines share nothing else, and because a backup of
the database is then a backup of the evidence, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.merchants import audit
from app.merchants.accounts import OpenAccount
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.reconciliation.models import BillChunk, BillFile

log = structlog.get_logger(__name__)

CHUNK_BYTES = 1 << 20
FILE_BYTES_MAX = 64 << 20  # packed: a day of more than a million payments
# Accounts and what they rest on are kept for years; WeChat Pay itself hands out a bill for three months.
KEPT = timedelta(days=1827)
FORGET_AT_ONCE = 20

_files, _chunks = table_of(BillFile), table_of(BillChunk)


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is in the tables; ``is_new`` unless the same bytes were there before."""

    id: str
    sha256: str
    lines: int
    is_new: bool


def store(account: OpenAccount, day: date, content: bytes, *, by: Actor = SERVER) -> Stored:
    """Read a bill through to its end, then keep it.  The same bytes again are kept once.

    Raises ProviderUnreachable if it is not the bill of this account and day, InvalidRequest if too large.
    """
    if len(content) > FILE_BYTES_MAX:
        raise InvalidRequest(f"a bill has {FILE_BYTES_MAX >> 20} MiB at most", param="file")
    lines = sum(1 for _ in account.provider.read_bill(content, day))
    digest = hashlib.sha256(content).hexdigest()
    file_id = new_id("bf")
    with transaction() as tx:
        row = {
            "merchant_id": account.merchant_id,
            "id": file_id,
            "account_id": account.id,
            "day": day,
            "sha256": digest,
            "size_bytes": len(content),
            "lines": lines,
            "stored_by": by.name[:254],
            "stored_at": moment(tx),
        }
        is_new = bool(tx.execute(insert_or_skip(tx, _files), row).rowcount)
        if is_new:
            _write(tx, account.merchant_id, file_id, content)
            facts = {"day": day, "sha256": digest, "size_bytes": len(content), "lines": lines}
            if by is not SERVER:
                audit.append(tx, account.merchant_id, by, Action.BILL_UPLOADED, account.id, after=facts)
    log.info(
        "bill stored", account_id=account.id, day=day.isoformat(), sha256=digest, lines=lines, new=is_new
    )
    known = find(account.merchant_id, account.id, day, digest)
    return Stored(known.id, digest, lines, is_new)


def find(merchant_id: str, account_id: str, day: date, sha256: str) -> sa.Row[Any]:
    """The row of a file.  Raises NotFound."""
    query = sa.select(*_files.c).where(*_of(merchant_id, account_id, day), _files.c.sha256 == sha256)
    with reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise NotFound("no such bill")
    return row


def latest(merchant_id: str, account_id: str, day: date) -> sa.Row[Any] | None:
    """The newest bill of a day whose bytes are still there: a corrected one comes later."""
    query = (
        sa.select(*_files.c)
        .where(*_of(merchant_id, account_id, day), _files.c.forgotten_at.is_(None))
        .order_by(_files.c.stored_at.desc(), _files.c.id.desc())
        .limit(1)
    )
    with reading() as connection:
        return connection.execute(query).first()


def list_of_day(merchant_id: str, account_id: str, day: date) -> list[sa.Row[Any]]:
    """Every bill of a day, oldest first."""
    query = sa.select(*_files.c).where(*_of(merchant_id, account_id, day)).order_by(_files.c.id).limit(20)
    with reading() as connection:
        return list(connection.execute(query))


def content_of(merchant_id: str, file_id: str) -> bytes:
    """The bytes, as they came.  Raises NotFound when they are forgotten."""
    row = (_chunks.c.merchant_id == merchant_id, _chunks.c.file_id == file_id)
    with reading() as connection:
        pieces = list(connection.scalars(sa.select(_chunks.c.content).where(*row).order_by(_chunks.c.number)))
    if not pieces:
        raise NotFound("the bytes of this bill are not kept any more")
    return b"".join(pieces)


def forget_old() -> int:
    """The bytes of bills past their time go, some at once; their names and digests stay."""
    with reading() as connection:
        before = moment(connection) - KEPT
        query = (
            sa.select(_files.c.merchant_id, _files.c.id)
            .where(_files.c.stored_at < before, _files.c.forgotten_at.is_(None))
            .order_by(_files.c.stored_at)
            .limit(FORGET_AT_ONCE)
        )
        rows = list(connection.execute(query))
    for row in rows:
        with transaction() as tx:
            own = (_chunks.c.merchant_id == row.merchant_id, _chunks.c.file_id == row.id)
            tx.execute(sa.delete(_chunks).where(*own))
            mine = (_files.c.merchant_id == row.merchant_id, _files.c.id == row.id)
            tx.execute(sa.update(_files).where(*mine).values(forgotten_at=moment(tx)))
    return len(rows)


def _write(tx: sa.Connection, merchant_id: str, file_id: str, content: bytes) -> None:
    pieces = range(0, max(len(content), 1), CHUNK_BYTES)
    tx.execute(
        sa.insert(_chunks),
        [
            {
                "merchant_id": merchant_id,
                "file_id": file_id,
                "number": number,
                "content": content[at : at + CHUNK_BYTES],
            }
            for number, at in enumerate(pieces)
        ],
    )


def _of(merchant_id: str, account_id: str, day: date) -> list[sa.ColumnElement[bool]]:
    return [_files.c.merchant_id == merchant_id, _files.c.account_id == account_id, _files.c.day == day]
