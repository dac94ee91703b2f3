"""The Alipay adapter against the contract, the known-answer vectors, and every word of the manual."""

from __future__ import annotations

import base64
import io
import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.errors import InvalidRequest, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers import alipay_certs, alipay_codes, alipay_wire, rsa
from app.providers.alipay import Alipay
from app.providers.alipay_codes import Verdict
from app.providers.base import (
    AppParams,
    HttpAnswer,
    Inbound,
    Outcome,
    PaymentResult,
    Redirect,
    RefundResult,
    Scene,
    ShowQR,
)
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import CERT_MODE, KEY_MODE, KEYS, VECTORS, AlipayForge
from tests.providers.contract import (
    DAY,
    NOW,
    PRICE,
    REF,
    REFUND,
    STATEMENT,
    ProviderContract,
    Verb,
    Wire,
    act,
    order,
)

ALL = VECTORS["alipay"]
REQUESTS = [vector for vector in ALL if vector["kind"] == "request"]
ANSWERS = [vector for vector in ALL if vector["kind"] == "sync_response"]
NOTICES = [vector for vector in ALL if vector["kind"] == "notify"]
BY_ID = {vector["id"]: vector for vector in ALL}
# The sellers' number of the account is not checked unless it is set; most tests leave it out.
SETTINGS = {name: value for name, value in KEY_MODE.items() if name != "seller_id"}


def named(vector: Mapping[str, Any]) -> str:
    return str(vector["id"])


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture(scope="module")
def line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def alipay(line: Wire) -> Alipay:
    """One adapter for all: in key mode it is stateless, and reading its keys takes 35 ms."""
    return Alipay(SETTINGS, line)


@pytest.fixture
def wire(line: Wire) -> Wire:
    """The adapter's line, as new."""
    line.clear()
    return line


@pytest.fixture(scope="module")
def reader() -> Alipay:
    return Alipay(SETTINGS, Wire())


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


# Known answers, made by independent packages


@pytest.mark.parametrize("vector", REQUESTS, ids=named)
def test_a_request_is_signed_as_the_independent_packages_sign_it(vector: Mapping[str, Any]) -> None:
    signed = alipay_wire.signed_params(vector["params"], far.private_key(vector["sign_key"]))
    assert alipay_wire.canonical(vector["params"]).decode() == vector["canonical"]
    assert signed["sign"] == vector["sign"]
    assert dict(parse_qsl(alipay_wire.query_text(signed))) == dict(parse_qsl(vector["urlencoded"]))


def test_a_query_repeats_the_official_package_byte_for_byte(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().queried(REF, Outcome.SUCCEEDED, PRICE))
    alipay.query(REF)
    assert sent_params(wire) == {
        **BY_ID["ali-req-query-key"]["params"],
        "sign": BY_ID["ali-req-query-key"]["sign"],
    }


def test_a_refund_repeats_the_official_package_byte_for_byte(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().refunded(REFUND, Outcome.SUCCEEDED))
    alipay.refund(REFUND)
    vector = BY_ID["ali-req-refund-key"]
    assert sent_params(wire) == {**vector["params"], "sign": vector["sign"]}


def test_certificates_are_numbered_as_the_independent_packages_number_them() -> None:
    vector = BY_ID["ali-cert-sn"]
    names, expected = vector["input_files"], vector["expected"]
    app, alipay = (rsa.certificate(KEYS[names[n]], "x") for n in ("app_cert", "alipay_cert"))
    assert alipay_certs.serial_number(app) == expected["app_cert_sn"]
    assert alipay_certs.serial_number(alipay) == expected["alipay_cert_sn"]
    bundle = rsa.certificates(KEYS[names["root_bundle"]])
    assert alipay_certs.root_serial_numbers(bundle) == expected["alipay_root_cert_sn"]


@pytest.mark.parametrize("vector", ANSWERS, ids=named)
def test_an_answer_verifies_exactly_when_the_independent_packages_say_so(vector: Mapping[str, Any]) -> None:
    method = vector["node"].removesuffix("_response").replace("_", ".")
    answer = alipay_wire.read_answer(vector["response_body"].encode(), method)
    key = rsa.public_key(KEYS["alipay.pub.pem"], "x")
    if not vector["expected_valid"]:
        with pytest.raises(SignatureMismatch):
            rsa.verify(key, answer.signed, answer.signature)
        return
    rsa.verify(key, answer.signed, answer.signature)
    assert answer.signed.decode() == vector["signed_substring"]
    assert answer.node == vector["expected_node"]


