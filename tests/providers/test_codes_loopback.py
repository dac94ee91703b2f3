"""Payment codes over a real wire: adapters and sandbox, which share no code, understand one another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from app import clock
from app.errors import ProviderError, ProviderRejected, ProviderUnreachable
from app.money import Money
from app.providers.base import CodeOrder, Outcome, PaymentRef, Provider, RefundOrder
from tests.providers import test_alipay_loopback, test_unionpay_loopback, test_wechatpay_loopback
from tests.sandbox.conftest import Far, wait_until

PRICE = Money(1999, "CNY")
NETWORKS = ("alipay", "wechatpay", "unionpay")


@pytest.fixture(autouse=True)
def _stopped_clock() -> None:
    """Time goes on here: the far side has a clock of its own."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    far = Far(tmp_path_factory.mktemp("far"))
    yield far
    far.stop()


@pytest.fixture(scope="module")
def adapters(far: Far) -> dict[str, Provider]:
    return {
        "alipay": test_alipay_loopback.joined(far)[1],
        "wechatpay": test_wechatpay_loopback.joined(far, "public_key")[1],
        "unionpay": test_unionpay_loopback.joined(far),
    }


@pytest.fixture(params=NETWORKS)
def provider(request: pytest.FixtureRequest, adapters: dict[str, Provider], far: Far) -> Iterator[Provider]:
    yield adapters[request.param]
    far.post("/control/reset")


def code_of(far: Far, provider: Provider, **more: bool) -> str:
    made = far.post("/control/pay_codes", {"network": provider.info.code, **more})
    assert made.status == 200, made.text
    code: str = made.json["code"]
    assert re.fullmatch(provider.info.pay_code, code)
    return code


def order(code: str, price: Money = PRICE, number: str = "LOOP000000000001") -> CodeOrder:
    now = clock.now().replace(microsecond=0)
    ref = PaymentRef(number, now, expires_at=now + timedelta(minutes=5))
    address = "http://127.0.0.1:9/nobody"
    expires_at = now + timedelta(minutes=5)
    return CodeOrder(ref, price, "测试商品 A+B", code, "TILL0007", "127.0.0.1", address, expires_at)


def grow_old(far: Far) -> None:
    """As if everything had begun twenty seconds earlier."""
    with far.box.store.write() as db:
        db.execute("UPDATE trades SET created_ts = created_ts - 20")


def test_a_code_pays_once(far: Far, provider: Provider) -> None:
    asked = order(code_of(far, provider))
    paid = provider.charge_code(asked)
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, PRICE)
    known = provider.query(asked.ref)
    assert (known.outcome, known.provider_ref, known.is_undone) == (
        Outcome.SUCCEEDED,
        paid.provider_ref,
        False,
    )
    with pytest.raises(ProviderRejected):
        provider.charge_code(order(asked.code, number="LOOP000000000002"))
    now = clock.now().replace(microsecond=0)
    back = RefundOrder(asked.ref, "BACK000000000001", Money(500, "CNY"), PRICE, "x", now, asked.notify_url)
    assert provider.refund(back).outcome in (Outcome.SUCCEEDED, Outcome.PENDING)


def test_a_code_that_is_over_or_was_never_shown_is_refused(far: Far, provider: Provider) -> None:
    expired, shown = code_of(far, provider, expired=True), code_of(far, provider)
    with pytest.raises(ProviderRejected):
        provider.charge_code(order(expired))
    unknown = shown[:-4] + f"{(int(shown[-4:]) + 1) % 10_000:04d}"
    with pytest.raises(ProviderRejected) as refused:
        provider.charge_code(order(unknown, number="LOOP000000000002"))
    assert unknown not in str(refused.value)


@pytest.mark.parametrize("reason", ["balance", "risk", "password"])
def test_the_wallets_no_is_definite_and_final(reason: str, far: Far, provider: Provider) -> None:
    far.pull("decline", value=reason)
    asked = order(code_of(far, provider))
    with pytest.raises(ProviderRejected):
        provider.charge_code(asked)
    assert provider.query(asked.ref).outcome in (Outcome.FAILED, Outcome.CLOSED)


