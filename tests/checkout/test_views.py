"""The shopper's pages over HTTP, on both databases, with Alipay's far side signed for real."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from app import clock
from app.charges import decisions, lifecycle, unclaimed
from app.charges.decisions import Press
from app.charges.models import Charge
from app.charges.states import AttemptState, ChargeState
from app.db import table_of, transaction
from app.errors import ProviderRejected
from app.merchants import accounts, routing_rules
from app.merchants.models import Merchant, ProviderAccount
from app.merchants.routing import Share
from app.merchants.routing_rules import RuleTerms
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import CallBridge, PostForm, Scene
from tests.books import charge_of, make_attempt, make_charge
from tests.checkout.conftest import DESKTOP, IPHONE, WECHAT, attempts_of
from tests.checkout.user_agents import CORPUS
from tests.providers import alipay_forge, unionpay_forge
from tests.review.rounds import hear

_BOT = re.compile("bot|spider|external|whatsapp|curl", re.IGNORECASE)
BOTS = [user_agent for user_agent, _ in CORPUS if _BOT.search(user_agent)]


def headings(response):
    found = re.findall(r"<h1.*?</h1>", response.text, re.DOTALL)
    return [unescape(re.sub("<[^>]+>", "", text)).strip() for text in found]


def change(model, row_id, **values):
    table = table_of(model)
    with transaction() as tx:
        tx.execute(sa.update(table).where(table.c.id == row_id).values(**values))


# What a GET does, and does not


@pytest.mark.parametrize("path", ["", "?wait=1", "?back=1", "?go=1", "?scene=mobile", "?lang=en", "/status"])
def test_looking_makes_no_attempt(shopper, merchant, far_side, path):
    charge = make_charge(merchant)
    before = charge_of(merchant, charge.id)
    for user_agent in [*BOTS, IPHONE, DESKTOP, WECHAT]:
        browser = shopper(charge, user_agent=user_agent)
        assert browser.get(path).status_code == 200
        assert browser.client.head(browser.path + path, headers={"User-Agent": user_agent}).status_code == 200
    assert attempts_of(charge) == []
    assert far_side.calls == []
    assert charge_of(merchant, charge.id) == before


def test_a_fresh_link_costs_one_statement(shopper, merchant, statements):
    charge = make_charge(merchant)
    browser = shopper(charge)
    statements.clear()
    for ask in (browser.get, browser.status):
        assert ask().status_code == 200
        assert len(statements) == 1
        statements.clear()


def test_the_link_opens_in_any_letter_case_without_a_redirect(shopper, merchant):
    browser = shopper(make_charge(merchant))
    for path in (browser.path, browser.path.lower(), "/c/" + browser.path[3:].capitalize()):
        assert browser.client.get(path).status_code == 200


def test_a_changed_token_opens_nothing(shopper, merchant):
    browser = shopper(make_charge(merchant))
    token = browser.path[3:]
    for place in range(0, len(token), 3):
        wrong = "0" if token[place] != "0" else "1"
        for path in ("", "/status"):
            response = browser.client.get(f"/C/{token[:place]}{wrong}{token[place + 1 :]}{path}")
            assert response.status_code == 404
            assert "晨光咖啡馆" not in response.text
    assert browser.client.post(f"/C/{token[:-1]}", data={"provider": "alipay"}).status_code == 404


def test_a_charge_altered_after_its_link_was_issued_does_not_open(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge)
    change(Charge, charge.id, amount_minor=1)
    assert browser.get().status_code == 404
    assert browser.post().status_code == 404
    assert attempts_of(charge) == []


# The page


def test_the_page_names_payee_amount_and_what_for(shopper, merchant):
    page = shopper(make_charge(merchant)).get()
    assert headings(page) == ["¥12.50 CNY"]
    for text in ("晨光咖啡馆", "一杯拿铁", "用支付宝付款 ¥12.50", "测试模式 · 不会真的扣款", 'lang="zh-CN"'):
        assert text in page.text
    english = shopper(make_charge(merchant), language="en-GB,en;q=0.9").get()
    for text in ("Pay ¥12.50 with Alipay", "Test mode: no real money moves", 'lang="en"'):
        assert text in english.text


def test_each_payment_fills_the_shared_page_with_its_own_texts(shopper, merchant, other_merchant):
    one = shopper(make_charge(merchant)).get().text
    change(Merchant, other_merchant.id, name="<script>x</script>&{{ 7*7 }}")
    other = shopper(make_charge(other_merchant, minor=9900)).get().text
    assert "晨光咖啡馆" not in other
    assert "¥12.50" not in other
    assert "&lt;script&gt;x&lt;/script&gt;&amp;{{ 7*7 }}" in other
    assert "¥99.00" in other
    assert "¥12.50" in one


def test_the_language_is_asked_for_remembered_then_the_browsers_then_the_merchants(shopper, merchant):
    browser = shopper(make_charge(merchant))
    switched = browser.get("?lang=en")
    assert "Check the payee" in switched.text
    cookie = switched.headers["Set-Cookie"]
    assert cookie.startswith("mafu_lang=en;")
    assert "HttpOnly" in cookie
    assert "Check the payee" in browser.get().text
    stranger = shopper(make_charge(merchant), language="fr")
    stranger.client.delete_cookie("mafu_lang")
    assert "付款前请核对" in stranger.get().text
    change(Merchant, merchant.id, language="en")
    assert "Check the payee" in stranger.get().text


def test_inside_wechat_alipay_is_explained_and_not_offered(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge, user_agent=WECHAT)
    page = browser.get().text
    assert 'name="provider"' not in page
    assert "在浏览器打开" in page
    assert f"http://pay.example.com{browser.path}" in page
    assert browser.post().status_code == 303
    assert attempts_of(charge) == []


def test_a_shop_without_wallets_says_so(shopper, merchant):
    change(ProviderAccount, merchant.account_id, enabled=False)
    charge = make_charge(merchant)
    browser = shopper(charge)
    assert "商家暂时无法在这里收款" in browser.get().text
    assert browser.post().status_code == 303
    assert attempts_of(charge) == []


def test_a_shop_may_have_asked_which_wallet_and_the_shopper_may_still_choose(shopper, merchant):
    accounts.add_account(merchant.id, "unionpay", livemode=False, name="云闪付", settings=unionpay_forge.PAIR)
    browser = shopper(make_charge(merchant))
    for wallet, chosen in (("unionpay", "unionpay"), ("alipay", "alipay"), ("bitcoin", "alipay")):
        page = browser.get(f"?wallet={wallet}").text
        assert re.findall(r'value="(\w+)" checked', page) == [chosen]
        assert len(re.findall('name="provider"', page)) == 2


def test_a_desktop_gets_the_link_as_a_code_and_may_say_it_is_a_phone(shopper, merchant):
    browser = shopper(make_charge(merchant), user_agent=DESKTOP)
    assert '<svg xmlns="http://www.w3.org/2000/svg"' in browser.get().text
    assert "<title>付款链接</title>" in browser.get().text
    assert "<title>付款链接</title>" not in browser.get("?scene=mobile").text
    assert "<title>付款链接</title>" in browser.get("?scene=app").text  # not for a shopper to say


# Paying


def test_a_phone_is_sent_to_the_wallet(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge)
    response = browser.post()
    assert response.status_code == 303
    address = urlsplit(response.headers["Location"])
    assert address.netloc == "alipay.example"
    assert parse_qs(address.query)["return_url"] == [f"http://pay.example.com{browser.path}?back=1"]
    [attempt] = attempts_of(charge)
    assert (attempt.state, attempt.scene) == (AttemptState.STARTED, Scene.MOBILE)
    assert "等待付款" in browser.get().text
    assert "继续用支付宝付款" in browser.get().text


def test_a_desktop_shows_the_wallets_own_code(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge, user_agent=DESKTOP)
    response = browser.post()
    assert (response.status_code, response.headers["Location"]) == (303, browser.path[3:])
    page = browser.get()
    assert headings(page) == ["打开支付宝扫一扫"]
    number = attempts_of(charge)[0].out_trade_no
    assert f'data-wallet-code="https://qr.alipay.com/{number}"' in page.text
    assert "<title>付款二维码</title>" in page.text


def test_an_ipad_that_calls_itself_a_mac_can_pay_on_the_spot(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge, user_agent=DESKTOP)
    assert 'action="' + browser.path[3:] + '?scene=mobile"' in browser.get("?scene=mobile").text
    browser.path += "?scene=mobile"
    location = browser.post().headers["Location"]
    [back] = parse_qs(urlsplit(location).query)["return_url"]
    assert back.endswith("?scene=mobile&back=1")


def test_a_second_press_takes_up_the_same_attempt(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge)
    assert (
        browser.post().headers["Location"].partition("&timestamp")[0]
        == (browser.post().headers["Location"].partition("&timestamp")[0])
    )
    assert len(attempts_of(charge)) == 1


def test_two_presses_at_once_make_one_attempt(app, shopper, merchant):
    charge = make_charge(merchant)
    browsers = [shopper(charge) for _ in range(4)]
    for browser in browsers:
        browser.client = app.test_client()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda browser: browser.post().status_code, browsers))
    assert answers == [303] * 4
    assert len(attempts_of(charge)) == 1


def test_the_amount_is_not_the_browsers_to_say(shopper, merchant, far_side):
    charge = make_charge(merchant)
    location = shopper(charge).post(amount="1", amount_minor="1", total_amount="0.01").headers["Location"]
    assert far_side.open(location).price == Money(1250, "CNY")


def test_an_unknown_wallet_starts_nothing(shopper, merchant):
    charge = make_charge(merchant)
    for provider in ("", "paypal", "alipay'--", "ALIPAY"):
        assert shopper(charge).post(provider).status_code == 303
    assert attempts_of(charge) == []


def test_another_merchants_wallet_is_not_offered(shopper, merchant, other_merchant):
    change(ProviderAccount, merchant.account_id, enabled=False)
    charge = make_charge(merchant)
    assert shopper(charge).post().status_code == 303
    assert attempts_of(charge) == []


def test_a_wallet_of_the_other_mode_is_not_offered(shopper, merchant):
    change(ProviderAccount, merchant.account_id, livemode=True)
    charge = make_charge(merchant)
    shopper(charge).post()
    assert attempts_of(charge) == []


def test_a_charge_past_its_deadline_takes_no_attempt(shopper, merchant, at):
    charge = make_charge(merchant)
    at(timedelta(hours=3))
    browser = shopper(charge)
    assert browser.post().status_code == 303
    assert attempts_of(charge) == []
    assert headings(browser.get()) == ["付款已过期"]


def test_a_wallets_no_offers_another_try_on_the_same_link(shopper, merchant, monkeypatch):
    def refuse(self, order):
        raise ProviderRejected("no", provider_code="ACQ.SYSTEM_ERROR")

    charge = make_charge(merchant)
    browser = shopper(charge)
    with monkeypatch.context() as patch:
        patch.setattr(Alipay, "start", refuse)
        assert browser.post().status_code == 303
    page = browser.get()
    assert headings(page) == ["支付未完成"]
    assert "没有扣款" in page.text
    assert "ACQ." not in page.text
    assert urlsplit(browser.post().headers["Location"]).netloc == "alipay.example"
    assert [row.state for row in attempts_of(charge)] == [AttemptState.FAILED, AttemptState.STARTED]


def test_a_wallets_silence_is_not_a_failure(shopper, merchant, far_side):
    charge = make_charge(merchant)
    browser = shopper(charge, user_agent=DESKTOP)
    far_side.is_down = True
    response = browser.post()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert headings(response) == ["支付宝还没有回应"]
    assert "失败" not in response.text
    assert headings(browser.get("?wait=1")) == ["支付宝还没有回应"]
    far_side.is_down = False
    assert browser.post().status_code == 303
    assert headings(browser.get()) == ["打开支付宝扫一扫"]
    assert len(attempts_of(charge)) == 1


def test_a_form_to_a_wallet_is_shown_by_get_and_leads_there(shopper, merchant, monkeypatch):
    form = PostForm("https://gateway.example/pay", {"orderId": "1", "note": '"><script>'})
    monkeypatch.setattr(Alipay, "start", lambda self, order: form)
    browser = shopper(make_charge(merchant))
    assert browser.post().headers["Location"] == browser.path[3:] + "?go=1"
    page = browser.get("?go=1")
    assert f'data-go="{browser.path[3:]}"' in page.text
    assert 'action="https://gateway.example/pay"' in page.text
    assert 'name="note" value="&#34;&gt;&lt;script&gt;"' in page.text
    assert "https:" in page.headers["Content-Security-Policy"].partition("form-action")[2]
    assert "data-go" not in browser.get().text  # "back" does not set off again


def test_a_wallets_bridge_gets_its_parameters_as_data(shopper, merchant, monkeypatch):
    params = {"appId": "wx1", "package": 'prepay_id="<&>'}
    monkeypatch.setattr(Alipay, "start", lambda self, order: CallBridge("AlipayJSBridge", params))
    browser = shopper(make_charge(merchant))
    assert browser.post().headers["Location"].endswith("?go=1")
    page = browser.get("?go=1").text
    assert 'data-bridge="AlipayJSBridge"' in page
    assert json.loads(unescape(re.search('data-params="([^"]*)"', page)[1])) == params


def test_a_network_that_must_know_the_payer_is_asked_first(shopper, merchant, monkeypatch):
    """One press for the shopper: away to be identified, back, and on by itself; GET still makes nothing."""
    seen = {}

    def identify(self, scene, return_url, state):
        seen.update(return_url=return_url, state=state)
        return f"https://open.example/oauth?state={state}"

    def start(self, order):
        seen["payer_id"] = order.payer_id
        return CallBridge("WeixinJSBridge", {})

    monkeypatch.setattr(Alipay, "identify", identify)
    monkeypatch.setattr(Alipay, "payer_from", lambda self, query: "openid of " + query["code"])
    monkeypatch.setattr(Alipay, "start", start)
    charge = make_charge(merchant)
    browser = shopper(charge)
    away = browser.post()
    assert away.headers["Location"] == f"https://open.example/oauth?state={seen['state']}"
    assert seen["return_url"] == f"http://pay.example.com{browser.path}"
    back = browser.get(f"?code=c1&state={seen['state']}")
    assert attempts_of(charge) == []
    [action] = re.findall('action="([^"]+)"', back.text)
    assert "data-onward" in back.text
    assert f'data-go="{browser.path[3:]}"' in back.text
    browser.path = "/C/" + unescape(action)
    assert browser.post().headers["Location"].endswith("?go=1")
    assert seen["payer_id"] == "openid of c1"
    assert len(attempts_of(charge)) == 1


def test_an_identification_that_this_browser_did_not_begin_is_not_used(shopper, merchant, monkeypatch):
    monkeypatch.setattr(Alipay, "identify", lambda *_: "https://open.example/oauth")
    charge = make_charge(merchant)
    browser = shopper(charge)
    for query in ("?code=theirs&state=theirs", "?code=theirs&state=", "?code=theirs"):
        assert "data-onward" not in browser.get(query).text
        victim = shopper(charge)
        victim.path += query
        assert victim.post().headers["Location"] == "https://open.example/oauth"
    assert attempts_of(charge) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_was_identified_by_an_account_that_may_not_be_paid_is_asked_by_the_other(
    shopper, merchant, monkeypatch
):
    """Else a browser could take another charge's identification and pay whom it likes."""
    other = accounts.add_account(
        merchant.id, "alipay", livemode=False, name="Franchise", settings=alipay_forge.KEY_MODE
    )
    monkeypatch.setattr(Alipay, "identify", lambda self, scene, url, state: f"https://open.example/{state}")
    monkeypatch.setattr(Alipay, "payer_from", lambda self, query: "openid of " + query["code"])
    monkeypatch.setattr(Alipay, "start", lambda self, order: CallBridge("WeixinJSBridge", {}))
    charge = make_charge(merchant)
    browser = shopper(charge)
    path, states = browser.path, [browser.post().headers["Location"][-58:]]
    assert states[0].endswith(merchant.account_id[3:])
    terms = RuleTerms("alipay", "Franchise", (Share(other, 1),), is_strict=True)
    rule_id = routing_rules.add_rule(merchant.id, terms, livemode=False)
    browser.path = f"{path}?code=c1&state={states[0]}"
    states.append(browser.post().headers["Location"][-58:])
    assert states[1].endswith(other[3:])
    assert attempts_of(charge) == []
    browser.path = f"{path}?code=c2&state={states[1]}"
    assert browser.post().headers["Location"].endswith("?go=1")
    [attempt] = attempts_of(charge)
    assert (attempt.account_id, attempt.routing_rule_id) == (other, rule_id)


