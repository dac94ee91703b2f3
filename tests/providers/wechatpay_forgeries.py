"""A corpus of notifications that are not WeChat Pay's, or not for us: each has one thing wrong.

The account under attack is ``wechatpay_forge.BOTH_MODES``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.providers.base import Inbound
from tests.providers import wechatpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, REFUND

Forgeries = dict[str, Callable[[], Inbound]]


def paid(**more: Any) -> dict[str, Any]:
    """What a genuine notification of a payment holds."""
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


FORGERIES: Forgeries = {
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
