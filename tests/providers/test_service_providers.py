"""Service providers: their keys, another's money.  Adapters, sandbox and a stranger's client on a real wire.

Another sub-merchant of the same service provider is another merchant: neither asked about nor believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from wechatpayv3 import WeChatPay as StrangersClient
from wechatpayv3 import WeChatPayType
from wechatpayv3.core import Core

from app import clock
from app.errors import InvalidRequest, ProviderRejected, SignatureMismatch
from app.http import Client
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import (
    AppParams,
    CallBridge,
    CodeOrder,
    Outcome,
    PaymentOrder,
    PaymentRef,
    Redirect,
    RefundOrder,
    RefundResult,
    Scene,
    ShowQR,
)
from app.providers.wechatpay import WechatPay
from app.providers.wechatpay_parties import Parties
from app.providers.wechatpay_wire import Node
from tests.providers import alipay_forge, wechatpay_forge
from tests.providers.test_wechatpay_loopback import inbound
from tests.sandbox.conftest import Far
from tests.sandbox.wechat import Postbox, postbox

PRICE = Money(1999, "CNY")
SP = {"sp_appid": "wx_sp", "sp_mchid": "1900000001"}


@pytest.fixture(autouse=True)
def _stopped_clock() -> None:
    """Time goes on here: the far side has a clock of its own."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    far = Far(tmp_path_factory.mktemp("far"))
    yield far
    far.stop()


@pytest.fixture
def mail() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


@pytest.fixture
def fresh(far: Far) -> Iterator[Far]:
    yield far
    far.post("/control/reset", {"apps": True})


def wechatpay(far: Far, **sub: str) -> tuple[dict[str, Any], WechatPay]:
    """A service provider with a sub-merchant, and the adapter that takes money for that one."""
    facts = far.post("/control/wechatpay/merchants", {"cert": wechatpay_forge.KEYS["wx_mch.crt"]}).json
    made = far.post(f"/control/wechatpay/merchants/{facts['mchid']}/subs", sub)
    assert made.status == 201, made.text
    names = ("appid", "mchid", "merchant_cert", "public_key_id", "public_key", "app_secret")
    settings = {name: facts[name] for name in names} | {
        "private_key": wechatpay_forge.KEYS["wx_mch.pkcs8.pem"],
        "api_v3_key": facts["apiv3_key"],
        "sub_mchid": made.json["sub_mchid"],
        "sub_appid": made.json["sub_appid"],
        **dict.fromkeys(("api_url", "open_url", "sns_url"), far.url),
    }
    return facts | made.json, WechatPay(settings, Client())


def alipay(far: Far) -> tuple[dict[str, str], Alipay]:
    """An application that another merchant has authorised, and the adapter that takes money for that one."""
    app = far.post("/control/alipay/apps", {"public_key": alipay_forge.KEYS["app.pub.pem"]}).json
    token = far.post(f"/control/alipay/apps/{app['app_id']}/authorize", {}).json
    settings = {
        **{name: app[name] for name in ("app_id", "gateway_url", "alipay_public_key")},
        **{name: token[name] for name in ("app_auth_token", "seller_id")},
        "private_key": alipay_forge.KEYS["app.pkcs8.pem"],
    }
    return settings, Alipay(settings, Client())


def order(number: str, scene: Scene, notify_url: str, payer_id: str | None = None) -> PaymentOrder:
    now = clock.now().replace(microsecond=0)
    return PaymentOrder(
        ref=PaymentRef(number, now),
        amount=PRICE,
        description="测试商品",
        scene=scene,
        notify_url=notify_url,
        return_url="http://shop.test/C/TOKEN?back=1",
        expires_at=now + timedelta(minutes=15),
        payer_id=payer_id,
        payer_ip="127.0.0.1",
    )


def refund(asked: PaymentOrder, number: str, notify_url: str) -> RefundOrder:
    return RefundOrder(asked.ref, number, Money(500, "CNY"), PRICE, "退款", clock.now(), notify_url)


@pytest.mark.parametrize("sub_appid", ["", "wx00000000000000aa"])
def test_wechat_pays_a_sub_merchant_and_refunds_for_it(fresh: Far, mail: Postbox, sub_appid: str) -> None:
    facts, adapter = wechatpay(fresh, sub_appid=sub_appid)
    asked = order("SPLOOP0000000001", Scene.DESKTOP, mail.url)
    assert isinstance(adapter.start(asked), ShowQR)
    assert adapter.query(asked.ref).outcome is Outcome.PENDING
    fresh.act(asked.ref.out_trade_no, "pay")
    paid = adapter.query(asked.ref)
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, PRICE)
    assert adapter.query(replace(asked.ref, provider_ref=paid.provider_ref)) == paid
    assert adapter.read_callback(inbound(mail.wait(1)[0])) == paid

    back = refund(asked, "RSPLOOP000000001", mail.url)
    assert adapter.query_refund(back).is_absent
    adapter.refund(back)
    news = adapter.read_callback(inbound(mail.wait(2)[1]))
    assert isinstance(news, RefundResult)
    assert (news.outcome, news.amount) == (Outcome.SUCCEEDED, back.amount)
    assert adapter.query_refund(back).outcome is Outcome.SUCCEEDED

    fresh.pull("bill_now", scope="always")
    today = clock.day_of(clock.now())
    lines = list(adapter.read_bill(adapter.fetch_bill(today), today))
    assert [line.out_trade_no for line in lines] == [asked.ref.out_trade_no] * 2
    assert {line.raw["特约商户号"] for line in lines} == {facts["sub_mchid"]}