@pytest.mark.parametrize("vector", NOTICES, ids=named)
def test_a_notification_is_accepted_exactly_when_the_independent_packages_accept_it(
    vector: Mapping[str, Any], reader: Alipay
) -> None:
    inbound = Inbound({}, vector["form_body"].encode(), NOW)
    if not vector["expected_valid"]:
        with pytest.raises(SignatureMismatch):
            reader.read_callback(inbound)
        return
    result = reader.read_callback(inbound)
    assert result.out_trade_no == vector["decoded"]["out_trade_no"]
    assert result.provider_status == vector["decoded"]["trade_status"]
    assert reader.reply(True).body.decode() == vector["expected_reply"]


def test_the_vectors_of_a_payment_and_its_refunds_are_told_apart(reader: Alipay) -> None:
    paid, part, whole = (
        reader.read_callback(Inbound({}, BY_ID[name]["form_body"].encode(), NOW))
        for name in ("ali-notify-success", "ali-notify-partial-refund", "ali-notify-closed-full-refund")
    )
    number = "20240115100000000001"
    paid_at = datetime(2024, 1, 15, 2, 0, 30, tzinfo=UTC)
    assert paid == PaymentResult(number, Outcome.SUCCEEDED, PRICE, far.TRADE_NO, paid_at, "TRADE_SUCCESS")
    assert part == RefundResult(
        number,
        "R20240115100500000001",
        Outcome.SUCCEEDED,
        refunded_at=datetime(2024, 1, 15, 2, 5, 1, tzinfo=UTC),
        provider_status="TRADE_SUCCESS",
    )
    assert whole == RefundResult(
        number,
        "R20240115100500000002",
        Outcome.SUCCEEDED,
        refunded_at=datetime(2024, 1, 15, 2, 6, 1, tzinfo=UTC),
        provider_status="TRADE_CLOSED",
    )


# Starting, product by product


def test_a_desktop_gets_the_code_to_scan(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().started(order(Scene.DESKTOP)))
    assert alipay.start(order(Scene.DESKTOP)) == ShowQR(far.QR_CODE)
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


# Every row of the tables of result codes

SUB_CODES = {
    Verdict.UNKNOWN: "ACQ.SYSTEM_ERROR aop.ACQ.SYSTEM_ERROR isp.unknow-error aop.unknow-error"
    " ACQ.SELLER_BALANCE_NOT_ENOUGH",
    Verdict.ABSENT: "ACQ.TRADE_NOT_EXIST",
    Verdict.CLOSED: "ACQ.TRADE_HAS_CLOSE",
    Verdict.QUERY: "ACQ.TRADE_HAS_SUCCESS ACQ.CONTEXT_INCONSISTENT ACQ.TRADE_STATUS_ERROR"
    " ACQ.REASON_TRADE_STATUS_INVALID",
    Verdict.REJECTED: "ACQ.PAYMENT_AUTH_CODE_INVALID ACQ.SOUNDWAVE_PARSER_FAIL ACQ.BUYER_BALANCE_NOT_ENOUGH"
    " BUYER_BANKCARD_BALANCE_NOT_ENOUGH ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH ERROR_BALANCE_PAYMENT_DISABLE"
    " NO_PAYMENT_INSTRUMENTS_AVAILABLE PAYMENT_FAIL BUYER_ENABLE_STATUS_FORBID PULL_MOBILE_CASHIER_FAIL"
    " MOBILE_PAYMENT_SWITCH_OFF BUYER_SELLER_EQUAL TRADE_BUYER_NOT_MATCH"
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
    Verdict.CLOSED: ProviderRejected,
    Verdict.QUERY: ProviderUnreachable,
    Verdict.UNKNOWN: ProviderUnreachable,
}
REFUNDING = {**START, Verdict.QUERY: ProviderRejected}


