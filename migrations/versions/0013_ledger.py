"""the ledger, filled with everything that is in the books; fees

Revision ID: 0013
Revises: 0012
"""

from itertools import groupby

import sqlalchemy as sa
from alembic import op

from app.charges.bookings import history_of
from app.ledger.post import Posting, rows_of

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
BATCH = 500  # payments at once


def merchant_id():
    return sa.Column("merchant_id", sa.String(length=40), nullable=False)


def of_merchant(table):
    return sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f(f"fk_{table}_merchant_id"))


def make_tables():
    op.create_table(
        "ledger_entries",
        merchant_id(),
        sa.Column("cause_id", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=24), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("debit", sa.String(length=56), nullable=False),
        sa.Column("credit", sa.String(length=56), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=True),
        sa.Column("charge_id", sa.String(length=40), nullable=True),
        sa.Column("posted_at", TIME, nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_ledger_entries_amount")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_ledger_entries_sides")),
        of_merchant("ledger_entries"),
        sa.PrimaryKeyConstraint("merchant_id", "cause_id", "event", name=op.f("pk_ledger_entries")),
    )
    op.create_index("ix_ledger_entries_attempt", "ledger_entries", ["merchant_id", "attempt_id"])
    op.create_index("ix_ledger_entries_time", "ledger_entries", ["merchant_id", "livemode", "posted_at"])
    op.create_table(
        "fee_rates",
        merchant_id(),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("valid_from", TIME, nullable=False),
        sa.Column("basis_points", sa.Integer(), nullable=False),
        sa.Column("fixed_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("basis_points >= 0 AND fixed_minor >= 0", name=op.f("ck_fee_rates_rate")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["provider_accounts.merchant_id", "provider_accounts.id"],
            name=op.f("fk_fee_rates_merchant_id_account_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_fee_rates")),
    )
    columns = ["merchant_id", "account_id", "currency", "valid_from"]
    op.create_index("ix_fee_rates_since", "fee_rates", columns, unique=True)
    op.create_table(
        "ledger_checks",
        merchant_id(),
        sa.Column("cursor", sa.String(length=40), nullable=False),
        sa.Column("faults", sa.Integer(), nullable=False),
        sa.Column("last_faults", sa.Integer(), nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        of_merchant("ledger_checks"),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_ledger_checks")),
    )


SQLITE_GUARDS = [
    f"""CREATE TRIGGER ledger_entries_no_{deed.lower()} BEFORE {deed} ON ledger_entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END"""
    for deed in ("UPDATE", "DELETE")
]
POSTGRESQL_GUARDS = [
    """CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the ledger is never changed'; END $$""",
    """CREATE TRIGGER ledger_entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()""",
]

# Columns by name, as they are at this revision: what is added later is not read here.
ATTEMPTS = sa.text(
    "SELECT a.merchant_id, a.id, a.charge_id, a.account_id, a.settles, a.received_minor,"
    " a.received_currency, a.fee_minor, a.fee_billed_minor, a.started_at, a.finished_at, p.livemode"
    " FROM attempts a JOIN provider_accounts p ON p.merchant_id = a.merchant_id AND p.id = a.account_id"
    " WHERE a.received_minor IS NOT NULL AND (a.merchant_id > :merchant_id"
    " OR (a.merchant_id = :merchant_id AND a.id > :id))"
    " ORDER BY a.merchant_id, a.id LIMIT :batch"
).columns(started_at=TIME, finished_at=TIME, settles=sa.Boolean(), livemode=sa.Boolean())
REFUNDS = sa.text(
    "SELECT id, charge_id, attempt_id, state, amount_minor, automatic, created_at, finished_at FROM refunds"
    " WHERE merchant_id = :merchant_id AND attempt_id >= :first AND attempt_id <= :last ORDER BY id"
).columns(created_at=TIME, finished_at=TIME, automatic=sa.Boolean())
DECISIONS = sa.text(
    "SELECT id, attempt_id, deed, came_for_id, charge_id, amount_minor, created_at FROM decisions"
    " WHERE merchant_id = :merchant_id AND attempt_id >= :first AND attempt_id <= :last ORDER BY id"
).columns(created_at=TIME)


def fill():
    """Post what is in the books, by the functions that post from now on."""
    bind, last = op.get_bind(), {"merchant_id": "", "id": ""}
    entries = sa.Table("ledger_entries", sa.MetaData(), autoload_with=bind)
    while payments := bind.execute(ATTEMPTS, {**last, "batch": BATCH}).all():
        for whose, group in groupby(payments, lambda row: row.merchant_id):
            # As the table is at this revision: what was added to an entry later is left out.
            rows = [
                {name: value for name, value in row.items() if name in entries.c}
                for row in entries_of(bind, whose, list(group))
            ]
            if rows:
                bind.execute(sa.insert(entries), rows)
        last = {"merchant_id": payments[-1].merchant_id, "id": payments[-1].id}


def entries_of(bind, whose, payments):
    span = {"merchant_id": whose, "first": payments[0].id, "last": payments[-1].id}
    refunds, decisions = bind.execute(REFUNDS, span).all(), bind.execute(DECISIONS, span).all()
    rows = []
    for payment in payments:
        told = history_of(
            payment,
            [row for row in refunds if row.attempt_id == payment.id],
            [row for row in decisions if row.attempt_id == payment.id],
        )
        for posted_at, transfer in told:
            posting = Posting(whose, payment.livemode, payment.received_currency, payment.id, [transfer])
            rows += rows_of(posting, posted_at)
    return rows


def is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def upgrade():
    for name in ("fee_minor", "fee_billed_minor"):
        op.add_column("attempts", sa.Column(name, sa.BigInteger(), nullable=True))
    make_tables()
    fill()
    for statement in SQLITE_GUARDS if is_sqlite() else POSTGRESQL_GUARDS:
        op.execute(statement)


def downgrade():
    for table in ("ledger_checks", "fee_rates", "ledger_entries"):
        op.drop_table(table)
    if not is_sqlite():
        op.execute("DROP FUNCTION refuse_ledger_change")
    for name in ("fee_minor", "fee_billed_minor"):
        op.drop_column("attempts", name)
