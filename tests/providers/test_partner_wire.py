"""What a service provider's calls say, verb by verb, and whose answers and news are believed.

The keys are the provider's own in every case here, so nothing is refused for its signature: what tells
the merchants of one provider apart is their numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from app import clock
from app.errors import ProviderUnreachable, SignatureMismatch
from app.providers.alipay import Alipay
from app.providers.base import (
    AppParams,
    CallBridge,
    HttpAnswer,
    Inbound,
    Outcome,
    PaymentRef,
    Redirect,
    Scene,
)
from app.providers.wechatpay import WechatPay
from tests.providers import alipay_forge, wechatpay_forge
from tests.providers.alipay_forge import AUTHORISED, AuthorisedForge, sent_params, verified_params
from tests.providers.contract import DAY, NOW, PRICE, REF, REFUND, STATEMENT, Wire, code_order, order
from tests.providers.wechatpay_forge import (
    APPID,
    MCHID,
    SUB_APPID,
    SUB_MCHID,
    SubMerchantForge,
    as_partner,
    checked,
    payment_notice,
    refund_notice,
    refund_notice_fields,
    transaction,
)

UNASKED = PaymentRef(REF.out_trade_no, NOW)
BASE = "/v3/pay/partner/transactions"
SELLER = {"sp_appid": APPID, "sp_mchid": MCHID, "sub_mchid": SUB_MCHID}
OWNER = {"sp_mchid": MCHID, "sub_mchid": SUB_MCHID}
IN_QUERY = f"sp_mchid={MCHID}&sub_mchid={SUB_MCHID}"
OUT, BACK = REF.out_trade_no, REFUND.out_refund_no
FAR = SubMerchantForge(wechatpay_forge.SUB_MERCHANT)

Act = Callable[[Any], object]
Answers = Callable[[], list[HttpAnswer]]  # made when they are wanted: a signature has a time


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def _started(scene: Scene) -> tuple[Act, Answers]:
    return lambda adapter: adapter.start(order(scene)), lambda: FAR.started(order(scene))


CODE = code_order(FAR)
# What is done and answered; the address called; who it names in the body, if it has one.
WECHAT_CALLS: dict[str, tuple[tuple[Act, Answers], str, dict[str, str] | None]] = {
    "native": (_started(Scene.DESKTOP), f"{BASE}/native", SELLER),
    "jsapi": (_started(Scene.WECHAT), f"{BASE}/jsapi", SELLER),
    "h5": (_started(Scene.MOBILE), f"{BASE}/h5", SELLER),
    "app": (_started(Scene.APP), f"{BASE}/app", SELLER),
    "codepay": (
        (lambda adapter: adapter.charge_code(CODE), lambda: FAR.coded(CODE, Outcome.SUCCEEDED)),
        f"{BASE}/codepay",
        SELLER,
    ),
    "reverse": (
        (lambda adapter: adapter.reverse(REF), lambda: FAR.reversed(REF)),
        f"{BASE}/out-trade-no/{OUT}/reverse",
        {"sp_appid": APPID, **OWNER},
    ),
    "query": (
        (lambda adapter: adapter.query(UNASKED), lambda: FAR.queried(UNASKED, Outcome.SUCCEEDED, PRICE)),
        f"{BASE}/out-trade-no/{OUT}?{IN_QUERY}",
        None,
    ),
    "close": (
        (lambda adapter: adapter.close(REF), lambda: FAR.closed(REF)),
        f"{BASE}/out-trade-no/{OUT}/close",
        OWNER,
    ),
    "refund": (
        (lambda adapter: adapter.refund(REFUND), lambda: FAR.refunded(REFUND, Outcome.SUCCEEDED)),
        "/v3/refund/domestic/refunds",
        {"sub_mchid": SUB_MCHID},
    ),
    "refund query": (
        (lambda adapter: adapter.query_refund(REFUND), lambda: FAR.refund_queried(REFUND, Outcome.SUCCEEDED)),
        f"/v3/refund/domestic/refunds/{BACK}?sub_mchid={SUB_MCHID}",
        None,
    ),
    "bill": (
        (lambda adapter: adapter.fetch_bill(DAY), lambda: FAR.statement(DAY, STATEMENT)),
        f"/v3/bill/tradebill?bill_date={DAY}&bill_type=ALL&sub_mchid={SUB_MCHID}&tar_type=GZIP",
        None,
    ),
}


@pytest.mark.parametrize("call", WECHAT_CALLS)
def test_every_call_to_wechat_is_the_providers_and_names_who_is_paid(call: str) -> None:
    (act, answers), address, parties = WECHAT_CALLS[call]
    wire = Wire()
    wire.gives(*answers())
    act(WechatPay(wechatpay_forge.SUB_MERCHANT, wire))
    assert wire.sent[0].url == f"{wechatpay_forge.API}{address}"
    said = checked(wire.sent[0])  # signed under the provider's own number
    named = {
        name: text for name, text in said.items() if name in ("appid", "mchid") or name[:3] in ("sp_", "sub")
    }
    assert named == (parties or {})


@pytest.mark.parametrize(
    ("sub_appid", "names"),
    [("", {"sp_openid": "payer-0001"}), (SUB_APPID, {"sub_openid": "payer-0001"})],
)
def test_the_payer_is_known_to_the_account_that_the_sheet_opens_under(
    sub_appid: str, names: dict[str, str]
) -> None:
    wire = Wire()
    adapter = WechatPay({**wechatpay_forge.SUB_MERCHANT, "sub_appid": sub_appid}, wire)
    wire.gives(*FAR.started(order(Scene.WECHAT)), *FAR.started(order(Scene.APP)))
    sheet, app = adapter.start(order(Scene.WECHAT)), adapter.start(order(Scene.APP))
    said = checked(wire.sent[0])
    assert (said["payer"], said.get("sub_appid", "")) == (names, sub_appid)
    assert isinstance(sheet, CallBridge)
    assert sheet.params["appId"] == (sub_appid or APPID)
    assert isinstance(app, AppParams)
    assert (app.params["appid"], app.params["partnerid"]) == (sub_appid or APPID, SUB_MCHID)


# One thing wrong each; what is None is left out.  Beside them: what a provider's own, direct payment says.
STRANGERS: dict[str, dict[str, Any]] = {
    "another sub-merchant": {"sub_mchid": "1600000110"},
    "no sub-merchant": {"sub_mchid": None},
    "an empty sub-merchant": {"sub_mchid": ""},
    "a sub-merchant that is a list": {"sub_mchid": [SUB_MCHID]},
    "another service provider": {"sp_mchid": "1900000110"},
    "no service provider": {"sp_mchid": None},
    "the two exchanged": {"sp_mchid": SUB_MCHID, "sub_mchid": MCHID},
    "the provider for itself": {"sp_mchid": None, "sub_mchid": None, "mchid": MCHID},
    "the sub-merchant for itself": {"sp_mchid": None, "sub_mchid": None, "mchid": SUB_MCHID},
}
APP_STRANGERS: dict[str, dict[str, Any]] = {
    "another application": {"sp_appid": "wx0000000000000000"},
    "no application": {"sp_appid": None},
    "another sub-merchant's application": {"sub_appid": "wx0000000000000000"},
}


def _odd(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**as_partner(fields), **changes}.items() if value is not None}


def _paid(changes: dict[str, Any]) -> dict[str, Any]:
    return _odd(transaction(OUT, "SUCCESS", PRICE), changes)


@pytest.mark.parametrize("which", STRANGERS | APP_STRANGERS)
def test_no_answer_and_no_news_of_anybody_elses_payment_is_believed(which: str) -> None:
    changes = (STRANGERS | APP_STRANGERS)[which]
    wire = Wire()
    adapter = WechatPay(wechatpay_forge.SUB_MERCHANT, wire)
    wire.gives(*[wechatpay_forge.answer(_paid(changes))] * 2)
    with pytest.raises(ProviderUnreachable):
        adapter.query(UNASKED)
    with pytest.raises(ProviderUnreachable):
        adapter.charge_code(CODE)
    with pytest.raises(SignatureMismatch):
        adapter.read_callback(payment_notice(_paid(changes)))


@pytest.mark.parametrize("which", STRANGERS)
def test_no_news_of_anybody_elses_refund_is_believed(which: str) -> None:
    news = _odd(refund_notice_fields(REFUND, "SUCCESS"), STRANGERS[which])
    with pytest.raises(SignatureMismatch):
        WechatPay(wechatpay_forge.SUB_MERCHANT, Wire()).read_callback(refund_notice(news))


def test_a_sub_merchants_news_are_none_of_the_providers_own_account() -> None:
    provider = WechatPay(wechatpay_forge.BOTH_MODES, Wire())
    for more in ({}, {"appid": APPID, "mchid": MCHID}):
        news: list[Inbound] = [
            payment_notice(_paid(more)),
            refund_notice(_odd(refund_notice_fields(REFUND, "SUCCESS"), more)),
        ]
        for each in news:
            with pytest.raises(SignatureMismatch):
                provider.read_callback(each)


# Alipay


def _alipay(wire: Wire, **more: str) -> Alipay:
    return Alipay({**AuthorisedForge.settings, **more}, wire)


ALI = AuthorisedForge()
ALI_CODE = code_order(ALI)
TRADES: dict[str, tuple[Act, Answers]] = {
    "alipay.trade.precreate": (
        lambda adapter: adapter.start(order(Scene.DESKTOP)),
        lambda: ALI.started(order(Scene.DESKTOP)),
    ),
    "alipay.trade.pay": (
        lambda adapter: adapter.charge_code(ALI_CODE),
        lambda: ALI.coded(ALI_CODE, Outcome.SUCCEEDED),
    ),
    "alipay.trade.query": (
        lambda adapter: adapter.query(REF),
        lambda: ALI.queried(REF, Outcome.SUCCEEDED, PRICE),
    ),
    "alipay.trade.close": (lambda adapter: adapter.close(REF), lambda: ALI.closed(REF)),
    "alipay.trade.cancel": (lambda adapter: adapter.reverse(REF), lambda: ALI.reversed(REF)),
    "alipay.trade.refund": (
        lambda adapter: adapter.refund(REFUND),
        lambda: ALI.refunded(REFUND, Outcome.SUCCEEDED),
    ),
    "alipay.trade.fastpay.refund.query": (
        lambda adapter: adapter.query_refund(REFUND),
        lambda: ALI.refund_queried(REFUND, Outcome.SUCCEEDED),
    ),
    "alipay.data.dataservice.bill.downloadurl.query": (
        lambda adapter: adapter.fetch_bill(DAY),
        lambda: ALI.statement(DAY, STATEMENT),
    ),
    "alipay.system.oauth.token": (
        lambda adapter: adapter.payer_from({"auth_code": "4b203fe6c11548bcabd8da5bb087a83b"}),
        lambda: [
            alipay_forge.envelope(
                "alipay.system.oauth.token",
                {"access_token": "a", "user_id": "2088101117955611", "expires_in": "3600"},
            )
        ],
    ),
}


@pytest.mark.parametrize("method", TRADES)
def test_every_call_to_alipay_carries_the_merchants_token_under_the_signature(method: str) -> None:
    act, answers = TRADES[method]
    wire = Wire()
    wire.gives(*answers())
    act(_alipay(wire))
    params = verified_params(sent_params(wire))
    assert (params["method"], params["app_id"]) == (method, alipay_forge.APP_ID)
    assert params["app_auth_token"] == AUTHORISED["app_auth_token"]


@pytest.mark.parametrize("scene", [Scene.MOBILE, Scene.APP])
def test_what_a_browser_or_an_app_takes_to_alipay_carries_it_too(scene: Scene) -> None:
    step = _alipay(Wire()).start(order(scene))
    assert isinstance(step, (Redirect, AppParams))
    text = urlsplit(step.url).query if isinstance(step, Redirect) else step.params["order_string"]
    params = dict(parse_qsl(text))
    assert verified_params(params)["app_auth_token"] == AUTHORISED["app_auth_token"]


@pytest.mark.parametrize(
    "whose",
    [
        {"seller_id": "2088000000000009", "auth_app_id": "2021000000000099"},
        {"seller_id": "2088000000000009"},
        {"seller_id": ""},
        {"seller_id": alipay_forge.SELLER_ID, "auth_app_id": alipay_forge.APP_ID},
        {"app_id": "2021000000000098"},
        {"app_id": "2021000000000009"},
    ],
    ids=[
        "another merchant",
        "another seller",
        "no seller",
        "the provider for itself",
        "the merchant's own application",
        "another provider",
    ],
)
def test_news_of_another_merchant_of_the_application_are_refused(whose: dict[str, str]) -> None:
    paid = alipay_forge.notice_fields(OUT, "TRADE_SUCCESS", PRICE, gmt_payment="2024-01-15 10:00:30")
    for fields in (paid, alipay_forge.refund_notice_fields(REFUND)):
        told = {**fields, **alipay_forge.TOLD}
        assert _alipay(Wire()).read_callback(alipay_forge.notice(told)).out_trade_no == OUT
        with pytest.raises(SignatureMismatch):
            _alipay(Wire()).read_callback(alipay_forge.notice({**told, **whose}))


def test_news_of_a_merchant_that_authorised_it_are_none_of_the_applications_own_account() -> None:
    """Even where its seller's number was left out: the merchant's application tells them apart."""
    fields = alipay_forge.notice_fields(OUT, "TRADE_SUCCESS", PRICE, gmt_payment="2024-01-15 10:00:30")
    provider = Alipay(alipay_forge.SETTINGS, Wire())
    assert provider.read_callback(alipay_forge.notice(fields)).outcome is Outcome.SUCCEEDED
    with pytest.raises(SignatureMismatch):
        provider.read_callback(alipay_forge.notice({**fields, **alipay_forge.TOLD}))


def test_the_bill_of_another_merchant_of_the_application_is_not_taken() -> None:
    adapter = _alipay(Wire(), seller_id="2088000000000009")
    file = ALI.statement(DAY, STATEMENT)[1].body
    with pytest.raises(ProviderUnreachable, match="another seller"):
        list(adapter.read_bill(file, DAY))
