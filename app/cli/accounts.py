"""``flask account``: a merchant's credentials at the providers, read from a file and never printed."""

from __future__ import annotations

from typing import IO

import click
from flask.cli import AppGroup, with_appcontext

from app import runtime
from app.charges import rekeying
from app.cli import demo, output, places
from app.cli.records import live_option, merchant_id_of, merchant_option
from app.errors import InvalidRequest
from app.merchants import accounts
from app.providers import REGISTRY
from app.strict_json import parse_object

account_group = AppGroup("account", help="Accounts at the wallets.")

_file_option = click.option(
    "--credentials",
    type=click.File("rb"),
    required=True,
    help="A JSON object of the provider's fields ('flask account fields PROVIDER'); - reads standard input.",
)
_provider = click.Choice(sorted(REGISTRY))


@account_group.command("fields")
@click.argument("provider", type=_provider)
@output.json_option
def show_fields(provider: str, as_json: bool) -> None:
    """Say which credentials a provider wants, as a file to fill in."""
    wanted = REGISTRY[provider].credentials
    if as_json:
        output.say_json({field.name: field.default for field in wanted})
        return
    for field in wanted:
        marks = ", ".join(["required"] * field.required + ["secret"] * field.secret)
        output.say(f"{field.name}: {field.label}" + (f" ({marks})" if marks else ""))
        if field.hint:
            output.say(f"    {field.hint}")


@account_group.command("sample")
@click.argument("provider", type=_provider)
@click.option(
    "--service-provider",
    "under_provider",
    is_flag=True,
    help="Of a merchant whose service provider you are (服务商).",
)
@with_appcontext
@output.told
def show_sample(*, provider: str, under_provider: bool) -> None:
    """Print credentials of a made-up merchant at the running sandbox, as 'account add' reads them."""
    settings = runtime.settings()
    if not settings.is_demo:
        raise click.ClickException("there is no sandbox in live mode")
    near = places.places_of(settings).near_sandbox_url
    output.say_json(demo.sample(near, provider, under_provider=under_provider))


@account_group.command("add")
@click.argument("provider", type=_provider)
@merchant_option
@live_option
@click.option("--name", default="", help="To tell several apart.")
@_file_option
@output.json_option
@with_appcontext
@output.told
def add_account(
    *, provider: str, whose: str, live: bool, name: str, credentials: IO[bytes], as_json: bool
) -> None:
    """Store credentials, sealed; shoppers are offered the wallet from now on."""
    label = name or REGISTRY[provider].info.label
    account_id = accounts.add_account(
        merchant_id_of(whose), provider, livemode=live, name=label, settings=_read(credentials)
    )
    _say_id(account_id, as_json)


@account_group.command("change")
@click.argument("account_id")
@_file_option
@output.json_option
@with_appcontext
@output.told
def change_account(account_id: str, credentials: IO[bytes], as_json: bool) -> None:
    """Replace all credentials of an account, to rotate a key.

    Another application or merchant number is refused while payments or refunds are under way.
    """
    rekeying.change_account(account_id, _read(credentials))
    _say_id(account_id, as_json)


@account_group.command("disable")
@click.argument("account_id")
@merchant_option
@output.json_option
@with_appcontext
@output.told
def disable_account(account_id: str, whose: str, as_json: bool) -> None:
    """Start nothing through an account any more; money on its way is still heard of."""
    accounts.disable_account(merchant_id_of(whose), account_id)
    _say_id(account_id, as_json)


@account_group.command("list")
@merchant_option
@live_option
@output.json_option
@with_appcontext
@output.told
def list_accounts(whose: str, live: bool, as_json: bool) -> None:
    """The accounts that shoppers are offered."""
    rows = accounts.list_accounts(merchant_id_of(whose), livemode=live)
    if as_json:
        output.say_json(
            {"data": [{"id": row.id, "provider": row.provider, "name": row.name} for row in rows]}
        )
    for row in [] if as_json else rows:
        output.say(f"{row.id}  {row.provider}  {row.name}")


def _read(file: IO[bytes]) -> dict[str, str]:
    """The credentials in a file.  A refusal names the field and never quotes its value."""
    fields = parse_object(file.read(1 << 18))
    for name, value in fields.items():
        if not isinstance(value, str):
            raise InvalidRequest("a credential is a text in quotes", param=name[:64])
    return {name: value for name, value in fields.items() if value}


def _say_id(account_id: str, as_json: bool) -> None:
    if as_json:
        output.say_json({"id": account_id})
    else:
        output.say_facts({"account": account_id})
