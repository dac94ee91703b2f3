"""The Alipay adapter against the contract, and what is peculiar to Alipay's verbs."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.errors import ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import AppParams, Outcome, PaymentResult, Redirect, RefundResult, Scene, ShowQR
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import (
    SETTINGS,
    AlipayForge,
    AuthorisedForge,
    InAppForge,
    sent_params,
    verified_params,
)
from tests.providers.contract import (
    PRICE,
    REF,
    REFUND,
    STATEMENT,
    ProviderContract,
    Wire,
    code_order,
    order,
)


class TestContract(ProviderContract):
    adapter = Alipay
    callback_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.CLOSED)
    query_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.CLOSED)
    refund_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED)
    statement_lines = STATEMENT
    accepted_reply = (200, b"success")
    refused_reply = (200, b"failure")

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> AlipayForge:
        return AlipayForge()


class TestContractInTheApp(TestContract):
    """A merchant that is paid on a pay sheet inside Alipay's app."""

    start_scene = Scene.ALIPAY

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> InAppForge:
        return InAppForge()


class TestContractForAnotherMerchant(TestContract):
    """A service provider's application, acting for a merchant that authorised it."""

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> AuthorisedForge:
        return AuthorisedForge()


# Starting, product by product


def test_a_desktop_gets_the_code_to_scan(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().started(order(Scene.DESKTOP)))
    assert alipay.start(order(Scene.DESKTOP)) == ShowQR(far.QR_CODE, good_for_s=7180)
    params = verified_params(sent_params(wire))
    assert params["method"] == "alipay.trade.precreate"
    assert params["notify_url"] == "https://pay.example/callbacks/pa_1"
    assert json.loads(params["biz_content"]) == {
        "out_trade_no": REF.out_trade_no,
        "product_code": "FACE_TO_FACE_PAYMENT",
        "subject": "测试商品 A+B",
        "time_expire": "2024-01-15 10:15:00",
        "total_amount": "19.99",
    }


def test_a_desktop_set_to_page_goes_to_alipays_own_page(wire: Wire) -> None:
    step = Alipay({**SETTINGS, "desktop_product": "page"}, wire).start(order(Scene.DESKTOP))
    assert isinstance(step, Redirect)
    params = verified_params(dict(parse_qsl(urlsplit(step.url).query)))
    assert step.url.startswith("https://alipay.example/gateway.do?")
    assert params["method"] == "alipay.trade.page.pay"
    assert params["return_url"] == "https://pay.example/return"
    assert json.loads(params["biz_content"])["product_code"] == "FAST_INSTANT_TRADE_PAY"
    assert not wire.sent


@pytest.mark.parametrize("scene", [Scene.MOBILE, Scene.ALIPAY])
def test_a_phone_goes_to_the_cashier_by_a_signed_address(scene: Scene, alipay: Alipay, wire: Wire) -> None:
    step = alipay.start(order(scene))
    assert isinstance(step, Redirect)
    params = verified_params(dict(parse_qsl(urlsplit(step.url).query)))
    biz = json.loads(params["biz_content"])
    assert params["method"] == "alipay.trade.wap.pay"
    assert (biz["product_code"], biz["quit_url"]) == ("QUICK_WAP_WAY", "https://pay.example/return")
    assert not wire.sent


def test_an_app_gets_a_signed_order_string(alipay: Alipay, wire: Wire) -> None:
    step = alipay.start(order(Scene.APP))
    assert isinstance(step, AppParams)
    params = verified_params(dict(parse_qsl(step.params["order_string"])))
    assert params["method"] == "alipay.trade.app.pay"
    assert "return_url" not in params
    assert json.loads(params["biz_content"])["product_code"] == "QUICK_MSECURITY_PAY"
    assert not wire.sent


