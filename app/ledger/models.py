"""Entries of the ledger, the rates by which fees are foreseen, and how far the checker has come."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Entry(Base):
    """So much went from one account (``credit``) to another (``debit``), and why.

    One row names both sides, so there is no way to write one without the other: every set of entries is
    balanced, in every currency.  The database refuses UPDATE and DELETE (migration 0013).
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.CheckConstraint("debit <> credit", name="sides"),
        sa.Index("ix_ledger_entries_attempt", "merchant_id", "attempt_id"),
        sa.Index(
            "ix_ledger_entries_member",
            *("merchant_id", "member_id"),
            sqlite_where=sa.text("member_id IS NOT NULL"),
            postgresql_where=sa.text("member_id IS NOT NULL"),
        ),
        sa.Index("ix_ledger_entries_time", "merchant_id", "livemode", "posted_at"),
    )

    # The key says that a cause is posted once.
    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    cause_id: Mapped[str] = mapped_column(
        sa.String(40), primary_key=True
    )  # an attempt, refund, decision, movement
    event: Mapped[str] = mapped_column(sa.String(24), primary_key=True)  # what became of it
    livemode: Mapped[bool]
    debit: Mapped[str] = mapped_column(sa.String(56))
    credit: Mapped[str] = mapped_column(sa.String(56))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    attempt_id: Mapped[str | None] = mapped_column(sa.String(40))  # whose money it is; None: no payment's
    member_id: Mapped[str | None] = mapped_column(sa.String(40))  # whose purse it moves; None: nobody's
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))
    posted_at: Mapped[datetime]


class FeeRate(Base):
    """What a provider account costs from a moment on, in one currency.  Never changed, but followed."""

    __tablename__ = "fee_rates"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["provider_accounts.merchant_id", "provider_accounts.id"]
        ),
        sa.CheckConstraint("basis_points >= 0 AND fixed_minor >= 0", name="rate"),
        sa.Index("ix_fee_rates_since", "merchant_id", "account_id", "currency", "valid_from", unique=True),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.String(40))
    currency: Mapped[str] = mapped_column(sa.String(3))
    valid_from: Mapped[datetime]
    basis_points: Mapped[int] = mapped_column(sa.Integer)  # 60 are 0.6 %
    fixed_minor: Mapped[int]
    created_at: Mapped[datetime]


class LedgerCheck(Base):
    """How far the checker has come with a merchant."""

    __tablename__ = "ledger_checks"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    cursor: Mapped[str] = mapped_column(sa.String(40))  # the last attempt of this round; empty: none yet
    faults: Mapped[int] = mapped_column(sa.Integer)  # found in this round so far
    last_faults: Mapped[int] = mapped_column(sa.Integer)  # in the last whole one
    finished_at: Mapped[datetime | None]  # when that ended
