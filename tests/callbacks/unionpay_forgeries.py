"""What nobody but UnionPay may say to us, said by others; and what UnionPay itself says oddly.

Every message brings the certificate it is signed with, so most of what follows is about whose it is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from itertools import chain

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding

from app.providers.base import Inbound
from tests.callbacks.town import Order
from tests.callbacks.twists import (
    BAD_FORMS,
    BAD_SIGNATURES,
    PACKED,
    Pairs,
    bad_form,
    cuts,
    posted,
    with_body,
    with_query,
)
from tests.providers import unionpay_forge
from tests.providers.contract import NOW
from tests.providers.unionpay_forge import KEYS, UNIONPAY, Signer, certificate

Forge = Callable[[Order], Inbound]

# Every field of a notification, and what a forger would rather read there.
OTHER = {
    "accNo": "6216***********0099",
    "accessType": "1",
    "bizType": "000201",
    "certId": "68759663300",
    "currencyCode": "840",
    "encoding": "GBK",
    "merId": unionpay_forge.STRANGER_ID,
    "orderId": "20240115100000000009",
    "payCardType": "02",
    "queryId": "202401151000000000009",
    "respCode": "A6",
    "respMsg": "成功[A600000]",
    "settleAmt": "1",
    "settleCurrencyCode": "840",
    "settleDate": "0116",
    "signMethod": "02",
    "traceNo": "000009",
    "traceTime": "0115100031",
    "txnAmt": "1",
    "txnSubType": "01",
    "txnTime": "20240115100001",
    "txnType": "04",
    "version": "5.0.0",
}
# The fields that decide something.
DECIDING = ("currencyCode", "merId", "orderId", "queryId", "respCode", "traceNo", "txnAmt", "txnType")

SIGN_METHODS = ("02", "11", "12", "1", "001", " 01", "01 ", "RSA", "none", "")
NO_AMOUNTS = {
    "empty": "",
    "zero": "0",
    "negative": "-1250",
    "with an exponent": "125e1",
    "with a point": "1250.0",
    "not a number": "NaN",
    "in Arabic digits": "١٢٥٠",
    "in wide digits": "１２５０",
    "in hexadecimal": "0x4e2",
    "with a sign": "+1250",
    "with a blank": " 1250",
    "with a line end": "1250\n",
    "with a zero byte": "1250\0",
    "with underscores": "1_250",
    "of thirteen digits": "9" * 13,
    "two to the sixty-third": str(2**63),
    "of five thousand digits": "9" * 5000,
}
NOT_NEWS: dict[str, dict[str, str]] = {
    "for another merchant": {"merId": unionpay_forge.STRANGER_ID},
    "for no merchant": {"merId": ""},
    "for a merchant with a blank": {"merId": f"{unionpay_forge.MER_ID} "},
    "of no number": {"orderId": ""},
    "of no code": {"respCode": ""},
    "of an answer to a query": {"origRespCode": "00"},
    "of an answer to a query that failed": {"origRespCode": "34"},
    "of an order that was only taken": {"queryId": ""},
    "of a payment without its trace": {"traceNo": ""},
    "of a settlement file": {"txnType": "76"},
    "of a query": {"txnType": "00"},
    "of a certificate": {"txnType": "95"},
    "of a preauthorisation": {"txnType": "02"},
    "of no type": {"txnType": ""},
    "in an unknown currency": {"currencyCode": "999"},
    "in letters for a currency": {"currencyCode": "CNY"},
    "in no currency": {"currencyCode": ""},
    "in Big5": {"encoding": "big5"},
    "in UTF-16": {"encoding": "utf-16"},
    "in UTF-7": {"encoding": "utf-7"},
    "with a zero byte": {"reqReserved": "\0"},
    "that holds another field": {"reqReserved": "x&txnAmt=1"},
}


def fields_of(order: Order, **more: str) -> dict[str, str]:
    """A payment's notification; empty values are left out, as UnionPay does."""
    fields = unionpay_forge.payment_fields(order.number, "00", order.price)
    fields |= {"merId": order.till.settings["mer_id"], "queryId": order.ref, **more}
    return {name: value for name, value in fields.items() if value}


def signed(order: Order, signer: Signer = UNIONPAY) -> dict[str, str]:
    return signer.signed(fields_of(order))


def genuine(order: Order, **more: str) -> Inbound:
    return posted(UNIONPAY.signed(fields_of(order, **more)))