@pytest.mark.parametrize("then", ["pay", "decline"])
def test_above_a_thousand_yuan_the_password_is_asked_for(then: str, far: Far, provider: Provider) -> None:
    asked = order(code_of(far, provider), Money(100_001, "CNY"))
    assert provider.charge_code(asked).outcome is Outcome.PENDING
    assert provider.query(asked.ref).outcome is Outcome.PENDING
    assert far.act(asked.ref.out_trade_no, then).status == 200
    ended = provider.query(asked.ref).outcome
    assert ended is Outcome.SUCCEEDED if then == "pay" else ended in (Outcome.FAILED, Outcome.CLOSED)


def test_money_may_move_a_little_later(far: Far, provider: Provider) -> None:
    far.pull("slow_payment", value="0.05")
    asked = order(code_of(far, provider))
    provider.charge_code(asked)
    wait_until(lambda: provider.query(asked.ref).outcome is Outcome.SUCCEEDED)


def test_an_unpaid_code_is_reversed_and_again(far: Far, provider: Provider) -> None:
    far.pull("password")
    asked = order(code_of(far, provider))
    assert provider.charge_code(asked).outcome is Outcome.PENDING
    grow_old(far)
    for _ in range(2):
        provider.reverse(asked.ref)
    ended = provider.query(asked.ref)
    assert (ended.outcome in (Outcome.CLOSED, Outcome.FAILED), ended.is_undone) == (True, True)
    assert far.act(asked.ref.out_trade_no, "pay").status == 409


def test_what_is_paid_the_moment_before_its_reversal_goes_back(far: Far, provider: Provider) -> None:
    far.pull("password")
    asked = order(code_of(far, provider))
    provider.charge_code(asked)
    far.pull("pay_first", out_trade_no=asked.ref.out_trade_no)
    grow_old(far)
    provider.reverse(asked.ref)
    assert provider.query(asked.ref).is_undone
    assert far.trade(asked.ref.out_trade_no)["paid_minor"] in (0, 1999)
    if far.trade(asked.ref.out_trade_no)["paid_minor"]:
        assert far.trade(asked.ref.out_trade_no)["refunded_minor"] == 1999


def test_a_code_that_never_arrived_is_reversed_enough(far: Far, provider: Provider) -> None:
    ref = replace(order("1").ref, out_trade_no="NEVER00000000001")
    provider.reverse(ref)
    assert provider.query(ref).outcome is Outcome.PENDING


def test_wechat_pay_reverses_nothing_within_fifteen_seconds(far: Far, adapters: dict[str, Provider]) -> None:
    far.pull("password")
    wechatpay = adapters["wechatpay"]
    asked = order(code_of(far, wechatpay))
    wechatpay.charge_code(asked)
    with pytest.raises(ProviderError):
        wechatpay.reverse(asked.ref)
    assert wechatpay.query(asked.ref).outcome is Outcome.PENDING


def test_an_answer_that_is_lost_is_asked_about(far: Far, provider: Provider) -> None:
    asked = order(code_of(far, provider))
    far.pull("server_error")
    with pytest.raises(ProviderUnreachable):
        provider.charge_code(asked)
    assert provider.query(asked.ref).outcome is Outcome.SUCCEEDED


def test_the_shoppers_phone_shows_a_code_and_then_the_sheet(far: Far, provider: Provider) -> None:
    assert f'href="/wallet/{provider.info.code}"' in far.get("/wallet").text
    shown = far.get(f"/wallet/{provider.info.code}").headers["location"]
    code = shown.rpartition("/")[2]
    page = far.get(shown)
    assert re.sub(r"\s", "", code) in page.text.replace(" ", "")
    assert "<svg" in page.text
    assert "<script" not in page.text
    far.pull("password")
    asked = order(code)
    provider.charge_code(asked)
    sheet = far.get(shown)
    assert sheet.status == 303
    assert far.press(sheet.headers["location"], "approve").status == 303
    assert provider.query(asked.ref).outcome is Outcome.SUCCEEDED


def test_a_codes_minute_ends_on_the_phone_too(far: Far, provider: Provider) -> None:
    code = code_of(far, provider, expired=True)
    assert "已过期" in far.get(f"/wallet/{provider.info.code}/{code}").text
    assert far.get("/wallet/nobody/1").headers["location"] == "/wallet"
    assert far.post("/control/pay_codes", {"network": "nobody"}).status == 404