def test_the_tables_hold_no_word_that_the_tests_do_not_know() -> None:
    known = {alipay_codes._PREFIX.sub("", word, count=1) for word, _ in ROWS}
    assert set(alipay_codes.SUB_CODES) <= known
    assert set(alipay_codes.CODES) == {*CODES, "10000"}


@pytest.mark.parametrize(("word", "verdict"), ROWS)
def test_each_sub_code_means_what_the_manual_says_for_a_new_payment(
    word: str, verdict: Verdict, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.precreate", word))
    with pytest.raises(START[verdict]) as refused:
        alipay.start(order(Scene.DESKTOP))
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
        assert alipay.query(REF) == PaymentResult(REF.out_trade_no, Outcome.PENDING, provider_status=word)
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


# What is not signed, or not by Alipay, is not believed


@pytest.mark.parametrize("verb", [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
@pytest.mark.parametrize("node", ["", "error_response"])
def test_an_unsigned_refusal_means_outcome_unknown_but_says_what_was_heard(
    verb: Verb, node: str, alipay: Alipay, wire: Wire
) -> None:
    fields = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-app-id"}
    wire.gives(far.envelope(method_of(verb), fields, node=node, signature=""))
    with pytest.raises(ProviderUnreachable) as refused:
        act(alipay, verb, Scene.DESKTOP)
    assert refused.value.provider_code == "isv.invalid-app-id"


def test_a_signed_error_response_is_a_definite_no(alipay: Alipay, wire: Wire) -> None:
    fields = {
        "code": "40006",
        "msg": "Insufficient Permissions",
        "sub_code": "isv.insufficient-isv-permissions",
    }
    wire.gives(far.envelope("alipay.trade.refund", fields, node="error_response"))
    with pytest.raises(ProviderRejected):
        alipay.refund(REFUND)


@pytest.mark.parametrize("verb", [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
def test_an_answer_signed_by_somebody_else_means_outcome_unknown(
    verb: Verb, alipay: Alipay, wire: Wire
) -> None:
    fields = {"code": "10000", "msg": "Success", "out_trade_no": REF.out_trade_no, "fund_change": "Y"}
    wire.gives(far.envelope(method_of(verb), fields, key=far.private_key("app.pkcs8.pem")))
    with pytest.raises(ProviderUnreachable):
        act(alipay, verb, Scene.DESKTOP)


@pytest.mark.parametrize(
    "body",
    [
        '{"alipay_trade_query_response":{},"alipay_trade_query_response":{},"sign":"a"}',
        '{"alipay_trade_query_response":"text","sign":"a"}',
        '{"alipay_trade_query_response":{"code":"10000"},"sign":7}',
        '{"alipay_trade_query_response":{"code":"10000"},"sign":"a"} and more',
        '{"alipay_trade_query_response":{"code":"10000"} "sign":"a"}',
        '{7:{"code":"10000"},"sign":"a"}',
        '{"alipay_trade_query_response":{"code":"10000","n":' + "9" * 5000 + '},"sign":"a"}',
        "null",
        '"text"',
    ],
)
def test_a_misshapen_answer_means_outcome_unknown(body: str, alipay: Alipay, wire: Wire) -> None:
    wire.gives(HttpAnswer(200, {}, body.encode()))
    with pytest.raises(ProviderUnreachable):
        alipay.query(REF)


@given(blanks=st.lists(st.sampled_from(["", " ", "\n", "\t\r\n"]), min_size=7, max_size=7))
def test_blanks_between_members_do_not_move_the_signed_text(blanks: list[str]) -> None:
    node = '{ "code" : "10000", "x":"}{\\"sign\\":\\"" }'
    a, b, c, d, e, f, g = blanks
    body = f'{a}{{{b}"m_response"{c}:{d}{node}{e},{f}"sign":"s"{g}}}'
    answer = alipay_wire.read_answer(body.encode(), "m")
    assert answer.signed.decode() == node


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


# Refunds


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
    assert alipay.query_refund(REFUND).outcome is Outcome.PENDING


# Closing


@pytest.mark.parametrize("word", ["ACQ.TRADE_STATUS_ERROR", "ACQ.TRADE_HAS_SUCCESS"])
@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.SUCCEEDED])
def test_a_close_is_refused_while_money_is_in_or_may_come(
    word: str, outcome: Outcome, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(far.refused("alipay.trade.close", word), *AlipayForge().queried(REF, outcome, PRICE))
    with pytest.raises(ProviderRejected):
        alipay.close(REF)


# Notifications: what else could be wrong with them


def test_another_sellers_notification_is_refused_when_the_seller_is_set() -> None:
    picky = Alipay(KEY_MODE, Wire())
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE)
    assert picky.read_callback(far.notice(fields)).outcome is Outcome.SUCCEEDED
    for seller in ({"seller_id": "2088000000000001"}, {}):
        rest = {k: v for k, v in fields.items() if k != "seller_id"}
        with pytest.raises(SignatureMismatch):
            picky.read_callback(far.notice({**rest, **seller}))


@pytest.mark.parametrize("missing", ["app_id", "out_trade_no", "trade_status", "total_amount"])
def test_a_notification_without_a_deciding_field_is_refused(missing: str, reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE)
    del fields[missing]
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice(fields))


def test_the_signed_parameters_of_the_return_page_are_no_notification(reader: Alipay) -> None:
    """They are signed with the same key by the same rule, and every shopper has them."""
    fields = {
        "app_id": far.APP_ID,
        "auth_app_id": far.APP_ID,
        "charset": "utf-8",
        "method": "alipay.trade.wap.pay.return",
        "out_trade_no": REF.out_trade_no,
        "seller_id": far.SELLER_ID,
        "timestamp": "2024-01-15 10:00:31",
        "total_amount": "19.99",
        "trade_no": far.TRADE_NO,
        "version": "1.0",
    }
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice(fields))


@pytest.mark.parametrize("name", ["total_amount", "trade_status", "sign", "sign_type", "subject"])
@pytest.mark.parametrize("first", [True, False])
def test_a_field_that_comes_twice_is_refused(name: str, first: bool, reader: Alipay) -> None:
    body = paid_notice().body
    value = dict(parse_qsl(body.decode()))[name]
    extra = urlencode({name: value}).encode()
    doubled = extra + b"&" + body if first else body + b"&" + extra
    with pytest.raises(SignatureMismatch):
        reader.read_callback(Inbound({}, doubled, NOW))


@pytest.mark.parametrize("sign_type", ["RSA", "rsa2", "RSA2 ", "", "HMAC", None])
def test_only_rsa2_is_accepted(sign_type: str | None, reader: Alipay) -> None:
    fields = dict(parse_qsl(paid_notice().body.decode()))
    del fields["sign_type"]
    if sign_type is not None:
        fields["sign_type"] = sign_type
    with pytest.raises(SignatureMismatch):
        reader.read_callback(Inbound({}, urlencode(fields).encode(), NOW))


def test_gbk_is_read_when_the_notification_says_gbk(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE) | {"charset": "GBK"}
    assert reader.read_callback(far.notice(fields, charset="gbk")).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "idna", "base64", "zlib", "utf-7", "UNKNOWN", "测"])
