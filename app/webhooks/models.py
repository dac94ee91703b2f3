"""Facts for the merchant and their way there: events, endpoints, deliveries, attempts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"  # the whole schedule failed; a person may resend
    ABANDONED = "abandoned"  # its endpoint was deleted or disabled


class Event(Base):
    """Something that happened, immutable.  ``body`` is frozen at commit: every try sends these bytes."""

    __tablename__ = "events"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_events_object", "merchant_id", "object_id", "sequence", unique=True),
        sa.Index("ix_events_position", "merchant_id", "position", "id"),
        sa.Index("ix_events_created", "merchant_id", "created_at"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    type: Mapped[str] = mapped_column(sa.String(64))
    object_id: Mapped[str] = mapped_column(sa.String(40))
    sequence: Mapped[int] = mapped_column(sa.Integer)  # per object, rising in commit order
    body: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime]
    position: Mapped[int | None]  # in the merchant's feed; given after the commit, see feed.py


class WebhookEndpoint(Base):
    """An address of the merchant's system.  Deleting one only marks it: its history stays."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    url: Mapped[str] = mapped_column(sa.String(2048))
    description: Mapped[str] = mapped_column(sa.String(200), default="")
    event_types: Mapped[str] = mapped_column(sa.String(1000), default="*")  # comma-separated, or "*"
    sealed_secret: Mapped[str] = mapped_column(sa.String(400))  # the keys that sign, see signature.py
    old_secrets: Mapped[list[dict[str, str]] | None] = mapped_column(sa.JSON(none_as_null=True))
    public_key: Mapped[str | None] = mapped_column(sa.String(64))  # whpk_…, of an endpoint that wants v1a
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(sa.String(40))
    deleted_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]  # first of an unbroken run of failures
    failed_rounds: Mapped[int] = mapped_column(sa.Integer, default=0)  # records since then, all failures
    next_probe_at: Mapped[datetime | None]  # set: the breaker is open, and one try is made then


class Delivery(Base):
    """One event on its way to one endpoint."""

    __tablename__ = "deliveries"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "event_id"], ["events.merchant_id", "events.id"]),
        sa.ForeignKeyConstraint(
            ["merchant_id", "endpoint_id"], ["webhook_endpoints.merchant_id", "webhook_endpoints.id"]
        ),
        sa.Index("ix_deliveries_event", "merchant_id", "event_id", "endpoint_id", unique=True),
        sa.Index("ix_deliveries_endpoint", "merchant_id", "endpoint_id", "id"),
        # A row changes with each try: with room on its page no index is written for that.
        {"postgresql_with": {"fillfactor": 60}},
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    event_id: Mapped[str] = mapped_column(sa.String(40))
    endpoint_id: Mapped[str] = mapped_column(sa.String(40))
    state: Mapped[DeliveryState] = mapped_column(sa.String(16), default=DeliveryState.PENDING)
    tries: Mapped[int] = mapped_column(sa.Integer, default=0)
    next_try_at: Mapped[datetime | None]  # for people; the job's due_at decides
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class DeliveryAttempt(Base):
    """One HTTP exchange of a delivery, or its failure."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "delivery_id"], ["deliveries.merchant_id", "deliveries.id"]),
        sa.Index("ix_delivery_attempts_delivery", "merchant_id", "delivery_id", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(sa.String(40))
    number: Mapped[int] = mapped_column(sa.Integer)  # 1 is the first try
    started_at: Mapped[datetime]
    duration_ms: Mapped[int] = mapped_column(sa.Integer)
    status: Mapped[int | None] = mapped_column(sa.Integer)  # None: no HTTP answer
    error: Mapped[str | None] = mapped_column(sa.String(200))
    response_head: Mapped[str | None] = mapped_column(sa.Text)  # the first 2,000 characters
    signed_with: Mapped[str | None] = mapped_column(sa.String(40))  # schemes, such as "v1 v1 v1a"
