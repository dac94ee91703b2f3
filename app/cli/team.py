"""``flask user`` and ``flask audit``: what whoever runs the server does about people, and can prove."""

from __future__ import annotations

import click
from flask.cli import AppGroup, with_appcontext

from app.cli import output
from app.cli.records import merchant_id_of
from app.merchants import audit, people, team
from app.runtime import settings

user_group = AppGroup("user", help="People.")
audit_group = AppGroup("audit", help="The audit log.")


@user_group.command("reset")
@click.argument("email")
@click.option(
    "--drop-second-factor", is_flag=True, help="For who has lost the phone and every recovery code, too."
)
@output.json_option
@with_appcontext
@output.told
def reset_password(email: str, drop_second_factor: bool, as_json: bool) -> None:
    """Print a link with which EMAIL chooses a new password, once, within a day.

    A second factor is asked for afterwards as always, unless it is taken off.
    """
    user = people.find_user(email)
    if user is None:
        raise click.ClickException(f"nobody has the e-mail address {email}")
    token = team.make_reset_link(user.merchant_id, user.id, drops_second_factor=drop_second_factor)
    link = f"{settings().origin}/reset/{token}"
    if as_json:
        output.say_json({"user": user.id, "reset_url": link})
    else:
        output.say_facts({"user": user.id, "reset link": link})


@audit_group.command("verify")
@click.option("--merchant", "whose", default="", help="mch_… or an e-mail address; all if left out.")
@output.json_option
@with_appcontext
@output.told
def verify(whose: str, as_json: bool) -> None:
    """Check every chain from its first row; names the first broken row of each, and then ends with 1."""
    count, faults = audit.verify(merchant_id_of(whose) if whose else None)
    if as_json:
        named = [{"merchant": f.merchant_id, "number": f.number, "reason": f.reason} for f in faults]
        output.say_json({"rows": count, "faults": named})
    else:
        output.say_facts({"rows": str(count)})
        for fault in faults:
            output.say(f"{fault.merchant_id}: row {fault.number} {fault.reason}")
    if faults:
        raise SystemExit(1)
