"""Every row of WeChat Pay's table of error codes, for every verb."""

from __future__ import annotations

import logging

import pytest

from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable
from app.providers import wechatpay_codes
from app.providers.base import Outcome, PaymentRef, PaymentResult, Scene
from app.providers.wechatpay import WechatPay
from app.providers.wechatpay_codes import Verdict
from tests.providers import wechatpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, REFUND, Verb, Wire, act, order
from tests.providers.wechatpay_forge import WechatPayForge

ROWS = [
    (400, "PARAM_ERROR", Verdict.REJECTED),
    (400, "INVALID_REQUEST", Verdict.REJECTED),
    (400, "APPID_MCHID_NOT_MATCH", Verdict.REJECTED),
    (400, "MCH_NOT_EXISTS", Verdict.REJECTED),
    (401, "SIGN_ERROR", Verdict.REJECTED),
    (403, "NO_AUTH", Verdict.REJECTED),
    (403, "RULE_LIMIT", Verdict.REJECTED),
    (403, "TRADE_ERROR", Verdict.REJECTED),
    (400, "ORDER_CLOSED", Verdict.CLOSED),
    (403, "OUT_TRADE_NO_USED", Verdict.QUERY),
    (400, "ORDERPAID", Verdict.QUERY),
    (403, "ORDERPAID", Verdict.QUERY),
    (403, "ACCOUNT_ERROR", Verdict.REJECTED),
    (403, "USER_ACCOUNT_ABNORMAL", Verdict.REJECTED),
    (403, "NOT_ENOUGH", Verdict.REJECTED),
    (404, "ORDER_NOT_EXIST", Verdict.ABSENT),
    (404, "RESOURCE_NOT_EXISTS", Verdict.ABSENT),
    (429, "FREQUENCY_LIMITED", Verdict.UNKNOWN),
    (429, "RATELIMIT_EXCEEDED", Verdict.UNKNOWN),
    (403, "FREQUENCY_LIMITED", Verdict.UNKNOWN),
    (400, "RATELIMIT_EXCEEDED", Verdict.UNKNOWN),
    (500, "SYSTEM_ERROR", Verdict.UNKNOWN),
    (400, "SYSTEM_ERROR", Verdict.UNKNOWN),
    (502, "SERVICE_UNAVAILABLE", Verdict.UNKNOWN),
    (503, "SERVICE_UNAVAILABLE", Verdict.UNKNOWN),
    (400, "SERVICE_UNAVAILABLE", Verdict.UNKNOWN),
    (500, "BANK_ERROR", Verdict.UNKNOWN),
    (400, "BANK_ERROR", Verdict.UNKNOWN),
    (400, "USERPAYING", Verdict.UNKNOWN),
    (400, "AUTH_CODE_INVALID", Verdict.REJECTED),
    (400, "AUTHCODEEXPIRE", Verdict.REJECTED),
    (400, "NO_STATEMENT_EXIST", Verdict.REJECTED),
    (400, "STATEMENT_CREATING", Verdict.REJECTED),
]
STARTING = {
    Verdict.REJECTED: ProviderRejected,
    Verdict.ABSENT: ProviderRejected,
    Verdict.CLOSED: NumberTaken,
    Verdict.QUERY: NumberTaken,
    Verdict.UNKNOWN: ProviderUnreachable,
}
REFUNDING = {**STARTING, Verdict.QUERY: ProviderRejected, Verdict.CLOSED: ProviderRejected}
UNASKED = PaymentRef(REF.out_trade_no, NOW)
VERBS = [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND, Verb.STATEMENT]


@pytest.fixture(scope="module")
def line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def wechatpay(line: Wire) -> WechatPay:
    return WechatPay(far.PUBLIC_KEY_MODE, line)


@pytest.fixture
def wire(line: Wire) -> Wire:
    line.clear()
    return line


def test_the_tables_hold_no_word_that_the_tests_do_not_know() -> None:
    assert {code for _, code, _ in ROWS} == set(wechatpay_codes.CODES)
    assert set(wechatpay_codes.REFUND_CODES) == {"NOT_ENOUGH"}