# Learning the truth


def test_coming_back_from_the_wallet_proves_nothing(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge)
    assert "支付成功" not in browser.get("?back=1&trade_status=TRADE_SUCCESS&total_amount=12.50").text
    browser.post()
    page = browser.get("?back=1&trade_status=TRADE_SUCCESS")
    assert headings(page) == ["正在确认支付结果"]
    assert "请勿重复付款" in page.text
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING


def test_a_lost_callback_is_made_good_by_the_next_poll(shopper, merchant, far_side):
    charge = make_charge(merchant)
    browser = shopper(charge)
    far_side.pay(browser.post().headers["Location"])
    assert headings(browser.get("?back=1")) == ["正在确认支付结果"]
    assert browser.status().json["status"] == "paid"
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert headings(browser.get("?back=1")) == ["支付成功"]


def test_without_a_script_the_page_loads_itself_again_and_asks(shopper, merchant, far_side):
    browser = shopper(make_charge(merchant))
    location = browser.post().headers["Location"]
    page = browser.get("?back=1").text
    [refresh] = re.findall(r'<noscript><meta http-equiv="refresh" content="5; url=([^"]+)"></noscript>', page)
    far_side.pay(location)
    assert headings(browser.client.get("/C/" + unescape(refresh))) == ["支付成功"]
    assert "http-equiv" not in browser.get().text


