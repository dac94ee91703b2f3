"""Ways through the dashboard that people go, clicked in Chromium: alone, in twos, in two languages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pyotp
import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright

from app.charges.models import Refund
from app.charges.states import RefundState
from app.http import Sender
from app.merchants import policy
from app.merchants.actor import SERVER
from app.merchants.policy import Policy
from app.webhooks import endpoints
from tests import books
from tests.conftest import Shop
from tests.dashboard.test_in_a_browser import ARGUMENTS, CHROMIUM, address
from tests.dashboard.test_people import PASSWORD, hired
from tests.webhooks.receiver import receiving
from tests.webhooks.turns import deliver_due

__all__ = ["address"]  # a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

Open = Callable[..., Page]


@pytest.fixture
def browser(address: str) -> Iterator[Open]:
    """Opens browsers side by side; what any of them complains about fails the test."""
    complaints: list[str] = []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        def open_one(**look: str) -> Page:
            page = chromium.new_context(base_url=address, **{"locale": "en-US", **look}).new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            return page

        yield open_one
        chromium.close()
    assert complaints == []


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_big_refund_is_asked_for_by_one_and_approved_by_another(browser: Open, app, merchant: Shop) -> None:
    policy.save_policy(merchant.id, Policy(500), by=SERVER)
    paid = books.make_paid(merchant)
    hired(app, merchant, "manager")
    manager, owner = browser(), browser()
    sign_in(manager, "manager@team.example", PASSWORD)
    manager.goto(f"/charges/{paid.id}/refund")
    manager.get_by_label("Amount").fill("8.00")
    manager.get_by_role("button", name="Continue").click()
    manager.get_by_role("button", name="Ask for approval").click()
    expect(manager.get_by_text("Waits for approval").first).to_be_visible()
    expect(manager.get_by_text("Approve and send")).to_have_count(0)
    assert books.row_of(Refund, charge_id=paid.id).state == RefundState.AWAITING

    sign_in(owner, merchant.email, merchant.password)
    owner.get_by_role("link", name=re.compile("Refunds")).click()
    owner.get_by_text("Approve…").click()
    owner.get_by_role("button", name="Approve and send").click()
    expect(owner.get_by_text("The refund is on its way").first).to_be_visible()
    assert books.row_of(Refund, charge_id=paid.id).state == RefundState.RESERVED


def test_a_second_factor_is_set_up_and_asked_for_at_the_door(browser: Open, merchant: Shop, at) -> None:
    page = browser()
    sign_in(page, merchant.email, merchant.password)
    page.goto("/security")
    page.get_by_role("button", name="Set up an authenticator app").click()
    secret = page.locator("#totp code").inner_text()
    page.get_by_label("Code", exact=True).fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Turn on").click()
    recovery = page.locator(".codes code").first.inner_text()

    phone = browser(color_scheme="dark")
    sign_in(phone, merchant.email, merchant.password)
    expect(phone.get_by_role("heading", name="One more step")).to_be_visible()
    phone.goto("/charges")
    expect(phone.get_by_role("heading", name="Charges")).to_have_count(0)
    phone.get_by_label("Code").fill(recovery)
    phone.get_by_role("button", name="Sign in").click()
    phone.goto("/charges")
    expect(phone.get_by_role("heading", name="Charges")).to_be_visible()


def test_a_delivery_that_failed_is_sent_again_by_hand(browser: Open, settings, merchant: Shop) -> None:
    with receiving() as receiver:
        endpoint, _ = endpoints.create_endpoint(merchant.id, livemode=False, url=receiver.url("/ok"))
        charge = books.make_charge(merchant)
        receiver.answers = [500]
        sender = Sender(endpoints.guard_of(settings))
        deliver_due(sender)
        page = browser()
        sign_in(page, merchant.email, merchant.password)
        page.goto(f"/charges/{charge.id}")
        page.get_by_role("button", name="Send again").first.click()
        expect(page.get_by_text("The event is sent again.")).to_be_visible()
        deliver_due(sender)
        sender.close()
        assert len({request.headers["webhook-id"] for request in receiver.to("/ok")}) == 1
        assert len(receiver.to("/ok")) == 2
        page.goto(f"/webhooks/{endpoint.id}")
        expect(page.get_by_text("Delivered").first).to_be_visible()


def test_language_and_theme_follow_the_person(browser: Open, merchant: Shop) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page = browser(color_scheme=scheme)
        sign_in(page, merchant.email, merchant.password)
        page.get_by_role("link", name="中文").click()
        expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
        expect(page.get_by_role("heading", name="首页")).to_be_visible()
        page.get_by_role("link", name="订单", exact=True).click()
        expect(page.get_by_role("heading", name="订单")).to_be_visible()
        page.get_by_role("link", name="English").click()
        expect(page.get_by_role("heading", name="Charges")).to_be_visible()
        colours.append(page.evaluate("getComputedStyle(document.body).color"))
    assert colours[0] != colours[1]


def test_from_the_door_to_a_paid_test_charge_takes_less_than_a_minute(
    browser: Open, app: Flask, merchant: Shop, far_side
) -> None:
    began_s = time.monotonic()
    page = browser()
    sign_in(page, merchant.email, merchant.password)
    page.get_by_role("link", name="New charge").first.click()
    page.get_by_label("Amount").fill("12.50")
    page.get_by_label("Description").fill("一杯拿铁")
    page.get_by_role("button", name=re.compile("Create")).click()
    page.wait_for_url(re.compile("/charges/ch_"))
    charge_id = page.url.rpartition("/")[2].partition("?")[0]
    with app.app_context():
        number = books.make_attempt(merchant, charge_id)
    far_side.pay(number)
    page.reload()
    page.get_by_role("button", name="Ask the provider now").click()
    expect(page.locator("#status")).to_have_text("Paid")
    assert time.monotonic() - began_s < 60
