"""payment codes that a cashier scans: which code an attempt was made with, and when it was given up

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("attempts", sa.Column("code_key", sa.String(length=64), nullable=True))
    op.add_column("attempts", sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_attempts_code", "attempts", ["merchant_id", "code_key"], unique=True)


def downgrade():
    op.drop_index("ix_attempts_code", "attempts")
    op.drop_column("attempts", "given_up_at")
    op.drop_column("attempts", "code_key")
