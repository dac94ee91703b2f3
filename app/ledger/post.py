"""The one way into the ledger: postings, written in the transaction of what they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_many, moment, table_of
from app.ledger.models import Entry

_entries = table_of(Entry)
_INSERT = sa.insert(_entries)


@dataclass(frozen=True, slots=True)
class Transfer:
    """So much from ``credit`` to ``debit``, because of what ``event`` says of ``cause_id``."""

    event: str
    cause_id: str
    debit: str
    credit: str
    amount_minor: int
    charge_id: str | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """Transfers of one payment's or member's money that belong together, in one mode and currency."""

    merchant_id: str
    livemode: bool
    currency: str
    attempt_id: str | None
    transfers: Sequence[Transfer]
    member_id: str | None = None


def post(tx: Connection, posting: Posting) -> None:
    """Write a posting, all of it in one INSERT.  A step.

    Raises IntegrityError if one of its causes was posted before: then a guard above has failed, and
    nothing of this transaction may stay.
    """
    rows = rows_of(posting, moment(tx))
    if len(rows) == 1:
        tx.execute(_INSERT, rows[0])
    else:
        insert_many(tx, _entries, rows)


def post_many(tx: Connection, postings: Sequence[Posting]) -> None:
    """Write several, of several payments, in one INSERT.  A step."""
    now = moment(tx)
    insert_many(tx, _entries, [row for posting in postings for row in rows_of(posting, now)])


def rows_of(posting: Posting, posted_at: datetime) -> list[dict[str, Any]]:
    """A posting as rows of the table.  Pure."""
    return [
        {
            "merchant_id": posting.merchant_id,
            "cause_id": each.cause_id,
            "event": each.event,
            "livemode": posting.livemode,
            "debit": each.debit,
            "credit": each.credit,
            "amount_minor": each.amount_minor,
            "currency": posting.currency,
            "attempt_id": posting.attempt_id,
            "member_id": posting.member_id,
            "charge_id": each.charge_id,
            "posted_at": posted_at,
        }
        for each in posting.transfers
    ]
