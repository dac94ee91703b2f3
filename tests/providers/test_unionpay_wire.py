"""The known answers of UnionPay's own SDK, and whatever else may come as a notification or an answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers import unionpay_file, unionpay_wire
from app.providers.base import HttpAnswer, Inbound, Outcome, PaymentRef, PaymentResult, RefundResult, Scene
from app.providers.unionpay import UnionPay
from tests.providers import unionpay_forge as far
from tests.providers.contract import DAY, NOW, PRICE, REF, REFUND, Wire, order
from tests.providers.unionpay_forge import BY_ID, VECTORS, UnionPayForge, paid_notice

ALL = VECTORS["unionpay"]
REQUESTS = [vector for vector in ALL if vector["kind"] == "request"]
ANSWERS = [vector for vector in ALL if vector["kind"] == "response"]
NOTICES = [vector for vector in ALL if vector["kind"] == "notify"]
READER, _ = far.connected()


@pytest.fixture
def wire() -> Wire:
    line = far.connected()[1]
    line.clear()
    return line


def read(inbound: Inbound) -> PaymentResult | RefundResult:
    return READER.read_callback(inbound)


# Known answers, made by UnionPay's own SDK


def named(vector: Mapping[str, Any]) -> str:
    return str(vector["id"])


@pytest.mark.parametrize("vector", REQUESTS, ids=named)
def test_a_request_is_signed_as_the_official_sdk_signs_it(vector: Mapping[str, Any]) -> None:
    fields = {**vector["input"], "certId": far.CERT_ID}
    signed = unionpay_wire.signed_fields(fields, far.private_key(vector["sign_key"]))
    assert unionpay_wire.canonical(signed).decode() == vector["canonical"]
    assert unionpay_wire.digest(unionpay_wire.canonical(signed)).decode() == vector["sha256_hex"]
    assert signed == vector["signed"]
    assert unionpay_wire.form_text(signed) == vector["form_body"]


def test_a_query_repeats_the_official_sdk_byte_for_byte(wire: Wire) -> None:
    wire.gives(far.paid())
    READER.query(REF)
    assert wire.sent[0].body.decode() == BY_ID["up-req-query"]["form_body"]


def test_a_file_request_repeats_the_official_sdk_byte_for_byte(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.clock.now", lambda: datetime(2024, 1, 16, 2, 0, tzinfo=UTC))
    wire.gives(far.refused("98"))
    with pytest.raises(Exception, match="no such file"):
        READER.fetch_bill(DAY)
    assert wire.sent[0].body.decode() == BY_ID["up-req-file"]["form_body"]
    assert wire.sent[0].url == "https://files.unionpay.example/"


@pytest.mark.parametrize("vector", ANSWERS, ids=named)
def test_an_answer_verifies_as_the_independent_packages_verify_it(vector: Mapping[str, Any]) -> None:
    fields = unionpay_wire.read_answer(vector["raw_body"].encode(), READER._account.trust, NOW)
    assert fields == {name: text for name, text in vector["fields"].items() if name != "signature"}


def test_the_vector_of_a_qr_code_and_of_a_query_are_read(wire: Wire) -> None:
    bodies = [BY_ID[name]["raw_body"].encode() for name in ("up-resp-qr", "up-resp-query")]
    wire.gives(*(HttpAnswer(200, {}, body) for body in bodies))
    assert READER.start(order(Scene.DESKTOP)).content == far.QR_CODE  # type: ignore[union-attr]
    assert READER.query(REF) == PaymentResult(
        REF.out_trade_no,
        Outcome.SUCCEEDED,
        PRICE,
        far.QUERY_ID,
        datetime(2024, 1, 15, 2, 0, 30, tzinfo=UTC),
        "00",
    )


def test_an_answer_that_was_url_encoded_on_its_way_is_not_believed(wire: Wire) -> None:
    body = BY_ID["up-resp-query"]["raw_body"]
    encoded = "&".join(f"{k}={quote(v, safe='')}" for k, _, v in (p.partition("=") for p in body.split("&")))
    wire.gives(HttpAnswer(200, {}, encoded.encode()))
    with pytest.raises(ProviderUnreachable):
        READER.query(REF)


@pytest.mark.parametrize("vector", NOTICES, ids=named)
def test_a_notification_is_accepted_exactly_as_the_official_sdk_accepts_it(vector: Mapping[str, Any]) -> None:
    """Where packages disagree (one of four does not look at the name), UnionPay's own is right."""
    inbound = Inbound({}, vector["form_body"].encode(), NOW)
    if not vector["expected_valid"]:
        with pytest.raises(SignatureMismatch):
            read(inbound)
        return
    result = read(inbound)
    assert result.provider_ref == vector["fields"]["queryId"]
    assert result.provider_status == vector["fields"]["respCode"]


