"""a store's charges in the order in which the API lists them

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade():
    where = sa.text("store_id IS NOT NULL")
    op.create_index(
        "ix_charges_store_id",
        "charges",
        ["merchant_id", "store_id", "id"],
        sqlite_where=where,
        postgresql_where=where,
    )


def downgrade():
    op.drop_index("ix_charges_store_id", "charges")
