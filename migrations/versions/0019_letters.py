"""letters that wait to be sent, devices that people have signed in with

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "letters",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_letters")),
    )
    op.create_table(
        "known_devices",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "user_id"],
            ["users.merchant_id", "users.id"],
            name=op.f("fk_known_devices_merchant_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "user_id", "digest", name=op.f("pk_known_devices")),
    )


def downgrade():
    op.drop_table("known_devices")
    op.drop_table("letters")
