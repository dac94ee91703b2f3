"""shifts: who took a payment, and in which shift; a closed shift is never changed

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
OF_A_SHIFT = sa.text("shift_id IS NOT NULL")
IS_OPEN = sa.text("closed_at IS NULL")

SQLITE_GUARD = """CREATE TRIGGER shifts_stay_closed BEFORE UPDATE ON shifts WHEN OLD.closed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a closed shift is never changed'); END"""
POSTGRESQL_GUARDS = [
    """CREATE FUNCTION refuse_shift_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a closed shift is never changed'; END $$""",
    """CREATE TRIGGER shifts_stay_closed BEFORE UPDATE ON shifts
    FOR EACH ROW WHEN (OLD.closed_at IS NOT NULL) EXECUTE FUNCTION refuse_shift_change()""",
]


def is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def upgrade():
    op.create_table(
        "shifts",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("person", sa.String(length=254), nullable=False),
        sa.Column("float_minor", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("closed_by", sa.String(length=254), nullable=True),
        sa.Column("counted_minor", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.CheckConstraint("float_minor >= 0", name=op.f("ck_shifts_float")),
        sa.CheckConstraint("counted_minor >= 0", name=op.f("ck_shifts_counted")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "user_id"],
            ["users.merchant_id", "users.id"],
            name=op.f("fk_shifts_merchant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_shifts")),
    )
    op.create_index("ix_shifts_mode", "shifts", ["merchant_id", "livemode", "id"])
    op.create_index(
        "ix_shifts_open",
        "shifts",
        ["merchant_id", "livemode", "user_id"],
        unique=True,
        sqlite_where=IS_OPEN,
        postgresql_where=IS_OPEN,
    )
    op.add_column("charges", sa.Column("taken_by", sa.String(length=254), nullable=True))
    for table in ("charges", "refunds"):
        op.add_column(table, sa.Column("shift_id", sa.String(length=40), nullable=True))
        op.create_index(
            f"ix_{table}_shift",
            table,
            ["merchant_id", "shift_id", "id"],
            sqlite_where=OF_A_SHIFT,
            postgresql_where=OF_A_SHIFT,
        )
    op.create_index("ix_refunds_created", "refunds", ["merchant_id", "livemode", "created_at"])
    for statement in [SQLITE_GUARD] if is_sqlite() else POSTGRESQL_GUARDS:
        op.execute(statement)


def downgrade():
    op.drop_index("ix_refunds_created", "refunds")
    for table in ("refunds", "charges"):
        op.drop_index(f"ix_{table}_shift", table)
        op.drop_column(table, "shift_id")
    op.drop_column("charges", "taken_by")
    op.drop_table("shifts")
    if not is_sqlite():
        op.execute("DROP FUNCTION refuse_shift_change")
