"""WeChat Pay's signatures and seals: known answers, and whatever comes in."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import SignatureMismatch
from app.money import Money
from app.providers import rsa, wechatpay_bill, wechatpay_keys, wechatpay_wire
from app.providers.base import Inbound, Outcome, PaymentResult, RefundResult
from app.providers.wechatpay import WechatPay
from app.providers.wechatpay_wire import Request, Signer, Stamp
from tests.providers import wechatpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, REFUND, Wire
from tests.providers.wechatpay_forge import BOTH_MODES, BY_ID, KEYS, WechatPayForge
from tests.providers.wechatpay_forgeries import paid, with_headers

SIGNER = Signer(far.MCHID, far.MERCHANT_SERIAL, rsa.private_key(KEYS["wx_mch.pkcs1.pem"], "private_key"))
REQUESTS = ["wx-req-native", "wx-req-query", "wx-req-close", "wx-req-tradebill"]
NOTICES = [
    "wx-notify-success-cert",
    "wx-notify-success-pubkey",
    "wx-notify-refund-success",
    "wx-notify-refund-abnormal",
]
ANSWERS = ["wx-resp-native-cert", "wx-resp-close-204", "wx-resp-certificates"]
FORGED = ["wx-notify-signtest-probe", "wx-notify-tampered"]


@pytest.fixture(scope="module")
def reader() -> WechatPay:
    """An adapter that is only asked to read: any call out fails the test."""
    return WechatPay(BOTH_MODES, Wire())


def inbound_of(vector: Mapping[str, Any]) -> Inbound:
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    return Inbound(headers, vector["body"].encode(), NOW)


# Known answers, made by packages that nobody here wrote


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_signed_byte_for_byte(name: str) -> None:
    vector = BY_ID[name]
    request = Request(vector["method"], vector["uri"], vector["body"].encode())
    stamp = Stamp(vector["timestamp"], vector["nonce_str"])
    assert wechatpay_wire.request_text(request, stamp) == vector["canonical"].encode()
    assert SIGNER.authorization(request, stamp) == vector["authorization"]


def test_a_body_is_written_as_others_write_it() -> None:
    body = wechatpay_wire.compact_json(
        {
            "appid": far.APPID,
            "mchid": far.MCHID,
            "description": "测试商品",
            "out_trade_no": REF.out_trade_no,
            "time_expire": "2024-01-15T10:15:00+08:00",
            "notify_url": "https://m.example/notify/wechat",
            "amount": {"total": 1999, "currency": "CNY"},
        }
    )
    assert body == BY_ID["wx-req-native"]["body"].encode()


@pytest.mark.parametrize("name", ANSWERS)
def test_a_genuine_answer_is_verified(name: str) -> None:
    vector = BY_ID[name]
    inbound = inbound_of(vector)
    key = rsa.public_key(KEYS["wx_platform.crt"], "platform_certs")
    assert wechatpay_wire.key_name(inbound.headers) == far.PLATFORM_SERIAL
    wechatpay_wire.verify(inbound.headers, inbound.body, NOW, key)
    if "canonical" in vector:
        stamp = Stamp(vector["headers"]["Wechatpay-Timestamp"], vector["headers"]["Wechatpay-Nonce"])
        assert wechatpay_wire.answer_text(stamp, inbound.body) == vector["canonical"].encode()


def test_platform_certificates_are_opened() -> None:
    vector = BY_ID["wx-resp-certificates"]
    node = wechatpay_wire.read_node(vector["body"].encode())
    [entry] = node.children("data")
    sealed = entry.child("encrypt_certificate")
    assert (
        wechatpay_wire.unsealed(sealed, far.API_KEY.encode()).decode() == vector["expected_certificate_pem"]
    )
    [(name, held)] = wechatpay_keys.read_certificates(node, far.API_KEY.encode(), NOW).items()
    assert name == vector["expected_serial"]
    assert rsa.same_key(held.key, rsa.public_key(KEYS["wx_platform.pub.pem"], "x"))


@pytest.mark.parametrize("name", NOTICES)
def test_a_genuine_notification_is_opened_and_read(name: str, reader: WechatPay) -> None:
    vector = BY_ID[name]
    ring = reader._gateway.keys
    event, node = wechatpay_wire.read_notice(inbound_of(vector), ring.key, far.API_KEY.encode())
    assert node.fields == vector["expected_resource"] == json.loads(vector["plaintext"])
    assert event == json.loads(vector["body"])["event_type"]
    result = reader.read_callback(inbound_of(vector))
    if event == "TRANSACTION.SUCCESS":
        assert result == PaymentResult(
            REF.out_trade_no,
            Outcome.SUCCEEDED,
            PRICE,
            far.TRANSACTION_ID,
            datetime(2024, 1, 15, 2, 0, 30, tzinfo=UTC),
            "SUCCESS",
        )
        return
    stuck = name == "wx-notify-refund-abnormal"
    assert result == RefundResult(
        REF.out_trade_no,
        REFUND.out_refund_no,
        Outcome.PENDING if stuck else Outcome.SUCCEEDED,
        Money(500, "CNY"),
        "50300002024011500000000000001",
        datetime(2024, 1, 15, 2, 5, 30, tzinfo=UTC),
        "ABNORMAL" if stuck else "SUCCESS",
        needs_person=stuck,
    )


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_notification_is_refused(name: str, reader: WechatPay) -> None:
    with pytest.raises(SignatureMismatch):
        reader.read_callback(inbound_of(BY_ID[name]))


@pytest.mark.parametrize("name", ["wx-jsapi-paysign", "wx-app-sign"])
def test_the_wallets_see_the_signature_that_they_expect(name: str) -> None:
    vector = BY_ID[name]
    lines = vector["canonical"].removesuffix("\n").split("\n")
    assert SIGNER.client_signature(*lines) == vector["signature"]


def test_the_known_bill_is_read() -> None:
    vector = BY_ID["wx-tradebill-parse"]
    file = base64.b64decode(vector["input_base64"])
    wechatpay_bill.check_hash(file, vector["sha1_hex"])
    [line] = wechatpay_bill.read_trades(file)
    assert [line.raw] == vector["expected_parsed"]["rows"]
    assert (line.kind, line.amount, line.fee) == ("payment", PRICE, Money(-12, "CNY"))


@pytest.mark.parametrize("nonce", ["12345678", "fdasflkja48", "fdasflkja484", "n" * 13, "n" * 128])
@pytest.mark.parametrize("associated", ["transaction", "", None, "支付"])
def test_nonces_of_any_usable_length_and_any_associated_data_are_opened(
    nonce: str, associated: str | None, reader: WechatPay
) -> None:
    inbound = far.payment_notice(paid(), nonce=nonce, associated=associated)
    assert reader.read_callback(inbound).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("age_s", [-299, 0, 299])
def test_a_notification_within_five_minutes_is_read(age_s: int, reader: WechatPay) -> None:
    inbound = far.payment_notice(paid())
    moved = replace(inbound, received_at=NOW + timedelta(seconds=age_s))
    assert reader.read_callback(moved).outcome is Outcome.SUCCEEDED


def test_a_certificates_number_is_found_in_either_case(reader: WechatPay) -> None:
    inbound = far.payment_notice(paid(), far.PLATFORM_SERIAL)
    lower = {**inbound.headers, "wechatpay-serial": far.PLATFORM_SERIAL.lower()}
    assert reader.read_callback(replace(inbound, headers=lower)).outcome is Outcome.SUCCEEDED


texts = st.text(max_size=40)
header_names = st.sampled_from(
    [
        "wechatpay-timestamp",
        "wechatpay-nonce",
        "wechatpay-serial",
        "wechatpay-signature",
        "wechatpay-signature-type",
    ]
)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=300), headers=st.dictionaries(header_names, texts))
def test_whatever_comes_in_is_refused_and_nothing_else(body: bytes, headers: dict[str, str]) -> None:
    genuine = with_headers()
    for inbound in (Inbound(headers, body, NOW), replace(genuine, headers={**genuine.headers, **headers})):
        try:
            result = READER.read_callback(inbound)
        except SignatureMismatch:
            continue
        assert result.out_trade_no == REF.out_trade_no


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(field=st.sampled_from(sorted(paid())), value=json_values)
def test_whatever_is_sealed_is_refused_or_read_as_it_says(field: str, value: object) -> None:
    try:
        plain = json.dumps({**paid(), field: value}).encode()
        result = READER.read_callback(far.notice("TRANSACTION.SUCCESS", far.sealed(plain)))
    except SignatureMismatch:
        return
    assert result.out_trade_no == (value if field == "out_trade_no" else REF.out_trade_no)
    if result.outcome is Outcome.SUCCEEDED and field != "amount":
        assert result.amount == PRICE


READER = WechatPay(BOTH_MODES, Wire())


def test_the_forge_and_the_vectors_agree() -> None:
    """The forge signs as the independent packages did, so what it signs is not our own idea."""
    vector = BY_ID["wx-resp-native-cert"]
    headers = far.signed_headers(vector["body"].encode(), far.PLATFORM_SERIAL)
    assert headers == {name.lower(): value for name, value in vector["headers"].items()}
    sealed = far.sealed(BY_ID["wx-notify-success-cert"]["plaintext"].encode())
    assert (
        sealed["ciphertext"] == json.loads(BY_ID["wx-notify-success-cert"]["body"])["resource"]["ciphertext"]
    )
    assert (
        WechatPayForge().settings["public_key_id"]
        == BY_ID["wx-notify-success-pubkey"]["headers"]["Wechatpay-Serial"]
    )
