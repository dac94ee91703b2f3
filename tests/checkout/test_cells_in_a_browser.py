"""Every cell of the table of scenes in Chromium, which says that it is the app in question.

What only that app has is played here: its JavaScript bridge, its camera.  All the rest is the pages'
own doing: forms, redirects, the script, cookies, the policy.

    PICTURES=/tmp/cells LOCALE=zh-CN SCHEME=dark pytest tests/checkout/test_cells_in_a_browser.py

keeps a picture of every page that a shopper sees.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.cli import wallets
from app.cli.browser import Browser as PlainBrowser
from app.cli.wallets import BRIDGES, USER_AGENTS
from tests.cells import BLOCKED, CELLS, Table, table

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LOCALE, SCHEME = os.environ.get("LOCALE", "en-GB"), os.environ.get("SCHEME", "light")
PICTURES = os.environ.get("PICTURES", "")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}

# A bridge as an app puts it on every page; ``played`` is what the app does with a call.
BRIDGE = "window.{name} = {{ {verb}: (call, params, done) => window.played(params).then(done) }};"
VERBS = {"WeixinJSBridge": "invoke", "AlipayJSBridge": "call"}
PAID = {"en-GB": "Paid", "zh-CN": "支付成功"}[LOCALE]
APPROVE = {"en-GB": "Approve payment of", "zh-CN": "确认付款"}[LOCALE]
BACK = {"en-GB": "Back to the shop", "zh-CN": "返回商家"}[LOCALE]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with table(tmp_path_factory.mktemp("cells")) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def device(chromium: Browser, cells: Table) -> Iterator[Callable[[str], Page]]:
    """A page in an app; at the end no page of ours may have complained in its console."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_app(place: str) -> Page:
        context = chromium.new_context(
            user_agent=USER_AGENTS[place],
            locale=LOCALE,
            color_scheme="dark" if SCHEME == "dark" else "light",
            viewport=DESKTOP if place == "desktop" else PHONE,
        )
        contexts.append(context)
        _give_bridge(context, cells, place)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(f"{said.location['url']}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_app
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep what a shopper sees, where somebody wants to look."""
    cell = request.node.callspec.id

    def keep(page: Page, what: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{what} sticks out"
        if PICTURES:
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(PICTURES) / f"{cell}-{what}.png", full_page=True)

    return keep


@pytest.mark.parametrize(("place", "wallet"), CELLS)
def test_who_can_pay_there_sees_the_receipt(cells, device, picture, place, wallet):
    charge = cells.charge()
    page = device(place)
    page.goto(cells.link(charge))
    radio = page.locator(f'[type=radio][value="{wallet}"]')
    if radio.count():
        radio.check()
    picture(page, "1-pay")
    page.locator("form.methods [type=submit]").first.click()
    if place == "desktop":
        _scan(cells, device, picture, page, wallet)
    elif not any(bridge.place == place for bridge in BRIDGES.values()) or _is_at_cashier(page):
        _approve(page, picture)
    expect(page.get_by_role("heading", name=PAID)).to_be_visible(timeout=10_000)
    picture(page, "4-paid")
    assert cells.state(charge) == "paid"


@pytest.mark.parametrize(("place", "wallet"), [("alipay", "alipay")])
def test_alipays_pay_sheet_on_our_page_leads_to_the_receipt(cells, device, picture, place, wallet):
    charge = cells.charge()
    with cells.account_saying(wallet, in_app_product="jsapi"):
        page = device(place)
        page.goto(cells.link(charge))
        page.locator("form.methods [type=submit]").first.click()
        expect(page.get_by_role("heading", name=PAID)).to_be_visible(timeout=10_000)
    picture(page, "5-paid-on-our-page")
    assert cells.state(charge) == "paid"


@pytest.mark.parametrize(("place", "wallet"), BLOCKED)
def test_who_cannot_pay_there_sees_what_to_do(cells, device, picture, place, wallet):
    charge = cells.charge()
    page = device(place)
    page.goto(f"{cells.link(charge)}?how={wallet}")
    picture(page, "help")
    assert page.locator("main p").count() >= 2
    assert page.locator(f'main input[value="{cells.link(charge)}"]').count() == 1, "there is no link to copy"
    assert cells.numbers(charge) == []


def _scan(cells: Table, device: Any, picture: Any, page: Page, wallet: str) -> None:
    """The phone in front of the screen reads the code, and its owner approves."""
    code = page.locator("[data-wallet-code]").get_attribute("data-wallet-code")
    assert code
    picture(page, "2-code")
    phone = device(wallets.CAMERAS[wallet])
    phone.goto(wallets.address_in(code, cells.house.sandbox_url))
    _approve(phone, picture)


def _is_at_cashier(page: Page) -> bool:
    page.wait_for_load_state()
    return page.get_by_role("button", name=APPROVE).count() > 0


def _approve(page: Page, picture: Any) -> None:
    button = page.get_by_role("button", name=APPROVE)
    expect(button).to_be_visible()
    picture(page, "3-cashier")
    button.click()
    page.wait_for_load_state()
    back = page.get_by_role("button", name=BACK)
    if back.count():
        back.click()


def _give_bridge(context: BrowserContext, cells: Table, place: str) -> None:
    """What only the app has, if it has any: a call of its bridge is approved there."""
    name = next((name for name, bridge in BRIDGES.items() if bridge.place == place), None)
    if name is None:
        return

    def played(_source: object, params: dict[str, Any]) -> dict[str, str]:
        app = PlainBrowser("", USER_AGENTS[place])
        said = wallets.call_bridge(app, cells.house.sandbox_url, place, name, params, "approve")
        return {BRIDGES[name].told: said}

    context.expose_binding("played", played)
    context.add_init_script(BRIDGE.format(name=name, verb=VERBS[name]))
