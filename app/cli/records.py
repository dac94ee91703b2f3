"""``flask merchant``, ``key``, ``endpoint``, ``charge``: what can be made without the dashboard."""

from __future__ import annotations

import sys

import click
import sqlalchemy as sa
from flask.cli import AppGroup, with_appcontext

from app.charges import lifecycle
from app.charges.commands import EXPIRES_IN_S_DEFAULT, NewCharge, currency_of
from app.charges.present import charge_json
from app.cli import demo, output
from app.db import reading, table_of
from app.errors import InvalidRequest
from app.merchants import keys, people
from app.merchants.models import Merchant
from app.money import Money
from app.webhooks import endpoints, types

_merchants = table_of(Merchant)

merchant_group = AppGroup("merchant", help="Shops.")
key_group = AppGroup("key", help="API keys.")
endpoint_group = AppGroup("endpoint", help="Where webhooks go.")
charge_group = AppGroup("charge", help="Charges.")

merchant_option = click.option(
    "--merchant",
    "whose",
    default="",
    help="mch_… or a user's e-mail address; may be left out if there is one shop.",
)
live_option = click.option("--live", is_flag=True, help="Real money; test mode if left out.")


@merchant_group.command("add")
@click.argument("name")
@click.option("--email", required=True, help="The owner's.")
@click.option("--language", type=click.Choice(["zh", "en"]), default="zh", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the owner's password from standard input.")
@output.json_option
@with_appcontext
@output.told
def add_merchant(name: str, email: str, language: str, password_stdin: bool, as_json: bool) -> None:
    """Open a shop: its owner signs in with the link that is printed, once, within a day."""
    demo.adopt()
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    merchant_id, user_id = people.add_merchant(name, email=email, language=language, password=password)
    link = demo.sign_in_url(merchant_id, user_id)
    _show({"merchant": merchant_id, "user": user_id, "sign_in_url": link}, as_json)


@key_group.command("create")
@merchant_option
@live_option
@click.option("--name", required=True, help="What it is for: 'web shop'.")
@output.json_option
@with_appcontext
@output.told
def create_key(whose: str, live: bool, name: str, as_json: bool) -> None:
    """Make a secret key for the API.  It is printed now and never again."""
    key_id, key = keys.create_key(merchant_id_of(whose), livemode=live, name=name)
    _show({"id": key_id, "key": key}, as_json)


@endpoint_group.command("add")
@click.argument("url")
@merchant_option
@live_option
@click.option("--event", "events", multiple=True, help="An event type; may be repeated; all if left out.")
@output.json_option
@with_appcontext
@output.told
def add_endpoint(url: str, whose: str, live: bool, events: tuple[str, ...], as_json: bool) -> None:
    """Send webhooks to URL.  The secret that signs them is printed now and never again."""
    row, secret = endpoints.create_endpoint(
        merchant_id_of(whose), livemode=live, url=url, event_types=events or (types.EVERY,)
    )
    _show({"id": row.id, "url": row.url, "secret": secret}, as_json)


@charge_group.command("create")
@merchant_option
@live_option
@click.option("--amount", required=True, help="In major units: 12.50.")
@click.option("--currency", default="CNY", show_default=True)
@click.option("--description", required=True, help="The shopper reads it.")
@click.option("--order-no", help="Your own number; the same one never makes a second charge.")
@click.option(
    "--expires-in", "expires_in_s", default=EXPIRES_IN_S_DEFAULT, show_default=True, help="Seconds."
)
@output.json_option
@with_appcontext
@output.told
def create_charge(
    *,
    whose: str,
    live: bool,
    amount: str,
    currency: str,
    description: str,
    order_no: str | None,
    expires_in_s: int,
    as_json: bool,
) -> None:
    """Ask for an amount; prints the payment link and its QR code."""
    demo.adopt()
    new = NewCharge(
        _money(amount, currency), description, merchant_order_no=order_no, expires_in_s=expires_in_s
    )
    charge = charge_json(lifecycle.open_charge(merchant_id_of(whose), livemode=live, new=new))
    if as_json:
        output.say_json(charge)
        return
    output.say(output.qr_code(charge["url"]))
    facts = {"charge": charge["id"], "amount": new.amount.text(), "link": charge["url"]}
    output.say_facts(facts | {"expires": charge["expires_at"]})


def _money(amount: str, currency: str) -> Money:
    try:
        return Money.from_major(amount, currency_of(currency))
    except ValueError as error:
        raise InvalidRequest(str(error), param="amount") from None


def merchant_id_of(whose: str) -> str:
    """Raises ClickException unless exactly one shop is meant."""
    if "@" in whose:
        user = people.find_user(whose)
        if user is None:
            raise click.ClickException(f"nobody has the e-mail address {whose}")
        return str(user.merchant_id)
    wanted = sa.select(_merchants.c.id).limit(2)
    with reading() as connection:
        rows = connection.execute(wanted.where(_merchants.c.id == whose) if whose else wanted).all()
    if len(rows) == 1:
        return str(rows[0].id)
    if whose:
        raise click.ClickException(f"there is no merchant {whose}")
    why = "there are several merchants: say --merchant" if rows else "there is none yet: flask merchant add"
    raise click.ClickException(why)


def _show(facts: dict[str, str], as_json: bool) -> None:
    if as_json:
        output.say_json(facts)
    else:
        output.say_facts(facts)
