"""rules about payments: what they are, what they decided, what they count

Revision ID: 0017
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0018"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
KEYS = ("payer_key", "address_key", "device_key")


def text(name, length, nullable=False):
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def of_merchant(table):
    return sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f(f"fk_{table}_merchant_id"))


def partial(name, table, columns, condition, sqlite=None):
    where = {"sqlite_where": sa.text(sqlite or condition), "postgresql_where": sa.text(condition)}
    op.create_index(name, table, list(columns), **where)


def make_tables():
    op.create_table(
        "risk_rules",
        text("merchant_id", 40),
        text("id", 40),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        text("kind", 24),
        text("action", 8),
        text("name", 80),
        text("currency", 3),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("valid_from", TIME, nullable=True),
        sa.Column("valid_until", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        text("created_by", 254),
        sa.Column("ended_at", TIME, nullable=True),
        text("ended_by", 254, nullable=True),
        text("replaces", 40, nullable=True),
        of_merchant("risk_rules"),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_risk_rules")),
    )
    op.create_index("ix_risk_rules_mode", "risk_rules", ["merchant_id", "livemode", "id"])
    op.create_index("ix_risk_rules_replaces", "risk_rules", ["merchant_id", "replaces"], unique=True)
    op.create_table(
        "risk_gates",
        text("merchant_id", 40),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("live_rules", sa.Integer(), nullable=False),
        of_merchant("risk_gates"),
        sa.PrimaryKeyConstraint("merchant_id", "livemode", name=op.f("pk_risk_gates")),
    )
    op.create_table(
        "risk_decisions",
        text("merchant_id", 40),
        text("id", 40),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        text("charge_id", 40),
        text("rule_id", 40),
        text("kind", 24),
        text("action", 8),
        text("provider", 16),
        text("scene", 16),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        text("currency", 3),
        text("qr_code_id", 40, nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("is_named", sa.Boolean(), nullable=False),
        text("payer_key", 64, nullable=True),
        text("address_key", 32, nullable=True),
        text("device_key", 32, nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "charge_id"],
            ["charges.merchant_id", "charges.id"],
            name=op.f("fk_risk_decisions_merchant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "rule_id"],
            ["risk_rules.merchant_id", "risk_rules.id"],
            name=op.f("fk_risk_decisions_merchant_id_rule_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_risk_decisions")),
    )
    own = "risk_decisions"
    op.create_index("ix_risk_decisions_charge", own, ["merchant_id", "charge_id", "rule_id"], unique=True)
    op.create_index("ix_risk_decisions_mode", own, ["merchant_id", "livemode", "id"])
    op.create_index("ix_risk_decisions_rule", own, ["merchant_id", "rule_id", "id"])
    op.create_index("ix_risk_decisions_action", own, ["merchant_id", "livemode", "action", "id"])
    partial("ix_risk_decisions_named", own, ["created_at"], "is_named")


def upgrade():
    false = sa.false()
    op.add_column(
        "charges", sa.Column("amount_by_shopper", sa.Boolean(), nullable=False, server_default=false)
    )
    op.add_column("charges", text("review", 16, nullable=True))
    op.add_column("charges", sa.Column("review_opened_at", TIME, nullable=True))
    op.add_column("charges", sa.Column("review_closed_at", TIME, nullable=True))
    op.add_column("charges", text("review_by", 254, nullable=True))
    op.add_column("charges", text("review_reason", 200, nullable=True))
    op.add_column("attempts", text("address_key", 32, nullable=True))
    op.add_column("attempts", text("device_key", 32, nullable=True))
    # So that rules can be tried on what was before them.
    op.execute(
        "UPDATE charges SET amount_by_shopper = true WHERE qr_code_id IS NOT NULL AND EXISTS (SELECT 1"
        " FROM qr_codes WHERE qr_codes.merchant_id = charges.merchant_id AND qr_codes.id = charges.qr_code_id"
        " AND qr_codes.amount_minor IS NULL)"
    )
    columns = ("merchant_id", "livemode", "created_at", "amount_minor", "currency", "id")
    shoppers = "amount_by_shopper"
    partial("ix_charges_by_shopper", "charges", columns, shoppers, sqlite=f"{shoppers} = 1")
    columns = ("merchant_id", "livemode", "state", "id")
    partial("ix_charges_review", "charges", columns, "review = 'open'")
    partial("ix_attempts_open", "attempts", ("merchant_id", "charge_id"), "state = 'started'")
    for key in KEYS:
        name = f"ix_attempts_{key.removesuffix('_key')}"
        partial(name, "attempts", ("merchant_id", key, "started_at"), f"{key} IS NOT NULL")
    make_tables()


def downgrade():
    for table in ("risk_decisions", "risk_gates", "risk_rules"):
        op.drop_table(table)
    for key in KEYS:
        op.drop_index(f"ix_attempts_{key.removesuffix('_key')}", "attempts")
    for table, name in (
        ("attempts", "ix_attempts_open"),
        ("charges", "ix_charges_review"),
        ("charges", "ix_charges_by_shopper"),
    ):
        op.drop_index(name, table)
    for name in ("address_key", "device_key"):
        op.drop_column("attempts", name)
    for name in ("reason", "by", "closed_at", "opened_at"):
        op.drop_column("charges", f"review_{name}")
    op.drop_column("charges", "review")
    op.drop_column("charges", "amount_by_shopper")