def test_the_vectors_of_a_payment_and_a_refund_are_told_apart() -> None:
    paid, refunded = (
        read(Inbound({}, BY_ID[name]["form_body"].encode(), NOW))
        for name in ("up-notify-success", "up-notify-refund")
    )
    paid_at = datetime(2024, 1, 15, 2, 0, 30, tzinfo=UTC)
    assert paid == PaymentResult(REF.out_trade_no, Outcome.SUCCEEDED, PRICE, far.QUERY_ID, paid_at, "00")
    assert refunded == RefundResult(
        "",  # made without reqReserved, so not by us
        REFUND.out_refund_no,
        Outcome.SUCCEEDED,
        REFUND.amount,
        far.REFUND_QUERY_ID,
        datetime(2024, 1, 15, 2, 5, 0, tzinfo=UTC),
        "00",
    )


def test_the_refused_vectors_are_refused_for_what_is_wrong_with_them() -> None:
    for name, reason in (
        ("up-notify-tampered", "signature does not match"),
        ("up-notify-wrong-cn", "not UnionPay's"),
        ("up-notify-forged-chain", "not issued under the held root"),
    ):
        with pytest.raises(SignatureMismatch, match=reason):
            read(Inbound({}, BY_ID[name]["form_body"].encode(), NOW))


def test_a_file_is_unwrapped_as_the_official_sdk_wraps_it() -> None:
    vector = BY_ID["up-filecontent"]
    assert unionpay_file.unwrapped(vector["fileContent"], "", DAY) == base64.b64decode(vector["file_base64"])


# Notifications: what else could be wrong with them


@pytest.mark.parametrize(
    "query", ["a=b", "txnAmt=1", "respCode=00", "=", "?", BY_ID["up-notify-success"]["form_body"]]
)
def test_a_notification_with_a_query_is_refused(query: str) -> None:
    with pytest.raises(SignatureMismatch):
        read(replace(paid_notice(), query=query))


def test_fields_in_the_address_alone_are_no_notification() -> None:
    with pytest.raises(SignatureMismatch):
        read(Inbound({}, b"", NOW, paid_notice().body.decode()))


@pytest.mark.parametrize("name", ["txnAmt", "respCode", "signature", "signPubKeyCert", "signMethod", "merId"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_a_field_that_comes_twice_is_refused(name: str, first: bool, same: bool) -> None:
    body = paid_notice().body
    value = dict(parse_qsl(body.decode()))[name]
    extra = urlencode({name: value if same else "1"}).encode()
    doubled = extra + b"&" + body if first else body + b"&" + extra
    with pytest.raises(SignatureMismatch):
        read(Inbound({}, doubled, NOW))


@pytest.mark.parametrize("name", ["txnAmt", "orderId", "merId", "respCode", "queryId", "reserved"])
@pytest.mark.parametrize("value", ["", "1", "00"])
def test_a_field_added_or_emptied_after_signing_is_refused(name: str, value: str) -> None:
    fields = dict(parse_qsl(paid_notice().body.decode()))
    changed = {**fields, name: value}
    if changed != fields:
        with pytest.raises(SignatureMismatch):
            read(far.form(changed))


@pytest.mark.parametrize("name", sorted(far.payment_fields("x", "y", PRICE)))
def test_a_field_taken_away_after_signing_is_refused(name: str) -> None:
    fields = dict(parse_qsl(paid_notice().body.decode()))
    del fields[name]
    with pytest.raises(SignatureMismatch):
        read(far.form(fields))


@pytest.mark.parametrize("method", ["11", "12", "02", "1", "01 ", "0１", "", "RSA", None])
def test_only_certificate_signatures_are_accepted(method: str | None) -> None:
    """11 and 12 mean a shared secret: an empty one would let anybody sign."""
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE)
    del fields["signMethod"]
    if method is not None:
        fields["signMethod"] = method
    with pytest.raises(SignatureMismatch):
        read(far.notice(fields))


@pytest.mark.parametrize("signature", ["", "AAAA", "=", "é", "x" * 344, "\r\n"])
def test_a_signature_of_any_other_text_is_refused(signature: str) -> None:
    fields = dict(parse_qsl(paid_notice().body.decode()))
    with pytest.raises(SignatureMismatch):
        read(far.form({**fields, "signature": signature}))


def test_a_signature_over_one_hash_instead_of_two_is_refused() -> None:
    """As one package on PyPI makes them."""
    fields = far.UNIONPAY.signed(far.payment_fields(REF.out_trade_no, "00", PRICE))
    text = "&".join(f"{k}={fields[k]}" for k in sorted(fields) if k != "signature").encode()
    once = far.private_key("up_sign.pkcs8.pem").sign(text, padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(SignatureMismatch):
        read(far.form({**fields, "signature": base64.b64encode(once).decode()}))


def test_plus_signs_that_were_not_escaped_are_refused() -> None:
    body = paid_notice().body
    assert b"%2B" in body
    with pytest.raises(SignatureMismatch):
        read(Inbound({}, body.replace(b"%2B", b"+"), NOW))


def test_a_body_that_was_decoded_twice_or_encoded_twice_is_refused() -> None:
    fields = dict(parse_qsl(paid_notice().body.decode()))
    twice = {name: quote(text, safe="") for name, text in fields.items()}
    with pytest.raises(SignatureMismatch):
        read(far.form(twice))
    raw = "&".join(f"{name}={text}" for name, text in fields.items())
    with pytest.raises(SignatureMismatch):
        read(Inbound({}, raw.encode(), NOW))


@pytest.mark.parametrize("said", ["GBK", "gbk"])
def test_gbk_is_read_when_the_notification_says_gbk(said: str) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"encoding": said}
    assert read(far.notice(fields, encoding="gbk")).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "encoding", ["utf-16", "latin-1", "idna", "base64", "zlib", "utf-7", "rot13", "UNKNOWN", "测", "utf8", ""]
)
def test_any_other_encoding_is_refused(encoding: str) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"encoding": encoding}
    with pytest.raises(SignatureMismatch):
        read(far.notice(fields))


