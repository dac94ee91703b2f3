"""A corpus of notifications that are not UnionPay's, or not for us: a genuine one with one thing wrong each.

The account under attack is ``unionpay_forge.PAIR``.  The scheme has no time but the certificate's, so an old
notification is no forgery: settling the same news twice must be harmless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import parse_qsl, quote, urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from app.providers.base import Inbound
from tests.providers import alipay_forge, wechatpay_forge
from tests.providers import unionpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, REFUND
from tests.providers.unionpay_forge import KEYS, Signer, certificate

Forgeries = dict[str, Callable[[], Inbound]]


def paid() -> dict[str, str]:
    """The fields of a genuine notification of a payment."""
    return far.payment_fields(REF.out_trade_no, "00", PRICE)


def genuine() -> Inbound:
    return far.notice(paid())


def sent() -> dict[str, str]:
    """What a genuine notification carries, signature and certificate too."""
    return dict(parse_qsl(genuine().body.decode()))


def raw(body: bytes) -> Inbound:
    return replace(genuine(), body=body)


def changed(**changes: str | None) -> Inbound:
    """Something changed, added or (None) taken away after signing."""
    fields: dict[str, str | None] = {**sent(), **changes}
    return far.form({name: text for name, text in fields.items() if text is not None})


def signed(signer: Signer = far.UNIONPAY, **changes: str | None) -> Inbound:
    """Well signed, but with other content."""
    fields: dict[str, str | None] = {**paid(), **changes}
    return far.notice({name: text for name, text in fields.items() if text is not None}, signer)


def certified(cert: str, key: str = "up_sign.pkcs8.pem") -> Inbound:
    return far.notice(paid(), Signer(key, cert))


def text_of(fields: Iterable[tuple[str, str]]) -> bytes:
    return "&".join(f"{name}={text}" for name, text in fields if name != "signature").encode()


def signed_as(signature: bytes | str, **changes: str) -> Inbound:
    """The genuine fields under another signature."""
    sign = signature if isinstance(signature, str) else base64.b64encode(signature).decode()
    return changed(signature=sign, **changes)


def by_unionpay(message: bytes, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    key = far.private_key("up_sign.pkcs8.pem")
    return key.sign(message, padding.PKCS1v15(), algorithm or hashes.SHA256())


def shared_secret(method: str, secret: str) -> Inbound:
    """signMethod 11: a hash over the text and the hash of a secret, and no certificate."""
    fields = {**paid(), "signMethod": method}
    del fields["certId"]
    inner = hashlib.sha256(secret.encode()).hexdigest()
    text = text_of(sorted(fields.items())) + f"&{inner}".encode()
    return far.form({**fields, "signature": hashlib.sha256(text).hexdigest()})


def twice(name: str, value: str | None, first: bool) -> Inbound:
    body = genuine().body
    extra = urlencode({name: sent()[name] if value is None else value}).encode()
    return raw(extra + b"&" + body if first else body + b"&" + extra)


def folded(holder: str, hidden: str) -> Inbound:
    """Signed fields sent as one: the signed text stays the same."""
    fields = dict(parse_qsl(far.notice(far.refund_fields(REFUND, "00")).body.decode()))
    names = sorted(set(fields) - {"signature"})
    for name in names[names.index(holder) + 1 : names.index(hidden) + 1]:
        fields[holder] += f"&{name}={fields.pop(name)}"
    return far.form(fields)


def cut(eighths: int) -> Inbound:
    body = genuine().body
    return raw(body[: len(body) * eighths // 8])


TEXT = text_of(sorted(sent().items()))
DIGEST = hashlib.sha256(TEXT).hexdigest().encode()
SIGN = sent()["signature"]
PAST = {"begins": datetime(2020, 1, 1, tzinfo=UTC), "lasts": timedelta(days=365)}
FUTURE = {"begins": datetime(2030, 1, 1, tzinfo=UTC), "lasts": timedelta(days=365)}

SIGNATURES: Forgeries = {
    "no signature": lambda: changed(signature=None),
    "an empty signature": lambda: changed(signature=""),
    "a signature that is not base64": lambda: changed(signature="*" * 344),
    "a signature that is not ascii": lambda: changed(signature="é" * 344),
    "a signature of zeros": lambda: changed(signature=base64.b64encode(bytes(256)).decode()),
    "a signature too short": lambda: changed(signature="AAAA"),
    "a signature too long": lambda: changed(signature=SIGN * 90),
    "a signature with a blank": lambda: changed(signature=f" {SIGN}"),
    "a signature cut by a letter": lambda: changed(signature=SIGN[:-1]),
    "a signature in hexadecimal": lambda: changed(signature=base64.b64decode(SIGN).hex()),
    "the signature of another notification": lambda: changed(
        signature=dict(parse_qsl(signed(txnAmt="1").body.decode()))["signature"]
    ),
    "signed over one hash": lambda: signed_as(by_unionpay(TEXT)),
    "signed over the hash's bytes": lambda: signed_as(by_unionpay(bytes.fromhex(DIGEST.decode()))),
    "signed over the hash in capitals": lambda: signed_as(by_unionpay(DIGEST.upper())),
    "signed over three hashes": lambda: signed_as(by_unionpay(hashlib.sha256(DIGEST).hexdigest().encode())),
    "signed over SHA-1": lambda: signed_as(by_unionpay(DIGEST, hashes.SHA1())),
    "signed over the old version's SHA-1": lambda: signed_as(
        by_unionpay(hashlib.sha1(TEXT).hexdigest().encode(), hashes.SHA1())
    ),
    "signed unsorted": lambda: signed_as(
        by_unionpay(hashlib.sha256(text_of(sorted(sent().items(), reverse=True))).hexdigest().encode())
    ),
    "signed url-encoded": lambda: signed_as(
        by_unionpay(hashlib.sha256(urlencode(sorted(sent().items())).encode()).hexdigest().encode())
    ),
    "signed over nothing": lambda: signed_as(by_unionpay(b"")),
    "an empty secret": lambda: shared_secret("11", ""),
    "a guessed secret": lambda: shared_secret("11", "000000"),
    "an empty secret, called a certificate's": lambda: shared_secret("01", ""),
    "an empty secret over SM3": lambda: shared_secret("12", ""),
    "HMAC with an empty secret": lambda: signed_as(hmac.digest(b"", TEXT, "sha256")),
    "HMAC with the certificate for a secret": lambda: signed_as(
        hmac.digest(KEYS["up_sign.cer"].encode(), TEXT, "sha256")
    ),
    **{
        f"signMethod {name!r}": partial(signed, signMethod=name)
        for name in ("11", "12", "02", "1", "01 ", "0１", "", "RSA", None)
    },
}
CERTIFICATES: Forgeries = {
    "no certificate": lambda: changed(signPubKeyCert=None),
    "an empty certificate": lambda: certified(""),
    "no certificate at all": lambda: certified("x"),
    "a public key for a certificate": lambda: certified(KEYS["up_sign.pub.pem"]),
    "a certificate of another curve": lambda: certified(KEYS["alipay_root_ec.crt"]),
    "a certificate of 30 kB": lambda: certified("A" * 30_000),
    "another's certificate after signing": lambda: changed(signPubKeyCert=KEYS["up_mer.cer"]),
    "the merchant's own": lambda: certified(KEYS["up_mer.cer"], "up_mer.pkcs8.pem"),
    "UnionPay's, but signed by the merchant": lambda: certified(KEYS["up_sign.cer"], "up_mer.pkcs8.pem"),
    "UnionPay's, and another behind it": lambda: certified(
        KEYS["up_sign.cer"] + KEYS["up_mer.cer"], "up_mer.pkcs8.pem"
    ),
    "one that vouches for itself": lambda: certified(
        certificate(issuer="", subject_key="up_mer.pkcs8.pem", authority=True), "up_mer.pkcs8.pem"
    ),
    "one of another authority": lambda: certified(KEYS["wx_platform.crt"], "wx_platform.pkcs8.pem"),
    "one that names our authority falsely": lambda: certified(KEYS["up_forged.cer"]),
    "one straight from the root": lambda: certified(certificate(issuer="up_root")),
    "one issued by a merchant": lambda: certified(certificate(issuer="up_mer")),
    "an authority's": lambda: certified(certificate(authority=True)),
    "one that is over": lambda: certified(certificate(**PAST)),  # type: ignore[arg-type]
    "one that is to come": lambda: certified(certificate(**FUTURE)),  # type: ignore[arg-type]
    "the held intermediate": lambda: certified(KEYS["up_middle.cer"], "up_middle.pkcs8.pem"),
    "the held root": lambda: certified(KEYS["up_root.cer"], "up_root.pkcs8.pem"),
    **{
        f"one for {name!r}": partial(lambda name: certified(certificate(name)), name)
        for name in (
            "中国银联股份有限公司",
            "CFCA@中国银联股份有限公司@SIM@Z1",
            "CFCA@SIM@中国银联股份有限公司 @Z1",
            "CFCA@SIM@中国银联股份有限公司分公司@Z1",
            "CFCA@SIM@Some Other Company@Z3",
            "CFCA@SIM@Some@中国银联股份有限公司",
            "CFCA@SIM@@Z1",
            "CFCA@SIM@00040000:SIGN@1",
            "@@",
        )
    },
    "one for two names": lambda: certified(
        certificate(["CFCA@SIM@中国银联股份有限公司@Z1", "CFCA@SIM@Some Other Company@Z3"])
    ),
    "one for nobody": lambda: certified(certificate([])),
}
CHANGED: Forgeries = {
    **{f"without {name}": partial(changed, **{name: None}) for name in sorted(paid())},
    **{
        f"{name} becomes {text!r}": partial(changed, **{name: text})
        for name, text in (
            ("txnAmt", "1"),
            ("txnAmt", "199900"),
            ("txnAmt", "01999"),
            ("orderId", "20240115100000000002"),
            ("respCode", "A6"),
            ("merId", far.STRANGER_ID),
            ("queryId", "202401151000000000002"),
            ("currencyCode", "344"),
            ("txnType", "04"),
            ("traceTime", "0115100031"),
            ("certId", far.CERT_ID),
            ("reqReserved", "x"),
            ("extra", ""),
            ("extra", "1"),
        )
    },
}
NOT_OURS: Forgeries = {
    "another merchant": lambda: signed(merId=far.STRANGER_ID),
    "no merchant": lambda: signed(merId=None),
    "another merchant's refund": lambda: far.notice(
        far.refund_fields(REFUND, "00") | {"merId": far.STRANGER_ID}
    ),
    "no order": lambda: signed(orderId=None),
    "no code": lambda: signed(respCode=None),
    "no number of UnionPay's": lambda: signed(queryId=None),
    "no number of the trace": lambda: signed(traceNo=None),
    "the answer to a query": lambda: signed(origRespCode="00"),
    "the answer to an order for a code": lambda: signed(
        qrCode=far.QR_CODE, queryId=None, traceNo=None, traceTime=None
    ),
    **{
        f"txnType {name!r}": partial(signed, txnType=name)
        for name in ("00", "02", "03", "11", "76", "95", "1", "", None)
    },
    **{
        f"paid {text!r}": partial(signed, txnAmt=text)
        for text in ("0", "-1999", "19.99", "1e3", "１９９９", " 1999", "1" * 13, "NaN", None)
    },
    **{f"paid in {text!r}": partial(signed, currencyCode=text) for text in ("CNY", "999", "", None)},
    **{
        f"encoding {name!r}": partial(signed, encoding=name)
        for name in ("utf-16", "latin-1", "idna", "base64", "zlib", "utf-7", "gb2312", "UNKNOWN", "测", "")
    },
    "GBK under the name of UTF-8": lambda: far.notice(paid(), encoding="gbk"),
    **{
        f"{hidden} folded into {holder}": partial(folded, holder, hidden)
        for holder, hidden in (("txnTime", "txnType"), ("traceTime", "txnAmt"), ("queryId", "respCode"))
    },
    **{
        f"a field called {name!r}": partial(signed, **{name: "x"})  # type: ignore[arg-type]
        for name in ("two words", "txnAmt=1&x", "测", "a-b", "1a", "")
    },
}
SHAPES: Forgeries = {
    **{
        f"{name} twice, {'as it is' if value is None else value!r}, {'first' if first else 'last'}": partial(
            twice, name, value, first
        )
        for name in ("txnAmt", "respCode", "orderId", "merId", "signature", "signPubKeyCert", "signMethod")
        for value in (None, "1")
        for first in (True, False)
    },
    "a query beside it": lambda: replace(genuine(), query="a=b"),
    "its amount in the query": lambda: replace(genuine(), query="txnAmt=1"),
    "itself in the query": lambda: replace(genuine(), query=genuine().body.decode()),
    "as a query alone": lambda: Inbound({}, b"", NOW, genuine().body.decode()),
    "pluses that were not escaped": lambda: raw(genuine().body.replace(b"%2B", b"+")),
    "encoded twice": lambda: far.form({name: quote(text, safe="") for name, text in sent().items()}),
    "not encoded, as an answer is": lambda: raw(far.paid().body),
    "two bodies": lambda: raw(genuine().body + b"&" + genuine().body),
    "as JSON": lambda: raw(json.dumps(sent()).encode()),
    **{f"cut to {eighths} of 8": partial(cut, eighths) for eighths in range(8)},
    "nulls": lambda: raw(bytes(1000)),
    "no text at all": lambda: raw(bytes(range(256))),
    "too large": lambda: signed(reserved="x" * 65_536),
    "too many fields": lambda: signed(**{f"zz{number:03}": "x" for number in range(200)}),  # type: ignore[arg-type]
    "a bomb of ampersands": lambda: raw(b"&" * 60_000),
    "a bomb of percents": lambda: raw(b"a=" + b"%" * 60_000),
    "a bomb of brackets": lambda: raw(b"a=" + b"{" * 60_000),
    "an entity bomb": lambda: raw(b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><x>&b;</x>'),
    "Alipay's notification": alipay_forge.paid_notice,
    "WeChat Pay's notification": lambda: wechatpay_forge.payment_notice(
        wechatpay_forge.transaction(REF.out_trade_no, "SUCCESS", PRICE)
    ),
}
FORGERIES: Forgeries = SIGNATURES | CERTIFICATES | CHANGED | NOT_OURS | SHAPES
