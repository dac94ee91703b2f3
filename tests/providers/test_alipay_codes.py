"""Every row of Alipay's tables of result codes, for every verb."""

from __future__ import annotations

import logging

import pytest

from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable
from app.providers import alipay_codes
from app.providers.alipay import Alipay
from app.providers.alipay_codes import Verdict
from app.providers.base import Outcome, PaymentResult, Scene
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import AlipayForge, method_of
from tests.providers.contract import PRICE, REF, REFUND, Verb, Wire, act, order

SUB_CODES = {
    Verdict.UNKNOWN: "ACQ.SYSTEM_ERROR aop.ACQ.SYSTEM_ERROR isp.unknow-error aop.unknow-error"
    " ACQ.SELLER_BALANCE_NOT_ENOUGH",
    Verdict.ABSENT: "ACQ.TRADE_NOT_EXIST",
    Verdict.CLOSED: "ACQ.TRADE_HAS_CLOSE",
    Verdict.QUERY: "ACQ.TRADE_HAS_SUCCESS ACQ.CONTEXT_INCONSISTENT ACQ.TRADE_STATUS_ERROR"
    " ACQ.REASON_TRADE_STATUS_INVALID ACQ.TRADE_BUYER_NOT_MATCH",
    Verdict.REJECTED: "ACQ.PAYMENT_AUTH_CODE_INVALID ACQ.SOUNDWAVE_PARSER_FAIL ACQ.BUYER_BALANCE_NOT_ENOUGH"
    " BUYER_BANKCARD_BALANCE_NOT_ENOUGH ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH ERROR_BALANCE_PAYMENT_DISABLE"
    " NO_PAYMENT_INSTRUMENTS_AVAILABLE PAYMENT_FAIL BUYER_ENABLE_STATUS_FORBID PULL_MOBILE_CASHIER_FAIL"
    " MOBILE_PAYMENT_SWITCH_OFF BUYER_SELLER_EQUAL"
    " ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR"
    " ACQ.BUYER_PAYMENT_AMOUNT_YEAR_LIMIT_ERROR PAYMENT_REQUEST_HAS_RISK TOTAL_FEE_EXCEED"
    " BEYOND_PAY_RESTRICTION BEYOND_PER_RECEIPT_RESTRICTION SELLER_BEEN_BLOCKED EXIST_FORBIDDEN_WORD"
    " PARTNER_ERROR ACCESS_FORBIDDEN INVALID_PARAMETER ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    " ACQ.REASON_TRADE_REFUND_FEE_ERR ACQ.TRADE_NOT_ALLOW_REFUND ACQ.TRADE_HAS_FINISHED"
    " ACQ.REFUND_FEE_ERROR ACQ.NOT_ALLOW_PARTIAL_REFUND ACQ.REASON_REFUND_TIMEOUT isp.bill_not_exist"
    " BILL_NOT_EXIST INVAILID_ARGUMENTS",
}
ROWS = [(word, verdict) for verdict, words in SUB_CODES.items() for word in words.split()]
CODES = {
    "10003": Verdict.UNKNOWN,
    "20000": Verdict.UNKNOWN,
    "20001": Verdict.REJECTED,
    "40001": Verdict.REJECTED,
    "40002": Verdict.REJECTED,
    "40003": Verdict.REJECTED,
    "40005": Verdict.UNKNOWN,
    "40006": Verdict.REJECTED,
}
# What each verb makes of each verdict, when the query that may follow finds nothing.
START = {
    Verdict.REJECTED: ProviderRejected,
    Verdict.ABSENT: ProviderRejected,
    Verdict.CLOSED: NumberTaken,
    Verdict.QUERY: NumberTaken,
    Verdict.UNKNOWN: ProviderUnreachable,
}
REFUNDING = {**START, Verdict.QUERY: ProviderRejected, Verdict.CLOSED: ProviderRejected}


