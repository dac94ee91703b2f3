"""``flask ledger``: whether every fen is where the books say, here and in a restored backup."""

from __future__ import annotations

from functools import partial

import click
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.exc import DBAPIError

from app import db
from app.charges import proving
from app.cli import output
from app.cli.records import merchant_id_of

ledger_group = AppGroup("ledger", help="The ledger.")


@ledger_group.command("check")
@click.option("--merchant", "whose", default="", help="mch_… or an e-mail address; all if left out.")
@click.option("--database", "url", default="", help="Another database's address: a restored backup.")
@output.json_option
@with_appcontext
@output.told
def check(whose: str, url: str, as_json: bool) -> None:
    """Recompute all payments and members from entries and rows; names what differs, and then ends with 1."""
    merchant_id = whose or None if url else (merchant_id_of(whose) if whose else None)
    payments, members, faults = 0, 0, []
    try:
        snapshots = partial(db.snapshot, db.elsewhere(url)) if url else db.snapshot
        for part in proving.check_all(snapshots, merchant_id):
            payments += part.payments
            members += part.members
            faults += part.faults
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--database") from None
    except DBAPIError as error:
        why = str(error.orig).splitlines()[0]
        raise click.ClickException(f"this database cannot be read as it is now ({why})") from None
    if as_json:
        named = [
            {"merchant": each.merchant_id, "table": each.table, "row": each.row_id, "reason": each.reason}
            for each in faults
        ]
        output.say_json({"payments": payments, "members": members, "faults": named})
    else:
        output.say_facts({"payments": str(payments), "members": str(members), "faults": str(len(faults))})
        for fault in faults:
            output.say(f"{fault.merchant_id}: {fault}")
    if faults:
        raise SystemExit(1)
