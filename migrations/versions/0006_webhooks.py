"""events in an order that can be read on, old secrets, breakers, what is to be forgotten

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def added():
    """Table by table.  Added without making one anew: SQLite can do that, and others point at these."""
    return {
        "events": [sa.Column("position", sa.BigInteger(), nullable=True)],
        "webhook_endpoints": [
            sa.Column("old_secrets", sa.JSON(), nullable=True),
            sa.Column("public_key", sa.String(length=64), nullable=True),
            sa.Column("failed_rounds", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("next_probe_at", sa.DateTime(timezone=True), nullable=True),
        ],
        "delivery_attempts": [sa.Column("signed_with", sa.String(length=40), nullable=True)],
    }


def upgrade():
    for table, columns in added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_events_position", "events", ["merchant_id", "position", "id"])
    op.create_index("ix_events_created", "events", ["merchant_id", "created_at"])
    has_body = sa.text("length(body) > 0")
    op.create_index(
        "ix_callbacks_bodies", "callbacks", ["last_at"], sqlite_where=has_body, postgresql_where=has_body
    )


def downgrade():
    op.drop_index("ix_callbacks_bodies", "callbacks")
    op.drop_index("ix_events_created", "events")
    op.drop_index("ix_events_position", "events")
    for table, columns in added().items():
        for column in columns:
            op.drop_column(table, column.name)
