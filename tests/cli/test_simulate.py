"""The shopper of the shell: what they do at odd pages, and where they never go.

Every walk against the running house is in tests/test_cells.py.
"""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from app.cli import browser, demo, simulate

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BAR = '<aside class="test">Test mode</aside>'
WALLET = '<form method="post"><input type="hidden" name="provider" value="alipay"><button>Pay</button></form>'
SHEET = '<form method="post"><button name="action" value="approve">Yes</button></form>'


@pytest.fixture
def shop(site):
    """A checkout at /C/t that leads to a cashier at /cashier, and is paid once that was used."""
    site.says("/C/t", BAR + WALLET)
    site.says("/C/t/status", json.dumps({"status": "pending"}))
    site.says("POST /C/t", status=303, Location="../cashier")
    site.says("GET /cashier", SHEET)
    site.says("POST /cashier", status=303, Location="/C/t?back=1")
    return site


def steps(result) -> list[str]:
    return [line.partition(". ")[2] for line in result.stdout.splitlines()]


def test_paid_is_what_the_checkout_says_and_nothing_else(run, shop):
    """Approving is not paying: the status decides, and it says "pending" to the end."""
    result = run(f"simulate pay {shop.url}/C/t --wait 0.1")
    assert result.exit_code == 1
    assert steps(result) == [
        f"opened {shop.url}/C/t",
        f"chose alipay, and came to {shop.url}/cashier",
        f"pressed approve, and came to {shop.url}/C/t",
        "the charge is pending",
    ]
    assert ("POST", "/C/t", "provider=alipay") in [(seen[0], seen[1], seen[3]) for seen in shop.seen]
    assert ("POST", "/cashier", "action=approve") in [(seen[0], seen[1], seen[3]) for seen in shop.seen]


