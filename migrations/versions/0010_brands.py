"""how merchants look to shoppers: a colour and a logo

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "brands",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("accent", sa.String(length=7), nullable=True),
        sa.Column("paper_logo", sa.LargeBinary(), nullable=True),
        sa.Column("screen_logo", sa.LargeBinary(), nullable=True),
        sa.Column("logo_version", sa.String(length=32), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_brands_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_brands")),
    )
    op.create_index("ix_brands_logo", "brands", ["logo_version"])


def downgrade():
    op.drop_table("brands")
