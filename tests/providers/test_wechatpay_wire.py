"""WeChat Pay's signatures and seals: known answers, a corpus of forgeries, and whatever comes in."""

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


def test_a_sensitive_field_is_opened() -> None:
    vector = BY_ID["wx-oaep"]
    assert wechatpay_wire.unsealed_field(SIGNER.key, vector["ciphertext"]) == vector["expected_plaintext"]
    with pytest.raises(ValueError, match=r"."):
        wechatpay_wire.unsealed_field(SIGNER.key, base64.b64encode(b"\x00" * 256).decode())


def test_the_known_bill_is_read() -> None:
    vector = BY_ID["wx-tradebill-parse"]
    file = base64.b64decode(vector["input_base64"])
    wechatpay_bill.check_hash(file, vector["sha1_hex"])
    [line] = wechatpay_bill.read_trades(file)
    assert [line.raw] == vector["expected_parsed"]["rows"]
    assert (line.kind, line.amount, line.fee) == ("payment", PRICE, Money(-12, "CNY"))


# The corpus: each is a genuine notification with one thing wrong


def paid(**more: Any) -> dict[str, Any]:
    return {**far.transaction(REF.out_trade_no, "SUCCESS", PRICE), **more}


def with_headers(**changes: str | None) -> Inbound:
    inbound = far.payment_notice(paid())
    headers: dict[str, str | None] = dict(inbound.headers)
    headers |= {f"wechatpay-{name.replace('_', '-')}": value for name, value in changes.items()}
    return replace(inbound, headers={k: v for k, v in headers.items() if v is not None})


def signed_body(body: bytes) -> Inbound:
    return Inbound(far.signed_headers(body, far.PUBLIC_KEY_ID), body, NOW)


def resealed(**changes: Any) -> Inbound:
    resource: dict[str, Any] = {**far.sealed(far.json_bytes(paid())), **changes}
    kept = {name: value for name, value in resource.items() if value is not None}
    return far.notice("TRANSACTION.SUCCESS", kept)


def split_elsewhere() -> Inbound:
    """The same signed text with the border between nonce and body moved."""
    body = b'{"resource":\n{}}'
    headers = far.signed_headers(body, far.PUBLIC_KEY_ID)
    headers["wechatpay-nonce"] += '\n{"resource":'
    return Inbound(headers, b"{}}", NOW)


