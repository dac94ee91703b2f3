"""attempts of one payer, steps that go stale, money without a charge

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("payer_key", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("step_expires_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.alter_column("charge_id", existing_type=sa.String(length=40), nullable=True)
        batch_op.alter_column("out_trade_no", existing_type=sa.String(length=32), type_=sa.String(length=64))
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.alter_column("charge_id", existing_type=sa.String(length=40), nullable=True)


def downgrade():
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.alter_column("charge_id", existing_type=sa.String(length=40), nullable=False)
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.alter_column("charge_id", existing_type=sa.String(length=40), nullable=False)
        batch_op.alter_column("out_trade_no", existing_type=sa.String(length=64), type_=sa.String(length=32))
        batch_op.drop_column("step_expires_at")
        batch_op.drop_column("payer_key")