@pytest.mark.parametrize("sub_appid", ["", "wx00000000000000aa"])
def test_wechats_other_products_are_paid_for_a_sub_merchant(
    fresh: Far, mail: Postbox, sub_appid: str
) -> None:
    facts, adapter = wechatpay(fresh, sub_appid=sub_appid)
    bridge = adapter.start(order("SPLOOP0000000002", Scene.WECHAT, mail.url, facts["openid"]))
    assert isinstance(bridge, CallBridge)
    assert bridge.params["appId"] == (sub_appid or facts["appid"])
    assert fresh.post("/control/wechatpay/jsapi_pay", dict(bridge.params)).json["err_msg"].endswith(":ok")
    app = adapter.start(order("SPLOOP0000000003", Scene.APP, mail.url))
    assert isinstance(app, AppParams)
    assert app.params["partnerid"] == facts["sub_mchid"]
    assert fresh.post("/control/wechatpay/sdk_pay", dict(app.params)).json["errCode"] == 0
    assert isinstance(adapter.start(order("SPLOOP0000000004", Scene.MOBILE, mail.url)), Redirect)
    for number in ("SPLOOP0000000002", "SPLOOP0000000003"):
        assert adapter.query(PaymentRef(number, clock.now())).outcome is Outcome.SUCCEEDED


def test_wechat_takes_a_code_for_a_sub_merchant_and_closes_for_it(fresh: Far, mail: Postbox) -> None:
    _, adapter = wechatpay(fresh)
    code = fresh.post("/control/pay_codes", {"network": "wechatpay"}).json["code"]
    asked = order("SPLOOP0000000005", Scene.DESKTOP, mail.url)
    by_code = CodeOrder(
        asked.ref, PRICE, "咖啡", code, "00000001", "127.0.0.1", mail.url, clock.now() + timedelta(minutes=2)
    )
    assert adapter.charge_code(by_code).outcome is Outcome.SUCCEEDED
    closed = order("SPLOOP0000000006", Scene.DESKTOP, mail.url)
    adapter.start(closed)
    adapter.close(closed.ref)
    assert adapter.query(closed.ref).outcome is Outcome.CLOSED


def test_another_sub_merchant_is_another_merchant_at_wechat(fresh: Far, mail: Postbox) -> None:
    _, mine = wechatpay(fresh)
    _, theirs = wechatpay(fresh)
    asked = order("SPLOOP0000000007", Scene.DESKTOP, mail.url)
    theirs.start(asked)
    fresh.act(asked.ref.out_trade_no, "pay")
    heard = inbound(mail.wait(1)[0])
    assert theirs.read_callback(heard).outcome is Outcome.SUCCEEDED
    # The same service provider's keys open it, and still it settles nothing of ours.
    with pytest.raises(SignatureMismatch):
        mine.read_callback(heard)
    assert mine.query(asked.ref).is_absent
    with pytest.raises(ProviderRejected):
        mine.refund(refund(asked, "RSPLOOP000000007", mail.url))


@pytest.mark.parametrize(
    ("fields", "is_mine"),
    [
        ({}, True),
        ({"sub_appid": "wx_sub"}, True),
        ({"sub_mchid": "1600000002"}, False),
        ({"sp_mchid": "1900000002"}, False),
        ({"sp_appid": "wx_other"}, False),
        ({"sub_appid": "wx_other"}, False),
        ({"sub_mchid": None}, False),
        ({"sp_mchid": None, "mchid": "1900000001"}, False),
    ],
)
def test_every_id_of_a_payment_is_compared(fields: dict[str, Any], is_mine: bool) -> None:
    parties = Parties("wx_sp", "1900000001", sub_mchid="1600000001", sub_appid="wx_sub")
    told = {**SP, "sub_mchid": "1600000001", **fields}
    node = Node({name: value for name, value in told.items() if value is not None})
    assert parties.sells(node) is is_mine


def test_a_partners_payment_is_none_of_a_direct_merchants() -> None:
    parties = Parties("wx_sp", "1900000001")
    assert parties.sells(Node({"appid": "wx_sp", "mchid": "1900000001"}))
    assert not parties.sells(Node({"appid": "wx_sp", "mchid": "1900000001", "sub_mchid": "1600000001"}))
    assert not parties.owns(Node({**SP, "sub_mchid": "1600000001"}))


