"""What nobody but WeChat Pay may say to us, said by others; and what WeChat Pay itself says oddly."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from app import clock
from app.providers.base import Inbound
from tests.callbacks.town import Order, serial_of
from tests.callbacks.twists import BAD_SIGNATURES, READ_BYTES_MAX, with_body, with_query
from tests.providers import wechatpay_forge
from tests.providers.wechatpay_forge import json_bytes, sealed

Forge = Callable[[Order], Inbound]
Twist = Callable[[dict[str, Any]], Any]

HEADERS = ("timestamp", "nonce", "serial", "signature", "signature-type")
# What stands in a header instead.
BAD_HEADERS: dict[str, dict[str, str]] = {
    "timestamp": {
        "a second on": "+1",
        "with a point": "1705284000.0",
        "in milliseconds": "1705284000000",
        "negative": "-1705284000",
        "in hexadecimal": "0x65a49360",
        "in words": "now",
        "without end": "9" * 400,
        "zero": "0",
        "with a line end escaped": "1705284000%0a",
        "a list": "1705284000,1705284000",
    },
    "nonce": {
        "another": "0" * 32,
        "with a blank": "593BEC0C930BF1AF EB40B4A08C8FB242",
        "without end": "0" * 4000,
        "a list": "593BEC0C930BF1AFEB40B4A08C8FB242, 593BEC0C930BF1AFEB40B4A08C8FB242",
    },
    "serial": {
        "unknown": "0123456789ABCDEF0123456789ABCDEF01234567",
        "unknown, of a public key": "PUB_KEY_ID_0119000001092024011500000000000009",
        "of no public key": "PUB_KEY_ID_",
        "no hexadecimal": "not-a-serial-number",
        "of the merchant's own certificate": wechatpay_forge.MERCHANT_SERIAL,
        "zero": "0" * 40,
        "without end": "A" * 4000,
        "an address": "../../etc/passwd",
        "a query": "' OR 1=1 --",
        "a list": f"{wechatpay_forge.PUBLIC_KEY_ID}, {wechatpay_forge.PLATFORM_SERIAL}",
    },
    "signature-type": {
        "SM2": "WECHATPAY2-SM2-WITH-SM3",
        "SHA-1": "WECHATPAY2-SHA1-RSA2048",
        "HMAC": "HMAC-SHA256",
        "MD5": "MD5",
        "none": "none",
        "in lower case": "wechatpay2-sha256-rsa2048",
        "a list": "WECHATPAY2-SHA256-RSA2048, none",
    },
}
PROBE = "WECHATPAY/SIGNTEST/"


def payment(order: Order, **more: Any) -> dict[str, Any]:
    """A paid transaction of this account."""
    fields = wechatpay_forge.transaction(order.number, "SUCCESS", order.price, transaction_id=order.ref)
    settings = order.till.settings
    fields |= {name: settings[name] for name in ("appid", "mchid")}
    if "sub_mchid" in settings:
        fields = wechatpay_forge.as_partner(fields, settings["sub_mchid"])
    return fields | more


def notice(order: Order, body: bytes, *, key_name: str = "", age_s: int = 0) -> Inbound:
    """These bytes, signed now by the account's WeChat Pay, or by another key."""
    key = wechatpay_forge.private_key(key_name or order.till.signer)
    headers = wechatpay_forge.signed_headers(body, serial_of(order.till), key=key, age_s=age_s)
    return Inbound({"content-type": "application/json", **headers}, body, clock.now())


def envelope(order: Order, plain: bytes | None = None, **sealing: Any) -> dict[str, Any]:
    """The body of a notification around a sealed resource."""
    plain = json_bytes(payment(order)) if plain is None else plain
    return {
        "id": "EV-2018022511223320873",
        "create_time": "2024-01-15T10:00:31+08:00",
        "resource_type": "encrypt-resource",
        "event_type": "TRANSACTION.SUCCESS",
        "summary": "支付成功",
        "resource": sealed(plain, **{"api_key": order.till.settings["api_v3_key"], **sealing}),
    }


def genuine(order: Order, **more: Any) -> Inbound:
    return notice(order, json_bytes(envelope(order, json_bytes(payment(order, **more)))))


