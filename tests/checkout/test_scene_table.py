"""The table of scenes: where a shopper is, and what each wallet can do for them there.  Every cell is
payable, or has one screen that says what to do; whatever browser it is, none is a dead end.
"""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from app.charges import in_app
from app.providers import REGISTRY
from app.providers.base import AppParams, Scene
from tests.books import make_charge
from tests.checkout.conftest import ALIPAY, DESKTOP, IPHONE, UNIONPAY, WECHAT, attempts_of
from tests.checkout.user_agents import CORPUS

# Which cell is which does not depend on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

WALLETS = ("alipay", "wechatpay", "unionpay")
BROWSERS = {
    Scene.WECHAT: WECHAT,
    Scene.ALIPAY: ALIPAY,
    Scene.UNIONPAY: UNIONPAY,
    Scene.MOBILE: IPHONE,
    Scene.DESKTOP: DESKTOP,
}
# What the payer does next; None: it cannot be opened there, and a screen of its own says what to do.
TABLE = {
    Scene.WECHAT: (None, "CallBridge", None),
    Scene.ALIPAY: ("Redirect", None, None),
    Scene.UNIONPAY: (None, None, "PostForm"),
    Scene.MOBILE: ("Redirect", "Redirect", "PostForm"),
    Scene.DESKTOP: ("ShowQR", "ShowQR", "ShowQR"),
    Scene.APP: ("AppParams", "AppParams", "AppParams"),
}
CELLS = [
    (scene, wallet, step)
    for scene, steps in TABLE.items()
    for wallet, step in zip(WALLETS, steps, strict=True)
]
PAYABLE = [(scene, wallet, step) for scene, wallet, step in CELLS if step and scene is not Scene.APP]
EXPLAINED = [(scene, wallet) for scene, wallet, step in CELLS if step is None]
# What each screen must say: the app the shopper is in, the wallet, and the three ways.
IN_APP = {Scene.WECHAT: "在微信里", Scene.ALIPAY: "在支付宝里", Scene.UNIONPAY: "在这个 App 里"}
NAMES = {"alipay": "支付宝", "wechatpay": "微信支付", "unionpay": "云闪付"}
APPS = NAMES | {"wechatpay": "微信"}


def offered(page):
    """The wallets that a page has a button for, and those it leads to help for."""
    working = set(re.findall(r'name="provider" value="(\w+)"', page.text))
    return working, set(re.findall(r'href="[^"]*[?;&]how=(\w+)"', page.text)) - {""}


def but_for_time(page):
    return re.sub(r'data-left="\d+"', "", page.text)


def go_through(browser, wallet):
    """Press Pay; be identified on the way where a network wants that, as a browser with a script would."""
    response = browser.post(wallet)
    address = urlsplit(response.headers["Location"])
    if address.netloc == "open.example":
        [state] = parse_qs(address.query)["state"]
        [back] = parse_qs(address.query)["redirect_uri"]
        page = browser.get(f"?code=a&state={state}")
        assert urlsplit(back).path.upper() == browser.path.upper()
        [action] = re.findall('action="([^"]+)"', page.text)
        path, browser.path = browser.path, "/C/" + unescape(action)
        response = browser.post(wallet)
        browser.path = path
    return response


def test_the_table_has_every_scene_and_every_wallet(database_url):
    assert len(CELLS) == 18
    assert set(TABLE) == set(Scene)
    assert set(WALLETS) == set(REGISTRY)
    for scene, wallet, step in CELLS:
        assert (scene in REGISTRY[wallet].info.scenes) == (step is not None)


@pytest.mark.parametrize("scene", BROWSERS)
def test_a_page_offers_what_works_and_explains_the_rest(shopper, merchant, networks, scene):
    page = shopper(make_charge(merchant), user_agent=BROWSERS[scene]).get()
    assert offered(page) == (
        {wallet for where, wallet, _ in PAYABLE if where is scene},
        {wallet for where, wallet in EXPLAINED if where is scene},
    )


@pytest.mark.parametrize(("scene", "wallet", "step"), PAYABLE)
def test_a_payable_cell_is_one_press_to_the_wallets_own_step(
    shopper, merchant, networks, scene, wallet, step
):
    charge = make_charge(merchant)
    browser = shopper(charge, user_agent=BROWSERS[scene])
    response = go_through(browser, wallet)
    assert response.status_code == 303
    [attempt] = attempts_of(charge)
    assert (attempt.scene, attempt.provider, attempt.next_step["kind"]) == (scene, wallet, step)
    if step == "Redirect":
        assert response.headers["Location"] == attempt.next_step["url"]
        return
    page = browser.get("?" + urlsplit(response.headers["Location"]).query).text
    if step == "ShowQR":
        assert "<title>付款二维码</title>" in page
        assert f"打开{APPS[wallet]}扫一扫" in page
    if step == "PostForm":
        assert f'action="{attempt.next_step["url"]}"' in page
        assert "data-onward" in page
    if step == "CallBridge":
        assert f'data-bridge="{attempt.next_step["bridge"]}"' in page


