"""``flask worker``: the background work, until told to end."""

from __future__ import annotations

import sys

import click
from flask import current_app
from flask.cli import with_appcontext

from app import worker
from app.cli import signals


@click.command("worker")
@click.option(
    "--hands", default=worker.HANDS, show_default=True, type=click.IntRange(1, 64), help="Jobs done at once."
)
@with_appcontext
def worker_command(hands: int) -> None:
    """Send webhooks, ask providers, end charges in time.  Start as many as you like.

    SIGTERM or Ctrl-C: finishes what is in hand within 8 seconds and exits 0.  Nothing is lost if it
    is killed.  Exits 1 if a part of it has failed: start it again.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # threads need the app itself
    with signals.noticed() as is_over:
        is_sound = worker.run(app, is_over, hands=hands)
    sys.exit(0 if is_sound else 1)