def test_any_other_charset_is_refused(charset: str, reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE) | {"charset": charset}
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice(fields))


def test_text_that_is_not_in_the_named_charset_is_refused(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE)
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice(fields, charset="gbk"))


def test_a_signed_refund_cannot_be_folded_into_a_payment(reader: Alipay) -> None:
    """The signed text joins raw values: "a=1&b=2" can be sent as one field, and would still verify."""
    inbound = AlipayForge().refund_callback(REFUND, Outcome.SUCCEEDED)
    assert inbound is not None
    fields = dict(parse_qsl(inbound.body.decode()))
    fields["notify_type"] += f"&out_biz_no={fields.pop('out_biz_no')}"
    fields["gmt_payment"] += f"&gmt_refund={fields.pop('gmt_refund')}"
    fields["out_trade_no"] += f"&refund_fee={fields.pop('refund_fee')}"
    with pytest.raises(SignatureMismatch):
        reader.read_callback(Inbound({}, urlencode(fields).encode(), NOW))


def test_a_field_of_no_consequence_can_hold_what_it_likes(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE, passback_params="a=1&b=2&c")
    assert reader.read_callback(far.notice(fields)).outcome is Outcome.SUCCEEDED


def test_a_body_above_64_kib_or_of_too_many_fields_is_refused(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE)
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice({**fields, "body": "x" * 65_536}))
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice({**fields, **{f"extra{i}": "x" for i in range(200)}}))


