"""stores, printed codes, their scans by the hour, and charges that know their code

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_A_CODE = sa.text("qr_code_id IS NOT NULL")
QUIET = sa.text("quiet_since IS NOT NULL")


def moment(name, nullable=False):
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade():
    op.create_table(
        "stores",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("address", sa.String(length=120), nullable=False),
        moment("created_at"),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_stores_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_stores")),
    )
    op.create_index("ix_stores_mode", "stores", ["merchant_id", "livemode", "id"])
    op.create_table(
        "qr_codes",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("store_id", sa.String(length=40), nullable=True),
        sa.Column("label_kind", sa.String(length=16), nullable=True),
        sa.Column("label_text", sa.String(length=40), nullable=False),
        sa.Column("series_id", sa.String(length=40), nullable=True),
        sa.Column("series", sa.String(length=80), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("preset_minor", sa.BigInteger(), nullable=True),
        sa.Column("min_minor", sa.BigInteger(), nullable=False),
        sa.Column("max_minor", sa.BigInteger(), nullable=False),
        sa.Column("suggested", sa.JSON(), nullable=False),
        sa.Column("max_payments", sa.BigInteger(), nullable=True),
        sa.Column("daily_cap_minor", sa.BigInteger(), nullable=True),
        moment("valid_from", nullable=True),
        moment("valid_until", nullable=True),
        sa.Column("inactive_zh", sa.String(length=200), nullable=False),
        sa.Column("inactive_en", sa.String(length=200), nullable=False),
        moment("created_at"),
        moment("updated_at"),
        moment("disabled_at", nullable=True),
        sa.Column("scans", sa.BigInteger(), nullable=False),
        moment("last_scan_at", nullable=True),
        moment("quiet_since", nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_qr_codes_amount")),
        sa.CheckConstraint("min_minor > 0 AND min_minor <= max_minor", name=op.f("ck_qr_codes_limits")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_qr_codes_merchant_id")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "store_id"],
            ["stores.merchant_id", "stores.id"],
            name=op.f("fk_qr_codes_store_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_qr_codes")),
    )
    op.create_index("ix_qr_codes_code", "qr_codes", ["code"], unique=True)
    op.create_index("ix_qr_codes_mode", "qr_codes", ["merchant_id", "livemode", "id"])
    op.create_index("ix_qr_codes_series", "qr_codes", ["merchant_id", "series_id", "id"])
    op.create_index(
        "ix_qr_codes_quiet",
        "qr_codes",
        ["merchant_id", "livemode"],
        sqlite_where=QUIET,
        postgresql_where=QUIET,
    )
    op.create_table(
        "qr_code_hours",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("code_id", sa.String(length=40), nullable=False),
        moment("hour"),
        sa.Column("scans", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "code_id"],
            ["qr_codes.merchant_id", "qr_codes.id"],
            name=op.f("fk_qr_code_hours_merchant_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "code_id", "hour", name=op.f("pk_qr_code_hours")),
    )
    # Without a foreign key, for which SQLite would have to make the table of charges anew; no code is
    # ever deleted.
    op.add_column("charges", sa.Column("qr_code_id", sa.String(length=40), nullable=True))
    for name, columns in (
        ("ix_charges_qr_code", ["merchant_id", "qr_code_id", "id"]),
        ("ix_charges_qr_code_taken", ["merchant_id", "qr_code_id", "state", "created_at", "paid_minor"]),
    ):
        op.create_index(name, "charges", columns, sqlite_where=OF_A_CODE, postgresql_where=OF_A_CODE)


def downgrade():
    op.drop_index("ix_charges_qr_code_taken", "charges")
    op.drop_index("ix_charges_qr_code", "charges")
    op.drop_column("charges", "qr_code_id")
    op.drop_table("qr_code_hours")
    op.drop_table("qr_codes")
    op.drop_table("stores")
