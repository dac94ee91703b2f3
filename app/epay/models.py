"""Shops that speak 易支付: switch and key, orders, what a shop is owed to hear and what came of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class NoticeState(StrEnum):
    """How far the news of a payment has come."""

    PENDING = "pending"
    DELIVERED = "delivered"  # the shop answered "success"
    EXHAUSTED = "exhausted"  # the whole schedule failed; a person may send it again
    ABANDONED = "abandoned"  # the money went back first, or the front was switched off


class EpayFront(Base):
    """Whether a merchant takes 易支付 requests in a mode, and as whom.  Without a row it never did."""

    __tablename__ = "epay_fronts"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool] = mapped_column(primary_key=True)
    pid: Mapped[str] = mapped_column(sa.String(12), unique=True)  # digits: the only name a request gives
    sealed_key: Mapped[str] = mapped_column(sa.String(400))
    key_tail: Mapped[str] = mapped_column(sa.String(4))
    enabled: Mapped[bool]
    refunds_enabled: Mapped[bool]
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime]  # when the key was made


class EpayOrder(Base):
    """A charge that a shop asked for in 易支付, with what the shop is told of it.

    ``notice`` is frozen when the charge is paid: every try sends these parameters, and only the signature
    is made anew, by the key of the moment.
    """

    __tablename__ = "epay_orders"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "charge_id"], ["charges.merchant_id", "charges.id"]),
        sa.Index("ix_epay_orders_number", "merchant_id", "livemode", "out_trade_no", unique=True),
        sa.Index("ix_epay_orders_mode", "merchant_id", "livemode", "charge_id"),
        sa.Index("ix_epay_orders_return", "return_token", unique=True),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    charge_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    out_trade_no: Mapped[str] = mapped_column(sa.String(64))
    method: Mapped[str] = mapped_column(sa.String(16))  # as the shop wrote it when it first asked; or empty
    name: Mapped[str] = mapped_column(sa.String(127))
    money: Mapped[str] = mapped_column(sa.String(16))  # as the shop wrote it: it may compare the letters
    param: Mapped[str] = mapped_column(sa.String(500))
    notify_url: Mapped[str] = mapped_column(sa.String(1024))
    return_url: Mapped[str | None] = mapped_column(sa.String(1024))
    return_token: Mapped[str] = mapped_column(sa.String(32))
    created_at: Mapped[datetime]
    notice: Mapped[str | None] = mapped_column(sa.Text)  # parameters, encoded; None: nothing to tell yet
    notice_state: Mapped[NoticeState | None] = mapped_column(sa.String(16))
    tries: Mapped[int] = mapped_column(sa.Integer, default=0)
    next_try_at: Mapped[datetime | None]  # for people; the job's due_at decides
    delivered_at: Mapped[datetime | None]


class EpayTry(Base):
    """One request to a shop's notify address, or its failure."""

    __tablename__ = "epay_tries"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["merchant_id", "charge_id"], ["epay_orders.merchant_id", "epay_orders.charge_id"]
        ),
        sa.Index("ix_epay_tries_charge", "merchant_id", "charge_id", "id"),
        sa.Index("ix_epay_tries_time", "started_at"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    charge_id: Mapped[str] = mapped_column(sa.String(40))
    number: Mapped[int] = mapped_column(sa.Integer)  # 1 is the first
    started_at: Mapped[datetime]
    duration_ms: Mapped[int] = mapped_column(sa.Integer)
    status: Mapped[int | None] = mapped_column(sa.Integer)  # None: no HTTP answer
    error: Mapped[str | None] = mapped_column(sa.String(200))
    response_head: Mapped[str | None] = mapped_column(sa.Text)  # the first 500 characters


class EpayRefund(Base):
    """Which refund a shop's request made, so that the same request makes no second one."""

    __tablename__ = "epay_refunds"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["merchant_id", "charge_id"], ["epay_orders.merchant_id", "epay_orders.charge_id"]
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    charge_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    number: Mapped[str] = mapped_column(sa.String(80), primary_key=True)  # the shop's, or made of the amount
    refund_id: Mapped[str] = mapped_column(sa.String(40))