def text_of(fields: Mapping[str, str]) -> bytes:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "signature").encode()


def _digest(fields: Mapping[str, str]) -> bytes:
    return hashlib.sha256(text_of(fields)).hexdigest().encode()


def _changed(name: str, value: str | None) -> Forge:
    """A field altered after the signature; None drops it."""

    def forge(order: Order) -> Inbound:
        fields = signed(order) | {name: value or ""}
        return posted({k: v for k, v in fields.items() if k != name or value is not None})

    return forge


def _twice(name: str, value: str | None, *, first: bool) -> Forge:
    def forge(order: Order) -> Inbound:
        fields = signed(order)
        more = (name, value if value is not None else fields[name])
        return posted([more, *fields.items()] if first else [*fields.items(), more])

    return forge


def _folded(name: str) -> Forge:
    """Two fields written as one: the signed text is the same to the byte."""

    def forge(order: Order) -> Inbound:
        fields = signed(order)
        before = max(each for each in fields if each < name and each != "signature")
        fields[before] += f"&{name}={fields.pop(name)}"
        return posted(fields)

    return forge


def _answer_as_news(order: Order) -> Inbound:
    """The genuine answer to a query of what failed, with its verdict folded away: 00 is left."""
    fields = UNIONPAY.signed(fields_of(order, origQryId="9" * 21, origRespCode="34"))
    fields["origQryId"] += f"&origRespCode={fields.pop('origRespCode')}"
    return posted(fields)


def _misnamed(name: str, other: str) -> Forge:
    """A field under a name that another reader might take for it, and a forged one under the true name."""

    def forge(order: Order) -> Inbound:
        fields = signed(order)
        return posted([*((other if k == name else k, v) for k, v in fields.items()), (name, OTHER[name])])

    return forge


def _signed_badly(name: str) -> Forge:
    def forge(order: Order) -> Inbound:
        fields = signed(order)
        key = unionpay_forge.private_key(order.till.signer)
        bad = BAD_SIGNATURES[name](_digest(fields), fields["signature"], key)
        return posted(fields | {"signature": bad})

    return forge


def _hashed_once(order: Order) -> Inbound:
    """As a library on PyPI does it: one hash too few."""
    fields = signed(order)
    key = unionpay_forge.private_key(order.till.signer)
    once = key.sign(text_of(fields), padding.PKCS1v15(), _sha256())
    return posted(fields | {"signature": base64.b64encode(once).decode()})


def _sha256() -> unionpay_forge.hashes.SHA256:
    return unionpay_forge.hashes.SHA256()


def _by_secret(method: str, secret: str, *, certificate_too: bool) -> Forge:
    """signMethod 11 or 12: a hash over the text and a secret that both sides know."""

    def forge(order: Order) -> Inbound:
        fields = fields_of(order, signMethod=method)
        if certificate_too:
            fields["signPubKeyCert"] = KEYS["up_sign.cer"]
        inner = hashlib.sha256(secret.encode()).hexdigest()
        mac = hashlib.sha256(text_of(fields) + b"&" + inner.encode()).hexdigest()
        return posted(fields | {"signature": mac})

    return forge


def _with_certificate(make: Callable[[], str], key: str = "up_sign.pkcs8.pem") -> Forge:
    """Signed by a key whose certificate comes along, and is not one to believe."""
    return lambda order: posted(signed(order, Signer(key, make())))


def _resigned(**more: str) -> Forge:
    return lambda order: genuine(order, **more)


def _cut(name: str) -> Forge:
    return lambda order: with_body(genuine(order), dict(cuts(_in_order(signed(order))))[name])


def _in_order(fields: Mapping[str, str]) -> Pairs:
    """Signature and certificate first, so that what is cut off is what they vouch for."""
    first = ("signature", "signPubKeyCert")
    return [(k, fields[k]) for k in (*first, *sorted(set(fields) - set(first)))]


def _cut_names() -> list[str]:
    fields = dict.fromkeys([*OTHER, "signature", "signPubKeyCert"], "x")
    return [name for name, _ in cuts(_in_order(fields))]


def _bad_form(name: str) -> Forge:
    return lambda order: bad_form(genuine(order), name)


def _answer(order: Order) -> Inbound:
    """The synchronous answer to a query: signed alike, not url-encoded."""
    answer = unionpay_forge.queried(order.number, NOW, "00", order.price)
    return Inbound({"content-type": "text/html;charset=UTF-8"}, answer.body, NOW)