def test_a_flood_of_polls_reaches_the_provider_now_and_then(shopper, merchant, far_side, at):
    browser = shopper(make_charge(merchant), user_agent=DESKTOP)
    browser.post()
    before = far_side.calls.count("alipay.trade.query")
    for _ in range(20):
        browser.status()
        browser.get("?wait=1")
    assert far_side.calls.count("alipay.trade.query") == before + 1
    at(timedelta(seconds=4))
    browser.status()
    assert far_side.calls.count("alipay.trade.query") == before + 2


def test_a_provider_that_is_down_keeps_the_shopper_waiting(shopper, merchant, far_side):
    browser = shopper(make_charge(merchant))
    browser.post()
    far_side.is_down = True
    assert browser.status().json["status"] == "processing"


def test_the_status_tells_little_and_says_nothing_twice(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge)
    first = browser.status()
    assert first.json["status"] == "pending"
    assert set(first.json) == {"status", "version", "expires_in_s", "attempt"}
    assert 7190 <= first.json["expires_in_s"] <= 7200
    assert first.headers["Cache-Control"] == "no-store"
    version = first.json["version"]
    assert f'data-version="{version}"' in browser.get().text
    again = browser.status(**{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert browser.status(**{"If-None-Match": f'W/"{version}"'}).status_code == 304
    browser.post()
    later = browser.status(**{"If-None-Match": first.headers["ETag"]})
    assert (later.status_code, later.json["status"]) == (200, "processing")
    assert later.json["attempt"] == {"provider": "alipay", "state": "started"}


# How it ends


def test_the_receipt_has_all_a_shopper_needs(shopper, merchant, far_side):
    charge = make_charge(merchant, merchant_order_no="A-7", return_url="https://shop.example/thanks?a=1&b=2")
    browser = shopper(charge)
    far_side.pay(browser.post().headers["Location"])
    browser.status()
    page = browser.get()
    paid_at = charge_of(merchant, charge.id).paid_at
    for text in (
        "¥12.50",
        charge.id,
        "A-7",
        "支付宝",
        clock.to_beijing(paid_at),
        clock.to_rfc3339(paid_at),
        'href="https://shop.example/thanks?a=1&amp;b=2"',
    ):
        assert text in page.text
    assert 'name="provider"' not in page.text
    assert "data-poll" not in page.text
    assert "http-equiv" not in page.text
    assert browser.post().headers["Location"] == browser.path[3:]  # paid already: the receipt


def test_paid_late_is_paid(shopper, merchant, far_side, at):
    charge = make_charge(merchant)
    browser = shopper(charge)
    location = browser.post().headers["Location"]
    far_side.open(location)
    at(timedelta(hours=3))
    assert headings(browser.get()) == ["正在核实您的付款"]
    with transaction() as tx:
        retired = frozenset(attempt.id for attempt in attempts_of(charge))
        lifecycle.close_charge(tx, merchant.id, charge.id, ChargeState.EXPIRED, retired=retired)
    page = browser.get()
    assert headings(page) == ["付款已过期"]
    assert "没有扣款" not in page.text  # nobody knows yet
    assert "data-poll" in page.text
    far_side.pay(location, late=True)
    browser.status()
    assert headings(browser.get()) == ["支付成功"]


def test_a_refund_shows_on_the_receipt(shopper, merchant, far_side):
    charge = make_charge(merchant)
    browser = shopper(charge, language="en")
    far_side.pay(browser.post().headers["Location"])
    browser.status()
    assert "Refund" not in browser.get().text
    change(Charge, charge.id, refunded_minor=500)
    assert "¥5.00" in browser.get().text


def test_a_receipt_says_what_was_paid_where_the_shop_accepted_less(shopper, merchant):
    charge = make_charge(merchant)
    hear(merchant.account_id, make_attempt(merchant, charge.id), 1000)
    [item], _ = unclaimed.list_unclaimed(merchant.id, livemode=False)
    decisions.accept(Press(merchant.id, item.row.id, 1000, "owner@cafe.example"), return_surplus=True)
    page = shopper(charge, language="en").get()
    assert "<title>Paid ¥10.00" in page.text
    assert '<span class="amount__money">¥10.00</span>' in page.text
    assert "Amount due</dt><dd>¥12.50" in page.text


def test_a_withdrawn_charge_says_that_nothing_was_charged(shopper, merchant):
    charge = make_charge(merchant)
    lifecycle.cancel_charge(merchant.id, charge.id)
    assert headings(shopper(charge).get()) == ["付款已取消"]
    english = shopper(charge, language="en")
    assert headings(english.get()) == ["This payment was withdrawn"]
    assert "Nothing was charged" in english.get().text
    assert english.post().status_code == 303


def test_money_of_another_amount_is_for_a_person_and_not_paid_again(shopper, merchant, far_side):
    charge = make_charge(merchant)
    browser = shopper(charge, language="en")
    far_side.pay(browser.post().headers["Location"], Money(1249, "CNY"))
    assert browser.status().json["status"] == "review"
    page = browser.get()
    assert headings(page) == ["The amount does not match"]
    assert 'name="provider"' not in page.text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_state_has_a_page_in_both_languages(shopper, merchant, far_side, monkeypatch, language):
    """Headings of one charge's life; the Chinese page has no English sentence and the other way round."""
    browser = shopper(make_charge(merchant), language=language)
    pages = [browser.get()]
    location = browser.post().headers["Location"]
    pages += [browser.get(), browser.get("?back=1")]
    far_side.pay(location)
    browser.status()
    pages.append(browser.get())
    for page in pages:
        body = re.sub(r"<(head|footer).*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL)
        sentence = r"[A-Za-z]+ [a-z]+ [a-z]+" if language == "zh" else "[一-龥]{8,}"
        assert re.search(sentence, body) is None
    expected = {
        "zh": ["¥12.50 CNY", "等待付款", "正在确认支付结果", "支付成功"],
        "en": ["¥12.50 CNY", "Waiting for your payment", "Confirming your payment", "Paid"],
    }
    assert [headings(page)[0] for page in pages] == expected[language]


# Headers


def test_no_page_of_a_payment_is_kept_or_indexed_or_framed_by_others(shopper, merchant):
    page = shopper(make_charge(merchant)).get()
    assert page.headers["Cache-Control"] == "no-store"
    assert "noindex" in page.headers["X-Robots-Tag"]
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "frame-ancestors 'self'" in policy  # the simulator; of live payments see test_simulator.py
    assert "unsafe" not in policy


def test_a_cashier_learns_our_domain_and_never_the_path(shopper, merchant, client):
    """WeChat's H5 cashier refuses a shopper whose Referer is not of the domain it knows."""
    browser = shopper(make_charge(merchant))
    for response in (browser.get(), browser.get("?how=alipay"), browser.post(), browser.get("?go=1")):
        assert response.headers.getlist("Referrer-Policy") == ["strict-origin"]
    for elsewhere in ("/sign-in", "/C/NOPE", "/nowhere"):
        assert client.get(elsewhere).headers["Referrer-Policy"] != "strict-origin"


def test_only_pages_that_lead_to_a_wallet_let_a_form_leave(shopper, merchant):
    charge = make_charge(merchant)
    browser = shopper(charge)
    lifecycle.cancel_charge(merchant.id, charge.id)
    assert browser.get().headers["Content-Security-Policy"].endswith("form-action 'self'")


def test_a_live_charge_has_no_test_bar(shopper, merchant):
    charge = make_charge(merchant)
    change(Charge, charge.id, livemode=True)
    page = shopper(charge).get().text
    assert "测试模式" not in page
    assert "data-wallet-code" not in page


@pytest.mark.parametrize(("language", "title"), [("zh", "链接无效"), ("en", "This link opens no payment")])
def test_a_broken_link_is_told_kindly(client, language, title):
    response = client.get("/C/NOPE", headers={"Accept-Language": language})
    assert response.status_code == 404
    assert headings(response) == [title]
    assert "Traceback" not in response.text
    assert re.search(r"req_[0-9a-z]{26}", response.text)
    assert "Set-Cookie" not in response.headers