def test_text_that_is_not_in_the_named_encoding_is_refused() -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE)
    with pytest.raises(SignatureMismatch):
        read(far.notice(fields, encoding="gbk"))


@pytest.mark.parametrize(
    ("holder", "hidden"),
    [("txnTime", "txnType"), ("traceTime", "txnAmt"), ("queryId", "respCode"), ("orderId", "payCardType")],
)
def test_a_signed_field_cannot_be_folded_into_another(holder: str, hidden: str) -> None:
    """The signed text joins raw values: "a=1&b=2" can be sent as one field, and would still verify."""
    fields = dict(parse_qsl(far.notice(far.refund_fields(REFUND, "00")).body.decode()))
    names = sorted(set(fields) - {"signature"})
    between = names[names.index(holder) + 1 : names.index(hidden) + 1]
    for name in between:
        fields[holder] += f"&{name}={fields.pop(name)}"
    folded = far.form(fields)
    with pytest.raises(SignatureMismatch, match="holds another field"):
        read(folded)


@pytest.mark.parametrize("name", ["two words", "txnAmt=1&x", "测", "a-b", "1a", "", "signature "])
def test_a_field_with_an_odd_name_is_refused(name: str) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE)
    with pytest.raises(SignatureMismatch):
        read(far.notice({**fields, name: "x"}))


def test_a_field_of_no_consequence_can_hold_what_it_likes() -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE, couponInfo='[{"a":"b&c=d"}]{x=1&y=2}')
    assert read(far.notice(fields)).outcome is Outcome.SUCCEEDED


def test_an_empty_value_takes_part_in_the_signature() -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE, reserved="")
    signed = far.UNIONPAY.signed(fields)
    assert read(far.form(signed)).outcome is Outcome.SUCCEEDED
    del signed["reserved"]
    with pytest.raises(SignatureMismatch):
        read(far.form(signed))


def test_a_body_above_64_kib_or_of_too_many_fields_is_refused() -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE)
    with pytest.raises(SignatureMismatch):
        read(far.notice({**fields, "reserved": "x" * 65_536}))
    with pytest.raises(SignatureMismatch):
        read(far.notice({**fields, **{f"zz{number:03}": "x" for number in range(200)}}))


def test_another_merchants_refund_is_refused() -> None:
    fields = far.refund_fields(REFUND, "00") | {"merId": far.STRANGER_ID}
    with pytest.raises(SignatureMismatch, match="another merchant"):
        read(far.notice(fields))


def test_the_http_header_decides_nothing() -> None:
    inbound = paid_notice()
    for said in ("application/json", "text/plain; charset=utf-16", "multipart/form-data; boundary=x", ""):
        assert read(replace(inbound, headers={"content-type": said})) == read(inbound)


codes = st.sampled_from(["00", "A6", "03", "12", "42", "64", "zz", ""])
names = st.sampled_from([*sorted(far.refund_fields(REFUND, "00")), "origRespCode", "tn", "reserved"])
values = st.text(min_size=1, max_size=30) | st.sampled_from(
    ["01", "04", "31", "1999", "-1", "00010101000000", "99991231235959", "0229235959", "GBK", "UTF-8", "156"]
)


