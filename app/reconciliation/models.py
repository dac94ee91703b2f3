"""Bills as they came, their lines, how each day ended, and what a person has to look into."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.reconciliation.states import DayState, ItemState


def _of_account() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["merchant_id", "account_id"], ["provider_accounts.merchant_id", "provider_accounts.id"]
    )


class BillFile(Base):
    """A bill, whole, as it was packed; its bytes are in ``bill_chunks``."""

    __tablename__ = "bill_files"
    __table_args__ = (
        _of_account(),
        sa.Index("ix_bill_files_day", "merchant_id", "account_id", "day", "sha256", unique=True),
        sa.Index("ix_bill_files_time", "stored_at"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.String(40))
    day: Mapped[date]
    sha256: Mapped[str] = mapped_column(sa.String(64))
    size_bytes: Mapped[int]
    lines: Mapped[int] = mapped_column(sa.Integer)
    stored_by: Mapped[str] = mapped_column(sa.String(254))  # ``server``, or who uploaded it
    stored_at: Mapped[datetime]
    forgotten_at: Mapped[datetime | None]  # when its bytes went; that it came stays


class BillChunk(Base):
    """A piece of a file, a mebibyte at most.  Written with the file's row, in one transaction."""

    __tablename__ = "bill_chunks"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "file_id"], ["bill_files.merchant_id", "bill_files.id"]),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    file_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    number: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)


class Reconciliation(Base):
    """One day of one provider account."""

    __tablename__ = "reconciliations"
    __table_args__ = (
        _of_account(),
        sa.Index("ix_reconciliations_day", "merchant_id", "account_id", "day", unique=True),
        sa.Index("ix_reconciliations_mode", "merchant_id", "livemode", "day", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.String(40))
    provider: Mapped[str] = mapped_column(sa.String(16))
    livemode: Mapped[bool]
    day: Mapped[date]
    state: Mapped[DayState] = mapped_column(sa.String(16))
    file_id: Mapped[str | None] = mapped_column(sa.String(40))  # whose lines are in ``bill_lines``
    lines_read: Mapped[int] = mapped_column(sa.Integer, default=0)  # of it so far: where to go on
    opened: Mapped[int] = mapped_column(sa.Integer, default=0)  # discrepancies that it has brought
    asked: Mapped[int] = mapped_column(sa.Integer, default=0)  # of unknown numbers
    summary: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)  # the proof, as it was concluded
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    sequence: Mapped[int] = mapped_column(sa.Integer, default=0)  # of its latest event


class BillRow(Base):
    """A line of a bill and what it came to.  Money that left the merchant is negative."""

    __tablename__ = "bill_lines"
    __table_args__ = (
        _of_account(),
        # The subject comes first: PostgreSQL, as long as it has no statistics of a new table, took an index
        # that begins like the key for as good as the key, and read the whole account for each line.
        sa.Index("ix_bill_lines_subject", "subject", "account_id"),
        sa.Index(
            "ix_bill_lines_here",
            *("merchant_id", "account_id", "here_day"),
            sqlite_where=sa.text("here_day <> day"),
            postgresql_where=sa.text("here_day <> day"),
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(sa.Integer, primary_key=True)  # in the file
    kind: Mapped[str] = mapped_column(sa.String(8))  # "payment" | "refund" | "unread" | "totals"
    subject: Mapped[str] = mapped_column(sa.String(80))  # "payment:" or "refund:" and its number
    out_trade_no: Mapped[str] = mapped_column(sa.String(64))
    provider_ref: Mapped[str] = mapped_column(sa.String(64))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    fee_minor: Mapped[int]
    happened_at: Mapped[datetime | None]
    is_open: Mapped[bool]
    is_foreign: Mapped[bool]
    text: Mapped[str] = mapped_column(sa.String(300))  # why it cannot be read, and what it says
    verdict: Mapped[str | None] = mapped_column(sa.String(16))  # None: nobody has looked yet
    cause_id: Mapped[str | None] = mapped_column(sa.String(40))  # our attempt or refund
    # What our ledger has of it: nothing, as long as there is no day.
    here_minor: Mapped[int] = mapped_column(default=0)
    here_fee_minor: Mapped[int] = mapped_column(default=0)
    here_day: Mapped[date | None]


class Discrepancy(Base):
    """Something in which bill and books differ: a work item."""

    __tablename__ = "discrepancies"
    __table_args__ = (
        _of_account(),
        # The key by which going through a day again adds nothing.
        sa.Index(
            "ix_discrepancies_subject",
            *("merchant_id", "account_id", "subject", "day", "sort"),
            unique=True,
        ),
        sa.Index("ix_discrepancies_day", "merchant_id", "account_id", "day", "state"),
        sa.Index("ix_discrepancies_mode", "merchant_id", "livemode", "state", "id"),
        sa.Index("ix_discrepancies_of_day", "merchant_id", "livemode", "day", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    account_id: Mapped[str] = mapped_column(sa.String(40))
    provider: Mapped[str] = mapped_column(sa.String(16))
    day: Mapped[date]
    sort: Mapped[str] = mapped_column(sa.String(16))
    subject: Mapped[str] = mapped_column(sa.String(80))
    line: Mapped[int | None] = mapped_column(sa.Integer)  # in the file
    out_trade_no: Mapped[str] = mapped_column(sa.String(64))
    provider_ref: Mapped[str] = mapped_column(sa.String(64))
    attempt_id: Mapped[str | None] = mapped_column(sa.String(40))
    refund_id: Mapped[str | None] = mapped_column(sa.String(40))
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))
    currency: Mapped[str] = mapped_column(sa.String(3))
    here_minor: Mapped[int | None]  # what our books say; None: nothing
    there_minor: Mapped[int | None]  # what the bill says
    detail: Mapped[str] = mapped_column(sa.String(300))
    state: Mapped[ItemState] = mapped_column(sa.String(16))
    owner: Mapped[str | None] = mapped_column(sa.String(254))  # who looks into it: an e-mail address
    note: Mapped[str] = mapped_column(sa.String(500), default="")
    resolution: Mapped[str | None] = mapped_column(sa.String(16))
    resolved_by: Mapped[str | None] = mapped_column(sa.String(254))
    opened_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
