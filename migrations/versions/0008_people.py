"""roles, second factors, sessions that are listed, invitations, approvals, an audit log

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def added():
    """Table by table."""
    return {
        "merchants": [
            sa.Column("refund_limit_minor", sa.BigInteger(), nullable=True),
            sa.Column("refund_limit_for_keys", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.Column("requires_second_factor", sa.Boolean(), nullable=False, server_default=sa.false()),
        ],
        "users": [
            sa.Column("deactivated_at", TIME, nullable=True),
            sa.Column("totp_sealed", sa.Text(), nullable=True),
            sa.Column("totp_since", TIME, nullable=True),
            sa.Column("totp_step", sa.BigInteger(), nullable=False, server_default="0"),
        ],
        "sign_in_links": [
            sa.Column("is_reset", sa.Boolean(), nullable=False, server_default=sa.false()),
        ],
        "refunds": [sa.Column("decided_by", sa.String(length=254), nullable=True)],
    }


def merchant_id():
    return sa.Column("merchant_id", sa.String(length=40), nullable=False)


def of_user(table):
    return sa.ForeignKeyConstraint(
        ["merchant_id", "user_id"],
        ["users.merchant_id", "users.id"],
        name=op.f(f"fk_{table}_merchant_id_user_id"),
    )


def of_merchant(table):
    return sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f(f"fk_{table}_merchant_id"))


def make_sessions():
    """Made anew: what a session is now, an old one cannot say.  Everybody signs in once more."""
    op.drop_table("sessions")
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        merchant_id(),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("is_half", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.Column("proved_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        of_user("sessions"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
        sa.UniqueConstraint("id", name=op.f("uq_sessions_id")),
    )


def make_second_factors():
    op.create_table(
        "recovery_codes",
        merchant_id(),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        of_user("recovery_codes"),
        sa.PrimaryKeyConstraint("merchant_id", "user_id", "digest", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "passkeys",
        merchant_id(),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("credential_id", sa.String(length=1400), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        of_user("passkeys"),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkeys_credential_id")),
    )
    op.create_table(
        "passkey_challenges",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_passkey_challenges")),
    )


def make_invitations():
    op.create_table(
        "invitations",
        merchant_id(),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("invited_by", sa.String(length=254), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        of_merchant("invitations"),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("digest", name=op.f("uq_invitations_digest")),
    )


def make_audit_log():
    op.create_table(
        "audit_entries",
        merchant_id(),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=True),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        of_merchant("audit_entries"),
        sa.PrimaryKeyConstraint("merchant_id", "number", name=op.f("pk_audit_entries")),
    )
    op.create_table(
        "audit_heads",
        merchant_id(),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        of_merchant("audit_heads"),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_audit_heads")),
    )


SQLITE_GUARDS = [
    f"""CREATE TRIGGER audit_entries_no_{deed.lower()} BEFORE {deed} ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END"""
    for deed in ("UPDATE", "DELETE")
]
POSTGRESQL_GUARDS = [
    """CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log is never changed'; END $$""",
    """CREATE TRIGGER audit_entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()""",
]


def is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def upgrade():
    for table, columns in added().items():
        for column in columns:
            op.add_column(table, column)
    make_sessions()
    make_second_factors()
    make_invitations()
    make_audit_log()
    for statement in SQLITE_GUARDS if is_sqlite() else POSTGRESQL_GUARDS:
        op.execute(statement)


def downgrade():
    for table in ("audit_heads", "audit_entries", "invitations", "passkey_challenges", "passkeys"):
        op.drop_table(table)
    if not is_sqlite():
        op.execute("DROP FUNCTION refuse_audit_change")
    op.drop_table("recovery_codes")
    op.drop_table("sessions")
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        merchant_id(),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        of_user("sessions"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    for table, columns in added().items():
        for column in columns:
            op.drop_column(table, column.name)
