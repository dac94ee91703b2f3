"""The gateway's own refusals, in Alipay's words, and every transport over HTTP."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def signed(merchant: Any, method: str, biz: dict[str, Any] | str = "", **params: Any) -> dict[str, str]:
    """A request signed by hand, so that each part of it can be wrong.  None leaves a parameter out."""
    beijing = datetime.now(UTC) + timedelta(hours=8)
    fields: dict[str, Any] = {
        "app_id": merchant.app_id,
        "method": method,
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": f"{beijing:%Y-%m-%d %H:%M:%S}",
        "version": "1.0",
        "biz_content": biz if isinstance(biz, str) else json.dumps(biz),
    }
    fields |= params
    kept = {name: value for name, value in fields.items() if value is not None}
    text = "&".join(f"{name}={kept[name]}" for name in sorted(kept) if kept[name] and name != "sign")
    signature = merchant.key.sign(
        text.encode(kept.get("charset") or "utf-8"), padding.PKCS1v15(), hashes.SHA256()
    )
    return {"sign": base64.b64encode(signature).decode(), **kept}


def ask(far: Any, fields: dict[str, str]) -> dict[str, Any]:
    answer = far.get(f"/gateway.do?{urlencode(fields)}")
    assert answer.status == 200
    node: dict[str, Any] = next(iter(answer.json.values()))
    return node


def precreate(number: str = "T1", **more: Any) -> dict[str, Any]:
    return {"out_trade_no": number, "total_amount": "1.00", "subject": "s", **more}


PRECREATE = "alipay.trade.precreate"
QUERY = "alipay.trade.query"


@pytest.mark.parametrize(
    ("wrong", "code", "sub_code"),
    [
        ({"app_id": None}, "40001", "isv.missing-app-id"),
        ({"method": None}, "40001", "isv.missing-method"),
        ({"timestamp": None}, "40001", "isv.missing-timestamp"),
        ({"version": None}, "40001", "isv.missing-version"),
        ({"sign_type": None}, "40001", "isv.missing-signature-type"),
        ({"sign": ""}, "40001", "isv.missing-signature"),
        ({"sign": "AAAA"}, "40002", "isv.invalid-signature"),
        ({"sign": "%%"}, "40002", "isv.invalid-signature"),
        ({"app_id": "9021000000000000"}, "40002", "isv.invalid-app-id"),
        ({"method": "alipay.no.such"}, "40002", "isv.invalid-method"),
        ({"sign_type": "RSA"}, "40002", "isv.invalid-signature-type"),
        ({"charset": "ebcdic-cp-us"}, "40002", "isv.invalid-charset"),
        ({"format": "XML"}, "40002", "isv.invalid-format"),
        ({"version": "2.0"}, "40002", "isv.invalid-version"),
        ({"timestamp": "yesterday"}, "40002", "isv.invalid-timestamp"),
        ({"timestamp": "2020-01-01 00:00:00"}, "40002", "isv.invalid-timestamp"),
        ({"app_auth_token": "x"}, "20001", "aop.invalid-app-auth-token"),
        ({"method": "alipay.trade.app.pay"}, "40006", "isv.insufficient-isv-permissions"),
        ({"biz_content": "{"}, "40002", "isv.invalid-parameter"),
    ],
)
def test_each_fault_has_its_own_words(
    far: Any, merchant: Any, wrong: dict[str, Any], code: str, sub_code: str
) -> None:
    fields = signed(merchant, PRECREATE, precreate())
    if "sign" in wrong:
        fields |= wrong
    else:
        try:
            fields = signed(
                merchant, **{"method": PRECREATE, "biz_content": json.dumps(precreate()), **wrong}
            )
        except (
            LookupError
        ):  # A charset that Python does not know is refused before its signature is looked at.
            fields |= wrong
    node = ask(far, fields)
    assert (node["code"], node["sub_code"]) == (code, sub_code)
    assert far.get("/control/trades").json["data"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"out_trade_no": ""},
        {"out_trade_no": "x" * 65},
        {"out_trade_no": "a-b"},
        {"out_trade_no": ["T1"]},
        {"total_amount": "0"},
        {"total_amount": "0.001"},
        {"total_amount": "-1"},
        {"total_amount": "1e3"},
        {"total_amount": "１"},
        {"total_amount": "100000000.01"},
        {"subject": ""},
        {"subject": "x" * 257},
        {"product_code": "QUICK_WAP_WAY"},
        {"seller_id": "2088000000000000"},
        {"timeout_express": "1.5h"},
        {"timeout_express": "16d"},
        {"time_expire": "soon"},
        {"time_expire": "2020-01-01 00:00:00"},
    ],
)
def test_fields_that_alipay_would_not_take_are_refused(
    far: Any, merchant: Any, wrong: dict[str, Any]
) -> None:
    node = ask(far, signed(merchant, PRECREATE, precreate() | wrong))
    assert (node["code"], node["sub_code"]) == ("40004", "ACQ.INVALID_PARAMETER")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://x/", "http://", "x" * 257])
def test_addresses_are_http(far: Any, merchant: Any, url: str) -> None:
    assert (
        ask(far, signed(merchant, PRECREATE, precreate(), notify_url=url))["sub_code"]
        == "ACQ.INVALID_PARAMETER"
    )


@pytest.mark.parametrize("amount", ["0.01", "100000000", "100000000.00", "0.1"])
def test_amounts_from_one_fen_to_the_cap_are_taken(far: Any, merchant: Any, amount: str) -> None:
    assert ask(far, signed(merchant, PRECREATE, precreate(total_amount=amount)))["code"] == "10000"


def test_every_transport_is_understood(far: Any, merchant: Any) -> None:
    fields = signed(merchant, QUERY, {"out_trade_no": "T1"}, alipay_sdk="an-sdk-of-your-own")
    biz = {"biz_content": fields.pop("biz_content")}
    both = f"/gateway.do?{urlencode(fields)}"
    answers = [
        far.get(f"{both}&{urlencode(biz)}"),
        far.ask("POST", both, urlencode(biz).encode(), FORM),
        far.ask("POST", "/gateway.do", urlencode(fields | biz).encode(), FORM),
        far.ask("POST", "/gateway.do", urlencode(fields | biz, quote_via=quote).encode(), FORM),
    ]
    assert {answer.body for answer in answers} == {answers[0].body}
    assert answers[0].headers["content-type"] == "text/html;charset=utf-8"
    assert "ACQ.TRADE_NOT_EXIST" in answers[0].text


def test_gbk_goes_in_and_comes_out(far: Any, merchant: Any, shop: Any) -> None:
    biz = json.dumps(precreate(subject="测试商品"), ensure_ascii=False)
    fields = signed(merchant, PRECREATE, biz, charset="GBK", notify_url=shop.url)
    answer = far.ask("POST", "/gateway.do", urlencode(fields, encoding="gbk").encode(), FORM)
    assert answer.headers["content-type"] == "text/html;charset=gbk"
    far.act("T1", "pay")
    assert shop.wait(1)[0]["subject"] == "测试商品"
    assert shop.heard[0]["charset"] == "GBK"


def test_slashes_leave_escaped_and_are_signed_so(far: Any, merchant: Any) -> None:
    answer = far.get(f"/gateway.do?{urlencode(signed(merchant, PRECREATE, precreate()))}")
    assert '"qr_code":"http:\\/\\/127.0.0.1' in answer.text


@pytest.mark.parametrize("missing", ["app_cert_sn", "alipay_root_cert_sn"])
def test_certificate_mode_asks_for_both_numbers(far: Any, cert_merchant: Any, missing: str) -> None:
    numbers = {name: cert_merchant.facts[name] for name in ("app_cert_sn", "alipay_root_cert_sn")}
    assert ask(far, signed(cert_merchant, PRECREATE, precreate(), **numbers))["code"] == "10000"
    less = {name: value for name, value in numbers.items() if name != missing}
    dashed = missing.replace("_", "-")
    assert ask(far, signed(cert_merchant, QUERY, {}, **less))["sub_code"] == f"isv.missing-{dashed}"
    wrong = numbers | {missing: "0" * 32}
    assert ask(far, signed(cert_merchant, QUERY, {}, **wrong))["sub_code"] == f"isv.invalid-{dashed}"


def test_a_browser_sees_why_its_order_was_refused(far: Any, merchant: Any) -> None:
    fields = signed(merchant, "alipay.trade.wap.pay", precreate()) | {"sign": "AAAA"}
    page = far.get(f"/gateway.do?{urlencode(fields)}&lang=en")
    assert page.status == 200
    assert "isv.invalid-signature" in page.text
    assert "Nothing was charged" in page.text


def test_time_runs_out(far: Any, merchant: Any) -> None:
    soon = datetime.now(UTC) + timedelta(hours=8, seconds=2)
    biz = precreate(time_expire=f"{soon:%Y-%m-%d %H:%M:%S}")
    ask(far, signed(merchant, "alipay.trade.create", {**biz, "buyer_id": merchant.facts["buyer_id"]}))
    ask(far, signed(merchant, PRECREATE, biz | {"out_trade_no": "T2"}))
    code = far.trade("T2")["qr_code"]
    wait = datetime.fromisoformat(f"{soon:%Y-%m-%dT%H:%M:%S}+08:00")
    while datetime.now(UTC) < wait:
        time.sleep(0.05)
    assert ask(far, signed(merchant, QUERY, {"out_trade_no": "T1"}))["trade_status"] == "TRADE_CLOSED"
    assert ask(far, signed(merchant, QUERY, {"out_trade_no": "T2"}))["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert far.get(code).status == 410


def test_a_codes_own_life_is_kept(far: Any, merchant: Any) -> None:
    ask(far, signed(merchant, PRECREATE, precreate(timeout_express="5m", qr_code_timeout_express="1h")))
    assert far.trade("T1")["expires_at"] is None
    far.act("T1", "open")
    trade = far.trade("T1")
    span = datetime.fromisoformat(trade["expires_at"]) - datetime.fromisoformat(trade["opened_at"])
    assert span == timedelta(minutes=5)