@pytest.mark.parametrize("wallet", WALLETS)
def test_the_merchants_app_can_be_paid_in_with_each_wallet(merchant, networks, wallet):
    charge = make_charge(merchant)
    started = in_app.start_in_app(merchant.id, charge.id, wallet, livemode=False)
    assert isinstance(started.step, AppParams)
    assert [(row.scene, row.provider) for row in attempts_of(charge)] == [("app", wallet)]


@pytest.mark.parametrize(("scene", "wallet"), EXPLAINED)
def test_a_cell_that_cannot_be_paid_has_one_screen_for_exactly_it(shopper, merchant, networks, scene, wallet):
    charge = make_charge(merchant)
    browser = shopper(charge, user_agent=BROWSERS[scene])
    page = browser.get(f"?how={wallet}")
    assert page.status_code == 200
    name, app = NAMES[wallet], APPS[wallet]
    for text in (
        f"怎样用{name}付款</h1>",
        f"{IN_APP[scene]}无法打开{name}",
        "点右上角「⋯」，选「在浏览器打开」",
        'class="sketch"',  # a drawing of where
        f'value="http://pay.example.com{browser.path}"',  # the link to copy, with or without a script
        f"用{app}扫一扫",
        "<title>付款链接</title>",  # the same link as a code
        "¥12.50",
        f'class="button button--quiet" href="{browser.path[3:]}"',  # the way back
    ):
        assert text in page.text, text
    assert 'name="provider"' not in page.text
    english = shopper(charge, user_agent=BROWSERS[scene], language="en").get(f"?how={wallet}")
    assert "choose “Open in browser”" in english.text
    assert re.search(r"How to pay with \w+", english.text)
    assert browser.post(wallet).status_code == 303  # whoever presses all the same starts nothing
    assert attempts_of(charge) == []
    assert offered(browser.get())[1] >= {wallet}


@pytest.mark.parametrize(("scene", "wallet"), EXPLAINED)
def test_what_the_screen_advises_leads_to_the_same_charge(shopper, merchant, networks, scene, wallet):
    """The link in a browser, or scanned by the wallet itself, can be paid with that wallet."""
    charge = make_charge(merchant)
    own = {"alipay": ALIPAY, "wechatpay": WECHAT, "unionpay": UNIONPAY}
    for user_agent in (IPHONE, own[wallet]):
        assert wallet in offered(shopper(charge, user_agent=user_agent).get())[0]


@pytest.mark.parametrize(("scene", "wallet", "step"), PAYABLE)
def test_help_is_for_those_who_need_it(shopper, merchant, networks, scene, wallet, step):
    browser = shopper(make_charge(merchant), user_agent=BROWSERS[scene])
    assert but_for_time(browser.get(f"?how={wallet}")) == but_for_time(browser.get())


def test_help_shows_the_receipt_once_it_is_paid(shopper, merchant, networks):
    charge = make_charge(merchant)
    inside, outside = shopper(charge, user_agent=WECHAT), shopper(charge)
    assert "怎样用支付宝付款" in inside.get("?how=alipay").text
    networks.alipay.pay(outside.post().headers["Location"])
    assert "已在另一台设备上开始支付" in inside.get("?how=alipay").text
    assert inside.status().json["status"] == "paid"
    assert "支付成功" in inside.get("?how=alipay").text


def test_a_shop_with_one_wallet_that_does_not_open_here_explains_it_at_once(shopper, merchant):
    page = shopper(make_charge(merchant), user_agent=WECHAT).get()
    assert "怎样用支付宝付款" in page.text
    assert "返回，选择其他支付方式" not in page.text  # there is no other


def test_a_wallet_the_shop_does_not_take_is_not_explained(shopper, merchant):
    browser = shopper(make_charge(merchant), user_agent=ALIPAY)
    for wallet in ("unionpay", "paypal", "", "%00"):
        assert but_for_time(browser.get(f"?how={wallet}")) == but_for_time(browser.get())


def test_no_browser_of_the_corpus_meets_a_dead_end(shopper, merchant, networks):
    """Each is offered its scene's row, and everything else is a screen of help."""
    charge = make_charge(merchant)
    for user_agent, scene in CORPUS:
        browser = shopper(charge, user_agent=user_agent)
        working, explained = offered(browser.get())
        assert working == {wallet for where, wallet, _ in PAYABLE if where is scene}, user_agent
        assert working | explained == set(WALLETS), user_agent
