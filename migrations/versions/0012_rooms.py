"""charges know their store, indexes for the dashboard's lists, saved views, heartbeats of workers

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_charges_created", ("merchant_id", "livemode", "created_at", "id"), None),
    ("ix_charges_state", ("merchant_id", "livemode", "state", "created_at", "id"), None),
    ("ix_charges_amount", ("merchant_id", "livemode", "amount_minor", "created_at", "id"), None),
    ("ix_charges_provider", ("merchant_id", "livemode", "provider", "created_at", "id"), "provider"),
    ("ix_charges_store", ("merchant_id", "livemode", "store_id", "created_at", "id"), "store_id"),
    ("ix_charges_qr_code_created", ("merchant_id", "qr_code_id", "created_at", "id"), "qr_code_id"),
)
PAID = ("merchant_id", "livemode", "paid_at", "currency", "paid_minor", "amount_minor")


def create_index(name, columns, present):
    """An index of all charges, or of those in which a column has a value."""
    where = sa.text(f"{present} IS NOT NULL") if present else None
    op.create_index(name, "charges", list(columns), sqlite_where=where, postgresql_where=where)


def upgrade():
    # Without a foreign key, for which SQLite would have to make the table of charges anew; no store is
    # ever deleted.
    op.add_column("charges", sa.Column("store_id", sa.String(length=40), nullable=True))
    op.execute(
        "UPDATE charges SET store_id = (SELECT qr_codes.store_id FROM qr_codes"
        " WHERE qr_codes.merchant_id = charges.merchant_id AND qr_codes.id = charges.qr_code_id)"
        " WHERE qr_code_id IS NOT NULL"
    )
    op.drop_index("ix_charges_paid", "charges")
    create_index("ix_charges_paid", PAID, "paid_at")
    for name, columns, present in INDEXES:
        create_index(name, columns, present)
    op.create_table(
        "saved_views",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("query", sa.String(length=600), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "user_id"],
            ["users.merchant_id", "users.id"],
            name=op.f("fk_saved_views_merchant_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_saved_views")),
    )
    op.create_index("ix_saved_views_name", "saved_views", ["merchant_id", "user_id", "name"], unique=True)
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=80), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )


def downgrade():
    op.drop_table("workers")
    op.drop_table("saved_views")
    for name, _, _ in reversed(INDEXES):
        op.drop_index(name, "charges")
    op.drop_index("ix_charges_paid", "charges")
    op.create_index("ix_charges_paid", "charges", ["merchant_id", "livemode", "paid_at"])
    op.drop_column("charges", "store_id")
