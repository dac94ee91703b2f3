"""The adapter and the sandbox, which share no code, meet inside Alipay's app over a real wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app import clock
from app.errors import NumberTaken, ProviderRejected
from app.http import Client
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import CallBridge, Outcome, PaymentOrder, PaymentRef, Scene, ShowQR
from tests.providers.alipay_forge import KEYS
from tests.sandbox.conftest import Far

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
    names = ("app_id", "seller_id", "gateway_url", "auth_url", "alipay_public_key")
    settings = {name: facts[name] for name in names}
    settings |= {"private_key": KEYS["app.pkcs8.pem"], "in_app_product": "jsapi"}
    return facts, Alipay(settings, Client())


def order(number: str, scene: Scene, payer_id: str | None = None, price: Money = PRICE) -> PaymentOrder:
    now = clock.now().replace(microsecond=0)
    return PaymentOrder(
        ref=PaymentRef(number, now),
        amount=price,
        description="测试商品 A+B 100%",
        scene=scene,
        notify_url="http://127.0.0.1:9/nobody",
        return_url="http://shop.test/C/TOKEN?back=1",
        expires_at=now + timedelta(minutes=15),
        payer_id=payer_id,
    )


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
