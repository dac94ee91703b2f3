"""What the WeChat Pay gateway refuses, in which words, and what of it is signed."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from wechatpayv3.utils import build_authorization, rsa_verify

from sandbox import rsakeys, timing
from sandbox.wechatpay import keys, wire
from sandbox.wechatpay.wire import Refusal
from tests.sandbox import wechat

FILE = json.loads((Path(__file__).parents[1] / "vectors" / "providers.json").read_text())
KEYS, VECTORS = FILE["keys"], FILE["wechat"]
REQUESTS = [vector for vector in VECTORS if vector["kind"] == "request"]
ANSWERS = [vector for vector in VECTORS if vector["kind"] == "response"]
QUERY = "/v3/pay/transactions/out-trade-no/T00001?mchid="
NATIVE = "/v3/pay/transactions/native"


def vector_key(name: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(KEYS[name].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def order(mch: Any, **other: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "appid": mch.facts["appid"],
        "mchid": mch.mchid,
        "description": "s",
        "out_trade_no": "T00001",
        "notify_url": "https://shop.test/callback",
        "amount": {"total": 100},
    }
    return {name: value for name, value in {**body, **other}.items() if value is not None}


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector["id"])
@pytest.mark.parametrize("from_whom", ["authorization", "authorization_from_axios_plugin"])
def test_requests_of_other_packages_verify_in_any_order_of_fields(vector: Any, from_whom: str) -> None:
    claim = wire.claim_of(vector[from_whom])
    message = wire.request_message(vector["method"], vector["uri"], claim, vector["body"].encode())
    assert message.decode() == vector["canonical"]
    public = KEYS[vector["verify_key"]]
    assert rsakeys.verifies(public, message, claim.signature)
    assert not rsakeys.verifies(public, message + b" ", claim.signature)


@pytest.mark.parametrize("vector", ANSWERS, ids=lambda vector: vector["id"])
def test_answers_are_signed_as_another_package_signs_them(vector: Any) -> None:
    headers = vector["headers"]
    message = wire.answer_message(
        headers["Wechatpay-Timestamp"], headers["Wechatpay-Nonce"], vector["body"].encode()
    )
    assert rsakeys.sign(vector_key(vector["sign_key"]), message) == headers["Wechatpay-Signature"]


def test_an_unsigned_or_badly_signed_request_is_a_sign_error_without_a_signature(far: Any, mch: Any) -> None:
    target = QUERY + mch.mchid
    good = build_authorization(target, "GET", mch.mchid, mch.facts["merchant_serial"], mch.key)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    headers = [
        "",
        "Basic abc",
        good.replace("WECHATPAY2-SHA256-RSA2048", "WECHATPAY2-SM2-WITH-SM3"),
        good.replace('nonce_str="', 'nonce_str="x'),
        good.replace('timestamp="1', 'timestamp="-1'),
        good + ',extra="1"',
        good.replace(mch.facts["merchant_serial"], "0" * 40),
        good.replace(mch.mchid, "1900000000"),
        build_authorization(target, "GET", mch.mchid, mch.facts["merchant_serial"], stranger),
        build_authorization(target + "&x=1", "GET", mch.mchid, mch.facts["merchant_serial"], mch.key),
        build_authorization(target, "POST", mch.mchid, mch.facts["merchant_serial"], mch.key),
    ]
    for header in headers:
        answer = mch.ask("GET", target, Authorization=header)
        assert (answer.status, answer.json["code"]) == (401, "SIGN_ERROR"), header
        assert "wechatpay-signature" not in answer.headers
    told = mch.ask("GET", target, Authorization=headers[-1]).json["detail"]["sign_information"]
    assert (told["method"], told["url"]) == ("GET", target)


@pytest.mark.parametrize(("off_s", "status"), [(-310, 401), (-290, 404), (290, 404), (310, 401)])
def test_a_clock_may_be_five_minutes_off(
    far: Any, mch: Any, monkeypatch: pytest.MonkeyPatch, off_s: int, status: int
) -> None:
    now = time.time()
    monkeypatch.setattr("wechatpayv3.utils.time.time", lambda: now + off_s)
    header = build_authorization(QUERY + mch.mchid, "GET", mch.mchid, mch.facts["merchant_serial"], mch.key)
    monkeypatch.undo()
    assert mch.ask("GET", QUERY + mch.mchid, Authorization=header).status == status


def test_a_changed_body_is_noticed(far: Any, mch: Any) -> None:
    text = json.dumps(order(mch))
    header = build_authorization(NATIVE, "POST", mch.mchid, mch.facts["merchant_serial"], mch.key, data=text)
    cheaper = text.replace('"total": 100', '"total": 1')
    assert mch.ask("POST", NATIVE, cheaper, Authorization=header).status == 401
    assert mch.ask("POST", NATIVE, text, Authorization=header).status == 200


@pytest.mark.parametrize(
    "headers", [{"Accept": ""}, {"Accept": "text/html"}, {"User_Agent": ""}, {"Content_Type": "text/plain"}]
)
def test_headers_that_wechat_demands(mch: Any, headers: dict[str, str]) -> None:
    answer = mch.ask("POST", NATIVE, order(mch), **headers)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_REQUEST")
    assert mch.ask("POST", NATIVE, order(mch), Accept="*/*").status == 200


def test_answers_are_signed_also_without_a_body_but_not_refused_parameters(far: Any, mch: Any) -> None:
    made = mch.ask("POST", NATIVE, order(mch))
    closed = mch.ask("POST", "/v3/pay/transactions/out-trade-no/T00001/close", {"mchid": mch.mchid})
    assert (made.status, closed.status, closed.body) == (200, 204, b"")
    public = serialization.load_pem_public_key(mch.facts["public_key"].encode())
    missing = mch.ask("GET", QUERY.replace("T00001", "T00009") + mch.mchid)
    assert (missing.status, missing.json["code"]) == (404, "ORDER_NOT_EXIST")
    for answer in (made, closed, missing):
        stamp, nonce = answer.headers["wechatpay-timestamp"], answer.headers["wechatpay-nonce"]
        assert answer.headers["wechatpay-signature-type"] == wire.SCHEME
        assert rsa_verify(stamp, nonce, answer.text, answer.headers["wechatpay-signature"], public)
        assert answer.headers["request-id"]
    wrong = mch.ask("GET", QUERY)
    assert (wrong.status, wrong.json["code"]) == (400, "PARAM_ERROR")
    assert "wechatpay-signature" not in wrong.headers
    far.pull("forge_answer", value="unsigned")
    assert "wechatpay-signature" not in mch.ask("GET", QUERY + mch.mchid).headers


def test_unknown_addresses_and_methods(mch: Any) -> None:
    assert mch.ask("GET", "/v3/pay/nothing").status == 404
    answer = mch.ask("GET", NATIVE)
    assert (answer.status, answer.json["code"]) == (405, "RESOURCE_NOT_EXISTS")


def test_a_number_with_special_letters_is_verified_as_it_was_encoded(far: Any, mch: Any) -> None:
    number = "A|b*c-1_"
    assert mch.ask("POST", NATIVE, order(mch, out_trade_no=number)).status == 200
    for path in (quote(number, safe=""), "A%7cb*c-1_"):
        answer = mch.ask("GET", f"/v3/pay/transactions/out-trade-no/{path}?mchid={mch.mchid}")
        assert answer.json["out_trade_no"] == number


def at(**delta: float) -> str:
    return (datetime.now(timing.BEIJING) + timedelta(**delta)).isoformat(timespec="seconds")


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"description": None}, "/description"),
        ({"description": "x" * 128}, "/description"),
        ({"description": "coffee 😀"}, "/description"),
        ({"description": 7}, "/description"),
        ({"appid": None}, "/appid"),
        ({"mchid": None}, "/mchid"),
        ({"out_trade_no": "T1"}, "/out_trade_no"),
        ({"out_trade_no": "T" * 33}, "/out_trade_no"),
        ({"out_trade_no": "T00001."}, "/out_trade_no"),
        ({"notify_url": None}, "/notify_url"),
        ({"notify_url": "https://shop.test/cb?x=1"}, "/notify_url"),
        ({"notify_url": "shop.test/cb"}, "/notify_url"),
        ({"amount": None}, "/amount/total"),
        ({"amount": 100}, "/amount"),
        ({"amount": {"total": 0}}, "/amount/total"),
        ({"amount": {"total": "100"}}, "/amount/total"),
        ({"amount": {"total": 1.0}}, "/amount/total"),
        ({"amount": {"total": True}}, "/amount/total"),
        ({"amount": {"total": 100, "currency": "USD"}}, "/amount/currency"),
        ({"attach": "x" * 129}, "/attach"),
        ({"time_expire": "2024-01-15 10:00:00"}, "/time_expire"),
        ({"time_expire": "2024-13-15T10:00:00+08:00"}, "/time_expire"),
        ({"time_expire": "2024-01-15T10:00:00+08:00"}, "/time_expire"),
        ({"time_expire": at(seconds=30)}, "/time_expire"),
        ({"time_expire": at(days=8)}, "/time_expire"),
        ({"payer": {"openid": "oWrong"}}, "/payer/openid"),
        ({"detail": []}, "/detail"),
        ({"support_fapiao": "yes"}, "/support_fapiao"),
    ],
)
def test_a_bad_parameter_is_named(far: Any, mch: Any, other: dict[str, Any], field: str) -> None:
    answer = mch.ask("POST", NATIVE, order(mch, **other))
    assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    assert (answer.json["detail"]["field"], answer.json["detail"]["location"]) == (field, "body")
    assert far.get("/control/trades").json["data"] == []


@pytest.mark.parametrize("body", ["[1]", "{", "null", '{"a":' * 5000, '"text"'])
def test_a_body_that_is_no_object_is_refused(mch: Any, body: str) -> None:
    assert mch.ask("POST", NATIVE, body).json["code"] == "PARAM_ERROR"


def test_each_product_demands_its_own(mch: Any) -> None:
    jsapi = mch.ask("POST", "/v3/pay/transactions/jsapi", order(mch))
    assert jsapi.json["detail"]["field"] == "/payer/openid"
    path = "/v3/pay/transactions/h5"
    assert mch.ask("POST", path, order(mch)).json["detail"]["field"] == "/scene_info/payer_client_ip"
    scene = {"payer_client_ip": "127.0.0.1", "h5_info": {"type": "Desktop"}}
    assert (
        mch.ask("POST", path, order(mch, scene_info=scene)).json["detail"]["field"]
        == "/scene_info/h5_info/type"
    )
    assert mch.ask("POST", "/v3/pay/transactions/app", order(mch, time_expire=at(days=14))).status == 200


def test_a_second_appid_may_be_bound_to_the_merchant(far: Any, app_key: Any) -> None:
    mch = wechat.join(far, app_key, mobile_appid="wx00112233445566aa")
    mobile = order(mch, appid="wx00112233445566aa")
    assert mch.ask("POST", "/v3/pay/transactions/app", mobile).status == 200
    other = order(mch, appid="wx00112233445566ab", out_trade_no="T00002")
    assert mch.ask("POST", NATIVE, other).json["code"] == "APPID_MCHID_NOT_MATCH"


def test_other_peoples_names_are_refused(far: Any, mch: Any, app_key: Any) -> None:
    other = wechat.join(far, app_key, mchid="1900000009")
    mch.pay("T00001")
    far.act("T00001", "pay")
    mch.refund("T00001", "R1", 1)
    transaction_id = mch.query("T00001")[1]["transaction_id"]

    def code(target: str, body: Any = None) -> Any:
        return other.ask("GET" if body is None else "POST", target, body).json["code"]

    assert code(NATIVE, order(other, appid=mch.facts["appid"])) == "APPID_MCHID_NOT_MATCH"
    assert code(NATIVE, order(other, mchid=mch.mchid)) == "NO_AUTH"
    assert code(NATIVE, order(other, mchid="1900000000")) == "MCH_NOT_EXISTS"
    assert code(QUERY + mch.mchid) == "NO_AUTH"
    assert code(QUERY + other.mchid) == "ORDER_NOT_EXIST"
    assert code(QUERY) == "PARAM_ERROR"
    assert code(f"/v3/pay/transactions/id/{transaction_id}?mchid={other.mchid}") == "ORDER_NOT_EXIST"
    assert code("/v3/pay/transactions/out-trade-no/T00001/close", {"mchid": other.mchid}) == "ORDER_NOT_EXIST"
    assert code("/v3/refund/domestic/refunds/R1") == "RESOURCE_NOT_EXISTS"
    amount = {"refund": 1, "total": 1000, "currency": "CNY"}
    body = {"out_trade_no": "T00001", "out_refund_no": "R2", "amount": amount}
    assert code("/v3/refund/domestic/refunds", body) == "RESOURCE_NOT_EXISTS"


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"out_refund_no": None}, "/out_refund_no"),
        ({"out_refund_no": "R#"}, "/out_refund_no"),
        ({"out_trade_no": None}, "/transaction_id"),
        ({"amount": {"refund": 1, "total": 1000}}, "/amount/currency"),
        ({"amount": {"refund": 0, "total": 1000, "currency": "CNY"}}, "/amount/refund"),
        ({"amount": {"refund": 1, "currency": "CNY"}}, "/amount/total"),
        ({"reason": "x" * 81}, "/reason"),
        ({"funds_account": "ELSE"}, "/funds_account"),
        ({"notify_url": "https://shop.test/?a=1"}, "/notify_url"),
    ],
)
def test_a_refunds_bad_parameter_is_named(far: Any, mch: Any, other: dict[str, Any], field: str) -> None:
    mch.pay("T00001")
    far.act("T00001", "pay")
    body = {
        "out_trade_no": "T00001",
        "out_refund_no": "R1",
        "amount": {"refund": 1, "total": 1000, "currency": "CNY"},
        **other,
    }
    given = {name: value for name, value in body.items() if value is not None}
    answer = mch.ask("POST", "/v3/refund/domestic/refunds", given)
    assert (answer.status, answer.json["detail"]["field"]) == (400, field)
    assert far.trade("T00001")["refunds"] == []


def test_a_paid_order_gives_at_most_fifty_refunds_and_none_after_its_year(far: Any, mch: Any) -> None:
    mch.pay("T00001")
    far.act("T00001", "pay")
    assert [mch.refund("T00001", f"R{turn}", 1)[0] for turn in range(51)] == [200] * 50 + [400]
    mch.pay("T00002")
    far.act("T00002", "pay")
    far.act("T00002", "finish")
    assert mch.state("T00002") == "SUCCESS"
    assert mch.refund("T00002", "S1", 1)[1]["code"] == "INVALID_REQUEST"


def test_an_order_that_nobody_opened_closes_on_time(far: Any, mch: Any) -> None:
    mch.pay("T00001", time_expire=at(minutes=5))
    mch.pay("T00002", time_expire=at(minutes=5))
    far.act("T00002", "open")
    with far.box.store.write() as db:
        db.execute("UPDATE trades SET expires_ts = created_ts - 1")
    assert [mch.state("T00001"), mch.state("T00002")] == ["CLOSED", "CLOSED"]
    assert far.trade("T00002")["notifications"] == []
    assert far.act("T00001", "pay").status == 409


def test_a_code_dies_after_two_hours_and_ordering_again_revives_it(far: Any, mch: Any) -> None:
    code = mch.pay("T00001")[1]["code_url"]
    prepay_id = mch.pay("T00002", kind="app")[1]["prepay_id"]
    with far.box.store.write() as db:
        db.execute("UPDATE trades SET code_expires_ts = created_ts - 1")
        db.execute("UPDATE tickets SET made_ts = made_ts - 7201")
    assert far.act("T00001", "pay").json["error"]["code"] == "expired_code"
    assert mch.state("T00001") == "NOTPAY"
    assert mch.pay("T00001")[1]["code_url"] == code
    assert far.act("T00001", "pay").status == 200
    assert mch.pay("T00002", kind="app")[1]["prepay_id"] != prepay_id


def test_what_is_no_code_of_ours_cannot_be_scanned(far: Any, mch: Any) -> None:
    assert far.get("/control/wechatpay/scan?code_url=weixin%3A%2F%2Fwxpay%2Fbizpayurl%3Fpr%3Dx").status == 404
    assert far.get("/control/wechatpay/scan").status == 404
    mch.pay("T00001", kind="app")
    code = far.trade("T00001")["qr_code"].rpartition("/")[2]
    assert far.get(f"/control/wechatpay/scan?code_url={code}").status == 404


def test_names_of_keys_and_serials() -> None:
    assert keys.key_id("1900000001", 1) == "PUB_KEY_ID_0119000000012024000000000001"
    assert keys.serial_of(KEYS["wx_platform.crt"]) == "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"


def test_an_error_without_a_status_of_its_own_is_a_bad_request() -> None:
    assert Refusal("SOMETHING_NEW").status == 400
    assert Refusal("NOT_ENOUGH").status == 403


@pytest.mark.parametrize(
    "spelt", [str, lambda number: number.zfill(40), lambda number: number.lstrip("0").lower()]
)
def test_a_certificates_number_is_known_with_and_without_its_leading_zeros(
    far: Any, app_key: Any, spelt: Any
) -> None:
    """One in 130 random numbers begins with a zero byte."""
    subject = keys._subject("1900000009")
    issuer = rsakeys.Issuer(subject, app_key)
    cert = rsakeys.certificate(subject, app_key.public_key(), issuer, serial=0x0ABC)
    mch = wechat.join(far, app_key, cert=cert, mchid="1900000009")
    mch.facts["merchant_serial"] = spelt(mch.facts["merchant_serial"])
    assert mch.ask("POST", NATIVE, order(mch)).status == 200
    mch.facts["merchant_serial"] = "1ABC"
    assert mch.ask("POST", NATIVE, order(mch)).status == 401