def _accepted_order(order: Order) -> Inbound:
    """The answer to an order for a QR code, as a form: 00 means taken, not paid."""
    fields = fields_of(order, qrCode=unionpay_forge.QR_CODE, queryId="", traceNo="")
    return posted(UNIONPAY.signed(fields))


def _raw_bytes(order: Order) -> Inbound:
    """Signed by UnionPay, and no text in the encoding that it names."""
    fields = UNIONPAY.signed(fields_of(order, reqReserved="拿铁"), "gbk")
    return posted(fields, "gbk")


def _der(name: str) -> str:
    held = x509.load_pem_x509_certificate(KEYS[name].encode())
    return base64.b64encode(held.public_bytes(serialization.Encoding.DER)).decode()


def _issued_by_impostor() -> str:
    """Issued under the intermediate's name, by somebody else's key."""
    middle = x509.load_pem_x509_certificate(KEYS["up_middle.cer"].encode()).subject
    true = x509.load_pem_x509_certificate(certificate().encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(true.subject)
        .issuer_name(middle)
        .public_key(unionpay_forge.private_key("up_mer.pkcs8.pem").public_key())
        .serial_number(68759663401)
        .not_valid_before(true.not_valid_before_utc)
        .not_valid_after(true.not_valid_after_utc)
    )
    forged = builder.sign(unionpay_forge.private_key("up_mer.pkcs8.pem"), _sha256())
    return forged.public_bytes(serialization.Encoding.PEM).decode()


_TRUE_NAME = "CFCA@SIM@中国银联股份有限公司@Z1"
CERTIFICATES: dict[str, tuple[Callable[[], str], str]] = {
    "self-signed under UnionPay's name": (partial(certificate, issuer=""), "up_sign.pkcs8.pem"),
    "of another chain under UnionPay's name": (lambda: KEYS["up_forged.cer"], "up_mer.pkcs8.pem"),
    "of another authority of that name": (_issued_by_impostor, "up_mer.pkcs8.pem"),
    "issued by the merchant": (partial(certificate, issuer="up_mer"), "up_sign.pkcs8.pem"),
    "issued by the root itself": (partial(certificate, issuer="up_root"), "up_sign.pkcs8.pem"),
    "expired": (partial(certificate, lasts=timedelta(days=1)), "up_sign.pkcs8.pem"),
    "expired a second ago": (
        partial(certificate, begins=NOW - timedelta(days=9), lasts=timedelta(days=9, seconds=-1)),
        "up_sign.pkcs8.pem",
    ),
    "not yet valid": (partial(certificate, begins=NOW + timedelta(seconds=1)), "up_sign.pkcs8.pem"),
    "an authority's under UnionPay's name": (partial(certificate, authority=True), "up_sign.pkcs8.pem"),
    "the intermediate itself": (lambda: KEYS["up_middle.cer"], "up_middle.pkcs8.pem"),
    "the root itself": (lambda: KEYS["up_root.cer"], "up_root.pkcs8.pem"),
    "the merchant's own": (lambda: KEYS["up_mer.cer"], "up_mer.pkcs8.pem"),
    "of another company": (lambda: KEYS["up_wrongcn.cer"], "up_mer.pkcs8.pem"),
    "of UnionPay's test system": (partial(certificate, "CFCA@SIM@00040000:SIGN@1"), "up_sign.pkcs8.pem"),
    "named UnionPay in the wrong part": (
        partial(certificate, "CFCA@中国银联股份有限公司@Some Other Company@Z1"),
        "up_sign.pkcs8.pem",
    ),
    "named UnionPay and more": (
        partial(certificate, "CFCA@SIM@中国银联股份有限公司分公司@Z1"),
        "up_sign.pkcs8.pem",
    ),
    "named UnionPay with a blank": (
        partial(certificate, "CFCA@SIM@ 中国银联股份有限公司@Z1"),
        "up_sign.pkcs8.pem",
    ),
    "named UnionPay alone": (partial(certificate, "中国银联股份有限公司"), "up_sign.pkcs8.pem"),
    "named in full-width signs": (
        partial(certificate, "CFCA＠SIM＠中国银联股份有限公司＠Z1"),
        "up_sign.pkcs8.pem",
    ),
    "of an empty name": (partial(certificate, "@@@"), "up_sign.pkcs8.pem"),
    "of two names": (partial(certificate, ["CFCA@SIM@Shop@Z1", _TRUE_NAME]), "up_sign.pkcs8.pem"),
    "of two names, UnionPay's first": (
        partial(certificate, [_TRUE_NAME, "CFCA@SIM@Shop@Z1"]),
        "up_sign.pkcs8.pem",
    ),
    "of another key": (lambda: KEYS["up_sign.cer"], "up_mer.pkcs8.pem"),
    "alipay's": (lambda: KEYS["alipay_public.crt"], "alipay.pkcs8.pem"),
    "wechatpay's": (lambda: KEYS["wx_platform.crt"], "wx_platform.pkcs8.pem"),
    "of a curve": (lambda: KEYS["alipay_root_ec.crt"], "up_sign.pkcs8.pem"),
    "a bare public key": (lambda: KEYS["up_sign.pub.pem"], "up_sign.pkcs8.pem"),
    "a forged one before the true one": (
        lambda: KEYS["up_forged.cer"] + KEYS["up_sign.cer"],
        "up_mer.pkcs8.pem",
    ),
    "the true one before a forged one": (
        lambda: KEYS["up_sign.cer"] + KEYS["up_forged.cer"],
        "up_mer.pkcs8.pem",
    ),
    "broken inside": (lambda: KEYS["up_sign.cer"].replace("A", "B", 40), "up_sign.pkcs8.pem"),
    "cut": (lambda: KEYS["up_sign.cer"][:300], "up_sign.pkcs8.pem"),
    "a word": (lambda: "certificate", "up_sign.pkcs8.pem"),
    "a number": (lambda: "68759663199", "up_sign.pkcs8.pem"),
    "an address": (lambda: "file:///etc/ssl/certs/up_sign.cer", "up_sign.pkcs8.pem"),
    "in wide letters": (lambda: "证书", "up_sign.pkcs8.pem"),
}


