"""members, their top-ups, debits and movements; bonus rules; codes with a purpose

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ID = sa.String(length=40)


def column(name, kind, nullable=False):
    return sa.Column(name, kind, nullable=nullable)


def keys(table, *, of_member=True):
    """The primary key, and whose row it is."""
    owner = ["merchants.id"] if not of_member else ["members.merchant_id", "members.id"]
    own = ["merchant_id"] if not of_member else ["merchant_id", "member_id"]
    return (
        sa.ForeignKeyConstraint(own, owner, name=op.f(f"fk_{table}_{'_'.join(own[:1])}")),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f(f"pk_{table}")),
    )


def make_members():
    op.create_table(
        "members",
        column("merchant_id", ID),
        column("id", ID),
        column("livemode", sa.Boolean()),
        column("account", sa.String(length=64)),
        column("name", sa.String(length=80)),
        column("phone", sa.String(length=20), nullable=True),
        column("currency", sa.String(length=3)),
        column("balance_minor", sa.BigInteger()),
        column("bonus_minor", sa.BigInteger()),
        column("sequence", sa.BigInteger()),
        column("created_at", TIME),
        column("updated_at", TIME),
        column("blocked_at", TIME, nullable=True),
        *keys("members", of_member=False),
    )
    op.create_index("ix_members_account", "members", ["merchant_id", "livemode", "account"], unique=True)
    op.create_index("ix_members_phone", "members", ["merchant_id", "livemode", "phone"], unique=True)
    op.create_index("ix_members_mode", "members", ["merchant_id", "livemode", "id"])


def make_movements():
    table = "member_movements"
    op.create_table(
        table,
        column("merchant_id", ID),
        column("id", ID),
        column("member_id", ID),
        column("livemode", sa.Boolean()),
        column("number", sa.BigInteger()),
        column("kind", sa.String(length=24)),
        column("cause_id", ID),
        column("charge_id", ID, nullable=True),
        column("balance_minor", sa.BigInteger()),
        column("bonus_minor", sa.BigInteger()),
        column("balance_after_minor", sa.BigInteger()),
        column("bonus_after_minor", sa.BigInteger()),
        column("currency", sa.String(length=3)),
        column("note", sa.String(length=200)),
        column("made_by", sa.String(length=254), nullable=True),
        column("created_at", TIME),
        sa.CheckConstraint("balance_minor <> 0 OR bonus_minor <> 0", name=op.f(f"ck_{table}_amount")),
        *keys(table),
    )
    op.create_index(f"ix_{table}_number", table, ["merchant_id", "member_id", "number"], unique=True)
    op.create_index(f"ix_{table}_cause", table, ["merchant_id", "cause_id", "kind"], unique=True)


def make_topups():
    op.create_table(
        "topups",
        column("merchant_id", ID),
        column("id", ID),
        column("member_id", ID),
        column("charge_id", ID),
        column("livemode", sa.Boolean()),
        column("amount_minor", sa.BigInteger()),
        column("bonus_minor", sa.BigInteger()),
        column("currency", sa.String(length=3)),
        column("rule_id", ID, nullable=True),
        column("tiers", sa.JSON()),
        column("credited_minor", sa.BigInteger(), nullable=True),
        column("bonus_credited_minor", sa.BigInteger()),
        column("taken_minor", sa.BigInteger()),
        column("bonus_taken_minor", sa.BigInteger()),
        column("sequence", sa.BigInteger()),
        column("created_at", TIME),
        column("credited_at", TIME, nullable=True),
        sa.CheckConstraint("amount_minor > 0 AND bonus_minor >= 0", name=op.f("ck_topups_amount")),
        sa.CheckConstraint(
            "bonus_taken_minor >= 0 AND bonus_taken_minor <= bonus_credited_minor",
            name=op.f("ck_topups_bonus"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "charge_id"],
            ["charges.merchant_id", "charges.id"],
            name=op.f("fk_topups_charge"),
        ),
        *keys("topups"),
    )
    op.create_index("ix_topups_charge", "topups", ["merchant_id", "charge_id"], unique=True)
    op.create_index("ix_topups_member", "topups", ["merchant_id", "member_id", "id"])
    op.create_index("ix_topups_mode", "topups", ["merchant_id", "livemode", "id"])


def make_debits():
    table = "member_debits"
    op.create_table(
        table,
        column("merchant_id", ID),
        column("id", ID),
        column("member_id", ID),
        column("livemode", sa.Boolean()),
        column("debit_no", sa.String(length=64)),
        column("amount_minor", sa.BigInteger()),
        column("balance_minor", sa.BigInteger()),
        column("bonus_minor", sa.BigInteger()),
        column("currency", sa.String(length=3)),
        column("description", sa.String(length=127)),
        column("reversed_minor", sa.BigInteger()),
        column("reversed_at", TIME, nullable=True),
        column("created_at", TIME),
        sa.CheckConstraint(
            "balance_minor >= 0 AND bonus_minor >= 0 AND amount_minor > 0", name=op.f(f"ck_{table}_parts")
        ),
        sa.CheckConstraint("balance_minor + bonus_minor = amount_minor", name=op.f(f"ck_{table}_amount")),
        sa.CheckConstraint(
            "reversed_minor >= 0 AND reversed_minor <= amount_minor", name=op.f(f"ck_{table}_reversed")
        ),
        *keys(table),
    )
    op.create_index(f"ix_{table}_number", table, ["merchant_id", "livemode", "debit_no"], unique=True)
    op.create_index(f"ix_{table}_member", table, ["merchant_id", "member_id", "id"])


def make_rules():
    op.create_table(
        "bonus_rules",
        column("merchant_id", ID),
        column("id", ID),
        column("livemode", sa.Boolean()),
        column("currency", sa.String(length=3)),
        column("valid_from", TIME),
        column("tiers", sa.JSON()),
        column("created_at", TIME),
        *keys("bonus_rules", of_member=False),
    )
    columns = ["merchant_id", "livemode", "currency", "valid_from"]
    op.create_index("ix_bonus_rules_since", "bonus_rules", columns, unique=True)


SQLITE_GUARDS = [
    f"""CREATE TRIGGER member_movements_no_{deed.lower()} BEFORE {deed} ON member_movements
    BEGIN SELECT RAISE(ABORT, 'a movement is never changed'); END"""
    for deed in ("UPDATE", "DELETE")
]
POSTGRESQL_GUARDS = [
    """CREATE FUNCTION refuse_movement_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a movement is never changed'; END $$""",
    """CREATE TRIGGER member_movements_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON member_movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_movement_change()""",
]
# Going back takes members away, and with them what the ledger says of them.
SQLITE_LEDGER_OPEN = [f"DROP TRIGGER ledger_entries_no_{deed}" for deed in ("update", "delete")]
SQLITE_LEDGER_SHUT = [
    f"""CREATE TRIGGER ledger_entries_no_{deed.lower()} BEFORE {deed} ON ledger_entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END"""
    for deed in ("UPDATE", "DELETE")
]
POSTGRESQL_LEDGER_OPEN = ["ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_no_change"]
POSTGRESQL_LEDGER_SHUT = ["ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_no_change"]


