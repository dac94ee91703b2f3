"""The books: charges, the attempts to pay them, refunds, incidents for a person and what they decided."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.charges.states import AttemptState, ChargeState, Deed, RefundState, Review
from app.db import Base


def _where(condition: str) -> dict[str, Any]:
    """What makes an index partial, for both databases."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


class Charge(Base):
    """What the merchant asks for.  "Refunded" is arithmetic, not a state.

    The key starts with the merchant, so that a distributed database keeps a merchant on one node;
    the plain index on ``id`` serves payment links, which name the charge alone.
    """

    __tablename__ = "charges"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.CheckConstraint("refunded_minor >= 0 AND refunded_minor <= amount_minor", name="refunded"),
        # Less than was asked may be accepted; no more goes back than was.  True of NULL, too.
        sa.CheckConstraint("paid_minor <= amount_minor AND refunded_minor <= paid_minor", name="paid"),
        sa.Index("ix_charges_id", "id"),
        sa.Index("ix_charges_order", "merchant_id", "livemode", "merchant_order_no", unique=True),
        sa.Index(
            "ix_charges_shift",
            *("merchant_id", "shift_id", "id"),
            **_where("shift_id IS NOT NULL"),
        ),
        # Takings: what a day brought is added up from the index alone.
        sa.Index(
            "ix_charges_paid",
            "merchant_id",
            "livemode",
            "paid_at",
            *("currency", "paid_minor", "amount_minor"),
            **_where("paid_at IS NOT NULL"),
        ),
        # The dashboard's list, newest first, under each of its filters.
        sa.Index("ix_charges_created", "merchant_id", "livemode", "created_at", "id"),
        sa.Index("ix_charges_state", "merchant_id", "livemode", "state", "created_at", "id"),
        sa.Index("ix_charges_amount", "merchant_id", "livemode", "amount_minor", "created_at", "id"),
        sa.Index(
            "ix_charges_provider",
            *("merchant_id", "livemode", "provider", "created_at", "id"),
            **_where("provider IS NOT NULL"),
        ),
        sa.Index(
            "ix_charges_store",
            *("merchant_id", "livemode", "store_id", "created_at", "id"),
            **_where("store_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_charges_qr_code_created",
            *("merchant_id", "qr_code_id", "created_at", "id"),
            **_where("qr_code_id IS NOT NULL"),
        ),
        # A store's charges as the API lists them.
        sa.Index(
            "ix_charges_store_id",
            *("merchant_id", "store_id", "id"),
            **_where("store_id IS NOT NULL"),
        ),
        # What a printed code has made: to list it, and to count what it may still take.
        sa.Index(
            "ix_charges_qr_code",
            "merchant_id",
            "qr_code_id",
            "id",
            **_where("qr_code_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_charges_qr_code_taken",
            "merchant_id",
            "qr_code_id",
            "state",
            "created_at",
            "paid_minor",  # so that counting reads the index alone
            **_where("qr_code_id IS NOT NULL"),
        ),
        # What rules about payments look at: amounts that shoppers typed, and what waits for a person.
        sa.Index(
            "ix_charges_by_shopper",
            *("merchant_id", "livemode", "created_at", "amount_minor", "currency", "id"),
            sqlite_where=sa.text("amount_by_shopper = 1"),  # as its queries spell a boolean
            postgresql_where=sa.text("amount_by_shopper"),
        ),
        sa.Index(
            "ix_charges_review",
            *("merchant_id", "livemode", "state", "id"),
            **_where("review = 'open'"),
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    state: Mapped[ChargeState] = mapped_column(sa.String(16))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    description: Mapped[str] = mapped_column(sa.String(127))
    merchant_order_no: Mapped[str | None] = mapped_column(sa.String(64))
    metadata_json: Mapped[dict[str, Any]] = mapped_column("metadata")
    return_url: Mapped[str | None] = mapped_column(sa.String(2048))
    qr_code_id: Mapped[str | None] = mapped_column(sa.String(40))  # the printed code that it was begun at
    amount_by_shopper: Mapped[bool] = mapped_column(default=False)  # typed at a code that asks for it
    # Where that code hung then; of other charges whatever was said when they were made.
    store_id: Mapped[str | None] = mapped_column(sa.String(40))
    topup_id: Mapped[str | None] = mapped_column(sa.String(40))  # of a member, if that is what it pays for
    taken_by: Mapped[str | None] = mapped_column(sa.String(254))  # the e-mail of who made it at the dashboard
    shift_id: Mapped[str | None] = mapped_column(sa.String(40))  # that person's shift then
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]  # expired or canceled, by state
    paid_late: Mapped[bool] = mapped_column(default=False)
    paid_attempt_id: Mapped[str | None] = mapped_column(sa.String(40))
    provider: Mapped[str | None] = mapped_column(sa.String(16))  # the one that paid
    paid_minor: Mapped[int | None]  # less than was asked, if a person accepted that; None: not paid
    refunded_minor: Mapped[int] = mapped_column(default=0)  # of that; reserved or succeeded
    sequence: Mapped[int] = mapped_column(sa.Integer, default=0)  # of its latest event
    review: Mapped[Review | None] = mapped_column(sa.String(16))  # held by a rule: see reviews.py
    review_opened_at: Mapped[datetime | None]
    review_closed_at: Mapped[datetime | None]
    review_by: Mapped[str | None] = mapped_column(sa.String(254))  # the e-mail of who decided
    review_reason: Mapped[str | None] = mapped_column(sa.String(200))


class Attempt(Base):
    """One try of a charge at one provider.  Committed before the provider hears of it."""

    __tablename__ = "attempts"
    __table_args__ = (
        # Whatever the code above believes, no more goes back than came in.
        sa.CheckConstraint(
            "refunded_minor >= 0 AND refunded_minor <= coalesce(received_minor, 0)", name="refunded"
        ),
        sa.ForeignKeyConstraint(["merchant_id", "charge_id"], ["charges.merchant_id", "charges.id"]),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["provider_accounts.merchant_id", "provider_accounts.id"]
        ),
        sa.Index("ix_attempts_charge", "merchant_id", "charge_id", "id"),
        sa.Index("ix_attempts_number", "account_id", "out_trade_no", unique=True),
        sa.Index("ix_attempts_provider_ref", "account_id", "provider_ref", unique=True),
        sa.Index("ix_attempts_code", "merchant_id", "code_key", unique=True),  # one code, one payment
        # What rules about payments count.  The keys are forgotten after a while: see screening.py.
        sa.Index("ix_attempts_open", *("merchant_id", "charge_id"), **_where("state = 'started'")),
        *[
            sa.Index(
                f"ix_attempts_{name}",
                *("merchant_id", f"{name}_key", "started_at"),
                **_where(f"{name}_key IS NOT NULL"),
            )
            for name in ("payer", "address", "device")
        ],
        # One attempt settles a charge, whatever the code above believes.
        sa.Index(
            "ix_attempts_settlement",
            "merchant_id",
            "charge_id",
            unique=True,
            sqlite_where=sa.text("settles"),
            postgresql_where=sa.text("settles"),
        ),
        # The few that brought money which no charge took: what a person may have to decide about.
        sa.Index(
            "ix_attempts_unneeded",
            "merchant_id",
            "id",
            sqlite_where=sa.text("received_minor > credited_minor"),
            postgresql_where=sa.text("received_minor > credited_minor"),
        ),
        sa.CheckConstraint(
            "credited_minor >= 0 AND outside_minor >= 0 AND credited_minor + outside_minor <= received_minor",
            name="received",
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))  # None: money that nobody asked for
    account_id: Mapped[str] = mapped_column(sa.String(40))
    routing_rule_id: Mapped[str | None] = mapped_column(sa.String(40))  # that chose the account, if one did
    provider: Mapped[str] = mapped_column(sa.String(16))
    scene: Mapped[str] = mapped_column(sa.String(16))
    payer_key: Mapped[str | None] = mapped_column(sa.String(64))  # a digest, where only that payer can pay it
    address_key: Mapped[str | None] = mapped_column(sa.String(32))  # digests of whence it was begun
    device_key: Mapped[str | None] = mapped_column(sa.String(32))
    code_key: Mapped[str | None] = mapped_column(sa.String(64))  # a digest, by which a code is known again
    # When it was given up by reversal, stored before that is sent: from then on its money goes back.
    given_up_at: Mapped[datetime | None]
    # Ours have 26 letters and digits; of money that nobody asked for it is whatever its provider says.
    out_trade_no: Mapped[str] = mapped_column(sa.String(64))
    provider_ref: Mapped[str | None] = mapped_column(sa.String(64))
    state: Mapped[AttemptState] = mapped_column(sa.String(16))
    settles: Mapped[bool] = mapped_column(default=False)  # its money is the charge's money
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    received_minor: Mapped[int | None]  # what the provider says came in
    received_currency: Mapped[str | None] = mapped_column(sa.String(3))
    credited_minor: Mapped[int] = mapped_column(default=0)  # of that, what its charge took
    outside_minor: Mapped[int] = mapped_column(default=0)  # of that, what a person settled elsewhere
    refunded_minor: Mapped[int] = mapped_column(default=0)  # reserved or succeeded
    fee_minor: Mapped[int | None]  # by the merchant's rate when a charge took it; None: there was none
    fee_billed_minor: Mapped[int | None]  # as its provider's bill says
    next_step: Mapped[dict[str, Any] | None]  # what the payer must do, to show it again on reload
    step_expires_at: Mapped[datetime | None]  # when that goes stale; None: not before the order
    failure_code: Mapped[str | None] = mapped_column(sa.String(64))
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime]  # the deadline that its provider was given
    asked_at: Mapped[datetime | None]  # when the provider was last queried
    finished_at: Mapped[datetime | None]


