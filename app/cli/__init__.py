"""What an operator types: ``flask --app wsgi …``, or ``flask …`` in this folder.

Exit codes: 0 done, 1 not done, 2 typed wrongly; ``simulate`` has one more, and ``listen`` ends with the
code of the program it was given, see there.
"""

from __future__ import annotations

from flask import Flask

from app.cli.accounts import account_group
from app.cli.doctor import doctor_command
from app.cli.events import events_group
from app.cli.grade import webhooks_group
from app.cli.ledger import ledger_group
from app.cli.listen import listen_command
from app.cli.reconciliation import reconcile_group
from app.cli.records import charge_group, endpoint_group, key_group, merchant_group
from app.cli.serve import serve_command
from app.cli.simulate import simulate_group
from app.cli.team import audit_group, user_group
from app.cli.trade import trade_command
from app.cli.trigger import trigger_command
from app.cli.vault import vault_group
from app.cli.work import worker_command

COMMANDS = (
    serve_command,
    worker_command,
    doctor_command,
    merchant_group,
    user_group,
    audit_group,
    ledger_group,
    reconcile_group,
    vault_group,
    key_group,
    account_group,
    endpoint_group,
    charge_group,
    simulate_group,
    trade_command,
    trigger_command,
    listen_command,
    events_group,
    webhooks_group,
)


def init_app(app: Flask) -> None:
    """Add the commands."""
    for command in COMMANDS:
        app.cli.add_command(command)
