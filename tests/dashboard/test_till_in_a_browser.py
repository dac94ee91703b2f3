"""The till in Chromium: from the keypad to the voice, and from the scanner to the countdown."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from app.callbacks import inbox
from app.charges.models import Charge
from app.merchants import accounts
from tests.books import make_attempt, row_of, rows_of
from tests.conftest import Shop
from tests.dashboard.test_in_a_browser import ARGUMENTS, CHROMIUM
from tests.far_side import AlipayFarSide

CODE = "2876543210987654"
# What the page would say aloud, and that it does not let the screen sleep.
EARS = """window.spoken = []; window.awake = 0;
Object.defineProperty(window, "speechSynthesis", {value: {
  speak: (words) => window.spoken.push(`${words.lang}: ${words.text}`), cancel: () => {}}});
Object.defineProperty(navigator, "wakeLock", {value: {
  request: async () => { window.awake += 1; return {released: false}; }}});"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def page(app: Flask, merchant: Shop) -> Iterator[Page]:
    """A phone, signed in, reading Chinese.  Anything that the browser complains about fails the test."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{server.server_port}",
            viewport={"width": 390, "height": 800},
            locale="zh-CN",
        )
        context.add_init_script(EARS)
        opened = context.new_page()
        opened.on(
            "console",
            lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto("/sign-in?lang=zh")
        opened.locator("[name=email]").fill(merchant.email)
        opened.locator("[name=password]").fill(merchant.password)
        opened.locator("main button").click()
        opened.wait_for_url(re.compile(r"/$"))
        yield opened
        browser.close()
    server.shutdown()
    thread.join()
    server.server_close()
    # A refusal is answered with its status, and a browser mentions that.
    assert [text for text in complaints if "409" not in text and "400" not in text] == []


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_counter_from_the_keypad_to_the_voice(
    page: Page, merchant: Shop, far_side: AlipayFarSide
) -> None:
    page.goto("/counter")
    fits(page)
    for key in ("1", "2", ".", "5", "9"):
        page.get_by_role("button", name=key, exact=True).click()
    page.get_by_role("button", name="删除末位数字").click()
    expect(page.locator("[data-amount]")).to_have_value("12.5")
    page.evaluate("window.notReloaded = true")
    page.get_by_role("button", name="生成收款码").click()
    page.wait_for_url(re.compile(r"/counter/ch_\w+$"))
    expect(page.locator(".till__qr")).to_be_visible()
    fits(page)
    [charge] = rows_of(Charge)
    assert charge.amount_minor == 1250
    number = make_attempt(merchant, charge.id)
    expect(page.get_by_text("顾客正在付款…")).to_be_visible(timeout=10_000)
    far_side.pay(number)
    inbox.receive(accounts.open_account(merchant.account_id), far_side.notice(number))
    # A tablet that slept through it looks as soon as it wakes.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".till__word")).to_have_text("已支付", timeout=10_000)
    fits(page)
    assert page.evaluate("window.spoken") == ["zh-CN: 收款12.50元"]
    assert page.evaluate("window.notReloaded") is True
    assert page.evaluate("window.awake") >= 1
    page.keyboard.press("Enter")  # the next customer has the focus
    page.wait_for_url(re.compile(r"/counter$"))
    expect(page.locator("[data-amount]")).to_be_focused()


def test_the_cashier_from_the_scanner_to_the_result(
    page: Page, merchant: Shop, far_side: AlipayFarSide, at
) -> None:
    far_side.code_mood = "asked"
    page.goto("/cashier")
    fits(page)
    page.get_by_role("button", name="语音播报").click()
    expect(page.get_by_role("button", name="语音播报")).to_have_attribute("aria-pressed", "false")
    page.locator("[data-amount]").focus()
    page.keyboard.type("12.50", delay=120)  # a person
    page.locator("[data-code]").fill("134567890123456789")
    expect(page.locator("[data-wallet]")).to_have_text("微信支付: 本店尚未开通")
    page.locator("[data-code]").fill("")
    page.locator("[data-amount]").focus()
    page.keyboard.type(CODE)  # a scanner, into whatever has the focus
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/cashier/ch_\w+$"))
    charge = row_of(Charge)
    assert charge.amount_minor == 1250
    expect(page.locator("[data-seconds]")).to_have_text(re.compile(r"^4\d$"))
    expect(page.locator("[data-seconds]")).to_have_text(re.compile(r"^4[0-3]$"), timeout=5_000)
    fits(page)
    at(timedelta(seconds=20))
    page.get_by_role("button", name="取消").click()
    expect(page.locator(".till__word")).to_have_text("顾客未确认")
    fits(page)
    far_side.code_mood = "paid"
    expect(page.locator("[data-code]")).to_be_focused()
    page.keyboard.type("2812345678901234")
    page.keyboard.press("Enter")
    expect(page.locator(".till__word")).to_have_text("已支付")
    assert page.evaluate("window.spoken") == []  # switched off
    expect(page.locator("#announcer")).to_have_text("收款12.50元")
    assert far_side.calls.count("alipay.trade.pay") == 2