class Refund(Base):
    """Money going back.  Reserved before it is sent; unknown stays reserved and is asked about."""

    __tablename__ = "refunds"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "attempt_id"], ["attempts.merchant_id", "attempts.id"]),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.Index("ix_refunds_charge", "merchant_id", "charge_id", "id"),
        sa.Index("ix_refunds_attempt", "merchant_id", "attempt_id"),
        sa.Index("ix_refunds_mode", "merchant_id", "livemode", "id"),
        sa.Index("ix_refunds_created", "merchant_id", "livemode", "created_at"),
        sa.Index(
            "ix_refunds_shift",
            "merchant_id",
            "shift_id",
            "id",
            sqlite_where=sa.text("shift_id IS NOT NULL"),
            postgresql_where=sa.text("shift_id IS NOT NULL"),
        ),
        sa.Index("ix_refunds_number", "merchant_id", "out_refund_no", unique=True),
        sa.Index("ix_refunds_replaces", "merchant_id", "replaces", unique=True),  # tried again once
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))  # None: of money that no charge asked for
    attempt_id: Mapped[str] = mapped_column(sa.String(40))
    livemode: Mapped[bool]
    out_refund_no: Mapped[str] = mapped_column(sa.String(64))
    state: Mapped[RefundState] = mapped_column(sa.String(16))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    reason: Mapped[str] = mapped_column(sa.String(80))
    metadata_json: Mapped[dict[str, Any]] = mapped_column("metadata")
    automatic: Mapped[bool] = mapped_column(default=False)  # money that the charge did not need
    asked_by: Mapped[str | None] = mapped_column(sa.String(254))  # a person's e-mail or an API key's id
    shift_id: Mapped[str | None] = mapped_column(sa.String(40))  # of whoever asked for it, then
    decided_by: Mapped[str | None] = mapped_column(sa.String(254))  # who approved or declined it
    replaces: Mapped[str | None] = mapped_column(sa.String(40))  # the failed refund that this one repeats
    provider_ref: Mapped[str | None] = mapped_column(sa.String(64))
    fee_back_minor: Mapped[int | None]  # of the payment's fee, what came back with it, by its provider's bill
    pending_reason: Mapped[str | None] = mapped_column(sa.String(64))  # why it waits for a person over there
    failure_code: Mapped[str | None] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    sequence: Mapped[int] = mapped_column(sa.Integer, default=0)