def test_a_strangers_client_in_partner_mode_gets_on_with_the_same_far_side(
    fresh: Far, mail: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wechatpayv3's words for a partner's calls are ours: it finds, closes and refunds what we made."""
    facts, adapter = wechatpay(fresh)
    monkeypatch.setattr(Core, "_gate_way", property(lambda _: fresh.url, lambda *_: None), raising=False)
    stranger = StrangersClient(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=facts["mchid"],
        private_key=wechatpay_forge.KEYS["wx_mch.pkcs8.pem"],
        cert_serial_no=facts["merchant_serial"],
        apiv3_key=facts["apiv3_key"],
        appid=facts["appid"],
        notify_url=mail.url,
        public_key=facts["public_key"],
        public_key_id=facts["public_key_id"],
        partner_mode=True,
    )
    sub = {"sub_mchid": facts["sub_mchid"]}
    ours = order("SPLOOP0000000008", Scene.DESKTOP, mail.url)
    adapter.start(ours)
    fresh.act(ours.ref.out_trade_no, "pay")
    status, text = stranger.query(out_trade_no=ours.ref.out_trade_no, **sub)
    told = json.loads(text)
    assert (status, told["trade_state"], told["sub_mchid"]) == (200, "SUCCESS", facts["sub_mchid"])
    amount = {"refund": 500, "total": PRICE.minor, "currency": "CNY"}
    assert stranger.refund("RSPLOOP000000008", amount, out_trade_no=ours.ref.out_trade_no, **sub)[0] == 200
    assert adapter.query_refund(refund(ours, "RSPLOOP000000008", mail.url)).outcome is Outcome.SUCCEEDED

    theirs = {"description": "测试商品", "out_trade_no": "SPLOOP0000000009", "amount": {"total": PRICE.minor}}
    status, text = stranger.pay(**theirs, **sub)
    assert (status, json.loads(text)["code_url"][:10]) == (200, "weixin://w"), text
    assert stranger.close("SPLOOP0000000009", **sub)[0] == 204
    assert adapter.query(PaymentRef("SPLOOP0000000009", clock.now())).outcome is Outcome.CLOSED


def test_alipay_pays_the_merchant_that_authorised_us(fresh: Far, mail: Postbox) -> None:
    settings, adapter = alipay(fresh)
    asked = order("SPLOOP0000000010", Scene.DESKTOP, mail.url)
    assert isinstance(adapter.start(asked), ShowQR)
    fresh.act(asked.ref.out_trade_no, "pay")
    paid = adapter.query(asked.ref)
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, PRICE)
    heard = inbound(mail.wait(1)[0])
    assert f"seller_id={settings['seller_id']}".encode() in heard.body
    assert adapter.read_callback(heard).outcome is Outcome.SUCCEEDED
    assert adapter.refund(refund(asked, "RSPLOOP000000010", mail.url)).outcome is Outcome.SUCCEEDED
    fresh.pull("bill_now", scope="always")
    today = clock.day_of(clock.now())
    lines = list(adapter.read_bill(adapter.fetch_bill(today), today))
    assert {line.out_trade_no for line in lines} == {asked.ref.out_trade_no}


def test_another_merchant_of_the_same_application_is_another_merchant_at_alipay(
    fresh: Far, mail: Postbox
) -> None:
    _, mine = alipay(fresh)
    _, theirs = alipay(fresh)
    asked = order("SPLOOP0000000011", Scene.DESKTOP, mail.url)
    theirs.start(asked)
    fresh.act(asked.ref.out_trade_no, "pay")
    heard = inbound(mail.wait(1)[0])
    assert theirs.read_callback(heard).outcome is Outcome.SUCCEEDED
    with pytest.raises(SignatureMismatch):
        mine.read_callback(heard)
    assert mine.query(asked.ref).is_absent


def test_an_authorisation_that_was_taken_back_is_the_accounts_fault(fresh: Far, mail: Postbox) -> None:
    settings, adapter = alipay(fresh)
    fresh.post("/control/alipay/revoke", {"app_auth_token": settings["app_auth_token"]})
    with pytest.raises(ProviderRejected) as refused:
        adapter.start(order("SPLOOP0000000012", Scene.DESKTOP, mail.url))
    word = (refused.value.provider_code or "").rpartition(".")[2]
    assert word in Alipay.info.account_faults


@pytest.mark.parametrize(
    ("adapter", "settings", "changes", "param"),
    [
        (WechatPay, wechatpay_forge.BOTH_MODES, {"sub_mchid": "x y"}, "sub_mchid"),
        (
            WechatPay,
            wechatpay_forge.BOTH_MODES,
            {"sub_mchid": wechatpay_forge.BOTH_MODES["mchid"]},
            "sub_mchid",
        ),
        (WechatPay, wechatpay_forge.BOTH_MODES, {"sub_appid": "wx1"}, "sub_appid"),
        (Alipay, alipay_forge.KEY_MODE, {"app_auth_token": "t" * 41}, "app_auth_token"),
        (Alipay, alipay_forge.KEY_MODE, {"app_auth_token": "t", "seller_id": ""}, "seller_id"),
    ],
)
def test_what_does_not_go_together_is_refused(
    adapter: type[WechatPay | Alipay], settings: dict[str, str], changes: dict[str, str], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        adapter({**settings, **changes}, Client())
    assert refused.value.param == param
