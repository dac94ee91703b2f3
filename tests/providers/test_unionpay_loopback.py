"""The adapter and the sandbox, which share no code, understand one another over a real wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from app import clock
from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.http import Client
from app.money import Money
from app.providers.base import (
    AppParams,
    Inbound,
    Outcome,
    PaymentOrder,
    PaymentRef,
    PostForm,
    RefundOrder,
    RefundResult,
    Scene,
    ShowQR,
)
from app.providers.unionpay import UnionPay
from tests.providers.contract import bill_of
from tests.providers.unionpay_forge import KEYS
from tests.sandbox.conftest import Far
from tests.sandbox.wechat import Mail, Postbox, postbox

PRICE = Money(1999, "CNY")
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


@pytest.fixture(autouse=True)
def _stopped_clock() -> None:
    """Time goes on here: the far side has a clock of its own."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    far = Far(tmp_path_factory.mktemp("far"))
    yield far
    far.stop()


@pytest.fixture
def fresh(far: Far) -> Iterator[Far]:
    yield far
    far.post("/control/reset", {"apps": True})


@pytest.fixture
def mail() -> Iterator[Postbox]:
    with postbox() as box:
        box.answers = [200] * 10
        yield box


def joined(far: Far, **changes: str) -> UnionPay:
    """The adapter for a merchant that is registered at the sandbox."""
    made = far.post("/control/unionpay/merchants", {"public_key": KEYS["up_mer.pub.pem"]})
    assert made.status in (200, 201), made.text
    facts: dict[str, Any] = made.json
    names = ("mer_id", "middle_cert", "root_cert", "gateway_url", "file_url")
    settings = {name: facts[name] for name in names}
    settings |= {"private_key": KEYS["up_mer.pkcs8.pem"], "sign_cert": facts["merchant_cert"]}
    return UnionPay({**settings, **changes}, Client())


def order(number: str, scene: Scene, notify_url: str) -> PaymentOrder:
    now = clock.now().replace(microsecond=0)
    expires_at = now + timedelta(minutes=15)
    return PaymentOrder(
        ref=PaymentRef(number, now, expires_at=expires_at),
        amount=PRICE,
        description="测试商品 A+B/1 100%",
        scene=scene,
        notify_url=notify_url,
        return_url="http://shop.test/C/TOKEN?back=1",
        expires_at=expires_at,
    )


def refund_of(asked: PaymentOrder, number: str, amount: Money) -> RefundOrder:
    now = clock.now().replace(microsecond=0)
    return RefundOrder(asked.ref, number, amount, PRICE, "正常退款", now, asked.notify_url)


def inbound(mail: Mail) -> Inbound:
    return Inbound({name.lower(): value for name, value in mail.headers.items()}, mail.body, clock.now())


def test_a_code_is_paid_heard_of_refunded_and_heard_of_again(fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh)
    asked = order("ULOOP0000000001", Scene.DESKTOP, mail.url)
    assert isinstance(unionpay.start(asked), ShowQR)
    with pytest.raises(NumberTaken) as taken:
        unionpay.start(asked)
    assert taken.value.provider_code == "12"
    assert unionpay.query(asked.ref).outcome is Outcome.PENDING
    with pytest.raises(ProviderRejected, match="open until its deadline"):
        unionpay.close(asked.ref)
    assert fresh.act(asked.ref.out_trade_no, "pay").status == 200

    paid = unionpay.query(asked.ref)
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, PRICE)
    assert unionpay.read_callback(inbound(mail.wait(1)[0])) == paid
    back = refund_of(asked, "RULOOP00000001", Money(500, "CNY"))
    assert unionpay.query_refund(back).outcome is Outcome.PENDING
    assert unionpay.refund(back).outcome is Outcome.PENDING
    news = unionpay.read_callback(inbound(mail.wait(2)[1]))
    assert isinstance(news, RefundResult)
    assert (news.out_trade_no, news.outcome, news.amount) == (
        asked.ref.out_trade_no,
        Outcome.SUCCEEDED,
        back.amount,
    )
    again = unionpay.refund(back)  # asked before it is sent: it is there
    assert (again.outcome, again.amount) == (Outcome.SUCCEEDED, back.amount)
    rest = refund_of(asked, "RULOOP00000002", Money(1500, "CNY"))
    with pytest.raises(ProviderRejected):
        unionpay.refund(rest)