@pytest.mark.parametrize("text", ["a/b=c&d", "tab\tline\nnull\x00", "长" * 400, "", "&&&", "\ud800x", "🧧"])
def test_a_subject_is_made_fit_and_is_never_empty(text: str, alipay: Alipay) -> None:
    step = alipay.start(replace(order(Scene.MOBILE), description=text))
    assert isinstance(step, Redirect)
    subject = json.loads(dict(parse_qsl(urlsplit(step.url).query))["biz_content"])["subject"]
    assert 1 <= len(subject) <= 256
    assert not set("/=&\t\n\x00") & set(subject)


def test_a_code_for_another_order_is_not_shown(alipay: Alipay, wire: Wire) -> None:
    wire.gives(far.accepted("alipay.trade.precreate", out_trade_no="ANOTHER1", qr_code=far.QR_CODE))
    with pytest.raises(ProviderUnreachable):
        alipay.start(order(Scene.DESKTOP))


# Paid, closed, refunded: the ambiguous words


def test_a_closed_trade_with_a_time_of_payment_was_paid(alipay: Alipay, wire: Wire) -> None:
    """After a refund in full a query says TRADE_CLOSED; the payment itself succeeded."""
    fields = {"trade_status": "TRADE_CLOSED", "total_amount": "19.99", "trade_no": far.TRADE_NO}
    paid = {"out_trade_no": REF.out_trade_no, "send_pay_date": "2024-01-15 10:00:30", **fields}
    wire.gives(far.accepted("alipay.trade.query", **paid))
    result = alipay.query(REF)
    assert (result.outcome, result.amount) == (Outcome.SUCCEEDED, PRICE)
    wire.gives(far.accepted("alipay.trade.query", out_trade_no=REF.out_trade_no, **fields))
    assert alipay.query(REF).outcome is Outcome.CLOSED


