"""A real browser carries UnionPay's forms: to the cashier, and back to the shop, signature and all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from html import escape
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from playwright.sync_api import Browser, sync_playwright

from tests.sandbox.unionpay_hand import Client

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def test_a_shopper_pays_and_comes_back_with_a_signature_that_holds(
    far: Any, app_key: rsa.RSAPrivateKey, shop: Any, chromium: Browser
) -> None:
    client = Client(far, app_key, name="码付咖啡")
    fields = client.front_form(
        "ORDER0001", channelType="07", frontUrl=f"{shop.url}/back", frontFailUrl=f"{shop.url}/fail"
    )
    inputs = "".join(f'<input name="{name}" value="{escape(value)}">' for name, value in fields.items())
    address = f"{client.facts['gateway_url']}/frontTransReq.do"
    context = chromium.new_context(locale="en-GB")
    page = context.new_page()
    page.set_content(f'<form method="post" action="{address}">{inputs}<button>Pay</button></form>')
    page.get_by_role("button", name="Pay").click()
    page.get_by_role("button", name="Approve").click()
    assert "码付咖啡" in page.inner_text("main")
    page.get_by_role("button", name="Back to the shop").click()
    (back,) = shop.wait(1)
    context.close()
    assert client.genuine(back)
    assert back["signPubKeyCert"].count("\r\n") > 10
    assert (back["orderId"], back["respCode"], back["txnAmt"]) == ("ORDER0001", "00", "1250")
