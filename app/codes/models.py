"""Printed codes, and how often each was scanned in each hour."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.codes.terms import CodePurpose, LabelKind
from app.db import Base


class QRCode(Base):
    """A printed sign.  All but its letters, mode and currency may change while it hangs; never deleted.

    ``code`` is unique across merchants, because the symbol names nothing else.
    """

    __tablename__ = "qr_codes"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.ForeignKeyConstraint(["merchant_id", "store_id"], ["stores.merchant_id", "stores.id"]),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.CheckConstraint("min_minor > 0 AND min_minor <= max_minor", name="limits"),
        sa.Index("ix_qr_codes_code", "code", unique=True),
        sa.Index("ix_qr_codes_mode", "merchant_id", "livemode", "id"),
        sa.Index("ix_qr_codes_series", "merchant_id", "series_id", "id"),
        sa.Index(
            "ix_qr_codes_quiet",
            "merchant_id",
            "livemode",
            sqlite_where=sa.text("quiet_since IS NOT NULL"),
            postgresql_where=sa.text("quiet_since IS NOT NULL"),
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    code: Mapped[str] = mapped_column(sa.String(12))
    purpose: Mapped[CodePurpose] = mapped_column(sa.String(8), default=CodePurpose.PAY)
    name: Mapped[str] = mapped_column(sa.String(80))
    store_id: Mapped[str | None] = mapped_column(sa.String(40))
    label_kind: Mapped[LabelKind | None] = mapped_column(sa.String(16))
    label_text: Mapped[str] = mapped_column(sa.String(40), default="")
    series_id: Mapped[str | None] = mapped_column(sa.String(40))
    series: Mapped[str | None] = mapped_column(sa.String(80))  # what it was called when it was made
    currency: Mapped[str] = mapped_column(sa.String(3))
    amount_minor: Mapped[int | None]  # None: the shopper says how much, within the limits
    preset_minor: Mapped[int | None]  # what stands in the field at first
    min_minor: Mapped[int]
    max_minor: Mapped[int]
    suggested: Mapped[list[int]] = mapped_column(sa.JSON)
    max_payments: Mapped[int | None]
    daily_cap_minor: Mapped[int | None]  # of a day in Beijing
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    inactive_zh: Mapped[str] = mapped_column(sa.String(200), default="")
    inactive_en: Mapped[str] = mapped_column(sa.String(200), default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    scans: Mapped[int] = mapped_column(default=0)
    last_scan_at: Mapped[datetime | None]
    quiet_since: Mapped[datetime | None]  # its last scan, once that is longer ago than is usual


class ScanHour(Base):
    """How often a code was scanned in one hour.  Hours without a scan have no row."""

    __tablename__ = "qr_code_hours"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "code_id"], ["qr_codes.merchant_id", "qr_codes.id"]),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    code_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)  # its beginning
    scans: Mapped[int]