class Decision(Base):
    """What a person did with money that no charge had taken.  Never changed."""

    __tablename__ = "decisions"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "attempt_id"], ["attempts.merchant_id", "attempts.id"]),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.Index("ix_decisions_charge", "merchant_id", "charge_id"),
        sa.Index("ix_decisions_came_for", "merchant_id", "came_for_id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    attempt_id: Mapped[str] = mapped_column(sa.String(40))
    deed: Mapped[Deed] = mapped_column(sa.String(16))
    came_for_id: Mapped[str | None] = mapped_column(sa.String(40))  # the charge; None: nobody asked for it
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))  # the charge that it pays
    found: Mapped[ChargeState | None] = mapped_column(sa.String(16))  # the state of that charge before
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    note: Mapped[str] = mapped_column(sa.String(200), default="")
    decided_by: Mapped[str] = mapped_column(sa.String(254))  # the e-mail address then
    created_at: Mapped[datetime]


class Shift(Base):
    """One person's time at the till, from float to cash-up.  The database refuses to change a closed one."""

    __tablename__ = "shifts"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),
        sa.CheckConstraint("float_minor >= 0", name="float"),
        sa.CheckConstraint("counted_minor >= 0", name="counted"),
        sa.Index("ix_shifts_mode", "merchant_id", "livemode", "id"),
        # One open shift per person, whatever the code above believes.
        sa.Index(
            "ix_shifts_open",
            "merchant_id",
            "livemode",
            "user_id",
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    user_id: Mapped[str] = mapped_column(sa.String(40))
    person: Mapped[str] = mapped_column(sa.String(254))  # the e-mail address then
    float_minor: Mapped[int]  # yuan in the drawer at the start, in fen
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None] = mapped_column(sa.String(254))
    counted_minor: Mapped[int | None]  # in the drawer at the end; None: nobody counted
    note: Mapped[str] = mapped_column(sa.String(200), default="")
    report: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)  # the Z report, as it was counted then


class Incident(Base):
    """Something only a person can judge, raised once and shown until it is resolved."""

    __tablename__ = "incidents"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_incidents_subject", "merchant_id", "kind", "subject_id", unique=True),
        sa.Index("ix_incidents_charge", "merchant_id", "charge_id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(40))
    subject_id: Mapped[str] = mapped_column(sa.String(110))  # the attempt, or account and provider's number
    charge_id: Mapped[str | None] = mapped_column(sa.String(40))
    detail: Mapped[str] = mapped_column(sa.String(300))
    created_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]


class SavedView(Base):
    """A person's own name for a way of looking at the list of charges."""

    __tablename__ = "saved_views"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),
        sa.Index("ix_saved_views_name", "merchant_id", "user_id", "name", unique=True),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.String(40))
    name: Mapped[str] = mapped_column(sa.String(40))
    query: Mapped[str] = mapped_column(sa.String(600))  # of the list's address: "status=paid&store=st_…"
    created_at: Mapped[datetime]
