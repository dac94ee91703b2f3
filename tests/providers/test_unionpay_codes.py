"""Every row of UnionPay's table of response codes, for every verb and for every transaction."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from app import clock
from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.providers import unionpay_codes
from app.providers.base import Outcome, Scene
from app.providers.unionpay import UnionPay
from tests.providers import unionpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, REFUND, Verb, Wire, act, order

PAID = ["00", "A6"]
UNKNOWN = ["03", "04", "05", "06", "12"]
# Nothing happened, and asking again later may go through.
LATER = ["02", "37", "39"]
ABSENT = ["34"]
REFUSED = (
    "01 10 11 13 30 31 32 33 35 36 38 40 42 43 45 46 60 61 64 65 66 67 68 69 70 73 77 80 83 85"
    " 86 87 88 89 98 99"
).split()
ALL = [*PAID, *UNKNOWN, *LATER, *ABSENT, *REFUSED]
NOT_PAID = [code for code in ALL if code not in PAID + UNKNOWN]
NEW = ["", "7", "07", "000", "a6", "ZZ", "A_WORD_FROM_THE_FUTURE", "00 ", " 00", "０0"]

UNIONPAY, LINE = far.connected()


@pytest.fixture
def wire() -> Wire:
    LINE.clear()
    return LINE


@pytest.fixture
def unionpay(wire: Wire) -> UnionPay:
    return UNIONPAY


def test_the_table_holds_exactly_the_codes_that_the_tests_know() -> None:
    assert sorted(unionpay_codes.CODES) == sorted(ALL)
    assert len(ALL) == len(set(ALL))


# As the answer to a call


@pytest.mark.parametrize("code", [code for code in ALL if code not in PAID])
@pytest.mark.parametrize("scene", [Scene.DESKTOP, Scene.APP])
def test_each_code_means_what_the_manual_says_for_a_new_payment(
    code: str, scene: Scene, unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.refused(code, orderId=REF.out_trade_no, txnTime="20240115100000"))
    wanted = ProviderRejected if code in REFUSED + ABSENT else ProviderUnreachable
    with pytest.raises(wanted) as refused:
        unionpay.start(order(scene))
    assert (type(refused.value) is NumberTaken) == (code == "12")
    assert refused.value.provider_code == code
    assert refused.value.detail.isascii()


def test_accepted_with_defects_opens_a_payment(unionpay: UnionPay, wire: Wire) -> None:
    about = {"orderId": REF.out_trade_no, "txnTime": "20240115100000"}
    wire.gives(far.refused("A6", qrCode=far.QR_CODE, **about))
    unionpay.start(order(Scene.DESKTOP))


@pytest.mark.parametrize("code", [code for code in ALL if code not in PAID + ABSENT])
def test_no_code_of_a_query_says_anything_of_the_transaction(
    code: str, unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.paid(respCode=code))
    with pytest.raises(ProviderUnreachable) as refused:
        unionpay.query(REF)
    assert refused.value.provider_code == code


@pytest.mark.parametrize("code", ALL)
def test_each_code_means_what_the_manual_says_for_a_refund(code: str, unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(code=code))
    if code in PAID:
        assert unionpay.refund(REFUND).outcome is Outcome.PENDING
        return
    if code in REFUSED + ABSENT + ["12"]:  # looked into before it is believed
        wire.gives(far.unknown_refund())
    definite = code in REFUSED + ABSENT
    with pytest.raises(ProviderRejected if definite else ProviderUnreachable) as refused:
        unionpay.refund(REFUND)
    assert refused.value.provider_code == code
    assert not wire.answers


@pytest.mark.parametrize("code", NEW)
@pytest.mark.parametrize("verb", [*Verb])
def test_a_code_that_is_in_no_table_means_outcome_unknown_and_is_logged(
    code: str, verb: Verb, unionpay: UnionPay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    number = REFUND.out_refund_no if verb in (Verb.REFUND, Verb.QUERY_REFUND) else REF.out_trade_no
    fields = far.common(respCode=code, orderId=number, txnTime="20240115100000")
    wire.gives(far.answer({name: text for name, text in fields.items() if text}))
    with caplog.at_level(logging.WARNING), pytest.raises(ProviderUnreachable):
        act(unionpay, verb, Scene.DESKTOP)
    assert "unknown response code" in caplog.text


# As what became of a transaction


@pytest.mark.parametrize("code", ALL)
@pytest.mark.parametrize("over", [False, True])
def test_each_code_tells_what_became_of_a_payment(
    code: str, over: bool, unionpay: UnionPay, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same word by query and by notification, but only a query knows of the deadline."""
    if over:
        monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(hours=1))
    ref = replace(REF, expires_at=NOW + timedelta(minutes=15))
    wire.gives(far.queried(REF.out_trade_no, NOW, code, PRICE))
    asked = unionpay.query(ref)
    told = unionpay.read_callback(far.notice(far.payment_fields(REF.out_trade_no, code, PRICE)))
    final = Outcome.FAILED if code in NOT_PAID else Outcome.PENDING
    wanted = Outcome.SUCCEEDED if code in PAID else final if over or code == "42" else Outcome.PENDING
    assert (asked.outcome, asked.provider_status) == (wanted, code)
    if not over:
        assert (told.outcome, told.provider_status) == (wanted, code)


@pytest.mark.parametrize("code", ALL)
def test_each_code_tells_what_became_of_a_refund(code: str, unionpay: UnionPay, wire: Wire) -> None:
    wanted = Outcome.FAILED if code in NOT_PAID else Outcome.SUCCEEDED if code in PAID else Outcome.PENDING
    wire.gives(far.answer(far.refund_fields(REFUND, "00", origRespCode=code)))
    assert unionpay.query_refund(REFUND).outcome is wanted
    assert unionpay.read_callback(far.notice(far.refund_fields(REFUND, code))).outcome is wanted


@pytest.mark.parametrize("code", [code for code in NEW if code])
def test_a_word_for_a_transaction_that_is_in_no_table_is_pending_and_logged(
    code: str, unionpay: UnionPay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.gives(far.queried(REF.out_trade_no, NOW, code, PRICE))
    wire.gives(far.answer(far.refund_fields(REFUND, "00", origRespCode=code)))
    with caplog.at_level(logging.WARNING):
        assert unionpay.query(REF).outcome is Outcome.PENDING
        assert unionpay.query_refund(REFUND).outcome is Outcome.PENDING
        for fields in (far.payment_fields(REF.out_trade_no, code, PRICE), far.refund_fields(REFUND, code)):
            assert unionpay.read_callback(far.notice(fields)).outcome is Outcome.PENDING
    assert len([r for r in caplog.records if "unknown response code" in r.message]) == 4


def test_a_found_transaction_without_a_word_is_pending(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.answer(far.payment_fields(REF.out_trade_no, "00", PRICE)))
    assert unionpay.query(REF).outcome is Outcome.PENDING
    with pytest.raises(SignatureMismatch):
        unionpay.read_callback(far.notice(far.payment_fields(REF.out_trade_no, "", PRICE)))