FORGED: dict[str, Forge] = dict(
    chain(
        ((f"{name} changed", _changed(name, value)) for name, value in OTHER.items()),
        ((f"{name} dropped", _changed(name, None)) for name in OTHER),
        ((f"{name} emptied", _changed(name, "")) for name in OTHER),
        ((f"{name} twice alike", _twice(name, None, first=False)) for name in ("signature", *DECIDING)),
        ((f"{name} forged behind", _twice(name, OTHER[name], first=False)) for name in DECIDING),
        ((f"{name} forged before", _twice(name, OTHER[name], first=True)) for name in DECIDING),
        ((f"{name} folded into another", _folded(name)) for name in DECIDING),
        ((f"{name} in capitals", _misnamed(name, name.upper())) for name in DECIDING),
        ((f"{name} with a blank", _misnamed(name, f"{name} ")) for name in DECIDING),
        ((f"{name} as a list", _misnamed(name, f"{name}[]")) for name in DECIDING),
        ((f"signature {name}", _signed_badly(name)) for name in BAD_SIGNATURES),
        (("signature missing", _changed("signature", None)), ("signature hashed once", _hashed_once)),
        (("certificate missing", _changed("signPubKeyCert", None)),),
        (("certificate emptied", _changed("signPubKeyCert", "")),),
        ((f"certificate {name}", _with_certificate(*how)) for name, how in CERTIFICATES.items()),
        (("certificate swapped for the true one", _changed("signPubKeyCert", KEYS["up_wrongcn.cer"])),),
        ((f"signMethod {word!r}", _changed("signMethod", word)) for word in SIGN_METHODS),
        ((f"signMethod {word!r}, signed", _resigned(signMethod=word)) for word in SIGN_METHODS),
        (
            (
                f"signMethod {method} by {what}{' beside a certificate' if too else ''}",
                _by_secret(method, secret, certificate_too=too),
            )
            for method in ("11", "12")
            for what, secret in {
                "an empty secret": "",
                "the merchant's number": unionpay_forge.MER_ID,
            }.items()
            for too in (False, True)
        ),
        ((f"amount {name}", _resigned(txnAmt=value)) for name, value in NO_AMOUNTS.items()),
        ((f"genuine news {name}", _resigned(**more)) for name, more in NOT_NEWS.items()),
        ((name, _cut(name)) for name in _cut_names()),
        ((f"body {name}", _bad_form(name)) for name in (*BAD_FORMS, *PACKED)),
        (
            ("the answer to a query", _answer),
            ("the answer to a query folded into news", _answer_as_news),
            ("the answer to an order", _accepted_order),
            ("bytes of no encoding, signed", _raw_bytes),
            ("an unsigned empty field", lambda o: with_body(genuine(o), genuine(o).body + b"&reqReserved=")),
            ("a query beside", lambda order: with_query(genuine(order), "txnAmt=1")),
            ("an empty query beside", lambda order: with_query(genuine(order), "x")),
            (
                "everything in the query",
                lambda order: with_query(with_body(genuine(order), b""), genuine(order).body.decode()),
            ),
        ),
    )
)


