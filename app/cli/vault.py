"""``flask vault``: what is sealed at rest, after a change of keys."""

from __future__ import annotations

import click
from flask.cli import AppGroup, with_appcontext

from app import resealing, runtime
from app.cli import output

vault_group = AppGroup("vault", help="Credentials at rest.")


@vault_group.command("reseal")
@output.json_option
@with_appcontext
@output.told
def reseal(as_json: bool) -> None:
    """Seal everything under the newest key of MAFU_ENCRYPTION_KEYS; afterwards the older ones can go.

    Exit codes: 0 done, 1 something was sealed by a key that is not there any more.
    """
    done = resealing.reseal_all(runtime.vault())
    if as_json:
        told = [{"column": each.name, "sealed": each.sealed, "broken": each.broken} for each in done]
        output.say_json({"columns": told})
    else:
        output.say_facts({each.name: f"{each.sealed} sealed afresh" for each in done})
    broken = {each.name: each.broken for each in done if each.broken}
    for name, count in broken.items():
        click.echo(f"{name}: {count} cannot be opened with any key of MAFU_ENCRYPTION_KEYS", err=True)
    if broken:
        raise SystemExit(1)
