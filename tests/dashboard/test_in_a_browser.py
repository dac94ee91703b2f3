"""The dashboard in Chromium: nothing to complain of, room for a small phone, and pages that stay fresh."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from app.callbacks import inbox
from app.charges.present import link_of
from app.merchants import accounts
from app.providers.base import Outcome
from app.webhooks import endpoints
from tests import books
from tests.conftest import Shop
from tests.far_side import AlipayFarSide

CHROMIUM = shutil.which("chromium")
ARGUMENTS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync""".split()

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The application on a loopback port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(address: str, merchant: Shop) -> Iterator[Page]:
    """A small phone, signed in.  Anything that the browser complains about fails the test."""
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(
            base_url=address,
            viewport={"width": 320, "height": 640},
            locale="en-US",
            permissions=["clipboard-read", "clipboard-write"],
        )
        opened = context.new_page()
        opened.on(
            "console",
            lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto("/")
        opened.get_by_label("E-mail address").fill(merchant.email)
        opened.get_by_label("Password").fill(merchant.password)
        opened.get_by_role("button", name="Sign in").click()
        opened.wait_for_url(f"{address}/")
        yield opened
        browser.close()
    assert complaints == []


def test_no_page_is_wider_than_a_small_phone(page: Page, merchant: Shop) -> None:
    endpoint, _ = endpoints.create_endpoint(
        merchant.id, livemode=False, url=f"http://127.0.0.1:9/{'a' * 300}", description="x" * 200
    )
    charge = books.make_charge(merchant, metadata={"k" * 40: "v" * 500}, merchant_order_no="N" * 64)
    books.make_attempt(merchant, charge.id)
    here = f"/charges/{charge.id}"
    paid = books.make_paid(merchant)
    refund = books.refund(merchant, paid.id, 100, reason="r" * 80)
    books.end_refund(merchant, refund.id, Outcome.FAILED)
    for path in (
        "/",
        "/charges",
        "/charges/new",
        "/refunds",
        f"/charges/{paid.id}",
        f"/charges/{paid.id}/refund",
        f"/charges/{paid.id}/refund?amount=1&reason={'r' * 80}",
        here,
        f"{here}/print",
        f"{here}/callbacks",
        "/incidents",
        "/keys",
        "/shifts",
        "/shifts/day",
        "/settings/providers",
        f"/settings/providers/{merchant.account_id}",
        "/simulator",
        f"/simulator/{charge.id}",
        "/events",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
    for path in ("/webhooks", f"/webhooks/{endpoint.id}", "/settings", "/settings/branding"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_a_phone_reaches_every_room_without_scripts(address: str, merchant: Shop) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        phone = browser.new_page(
            base_url=address,
            viewport={"width": 320, "height": 640},
            locale="en-US",
            java_script_enabled=False,
        )
        phone.goto("/")
        phone.get_by_label("E-mail address").fill(merchant.email)
        phone.get_by_label("Password").fill(merchant.password)
        phone.get_by_role("button", name="Sign in").click()
        dock = phone.get_by_role("navigation", name="Main")
        assert dock.get_by_role("link").all_inner_texts() == ["Home", "Till", "Charges", "Codes"]
        dock.get_by_text("Menu").click()
        dock.get_by_role("link", name="Audit log").click()
        expect(phone.get_by_role("heading", level=1)).to_have_text("Audit log")
        expect(dock.get_by_role("link")).to_have_count(4)  # a new page: the menu is closed again
        dock.get_by_text("Menu").click()
        phone.mouse.click(5, 5)
        expect(dock.get_by_role("link")).to_have_count(4)
        phone.set_viewport_size({"width": 1280, "height": 640})
        assert len(dock.get_by_role("link").all_inner_texts()) == 16
        expect(dock.get_by_role("link", name="Audit log")).to_have_attribute("aria-current", "page")
        browser.close()


def test_a_payment_appears_without_a_reload(page: Page, merchant: Shop, far_side: AlipayFarSide) -> None:
    charge = books.make_charge(merchant)
    page.goto(f"/charges/{charge.id}")
    page.evaluate("window.notReloaded = true")
    expect(page.locator("#status")).to_have_text("Waiting")
    page.get_by_role("button", name="Copy Payment link").click()
    assert page.evaluate("navigator.clipboard.readText()") == link_of(charge)
    number = books.make_attempt(merchant, charge.id)
    far_side.pay(number)
    inbox.receive(accounts.open_account(merchant.account_id), far_side.notice(number))
    expect(page.locator("#status")).to_have_text("Paid", timeout=10_000)
    expect(page.get_by_text("Cancel this charge…")).to_have_count(0)
    expect(page.locator("#code")).to_have_count(0)
    expect(page.locator("main")).to_be_focused()  # it was on the button, which is gone
    assert page.evaluate("window.notReloaded") is True


def test_a_charge_is_made_with_the_keyboard_alone(page: Page) -> None:
    page.goto("/charges/new")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Amount")).to_be_focused()
    page.keyboard.type("12.50")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("Flat white")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/charges/ch_\w+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("¥12.50"))
