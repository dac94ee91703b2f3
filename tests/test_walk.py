"""The life of a charge, end to end: read this first.

Everything is real but the money: the web, the worker and Alipay's far side (``sandbox/``) run in
processes of their own and meet on sockets of this machine; the signatures are RSA; the merchant checks
its webhooks with a package that is not ours.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
from PIL import Image
from standardwebhooks import Webhook

from app import catalogue
from app.merchants import accounts, keys, people
from tests import live
from tests.conftest import running
from tests.live import DESKTOP, PHONE, WALLET, Browser, House, ask, wait_until
from tests.providers import alipay_forge
from tests.qr.conftest import read_by_zxing
from tests.qr.pictures import picture_of_svg
from tests.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.slow


def test_a_charge_lives_from_the_till_to_the_receipt(database_url, tmp_path):
    with live.house(database_url, tmp_path) as mafu, receiving() as till:
        mafu.start("sandbox", "web", "worker")
        shop = a_merchant_moves_in(mafu, till)
        a_shopper_scans_with_a_phone(shop)
        a_shopper_pays_at_a_desktop(shop)

        shop.alipay("POST", "/control/levers", {"name": "drop", "scope": "always"})  # no callback comes
        mafu.programs["worker"].stop()
        charge = the_shoppers_own_page_finds_out(shop)
        mafu.start("worker")
        assert shop.hears(charge) == ["charge.created", "charge.paid"]  # what happened meanwhile is told now
        the_worker_finds_out_when_nobody_looks(shop)
        every_event_was_what_the_document_says(shop)


def a_merchant_moves_in(mafu: House, till: Receiver) -> Shop:
    """The operator makes a merchant and a key; the merchant enters its Alipay account and its webhook."""
    ours = alipay_forge.KEYS  # the application's key pair: the public half goes to Alipay's console
    console = ask(
        "POST", f"{mafu.sandbox_url}/control/alipay/apps", json_body={"public_key": ours["app.pub.pem"]}
    ).json
    shown = {name: console[name] for name in ("app_id", "seller_id", "gateway_url", "alipay_public_key")}
    with running(mafu.settings):
        merchant_id, _ = people.add_merchant("晨光咖啡馆", email="owner@cafe.example")
        _, key = keys.create_key(merchant_id, livemode=False, name="till")
        credentials = shown | {"private_key": ours["app.pkcs8.pem"]}
        accounts.add_account(merchant_id, "alipay", livemode=False, name="支付宝", settings=credentials)
    endpoint = ask("POST", f"{mafu.url}/v1/webhook_endpoints", key=key, json_body={"url": till.url("/ok")})
    assert endpoint.status == 201
    return Shop(mafu, key, till, Webhook(endpoint.json["secret"]))


def a_shopper_scans_with_a_phone(shop: Shop) -> None:
    charge = shop.charges(1250, "一杯拿铁")
    assert charge["status"] == "pending"

    # The QR code, drawn as bitmap and as vectors, says the payment link and nothing else.
    png = shop.api("GET", charge["qr"]["png"]).body
    svg = shop.api("GET", charge["qr"]["svg"]).body
    assert read_by_zxing(Image.open(io.BytesIO(png))) == [charge["url"]]
    assert read_by_zxing(picture_of_svg(svg)) == [charge["url"]]

    # The phone's camera opens it.  Looking has no effect: chat programs and crawlers look, too.
    phone = Browser(PHONE)
    page = [phone.open(charge["url"]) for _ in range(2)][-1]
    assert "¥12.50" in page
    assert "晨光咖啡馆" in page
    assert shop.reads(charge) == charge
    assert shop.alipay("GET", "/control/trades")["data"] == []

    # "Pay" leads to Alipay's cashier, by an address that we have signed and Alipay has checked.
    cashier = phone.press("provider", "alipay")
    assert phone.address.startswith(f"{shop.mafu.sandbox_url}/cashier/")
    assert "¥12.50" in cashier

    # The shopper approves.  Alipay's callback settles the charge, and Alipay hears "success".
    phone.press("action", "approve")
    assert phone.address.startswith(charge["url"])
    wait_until(lambda: shop.reads(charge)["status"] == "paid")
    wait_until(lambda: shop.answers_to_alipay() == ["success"])

    # The merchant's system hears of it, and the shopper sees the receipt.
    assert shop.hears(charge) == ["charge.created", "charge.paid"]
    assert_receipt(phone.open(charge["url"]), charge)


def a_shopper_pays_at_a_desktop(shop: Shop) -> None:
    """The desktop shows the wallet's own code; a phone scans that; the desktop's page changes."""
    charge = shop.charges(990, "Espresso")
    desktop, phone = Browser(DESKTOP), Browser(WALLET)
    desktop.open(charge["url"])
    page = desktop.press("provider", "alipay")
    assert desktop.poll()["status"] == "processing"

    [drawing] = re.findall(r'<svg[^>]*viewBox="0 0 \d+ \d+"[^>]*shape-rendering.*?</svg>', page, re.DOTALL)
    [code] = read_by_zxing(picture_of_svg(drawing.encode()))
    assert code.startswith(f"{shop.mafu.sandbox_url}/qr/")
    assert "¥9.90" in phone.open(code)
    phone.press("action", "approve")

    wait_until(lambda: desktop.poll()["status"] == "paid")
    assert shop.hears(charge) == ["charge.created", "charge.paid"]
    assert_receipt(desktop.open(charge["url"]), charge)


def the_shoppers_own_page_finds_out(shop: Shop) -> dict[str, Any]:
    """No callback and no worker: the page's poll asks Alipay, and its signed answer settles."""
    charge = shop.charges(1800, "Flat White")
    phone = Browser(PHONE)
    phone.open(charge["url"])
    phone.press("provider", "alipay")
    phone.press("action", "approve")
    assert shop.reads(charge)["status"] == "pending"  # coming back from a wallet proves nothing

    wait_until(lambda: phone.poll()["status"] == "paid")
    assert_receipt(phone.open(charge["url"]), charge)
    return charge


