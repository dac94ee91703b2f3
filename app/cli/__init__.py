"""What an operator types: ``flask --app wsgi …``, or ``flask …`` in this folder.

Exit codes: 0 done, 1 not done, 2 typed wrongly; ``simulate`` has one more, see there.
"""

from __future__ import annotations

from flask import Flask

from app.cli.serve import serve_command
from app.cli.work import worker_command

COMMANDS = (serve_command, worker_command)


def init_app(app: Flask) -> None:
    """Add the commands."""
    for command in COMMANDS:
        app.cli.add_command(command)