FORGERIES = {
    "no signature": lambda: with_headers(signature=None),
    "empty signature": lambda: with_headers(signature=""),
    "signature not base64": lambda: with_headers(signature="*" * 344),
    "signature not ascii": lambda: with_headers(signature="é" * 344),
    "signature of zeros": lambda: with_headers(signature=base64.b64encode(bytes(256)).decode()),
    "signature too short": lambda: with_headers(signature="AAAA"),
    "signature with a space": lambda: with_headers(
        signature=" " + with_headers().headers["wechatpay-signature"]
    ),
    "probe": lambda: with_headers(signature="WECHATPAY/SIGNTEST/" + "A" * 325),
    "bare probe": lambda: with_headers(signature="WECHATPAY/SIGNTEST/"),
    "no time": lambda: with_headers(timestamp=None),
    "time with a sign": lambda: with_headers(timestamp="+1705284000"),
    "time with a fraction": lambda: with_headers(timestamp="1705284000.0"),
    "time in other digits": lambda: with_headers(timestamp="１７０５２８４０００"),
    "time with underscores": lambda: with_headers(timestamp="1_705_284_000"),
    "time too long": lambda: with_headers(timestamp="1" * 4000),
    "another time": lambda: with_headers(timestamp="1705284001"),
    "no nonce": lambda: with_headers(nonce=None),
    "empty nonce": lambda: with_headers(nonce=""),
    "another nonce": lambda: with_headers(nonce="593BEC0C930BF1AFEB40B4A08C8FB243"),
    "nonce too long": lambda: with_headers(nonce="A" * 4000),
    "border moved": split_elsewhere,
    "no serial": lambda: with_headers(serial=None),
    "empty serial": lambda: with_headers(serial=""),
    "serial of zeros": lambda: with_headers(serial="0"),
    "serial that is not hex": lambda: with_headers(serial="not-a-serial"),
    "serial too long": lambda: with_headers(serial="A" * 4000),
    "unknown public key": lambda: with_headers(serial=far.PUBLIC_KEY_ID[:-1] + "2"),
    "public key id in lower case": lambda: with_headers(serial=far.PUBLIC_KEY_ID.lower()),
    "unknown certificate": lambda: with_headers(serial="5157F09EFDC096DE15EBE81A47057A7232F1B8E2"),
    "the other key's serial": lambda: with_headers(serial=far.PLATFORM_SERIAL),
    "the merchant's own serial": lambda: with_headers(serial=far.MERCHANT_SERIAL),
    "another scheme": lambda: with_headers(signature_type="WECHATPAY2-SM2-WITH-SM3"),
    "empty scheme": lambda: with_headers(signature_type=""),
    "no headers": lambda: replace(far.payment_notice(paid()), headers={}),
    "300 s old": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"{}"), age_s=300),
    "300 s early": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"{}"), age_s=-300),
    "a year old": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"{}"), age_s=31_536_000),
    "signed by the merchant": lambda: far.notice(
        "TRANSACTION.SUCCESS", far.sealed(far.json_bytes(paid())), key=far.private_key("wx_mch.pkcs8.pem")
    ),
    "signed by another network": lambda: far.notice(
        "TRANSACTION.SUCCESS", far.sealed(far.json_bytes(paid())), key=far.private_key("alipay.pkcs8.pem")
    ),
    "signed by the certificate under the public key's name": lambda: far.notice(
        "TRANSACTION.SUCCESS",
        far.sealed(far.json_bytes(paid())),
        key=far.private_key("wx_platform.pkcs8.pem"),
    ),
    "another merchant": lambda: far.payment_notice(paid(mchid="1900000110")),
    "no merchant": lambda: far.payment_notice({k: v for k, v in paid().items() if k != "mchid"}),
    "merchant as a number": lambda: far.payment_notice(paid(mchid=1900000109)),
    "another app": lambda: far.payment_notice(paid(appid="wx0000000000000000")),
    "no app": lambda: far.payment_notice({k: v for k, v in paid().items() if k != "appid"}),
    "an empty app": lambda: far.payment_notice(paid(appid="")),
    "another merchant's refund": lambda: far.refund_notice(
        far.refund_notice_fields(REFUND, "SUCCESS", mchid="1900000110")
    ),
    "a refund without a number": lambda: far.refund_notice(
        far.refund_notice_fields(REFUND, "SUCCESS", out_refund_no="")
    ),
    "a refund without an order": lambda: far.refund_notice(
        far.refund_notice_fields(REFUND, "SUCCESS", out_trade_no=None)
    ),
    "a refund without a state": lambda: far.refund_notice(
        {**far.refund_notice_fields(REFUND, "SUCCESS"), "refund_status": ""}
    ),
    "a refund with the query's name for its state": lambda: far.refund_notice(
        {**far.refund_fields(REFUND, "SUCCESS"), "mchid": far.MCHID}
    ),
    "a refund of nothing": lambda: far.refund_notice(
        far.refund_notice_fields(REFUND, "SUCCESS", amount={"refund": 0})
    ),
    "a refund sold as a payment": lambda: far.notice(
        "TRANSACTION.SUCCESS", far.sealed(far.json_bytes(far.refund_notice_fields(REFUND, "SUCCESS")))
    ),
    "a payment sold as a refund": lambda: far.notice("REFUND.SUCCESS", far.sealed(far.json_bytes(paid()))),
    "an unknown kind": lambda: far.notice("PAYSCORE.USER_PAID", far.sealed(far.json_bytes(paid()))),
    "no kind": lambda: far.notice("", far.sealed(far.json_bytes(paid()))),
    "no order": lambda: far.payment_notice(paid(out_trade_no="")),
    "an order of two words": lambda: far.payment_notice(paid(out_trade_no="a b")),
    "no state": lambda: far.payment_notice(paid(trade_state=None)),
    "a negative amount": lambda: far.payment_notice(paid() | {"amount": {"total": -1, "currency": "CNY"}}),
    "an amount of half a fen": lambda: far.payment_notice(paid() | {"amount": {"total": 0.5}}),
    "an unknown currency": lambda: far.payment_notice(paid() | {"amount": {"total": 1, "currency": "RMB"}}),
    "an amount of 400 digits": lambda: far.payment_notice(paid() | {"amount": {"total": 10**400}}),
    "another APIv3 key": lambda: far.payment_notice(paid(), api_key="F" * 32),
    "other associated data": lambda: resealed(associated_data="refund"),
    "no associated data": lambda: resealed(associated_data=None),
    "associated data of another kind": lambda: resealed(associated_data={"a": 1}),
    "another nonce inside": lambda: resealed(nonce="fdasflkja485"),
    "no nonce inside": lambda: resealed(nonce=None),
    "a nonce of 7 bytes": lambda: resealed(nonce="1234567"),
    "a nonce of 129 bytes": lambda: resealed(nonce="1" * 129),
    "a key id inside": lambda: resealed(algorithm="AEAD_AES_256_GCM ", key_id=far.PUBLIC_KEY_ID),
    "another algorithm": lambda: resealed(algorithm="AEAD_SM4_GCM"),
    "no algorithm": lambda: resealed(algorithm=None),
    "no ciphertext": lambda: resealed(ciphertext=None),
    "an empty ciphertext": lambda: resealed(ciphertext=""),
    "a ciphertext shorter than its tag": lambda: resealed(ciphertext="AAAA"),
    "a ciphertext that is not base64": lambda: resealed(ciphertext="é" * 100),
    "a ciphertext cut short": lambda: resealed(ciphertext=far.sealed(b"{}" * 99)["ciphertext"][:-4]),
    "sealed bytes that are not JSON": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"\xff\xfe{}")),
    "a sealed list": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"[1]")),
    "sealed nothing": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"")),
    "a sealed bomb": lambda: far.notice("TRANSACTION.SUCCESS", far.sealed(b"[" * 30_000)),
    "a sealed field twice": lambda: far.notice(
        "TRANSACTION.SUCCESS", far.sealed(far.json_bytes(paid())[:-1] + b',"mchid":"1900000109"}')
    ),
    "NaN": lambda: far.notice(
        "TRANSACTION.SUCCESS", far.sealed(far.json_bytes(paid()).replace(b'"total":1999', b'"total":NaN'))
    ),
    "no body": lambda: signed_body(b""),
    "a body that is not JSON": lambda: signed_body(b"<xml><return_code>SUCCESS</return_code></xml>"),
    "a body in another charset": lambda: signed_body('{"summary":"支付成功"}'.encode("gbk")),
    "a body that is a list": lambda: signed_body(b"[]"),
    "a body without a resource": lambda: signed_body(b'{"event_type":"TRANSACTION.SUCCESS"}'),
    "a resource that is text": lambda: signed_body(b'{"event_type":"TRANSACTION.SUCCESS","resource":"x"}'),
    "a bomb of lists": lambda: signed_body(b"[" * 60_000),
    "a bomb of objects": lambda: signed_body(b'{"a":' * 12_000),
    "half a character": lambda: signed_body(
        b'{"event_type":"TRANSACTION.SUCCESS","resource":{"algorithm":"AEAD_AES_256_GCM","nonce":"\\ud800aaaaaaa",'
        b'"ciphertext":"AAAA","associated_data":"\\udfff"}}'
    ),
    "a large body, genuine but for its size": lambda: signed_body(
        far.payment_notice(paid()).body[:-1] + b',"more":"' + b"m" * 70_000 + b'"}'
    ),
    "a callback of the old version": lambda: Inbound(
        {"content-type": "text/xml"}, b"<xml><req_info><![CDATA[AAAA]]></req_info></xml>", NOW
    ),
    "an entity bomb": lambda: Inbound(
        {}, b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml>&b;</xml>', NOW
    ),
    "Alipay's notification": lambda: Inbound({}, b"app_id=1&sign=AAAA&sign_type=RSA2", NOW),
    "body re-written by a proxy": lambda: replace(
        far.payment_notice(paid()), body=json.dumps(json.loads(far.payment_notice(paid()).body)).encode()
    ),
    "body cut short": lambda: replace(far.payment_notice(paid()), body=far.payment_notice(paid()).body[:-1]),
    "two bodies": lambda: replace(far.payment_notice(paid()), body=far.payment_notice(paid()).body * 2),
    "headers of another message": lambda: replace(
        far.payment_notice(paid()), headers=far.payment_notice(paid(attach="x")).headers
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_as_such(name: str, reader: WechatPay) -> None:
    with pytest.raises(SignatureMismatch) as refused:
        reader.read_callback(FORGERIES[name]())
    assert refused.value.detail.isascii()
    assert far.API_KEY not in refused.value.detail


def test_the_corpus_is_large_and_its_original_is_genuine(reader: WechatPay) -> None:
    assert len(FORGERIES) >= 100
    assert reader.read_callback(with_headers()).outcome is Outcome.SUCCEEDED
    assert reader.read_callback(with_headers(signature_type=None)).outcome is Outcome.SUCCEEDED
    assert reader.read_callback(resealed()).outcome is Outcome.SUCCEEDED
    refund = reader.read_callback(far.refund_notice(far.refund_notice_fields(REFUND, "SUCCESS")))
    assert refund.outcome is Outcome.SUCCEEDED


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
