"""Callbacks kept as evidence: what a provider told us, byte for byte, once it was verified."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Callback(Base):
    """One verified message.  The same bytes again only raise ``times``."""

    __tablename__ = "callbacks"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["provider_accounts.merchant_id", "provider_accounts.id"]
        ),
        sa.Index("ix_callbacks_digest", "merchant_id", "account_id", "digest", unique=True),
        # For those whose bodies are to be forgotten: an index of what still has one.
        sa.Index(
            "ix_callbacks_bodies",
            "last_at",
            sqlite_where=sa.text("length(body) > 0"),
            postgresql_where=sa.text("length(body) > 0"),
        ),
        sa.Index("ix_callbacks_number", "merchant_id", "account_id", "out_trade_no"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.String(40))
    digest: Mapped[str] = mapped_column(sa.String(64))  # SHA-256 of the body
    out_trade_no: Mapped[str] = mapped_column(sa.String(64))
    outcome: Mapped[str] = mapped_column(sa.String(16))
    body: Mapped[bytes] = mapped_column(sa.LargeBinary)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    times: Mapped[int] = mapped_column(sa.Integer, default=1)
