"""Members of a merchant's app, what each has to spend, and every movement of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class MoveKind(StrEnum):
    """What a movement is.  The first entry of the ledger that it makes has the same name."""

    TOPUP = "topup"
    TOPUP_TAKEN_BACK = "topup_taken_back"  # a refund of it was asked for
    TOPUP_GIVEN_BACK = "topup_given_back"  # that refund failed, or was declined
    TOPUP_TAKEN_AGAIN = "topup_taken_again"  # and went back after all
    DEBIT = "debit"
    REVERSAL = "reversal"
    ADJUSTMENT = "adjustment"  # by hand


class Member(Base):
    """A customer account of the merchant's app, of one mode and one currency.

    ``balance_minor`` was paid in, ``bonus_minor`` given on top; both can be spent.  They change in
    ``change.py`` and nowhere else.  Below zero only where the merchant's rules allow it.
    """

    __tablename__ = "members"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_members_account", "merchant_id", "livemode", "account", unique=True),
        sa.Index("ix_members_phone", "merchant_id", "livemode", "phone", unique=True),
        sa.Index("ix_members_mode", "merchant_id", "livemode", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    account: Mapped[str] = mapped_column(sa.String(64))  # what the merchant's own system calls it
    name: Mapped[str] = mapped_column(sa.String(80), default="")
    phone: Mapped[str | None] = mapped_column(sa.String(20))  # digits: how shoppers name themselves at a sign
    currency: Mapped[str] = mapped_column(sa.String(3))
    balance_minor: Mapped[int] = mapped_column(default=0)
    bonus_minor: Mapped[int] = mapped_column(default=0)
    sequence: Mapped[int] = mapped_column(default=0)  # of the latest movement, and of its event
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    blocked_at: Mapped[datetime | None]  # tops up and spends nothing; money on its way still comes in


class Movement(Base):
    """One change of a member's purse.  The database refuses UPDATE and DELETE (migration 0014)."""

    __tablename__ = "member_movements"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "member_id"], ["members.merchant_id", "members.id"]),
        sa.CheckConstraint("balance_minor <> 0 OR bonus_minor <> 0", name="amount"),
        sa.Index("ix_member_movements_number", "merchant_id", "member_id", "number", unique=True),
        # A cause moves a purse once in each way, whatever the code above believes.
        sa.Index("ix_member_movements_cause", "merchant_id", "cause_id", "kind", unique=True),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    member_id: Mapped[str] = mapped_column(sa.String(40))
    livemode: Mapped[bool]
    number: Mapped[int]  # 1, 2, 3 … of its member
    kind: Mapped[MoveKind] = mapped_column(sa.String(24))
    cause_id: Mapped[str] = mapped_column(sa.String(40))  # a top-up, refund, debit or adjustment
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))  # whose money it was
    balance_minor: Mapped[int]  # so much more, or less, than before
    bonus_minor: Mapped[int]
    balance_after_minor: Mapped[int]
    bonus_after_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    note: Mapped[str] = mapped_column(sa.String(200), default="")
    made_by: Mapped[str | None] = mapped_column(sa.String(254))  # a person's e-mail address, or a key's id
    created_at: Mapped[datetime]


class Topup(Base):
    """A charge that fills a member's purse.  ``tiers`` is what was promised when it was made."""

    __tablename__ = "topups"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "member_id"], ["members.merchant_id", "members.id"]),
        sa.ForeignKeyConstraint(["merchant_id", "charge_id"], ["charges.merchant_id", "charges.id"]),
        sa.CheckConstraint("amount_minor > 0 AND bonus_minor >= 0", name="amount"),
        sa.CheckConstraint(
            "bonus_taken_minor >= 0 AND bonus_taken_minor <= bonus_credited_minor", name="bonus"
        ),
        sa.Index("ix_topups_charge", "merchant_id", "charge_id", unique=True),
        sa.Index("ix_topups_member", "merchant_id", "member_id", "id"),
        sa.Index("ix_topups_mode", "merchant_id", "livemode", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    member_id: Mapped[str] = mapped_column(sa.String(40))
    charge_id: Mapped[str] = mapped_column(sa.String(40))
    livemode: Mapped[bool]
    amount_minor: Mapped[int]
    bonus_minor: Mapped[int]  # for that amount
    currency: Mapped[str] = mapped_column(sa.String(3))
    rule_id: Mapped[str | None] = mapped_column(sa.String(40))  # the bonus rule then
    tiers: Mapped[list[Any]] = mapped_column(sa.JSON)  # its tiers: [[from_minor, bonus_minor], …]
    credited_minor: Mapped[int | None]  # what was paid, once it was
    bonus_credited_minor: Mapped[int] = mapped_column(default=0)
    taken_minor: Mapped[int] = mapped_column(default=0)  # taken back by refunds that have not failed
    bonus_taken_minor: Mapped[int] = mapped_column(default=0)
    sequence: Mapped[int] = mapped_column(default=0)  # of its latest event
    created_at: Mapped[datetime]
    credited_at: Mapped[datetime | None]


class Debit(Base):
    """A member has spent something: first of what was paid in, then of the bonus."""

    __tablename__ = "member_debits"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "member_id"], ["members.merchant_id", "members.id"]),
        sa.CheckConstraint("balance_minor >= 0 AND bonus_minor >= 0 AND amount_minor > 0", name="parts"),
        sa.CheckConstraint("balance_minor + bonus_minor = amount_minor", name="amount"),
        sa.CheckConstraint("reversed_minor >= 0 AND reversed_minor <= amount_minor", name="reversed"),
        sa.Index("ix_member_debits_number", "merchant_id", "livemode", "debit_no", unique=True),
        sa.Index("ix_member_debits_member", "merchant_id", "member_id", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    member_id: Mapped[str] = mapped_column(sa.String(40))
    livemode: Mapped[bool]
    debit_no: Mapped[str] = mapped_column(sa.String(64))  # the merchant's own
    amount_minor: Mapped[int]
    balance_minor: Mapped[int]  # its part of what was paid in
    bonus_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    description: Mapped[str] = mapped_column(sa.String(127))
    reversed_minor: Mapped[int] = mapped_column(default=0)
    reversed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class BonusRule(Base):
    """What is given on top of a top-up from a moment on.  Followed by a later rule, never changed."""

    __tablename__ = "bonus_rules"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_bonus_rules_since", "merchant_id", "livemode", "currency", "valid_from", unique=True),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    currency: Mapped[str] = mapped_column(sa.String(3))
    valid_from: Mapped[datetime]
    tiers: Mapped[list[Any]] = mapped_column(
        sa.JSON
    )  # [[from_minor, bonus_minor], …], rising; none: no bonus
    created_at: Mapped[datetime]
