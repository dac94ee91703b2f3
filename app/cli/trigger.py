"""``flask trigger``: makes something really happen, in test mode, so that its events are real ones.

A charge is made over the API, its test helpers play the shopper at the sandbox, and what the merchant is
told comes out at the other end.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import click
from flask.cli import with_appcontext

from app.cli import output, remote
from app.cli.feed import Feed
from app.cli.remote import Away, Refused, Remote
from app.providers import REGISTRY
from app.webhooks import types

PRICE = 1250
MEMBER = "flask-trigger"  # the account of the member who tops up
REFUNDS_END_CLOSED = 21  # the sandbox takes some amounts as orders.  Source: docs/sandbox.md, magic amounts.
BEGINS_IN_VAIN = 4  # another: made, and answered by 502
FAILURES_MAX = 5  # more than it takes
LOOKS_MAX = 60
LOOK_EVERY_S = 0.5
NOBODYS_URL = "https://mafu.invalid/"  # a name that can never be found.  Source: RFC 2606, section 2.


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it happens, and with which wallets: one that pays, and another that is begun beside it."""

    far: Remote
    provider: str

    @property
    def other(self) -> str:
        return next(code for code in REGISTRY if code != self.provider)

    def charge(self, amount: int = PRICE, order: str | None = None) -> str:
        """A new charge's id; it must be one of test mode."""
        number = {} if order is None else {"merchant_order_no": order}
        made = self.far.post(
            "/charges", {"amount": amount, "currency": "cny", "description": "flask trigger", **number}
        )
        if made["livemode"]:
            self.far.post(f"/charges/{made['id']}/cancel")
            raise click.ClickException("this key is for real money: nothing was paid")
        return str(made["id"])

    def act(self, charge_id: str, verb: str, **wish: Any) -> str:
        """What the shopper does, or time; the charge's id."""
        body = None if verb == "expire" else wish
        return str(self.far.post(f"/test_helpers/charges/{charge_id}/{verb}", body)["id"])

    def paid(self, amount: int = PRICE) -> str:
        """A new charge for which the shopper has approved."""
        return self.act(self.charge(amount), "pay", provider=self.provider)


Scene = Callable[[Stage], str]  # makes it happen; the id of the object that the event is about


def _canceled(stage: Stage) -> str:
    return str(stage.far.post(f"/charges/{stage.charge()}/cancel")["id"])


def _expired(stage: Stage) -> str:
    return stage.act(stage.charge(), "expire")


def _paid_late(stage: Stage) -> str:
    charge_id = stage.act(stage.charge(), "begin", provider=stage.provider)
    stage.act(charge_id, "expire")
    return stage.act(charge_id, "pay", provider=stage.provider)


def _paid_twice(stage: Stage) -> str:
    charge_id = stage.act(stage.charge(), "begin", provider=stage.other)
    stage.act(charge_id, "pay", provider=stage.provider)
    return stage.act(charge_id, "pay", provider=stage.other)


def _mismatched(stage: Stage) -> str:
    return stage.act(stage.charge(), "pay", provider=stage.provider, amount=PRICE + 1)


def _refunded(stage: Stage) -> str:
    return _refund(stage, PRICE)


def _refund_failed(stage: Stage) -> str:
    return _refund(stage, REFUNDS_END_CLOSED)


def _refund(stage: Stage, amount: int) -> str:
    return str(stage.far.post("/refunds", {"charge": stage.paid(amount)})["id"])


def _topped_up(stage: Stage) -> str:
    return str(_top_up(stage)["id"])


def _topup_refunded(stage: Stage) -> str:
    topup = _top_up(stage)
    stage.far.post("/refunds", {"charge": topup["charge"]})
    return str(topup["id"])


def _balance_changed(stage: Stage) -> str:
    return str(_top_up(stage)["member"])


