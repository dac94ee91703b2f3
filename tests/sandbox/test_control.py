"""The control API and the panel: what a tester may do, and what another site's page may not."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sandbox import create_sandbox

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_registering_the_same_key_finds_the_same_app(far: Any, merchant: Any, sandbox_tools: Any) -> None:
    assert sandbox_tools.register(far, merchant.key).facts == merchant.facts
    listed = far.get("/control/alipay/apps").json["data"]
    assert [app["app_id"] for app in listed] == [merchant.app_id]
    assert far.get(f"/control/alipay/apps/{merchant.app_id}").json == merchant.facts
    assert far.get("/control/alipay/apps/9").status == 404


def test_a_name_and_a_seller_may_be_chosen(far: Any, app_key: Any, sandbox_tools: Any) -> None:
    named = sandbox_tools.register(far, app_key, name="晨光咖啡馆", seller_id="2088123412341234")
    assert (named.facts["name"], named.facts["seller_id"]) == ("晨光咖啡馆", "2088123412341234")


def test_a_bare_base64_key_is_understood(far: Any, merchant: Any) -> None:
    der = merchant.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    answer = far.post("/control/alipay/apps", {"public_key": base64.b64encode(der).decode()})
    assert answer.json["app_id"] == merchant.app_id


@pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")
def test_a_merchants_own_certificate_is_taken(far: Any, cert_merchant: Any) -> None:
    answer = far.post("/control/alipay/apps", {"mode": "cert", "app_cert": cert_merchant.facts["app_cert"]})
    assert answer.json["app_cert_sn"] == cert_merchant.facts["app_cert_sn"]


def _pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text: str = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    return text


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"public_key": "not a key"},
        {"public_key": _pem(ec.generate_private_key(ec.SECP256R1()))},
        {"public_key": _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))},
        {"mode": "magic", "public_key": "x"},
        {"mode": "cert", "app_cert": "x"},
        {"public_key": 7},
    ],
)
def test_what_is_no_key_registers_no_app(far: Any, wish: dict[str, Any]) -> None:
    assert far.post("/control/alipay/apps", wish).status == 400
    assert far.get("/control/alipay/apps").json["data"] == []


def test_unknown_trades_and_bad_bodies_are_refused(far: Any, merchant: Any) -> None:
    assert far.get("/control/trades/none").status == 404
    assert far.act("none", "pay").status == 404
    merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert far.act("T1", "pay", amount="0").status == 400
    assert far.act("T1", "pay", amount="much").status == 400
    assert far.act("T1", "pay", late="yes").status == 400
    assert far.ask("POST", "/control/trades/T1/pay", b"[1]", JSON).status == 400
    assert far.ask("POST", "/control/trades/T1/pay", b"{}", FORM).status == 400
    assert far.trade("T1")["state"] == "offered"


def test_two_apps_with_one_number_must_be_told_apart(far: Any, merchant: Any, sandbox_tools: Any) -> None:
    other = sandbox_tools.register(far, merchant.key, seller_id="2088123412341234")
    for client in (merchant.client, other.client):
        client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert far.act("T1", "pay").json["error"]["code"] == "ambiguous"
    assert far.post(f"/control/trades/T1/pay?app_id={other.app_id}").status == 200
    assert merchant.client.api_alipay_trade_query("T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert other.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_SUCCESS"


def test_ten_hands_at_once_pay_once(far: Any, merchant: Any, shop: Any) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "1.00", notify_url=shop.url)
    with ThreadPoolExecutor(10) as hands:
        answers = list(hands.map(lambda _: far.act("T1", "pay").status, range(10)))
    assert sorted(answers) == [200] + [409] * 9
    assert len(far.trade("T1")["notifications"]) == 1


def test_an_unscanned_code_dies_when_it_is_closed_by_hand(far: Any, merchant: Any) -> None:
    made = merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert far.act("T1", "close").json["state"] == "withdrawn"
    assert far.get(made["qr_code"]).status == 410
    assert far.act("T1", "pay", late=True).status == 409


def test_reset_forgets_trades_and_on_request_apps(far: Any, merchant: Any) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    far.post("/control/reset")
    assert far.get("/control/trades").json["data"] == []
    assert len(far.get("/control/alipay/apps").json["data"]) == 1
    far.post("/control/reset", {"apps": True})
    assert far.get("/control/alipay/apps").json["data"] == []


def test_the_trades_list_is_newest_first_and_limited(far: Any, merchant: Any) -> None:
    for number in ("T1", "T2", "T3"):
        merchant.client.api_alipay_trade_precreate("s", number, "1.00")
    listed = far.get("/control/trades?limit=2").json["data"]
    assert [trade["out_trade_no"] for trade in listed] == ["T3", "T2"]
    assert far.get("/control/trades?app_id=9").json["data"] == []


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_panel_shows_apps_trades_sends_and_levers(
    far: Any, merchant: Any, shop: Any, sandbox_tools: Any, lang: str
) -> None:
    assert far.get(f"/?lang={lang}").status == 200
    merchant.client.api_alipay_trade_precreate("<i>s</i>", "T1", "12.50", notify_url=shop.url)
    far.act("T1", "pay")
    merchant.client.api_alipay_trade_refund("2.50", "T1", out_request_no="R1")
    far.pull("drop", scope="always")
    sandbox_tools.wait_until(lambda: len(shop.heard) >= 1)
    page = far.get(f"/?lang={lang}").text
    for words in (merchant.app_id, "T1", "¥12.50", "TRADE_SUCCESS", "&lt;i&gt;", "success", "SANDBOX"):
        assert words in page


def test_the_panels_buttons_work(far: Any, merchant: Any) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "12.50")
    lever = b"name=decline&value=&scope=next&out_trade_no=T1"
    assert far.ask("POST", "/panel/levers", lever, FORM).status == 303
    path = f"/panel/trades/T1/pay?app_id={merchant.app_id}"
    assert far.ask("POST", path, b"", FORM).status == 303
    assert far.trade("T1")["failure"] == "balance"
    far.ask("POST", path, b"", FORM)
    assert far.trade("T1")["state"] == "paid"
    far.pull("drop", scope="always")
    assert far.ask("POST", "/panel/levers/release", b"", FORM).status == 303
    assert far.get("/control/levers").json["data"] == []
    assert far.ask("POST", "/panel/levers", b"name=nonsense", FORM).status == 400
    assert far.ask("POST", "/panel/levers", b"name=drop&scope=never", FORM).status == 400
    assert far.ask("POST", "/panel/trades/T1/steal", b"", FORM).status == 404


@pytest.mark.parametrize("path", ["/control/levers", "/control/reset", "/panel/levers", "/receiver/form"])
def test_a_page_of_another_site_pulls_no_lever(far: Any, path: str) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", **FORM}
    assert far.ask("POST", path, b"name=drop", foreign).status == 403


def test_health(far: Any) -> None:
    answer = far.get("/healthz").json
    assert answer["status"] == "ok"
    assert {"alipay", "wechatpay"} <= set(answer["networks"])


@pytest.mark.parametrize(
    "wrong",
    [{"public_url": "ftp://x"}, {"public_url": "http://x/path"}, {"public_url": "http://x", "speed": 0}],
)
def test_a_sandbox_that_could_not_work_is_not_made(tmp_path: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"public_url|speed"):
        create_sandbox(str(tmp_path), **wrong)