@pytest.mark.parametrize("scene", [Scene.MOBILE, Scene.UNIONPAY, Scene.DESKTOP])
def test_a_browser_posts_the_form_again_until_it_is_paid(scene: Scene, fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh, desktop_product="gateway")
    asked = order("ULOOP0000000002", scene, mail.url)
    step = unionpay.start(asked)
    assert isinstance(step, PostForm)
    again = unionpay.start(asked)
    assert isinstance(again, PostForm)
    assert again.fields == step.fields
    opened = [fresh.ask("POST", step.url, urlencode(step.fields).encode(), FORM) for _ in range(2)]
    assert [answer.status for answer in opened] == [303, 303]
    assert opened[0].headers["location"] == opened[1].headers["location"]
    assert unionpay.query(asked.ref).outcome is Outcome.PENDING
    fresh.press(opened[0].headers["location"], "approve")
    assert unionpay.query(asked.ref).outcome is Outcome.SUCCEEDED


def test_an_app_pays_by_its_number(fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh)
    asked = order("ULOOP0000000003", Scene.APP, mail.url)
    step = unionpay.start(asked)
    assert isinstance(step, AppParams)
    assert fresh.post("/control/unionpay/sdk_pay", {"tn": step.params["tn"]}).json["pay_result"] == "success"
    assert unionpay.query(asked.ref).outcome is Outcome.SUCCEEDED
    with pytest.raises(NumberTaken):
        unionpay.start(asked)


def test_a_full_refund_of_the_same_day_is_a_void(fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh, same_day_refund="void")
    asked = order("ULOOP0000000004", Scene.DESKTOP, mail.url)
    unionpay.start(asked)
    fresh.act(asked.ref.out_trade_no, "pay")
    mail.wait(1)
    back = refund_of(asked, "RULOOP00000004", PRICE)
    assert unionpay.refund(back).outcome is Outcome.PENDING
    heard = mail.wait(2)[1]
    assert b"txnType=31" in heard.body
    assert unionpay.read_callback(inbound(heard)).outcome is Outcome.SUCCEEDED
    assert unionpay.query_refund(back).outcome is Outcome.SUCCEEDED


def test_the_days_file_is_read(fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh)
    asked = order("ULOOP0000000005", Scene.DESKTOP, mail.url)
    unionpay.start(asked)
    fresh.act(asked.ref.out_trade_no, "pay")
    back = refund_of(asked, "RULOOP00000005", Money(500, "CNY"))
    unionpay.refund(back)
    mail.wait(2)
    day = (clock.now() + timedelta(hours=1)).astimezone(clock.BEIJING).date()  # it ends at 23:00
    with pytest.raises(ProviderRejected) as early:
        unionpay.fetch_bill(day)
    assert early.value.provider_code == "98"
    fresh.pull("bill_now", scope="always")
    payment, refund = bill_of(unionpay, day)
    assert (payment.kind, payment.out_trade_no, payment.amount) == ("payment", asked.ref.out_trade_no, PRICE)
    assert payment.fee.minor < 0
    assert (refund.kind, refund.out_refund_no, refund.amount) == (
        "refund",
        back.out_refund_no,
        Money(-500, "CNY"),
    )


def test_unionpays_next_certificate_is_believed_without_a_setting(fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh)
    asked = order("ULOOP0000000006", Scene.DESKTOP, mail.url)
    unionpay.start(asked)
    assert fresh.post("/control/unionpay/rotate_cert").status == 200
    fresh.act(asked.ref.out_trade_no, "pay")
    assert unionpay.read_callback(inbound(mail.wait(1)[0])).outcome is Outcome.SUCCEEDED
    assert unionpay.query(asked.ref).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("forgery", ["bad_signature", "other_key", "wrong_cn", "other_chain", "expired_cert"])
def test_forged_answers_and_notifications_are_not_believed(forgery: str, fresh: Far, mail: Postbox) -> None:
    unionpay = joined(fresh)
    asked = order("ULOOP0000000007", Scene.DESKTOP, mail.url)
    unionpay.start(asked)
    fresh.pull("forge", value=forgery, scope="next")
    fresh.act(asked.ref.out_trade_no, "pay")
    heard = inbound(mail.wait(1)[0])
    with pytest.raises(SignatureMismatch):
        unionpay.read_callback(heard)
    with pytest.raises(SignatureMismatch):
        unionpay.read_callback(replace(heard, query="a=b"))
    fresh.pull("forge_answer", value=forgery, scope="next")
    with pytest.raises(ProviderUnreachable):
        unionpay.query(asked.ref)
    assert unionpay.query(asked.ref).outcome is Outcome.SUCCEEDED