def test_an_empty_value_takes_no_part_in_the_signature(reader: Alipay) -> None:
    body = paid_notice().body + b"&body="
    assert reader.read_callback(Inbound({}, body, NOW)).outcome is Outcome.SUCCEEDED


names = st.sampled_from(
    [*sorted(far.notice_fields("x", "y", PRICE)), "refund_fee", "gmt_payment", "gmt_refund"]
)
values = st.text(min_size=1, max_size=30) | st.sampled_from(
    [
        "TRADE_SUCCESS",
        "TRADE_CLOSED",
        "19.99",
        "-1",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "utf-8",
        "gbk",
    ]
)


@settings(max_examples=300, deadline=None)
@given(twist=st.dictionaries(names, values, max_size=4))
def test_a_signed_notification_of_any_content_is_read_or_refused(
    reader: Alipay, twist: dict[str, str]
) -> None:
    """What comes after the signature check is fed strange but genuine messages too."""
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE, gmt_payment="2024-01-15 10:00:30")
    try:
        result = reader.read_callback(far.notice({**fields, **twist}))
    except SignatureMismatch:
        return
    if isinstance(result, PaymentResult) and result.outcome is Outcome.SUCCEEDED:
        assert result.amount is not None
        assert result.amount.minor > 0


# Certificate mode


@pytest.fixture
def certified(wire: Wire) -> Alipay:
    return Alipay(CERT_MODE, wire)


HELD = BY_ID["ali-cert-sn"]["expected"]


def query_answer(**more: Any) -> HttpAnswer:
    fields = {
        "code": "10000",
        "msg": "Success",
        "out_trade_no": REF.out_trade_no,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "19.99",
        "trade_no": far.TRADE_NO,
        "send_pay_date": "2024-01-15 10:00:30",
    }
    return far.envelope("alipay.trade.query", fields, **more)


def test_certificate_mode_sends_both_numbers_signed(certified: Alipay, wire: Wire) -> None:
    wire.gives(query_answer(cert_number=HELD["alipay_cert_sn"]))
    assert certified.query(REF).outcome is Outcome.SUCCEEDED
    params = verified_params(sent_params(wire))
    assert params["app_cert_sn"] == HELD["app_cert_sn"]
    assert params["alipay_root_cert_sn"] == HELD["alipay_root_cert_sn"]
    assert wire.sent[0].url.startswith("https://openapi.alipay.com/gateway.do?")


def test_an_answer_without_a_number_is_checked_with_the_held_certificate(
    certified: Alipay, wire: Wire
) -> None:
    wire.gives(query_answer())
    assert certified.query(REF).outcome is Outcome.SUCCEEDED


def test_notifications_verify_with_the_held_certificate(certified: Alipay) -> None:
    assert certified.read_callback(paid_notice()).outcome is Outcome.SUCCEEDED


class Successor:
    """A newer certificate for Alipay, made by whoever ``signer`` is."""

    def __init__(
        self,
        *,
        signer: str = "alipay_sub",
        organisation: str = "Sim Alipay",
        days: int = 365,
        between: str = "",
    ) -> None:
        self.key: RSAPrivateKey = rsa_keys.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = x509.load_pem_x509_certificate(KEYS[f"{signer}.crt"].encode())
        self.adopt(
            certify(self.key, issuer.subject, far.private_key(f"{signer}.pkcs8.pem"), organisation, days),
            between,
        )

    def adopt(self, certificate: x509.Certificate, between: str = "") -> None:
        """Take this certificate, and the chain that is sent along with it."""
        text = certificate.public_bytes(serialization.Encoding.PEM).decode() + between
        self.content = base64.b64encode(text.encode()).decode()
        self.number = alipay_certs.serial_number(certificate)

    def download(self) -> HttpAnswer:
        method = "alipay.open.app.alipaycert.download"
        fields = {"code": "10000", "msg": "Success", "alipay_cert_content": self.content}
        return far.envelope(method, fields, key=self.key, cert_number=self.number)


