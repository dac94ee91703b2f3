"""A print outlives what it asks for: the same paper is scanned after every change, in the running house."""

from __future__ import annotations

from typing import Any

import pytest

from app.merchants import accounts, keys, people
from tests import live
from tests.conftest import running
from tests.live import PHONE, Browser, House, ask, wait_until
from tests.providers import alipay_forge
from tests.qr.print.readers import wechat
from tests.qr.print.samples import needs_poppler, pixels_of_pdf

pytestmark = [
    pytest.mark.slow,
    needs_poppler,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


def test_paper_outlives_prices_stores_and_keys(database_url, tmp_path):
    with live.house(database_url, tmp_path) as mafu:
        mafu.start("sandbox", "web")
        key = a_shop_moves_in(mafu)
        code = api(mafu, key, "/v1/qr_codes", {"name": "堂食", "suggested_amounts": [1250]})
        place = f"/v1/qr_codes/{code['id']}"
        paper = ask("GET", f"{mafu.url}{place}/print?paper=labels21", key=key).body  # printed once, now
        [address] = wechat(pixels_of_pdf(paper, 203))
        assert address == code["url"]
        pays(address, "12.50")

        api(mafu, key, place, {"suggested_amounts": [1800]})  # re-priced
        pays(address, "18.00")

        store = api(mafu, key, "/v1/stores", {"name": "武康路店"})
        api(mafu, key, place, {"store": store["id"]})  # re-pointed
        assert "武康路店" in pays(address, "18.00")

        web = mafu.programs["web"]
        web.stop()
        web.environment = {**web.environment, "MAFU_SECRET_KEYS": "another-key-0123456789-abcdefghijklmnop"}
        mafu.start("web")  # every key that signed anything before is gone
        pays(address, "18.00")

        charges = ask("GET", f"{mafu.url}{place}", key=key).json["charges"]
        assert charges == {"begun": 4, "paid": 4, "amount_paid": 1250 + 3 * 1800}


def a_shop_moves_in(mafu: House) -> str:
    """Its key."""
    ours = alipay_forge.KEYS
    console = ask(
        "POST", f"{mafu.sandbox_url}/control/alipay/apps", json_body={"public_key": ours["app.pub.pem"]}
    ).json
    shown = {name: console[name] for name in ("app_id", "seller_id", "gateway_url", "alipay_public_key")}
    with running(mafu.settings):
        merchant_id, _ = people.add_merchant("晨光咖啡馆", email="owner@cafe.example")
        credentials = shown | {"private_key": ours["app.pkcs8.pem"]}
        accounts.add_account(merchant_id, "alipay", livemode=False, name="支付宝", settings=credentials)
        return keys.create_key(merchant_id, livemode=False, name="till")[1]


def api(mafu: House, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = ask("POST", f"{mafu.url}{path}", key=key, json_body=body)
    assert answer.status in (200, 201), answer.body
    found: dict[str, Any] = answer.json
    return found


def pays(address: str, amount: str) -> str:
    """A shopper scans the paper, takes the amount that it suggests, and pays; the page that they scanned."""
    phone = Browser(PHONE)
    page = phone.open(address)
    phone.press("pick", amount)
    checkout = phone.address
    phone.press("provider", "alipay")
    phone.press("action", "approve")
    wait_until(lambda: ask("GET", f"{checkout}/status").json["status"] == "paid")
    return page
