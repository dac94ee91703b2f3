"""How Alembic reaches our database: through the running application, in its process.

Kept small on purpose: no logging set-up (that is ``app/logs.py``'s) and no offline mode.
"""

from alembic import context
from flask import current_app

from app.db import UTCDateTime


def render_item(kind, item, _autogen_context):
    """Write our time column as plain SQLAlchemy, so that an old migration needs none of our code."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def leave_out_nothing_new(_context, _revision, directives):
    """``flask db migrate`` makes no file when the tables already match the models."""
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def pragma(connection, text):
    """The rows of a PRAGMA, asked on the driver's own cursor: SQLAlchemy would begin a transaction first."""
    return connection.connection.cursor().execute(f"PRAGMA {text}").fetchall()


def heed_foreign_keys(connection):
    """Commit if every row still points at one.  Raises RuntimeError."""
    if lost := pragma(connection, "foreign_key_check"):
        raise RuntimeError(f"{len(lost)} rows point at rows that are not there, first {lost[0]}")
    connection.commit()
    pragma(connection, "foreign_keys=ON")


database = current_app.extensions["migrate"].db
with database.engine.connect() as connection:
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # It makes a changed table anew and drops the old one, at which foreign keys still point; inside a
        # transaction it ignores this.  Source: sqlite.org, "Making Other Kinds Of Table Schema Changes".
        pragma(connection, "foreign_keys=OFF")
    context.configure(
        connection=connection,
        target_metadata=database.metadatas[None],
        render_item=render_item,
        process_revision_directives=leave_out_nothing_new,
        **{
            name: value
            for name, value in current_app.extensions["migrate"].configure_args.items()
            if name != "process_revision_directives"
        },
    )
    with context.begin_transaction():
        context.run_migrations()
    if is_sqlite:
        heed_foreign_keys(connection)
