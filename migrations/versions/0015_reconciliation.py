"""bills as they came, their lines, the days, discrepancies; fees that come back with refunds

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def text(name, length, *, nullable=False):
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def whole(name, *, nullable=False):
    return sa.Column(name, sa.Integer(), nullable=nullable)


def minor(name, *, nullable=False):
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def day(name="day", *, nullable=False):
    return sa.Column(name, sa.Date(), nullable=nullable)


def moment(name, *, nullable=False):
    return sa.Column(name, TIME, nullable=nullable)


def yes_or_no(name):
    return sa.Column(name, sa.Boolean(), nullable=False)


def of_account(table):
    return sa.ForeignKeyConstraint(
        ["merchant_id", "account_id"],
        ["provider_accounts.merchant_id", "provider_accounts.id"],
        name=op.f(f"fk_{table}_merchant_id_account_id"),
    )


def key(table, *columns):
    return sa.PrimaryKeyConstraint("merchant_id", *columns, name=op.f(f"pk_{table}"))


def make_files():
    op.create_table(
        "bill_files",
        *(text("merchant_id", 40), text("id", 40), text("account_id", 40), day(), text("sha256", 64)),
        *(minor("size_bytes"), whole("lines"), text("stored_by", 254), moment("stored_at")),
        moment("forgotten_at", nullable=True),
        of_account("bill_files"),
        key("bill_files", "id"),
    )
    columns = ["merchant_id", "account_id", "day", "sha256"]
    op.create_index("ix_bill_files_day", "bill_files", columns, unique=True)
    op.create_index("ix_bill_files_time", "bill_files", ["stored_at"])
    op.create_table(
        "bill_chunks",
        *(text("merchant_id", 40), text("file_id", 40), whole("number")),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "file_id"],
            ["bill_files.merchant_id", "bill_files.id"],
            name=op.f("fk_bill_chunks_merchant_id_file_id"),
        ),
        key("bill_chunks", "file_id", "number"),
    )


def make_days():
    op.create_table(
        "reconciliations",
        *(text("merchant_id", 40), text("id", 40), text("account_id", 40), text("provider", 16)),
        *(yes_or_no("livemode"), day(), text("state", 16), text("file_id", 40, nullable=True)),
        *(whole("lines_read"), whole("opened"), whole("asked")),
        sa.Column("summary", sa.JSON(), nullable=True),
        *(moment("created_at"), moment("finished_at", nullable=True), whole("sequence")),
        of_account("reconciliations"),
        key("reconciliations", "id"),
    )
    columns = ["merchant_id", "account_id", "day"]
    op.create_index("ix_reconciliations_day", "reconciliations", columns, unique=True)
    op.create_index("ix_reconciliations_mode", "reconciliations", ["merchant_id", "livemode", "day", "id"])
    op.create_table(
        "bill_lines",
        *(text("merchant_id", 40), text("account_id", 40), day(), whole("number"), text("kind", 8)),
        *(text("subject", 80), text("out_trade_no", 64), text("provider_ref", 64), minor("amount_minor")),
        *(text("currency", 3), minor("fee_minor"), moment("happened_at", nullable=True)),
        *(yes_or_no("is_open"), yes_or_no("is_foreign"), text("text", 300)),
        *(text("verdict", 16, nullable=True), text("cause_id", 40, nullable=True)),
        *(minor("here_minor"), minor("here_fee_minor"), day("here_day", nullable=True)),
        of_account("bill_lines"),
        key("bill_lines", "account_id", "day", "number"),
    )
    op.create_index("ix_bill_lines_subject", "bill_lines", ["subject", "account_id"])
    op.create_index(
        "ix_bill_lines_here",
        "bill_lines",
        ["merchant_id", "account_id", "here_day"],
        sqlite_where=sa.text("here_day <> day"),
        postgresql_where=sa.text("here_day <> day"),
    )


def make_discrepancies():
    op.create_table(
        "discrepancies",
        *(text("merchant_id", 40), text("id", 40), yes_or_no("livemode"), text("account_id", 40)),
        *(text("provider", 16), day(), text("sort", 16), text("subject", 80), whole("line", nullable=True)),
        *(text("out_trade_no", 64), text("provider_ref", 64), text("attempt_id", 40, nullable=True)),
        *(text("refund_id", 40, nullable=True), text("charge_id", 40, nullable=True), text("currency", 3)),
        *(minor("here_minor", nullable=True), minor("there_minor", nullable=True), text("detail", 300)),
        *(text("state", 16), text("owner", 254, nullable=True), text("note", 500)),
        *(text("resolution", 16, nullable=True), text("resolved_by", 254, nullable=True)),
        *(moment("opened_at"), moment("resolved_at", nullable=True)),
        of_account("discrepancies"),
        key("discrepancies", "id"),
    )
    columns = ["merchant_id", "account_id", "subject", "day", "sort"]
    op.create_index("ix_discrepancies_subject", "discrepancies", columns, unique=True)
    op.create_index("ix_discrepancies_day", "discrepancies", ["merchant_id", "account_id", "day", "state"])
    op.create_index("ix_discrepancies_mode", "discrepancies", ["merchant_id", "livemode", "state", "id"])
    op.create_index("ix_discrepancies_of_day", "discrepancies", ["merchant_id", "livemode", "day", "id"])


def upgrade():
    op.add_column("refunds", minor("fee_back_minor", nullable=True))
    make_files()
    make_days()
    make_discrepancies()


def downgrade():
    for table in ("discrepancies", "bill_lines", "reconciliations", "bill_chunks", "bill_files"):
        op.drop_table(table)
    op.drop_column("refunds", "fee_back_minor")
