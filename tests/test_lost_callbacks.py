"""Every callback is lost, at all three networks, and still nobody waits long for the truth.

Web, worker and the networks' far side (``sandbox/``) run in processes of their own.  The sandbox drops
what it would send; what is left are our own questions: for the shopper whose page is open, for the one
who comes back from the wallet, and the worker's for everybody else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.merchants import accounts, keys, people
from tests import live
from tests.conftest import fresh_database, running
from tests.live import PHONE, Browser, House, ask, wait_until
from tests.providers import alipay_forge, unionpay_forge, wechatpay_forge

pytestmark = pytest.mark.slow

WALLETS = ("alipay", "wechatpay", "unionpay")
SHOWN_WITHIN_S = 8.0
POLL_S = 2.0  # what the page's script waits between two questions
SETTLED_WITHIN_S = 30.0  # the worker asks after 5 seconds, and again after 5 and 10


@dataclass
class Shop:
    mafu: House
    key: str

    def charges(self, minor: int) -> dict[str, Any]:
        body = {"amount": minor, "currency": "cny", "description": "一杯拿铁"}
        answer = ask("POST", f"{self.mafu.url}/v1/charges", key=self.key, json_body=body)
        assert answer.status == 201, answer.body
        charge: dict[str, Any] = answer.json
        return charge

    def status(self, charge: dict[str, Any]) -> str:
        return str(ask("GET", f"{self.mafu.url}/v1/charges/{charge['id']}", key=self.key).json["status"])

    def callbacks_heard(self) -> int:
        """How many sends of any notification reached us."""
        trades = ask("GET", f"{self.mafu.sandbox_url}/control/trades?limit=100").json["data"]
        sends = [send for trade in trades for news in trade["notifications"] for send in news["sends"]]
        return sum(send["answer"] in ("success", "ok") or send.get("status") in (200, 204) for send in sends)


@pytest.fixture(scope="module", params=["sqlite"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, templates: dict[str, str]
) -> Iterator[Shop]:
    """A merchant with all three wallets; every notification is dropped."""
    folder = tmp_path_factory.mktemp("lost")
    with fresh_database(request, folder, templates) as url, live.house(url, folder) as mafu:
        mafu.start("sandbox", "web")
        with running(mafu.settings):
            merchant_id, _ = people.add_merchant("晨光咖啡馆", email="owner@cafe.example")
            _, key = keys.create_key(merchant_id, livemode=False, name="till")
            for wallet, settings in _credentials(mafu.sandbox_url).items():
                accounts.add_account(merchant_id, wallet, livemode=False, name=wallet, settings=settings)
        lever = {"name": "drop", "scope": "always"}
        assert ask("POST", f"{mafu.sandbox_url}/control/levers", json_body=lever).status == 201
        yield Shop(mafu, key)


def _credentials(sandbox_url: str) -> dict[str, dict[str, str]]:
    """What a merchant copies from the three consoles: the public half of our key goes there."""

    def console(path: str, public_key: str) -> dict[str, str]:
        answer = ask("POST", f"{sandbox_url}/control/{path}", json_body={"public_key": public_key})
        assert answer.status in (200, 201), answer.body
        facts: dict[str, str] = answer.json
        return facts

    ali = console("alipay/apps", alipay_forge.KEYS["app.pub.pem"])
    wx = console("wechatpay/merchants", wechatpay_forge.KEYS["wx_mch.pub.pem"])
    up = console("unionpay/merchants", unionpay_forge.KEYS["up_mer.pub.pem"])
    wx_names = ("appid", "mchid", "app_secret", "public_key_id", "public_key", "merchant_cert")
    up_names = ("mer_id", "middle_cert", "root_cert", "gateway_url", "file_url")
    return {
        "alipay": {
            **{name: ali[name] for name in ("app_id", "seller_id", "gateway_url", "alipay_public_key")},
            "private_key": alipay_forge.KEYS["app.pkcs8.pem"],
        },
        "wechatpay": {
            **{name: wx[name] for name in wx_names},
            "private_key": wechatpay_forge.KEYS["wx_mch.pkcs8.pem"],
            "api_v3_key": wx["apiv3_key"],
            "api_url": wx["api_base"],
            "open_url": wx["oauth_base"],
            "sns_url": wx["oauth_base"],
        },
        "unionpay": {
            **{name: up[name] for name in up_names},
            "private_key": unionpay_forge.KEYS["up_mer.pkcs8.pem"],
            "sign_cert": up["merchant_cert"],
        },
    }


def _goes_to_pay(charge: dict[str, Any], wallet: str) -> Browser:
    """A phone at the wallet's cashier."""
    phone = Browser(PHONE)
    phone.open(charge["url"])
    phone.press("provider", wallet)
    if wallet == "unionpay":  # the page between, whose form a script would send
        phone.press("txnType", "01")
    assert "/cashier/" in phone.address
    return phone


def _approves(phone: Browser, wallet: str) -> None:
    """Pays, and is led back to our page."""
    phone.press("action", "approve")
    if wallet == "unionpay":
        phone.press("txnType", "01")


@pytest.mark.parametrize("wallet", WALLETS)
def test_an_open_page_shows_paid_within_seconds(shop, wallet):
    """The page was left open in one window while the shopper paid in another."""
    charge = shop.charges(1250)
    phone = _goes_to_pay(charge, wallet)
    page = Browser(PHONE)
    page.open(charge["url"])
    assert page.poll()["status"] == "processing"
    phone.press("action", "approve")

    paid_at = time.monotonic()
    while page.poll()["status"] != "paid":
        assert time.monotonic() - paid_at < SHOWN_WITHIN_S
        time.sleep(POLL_S)
    assert "Paid" in page.open(charge["url"])
    assert shop.callbacks_heard() == 0


@pytest.mark.parametrize("wallet", WALLETS)
def test_a_shopper_who_comes_back_sees_the_truth(shop, wallet):
    charge = shop.charges(1800)
    phone = _goes_to_pay(charge, wallet)
    _approves(phone, wallet)
    assert phone.address.startswith(charge["url"])
    wait_until(lambda: phone.poll()["status"] == "paid", SHOWN_WITHIN_S)
    page = phone.open(phone.address)
    assert "Paid" in page
    assert charge["id"] in page
    assert shop.callbacks_heard() == 0


@pytest.mark.parametrize("wallet", WALLETS)
def test_coming_back_without_having_paid_is_no_payment(shop, wallet):
    """Whoever types the return address, or comes back by it, has proved nothing."""
    charge = shop.charges(1900)
    _goes_to_pay(charge, wallet)
    page = Browser(PHONE)
    page.open(f"{charge['url']}?back=1")
    for _ in range(2):
        assert page.poll()["status"] == "processing"
        time.sleep(POLL_S)
    assert shop.status(charge) == "pending"


def test_the_worker_settles_with_no_page_open(shop):
    """The phones' batteries die in the moment of approval."""
    charges = {wallet: shop.charges(2500) for wallet in WALLETS}
    for wallet, charge in charges.items():
        _goes_to_pay(charge, wallet).press("action", "approve")
        assert shop.status(charge) == "pending"
    shop.mafu.start("worker")
    for charge in charges.values():
        wait_until(lambda charge=charge: shop.status(charge) == "paid", SETTLED_WITHIN_S)
    assert shop.callbacks_heard() == 0
