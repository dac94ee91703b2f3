"""The adapter and the sandbox, which share no code, understand one another over a real wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from app import clock
from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.http import Client
from app.money import Money
from app.providers.base import (
    AppParams,
    CallBridge,
    Inbound,
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
from tests.providers.contract import bill_of
from tests.providers.wechatpay_forge import KEYS
from tests.sandbox.conftest import Far
from tests.sandbox.wechat import PHONE, WECHAT, Mail, Postbox, postbox

PRICE = Money(1999, "CNY")
MODES = ["public_key", "cert", "both"]


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


def joined(far: Far, mode: str, **changes: str) -> tuple[dict[str, Any], WechatPay]:
    """A merchant registered at the sandbox, and the adapter that speaks for it."""
    made = far.post("/control/wechatpay/merchants", {"mode": mode, "cert": KEYS["wx_mch.crt"]})
    assert made.status in (200, 201), made.text
    facts: dict[str, Any] = made.json
    settings = {
        "appid": facts["appid"],
        "mchid": facts["mchid"],
        "private_key": KEYS["wx_mch.pkcs8.pem"],
        "merchant_cert": facts["merchant_cert"],
        "api_v3_key": facts["apiv3_key"],
        "public_key_id": facts.get("public_key_id", ""),
        "public_key": facts.get("public_key", ""),
        "platform_certs": "".join(each["cert"] for each in facts.get("platform_certs", [])),
        "app_secret": facts["app_secret"],
        "api_url": far.url,
        "open_url": far.url,
        "sns_url": far.url,
        **changes,
    }
    return facts, WechatPay(settings, Client())


def order(number: str, scene: Scene, notify_url: str, payer_id: str | None = None) -> PaymentOrder:
    now = clock.now().replace(microsecond=0)
    return PaymentOrder(
        ref=PaymentRef(number, now),
        amount=PRICE,
        description="测试商品 A+B/1 100%",
        scene=scene,
        notify_url=notify_url,
        return_url="http://shop.test/C/TOKEN?back=1",
        expires_at=now + timedelta(minutes=15),
        payer_id=payer_id,
        payer_ip="127.0.0.1",
    )


def inbound(mail: Mail) -> Inbound:
    received_at = datetime.fromtimestamp(mail.at_s, UTC) if mail.at_s > 1e9 else clock.now()
    return Inbound({name.lower(): value for name, value in mail.headers.items()}, mail.body, received_at)


@pytest.mark.parametrize("mode", MODES)
def test_a_code_is_paid_heard_of_refunded_and_heard_of_again(mode: str, fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, mode)
    asked = order("LOOP000000000001", Scene.DESKTOP, mail.url)
    step = wechatpay.start(asked)
    assert isinstance(step, ShowQR)
    again = wechatpay.start(asked)
    assert isinstance(again, ShowQR)
    assert again.content == step.content
    assert wechatpay.query(asked.ref).outcome is Outcome.PENDING
    assert fresh.act(asked.ref.out_trade_no, "pay").status == 200

    paid = wechatpay.query(asked.ref)
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, PRICE)
    assert paid.paid_at is not None
    assert wechatpay.query(replace(asked.ref, provider_ref=paid.provider_ref)) == paid
    [heard] = mail.wait(1)
    assert wechatpay.read_callback(inbound(heard)) == paid
    with pytest.raises(ProviderRejected):
        wechatpay.close(asked.ref)

    back = RefundOrder(
        payment=asked.ref,
        out_refund_no="RLOOP00000000001",
        amount=Money(500, "CNY"),
        paid=PRICE,
        reason="正常退款",
        started_at=clock.now(),
        notify_url=mail.url,
    )
    assert wechatpay.query_refund(back).outcome is Outcome.PENDING
    first, again = wechatpay.refund(back), wechatpay.refund(back)
    assert first.provider_ref == again.provider_ref
    news = wechatpay.read_callback(inbound(mail.wait(2)[1]))
    assert isinstance(news, RefundResult)
    assert (news.outcome, news.amount) == (Outcome.SUCCEEDED, back.amount)
    assert wechatpay.query_refund(back).outcome is Outcome.SUCCEEDED
    assert wechatpay.query(asked.ref).outcome is Outcome.SUCCEEDED


def test_an_order_closes_twice_and_one_that_never_was_is_not_there(fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, "public_key")
    asked = order("LOOP000000000002", Scene.DESKTOP, mail.url)
    assert wechatpay.query(asked.ref).outcome is Outcome.PENDING
    wechatpay.close(asked.ref)
    wechatpay.start(asked)
    wechatpay.close(asked.ref)
    wechatpay.close(asked.ref)
    assert wechatpay.query(asked.ref).outcome is Outcome.CLOSED
    with pytest.raises(NumberTaken):
        wechatpay.start(asked)


def test_a_wrong_parameter_is_a_definite_no_though_nobody_signs_the_refusal(
    fresh: Far, mail: Postbox
) -> None:
    _, wechatpay = joined(fresh, "public_key")
    asked = order("LOOP000000000010", Scene.DESKTOP, f"{mail.url}?a=b")  # an address with a query
    with pytest.raises(ProviderRejected) as refused:
        wechatpay.start(asked)
    assert refused.value.provider_code == "PARAM_ERROR"


def test_a_number_with_other_parameters_or_after_its_payment_is_taken(fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, "public_key")
    asked = order("LOOP000000000011", Scene.DESKTOP, mail.url)
    wechatpay.start(asked)
    with pytest.raises(NumberTaken) as taken:
        wechatpay.start(replace(asked, amount=Money(2000, "CNY")))
    assert taken.value.provider_code == "OUT_TRADE_NO_USED"
    fresh.act(asked.ref.out_trade_no, "pay")
    with pytest.raises(NumberTaken) as paid:
        wechatpay.start(asked)
    assert paid.value.provider_code == "ORDERPAID"


def test_inside_wechat_the_payer_is_identified_and_the_bridge_pays(fresh: Far, mail: Postbox) -> None:
    facts, wechatpay = joined(fresh, "both")
    address = wechatpay.identify(Scene.WECHAT, "http://shop.test/C/TOKEN?x=1", "state123")
    assert address is not None
    sent = fresh.get(address, **{"User-Agent": WECHAT})
    assert sent.status == 302, sent.text
    query = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert (query["state"], query["x"]) == ("state123", "1")
    payer_id = wechatpay.payer_from(query)
    assert payer_id == facts["openid"]
    with pytest.raises(ProviderRejected) as used:
        wechatpay.payer_from(query)
    assert used.value.provider_code == "40163"

    asked = order("LOOP000000000003", Scene.WECHAT, mail.url, payer_id)
    step = wechatpay.start(asked)
    assert isinstance(step, CallBridge)
    done = fresh.post("/control/wechatpay/jsapi_pay", dict(step.params)).json
    assert done["err_msg"] == "get_brand_wcpay_request:ok", done
    assert wechatpay.query(asked.ref).outcome is Outcome.SUCCEEDED


def test_an_app_and_a_phones_browser_pay(fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, "public_key")
    asked = order("LOOP000000000004", Scene.APP, mail.url)
    step = wechatpay.start(asked)
    assert isinstance(step, AppParams)
    assert fresh.post("/control/wechatpay/sdk_pay", dict(step.params)).json["errCode"] == 0
    assert wechatpay.query(asked.ref).outcome is Outcome.SUCCEEDED

    step = wechatpay.start(order("LOOP000000000005", Scene.MOBILE, mail.url))
    assert isinstance(step, Redirect)
    opened = fresh.get(step.url, **{"User-Agent": PHONE, "Referer": "http://shop.test/"})
    assert opened.status in (200, 302, 303)
    assert quote("http://shop.test/C/TOKEN?back=1", safe="") in step.url


@pytest.mark.parametrize("mode", MODES)
def test_the_days_bills_are_read(mode: str, fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, mode)
    asked = order("LOOP000000000006", Scene.DESKTOP, mail.url)
    wechatpay.start(asked)
    fresh.act(asked.ref.out_trade_no, "pay")
    back = RefundOrder(asked.ref, "RLOOP00000000006", Money(500, "CNY"), PRICE, "退款", clock.now(), mail.url)
    wechatpay.refund(back)
    mail.wait(2)
    today = clock.now().astimezone(clock.BEIJING).date()
    with pytest.raises(ProviderRejected) as early:
        wechatpay.fetch_bill(today)
    assert early.value.provider_code == "NO_STATEMENT_EXIST"
    fresh.pull("bill_now", scope="always")
    payment, refund = bill_of(wechatpay, today)
    assert (payment.kind, payment.out_trade_no, payment.amount) == ("payment", asked.ref.out_trade_no, PRICE)
    assert payment.fee == Money(-12, "CNY")
    assert (refund.kind, refund.out_refund_no, refund.amount) == (
        "refund",
        back.out_refund_no,
        Money(-500, "CNY"),
    )
    assert refund.fee.minor > 0
    flows = list(wechatpay.fund_flow(today))
    assert sum(flow.amount.minor for flow in flows) == sum(
        line.amount.minor + line.fee.minor for line in (payment, refund)
    )


def test_a_new_certificate_is_learnt_on_our_next_call(fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, "cert")
    asked = order("LOOP000000000007", Scene.DESKTOP, mail.url)
    wechatpay.start(asked)
    assert fresh.post("/control/wechatpay/rotate", {"what": "cert"}).status == 200
    fresh.act(asked.ref.out_trade_no, "pay")
    [heard] = mail.wait(1)
    with pytest.raises(SignatureMismatch):
        wechatpay.read_callback(inbound(heard))
    assert wechatpay.query(asked.ref).outcome is Outcome.SUCCEEDED
    assert wechatpay.read_callback(inbound(heard)).outcome is Outcome.SUCCEEDED


def test_a_merchant_that_entered_no_certificate_downloads_them(fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, "cert", platform_certs="")
    assert isinstance(wechatpay.start(order("LOOP000000000008", Scene.DESKTOP, mail.url)), ShowQR)


@pytest.mark.parametrize(
    "forgery", ["bad_signature", "other_key", "unsigned", "signtest", "stale", "unknown_serial"]
)
def test_forged_answers_and_notifications_are_not_believed(forgery: str, fresh: Far, mail: Postbox) -> None:
    _, wechatpay = joined(fresh, "both")
    asked = order("LOOP000000000009", Scene.DESKTOP, mail.url)
    wechatpay.start(asked)
    fresh.pull("forge", value=forgery, scope="next")
    fresh.act(asked.ref.out_trade_no, "pay")
    refused = mail.wait(1)[0]
    with pytest.raises(SignatureMismatch):
        wechatpay.read_callback(inbound(refused))
    fresh.pull("forge_answer", value=forgery, scope="next")
    if forgery == "signtest":  # asked once more, and then it is told the truth
        assert wechatpay.query(asked.ref).outcome is Outcome.SUCCEEDED
        return
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(asked.ref)
    assert wechatpay.query(asked.ref).outcome is Outcome.SUCCEEDED