def certify(
    key: RSAPrivateKey, issuer: x509.Name, signer: RSAPrivateKey, organisation: str, days: int
) -> x509.Certificate:
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "CN")
    subject = x509.Name(
        [
            country,
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, "Sim Alipay Sign 2"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=730))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return builder.sign(signer, hashes.SHA256())


def test_a_new_certificate_is_fetched_once_checked_and_used(
    certified: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    heir = Successor()
    wire.gives(query_answer(key=heir.key, cert_number=heir.number), heir.download())
    wire.gives(query_answer(key=heir.key, cert_number=heir.number))
    with caplog.at_level(logging.CRITICAL):
        assert certified.query(REF).outcome is Outcome.SUCCEEDED
    assert certified.query(REF).outcome is Outcome.SUCCEEDED
    assert len(wire.sent) == 3
    asked = sent_params(wire, 1)
    assert asked["method"] == "alipay.open.app.alipaycert.download"
    assert json.loads(asked["biz_content"]) == {"alipay_cert_sn": heir.number}
    assert "new certificate" in caplog.text
    notified = far.notice(far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE), key=heir.key)
    assert certified.read_callback(notified).outcome is Outcome.SUCCEEDED
    assert certified.read_callback(paid_notice()).outcome is Outcome.SUCCEEDED


def test_a_new_certificate_may_bring_its_own_intermediate(wire: Wire) -> None:
    roots = KEYS["alipay_root_rsa.crt"]
    heir = Successor(between=KEYS["alipay_sub.crt"])
    alone = Successor()
    certified = Alipay({**CERT_MODE, "alipay_root_cert": roots}, wire)
    wire.gives(query_answer(key=heir.key, cert_number=heir.number), heir.download())
    assert certified.query(REF).outcome is Outcome.SUCCEEDED
    wire.gives(query_answer(key=alone.key, cert_number=alone.number), alone.download())
    with pytest.raises(ProviderUnreachable):
        certified.query(REF)


def test_a_certificate_from_another_root_is_not_trusted(certified: Alipay, wire: Wire) -> None:
    assert_untrusted(certified, wire, foreign())


def test_a_merchants_certificate_cannot_speak_for_alipay(certified: Alipay, wire: Wire) -> None:
    """Merchants' certificates hang on the same root; only the organisation tells them apart."""
    assert_untrusted(certified, wire, Successor(organisation="Sim Merchant"))


def test_an_expired_certificate_is_not_trusted(certified: Alipay, wire: Wire) -> None:
    assert_untrusted(certified, wire, Successor(days=-1))


def test_a_merchants_certificate_cannot_issue_another(certified: Alipay, wire: Wire) -> None:
    """app_public.crt hangs on the root, but is no authority."""
    merchant = x509.load_pem_x509_certificate(KEYS["app_public.crt"].encode())
    heir = Successor()
    forged = certify(heir.key, merchant.subject, far.private_key("app.pkcs8.pem"), "Sim Alipay", 365)
    heir.adopt(forged, KEYS["app_public.crt"])
    assert_untrusted(certified, wire, heir)


def test_a_certificate_with_another_number_than_announced_is_not_trusted(
    certified: Alipay, wire: Wire
) -> None:
    heir = Successor()
    heir.number = "0" * 32
    assert_untrusted(certified, wire, heir)


@pytest.mark.parametrize("content", ["", "!!!", "测", base64.b64encode(b"\xff\xfe").decode(), "bm90aGluZw=="])
def test_a_download_that_holds_no_certificate_means_outcome_unknown(
    content: str, certified: Alipay, wire: Wire
) -> None:
    heir = Successor()
    heir.content = content
    assert_untrusted(certified, wire, heir)


def assert_untrusted(certified: Alipay, wire: Wire, heir: Successor) -> None:
    wire.gives(query_answer(key=heir.key, cert_number=heir.number), heir.download())
    with pytest.raises(ProviderUnreachable):
        certified.query(REF)
    assert len(wire.sent) == 2
    notified = far.notice(far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE), key=heir.key)
    with pytest.raises(SignatureMismatch):
        certified.read_callback(notified)


def foreign() -> Successor:
    """Issued by UnionPay's root under the very name of Alipay's intermediate."""
    heir = Successor()
    issuer = x509.load_pem_x509_certificate(KEYS["alipay_sub.crt"].encode()).subject
    heir.adopt(certify(heir.key, issuer, far.private_key("up_root.pkcs8.pem"), "Sim Alipay", 365))
    return heir