def _top_up(stage: Stage) -> dict[str, Any]:
    """A top-up of a member of its own, which the shopper has paid."""
    member = stage.far.post("/members", {"account": MEMBER, "name": "flask trigger"})
    topup: dict[str, Any] = stage.far.post("/topups", {"member": member["id"], "amount": PRICE})
    if topup["livemode"]:
        stage.far.post(f"/charges/{topup['charge']}/cancel")
        raise click.ClickException("this key is for real money: nothing was paid")
    stage.act(topup["charge"], "pay", provider=stage.provider)
    return topup


def _blocked(stage: Stage) -> str:
    return _stopped(stage, "block")


def _held(stage: Stage) -> str:
    return _stopped(stage, "review")


def _reviewed(stage: Stage) -> str:
    charge_id = _stopped(stage, "review")
    verdict = {"verdict": "release", "reason": "flask trigger"}
    return str(stage.far.post(f"/risk/reviews/{charge_id}", verdict)["id"])


def _stopped(stage: Stage, action: str) -> str:
    """A charge that a rule stops which is about nothing else, and is gone afterwards."""
    order = f"trigger-{secrets.token_hex(8)}"
    terms = {"on": "order", "entries": [order]}
    rule = {"kind": "block_list", "action": action, "name": "flask trigger", "terms": terms}
    charge_id = stage.charge(order=order)
    rule_id = stage.far.post("/risk/rules", rule)["id"]
    try:
        stage.act(charge_id, "begin", provider=stage.provider)
    except Refused as refusal:
        if refusal.status != HTTPStatus.CONFLICT:
            raise
    finally:
        stage.far.post(f"/risk/rules/{rule_id}/end")
    return charge_id


def _pinged(stage: Stage) -> str:
    listed = json.loads(stage.far.get("/webhook_endpoints").body)["data"]
    for endpoint in listed:
        if endpoint["status"] == "enabled":
            stage.far.post(f"/webhook_endpoints/{endpoint['id']}/ping")
            return str(endpoint["id"])
    raise click.ClickException("there is no webhook endpoint to ping")


def _code_made(stage: Stage) -> str:
    made = stage.far.post("/qr_codes", {"name": "flask trigger"})
    if made["livemode"]:
        stage.far.post(f"/qr_codes/{made['id']}", {"active": False})  # there is no deleting a code
        raise click.ClickException("this key is for real money: the code is disabled at once")
    return str(made["id"])


def _code_changed(stage: Stage, *changes: dict[str, Any]) -> str:
    code_id = _code_made(stage)
    for change in (*changes, {"active": False}):  # nothing is to hang on in the shop's list
        stage.far.post(f"/qr_codes/{code_id}", change)
    return code_id


def _code_quiet(stage: Stage) -> str:
    code_id = _code_made(stage)
    stage.far.post(f"/test_helpers/qr_codes/{code_id}/go_quiet")
    stage.far.post(f"/qr_codes/{code_id}", {"active": False})
    return code_id


def _endpoint_disabled(stage: Stage) -> str:
    # One of its own, at an address that is nobody's, so that no endpoint of the merchant's goes quiet.
    made = stage.far.post("/webhook_endpoints", {"url": NOBODYS_URL, "description": "flask trigger"})
    path = f"/webhook_endpoints/{made['id']}"
    if not made["livemode"]:
        stage.far.post(path, {"disabled": True})
    stage.far.delete(path)
    if made["livemode"]:
        raise click.ClickException("this key is for real money: nothing was disabled")
    return str(made["id"])


def _account_fails(stage: Stage) -> str:
    for _ in range(FAILURES_MAX):
        with suppress(Away):  # which is what is wanted
            stage.act(stage.charge(BEGINS_IN_VAIN), "begin", provider=stage.provider)
        if (account_id := _failing(stage)) is not None:
            return account_id
    raise click.ClickException(f"no {stage.provider} account fails: is there a sandbox behind test mode?")


def _account_recovers(stage: Stage) -> str:
    account_id = _account_fails(stage)
    for _ in range(LOOKS_MAX):
        with suppress(Away):
            stage.act(stage.charge(), "begin", provider=stage.provider)
        if _failing(stage) is None:
            break
        time.sleep(LOOK_EVERY_S)  # with another account the worker looks first whether it answers
    return account_id


