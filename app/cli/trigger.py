"""``flask trigger``: makes something really happen, in test mode, so that its events are real ones.

A charge is made over the API, a simulated shopper pays it at the sandbox, and what the merchant is told
comes out at the other end.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from flask.cli import with_appcontext

from app.cli import output, remote, simulate
from app.cli.remote import Refused, Remote
from app.webhooks import types

PRICE = 1250
# The sandbox takes some amounts as orders.  Source: docs/sandbox.md, magic amounts.
ONE_FEN_TOO_MUCH, REFUNDS_END_CLOSED = 8, 21
EXPIRES_IN_S_MIN = 60
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it happens, and with which wallet."""

    far: Remote
    provider: str

    def charge(self, amount: int = PRICE, **more: Any) -> dict[str, Any]:
        """A new charge, which must be one of test mode."""
        body = {"amount": amount, "currency": "cny", "description": "flask trigger", **more}
        made = self.far.post("/charges", body)
        if made["livemode"]:
            self.far.post(f"/charges/{made['id']}/cancel")
            raise click.ClickException("this key is for real money: nothing was paid")
        return made

    def paid(self, amount: int = PRICE) -> dict[str, Any]:
        """The same, and the shopper has approved."""
        made = self.charge(amount)
        _pay(made["url"], self.provider)
        return made


Scene = Callable[[Stage], str]  # makes it happen; the id of the object that the event is about


def _created(stage: Stage) -> str:
    return str(stage.charge()["id"])


def _paid(stage: Stage) -> str:
    return str(stage.paid()["id"])


def _canceled(stage: Stage) -> str:
    return str(stage.far.post(f"/charges/{stage.charge()['id']}/cancel")["id"])


def _expired(stage: Stage) -> str:
    output.say(f"a charge lives at least {EXPIRES_IN_S_MIN} s; this one ends then", err=True)
    return str(stage.charge(expires_in_s=EXPIRES_IN_S_MIN)["id"])


def _mismatched(stage: Stage) -> str:
    return str(stage.paid(ONE_FEN_TOO_MUCH)["id"])


def _refunded(stage: Stage) -> str:
    return _refund(stage, PRICE)


def _refund_failed(stage: Stage) -> str:
    return _refund(stage, REFUNDS_END_CLOSED)


def _refund(stage: Stage, amount: int) -> str:
    return str(stage.far.post("/refunds", {"charge": stage.paid(amount)["id"]})["id"])


SCENES: dict[str, Scene] = {
    types.CHARGE_CREATED: _created,
    types.CHARGE_PAID: _paid,
    types.CHARGE_CANCELED: _canceled,
    types.CHARGE_EXPIRED: _expired,
    types.CHARGE_AMOUNT_MISMATCHED: _mismatched,
    types.REFUND_CREATED: _refunded,
    types.REFUND_SUCCEEDED: _refunded,
    types.REFUND_FAILED: _refund_failed,
}
# Alipay's refunds do not fail for good: they wait until the merchant has money.
USUAL = {types.REFUND_FAILED: "wechatpay"}


@click.command("trigger")
@click.argument("event", type=click.Choice(list(SCENES)))
@click.option("--provider", default="", help="The wallet that pays; one that can do it if left out.")
@click.option("--wait", "wait_s", type=float, help="Seconds to wait for the event; 20, or 100 for expiry.")
@remote.url_option
@remote.key_option
@output.json_option
@with_appcontext
@output.told
def trigger_command(
    *, event: str, provider: str, wait_s: float | None, url: str, key: str, as_json: bool
) -> None:
    """Make EVENT happen in test mode and say which events came of it.

    Exit codes: 0 it came, 1 it did not, 2 typed wrongly.
    """
    far = remote.remote_of(url, key)
    try:
        object_id = SCENES[event](Stage(far, provider or USUAL.get(event, "alipay")))
    except Refused as refused:
        if refused.status == 404 and event.startswith("refund."):
            raise click.ClickException("this Mafu has no refunds over the API") from None
        raise
    patience_s = wait_s if wait_s is not None else 100.0 if event == types.CHARGE_EXPIRED else 20.0
    came = _await(far, object_id, event, patience_s)
    has_come = event in [one["type"] for one in came]
    if as_json:
        facts = [{"id": one["id"], "type": one["type"]} for one in came]
        output.say_json({"object": object_id, "came": has_come, "events": facts})
    else:
        output.say(object_id)
        for one in came:
            output.say(f"  {one['created_at']}  {one['type']}  {one['id']}")
        if not has_come:
            output.say(f"{event} did not come within {patience_s:.0f} s", err=True)
    sys.exit(0 if has_come else 1)


def _await(far: Remote, object_id: str, event: str, patience_s: float) -> list[dict[str, Any]]:
    """The events of an object, oldest first, once the wanted one is among them or time is up."""
    deadline_s = time.monotonic() + patience_s
    while True:
        listed = json.loads(far.get("/events", object_id=object_id, limit="100").body)
        came: list[dict[str, Any]] = listed["data"][::-1]
        if event in [one["type"] for one in came] or time.monotonic() >= deadline_s:
            return came
        time.sleep(LOOK_EVERY_S)


def _pay(link: str, provider: str) -> None:
    """What ``flask simulate pay`` does.  That the wallet took it is not asked here: the events will tell."""
    said = io.StringIO()
    words = ["pay", link, "--provider", provider, "--wait", "2", "--json"]
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        simulate.simulate_group.main(words, prog_name="simulate", standalone_mode=False)
    try:
        steps = json.loads(said.getvalue())["steps"]
    except (ValueError, KeyError):
        raise click.ClickException(f"the shopper could not pay {link}") from None
    if not any(step.startswith("pressed approve") for step in steps):
        raise click.ClickException(f"the shopper could not pay: {steps[-1] if steps else link}")
