"""what came in, what a charge took of it, and what people decided about the rest

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UNNEEDED = sa.text("received_minor > credited_minor")


def upgrade():
    op.create_table(
        "decisions",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("deed", sa.String(length=16), nullable=False),
        sa.Column("came_for_id", sa.String(length=40), nullable=True),
        sa.Column("charge_id", sa.String(length=40), nullable=True),
        sa.Column("found", sa.String(length=16), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("decided_by", sa.String(length=254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_decisions_amount")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "attempt_id"],
            ["attempts.merchant_id", "attempts.id"],
            name=op.f("fk_decisions_merchant_id_attempt_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_decisions")),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index("ix_decisions_charge", ["merchant_id", "charge_id"], unique=False)
        batch_op.create_index("ix_decisions_came_for", ["merchant_id", "came_for_id"], unique=False)
    with op.batch_alter_table("charges", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paid_minor", sa.BigInteger(), nullable=True))
    op.execute("UPDATE charges SET paid_minor = amount_minor WHERE state = 'paid'")
    with op.batch_alter_table("charges", schema=None) as batch_op:
        batch_op.create_check_constraint(
            op.f("ck_charges_paid"), sa.text("paid_minor <= amount_minor AND refunded_minor <= paid_minor")
        )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("received_currency", sa.String(length=3), nullable=True))
        for name in ("credited_minor", "outside_minor"):
            batch_op.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE attempts SET received_currency = currency WHERE received_minor IS NOT NULL")
    op.execute("UPDATE attempts SET credited_minor = received_minor WHERE settles")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        for name in ("credited_minor", "outside_minor"):
            batch_op.alter_column(name, existing_type=sa.BigInteger(), server_default=None)
        batch_op.create_check_constraint(
            op.f("ck_attempts_received"),
            sa.text(
                "credited_minor >= 0 AND outside_minor >= 0 "
                "AND credited_minor + outside_minor <= received_minor"
            ),
        )
        batch_op.create_index(
            "ix_attempts_unneeded",
            ["merchant_id", "id"],
            unique=False,
            sqlite_where=_UNNEEDED,
            postgresql_where=_UNNEEDED,
        )


def downgrade():
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index("ix_attempts_unneeded")
        batch_op.drop_constraint(op.f("ck_attempts_received"), type_="check")
        for name in ("received_currency", "credited_minor", "outside_minor"):
            batch_op.drop_column(name)
    with op.batch_alter_table("charges", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_charges_paid"), type_="check")
        batch_op.drop_column("paid_minor")
    op.drop_table("decisions")
