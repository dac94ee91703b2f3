"""What a shopper meets of the shop's rules: an honest page without a number, a cookie where one is needed."""

from __future__ import annotations

import pytest

from app.charges import reviews
from app.charges.models import Attempt
from app.checkout import device
from app.checkout.views import DEVICE_COOKIE
from app.merchants.actor import SERVER
from app.merchants.risk import Action, RuleKind
from app.merchants.risk_models import RiskDecision
from tests.books import make_charge, row_of, rows_of
from tests.charges.test_screening import add, typed
from tests.checkout.test_budget import is_within_budget

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_blocked_shopper_reads_that_nothing_was_charged_and_no_threshold(shopper, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=777)
    browser = shopper(make_charge(merchant))
    answer = browser.post()
    assert answer.status_code == 303
    page = browser.client.get(f"/C/{answer.location}", headers={"Accept-Language": "en"}).text
    assert "The shop could not accept this payment just now. Nothing was charged." in page
    assert "店铺暂时无法接受这笔付款" in browser.get("?stopped=1").text
    assert "7.77" not in page
    assert browser.status().get_json()["status"] == "pending"
    assert rows_of(Attempt) == []


def test_a_held_payment_waits_on_its_page_until_it_is_released(shopper, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=777)
    charge = make_charge(merchant)
    browser = shopper(charge)
    browser.post()
    page = browser.get().text
    assert "这笔付款需要店铺确认" in page
    assert 'http-equiv="refresh"' in page  # without a script it looks again by itself
    assert 'name="provider"' not in page
    is_within_budget(browser.client, browser.path, page)
    news = browser.status()
    assert news.get_json()["status"] == "held"
    browser.post()
    assert row_of(RiskDecision).times == 1
    reviews.release(merchant.id, charge.id, "known guest", by=SERVER)
    assert browser.status(**{"If-None-Match": news.headers["ETag"]}).get_json()["status"] == "pending"
    assert 'name="provider"' in browser.get().text
    browser.post()
    assert len(rows_of(Attempt)) == 1


def test_a_refused_payment_is_shown_as_withdrawn(shopper, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=777)
    charge = make_charge(merchant)
    browser = shopper(charge)
    browser.post()
    reviews.refuse(merchant.id, charge.id, "no such order", by=SERVER)
    page = browser.get().text
    assert browser.status().get_json()["status"] == "canceled"
    assert "no such order" not in page


def test_no_cookie_is_given_where_no_rule_needs_one(shopper, merchant, far_side):
    add(merchant, RuleKind.ADDRESS_PACE, max_count=9, window_s=60)
    browser = shopper(make_charge(merchant))
    for answer in (browser.get(), browser.post()):
        assert DEVICE_COOKIE not in "".join(answer.headers.getlist("Set-Cookie"))
    assert row_of(Attempt).device_key is None


def test_one_browser_is_known_by_its_cookie_and_another_is_not(shopper, merchant, far_side, app):
    add(merchant, RuleKind.DEVICE_PACE, max_count=1, window_s=600)
    first = shopper(typed(merchant))
    assert DEVICE_COOKIE not in str(first.get().headers)
    [cookie] = [each for each in first.post().headers.getlist("Set-Cookie") if DEVICE_COOKIE in each]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "stopped" in shopper(typed(merchant)).post().location
    stranger = shopper(typed(merchant))
    stranger.client = app.test_client()
    assert "stopped" not in stranger.post().location


@pytest.mark.parametrize("cookie", ["", "x", "0" * 32, "0" * 32 + ".AAAA", "é", "0" * 9999])
def test_a_cookie_that_is_not_ours_is_no_device(app, cookie):
    number = device.device_of(cookie)
    assert number != cookie[:32]
    assert device.device_of(device.cookie_of(number)) == number
