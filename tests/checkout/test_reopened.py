"""The same link in another tab, on another phone, in another person's hand, or after a while."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.http import parse_cookie

from app.charges.models import Attempt
from app.charges.states import AttemptState, ChargeState
from app.db import Base, reading
from app.errors import ProviderRejected
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import CallBridge
from app.providers.unionpay import UnionPay
from app.providers.wechatpay import WechatPay
from app.queue import Job
from tests.books import charge_of, event_types, make_charge, rows_of
from tests.checkout.conftest import DESKTOP, IPHONE, UNIONPAY, WECHAT, attempts_of

BEGUN_ELSEWHERE = "已在另一台设备上开始支付"


@pytest.fixture
def person(app, shopper, networks):
    """Somebody with a browser of their own, at this link: ``person(charge, user_agent=WECHAT)``."""

    def arrive(charge, **more):
        browser = shopper(charge, **more)
        browser.client = app.test_client()
        return browser

    return arrive


def pay_in_wechat(browser, code):
    """Press Pay inside WeChat as the payer whose code this is; the answer to the last form."""
    away = urlsplit(browser.post("wechatpay").headers["Location"])
    assert away.netloc == "open.example"
    return finish(browser, code, parse_qs(away.query)["state"][0])


def finish(browser, code, state):
    page = browser.get(f"?code={code}&state={state}")
    assert "data-onward" in page.text  # it goes on by itself
    path, browser.path = browser.path, "/C/" + unescape(re.search('action="([^"]+)"', page.text)[1])
    response = browser.post("wechatpay")
    browser.path = path
    return response


# Whose bridge


def test_a_pay_sheet_is_shown_to_the_browser_it_was_made_for_and_no_other(person, merchant):
    charge = make_charge(merchant)
    one, other = person(charge, user_agent=WECHAT), person(charge, user_agent=WECHAT)
    begun = pay_in_wechat(one, "a")
    [attempt] = attempts_of(charge)
    cookie = next(text for text in begun.headers.getlist("Set-Cookie") if text.startswith("mafu_attempts="))
    assert parse_cookie(cookie)["mafu_attempts"] == attempt.id
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "data-bridge" in one.get("?go=1").text
    assert "data-bridge" in one.get().text  # another tab of the same browser
    for query in ("", "?go=1", "?back=1", "?wait=1"):
        assert "prepay_id" not in other.get(query).text, query
    assert BEGUN_ELSEWHERE in other.get().text


def test_another_person_is_identified_and_starts_an_attempt_of_their_own(person, merchant, networks):
    charge = make_charge(merchant)
    one, other = person(charge, user_agent=WECHAT), person(charge, user_agent=WECHAT)
    pay_in_wechat(one, "a")
    pay_in_wechat(other, "b")
    first, second = attempts_of(charge)
    assert (first.state, second.state) == (AttemptState.CLOSED, AttemptState.STARTED)
    assert networks.is_closed(first.out_trade_no)
    assert networks.orders[second.out_trade_no].payer.startswith("openid-b")
    assert "data-bridge" in other.get().text
    assert "data-bridge" not in one.get().text
    assert "支付未完成" in one.get().text  # theirs was closed; the page says so, and that another is open


def test_who_presses_again_is_not_identified_again(person, merchant, networks):
    charge = make_charge(merchant)
    browser = person(charge, user_agent=WECHAT)
    pay_in_wechat(browser, "a")
    assert browser.post("wechatpay").headers["Location"].endswith("?go=1")
    assert len(attempts_of(charge)) == 1
    assert networks.calls.count("wechatpay jsapi") == 1


def test_a_browser_that_lost_its_cookies_is_identified_and_goes_on_with_its_attempt(person, merchant):
    charge = make_charge(merchant)
    pay_in_wechat(person(charge, user_agent=WECHAT), "a")
    again = person(charge, user_agent=WECHAT)
    assert pay_in_wechat(again, "a").headers["Location"].endswith("?go=1")
    assert len(attempts_of(charge)) == 1
    assert "data-bridge" in again.get().text


@pytest.mark.parametrize("cookie", ["at_" + "0" * 26, "x" * 3000, "..", "at_1.at_2", "%00", ""])
def test_a_cookie_that_somebody_made_up_opens_nothing(person, merchant, cookie):
    charge = make_charge(merchant)
    pay_in_wechat(person(charge, user_agent=WECHAT), "a")
    stranger = person(charge, user_agent=WECHAT)
    stranger.client.set_cookie("mafu_attempts", cookie)
    assert "data-bridge" not in stranger.get().text


def test_no_openid_is_kept_or_logged(person, merchant, caplog, capfd):
    charge = make_charge(merchant)
    pay_in_wechat(person(charge, user_agent=WECHAT), "a")
    [attempt] = attempts_of(charge)
    assert re.fullmatch("[0-9a-f]{64}", attempt.payer_key)
    said = caplog.text + "".join(capfd.readouterr())
    with reading() as connection:
        stored = [str(list(connection.execute(table.select()))) for table in Base.metadata.sorted_tables]
    assert "openid-a" not in said + "".join(stored)


def test_a_refusal_in_wechat_is_told_to_who_was_refused(person, merchant, monkeypatch):
    def refuse(self, order):
        raise ProviderRejected("no", provider_code="NO_AUTH")

    charge = make_charge(merchant)
    one, other = person(charge, user_agent=WECHAT), person(charge, user_agent=WECHAT)
    monkeypatch.setattr(WechatPay, "start", refuse)
    pay_in_wechat(one, "a")
    assert "支付未完成" in one.get().text
    assert "支付未完成" not in other.get().text


def test_a_payer_who_cannot_be_identified_is_told_so(person, merchant, monkeypatch):
    def refuse(self, scene, return_url, state):
        raise ProviderRejected("no app secret")

    charge = make_charge(merchant)
    browser = person(charge, user_agent=WECHAT)
    monkeypatch.setattr(WechatPay, "identify", refuse)
    location = browser.post("wechatpay").headers["Location"]
    page = browser.get("?" + urlsplit(location).query)
    assert "暂时无法打开微信支付，没有扣款" in page.text
    assert attempts_of(charge) == []


# Steps that went stale


def test_a_stale_pay_sheet_is_made_afresh_under_the_same_number(person, merchant, networks, at, monkeypatch):
    charge, answer = make_charge(merchant, life=timedelta(hours=5)), WechatPay.start

    def short(self, order):
        return CallBridge("WeixinJSBridge", answer(self, order).params, good_for_s=60)

    monkeypatch.setattr(WechatPay, "start", short)
    browser = person(charge, user_agent=WECHAT)
    pay_in_wechat(browser, "a")
    version = browser.status().json["version"]
    at(timedelta(minutes=2))
    assert browser.status().json["version"] != version  # a page that stands open loads itself again
    page = browser.get()
    assert "请重新打开微信支付" in page.text
    assert "data-bridge" not in page.text
    assert f'<form class="methods" method="post" action="{browser.path[3:]}">' in page.text
    assert pay_in_wechat(browser, "a").headers["Location"].endswith("?go=1")
    assert "data-bridge" in browser.get().text
    assert len(attempts_of(charge)) == 1
    assert networks.calls.count("wechatpay jsapi") == 2


@pytest.mark.parametrize(
    ("user_agent", "wallet"), [(IPHONE, "wechatpay"), (UNIONPAY, "unionpay"), (DESKTOP, "alipay")]
)
def test_a_stale_way_leads_through_the_button_again(person, merchant, at, monkeypatch, user_agent, wallet):
    adapter = {"wechatpay": WechatPay, "unionpay": UnionPay, "alipay": Alipay}[wallet]
    answer = adapter.start

    def short(self, order):
        step = answer(self, order)
        return type(step)(**{name: getattr(step, name) for name in step.__slots__} | {"good_for_s": 60})

    monkeypatch.setattr(adapter, "start", short)
    charge = make_charge(merchant, life=timedelta(hours=5))
    browser = person(charge, user_agent=user_agent)
    browser.post(wallet)
    at(timedelta(minutes=2))
    page = browser.get("?go=1").text
    [action] = re.findall(r'<form class="methods" method="post" action="([^"]+)">\s*<button', page)
    assert action == browser.path[3:]
    assert f'name="provider" value="{wallet}"' in page
    assert "data-wallet-code" not in page
    assert browser.post(wallet).status_code == 303
    assert len(attempts_of(charge)) == 1


# Numbers that are spent


def test_a_lost_code_of_unionpay_is_followed_by_another_and_nobody_reads_duplicate(
    person, merchant, networks
):
    charge = make_charge(merchant)
    browser = person(charge, user_agent=DESKTOP, language="en")
    networks.loses = 1
    silent = browser.post("unionpay")
    assert silent.status_code == 503
    again = browser.post("unionpay")
    assert again.status_code == 303
    page = browser.get()
    assert "Open UnionPay and scan" in page.text
    for response in (silent, again, page):
        assert not re.search("duplicate|already used|12000", response.text, re.IGNORECASE)
    first, second = attempts_of(charge)
    assert (first.state, second.state) == (AttemptState.STARTED, AttemptState.STARTED)
    networks.pay(first.out_trade_no)
    networks.pay(second.out_trade_no)
    browser.status()
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert event_types(charge.id).count("charge.paid") == 1
    assert event_types(charge.id).count("charge.double_paid") == 1  # and goes back by itself


# The same link elsewhere


def test_a_link_opened_again_shows_how_things_stand_and_a_receipt_everywhere(person, merchant, networks):
    charge = make_charge(merchant)
    desktop = person(charge, user_agent=DESKTOP)
    desktop.post("wechatpay")
    assert "打开微信扫一扫" in person(charge, user_agent=DESKTOP).get().text  # a second tab
    phone, wechat = person(charge), person(charge, user_agent=WECHAT)
    for other in (phone, wechat):
        assert BEGUN_ELSEWHERE in other.get().text
    networks.pay(attempts_of(charge)[0].out_trade_no)
    assert phone.status().json["status"] == "paid"
    for query in ("", "?how=alipay", "?go=1", "?back=1", "?scene=mobile"):
        for browser in (desktop, phone, wechat, person(charge, user_agent=UNIONPAY)):
            page = browser.get(query)
            assert "支付成功" in page.text
            assert 'name="provider"' not in page.text
    assert wechat.post("wechatpay").headers["Location"] == wechat.path[3:]  # nobody is identified any more


def test_switching_wallets_closes_the_older_attempt_at_its_provider_first(person, merchant, networks):
    charge = make_charge(merchant)
    browser = person(charge, user_agent=DESKTOP)
    browser.post("alipay")
    networks.alipay.open(attempts_of(charge)[0].out_trade_no)
    browser.post("wechatpay")
    browser.post("alipay")
    rows = attempts_of(charge)
    assert [row.provider for row in rows] == ["alipay", "wechatpay", "alipay"]
    assert [row.state for row in rows] == [AttemptState.CLOSED, AttemptState.CLOSED, AttemptState.STARTED]
    assert [networks.is_closed(row.out_trade_no) for row in rows] == [True, True, False]
    networks.pay(rows[-1].out_trade_no)
    browser.status()
    assert event_types(charge.id) == ["charge.created", "charge.paid"]
    assert "支付成功" in browser.get().text


def test_switching_after_paying_elsewhere_shows_the_receipt_and_starts_nothing(person, merchant, networks):
    charge = make_charge(merchant)
    person(charge, user_agent=DESKTOP).post("wechatpay")
    networks.pay(attempts_of(charge)[0].out_trade_no)  # and its callback is lost
    phone = person(charge)
    assert phone.post("alipay").headers["Location"] == phone.path[3:]
    assert "支付成功" in phone.get().text
    assert len(attempts_of(charge)) == 1


def test_money_of_another_amount_starts_nothing_on_any_page(person, merchant, networks):
    charge = make_charge(merchant)
    desktop, phone = person(charge, user_agent=DESKTOP), person(charge)
    desktop.post("alipay")
    networks.alipay.pay(attempts_of(charge)[0].out_trade_no, Money(1249, "CNY"))
    desktop.status()
    assert phone.post("wechatpay").status_code == 303
    assert len(attempts_of(charge)) == 1


def test_two_devices_that_press_at_once_leave_nothing_that_nobody_asks_about(app, person, merchant, networks):
    charge, barrier = make_charge(merchant), threading.Barrier(6)
    browsers = [person(charge, user_agent=DESKTOP), person(charge), person(charge, user_agent=UNIONPAY)] * 2
    wallets = ["alipay", "wechatpay", "unionpay"] * 2

    def press(browser, wallet):
        barrier.wait()
        assert browser.post(wallet).status_code in (303, 503)

    threads = [threading.Thread(target=press, args=pair) for pair in zip(browsers, wallets, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = rows_of(Attempt, charge_id=charge.id)
    asked = {job.subject_id for job in rows_of(Job, kind="query")}
    for row in rows:
        known = row.out_trade_no in {*networks.orders, *networks.alipay.trades}
        if row.state == AttemptState.STARTED:
            assert row.id in asked
        else:
            assert not known or networks.is_closed(row.out_trade_no)
    # Whatever can still be paid is paid: the charge takes one, and the rest goes back.
    for row in rows:
        if row.state == AttemptState.STARTED and row.out_trade_no in networks.orders:
            networks.pay(row.out_trade_no)
    person(charge).status()
    assert event_types(charge.id).count("charge.paid") <= 1