def test_a_finished_trade_is_paid_even_if_it_was_refunded_in_part(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_FINISHED", PRICE, refund_fee="5.00", out_biz_no="R1")
    result = reader.read_callback(far.notice(fields))
    assert isinstance(result, PaymentResult)
    assert (result.outcome, result.amount) == (Outcome.SUCCEEDED, PRICE)


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_CLOSED"])
@pytest.mark.parametrize("evidence", [{"refund_fee": "5.00"}, {"gmt_refund": "2024-01-15 10:05:01.123"}])
def test_either_sign_of_a_refund_makes_it_news_of_a_refund(
    status: str, evidence: dict[str, str], reader: Alipay
) -> None:
    fields = far.notice_fields(REF.out_trade_no, status, PRICE, out_biz_no="R1", **evidence)
    result = reader.read_callback(far.notice(fields))
    assert isinstance(result, RefundResult)
    assert (result.out_refund_no, result.outcome, result.amount) == ("R1", Outcome.SUCCEEDED, None)


def test_a_refund_without_a_number_goes_by_the_orders(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_CLOSED", PRICE, refund_fee="19.99")
    result = reader.read_callback(far.notice(fields))
    assert isinstance(result, RefundResult)
    assert result.out_refund_no == REF.out_trade_no


def test_a_refund_fee_of_nothing_is_no_refund(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE, refund_fee="0.00", gmt_payment="x")
    result = reader.read_callback(far.notice(fields))
    assert isinstance(result, PaymentResult)
    assert (result.outcome, result.paid_at) == (Outcome.SUCCEEDED, None)


def test_a_closed_notice_with_a_time_of_payment_was_paid(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_CLOSED", PRICE, gmt_payment="2024-01-15 10:00:30")
    assert reader.read_callback(far.notice(fields)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("amount", ["", "0.00", "-19.99", "19.999", "１９", "1e3"])
def test_a_paid_trade_without_a_readable_amount_is_never_paid(
    amount: str, alipay: Alipay, wire: Wire
) -> None:
    fields = {**far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE), "total_amount": amount}
    with pytest.raises(SignatureMismatch):
        alipay.read_callback(far.notice({k: v for k, v in fields.items() if v}))
    answer = {"out_trade_no": REF.out_trade_no, "trade_status": "TRADE_SUCCESS", "total_amount": amount}
    wire.gives(far.accepted("alipay.trade.query", **answer))
    with pytest.raises(ProviderUnreachable):
        alipay.query(REF)


def test_an_amount_in_another_currency_keeps_its_currency(alipay: Alipay, wire: Wire) -> None:
    fields = {"out_trade_no": REF.out_trade_no, "trade_status": "TRADE_SUCCESS", "total_amount": "19.99"}
    wire.gives(far.accepted("alipay.trade.query", trans_currency="USD", **fields))
    assert alipay.query(REF).amount == Money(1999, "USD")


def test_a_finished_trade_was_paid_when_asked_about(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().queried(REF, Outcome.SUCCEEDED, PRICE, status="TRADE_FINISHED"))
    result = alipay.query(REF)
    assert (result.outcome, result.amount, result.provider_status) == (
        Outcome.SUCCEEDED,
        PRICE,
        "TRADE_FINISHED",
    )


# Refunds


def test_the_sum_of_all_refunds_is_not_taken_for_this_one(alipay: Alipay, wire: Wire) -> None:
    """An answer's refund_fee counts every refund of the trade; only the query names this one's."""
    fields = {"out_trade_no": REF.out_trade_no, "fund_change": "Y", "refund_fee": "15.00"}
    wire.gives(far.accepted("alipay.trade.refund", **fields))
    assert alipay.refund(REFUND).amount == REFUND.amount
    notice = far.notice_fields(
        REF.out_trade_no, "TRADE_SUCCESS", PRICE, refund_fee="15.00", out_biz_no=REFUND.out_refund_no
    )
    assert alipay.read_callback(far.notice(notice)).amount is None


def test_a_refund_that_moved_nothing_is_decided_by_its_query(alipay: Alipay, wire: Wire) -> None:
    again = far.accepted("alipay.trade.refund", out_trade_no=REF.out_trade_no, fund_change="N")
    wire.gives(again, *AlipayForge().refund_queried(REFUND, Outcome.SUCCEEDED))
    result = alipay.refund(REFUND)
    assert (result.outcome, result.amount) == (Outcome.SUCCEEDED, REFUND.amount)


@pytest.mark.parametrize(
    "follow_up", [ProviderUnreachable("timed out"), "ACQ.ACCESS_FORBIDDEN", "ACQ.TRADE_NOT_EXIST"]
)
def test_an_accepted_refund_never_looks_refused(
    follow_up: Exception | str, alipay: Alipay, wire: Wire
) -> None:
    method = "alipay.trade.fastpay.refund.query"
    wire.gives(far.accepted("alipay.trade.refund", out_trade_no=REF.out_trade_no))
    wire.gives(far.refused(method, follow_up) if isinstance(follow_up, str) else follow_up)
    assert alipay.refund(REFUND).outcome is Outcome.PENDING


def test_a_refund_refused_for_the_trades_state_may_be_done_already(alipay: Alipay, wire: Wire) -> None:
    wire.gives(far.refused("alipay.trade.refund", "ACQ.TRADE_STATUS_ERROR"))
    wire.gives(*AlipayForge().refund_queried(REFUND, Outcome.SUCCEEDED))
    assert alipay.refund(REFUND).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("follow_up", [ProviderUnreachable("timed out"), "ACQ.ACCESS_FORBIDDEN"])
def test_a_refund_in_doubt_stays_in_doubt_without_its_query(
    follow_up: Exception | str, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.refund", "ACQ.TRADE_STATUS_ERROR"))
    method = "alipay.trade.fastpay.refund.query"
    wire.gives(far.refused(method, follow_up) if isinstance(follow_up, str) else follow_up)
    with pytest.raises(ProviderUnreachable):
        alipay.refund(REFUND)


def test_an_answer_about_another_refund_is_not_believed(alipay: Alipay, wire: Wire) -> None:
    other = replace(REFUND, out_refund_no="R00000000000000009")
    wire.gives(*AlipayForge().refund_queried(other, Outcome.SUCCEEDED))
    with pytest.raises(ProviderUnreachable):
        alipay.query_refund(REFUND)
    elsewhere = replace(REFUND, payment=replace(REF, out_trade_no="ANOTHER0001"))
    wire.gives(*AlipayForge().refunded(elsewhere, Outcome.SUCCEEDED))
    with pytest.raises(ProviderUnreachable):
        alipay.refund(REFUND)


def test_a_refund_of_an_unknown_trade_is_pending_when_asked_about(alipay: Alipay, wire: Wire) -> None:
    wire.gives(far.refused("alipay.trade.fastpay.refund.query", "ACQ.TRADE_NOT_EXIST"))
    result = alipay.query_refund(REFUND)
    assert (result.outcome, result.is_absent) == (Outcome.PENDING, True)


def test_a_refund_without_a_status_is_to_be_sent_again(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().refund_queried(REFUND, Outcome.PENDING))
    result = alipay.query_refund(REFUND)
    assert (result.outcome, result.is_absent) == (Outcome.PENDING, True)


def test_a_balance_that_is_too_low_for_a_refund_is_for_a_person(alipay: Alipay, wire: Wire) -> None:
    wire.gives(far.refused("alipay.trade.refund", "ACQ.SELLER_BALANCE_NOT_ENOUGH"))
    with pytest.raises(ProviderUnreachable) as silence:
        alipay.refund(REFUND)
    assert silence.value.needs_person
    wire.gives(far.refused("alipay.trade.refund", "ACQ.SYSTEM_ERROR"))
    with pytest.raises(ProviderUnreachable) as silence:
        alipay.refund(REFUND)
    assert not silence.value.needs_person


# Closing


@pytest.mark.parametrize("word", ["ACQ.TRADE_STATUS_ERROR", "ACQ.TRADE_HAS_SUCCESS"])
@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.SUCCEEDED])
def test_a_close_is_refused_while_money_is_in_or_may_come(
    word: str, outcome: Outcome, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.close", word), *AlipayForge().queried(REF, outcome, PRICE))
    with pytest.raises(ProviderRejected):
        alipay.close(REF)


# Payment codes


def test_a_trade_by_code_says_so(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().coded(code_order(AlipayForge()), Outcome.SUCCEEDED))
    alipay.charge_code(code_order(AlipayForge()))
    params = verified_params(sent_params(wire))
    assert (params["method"], params["notify_url"]) == (
        "alipay.trade.pay",
        "https://pay.example/callbacks/pa_1",
    )
    assert json.loads(params["biz_content"]) == {
        "auth_code": AlipayForge.pay_code,
        "out_trade_no": REF.out_trade_no,
        "product_code": "FACE_TO_FACE_PAYMENT",
        "scene": "bar_code",
        "subject": "测试商品 A+B",
        "terminal_id": "TILL0007",
        "time_expire": "2024-01-15 10:02:00",
        "total_amount": "19.99",
    }


def test_a_trade_that_is_not_canceled_yet_is_canceled_again(alipay: Alipay, wire: Wire) -> None:
    wire.gives(far.accepted("alipay.trade.cancel", out_trade_no=REF.out_trade_no, retry_flag="Y"))
    with pytest.raises(ProviderUnreachable):
        alipay.reverse(REF)
    wire.gives(far.refused("alipay.trade.cancel", "ACQ.TRADE_NOT_EXIST"))
    alipay.reverse(REF)  # it never arrived


@pytest.mark.parametrize("word", ["ACQ.SYSTEM_ERROR", "ACQ.TRADE_HAS_SUCCESS", "ACQ.CONTEXT_INCONSISTENT"])
def test_what_says_nothing_of_a_code_is_asked_about(word: str, alipay: Alipay, wire: Wire) -> None:
    wire.gives(far.refused("alipay.trade.pay", word))
    with pytest.raises(ProviderUnreachable):
        alipay.charge_code(code_order(AlipayForge()))