# Credentials


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        ({"alipay_public_key": ""}, "alipay_public_key"),
        ({"alipay_public_key": KEYS["app.pub.pem"]}, "alipay_public_key"),
        ({"alipay_public_key": "nonsense"}, "alipay_public_key"),
        ({"gateway_url": "ftp://alipay.example/"}, "gateway_url"),
        ({"gateway_url": "https://alipay.example/gateway.do?a=b"}, "gateway_url"),
        ({"gateway_url": "https://["}, "gateway_url"),
        ({"desktop_product": "pigeon"}, "desktop_product"),
    ],
)
def test_a_credential_that_cannot_work_is_named(broken: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Alipay({**KEY_MODE, **broken}, Wire())
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        ({"app_cert": ""}, "app_cert"),
        ({"alipay_cert": ""}, "alipay_cert"),
        ({"alipay_root_cert": ""}, "alipay_root_cert"),
        ({"app_cert": KEYS["alipay_public.crt"]}, "app_cert"),
        ({"alipay_cert": KEYS["app_public.crt"]}, "alipay_cert"),
        ({"alipay_cert": "nonsense"}, "alipay_cert"),
        ({"alipay_root_cert": KEYS["alipay_root_ec.crt"]}, "alipay_root_cert"),
        ({"alipay_root_cert": "nonsense"}, "alipay_root_cert"),
    ],
)
def test_a_certificate_that_cannot_work_is_named(broken: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Alipay({**CERT_MODE, **broken}, Wire())
    assert refused.value.param == param


# The bill


def statement_answers(archive: bytes) -> list[HttpAnswer]:
    return [*AlipayForge().statement(DAY, ())[:1], HttpAnswer(200, {}, archive)]


def test_the_bill_is_asked_for_by_day_and_fetched_over_https(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().statement(DAY, STATEMENT))
    assert len(list(alipay.statement(DAY))) == 2
    biz = json.loads(sent_params(wire)["biz_content"])
    assert biz == {"bill_date": "2024-01-15", "bill_type": "trade"}
    assert wire.sent[1].method == "GET"
    assert wire.sent[1].url.startswith("https://dwbillcenter.alipay.example/downloadBillFile.resource?")
    assert parse_qs(urlsplit(wire.sent[1].url).query)["fileId"] == ["1"]


def test_a_bill_line_keeps_every_column_as_it_was(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().statement(DAY, STATEMENT))
    payment, refund = alipay.statement(DAY)
    assert set(payment.raw) == set(far.BILL_COLUMNS)
    assert (payment.raw["对方账户"], payment.raw["商户订单号"]) == ("*三(159****5620)", REF.out_trade_no)
    assert (refund.amount, refund.fee) == (Money(-500, "CNY"), Money(3, "CNY"))


def test_a_missing_bill_is_rejected_before_anything_is_read(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().declined(Verb.STATEMENT))
    with pytest.raises(ProviderRejected) as refused:
        alipay.statement(DAY)
    assert refused.value.provider_code == "isp.bill_not_exist"


def test_columns_are_found_by_name_not_by_place(alipay: Alipay, wire: Wire) -> None:
    header = [column.replace("（", "(").replace("）", ")") for column in reversed(far.BILL_COLUMNS)]
    rows = [list(reversed(row)) for row in far.bill_rows(STATEMENT)]
    wire.gives(*statement_answers(far.bill(DAY, rows, header=header)))
    assert [replace(line, raw={}) for line in alipay.statement(DAY)] == list(STATEMENT)


@pytest.mark.parametrize(("column", "text"), [("商品名称", "a,b,c"), ("备注", "a,b"), ("商品名称", '"open')])
def test_commas_and_quotes_in_a_text_do_not_shift_the_money(
    column: str, text: str, alipay: Alipay, wire: Wire
) -> None:
    rows = far.bill_rows(STATEMENT)
    rows[0][far.BILL_COLUMNS.index(column)] = text
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    read = list(alipay.statement(DAY))
    assert [replace(line, raw={}) for line in read] == list(STATEMENT)
    assert read[0].raw[column] == text


def test_a_refund_written_without_a_minus_still_leaves_the_merchant(alipay: Alipay, wire: Wire) -> None:
    rows = far.bill_rows(STATEMENT)
    rows[1][far.BILL_COLUMNS.index("订单金额（元）")] = "5.00"
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    assert list(alipay.statement(DAY))[1].amount == Money(-500, "CNY")


def test_an_unknown_kind_of_line_is_kept_by_its_sign_and_logged(
    alipay: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    rows = far.bill_rows(STATEMENT)
    for row in rows:
        row[far.BILL_COLUMNS.index("业务类型")] = "新业务"
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    with caplog.at_level(logging.WARNING):
        assert [line.kind for line in alipay.statement(DAY)] == ["payment", "refund"]
    assert "unknown kind" in caplog.text


@pytest.mark.parametrize(
    ("column", "text"),
    [("订单金额（元）", "12.345"), ("订单金额（元）", ""), ("完成时间", "soon"), ("服务费（元）", "x")],
)
def test_a_line_that_cannot_be_read_stops_the_reading(
    column: str, text: str, alipay: Alipay, wire: Wire
) -> None:
    rows = far.bill_rows(STATEMENT)
    rows[1][far.BILL_COLUMNS.index(column)] = text
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    with pytest.raises(ProviderUnreachable):
        list(alipay.statement(DAY))


def test_a_line_cut_short_stops_the_reading(alipay: Alipay, wire: Wire) -> None:
    rows = far.bill_rows(STATEMENT)
    wire.gives(*statement_answers(far.bill(DAY, [rows[0][:-3]])))
    with pytest.raises(ProviderUnreachable):
        list(alipay.statement(DAY))


def test_an_archive_that_is_no_bill_means_outcome_unknown(alipay: Alipay, wire: Wire) -> None:
    good = far.bill(DAY, far.bill_rows(STATEMENT))
    empty, other = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(empty, "w"):
        pass
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.csv", "a,b\r\n1,2\r\n")
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}.csv", "")
    no_header = far.bill(DAY, (), header=("#",))
    spoilt = good[:120] + b"\x00" * 200 + good[320:]
    bodies = (
        b"",
        b"<html>",
        good[:-60],
        empty.getvalue(),
        other.getvalue(),
        many.getvalue(),
        no_header,
        spoilt,
    )
    for body in bodies:
        wire.gives(*statement_answers(body))
        with pytest.raises(ProviderUnreachable):
            list(alipay.statement(DAY))


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "//host/x", "https://[", "javascript:alert(1)"])
def test_a_bill_address_that_is_not_http_is_not_followed(url: str, alipay: Alipay, wire: Wire) -> None:
    method = "alipay.data.dataservice.bill.downloadurl.query"
    wire.gives(far.accepted(method, bill_download_url=url))
    with pytest.raises(ProviderUnreachable):
        alipay.statement(DAY)
    assert len(wire.sent) == 1


