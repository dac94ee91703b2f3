"""refunds that a merchant asks for, and bills that are gone through day by day

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_check_constraint(
            "refunded", "refunded_minor >= 0 AND refunded_minor <= coalesce(received_minor, 0)"
        )
    with op.batch_alter_table("provider_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bills_read_to", sa.Date(), nullable=True))
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("livemode", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("metadata", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("asked_by", sa.String(length=254), nullable=True))
        batch_op.add_column(sa.Column("replaces", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("pending_reason", sa.String(length=64), nullable=True))
    # The account says the mode, because not all money belongs to a charge.
    op.execute(
        "UPDATE refunds SET metadata = '{}', livemode = (SELECT p.livemode FROM attempts a "
        "JOIN provider_accounts p ON p.merchant_id = a.merchant_id AND p.id = a.account_id "
        "WHERE a.merchant_id = refunds.merchant_id AND a.id = refunds.attempt_id)"
    )
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.alter_column("livemode", existing_type=sa.Boolean(), nullable=False)
        batch_op.alter_column("metadata", existing_type=sa.JSON(), nullable=False)
        batch_op.create_index("ix_refunds_attempt", ["merchant_id", "attempt_id"], unique=False)
        batch_op.create_index("ix_refunds_mode", ["merchant_id", "livemode", "id"], unique=False)
        batch_op.create_index("ix_refunds_replaces", ["merchant_id", "replaces"], unique=True)


def downgrade():
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.drop_index("ix_refunds_replaces")
        batch_op.drop_index("ix_refunds_mode")
        batch_op.drop_index("ix_refunds_attempt")
        batch_op.drop_column("pending_reason")
        batch_op.drop_column("replaces")
        batch_op.drop_column("asked_by")
        batch_op.drop_column("metadata")
        batch_op.drop_column("livemode")
    with op.batch_alter_table("provider_accounts", schema=None) as batch_op:
        batch_op.drop_column("bills_read_to")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_attempts_refunded"), type_="check")