@settings(max_examples=300, deadline=None)
@given(code=codes, refund=st.booleans(), twist=st.dictionaries(names, values, max_size=4))
def test_a_signed_notification_of_any_content_is_read_or_refused(
    code: str, refund: bool, twist: dict[str, str]
) -> None:
    """What comes after the signature check is fed strange but genuine messages too."""
    fields = far.refund_fields(REFUND, code) if refund else far.payment_fields(REF.out_trade_no, code, PRICE)
    try:
        inbound = far.notice({**fields, **twist})
    except UnicodeEncodeError:  # a lone surrogate has no bytes
        return
    try:
        result = read(inbound)
    except SignatureMismatch:
        return
    if isinstance(result, PaymentResult) and result.outcome is Outcome.SUCCEEDED:
        assert result.amount is not None
        assert result.amount.minor > 0
        assert result.provider_ref


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(
                [b"signMethod", b"signPubKeyCert", b"signature", b"merId", b"encoding", b"a", b"\xff", b""]
            ),
            st.sampled_from([b"01", far.KEYS["up_sign.cer"].encode(), b"AAAA", b"%", b"%zz", b"", b"\xff"])
            | st.binary(max_size=40),
        ),
        max_size=8,
    )
)
def test_pairs_of_any_bytes_are_refused_as_unsigned(pairs: list[tuple[bytes, bytes]]) -> None:
    body = b"&".join(name + b"=" + value for name, value in pairs)
    with pytest.raises(SignatureMismatch):
        read(Inbound({}, body, NOW))
    with pytest.raises(SignatureMismatch):
        unionpay_wire.read_answer(body, READER._account.trust, NOW)


# Answers


@pytest.mark.parametrize("text", ["{a=1&b=2}", "[{a=1&b=2}&c=3]", "a=b=c==", "}", "成功[0000000]", "[{&]}x"])
def test_an_answers_values_may_nest(text: str, wire: Wire) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE, origRespCode="00", reserved=text)
    wire.gives(far.answer(fields))
    assert READER.query(REF).amount == PRICE


@pytest.mark.parametrize("text", ["a&b", "{never closed", "[", "}&{", "{[&}]&", "[0]&"])
def test_an_answer_whose_brackets_do_not_close_is_not_guessed_at(text: str, wire: Wire) -> None:
    """A bracket closes at the first that matches, or never: so UnionPay's own SDK reads, and so it signs."""
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE, origRespCode="00", reserved=text)
    wire.gives(far.answer(fields))
    with pytest.raises(ProviderUnreachable):
        READER.query(REF)


def test_an_answers_pairs_are_read_as_they_are() -> None:
    body = b"a={x=1&y=[2}&b=[{p=q&r=s}]&c=t==&d=&e={open&f=g"
    assert list(unionpay_wire._pairs(body)) == [
        (b"a", b"{x=1&y=[2}"),
        (b"b", b"[{p=q&r=s}]"),
        (b"c", b"t=="),
        (b"d", b""),
        (b"e", b"{open&f=g"),
    ]


@pytest.mark.parametrize("body", [b"=x", b"a", b"&a=b", b"a=b&&c=d", b"a=b&c", b"[" * 1000, b"a={" * 1000])
def test_an_answer_that_is_not_made_of_pairs_is_not_believed(body: bytes, wire: Wire) -> None:
    wire.gives(HttpAnswer(200, {}, body))
    with pytest.raises(ProviderUnreachable):
        READER.query(REF)


def test_brackets_without_end_take_no_time_to_read() -> None:
    """A pattern that tries again would need hours for these."""
    for body in (b"a=" + b"{" * 200_000, b"a=" + b"[]{}" * 50_000 + b"\x00", b"a=" + b"{[" * 100_000 + b"&"):
        assert len(list(unionpay_wire._pairs(body))) == 1


def test_an_answer_that_names_a_field_twice_is_not_believed(wire: Wire) -> None:
    genuine = far.paid()
    for extra in (b"&txnAmt=1999", b"&txnAmt=1", b"&signature=AAAA"):
        wire.gives(replace(genuine, body=genuine.body + extra))
        with pytest.raises(ProviderUnreachable):
            READER.query(REF)


def test_a_notification_is_not_taken_for_an_answer_to_something_else(wire: Wire) -> None:
    other = PaymentRef("ANOTHER000000000001", NOW)
    genuine = UnionPayForge().queried(other, Outcome.SUCCEEDED, Money(1, "CNY"))
    wire.gives(*genuine)
    with pytest.raises(ProviderUnreachable):
        READER.query(REF)


def test_a_broken_adapter_shows_no_key() -> None:
    shown = repr(vars(READER)) + repr(READER._account) + repr(vars(READER._gateway))
    assert not [secret for secret in UnionPayForge.secrets if secret in shown]
    assert isinstance(READER, UnionPay)


# Times


@given(near=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_without_a_year_is_found_again_near_its_moment(near: datetime) -> None:
    moment = near.replace(microsecond=0)
    text = far.stamp(moment)[4:]
    assert unionpay_wire.moment_near(text, near) == moment
