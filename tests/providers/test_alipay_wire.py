"""The known answers made by independent packages, and whatever else may come as a notification."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import SignatureMismatch
from app.providers import alipay_certs, alipay_wire, rsa
from app.providers.alipay import Alipay
from app.providers.base import Inbound, Outcome, PaymentResult, RefundResult
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import BY_ID, KEY_MODE, KEYS, VECTORS, AlipayForge, paid_notice, sent_params
from tests.providers.contract import NOW, PRICE, REF, REFUND, Wire

ALL = VECTORS["alipay"]
REQUESTS = [vector for vector in ALL if vector["kind"] == "request"]
ANSWERS = [vector for vector in ALL if vector["kind"] == "sync_response"]
NOTICES = [vector for vector in ALL if vector["kind"] == "notify"]


# Known answers, made by independent packages


def named(vector: Mapping[str, Any]) -> str:
    return str(vector["id"])


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


@pytest.mark.parametrize(
    "body", ['{"m_response":{},"m_response":{}}', '{"m_response":{}}{}', '{"m_response":{}} x']
)
def test_an_answer_that_can_be_read_two_ways_is_not_read(body: str) -> None:
    with pytest.raises(ValueError, match=r"twice|after"):
        alipay_wire.read_answer(body.encode(), "m")


@given(blanks=st.lists(st.sampled_from(["", " ", "\n", "\t\r\n"]), min_size=7, max_size=7))
def test_blanks_between_members_do_not_move_the_signed_text(blanks: list[str]) -> None:
    node = '{ "code" : "10000", "x":"}{\\"sign\\":\\"" }'
    a, b, c, d, e, f, g = blanks
    body = f'{a}{{{b}"m_response"{c}:{d}{node}{e},{f}"sign":"s"{g}}}'
    answer = alipay_wire.read_answer(body.encode(), "m")
    assert answer.signed.decode() == node


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
    fields = dict(parse_qsl(BY_ID["ali-notify-partial-refund"]["form_body"]))
    fields["gmt_payment"] += f"&gmt_refund={fields.pop('gmt_refund')}"
    fields["receipt_amount"] += f"&refund_fee={fields.pop('refund_fee')}"
    with pytest.raises(SignatureMismatch, match="holds another field"):
        reader.read_callback(Inbound({}, urlencode(fields).encode(), NOW))


@pytest.mark.parametrize("name", ["two words", "total_amount=0.01&x", "测", "a-b", "1a", ""])
def test_a_field_with_an_odd_name_is_refused(name: str, reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE, gmt_payment="2024-01-15 10:00:30")
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice({**fields, name: "x"}))


def test_a_signed_notification_of_another_kind_is_refused(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE) | {"notify_type": "dut_user_sign"}
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice(fields))


def test_a_field_of_no_consequence_can_hold_what_it_likes(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE, passback_params="a=1&b=2&c")
    assert reader.read_callback(far.notice(fields)).outcome is Outcome.SUCCEEDED


def test_a_body_above_64_kib_or_of_too_many_fields_is_refused(reader: Alipay) -> None:
    fields = far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE)
    with pytest.raises(SignatureMismatch):
        reader.read_callback(far.notice({**fields, "body": "x" * 65_536}))
    # The signature first and the surplus last: left unsplit, it would spell the same signed text.
    pairs = parse_qsl(far.notice({**fields, **{f"zz{i:03}": "x" for i in range(200)}}).body.decode())
    with pytest.raises(SignatureMismatch):
        reader.read_callback(Inbound({}, urlencode([*pairs[-2:], *pairs[:-2]]).encode(), NOW))


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