def _refund(order: Order, code: str, **more: str) -> Inbound:
    """Genuine news of a refund that nobody made."""
    changes = {"txnType": "04", "txnSubType": "00", "orderId": "RE20240115100000000009", "respCode": code}
    return genuine(order, origQryId=order.ref, queryId="9" * 21, **{**changes, **more})


MISMATCHED: dict[str, Forge] = {
    "amount of a fen": _resigned(txnAmt="1"),
    "amount of a fen less": _resigned(txnAmt="1249"),
    "amount of a fen more": _resigned(txnAmt="1251"),
    "amount of yuan taken for fen": _resigned(txnAmt="12"),
    "amount of twelve digits": _resigned(txnAmt="9" * 12),
    "amount in dollars": _resigned(currencyCode="840"),
    "amount in yen": _resigned(currencyCode="392"),
    "a number that nobody gave out": _resigned(orderId="20240115100000000009"),
    "a number in lower case": lambda order: genuine(order, orderId=order.number.lower()),
    "a number with a blank": lambda order: genuine(order, orderId=f"{order.number} "),
    "a number without end": _resigned(orderId="9" * 5000),
    "a refund that nobody made": lambda order: _refund(order, "00"),
    "a refund that failed, that nobody made": lambda order: _refund(order, "30"),
    "a void that nobody made": lambda order: _refund(order, "00", txnType="31"),
    "a refund with a number without end": lambda order: _refund(order, "00", orderId="9" * 5000),
}


def _typed(content_type: str) -> Forge:
    return lambda order: with_body(genuine(order), genuine(order).body, content_type=content_type)


def _gbk(order: Order) -> Inbound:
    fields = fields_of(order, encoding="GBK", reqReserved="拿铁")
    return posted(UNIONPAY.signed(fields, "gbk"), "gbk")


TRUE: dict[str, Forge] = {
    "as it is": genuine,
    "in another order": lambda order: posted(list(signed(order).items())[::-1]),
    "blanks as percent signs": lambda order: with_body(
        genuine(order), genuine(order).body.replace(b"+", b"%20")
    ),
    "percent signs in lower case": lambda order: with_body(
        genuine(order), genuine(order).body.replace(b"%2B", b"%2b")
    ),
    "with line ends of Unix in the certificate": lambda order: posted(_unix(fields_of(order))),
    "a field from the future, signed": _resigned(zzNewField="1"),
    "in GBK": _gbk,
    "encoding in lower case": _resigned(encoding="utf-8"),
    "with defects": _resigned(respCode="A6"),
    "without its number of a certificate": _resigned(certId=""),
    "of no time": _resigned(traceTime="", txnTime=""),
    "of a time that is none": _resigned(traceTime="9999999999"),
    "of a number without end": lambda order: genuine(order, queryId=order.ref * 70),
    "by a renewed certificate": lambda order: posted(
        signed(order, Signer("up_mer.pkcs8.pem", certificate(subject_key="up_mer.pkcs8.pem")))
    ),
    "certificate in bare base64": lambda order: posted(signed(order, Signer(cert=_der("up_sign.cer")))),
    "no type of content": lambda order: Inbound({}, genuine(order).body, NOW),
    "called JSON": _typed("application/json"),
    "called a form of parts": _typed("multipart/form-data"),
}


def _unix(fields: dict[str, str]) -> dict[str, str]:
    whole = fields | {"signPubKeyCert": KEYS["up_sign.cer"].strip()}
    signature = unionpay_forge.private_key("up_sign.pkcs8.pem").sign(
        _digest(whole), padding.PKCS1v15(), _sha256()
    )
    return whole | {"signature": base64.b64encode(signature).decode()}


NO_NEWS: dict[str, Forge] = {
    f"of code {code}": _resigned(respCode=code)
    for code in ("03", "04", "05", "06", "12", "30", "64", "ZZ", "0", "000", "00 ", "００")
}
