"""Alipay's round trip for a payer, and trades that are made for that payer alone."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.sandbox.test_alipay_gateway import ask, precreate, signed

WALLET = (
    "Mozilla/5.0 (Linux; Android 14) Mobile Safari/537.36 AliApp(AP/10.6.20.8000) AlipayClient/10.6.20.8000"
)
TOKEN = "alipay.system.oauth.token"
CREATE = "alipay.trade.create"


def authorize(far: Any, app_id: str, agent: str = WALLET, **changes: str) -> Any:
    fields = {"scope": "auth_base", "redirect_uri": "http://shop.test/C/T?x=1#top", "state": "abc123"}
    query = urlencode({"app_id": app_id, **fields, **changes}, quote_via=quote)
    return far.get(f"/oauth2/publicAppAuthorize.htm?{query}", **{"User-Agent": agent})


def exchange(far: Any, merchant: Any, code: str, **params: str) -> dict[str, Any]:
    """The answer, whole."""
    fields = signed(merchant, TOKEN, **{"grant_type": "authorization_code", "code": code, **params})
    answer: dict[str, Any] = far.get(f"/gateway.do?{urlencode(fields)}").json
    return answer


def refusal(answer: dict[str, Any]) -> str:
    assert "alipay_system_oauth_token_response" not in answer
    assert answer["error_response"]["code"] == "40002"
    return str(answer["error_response"]["sub_code"])


@pytest.fixture
def code(far: Any, merchant: Any, sandbox_tools: Any) -> str:
    return str(sandbox_tools.query_of(authorize(far, merchant.app_id).headers["location"])["auth_code"])


def test_the_shopper_comes_back_with_a_code_and_the_state(
    far: Any, merchant: Any, sandbox_tools: Any
) -> None:
    sent = authorize(far, merchant.app_id)
    assert sent.status == 302
    assert sent.headers["location"].startswith("http://shop.test/C/T?x=1&app_id=")
    assert sent.headers["location"].endswith("#top")
    fields = sandbox_tools.query_of(sent.headers["location"].removesuffix("#top"))
    assert len(fields.pop("auth_code")) == 32
    assert fields == {
        "x": "1",
        "app_id": merchant.app_id,
        "source": "alipay_wallet",
        "scope": "auth_base",
        "state": "abc123",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"},
        {"scope": ""},
        {"scope": "auth_base,everything"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": ""},
        {"state": "x" * 257},
    ],
)
def test_the_page_opens_only_in_the_app_and_for_what_alipay_knows(
    far: Any, merchant: Any, changes: dict[str, str]
) -> None:
    assert authorize(far, merchant.app_id, **changes).status == 200
    assert authorize(far, "9021000000000000").status == 200


def test_a_code_names_the_shopper_once_in_an_answer_without_a_code_of_its_own(
    far: Any, merchant: Any, code: str
) -> None:
    answer = exchange(far, merchant, code)
    node = answer["alipay_system_oauth_token_response"]
    assert node["user_id"] == merchant.facts["buyer_id"]
    assert not {"code", "msg", "open_id"} & set(node)
    raw = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    assert merchant.client._verify_and_return_sync_response(raw, "alipay_system_oauth_token_response") == node
    assert refusal(exchange(far, merchant, code)) == "isv.code-invalid"


def test_an_app_that_was_switched_over_hears_an_open_id_and_no_user_id(
    far: Any, app_key: Any, shop: Any, sandbox_tools: Any
) -> None:
    merchant = sandbox_tools.register(far, app_key, payer="open_id")
    assert "buyer_id" not in merchant.facts
    back = sandbox_tools.query_of(authorize(far, merchant.app_id).headers["location"])
    node = exchange(far, merchant, back["auth_code"])["alipay_system_oauth_token_response"]
    assert node["open_id"] == merchant.facts["buyer_open_id"]
    assert "user_id" not in node

    named = {"buyer_open_id": node["open_id"], "op_app_id": merchant.app_id, "product_code": "JSAPI_PAY"}
    made = ask(far, signed(merchant, CREATE, precreate(**named), notify_url=shop.url))
    assert made["code"] == "10000"
    assert far.post("/control/alipay/jsapi_pay", {"tradeNO": made["trade_no"]}).json["resultCode"] == "9000"
    asked = ask(far, signed(merchant, "alipay.trade.query", {"out_trade_no": "T1"}))
    heard = shop.wait(1)[0]
    assert asked["buyer_open_id"] == heard["buyer_open_id"] == node["open_id"]
    assert not {"buyer_user_id", "buyer_id"} & {*asked, *heard}


def test_a_known_app_can_be_switched_over_and_back(far: Any, merchant: Any, sandbox_tools: Any) -> None:
    again = sandbox_tools.register(far, merchant.key, payer="open_id").facts
    assert (again["app_id"], again["payer"]) == (merchant.app_id, "open_id")
    assert sandbox_tools.register(far, merchant.key).facts == again
    assert sandbox_tools.register(far, merchant.key, payer="user_id").facts == merchant.facts
    wrong = {"mode": "key", "public_key": merchant.facts["app_public_key"], "payer": "name"}
    assert far.post("/control/alipay/apps", wrong).status == 400


def test_a_code_is_exchanged_only_by_its_own_app_and_only_for_a_day(
    far: Any, merchant: Any, cert_merchant: Any, code: str
) -> None:
    numbers = {name: cert_merchant.facts[name] for name in ("app_cert_sn", "alipay_root_cert_sn")}
    assert refusal(exchange(far, cert_merchant, code, **numbers)) == "isv.unmatched-app-id"
    assert refusal(exchange(far, merchant, code, grant_type="refresh_token")) == "isv.grant-type-invalid"
    assert refusal(exchange(far, merchant, "0" * 32)) == "isv.code-invalid"
    with far.box.store.write() as db:
        db.execute("UPDATE tickets SET made_ts = made_ts - 86401")
    assert refusal(exchange(far, merchant, code)) == "isv.code-invalid"


@pytest.mark.parametrize(
    ("wrong", "sub_code"),
    [
        ({}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_id": "2088000000000001"}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_open_id": "0nobody"}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_id": "own", "buyer_open_id": "0nobody"}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_id": "own", "op_app_id": "2021000000000001"}, "ACQ.INVALID_PARAMETER"),
        ({"op_buyer_open_id": "own"}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_id": "seller"}, "ACQ.BUYER_SELLER_EQUAL"),
    ],
)
def test_a_trade_is_made_only_for_a_buyer_that_there_is(
    far: Any, merchant: Any, wrong: dict[str, str], sub_code: str
) -> None:
    known = {"own": merchant.facts["buyer_id"], "seller": merchant.facts["seller_id"]}
    named = {name: known.get(text, text) for name, text in wrong.items()}
    assert ask(far, signed(merchant, CREATE, precreate(**named)))["sub_code"] == sub_code
    assert far.get("/control/trades").json["data"] == []