def test_a_bill_that_the_host_refuses_means_outcome_unknown(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*statement_answers(b"")[:1], HttpAnswer(404, {}, b""))
    with pytest.raises(ProviderUnreachable):
        alipay.statement(DAY)


# Helpers


def method_of(verb: Verb) -> str:
    return {
        Verb.START: "alipay.trade.precreate",
        Verb.QUERY: "alipay.trade.query",
        Verb.CLOSE: "alipay.trade.close",
        Verb.REFUND: "alipay.trade.refund",
        Verb.QUERY_REFUND: "alipay.trade.fastpay.refund.query",
    }[verb]


def sent_params(wire: Wire, which: int = 0) -> dict[str, str]:
    """The parameters of a request, from its address and its form together, as the gateway merges them."""
    sent = wire.sent[which]
    pairs = parse_qsl(urlsplit(sent.url).query) + parse_qsl(sent.body.decode("ascii"))
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def verified_params(params: dict[str, str]) -> dict[str, str]:
    """The parameters, once their signature was checked with the application's public key."""
    message = "&".join(f"{k}={params[k]}" for k in sorted(params) if k != "sign")
    rsa.verify(rsa.public_key(KEYS["app.pub.pem"], "x"), message.encode(), params["sign"])
    assert "" not in params.values()
    return params


def paid_notice() -> Inbound:
    return AlipayForge().callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
