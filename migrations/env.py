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


database = current_app.extensions["migrate"].db
with database.engine.connect() as connection:
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
