"""``flask reconcile``: a day's bill held against the books, brought by hand, and statements checked."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import IO

import click
from flask.cli import AppGroup, with_appcontext

from app.cli import output
from app.merchants import accounts
from app.reconciliation import files, statement
from app.reconciliation.reconcile import reconcile
from app.runtime import settings

DAY = click.DateTime(["%Y-%m-%d"])

reconcile_group = AppGroup("reconcile", help="Providers' bills against the books.")


@reconcile_group.command("run")
@click.argument("account_id")
@click.argument("day", type=DAY)
@output.json_option
@with_appcontext
@output.told
def run(account_id: str, day: datetime, as_json: bool) -> None:
    """Hold the bill of DAY (Beijing's) against the books; ends with 1 if they differ.

    The worker does so every morning; doing it again is harmless.
    """
    _go_through(account_id, day, as_json)


@reconcile_group.command("upload")
@click.argument("account_id")
@click.argument("day", type=DAY)
@click.argument("file", type=click.File("rb"))
@output.json_option
@with_appcontext
@output.told
def upload(account_id: str, day: datetime, file: IO[bytes], as_json: bool) -> None:
    """Bring the bill of DAY as downloaded from the provider's own pages, and hold it against the books."""
    account = accounts.open_account(account_id)
    files.store(account, day.date(), file.read(files.FILE_BYTES_MAX + 1))
    _go_through(account_id, day, as_json)


@reconcile_group.command("verify")
@click.argument("file", type=click.File("rb"))
@output.json_option
@with_appcontext
@output.told
def verify(file: IO[bytes], as_json: bool) -> None:
    """Whether a signed statement (its JSON) is one of ours and unaltered; ends with 1 if not."""
    facts = statement.verified(file.read(), settings().secret_keys)
    told = {name: str(facts.get(name, "")) for name in ("merchant", "day", "as_of", "open")}
    if as_json:
        output.say_json({"verified": True, **told})
    else:
        output.say_facts({"signature": "fits", **told})


def _go_through(account_id: str, day: datetime, as_json: bool) -> None:
    result = reconcile(account_id, day.date())
    told = {"state": result.state.value, "lines": result.lines, **asdict(result.tally)}
    told["looked_at"], told["lines"] = told.pop("lines"), result.lines
    if as_json:
        output.say_json(told)
    else:
        output.say_facts({name.replace("_", " "): str(value) for name, value in told.items()})
    if result.state != "matched":
        raise SystemExit(1)