def _header(name: str, value: str | None) -> Forge:
    """A header of a genuine notification replaced; None drops it."""

    def forge(order: Order) -> Inbound:
        sent = genuine(order)
        full = f"wechatpay-{name}"
        said = str(int(sent.headers[full]) + 1) if value == "+1" else value
        headers = {k: v for k, v in sent.headers.items() if k != full}
        return Inbound(headers if said is None else {**headers, full: said}, sent.body, sent.received_at)

    return forge


def _signed_badly(name: str) -> Forge:
    def forge(order: Order) -> Inbound:
        sent = genuine(order)
        head = f"{sent.headers['wechatpay-timestamp']}\n{sent.headers['wechatpay-nonce']}\n"
        key = wechatpay_forge.private_key(order.till.signer)
        true = sent.headers["wechatpay-signature"]
        bad = BAD_SIGNATURES[name](head.encode() + sent.body + b"\n", true, key)
        return Inbound({**sent.headers, "wechatpay-signature": bad}, sent.body, sent.received_at)

    return forge


def _probe(tail: Callable[[str], str]) -> Forge:
    def forge(order: Order) -> Inbound:
        sent = genuine(order)
        probe = PROBE + tail(sent.headers["wechatpay-signature"])
        return Inbound({**sent.headers, "wechatpay-signature": probe}, sent.body, sent.received_at)

    return forge


def _signed_by(key_name: str) -> Forge:
    return lambda order: notice(order, genuine(order).body, key_name=key_name)


def _aged(age_s: int) -> Forge:
    return lambda order: notice(order, genuine(order).body, age_s=age_s)


def _under(serial: str, key_name: str) -> Forge:
    """Named after a key that this account does not hold, and truly signed by it."""

    def forge(order: Order) -> Inbound:
        body = genuine(order).body
        key = wechatpay_forge.private_key(key_name)
        return Inbound(wechatpay_forge.signed_headers(body, serial, key=key), body, clock.now())

    return forge


# The body altered after it was signed.
UNSIGNED_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda body: b"",
    "a zero byte": lambda body: b"\0",
    "an object of nothing": lambda body: b"{}",
    "a list": lambda body: b"[]",
    "null": lambda body: b"null",
    "a blank more": lambda body: body + b" ",
    "a line end more": lambda body: body + b"\n",
    "a line end first": lambda body: b"\n" + body,
    "a byte order mark first": lambda body: b"\xef\xbb\xbf" + body,
    "written again with blanks": lambda body: json.dumps(json.loads(body), ensure_ascii=False).encode(),
    "written again in ASCII": lambda body: json.dumps(json.loads(body), separators=(",", ":")).encode(),
    "written again in order": lambda body: json.dumps(
        json.loads(body), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode(),
    "slashes escaped": lambda body: body.replace(b"/", b"\\/"),
    "another event": lambda body: body.replace(b"TRANSACTION.SUCCESS", b"TRANSACTION.REFUNDS"),
    "another id": lambda body: body.replace(b"EV-2018", b"EV-2019"),
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "twice": lambda body: body + body,
    "as long as adapters read": lambda body: body.ljust(READ_BYTES_MAX),
    "longer than adapters read": lambda body: body.ljust(READ_BYTES_MAX + 1),
    "XML of the version before": lambda body: (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
        b"<xml><return_code><![CDATA[SUCCESS]]></return_code><attach>&e;</attach></xml>"
    ),
}


def _altered(name: str) -> Forge:
    return lambda order: with_body(genuine(order), UNSIGNED_BODIES[name](genuine(order).body))


def _flipped(at: float) -> Forge:
    """One bit, so far into the body."""

    def forge(order: Order) -> Inbound:
        sent = genuine(order)
        body = bytearray(sent.body)
        body[int(at * (len(body) - 1))] ^= 1
        return with_body(sent, bytes(body))

    return forge


def _cut(at: float) -> Forge:
    def forge(order: Order) -> Inbound:
        sent = genuine(order)
        return with_body(sent, sent.body[: int(at * len(sent.body))])

    return forge


def _line_moved(order: Order) -> Inbound:
    """The first line of another body goes into the nonce: the signed text is the same to the byte."""
    head, body = b"x", json_bytes(envelope(order))
    sent = notice(order, head + b"\n" + body)
    nonce = f"{sent.headers['wechatpay-nonce']} {head.decode()}"  # a header can hold no line end
    return Inbound({**sent.headers, "wechatpay-nonce": nonce}, body, sent.received_at)