@pytest.mark.parametrize(("status", "code", "verdict"), ROWS)
def test_each_code_means_what_the_manual_says_for_a_new_payment(
    status: int, code: str, verdict: Verdict, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(status, code))
    with pytest.raises(STARTING[verdict]) as refused:
        wechatpay.start(order(Scene.DESKTOP))
    assert type(refused.value) is STARTING[verdict]
    assert refused.value.provider_code == code
    assert refused.value.detail.isascii()
    assert not wire.answers


@pytest.mark.parametrize(("status", "code", "verdict"), ROWS)
def test_each_code_means_what_the_manual_says_for_a_refund(
    status: int, code: str, verdict: Verdict, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(status, code))
    # Topped up, the same number goes through: the reserve is kept.
    wanted = ProviderUnreachable if code == "NOT_ENOUGH" else REFUNDING[verdict]
    with pytest.raises(wanted) as refused:
        wechatpay.refund(REFUND)
    assert refused.value.provider_code == code


@pytest.mark.parametrize(
    ("status", "code", "needs_person", "waits"),
    [
        (403, "NOT_ENOUGH", True, False),
        (429, "FREQUENCY_LIMITED", False, True),
        (500, "SYSTEM_ERROR", False, False),
    ],
)
def test_a_refund_that_is_not_taken_now_says_what_it_waits_for(
    status: int, code: str, needs_person: bool, waits: bool, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(status, code))
    with pytest.raises(ProviderUnreachable) as silence:
        wechatpay.refund(REFUND)
    assert silence.value.needs_person == needs_person
    assert (silence.value.retry_after_s is not None) == waits


@pytest.mark.parametrize(("status", "code", "verdict"), ROWS)
def test_each_code_means_what_the_manual_says_for_a_close(
    status: int, code: str, verdict: Verdict, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(status, code))
    if verdict in (Verdict.QUERY, Verdict.REJECTED):
        wire.gives(*WechatPayForge().queried(UNASKED, Outcome.SUCCEEDED, PRICE))
    if verdict in (Verdict.ABSENT, Verdict.CLOSED):
        wechatpay.close(UNASKED)
        return
    with pytest.raises(ProviderUnreachable if verdict is Verdict.UNKNOWN else ProviderRejected) as refused:
        wechatpay.close(UNASKED)
    assert refused.value.provider_code == code
    assert not wire.answers


@pytest.mark.parametrize(("status", "code", "verdict"), ROWS)
def test_no_code_ever_makes_a_query_say_paid_failed_or_closed(
    status: int, code: str, verdict: Verdict, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(status, code))
    if verdict is Verdict.ABSENT:
        absent = PaymentResult(REF.out_trade_no, Outcome.PENDING, provider_status=code, is_absent=True)
        assert wechatpay.query(UNASKED) == absent
        wire.gives(far.refused(status, code))
        assert wechatpay.query_refund(REFUND).outcome is Outcome.PENDING
        return
    with pytest.raises(ProviderUnreachable if verdict is Verdict.UNKNOWN else ProviderRejected):
        wechatpay.query(UNASKED)


@pytest.mark.parametrize("code", sorted(wechatpay_codes.CODES))
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 302])
def test_only_a_4xx_is_a_definite_no_whatever_the_code(
    status: int, code: str, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(status, code))
    with pytest.raises(ProviderUnreachable):
        wechatpay.refund(REFUND)


@pytest.mark.parametrize("code", ["BRAND_NEW", "", "no auth", "NO_AUTH\n", "支付", "x" * 5000])
@pytest.mark.parametrize("verb", VERBS)
def test_a_code_that_is_in_no_table_means_outcome_unknown_and_is_logged(
    code: str, verb: Verb, wechatpay: WechatPay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.gives(far.refused(403, code))
    if verb is Verb.START:  # looked into before it leaves the payer in doubt
        wire.gives(ProviderUnreachable("timed out"))
    with caplog.at_level(logging.WARNING), pytest.raises(ProviderUnreachable) as refused:
        act(wechatpay, verb, Scene.DESKTOP)
    assert "unknown error code" in caplog.text
    assert len(refused.value.provider_code or "") <= 64
