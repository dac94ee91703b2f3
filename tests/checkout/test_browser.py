"""The page in a real browser: the script, the policy and the way to the wallet and back."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, redirect, request
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from app.charges.states import ChargeState
from app.merchants import accounts
from tests.books import charge_of, make_charge
from tests.checkout.conftest import DESKTOP, IPHONE, WECHAT, attempts_of, path_of
from tests.conftest import Shop
from tests.providers import alipay_forge

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def serving(application: Flask) -> Iterator[int]:
    """The port of a server on loopback."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def origin(app: Flask) -> Iterator[str]:
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def cashier(merchant: Shop) -> Iterator[None]:
    """The wallet's cashier.  It hops to another host before it shows itself, as the real one does."""
    network = Flask("network")
    network.add_url_rule(
        "/gateway.do", "gateway", lambda: redirect(request.host_url.replace("127.0.0.1", "localhost") + "pay")
    )
    network.add_url_rule("/pay", "pay", lambda: "<title>Cashier</title>")
    network.add_url_rule("/favicon.ico", "icon", lambda: "")
    with serving(network) as port:
        gateway = {"gateway_url": f"http://127.0.0.1:{port}/gateway.do"}
        accounts.change_account(merchant.account_id, alipay_forge.KEY_MODE | gateway)
        yield


@pytest.fixture
def tab(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens a tab of a phone or a desktop; at the end nothing may have complained in its console."""
    contexts, complaints = [], []

    def open_tab(user_agent: str = IPHONE, **more: Any) -> Page:
        context = chromium.new_context(user_agent=user_agent, locale="en-GB", **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_phone_pays_and_finds_the_receipt_on_coming_back(app, merchant, far_side, origin, tab, cashier):
    charge = make_charge(merchant)
    page = tab()
    page.goto(origin + path_of(charge))
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^1:59:\d\d$"))
    with page.expect_request("**/gateway.do?*") as sent:
        page.get_by_role("button", name="Pay ¥12.50 with Alipay").click()
    page.wait_for_url("http://localhost:*/pay")
    assert sent.value.all_headers()["referer"] == f"{origin}/"  # the domain, and never the path
    far_side.pay(sent.value.url)
    page.go_back()
    expect(page.get_by_role("heading", name="Paid")).to_be_visible(timeout=8000)
    assert charge_of(merchant, charge.id).state == ChargeState.PAID


def test_a_desktop_turns_to_the_receipt_by_itself(app, merchant, far_side, origin, tab):
    charge = make_charge(merchant)
    page = tab(DESKTOP)
    page.goto(origin + path_of(charge))
    page.get_by_role("button", name="Pay ¥12.50 with Alipay").click()
    expect(page.get_by_role("heading", name="Open Alipay and scan")).to_be_visible()
    expect(page.get_by_role("img", name="Payment code")).to_be_visible()
    far_side.pay(attempts_of(charge)[0].out_trade_no)
    expect(page.get_by_role("heading", name="Paid")).to_be_visible(timeout=10000)


def test_a_double_tap_sends_the_form_once(app, merchant, origin, tab, cashier):
    charge = make_charge(merchant)
    page = tab()
    posts = []
    page.on("request", lambda request: posts.append(request) if request.method == "POST" else None)
    page.goto(origin + path_of(charge))
    button = page.get_by_role("button", name="Pay ¥12.50 with Alipay")
    page.evaluate("() => { for (let i = 0; i < 3; i++) document.querySelector('[type=submit]').click(); }")
    page.wait_for_url("http://localhost:*/pay")
    assert len(posts) == 1
    page.go_back()
    expect(page.get_by_role("button", name="Continue with Alipay").or_(button)).to_be_enabled()


def test_without_scripts_the_way_is_the_same(app, merchant, far_side, origin, tab, cashier):
    charge = make_charge(merchant)
    page = tab(java_script_enabled=False)
    page.goto(origin + path_of(charge))
    with page.expect_request("**/gateway.do?*") as sent:
        page.get_by_role("button", name="Pay ¥12.50 with Alipay").click()
    page.wait_for_url("http://localhost:*/pay")
    far_side.pay(sent.value.url)
    page.goto(origin + path_of(charge) + "?back=1")
    expect(page.get_by_role("heading", name="Confirming your payment")).to_be_visible()
    expect(page.get_by_role("heading", name="Paid")).to_be_visible(timeout=15000)


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_of_the_page(app, merchant, origin, tab, width):
    charge = make_charge(merchant, minor=10_000_000_000)
    for user_agent in (IPHONE, DESKTOP):
        page = tab(user_agent, viewport={"width": width, "height": 700})
        page.goto(origin + path_of(charge))
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_number_is_copied_and_the_copying_is_said(app, merchant, far_side, origin, tab, cashier):
    charge = make_charge(merchant)
    page = tab(permissions=["clipboard-read", "clipboard-write"])
    page.goto(origin + path_of(charge))
    with page.expect_request("**/gateway.do?*") as sent:
        page.get_by_role("button", name="Pay ¥12.50 with Alipay").click()
    far_side.pay(sent.value.url)
    page.goto(origin + path_of(charge))
    page.get_by_role("button", name="Copy").click(timeout=10000)
    assert page.evaluate("navigator.clipboard.readText()") == charge.id
    expect(page.locator("[data-live]")).to_have_text("Copied")


def test_a_way_to_pay_that_does_not_open_here_is_explained_without_a_script(app, merchant, origin, tab):
    charge = make_charge(merchant)
    page = tab(WECHAT, java_script_enabled=False, viewport={"width": 320, "height": 700})
    page.goto(origin + path_of(charge))
    expect(page.get_by_role("heading", name="How to pay with Alipay")).to_be_visible()
    expect(page.get_by_role("textbox", name="Payment link")).to_have_value(re.compile(path_of(charge)))
    expect(page.get_by_role("img", name="Payment link")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