def is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def run(on_sqlite, on_postgresql):
    for statement in on_sqlite if is_sqlite() else on_postgresql:
        op.execute(statement)


def upgrade():
    # Without a foreign key, for which SQLite would have to make the table of charges anew; a top-up is never
    # deleted.
    op.add_column("charges", sa.Column("topup_id", ID, nullable=True))
    op.add_column(
        "merchants", sa.Column("members_may_owe", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("qr_codes", sa.Column("purpose", sa.String(length=8), nullable=False, server_default="pay"))
    op.add_column("ledger_entries", sa.Column("member_id", ID, nullable=True))
    op.create_index(
        "ix_ledger_entries_member",
        "ledger_entries",
        ["merchant_id", "member_id"],
        sqlite_where=sa.text("member_id IS NOT NULL"),
        postgresql_where=sa.text("member_id IS NOT NULL"),
    )
    for make in (make_members, make_movements, make_topups, make_debits, make_rules):
        make()
    run(SQLITE_GUARDS, POSTGRESQL_GUARDS)


def downgrade():
    for table in ("bonus_rules", "member_debits", "topups", "member_movements", "members"):
        op.drop_table(table)
    run([], ["DROP FUNCTION refuse_movement_change"])
    run(SQLITE_LEDGER_OPEN, POSTGRESQL_LEDGER_OPEN)
    op.execute("DELETE FROM ledger_entries WHERE member_id IS NOT NULL")
    run(SQLITE_LEDGER_SHUT, POSTGRESQL_LEDGER_SHUT)
    op.drop_index("ix_ledger_entries_member", "ledger_entries")
    op.drop_column("ledger_entries", "member_id")
    op.drop_column("qr_codes", "purpose")
    op.drop_column("merchants", "members_may_owe")
    op.drop_column("charges", "topup_id")