def the_worker_finds_out_when_nobody_looks(shop: Shop) -> None:
    """No callback, and the phone's battery dies in the moment of approval: the worker asks Alipay."""
    charge = shop.charges(2500, "一份提拉米苏")
    phone = Browser(PHONE)
    phone.open(charge["url"])
    phone.press("provider", "alipay")
    number = shop.alipay("GET", "/control/trades")["data"][0]["out_trade_no"]
    shop.alipay("POST", f"/control/trades/{number}/pay", {})

    assert shop.hears(charge) == ["charge.created", "charge.paid"]
    assert shop.reads(charge)["status"] == "paid"


def every_event_was_what_the_document_says(shop: Shop) -> None:
    document = ask("GET", f"{shop.mafu.url}/v1/openapi.json").json
    for request in shop.till.requests:
        event = json.loads(request.body)
        schema = document["components"]["schemas"][catalogue.schema_name(event["type"])]
        jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(event)


@dataclass
class Shop:
    """The merchant's system: its key, its till that hears webhooks, and how it checks them."""

    mafu: House
    key: str
    till: Receiver
    webhook: Webhook

    def charges(self, minor: int, description: str) -> dict[str, Any]:
        body = {"amount": minor, "currency": "cny", "description": description}
        answer = self.api("POST", f"{self.mafu.url}/v1/charges", body)
        assert answer.status == 201, answer.body
        charge: dict[str, Any] = answer.json
        return charge

    def reads(self, charge: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"{self.mafu.url}/v1/charges/{charge['id']}").json
        return found

    def hears(self, charge: dict[str, Any]) -> list[str]:
        """The events of a charge once both have come, each one verified; webhooks promise no order."""
        wait_until(lambda: len(self._heard(charge)) >= 2)
        return sorted(self._heard(charge))

    def api(self, method: str, url: str, body: Any = None) -> live.Answer:
        return ask(method, url, key=self.key, json_body=body)

    def alipay(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A tester's hand in the sandbox."""
        answer: dict[str, Any] = ask(method, f"{self.mafu.sandbox_url}{path}", json_body=body).json
        return answer

    def answers_to_alipay(self) -> list[str]:
        """What we said to each send of the latest trade's only notification."""
        [callback] = self.alipay("GET", "/control/trades")["data"][0]["notifications"]
        return [send["answer"] for send in callback["sends"]]

    def _heard(self, charge: dict[str, Any]) -> list[str]:
        events = [self.webhook.verify(request.body, request.headers) for request in self.till.requests]
        mine = [event for event in events if event["data"]["object"]["id"] == charge["id"]]
        return [event["type"] for event in sorted(mine, key=lambda event: event["sequence"])]


def assert_receipt(page: str, charge: dict[str, Any]) -> None:
    assert "Paid" in page
    assert charge["id"] in page
    assert charge["description"] in page
