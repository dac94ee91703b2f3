"""which account a payment goes through: rules, and how accounts do

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def merchant_id():
    return sa.Column("merchant_id", sa.String(length=40), nullable=False)


def upgrade():
    op.create_table(
        "account_health",
        merchant_id(),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", TIME, nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("left_at", TIME, nullable=True),
        sa.Column("failed_probes", sa.Integer(), nullable=False),
        sa.Column("answers_since", TIME, nullable=True),
        sa.Column("next_probe_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["provider_accounts.merchant_id", "provider_accounts.id"],
            name=op.f("fk_account_health_merchant_id_account_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "account_id", name=op.f("pk_account_health")),
    )
    op.create_table(
        "routing_rules",
        merchant_id(),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("min_minor", sa.BigInteger(), nullable=True),
        sa.Column("max_minor", sa.BigInteger(), nullable=True),
        sa.Column("store_id", sa.String(length=40), nullable=True),
        sa.Column("from_minute", sa.Integer(), nullable=True),
        sa.Column("until_minute", sa.Integer(), nullable=True),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("is_strict", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("min_minor <= max_minor", name=op.f("ck_routing_rules_amounts")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_routing_rules_merchant_id")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "store_id"],
            ["stores.merchant_id", "stores.id"],
            name=op.f("fk_routing_rules_merchant_id_store_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_routing_rules")),
    )
    columns = ["merchant_id", "livemode", "provider", "position"]
    op.create_index("ix_routing_rules_order", "routing_rules", columns)
    op.add_column("attempts", sa.Column("routing_rule_id", sa.String(length=40), nullable=True))


def downgrade():
    op.drop_column("attempts", "routing_rule_id")
    op.drop_table("routing_rules")
    op.drop_table("account_health")
