"""Tables of the rules about payments: the rules, whom they lock, what they decided."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.merchants.risk import Action, RuleKind


class RiskRule(Base):
    """A rule, from when it was made until it was replaced or ended.  Its content never changes."""

    __tablename__ = "risk_rules"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_risk_rules_mode", "merchant_id", "livemode", "id"),
        sa.Index("ix_risk_rules_replaces", "merchant_id", "replaces", unique=True),  # replaced once
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    kind: Mapped[RuleKind] = mapped_column(sa.String(24))
    action: Mapped[Action] = mapped_column(sa.String(8))
    name: Mapped[str] = mapped_column(sa.String(80))
    currency: Mapped[str] = mapped_column(sa.String(3))
    terms: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(sa.String(254))  # a person's e-mail or an API key's id
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(sa.String(254))
    replaces: Mapped[str | None] = mapped_column(sa.String(40))


class RiskGate(Base):
    """One row for each merchant and mode that ever had a rule.

    Whoever begins a payment reads ``live_rules`` with the charge, and locks the row before it counts, so
    that two who begin at once are counted one after the other.
    """

    __tablename__ = "risk_gates"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool] = mapped_column(primary_key=True)
    live_rules: Mapped[int] = mapped_column(sa.Integer)


class RiskDecision(Base):
    """That a rule matched a charge, with what it saw then; once for each of the two, however often."""

    __tablename__ = "risk_decisions"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id", "charge_id"], ["charges.merchant_id", "charges.id"]),
        sa.ForeignKeyConstraint(["merchant_id", "rule_id"], ["risk_rules.merchant_id", "risk_rules.id"]),
        sa.Index("ix_risk_decisions_charge", "merchant_id", "charge_id", "rule_id", unique=True),
        sa.Index("ix_risk_decisions_mode", "merchant_id", "livemode", "id"),
        sa.Index("ix_risk_decisions_rule", "merchant_id", "rule_id", "id"),
        sa.Index("ix_risk_decisions_action", "merchant_id", "livemode", "action", "id"),
        # Whom it was is forgotten after a while.
        sa.Index(
            "ix_risk_decisions_named",
            "created_at",
            sqlite_where=sa.text("is_named"),
            postgresql_where=sa.text("is_named"),
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    charge_id: Mapped[str] = mapped_column(sa.String(40))
    rule_id: Mapped[str] = mapped_column(sa.String(40))
    kind: Mapped[RuleKind] = mapped_column(sa.String(24))
    action: Mapped[Action] = mapped_column(sa.String(8))
    provider: Mapped[str] = mapped_column(sa.String(16))
    scene: Mapped[str] = mapped_column(sa.String(16))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3))
    qr_code_id: Mapped[str | None] = mapped_column(sa.String(40))
    facts: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    is_named: Mapped[bool]  # one of the next three is still kept
    payer_key: Mapped[str | None] = mapped_column(sa.String(64))
    address_key: Mapped[str | None] = mapped_column(sa.String(32))
    device_key: Mapped[str | None] = mapped_column(sa.String(32))
    times: Mapped[int] = mapped_column(sa.Integer)  # that somebody tried
    created_at: Mapped[datetime]
    last_at: Mapped[datetime]
