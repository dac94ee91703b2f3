"""Inside Alipay's app: who pays, and a trade for exactly that payer."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.errors import InvalidRequest, ProviderRejected, ProviderUnreachable
from app.providers.alipay import Alipay
from app.providers.base import CallBridge, HttpAnswer, Redirect, Scene
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import SETTINGS, InAppForge, sent_params, verified_params
from tests.providers.contract import REF, Wire, order

METHOD = "alipay.system.oauth.token"
CODE = "4b203fe6c11548bcabd8da5bb087a83b"
USER_ID = "2088102150477652"
OPEN_ID = "099luGU2ef8yeC95sroZ9WGyuuGqL7qD-VLY8B1mtPqj4w9"
BACK = {"auth_code": CODE, "app_id": far.APP_ID, "scope": "auth_base", "state": "state0123456789"}


def token(key: Any = None, signature: str | None = None, node: str = "", **fields: Any) -> HttpAnswer:
    """A success of the exchange: it has neither ``code`` nor ``msg``."""
    held = {"access_token": "authbseB20", "expires_in": 1296000, "auth_start": "2024-01-15 10:00:00"}
    return far.envelope(METHOD, held | fields, key=key, signature=signature, node=node)


def no(sub_code: str = "isv.code-invalid", code: str = "40002", **sealing: Any) -> HttpAnswer:
    fields = {"code": code, "msg": "Invalid Arguments", "sub_code": sub_code, "sub_msg": "授权码code无效"}
    return far.envelope(METHOD, fields, **sealing)


# Sent away


def test_the_browser_is_sent_to_alipay_to_be_identified(in_app: Alipay) -> None:
    address = in_app.identify(Scene.ALIPAY, "https://pay.example/C/T?scene=alipay&x=%E4%BD%A0", "state0")
    assert address == (
        "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm"
        f"?app_id={far.APP_ID}&scope=auth_base"
        "&redirect_uri=https%3A%2F%2Fpay.example%2FC%2FT%3Fscene%3Dalipay%26x%3D%25E4%25BD%25A0&state=state0"
    )


def test_the_sandboxs_own_address_can_be_named(wire: Wire) -> None:
    sandbox = {"in_app_product": "jsapi", "auth_url": "https://openauth-sandbox.dl.alipaydev.com/"}
    address = Alipay({**SETTINGS, **sandbox}, wire).identify(Scene.ALIPAY, "https://pay.example/", "s")
    assert str(address).startswith("https://openauth-sandbox.dl.alipaydev.com/oauth2/publicAppAuthorize.htm?")


@pytest.mark.parametrize("scene", [Scene.DESKTOP, Scene.MOBILE, Scene.APP])
def test_elsewhere_nobody_needs_to_be_known(scene: Scene, in_app: Alipay) -> None:
    assert in_app.identify(scene, "https://pay.example/return", "state0123456789") is None


def test_alipays_own_cashier_asks_for_itself(alipay: Alipay) -> None:
    """Its contract is the commoner one, so it is what a merchant gets who chose nothing."""
    assert alipay.identify(Scene.ALIPAY, "https://pay.example/return", "state0123456789") is None


@pytest.mark.parametrize("state", ["", "a b", "a&b", "x" * 129, "状态", "a\n"])
def test_a_state_that_might_not_come_back_is_refused(state: str, in_app: Alipay) -> None:
    with pytest.raises(InvalidRequest):
        in_app.identify(Scene.ALIPAY, "https://pay.example/return", state)


# And back


@pytest.mark.parametrize(
    ("named", "payer_id"),
    [
        ({"user_id": USER_ID}, USER_ID),
        ({"user_id": USER_ID, "alipay_user_id": "20881007434917916336963360919773"}, USER_ID),
        ({"user_id": USER_ID, "open_id": OPEN_ID}, USER_ID),
        ({"open_id": OPEN_ID}, OPEN_ID),
        ({"open_id": OPEN_ID, "user_id": ""}, OPEN_ID),
    ],
)
def test_a_code_is_exchanged_for_the_payer(
    named: dict[str, str], payer_id: str, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(token(**named))
    assert alipay.payer_from(BACK) == payer_id
    params = verified_params(sent_params(wire))
    assert (params["method"], params["grant_type"], params["code"]) == (METHOD, "authorization_code", CODE)
    assert "biz_content" not in params
    assert wire.sent[0].body == b""


@pytest.mark.parametrize("code", [None, "", "x" * 129, "a&grant_type=refresh_token", "a b", "码", "a\n"])
def test_without_a_usable_code_nothing_is_asked(code: str | None, alipay: Alipay, wire: Wire) -> None:
    with pytest.raises(ProviderRejected):
        alipay.payer_from({"state": "s"} if code is None else {**BACK, "auth_code": code})
    assert not wire.sent


@pytest.mark.parametrize("node", ["", "error_response"])
@pytest.mark.parametrize("signature", [None, "", "AAAA"], ids=["signed", "unsigned", "badly signed"])
def test_a_refused_code_is_a_definite_no_whoever_says_so(
    node: str, signature: str | None, alipay: Alipay, wire: Wire
) -> None:
    """A false one costs the payer another round trip and moves no money."""
    wire.gives(no(node=node, signature=signature))
    with pytest.raises(ProviderRejected) as refused:
        alipay.payer_from(BACK)
    assert refused.value.provider_code == "isv.code-invalid"


@pytest.mark.parametrize(
    ("code", "sub_code"),
    [("20000", "isp.unknow-error"), ("40005", ""), ("40004", "ACQ.BRAND_NEW"), ("49999", ""), ("10000", "")],
)
def test_anything_else_means_not_now(
    code: str, sub_code: str, alipay: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.gives(no(sub_code, code))
    with caplog.at_level(logging.WARNING), pytest.raises(ProviderUnreachable):
        alipay.payer_from(BACK)
    assert ("unknown result code" in caplog.text) == (code in ("40004", "49999"))


@pytest.mark.parametrize(
    "answer",
    [
        token(user_id=USER_ID, signature=""),
        token(user_id=USER_ID, signature="AAAA"),
        token(user_id=USER_ID, key=far.private_key("app.pkcs8.pem")),
        token(),
        token(user_id="2088", open_id="two words"),
        token(user_id=USER_ID[:-1], open_id="x" * 129),
        ProviderUnreachable("timed out"),
        HttpAnswer(502, {}, b"<html>Bad Gateway</html>"),
    ],
    ids=["unsigned", "badly signed", "own key", "nobody", "no shape", "too long", "silence", "502"],
)
def test_only_a_signed_answer_names_a_payer(
    answer: HttpAnswer | Exception, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(answer)
    with pytest.raises(ProviderUnreachable):
        alipay.payer_from(BACK)


def test_the_code_and_the_payer_are_told_to_nobody(
    alipay: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.gives(no(), token(user_id=USER_ID))
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(ProviderRejected) as refused:
            alipay.payer_from(BACK)
        alipay.payer_from(BACK)
    said = f"{refused.value} {[vars(record) for record in caplog.records]}"
    assert CODE not in said
    assert USER_ID not in said


# Paid on a sheet of the app's own


@pytest.mark.parametrize(
    ("payer_id", "named"), [(USER_ID, {"buyer_id": USER_ID}), (OPEN_ID, {"buyer_open_id": OPEN_ID})]
)
def test_the_pay_sheet_is_opened_by_the_number_of_a_trade_for_this_payer(
    payer_id: str, named: dict[str, str], in_app: Alipay, wire: Wire
) -> None:
    asked = replace(order(Scene.ALIPAY), payer_id=payer_id)
    wire.gives(*InAppForge().started(asked))
    assert in_app.start(asked) == CallBridge("AlipayJSBridge", {"tradeNO": far.TRADE_NO})
    params = verified_params(sent_params(wire))
    assert params["method"] == "alipay.trade.create"
    assert params["notify_url"] == "https://pay.example/callbacks/pa_1"
    assert json.loads(params["biz_content"]) == {
        "op_app_id": far.APP_ID,
        "out_trade_no": REF.out_trade_no,
        "product_code": "JSAPI_PAY",
        "subject": "测试商品 A+B",
        "time_expire": "2024-01-15 10:15:00",
        "total_amount": "19.99",
        **named,
    }


@pytest.mark.parametrize("payer_id", [None, "", "two words", "a&b", "x" * 129])
def test_without_the_payer_no_trade_is_made(payer_id: str | None, in_app: Alipay, wire: Wire) -> None:
    with pytest.raises(ProviderRejected):
        in_app.start(replace(order(Scene.ALIPAY), payer_id=payer_id))
    assert not wire.sent


@pytest.mark.parametrize("fields", [{"trade_no": far.TRADE_NO}, {"out_trade_no": REF.out_trade_no}])
def test_a_trade_without_its_numbers_is_in_doubt(fields: dict[str, str], in_app: Alipay, wire: Wire) -> None:
    wire.gives(far.accepted("alipay.trade.create", **fields))
    with pytest.raises(ProviderUnreachable):
        in_app.start(order(Scene.ALIPAY))


def test_a_phones_browser_still_goes_to_the_cashier(in_app: Alipay, wire: Wire) -> None:
    step = in_app.start(order(Scene.MOBILE))
    assert isinstance(step, Redirect)
    assert dict(parse_qsl(urlsplit(step.url).query))["method"] == "alipay.trade.wap.pay"
    assert not wire.sent