def test_the_tables_hold_no_word_that_the_tests_do_not_know() -> None:
    known = {alipay_codes._PREFIX.sub("", word, count=1) for word, _ in ROWS}
    assert set(alipay_codes.SUB_CODES) <= known
    assert set(alipay_codes.CODES) == {*CODES, "10000"}


@pytest.mark.parametrize(("word", "verdict"), ROWS)
@pytest.mark.parametrize(
    ("scene", "method"),
    [(Scene.DESKTOP, "alipay.trade.precreate"), (Scene.ALIPAY, "alipay.trade.create")],
)
def test_each_sub_code_means_what_the_manual_says_for_a_new_payment(
    word: str, verdict: Verdict, scene: Scene, method: str, in_app: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused(method, word))
    with pytest.raises(START[verdict]) as refused:
        in_app.start(order(scene))
    assert type(refused.value) is START[verdict]
    assert refused.value.provider_code == word
    assert refused.value.detail.isascii()


@pytest.mark.parametrize(("word", "verdict"), ROWS)
def test_each_sub_code_means_what_the_manual_says_for_a_refund(
    word: str, verdict: Verdict, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.refund", word))
    if verdict in (Verdict.QUERY, Verdict.CLOSED):
        wire.gives(*AlipayForge().refund_queried(REFUND, Outcome.PENDING))
    with pytest.raises(REFUNDING[verdict]) as refused:
        alipay.refund(REFUND)
    assert refused.value.provider_code == word
    assert not wire.answers


@pytest.mark.parametrize(("word", "verdict"), ROWS)
def test_each_sub_code_means_what_the_manual_says_for_a_close(
    word: str, verdict: Verdict, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.close", word))
    if verdict is Verdict.QUERY:
        wire.gives(*AlipayForge().queried(REF, Outcome.SUCCEEDED, PRICE))
    if verdict in (Verdict.ABSENT, Verdict.CLOSED):
        alipay.close(REF)
        return
    with pytest.raises(ProviderUnreachable if verdict is Verdict.UNKNOWN else ProviderRejected) as refused:
        alipay.close(REF)
    assert refused.value.provider_code == word


@pytest.mark.parametrize(("word", "verdict"), ROWS)
def test_no_sub_code_ever_makes_a_query_say_paid_failed_or_closed(
    word: str, verdict: Verdict, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.query", word))
    if verdict is Verdict.ABSENT:
        assert alipay.query(REF) == PaymentResult(
            REF.out_trade_no, Outcome.PENDING, provider_status=word, is_absent=True
        )
        return
    with pytest.raises(ProviderUnreachable if verdict is Verdict.UNKNOWN else ProviderRejected):
        alipay.query(REF)


@pytest.mark.parametrize(("code", "verdict"), CODES.items())
@pytest.mark.parametrize("verb", [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
@pytest.mark.parametrize("sub_code", ["", "isv.invalid-signature", "ACQ.TRADE_NOT_EXIST"])
def test_each_code_decides_whatever_sub_code_stands_beside_it(
    code: str, verdict: Verdict, verb: Verb, sub_code: str, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused(method_of(verb), sub_code, code))
    with pytest.raises(START[verdict]) as refused:
        act(alipay, verb, Scene.DESKTOP)
    assert refused.value.provider_code == (sub_code or code)


@pytest.mark.parametrize(
    ("code", "sub_code"), [("40004", "ACQ.BRAND_NEW"), ("40004", ""), ("49999", ""), ("", "")]
)
@pytest.mark.parametrize("verb", [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
def test_a_code_that_is_in_no_table_means_outcome_unknown_and_is_logged(
    code: str, sub_code: str, verb: Verb, alipay: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.gives(far.refused(method_of(verb), sub_code, code))
    with caplog.at_level(logging.WARNING), pytest.raises(ProviderUnreachable):
        act(alipay, verb, Scene.DESKTOP)
    assert "unknown result code" in caplog.text