def _failing(stage: Stage) -> str | None:
    listed = json.loads(stage.far.get("/provider_accounts").body)["data"]
    ids = [
        each["id"] for each in listed if (each["provider"], each["health"]) == (stage.provider, "unhealthy")
    ]
    return str(ids[0]) if ids else None


SCENES: dict[str, Scene] = {
    types.CHARGE_CREATED: Stage.charge,
    types.CHARGE_PAID: Stage.paid,
    types.CHARGE_PAID_LATE: _paid_late,
    types.CHARGE_DOUBLE_PAID: _paid_twice,
    types.CHARGE_AMOUNT_MISMATCHED: _mismatched,
    types.CHARGE_EXPIRED: _expired,
    types.CHARGE_CANCELED: _canceled,
    types.CHARGE_BLOCKED: _blocked,
    types.CHARGE_REVIEW_OPENED: _held,
    types.CHARGE_REVIEW_CLOSED: _reviewed,
    types.REFUND_CREATED: _refunded,
    types.REFUND_SUCCEEDED: _refunded,
    types.REFUND_FAILED: _refund_failed,
    types.QR_CODE_CREATED: _code_changed,
    types.QR_CODE_UPDATED: lambda stage: _code_changed(stage, {"amount": PRICE}),
    types.QR_CODE_DISABLED: _code_changed,
    types.QR_CODE_ENABLED: lambda stage: _code_changed(stage, {"active": False}, {"active": True}),
    types.QR_CODE_QUIET: _code_quiet,
    types.WEBHOOK_ENDPOINT_DISABLED: _endpoint_disabled,
    types.TOPUP_SUCCEEDED: _topped_up,
    types.TOPUP_REFUNDED: _topup_refunded,
    types.MEMBER_BALANCE_CHANGED: _balance_changed,
    types.PROVIDER_ACCOUNT_UNHEALTHY: _account_fails,
    types.PROVIDER_ACCOUNT_RECOVERED: _account_recovers,
    types.ENDPOINT_PING: _pinged,
}
# Alipay's refunds do not fail for good: they wait until the merchant has money.
USUAL = {types.REFUND_FAILED: "wechatpay"}


@click.command("trigger")
@click.argument("event", type=click.Choice(list(SCENES)))
@click.option("--provider", default="", help="The wallet that pays; one that can do it if left out.")
@click.option("--wait", "wait_s", default=20.0, show_default=True, help="Seconds to wait for the event.")
@remote.url_option
@remote.key_option
@output.json_option
@with_appcontext
@output.told
def trigger_command(*, event: str, provider: str, wait_s: float, url: str, key: str, as_json: bool) -> None:
    """Make EVENT happen in test mode and say which events came of it.

    Exit codes: 0 it came, 1 it did not, 2 typed wrongly.
    """
    far = remote.remote_of(url, key)
    feed = Feed.from_now(far)
    object_id = SCENES[event](Stage(far, provider or USUAL.get(event, "alipay")))
    came = _await(feed, object_id, event, wait_s)
    has_come = event in [one["type"] for one in came]
    if as_json:
        facts = [{"id": one["id"], "type": one["type"]} for one in came]
        output.say_json({"object": object_id, "came": has_come, "events": facts})
    else:
        output.say(object_id)
        for one in came:
            output.say(f"  {one['created_at']}  {one['type']}  {one['id']}")
        if not has_come:
            output.say(f"{event} did not come within {wait_s:.0f} s", err=True)
    sys.exit(0 if has_come else 1)


def _await(feed: Feed, object_id: str, event: str, patience_s: float) -> list[dict[str, Any]]:
    """The new events of an object, oldest first, once the wanted one is among them or time is up."""
    deadline_s = time.monotonic() + patience_s
    came: list[dict[str, Any]] = []
    while True:
        came += feed.look(object_id=object_id)
        if event in [one["type"] for one in came] or time.monotonic() >= deadline_s:
            return came
        time.sleep(LOOK_EVERY_S)