def _resource(twist: Twist) -> Forge:
    """Truly signed around a resource that was tampered with."""

    def forge(order: Order) -> Inbound:
        body = envelope(order)
        resource = dict(body["resource"])
        changed = twist(resource)
        body["resource"] = resource if changed is None else changed
        return notice(order, json_bytes(body))

    return forge


def _set(**more: Any) -> Twist:
    return lambda resource: resource.update(more)


def _sealed_text(change: Callable[[bytes], bytes]) -> Twist:
    """Change the sealed bytes: the tag is the last sixteen."""

    def twist(resource: dict[str, Any]) -> None:
        raw = base64.b64decode(resource["ciphertext"])
        resource["ciphertext"] = base64.b64encode(change(raw)).decode()

    return twist


def _bit(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


RESOURCES: dict[str, Twist] = {
    "with another nonce": _set(nonce="fdasflkja485"),
    "with an empty nonce": _set(nonce=""),
    "with a short nonce": _set(nonce="fdasfl"),
    "with a nonce without end": _set(nonce="n" * 129),
    "with a nonce in wide letters": _set(nonce="随机串"),
    "with a number for a nonce": _set(nonce=12),
    "without a nonce": lambda resource: resource.pop("nonce") and None,
    "with other data beside": _set(associated_data="refund"),
    "with empty data beside": _set(associated_data=""),
    "without data beside": lambda resource: resource.pop("associated_data") and None,
    "with a list beside": _set(associated_data=["transaction"]),
    "by another algorithm": _set(algorithm="AEAD_AES_128_GCM"),
    "by SM4": _set(algorithm="AEAD_SM4_GCM"),
    "by no algorithm": _set(algorithm=""),
    "without an algorithm": lambda resource: resource.pop("algorithm") and None,
    "with nothing inside": _set(ciphertext=""),
    "with no base64 inside": _set(ciphertext="%%%"),
    "with a number inside": _set(ciphertext=1250),
    "without a ciphertext": lambda resource: resource.pop("ciphertext") and None,
    "in the clear": lambda resource: {"out_trade_no": "1", "trade_state": "SUCCESS"},
    "that is null": _set(ciphertext=None, nonce=None, associated_data=None),
    "that is a list": lambda resource: [resource],
    "that is a text": json.dumps,
    "that is a number": lambda resource: 1,
    "of a flipped first bit": _sealed_text(lambda raw: _bit(raw, 0)),
    "of a flipped middle bit": _sealed_text(lambda raw: _bit(raw, len(raw) // 2)),
    "without its tag": _sealed_text(lambda raw: raw[:-16]),
    "with a tag of zeros": _sealed_text(lambda raw: raw[:-16] + bytes(16)),
    "of a tag alone": _sealed_text(lambda raw: raw[-16:]),
    "of a byte less": _sealed_text(lambda raw: raw[:-1]),
    "of a byte more": _sealed_text(lambda raw: raw + b"\0"),
    "sealed twice": _sealed_text(lambda raw: raw + raw),
    **{f"of a flipped bit in byte {n} of its tag": _sealed_text(partial(_bit, at=n - 16)) for n in range(16)},
    **{f"cut to {n} bytes": _sealed_text(lambda raw, n=n: raw[:n]) for n in (1, 15, 16, 17)},
}


def _sealing(**how: Any) -> Forge:
    return lambda order: notice(order, json_bytes(envelope(order, **how)))


def _plain(write: Callable[[Order], bytes], **more: Any) -> Forge:
    """Truly signed and sealed, around this."""
    return lambda order: notice(order, json_bytes(envelope(order, write(order)) | more))


def _text(change: Callable[[bytes], bytes]) -> Forge:
    return _plain(lambda order: change(json_bytes(payment(order))))


def _saying(**more: Any) -> Forge:
    return lambda order: genuine(order, **more)


def _paid(**amount: Any) -> Forge:
    """Truly signed and sealed, of this amount."""
    return _saying(amount={"currency": "CNY", **amount})


# Truly signed and sealed, and not JSON that has one meaning.
TEXTS: dict[str, Forge] = {
    "empty": _plain(lambda order: b""),
    "a list": _text(lambda text: b"[" + text + b"]"),
    "null": _plain(lambda order: b"null"),
    "cut": _text(lambda text: text[:-1]),
    "with a tail": _text(lambda text: text + b"x"),
    "twice": _text(lambda text: text + text),
    "with a key twice": _text(lambda text: text[:-1] + b',"trade_state":"SUCCESS"}'),
    "with an amount twice": _text(lambda text: text.replace(b'"amount":{', b'"amount":{"total":1250,', 1)),
    "not a number": _text(lambda text: text.replace(b'"total":1250', b'"total":NaN')),
    "infinite": _text(lambda text: text.replace(b'"total":1250', b'"total":Infinity')),
    "of twenty digits": _text(lambda text: text.replace(b'"total":1250', b'"total":' + b"9" * 20)),
    "of five thousand digits": _text(lambda text: text.replace(b'"total":1250', b'"total":' + b"9" * 5000)),
    "nested without end": _text(lambda text: text[:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    "nested deeply": _text(lambda text: text[:-1] + b',"x":' + b"[" * 17 + b"]" * 17 + b"}"),
    "no UTF-8": _text(lambda text: text.replace("支付".encode(), b"\xff\xfe")),
    "UTF-16": _text(lambda text: text.decode().encode("utf-16")),
    "with a byte order mark": _text(lambda text: b"\xef\xbb\xbf" + text),
    "half a character for a key": _text(lambda text: text[:-1] + b',"\\ud800":1}'),
    "with single quotes": _text(lambda text: text.replace(b'"', b"'")),
    "with a remark": _text(lambda text: b"/* paid */" + text),
}
NO_AMOUNTS: dict[str, Forge] = {
    "zero": _paid(total=0),
    "negative": _paid(total=-1250),
    "with a fraction": _paid(total=1250.0),
    "with an exponent": _text(lambda text: text.replace(b'"total":1250', b'"total":1.25e3')),
    "a text": _paid(total="1250"),
    "a yes": _paid(total=True),
    "a list": _paid(total=[1250]),
    "null": _paid(total=None),
    "in wide digits": _paid(total="１２５０"),
    "two to the sixty-third": _paid(total=2**63),
    "two to the sixty-third less one": _paid(total=2**63 - 1),
    "missing": _paid(),
    "no object": _saying(amount=1250),
    "an empty object": _saying(amount={}),
    "of an unknown currency": _paid(total=1250, currency="XXX"),
    "of a currency in lower case": _paid(total=1250, currency="cny"),
    "of no currency": _paid(total=1250, currency=""),
    "of a number for a currency": _paid(total=1250, currency=156),
}
NOT_NEWS: dict[str, Forge] = {
    "for another merchant": _saying(mchid="1900000110"),
    "for a number as merchant": _saying(mchid=1900000109),
    "for no merchant": _saying(mchid=None),
    "for a list of merchants": _saying(mchid=[wechatpay_forge.MCHID]),
    "for another app": _saying(appid="wx0000000000000009"),
    "for no app": _saying(appid=""),
    "for an app in capitals": _saying(appid=wechatpay_forge.APPID.upper()),
    "for a provider's merchant": _plain(
        lambda order: json_bytes({k: v for k, v in payment(order, sp_mchid="1").items() if k != "mchid"})
    ),
    "of no state": _saying(trade_state=""),
    "of a state that is a list": _saying(trade_state=["SUCCESS"]),
    "of no number": _saying(out_trade_no=""),
    "of a number with a blank": lambda order: genuine(order, out_trade_no=f"{order.number} "),
    "of a number with a zero byte": lambda order: genuine(order, out_trade_no=f"{order.number}\0"),
    "of a number that is one": _saying(out_trade_no=20240115100000000009),
    "of no kind": _plain(lambda order: json_bytes(payment(order)), event_type=""),
    "of another kind": _plain(lambda order: json_bytes(payment(order)), event_type="PAYSCORE.USER_PAID"),
    "of a kind that is a list": _plain(lambda order: json_bytes(payment(order)), event_type=["x"]),
    "of a refund that is a payment": _plain(lambda o: json_bytes(payment(o)), event_type="REFUND.SUCCESS"),
    "of a refund without its number": _plain(
        lambda order: json_bytes({"mchid": wechatpay_forge.MCHID, "refund_status": "SUCCESS"}),
        event_type="REFUND.SUCCESS",
    ),
    "of a payment that is a refund": lambda order: notice(order, json_bytes(_refund(order))),
}


def _refund(order: Order, event: str = "TRANSACTION.SUCCESS", **more: Any) -> dict[str, Any]:
    fields = {
        "mchid": order.till.settings["mchid"],
        "out_trade_no": order.number,
        "transaction_id": order.ref,
        "out_refund_no": "RE20240115100000000009",
        "refund_id": "50300002024011500000000000009",
        "refund_status": "SUCCESS",
        "success_time": "2024-01-15T10:05:30+08:00",
        "user_received_account": "支付用户零钱",
        "amount": {"total": 1250, "refund": 1250, "payer_total": 1250, "payer_refund": 1250},
    }
    sealing = {"associated": "refund", "original_type": "refund"}
    told = {name: value for name, value in (fields | more).items() if value is not None}
    return envelope(order, json_bytes(told), **sealing) | {"event_type": event}


def _sold_by(**parties: str | None) -> Forge:
    """News of the order, of a payment, that name other parties; None leaves one out."""

    def forge(order: Order) -> Inbound:
        told = {name: value for name, value in payment(order, **parties).items() if value is not None}
        return notice(order, json_bytes(envelope(order, json_bytes(told))))

    return forge


def _refunded_by(**parties: str | None) -> Forge:
    def forge(order: Order) -> Inbound:
        own = {"mchid": None, "sp_mchid": wechatpay_forge.MCHID, "sub_mchid": wechatpay_forge.SUB_MCHID}
        return notice(order, json_bytes(_refund(order, "REFUND.SUCCESS", **{**own, **parties})))

    return forge


# Signed by the service provider's own WeChat Pay and opened by its key: of others, or not as it tells them.
_PARTIES: dict[str, dict[str, str | None]] = {
    "another sub-merchant": {"sub_mchid": "1600000110"},
    "nobody in particular": {"sub_mchid": None},
    "another service provider": {"sp_mchid": "1900000110"},
    "the provider for itself": {"sp_mchid": None, "sub_mchid": None, "mchid": wechatpay_forge.MCHID},
    "the sub-merchant for itself": {"sp_mchid": None, "sub_mchid": None, "mchid": wechatpay_forge.SUB_MCHID},
    "the sub-merchant, under a direct name": {"sp_mchid": None, "mchid": wechatpay_forge.MCHID},
}
FORGED_TO_PARTNERS: dict[str, Forge] = {
    **{f"a payment of {whose}": _sold_by(**parties) for whose, parties in _PARTIES.items()},
    **{f"a refund of {whose}": _refunded_by(**parties) for whose, parties in _PARTIES.items()},
    "a payment under another application": _sold_by(sp_appid="wx0000000000000000"),
    "a payment under another sub-merchant's application": _sold_by(sub_appid="wx0000000000000000"),
}

FORGED: dict[str, Forge] = dict(
    chain(
        ((f"{name} missing", _header(name, None)) for name in HEADERS if name != "signature-type"),
        ((f"{name} empty", _header(name, "")) for name in HEADERS if name != "signature-type"),
        (
            (f"{name} {what}", _header(name, value))
            for name, values in BAD_HEADERS.items()
            for what, value in values.items()
        ),
        ((f"signature {name}", _signed_badly(name)) for name in BAD_SIGNATURES),
        (
            (f"signature by {whose}", _signed_by(key))
            for whose, key in {
                "our own merchant": "wx_mch.pkcs8.pem",
                "wechatpay's authority": "wechat_ca.pkcs8.pem",
                "alipay": "alipay.pkcs8.pem",
                "unionpay": "up_sign.pkcs8.pem",
            }.items()
        ),
        (
            ("a probe", _probe(lambda true: true)),
            ("a probe alone", _probe(lambda true: "")),
            ("a probe of noise", _probe(lambda true: "A" * 300)),
            (
                "another merchant's public key",
                _under("PUB_KEY_ID_0119000001102024011500000000000002", "wx_mch.pkcs8.pem"),
            ),
            ("another merchant's certificate", _under("7" * 40, "wx_mch.pkcs8.pem")),
        ),
        ((f"{age:+} seconds old", _aged(age)) for age in (300, 301, 3600, 86_400, 31_536_000)),
        ((f"{age:+} seconds old", _aged(age)) for age in (-300, -301, -3600, -86_400)),
        ((f"body {name}", _altered(name)) for name in UNSIGNED_BODIES),
        ((f"body with a bit flipped at {at:.0%}", _flipped(at)) for at in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)),
        ((f"body cut at {n * 5}%", _cut(n / 20)) for n in range(20)),
        ((f"resource {name}", _resource(twist)) for name, twist in RESOURCES.items()),
        (
            ("sealed for another merchant", _sealing(api_key=wechatpay_forge.API_KEY[::-1])),
            ("sealed with zeros", _sealing(api_key="\0" * 32)),
            ("a line moved into the nonce", _line_moved),
            ("no resource", lambda order: notice(order, b'{"event_type":"TRANSACTION.SUCCESS"}')),
            ("signed, an empty body", lambda order: notice(order, b"")),
            ("signed, null", lambda order: notice(order, b"null")),
            ("signed, the resource twice", lambda order: notice(order, _doubled(order))),
            ("signed, nested without end", lambda order: notice(order, b'{"a":' * 10_000)),
        ),
        ((f"inside {name}", forge) for name, forge in TEXTS.items()),
        ((f"amount {name}", forge) for name, forge in NO_AMOUNTS.items()),
        ((f"genuine news {name}", forge) for name, forge in NOT_NEWS.items()),
    )
)


def _doubled(order: Order) -> bytes:
    body = json_bytes(envelope(order))
    return body[:-1] + b',"resource":{}}'


def _kept() -> Iterator[tuple[str, Forge]]:
    for name, minor in {
        "of a fen": 1,
        "of a fen less": 1249,
        "of a fen more": 1251,
        "of yuan taken for fen": 12,
        "of ten billion": 10_000_000_001,
    }.items():
        yield f"amount {name}", _paid(total=minor)
    yield "amount in dollars", _paid(total=1250, currency="USD")
    yield "amount in Hong Kong dollars", _paid(total=1250, currency="HKD")
    yield "a number that nobody gave out", _saying(out_trade_no="20240115100000000009")
    yield "a number in lower case", lambda order: genuine(order, out_trade_no=order.number.lower())
    yield "a number without end", _saying(out_trade_no="9" * 2000)
    for state in ("SUCCESS", "CLOSED", "ABNORMAL"):
        event = f"REFUND.{state}"
        yield (
            f"a refund that nobody made: {state}",
            lambda order, event=event, state=state: notice(
                order, json_bytes(_refund(order, event, refund_status=state))
            ),
        )


MISMATCHED: dict[str, Forge] = dict(_kept())

TRUE: dict[str, Forge] = {
    "as it is": genuine,
    "almost too old": _aged(299),
    "almost too early": _aged(-299),
    "without the signature's type": _header("signature-type", None),
    "without data beside": _sealing(associated=None),
    "with empty data beside": _sealing(associated=""),
    "with a nonce of 16": _sealing(nonce="0123456789abcdef"),
    "with a nonce of 8": _sealing(nonce="01234567"),
    "refunded in part already": _saying(trade_state="REFUND"),
    "of a field from the future": _saying(zz_new_field={"a": [1, 2, 3]}),
    "of no time": _saying(success_time=""),
    "of a time that is none": _saying(success_time="9999-99-99T99:99:99+08:00"),
    "of a transaction without end": lambda order: genuine(order, transaction_id=order.ref * 70),
    "of a payer in wide letters": _saying(payer={"openid": "张三"}),
    "another number in the query": lambda order: with_query(genuine(order), "out_trade_no=1"),
    "no type of content": lambda order: Inbound(
        {k: v for k, v in genuine(order).headers.items() if k != "content-type"},
        genuine(order).body,
        clock.now(),
    ),
    "called a form": lambda order: with_body(
        genuine(order), genuine(order).body, content_type="application/x-www-form-urlencoded"
    ),
}

NO_NEWS: dict[str, Forge] = {
    "not paid": _saying(trade_state="NOTPAY"),
    "a password is typed": _saying(trade_state="USERPAYING"),
    "a word from the future": _saying(trade_state="SETTLING"),
    "a word in lower case": _saying(trade_state="success"),
}
