"""The adapter and the sandbox, which share no code, understand one another over a real wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app import clock
from app.errors import NumberTaken, ProviderRejected, SignatureMismatch
from app.http import Client
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import (
    CallBridge,
    Inbound,
    Outcome,
    PaymentOrder,
    PaymentRef,
    RefundOrder,
    RefundResult,
    Scene,
    ShowQR,
)
from tests.providers.alipay_forge import KEYS
from tests.sandbox.conftest import Far, wait_until
from tests.sandbox.wechat import Mail, Postbox, postbox

PRICE = Money(1999, "CNY")
WALLET = "Mozilla/5.0 (Linux; Android 14) Mobile Safari/537.36 AlipayClient/10.6.20"


@pytest.fixture(autouse=True)
def _stopped_clock() -> None:
    """Time goes on here: the far side has a clock of its own."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    far = Far(tmp_path_factory.mktemp("far"))
    yield far
    far.stop()


def joined(far: Far, **more: str) -> tuple[dict[str, Any], Alipay]:
    """An app registered at the sandbox, and the adapter that speaks for it."""
    wish = {"mode": "key", "public_key": KEYS["app.pub.pem"], **more}
    made = far.post("/control/alipay/apps", wish)
    assert made.status in (200, 201), made.text
    facts: dict[str, Any] = made.json
    names = ["app_id", "seller_id", "gateway_url", "auth_url"]
    cert_mode = ["app_cert", "alipay_cert", "alipay_root_cert"]
    names += cert_mode if facts["mode"] == "cert" else ["alipay_public_key"]
    settings = {name: facts[name] for name in names}
    settings |= {"private_key": KEYS["app.pkcs8.pem"], "in_app_product": "jsapi"}
    return facts, Alipay(settings, Client())


def order(
    number: str,
    scene: Scene,
    payer_id: str | None = None,
    price: Money = PRICE,
    notify_url: str = "http://127.0.0.1:9/nobody",
) -> PaymentOrder:
    now = clock.now().replace(microsecond=0)
    return PaymentOrder(
        ref=PaymentRef(number, now),
        amount=price,
        description="测试商品 A+B 100%",
        scene=scene,
        notify_url=notify_url,
        return_url="http://shop.test/C/TOKEN?back=1",
        expires_at=now + timedelta(minutes=15),
        payer_id=payer_id,
    )


def inbound(mail: Mail) -> Inbound:
    return Inbound({name.lower(): value for name, value in mail.headers.items()}, mail.body, clock.now())


def news_of(out_refund_no: str, mail: Postbox, alipay: Alipay) -> RefundResult:
    """The refund's notification, among the payment's, which come again unless they are heard in words."""
    found: list[RefundResult] = []

    def came() -> bool:
        told = [alipay.read_callback(inbound(each)) for each in list(mail.heard)]
        found[:] = [n for n in told if isinstance(n, RefundResult) and n.out_refund_no == out_refund_no]
        return bool(found)

    wait_until(came)
    return found[0]


@pytest.mark.parametrize("payer", ["user_id", "open_id"])
def test_inside_alipay_the_payer_is_identified_and_the_bridge_pays(far: Far, payer: str) -> None:
    facts, alipay = joined(far, payer=payer)
    address = alipay.identify(Scene.ALIPAY, "http://shop.test/C/TOKEN?x=1", "state123")
    assert address is not None
    sent = far.get(address, **{"User-Agent": WALLET})
    assert sent.status == 302, sent.text
    query = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert (query["state"], query["x"]) == ("state123", "1")
    payer_id = alipay.payer_from(query)
    assert payer_id == facts["buyer_id" if payer == "user_id" else "buyer_open_id"]
    with pytest.raises(ProviderRejected) as used:
        alipay.payer_from(query)
    assert used.value.provider_code == "isv.code-invalid"

    asked = order(f"ALOOP{payer.replace('_', '')}1", Scene.ALIPAY, payer_id)
    step = alipay.start(asked)
    assert isinstance(step, CallBridge)
    assert alipay.start(asked) == step
    assert alipay.query(asked.ref).outcome is Outcome.PENDING
    done = far.post("/control/alipay/jsapi_pay", dict(step.params)).json
    assert done == {"resultCode": "9000", "out_trade_no": asked.ref.out_trade_no}
    assert alipay.query(asked.ref).outcome is Outcome.SUCCEEDED
    with pytest.raises(NumberTaken):
        alipay.start(asked)


def test_a_number_with_other_parameters_or_after_its_close_is_taken(far: Far) -> None:
    _, alipay = joined(far)
    first = order("ALOOPTAKEN1", Scene.DESKTOP)
    step = alipay.start(first)
    assert isinstance(step, ShowQR)
    with pytest.raises(NumberTaken) as taken:
        alipay.start(order("ALOOPTAKEN1", Scene.DESKTOP, price=Money(2000, "CNY")))
    assert taken.value.provider_code == "ACQ.CONTEXT_INCONSISTENT"
    far.act("ALOOPTAKEN1", "open")
    alipay.close(first.ref)
    with pytest.raises(NumberTaken) as closed:
        alipay.start(first)
    assert closed.value.provider_code == "ACQ.TRADE_HAS_CLOSE"


@pytest.mark.parametrize("mode", ["key", "cert"])
def test_refunds_in_part_and_in_full_are_told_from_the_payment(mode: str, far: Far) -> None:
    _, alipay = joined(far, mode=mode)
    with postbox() as mail:
        asked = order(f"ALOOPBACK{mode}1", Scene.DESKTOP, notify_url=mail.url)
        alipay.start(asked)
        far.act(asked.ref.out_trade_no, "pay")
        paid = alipay.query(asked.ref)
        assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, PRICE)
        assert alipay.read_callback(inbound(mail.wait(1)[0])) == paid
        for minor, status in ((500, "TRADE_SUCCESS"), (1499, "TRADE_CLOSED")):
            back = RefundOrder(
                asked.ref, f"RALOOP{mode}{minor}", Money(minor, "CNY"), PRICE, "退款", clock.now(), mail.url
            )
            assert alipay.refund(back).outcome is Outcome.SUCCEEDED
            assert alipay.query_refund(back).amount == back.amount
            news = news_of(back.out_refund_no, mail, alipay)
            assert (news.outcome, news.provider_status) == (Outcome.SUCCEEDED, status)
        assert alipay.query(asked.ref).outcome is Outcome.SUCCEEDED


def test_a_new_certificate_is_fetched_on_our_next_call(far: Far) -> None:
    _, alipay = joined(far, mode="cert")
    with postbox() as mail:
        asked = order("ALOOPCERT1", Scene.DESKTOP, notify_url=mail.url)
        alipay.start(asked)
        assert far.post("/control/alipay/rotate_cert").status == 200
        far.act(asked.ref.out_trade_no, "pay")
        heard = inbound(mail.wait(1)[0])
        with pytest.raises(SignatureMismatch):
            alipay.read_callback(heard)
        assert alipay.query(asked.ref).outcome is Outcome.SUCCEEDED
        assert alipay.read_callback(heard).outcome is Outcome.SUCCEEDED