@pytest.mark.parametrize(("status", "code"), [("paid", 0), ("expired", 1), ("canceled", 1), ("review", 1)])
def test_a_charge_that_has_ended_is_left_alone(run, shop, status, code):
    shop.says("/C/t/status", json.dumps({"status": status}))
    result = run(f"simulate pay {shop.url}/C/t --json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["status"] == status
    assert not [seen for seen in shop.seen if seen[0] == "POST"]


def test_a_live_checkout_is_not_touched(run, shop):
    shop.says("/C/t", WALLET)
    result = run(f"simulate pay {shop.url}/C/t")
    assert result.exit_code == 1
    assert steps(result) == ["this is not a checkout in test mode: nothing was sent"]
    assert [seen[0] for seen in shop.seen] == ["GET"]


@pytest.mark.parametrize(
    "far", ["https://openapi.alipay.com/gateway.do?x=1", "http://198.51.100.7/", "//evil.example/"]
)
def test_a_real_network_is_never_called(run, shop, far):
    shop.says("POST /C/t", status=303, Location=far)
    result = run(f"simulate pay {shop.url}/C/t")
    assert result.exit_code == 1
    assert "which is no sandbox: nothing was approved there" in steps(result)[-1]


def test_where_a_wallet_cannot_pay_its_advice_is_read_aloud(run, shop):
    shop.says("/C/t", BAR + "<main><h1>Open in browser</h1><p>Tap the dots.</p></main>")
    result = run(f"simulate pay {shop.url}/C/t?scene=wechat --as wechat")
    assert result.exit_code == 3
    assert steps(result)[-3:] == [
        "read: Open in browser",
        "read: Tap the dots.",
        "alipay cannot pay here; the page tells how to go on",
    ]
    assert "MicroMessenger" in shop.seen[0][2]["user-agent"]
    assert [seen[0] for seen in shop.seen] == ["GET"] * 3


@pytest.mark.parametrize(
    ("provider", "agent"),
    [("alipay", "AlipayClient"), ("wechatpay", "MicroMessenger"), ("unionpay", "UnionPay/1.0 CloudPay")],
)
def test_a_code_on_a_desktop_is_scanned_with_the_wallets_own_camera(run, shop, provider, agent):
    shop.says("/C/t", BAR + f'<b data-wallet-code="{shop.url}/qr"></b>')
    shop.says("/C/t/status", json.dumps({"status": "processing", "attempt": {"provider": provider}}))
    shop.says("/qr", status=303, Location="cashier")
    result = run(f"simulate pay {shop.url}/C/t --as desktop --provider {provider} --wait 0")
    assert f"and came to {shop.url}/cashier" in result.stdout
    agents = {seen[1]: seen[2]["user-agent"] for seen in shop.seen}
    assert "X11" in agents["/C/t"]
    assert agent in agents["/qr"]


def test_a_code_that_is_no_address_is_read_by_the_sandboxes_camera(run, shop):
    shop.says("/C/t", BAR + '<b data-wallet-code="weixin://wxpay/bizpayurl?pr=a&amp;b"></b>')
    shop.says("/C/t/status", json.dumps({"status": "processing", "attempt": {"provider": "wechatpay"}}))
    shop.says("/control/wechatpay/scan", status=303, Location="/cashier")
    words = f"simulate pay {shop.url}/C/t --as desktop --provider wechatpay --wait 0 --sandbox {shop.url}/"
    assert f"scanned the code with wechat, and came to {shop.url}/cashier" in steps(run(words))


def test_the_code_of_another_wallet_is_not_scanned(run, shop):
    """Somebody began with Alipay on this desktop; who wants WeChat Pay must be offered that first."""
    shop.says("/C/t", BAR + f'<b data-wallet-code="{shop.url}/qr"></b>')
    shop.says("/C/t/status", json.dumps({"status": "processing", "attempt": {"provider": "alipay"}}))
    result = run(f"simulate pay {shop.url}/C/t --as desktop --provider wechatpay")
    assert result.exit_code == 3
    assert "/qr" not in [seen[1] for seen in shop.seen]


def test_a_bridge_is_played_with_what_the_page_says(run, shop):
    params = json.dumps({"package": 'prepay_id="1"'}).replace('"', "&#34;")
    shop.says("/C/t", BAR + f'<button data-bridge="WeixinJSBridge" data-params="{params}">Pay</button>')
    shop.says("/C/t/status", json.dumps({"status": "processing", "attempt": {"provider": "wechatpay"}}))
    shop.says("/control/wechatpay/jsapi_pay", json.dumps({"err_msg": "get_brand_wcpay_request:ok"}))
    words = f"simulate pay {shop.url}/C/t --provider wechatpay --wait 0 --sandbox {shop.url} --as"
    result = run(f"{words} wechat")
    assert "which answered get_brand_wcpay_request:ok" in steps(result)[1]
    [sent] = [json.loads(seen[3]) for seen in shop.seen if seen[1] == "/control/wechatpay/jsapi_pay"]
    assert sent == {"package": 'prepay_id="1"', "action": "approve"}

    assert steps(run(f"{words} browser"))[-1] == "the page calls WeixinJSBridge, which is not to be had there"


def test_the_sandbox_is_the_running_demos(run, shop, house):
    names = (field.name for field in fields(demo.Demo))
    known = dict.fromkeys(names, "") | {"sandbox_url": shop.url}
    (house.extensions["mafu.runtime"].settings.data / "demo.json").write_text(json.dumps(known))
    shop.says("/control/unionpay/sdk_pay", json.dumps({"pay_result": "success"}))
    assert run("simulate app unionpay", input='{"tn": "1"}').exit_code == 0


def test_cookies_are_kept_and_dropped_as_a_browser_does(run, shop):
    old = "mafu_payer=s1; Expires=Mon, 30 Nov 2026 00:00:00 GMT; Path=/"
    shop.says("POST /C/t", status=303, Location="../cashier", Set_Cookie=f"{old}, mafu_wallet=alipay; Path=/")
    shop.says("POST /cashier", status=303, Location="/C/t", Set_Cookie="mafu_payer=; Max-Age=0; Path=/")
    run(f"simulate pay {shop.url}/C/t --wait 0")
    sent = {f"{seen[0]} {seen[1]}": seen[2].get("cookie") for seen in shop.seen}
    assert sent["POST /cashier"] == "mafu_payer=s1; mafu_wallet=alipay"
    assert sent["GET /C/t"] == "mafu_wallet=alipay"


@pytest.mark.parametrize(
    ("policy", "told"), [("", True), ("strict-origin", True), ("no-referrer", False), ("same-origin", False)]
)
def test_a_cashier_learns_where_the_shopper_comes_from_if_the_page_lets_it(run, shop, policy, told):
    shop.says("/C/t", BAR + WALLET, **({"Referrer_Policy": policy} if policy else {}))
    run(f"simulate pay {shop.url}/C/t --wait 0")
    [cashier] = [seen[2] for seen in shop.seen if seen[:2] == ("GET", "/cashier")]
    assert cashier.get("referer") == (f"{shop.url}/" if told else None)


def test_a_form_that_leads_back_to_the_shop_is_sent(run, shop, site):
    elsewhere = shop.url.replace("127.0.0.1", "localhost")
    shop.says("POST /C/t", status=303, Location=f"{elsewhere}/cashier")
    outcome = '<input type="hidden" name="respCode" value="00"><button>Back to the shop</button>'
    shop.says("POST /cashier", f'<form method="post" action="{shop.url}/C/t/back">{outcome}</form>')
    shop.says("POST /C/t/back", "<p>Thank you</p>")
    assert f"went back to {shop.url}/C/t/back" in steps(run(f"simulate pay {shop.url}/C/t --wait 0"))
    assert shop.seen[-2][1:4:2] == ("/C/t/back", "respCode=00")


def test_pages_that_lead_nowhere_end(run, shop):
    shop.says("POST /C/t", BAR + '<form method="post"><button data-onward>On</button></form>')
    shop.says("/C/t/status", json.dumps({"status": "processing"}))
    assert steps(run(f"simulate pay {shop.url}/C/t"))[-1] == (
        f"after {simulate.TURNS_MAX} pages there is still nothing to approve"
    )


def test_a_cashier_that_cannot_decline_is_said(run, shop):
    result = run(f"simulate pay {shop.url}/C/t --decline")
    assert (result.exit_code, steps(result)[-1]) == (1, f"{shop.url}/cashier has no button to decline")


def test_a_circle_of_redirects_ends(run, shop):
    shop.says("POST /C/t", status=303, Location="/round")
    shop.says("/round", status=302, Location="/round")
    result = run(f"simulate pay {shop.url}/C/t")
    assert steps(result)[-1] == f"more than {browser.HOPS_MAX} redirects"


def test_nobody_there(run):
    result = run("simulate pay http://127.0.0.1:1/C/t")
    assert (result.exit_code, steps(result)) == (1, ["127.0.0.1: no connection"])


@pytest.mark.parametrize("words", ["ftp://127.0.0.1/C/t", "not-a-link", "http://127.0.0.1/ --as telnet", ""])
def test_a_command_typed_wrongly_exits_2(run, words):
    assert run(f"simulate pay {words}").exit_code == 2


def test_signatures_in_addresses_are_not_printed(run, shop):
    shop.says("POST /C/t", status=303, Location="/cashier?sign=s3cr3t")
    assert "s3cr3t" not in run(f"simulate pay {shop.url}/C/t --wait 0").output


APP_PARAMS = {
    "alipay": {"order_string": "method=alipay.trade.app.pay"},
    "wechatpay": dict.fromkeys(
        ("appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"), "x"
    ),
    "unionpay": {"tn": "1", "mode": "01"},
}
SDK_ANSWERS = {
    "alipay": ({"resultStatus": "9000"}, {"resultStatus": "6001"}),
    "wechatpay": ({"errCode": 0}, {"errCode": -1, "errStr": "no"}),
    "unionpay": ({"pay_result": "success"}, {"pay_result": "fail"}),
}


@pytest.mark.parametrize("provider", sorted(APP_PARAMS))
@pytest.mark.parametrize("whole", [True, False])
def test_an_app_pays_with_what_the_api_answered(run, site, provider, whole):
    params = APP_PARAMS[provider]
    given = json.dumps({"provider": provider, "params": params} if whole else params)
    yes, no = SDK_ANSWERS[provider]
    site.says(f"/control/{provider}/sdk_pay", json.dumps(yes))
    words = f"simulate app {provider} --json --sandbox {site.url}"
    paid = run(words, input=given)
    assert (paid.exit_code, json.loads(paid.stdout)["paid"]) == (0, True)
    assert json.loads(site.seen[-1][3]) == params | {"action": "approve"}

    site.says(f"/control/{provider}/sdk_pay", json.dumps(no))
    refused = run(f"{words} --decline", input=given)
    assert (refused.exit_code, json.loads(refused.stdout)["paid"]) == (1, False)
    assert json.loads(site.seen[-1][3]) == params | {"action": "decline"}


def test_the_parameters_of_another_wallet_are_not_sent(run, site):
    result = run(f"simulate app wechatpay --sandbox {site.url}", input='{"tn": "1"}')
    assert result.exit_code == 1
    assert "wechatpay's SDK finds no appid, noncestr" in result.stdout
    assert site.seen == []


@pytest.mark.parametrize("address", ["https://pay.example.com", "http://198.51.100.7:9000"])
@pytest.mark.parametrize(
    "words", ["simulate app unionpay --sandbox", "simulate pay {} --as wechat --sandbox"]
)
def test_a_sandbox_is_on_this_machine_or_a_private_network(run, shop, address, words):
    shop.says("/C/t", BAR + '<button data-bridge="WeixinJSBridge" data-params="{}">Pay</button>')
    shop.says("/C/t/status", json.dumps({"status": "processing", "attempt": {"provider": "alipay"}}))
    result = run(f"{words.format(shop.url + '/C/t')} {address}", input='{"tn": "1"}')
    assert result.exit_code == 1
    assert "which is no sandbox: nothing was approved there" in steps(result)[-1]


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_what_is_no_object_is_typed_wrongly(run, text):
    assert run("simulate app unionpay", input=text).exit_code == 2


def test_a_payment_code_is_held_out_to_the_till(run, shop):
    shop.says("POST /control/pay_codes", json.dumps({"code": "2876543210987654", "good_for_s": 60.0}))
    result = run(f"simulate code alipay --sandbox {shop.url}")
    assert (result.exit_code, result.stdout) == (0, "2876543210987654\n")
    assert json.loads(shop.seen[-1][3]) == {"network": "alipay", "expired": False}
    assert json.loads(run(f"simulate code alipay --json --sandbox {shop.url}").stdout)["good_for_s"] == 60
    shop.says("POST /control/pay_codes", status=404)
    assert run(f"simulate code alipay --sandbox {shop.url}").exit_code == 1
