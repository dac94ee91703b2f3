"""shops that speak 易支付: switches, orders, what they were told

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def merchant_id():
    return sa.Column("merchant_id", sa.String(length=40), nullable=False)


def charge_id():
    return sa.Column("charge_id", sa.String(length=40), nullable=False)


def of_order(table):
    return sa.ForeignKeyConstraint(
        ["merchant_id", "charge_id"],
        ["epay_orders.merchant_id", "epay_orders.charge_id"],
        name=op.f(f"fk_{table}_merchant_id"),
    )


def make_fronts():
    op.create_table(
        "epay_fronts",
        merchant_id(),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("pid", sa.String(length=12), nullable=False),
        sa.Column("sealed_key", sa.String(length=400), nullable=False),
        sa.Column("key_tail", sa.String(length=4), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("refunds_enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("rotated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_epay_fronts_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", "livemode", name=op.f("pk_epay_fronts")),
        sa.UniqueConstraint("pid", name=op.f("uq_epay_fronts_pid")),
    )


def make_orders():
    op.create_table(
        "epay_orders",
        merchant_id(),
        charge_id(),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("out_trade_no", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=127), nullable=False),
        sa.Column("money", sa.String(length=16), nullable=False),
        sa.Column("param", sa.String(length=500), nullable=False),
        sa.Column("notify_url", sa.String(length=1024), nullable=False),
        sa.Column("return_url", sa.String(length=1024), nullable=True),
        sa.Column("return_token", sa.String(length=32), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("notice", sa.Text(), nullable=True),
        sa.Column("notice_state", sa.String(length=16), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", TIME, nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "charge_id"],
            ["charges.merchant_id", "charges.id"],
            name=op.f("fk_epay_orders_merchant_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "charge_id", name=op.f("pk_epay_orders")),
    )
    number = ["merchant_id", "livemode", "out_trade_no"]
    op.create_index("ix_epay_orders_number", "epay_orders", number, unique=True)
    op.create_index("ix_epay_orders_mode", "epay_orders", ["merchant_id", "livemode", "charge_id"])
    op.create_index("ix_epay_orders_return", "epay_orders", ["return_token"], unique=True)


def make_tries():
    op.create_table(
        "epay_tries",
        merchant_id(),
        sa.Column("id", sa.String(length=40), nullable=False),
        charge_id(),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.Column("response_head", sa.Text(), nullable=True),
        of_order("epay_tries"),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_epay_tries")),
    )
    op.create_index("ix_epay_tries_charge", "epay_tries", ["merchant_id", "charge_id", "id"])
    op.create_index("ix_epay_tries_time", "epay_tries", ["started_at"])


def make_refunds():
    op.create_table(
        "epay_refunds",
        merchant_id(),
        charge_id(),
        sa.Column("number", sa.String(length=80), nullable=False),
        sa.Column("refund_id", sa.String(length=40), nullable=False),
        of_order("epay_refunds"),
        sa.PrimaryKeyConstraint("merchant_id", "charge_id", "number", name=op.f("pk_epay_refunds")),
    )


def upgrade():
    make_fronts()
    make_orders()
    make_tries()
    make_refunds()


def downgrade():
    for table in ("epay_refunds", "epay_tries", "epay_orders", "epay_fronts"):
        op.drop_table(table)
