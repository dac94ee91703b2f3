"""A corpus of notifications that are not Alipay's, or not for us: a genuine one with one thing wrong each.

The account under attack is ``alipay_forge.KEY_MODE``.  The scheme has no time, so an old notification is no
forgery: settling the same news twice must be harmless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import parse_qsl, quote, urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from app.providers.base import Inbound
from tests.providers import alipay_forge as far
from tests.providers import unionpay_forge, wechatpay_forge
from tests.providers.alipay_forge import KEYS
from tests.providers.contract import NOW, PRICE, REF

Forgeries = dict[str, Callable[[], Inbound]]


def paid(**more: str) -> dict[str, str]:
    """The fields of a genuine notification of a payment."""
    return far.notice_fields(
        REF.out_trade_no, "TRADE_SUCCESS", PRICE, gmt_payment="2024-01-15 10:00:30", **more
    )


def genuine() -> Inbound:
    return far.notice(paid())


def form(body: bytes) -> Inbound:
    return Inbound({"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, body, NOW)


def changed(**changes: str | None) -> Inbound:
    """Something changed, added or (None) taken away after signing."""
    fields: dict[str, str | None] = {**dict(parse_qsl(genuine().body.decode())), **changes}
    return form(urlencode({name: text for name, text in fields.items() if text is not None}).encode())


def signed(**changes: str | None) -> Inbound:
    """Well signed by Alipay, but with other content."""
    fields: dict[str, str | None] = {**paid(), **changes}
    return far.notice({name: text for name, text in fields.items() if text is not None})


def text_of(fields: Iterable[tuple[str, str]]) -> bytes:
    return "&".join(f"{name}={text}" for name, text in fields).encode()


def signed_as(signature: bytes | str, sign_type: str = "RSA2", **more: str) -> Inbound:
    """The genuine fields under another signature."""
    sign = signature if isinstance(signature, str) else base64.b64encode(signature).decode()
    return form(urlencode({**paid(), **more, "sign": sign, "sign_type": sign_type}).encode())


def twice(name: str, value: str | None, first: bool) -> Inbound:
    body = genuine().body
    extra = urlencode({name: dict(parse_qsl(body.decode()))[name] if value is None else value}).encode()
    return form(extra + b"&" + body if first else body + b"&" + extra)


def folded() -> Inbound:
    """Two signed fields sent as one: the signed text stays the same."""
    fields = dict(parse_qsl(far.BY_ID["ali-notify-partial-refund"]["form_body"]))
    fields["gmt_payment"] += f"&gmt_refund={fields.pop('gmt_refund')}"
    fields["receipt_amount"] += f"&refund_fee={fields.pop('refund_fee')}"
    return form(urlencode(fields).encode())


def signed_by(key: str) -> Inbound:
    return far.notice(paid(), key=far.private_key(key))


def with_certificate() -> Inbound:
    """Signed by a merchant, whose certificate comes along, as UnionPay's does."""
    own = {"alipay_cert": KEYS["app_public.crt"]}
    text = text_of(sorted({**paid(), **own}.items()))
    return signed_as(far.sign(text, far.private_key("app.pkcs8.pem")), **own)


def cut(eighths: int) -> Inbound:
    body = genuine().body
    return form(body[: len(body) * eighths // 8])


TEXT = text_of(sorted(paid().items()))
ALIPAY = far.private_key("alipay.pkcs8.pem")
SHA256 = hashes.SHA256()
SIGN = dict(parse_qsl(genuine().body.decode()))["sign"]
RETURN_PAGE = {
    "method": "alipay.trade.wap.pay.return",
    "timestamp": "2024-01-15 10:00:31",
    "trade_status": None,
    "notify_type": None,
}
DECIDING = ("app_id", "seller_id", "out_trade_no", "trade_status", "total_amount", "trade_no", "charset")

SIGNATURES: Forgeries = {
    "no signature": lambda: changed(sign=None),
    "an empty signature": lambda: changed(sign=""),
    "a signature that is not base64": lambda: changed(sign="*" * 344),
    "a signature that is not ascii": lambda: changed(sign="é" * 344),
    "a signature of zeros": lambda: changed(sign=base64.b64encode(bytes(256)).decode()),
    "a signature too short": lambda: changed(sign="AAAA"),
    "a signature too long": lambda: changed(sign=SIGN * 90),
    "a signature with a blank": lambda: changed(sign=f" {SIGN}"),
    "a signature cut by a letter": lambda: changed(sign=SIGN[:-1]),
    "a signature in hexadecimal": lambda: changed(sign=base64.b64decode(SIGN).hex()),
    "the signature of another notification": lambda: changed(
        sign=dict(parse_qsl(signed(total_amount="0.01").body.decode()))["sign"]
    ),
    "signed by the merchant": lambda: signed_by("app.pkcs8.pem"),
    "signed by WeChat Pay": lambda: signed_by("wx_platform.pkcs8.pem"),
    "signed by UnionPay": lambda: signed_by("up_sign.pkcs8.pem"),
    "signed over SHA-1": lambda: signed_as(ALIPAY.sign(TEXT, padding.PKCS1v15(), hashes.SHA1())),
    "signed over SHA-512": lambda: signed_as(ALIPAY.sign(TEXT, padding.PKCS1v15(), hashes.SHA512())),
    "signed with another padding": lambda: signed_as(
        ALIPAY.sign(TEXT, padding.PSS(padding.MGF1(SHA256), 32), SHA256)
    ),
    "signed as a request, sign_type and all": lambda: signed_as(
        far.sign(text_of(sorted({**paid(), "sign_type": "RSA2"}.items())))
    ),
    "signed unsorted": lambda: signed_as(far.sign(text_of(sorted(paid().items(), reverse=True)))),
    "signed url-encoded": lambda: signed_as(far.sign(urlencode(sorted(paid().items())).encode())),
    "signed over two hashes": lambda: signed_as(far.sign(hashlib.sha256(TEXT).hexdigest().encode())),
    "signed over nothing": lambda: signed_as(far.sign(b"")),
    "MD5 with an empty secret": lambda: signed_as(hashlib.md5(TEXT).hexdigest(), "MD5"),
    "MD5 with an empty secret, called RSA2": lambda: signed_as(hashlib.md5(TEXT).hexdigest()),
    "HMAC with an empty secret": lambda: signed_as(hmac.digest(b"", TEXT, "sha256"), "HMAC-SHA256"),
    "HMAC with the public key for a secret": lambda: signed_as(
        hmac.digest(KEYS["alipay.pub.pem"].encode(), TEXT, "sha256")
    ),
    "a certificate inside the message": with_certificate,
    **{
        f"sign_type {name!r}": partial(changed, sign_type=name)
        for name in ("RSA", "rsa2", "RSA2 ", "", "MD5", "HMAC", "NONE", "SM2", None)
    },
}
CHANGED: Forgeries = {
    **{f"without {name}": partial(changed, **{name: None}) for name in sorted(paid())},
    **{
        f"{name} becomes {text!r}": partial(changed, **{name: text})
        for name, text in (
            ("total_amount", "0.01"),
            ("total_amount", "1999.00"),
            ("total_amount", "19.990"),
            ("total_amount", " 19.99"),
            ("out_trade_no", "20240115100000000002"),
            ("out_trade_no", REF.out_trade_no.lower() + " "),
            ("trade_status", "TRADE_FINISHED"),
            ("trade_no", "2024011522001400000000000002"),
            ("app_id", "2021000000000002"),
            ("seller_id", "2088000000000001"),
            ("charset", "GBK"),
            ("gmt_payment", "2024-01-15 10:00:31"),
            ("subject", "x"),
            ("refund_fee", "19.99"),
            ("out_biz_no", "R1"),
            ("extra", "1"),
        )
    },
}
NOT_OURS: Forgeries = {
    "another application": lambda: signed(app_id="2021000000000002"),
    "another application's authorisation": lambda: signed(app_id="2021000000000002", auth_app_id=far.APP_ID),
    "no application": lambda: signed(app_id=None),
    "another seller": lambda: signed(seller_id="2088000000000001"),
    "no seller": lambda: signed(seller_id=None),
    "another seller's refund": lambda: signed(
        seller_id="2088000000000001", refund_fee="5.00", out_biz_no="R1"
    ),
    "no order": lambda: signed(out_trade_no=None),
    "no status": lambda: signed(trade_status=None),
    "the parameters of the return page": lambda: signed(**RETURN_PAGE),
    "news of a contract": lambda: signed(notify_type="dut_user_sign"),
    "news of a transfer": lambda: signed(notify_type="servicewindow"),
    **{
        f"paid {text!r}": partial(signed, total_amount=text)
        for text in ("0.00", "-19.99", "19.999", "1e3", "NaN", "１９.９９", "19,99", "0x10", "9" * 400, None)
    },
    **{
        f"charset {name!r}": partial(signed, charset=name)
        for name in ("utf-16", "latin-1", "idna", "base64", "zlib", "utf-7", "gb2312", "UNKNOWN", "测")
    },
    "GBK under the name of UTF-8": lambda: far.notice(paid(), charset="gbk"),
    "two fields folded into one": folded,
    **{
        f"a field called {name!r}": partial(signed, **{name: "x"})
        for name in ("two words", "total_amount=0.01&x", "测", "a-b", "1a", "")
    },
}
SHAPES: Forgeries = {
    **{
        f"{name} twice, {'as it is' if value is None else value!r}, {'first' if first else 'last'}": partial(
            twice, name, value, first
        )
        for name in (*DECIDING, "sign", "sign_type")
        for value in (None, "1")
        for first in (True, False)
    },
    "pluses that were not escaped": lambda: form(genuine().body.replace(b"%2B", b"+")),
    "encoded twice": lambda: form(
        urlencode({name: quote(text, safe="") for name, text in parse_qsl(genuine().body.decode())}).encode()
    ),
    "not encoded": lambda: form(text_of(parse_qsl(genuine().body.decode()))),
    "two bodies": lambda: form(genuine().body + b"&" + genuine().body),
    "as JSON": lambda: form(json.dumps(dict(parse_qsl(genuine().body.decode()))).encode()),
    "as a query": lambda: Inbound({}, b"", NOW, genuine().body.decode()),
    **{f"cut to {eighths} of 8": partial(cut, eighths) for eighths in range(8)},
    "nulls": lambda: form(bytes(1000)),
    "no text at all": lambda: form(bytes(range(256))),
    "too large": lambda: signed(body="x" * 65_536),
    "too many fields": lambda: signed(**{f"zz{number:03}": "x" for number in range(200)}),
    "a bomb of ampersands": lambda: form(b"&" * 60_000),
    "a bomb of percents": lambda: form(b"a=" + b"%" * 60_000),
    "a bomb of brackets": lambda: form(b"a=" + b"[" * 60_000),
    "an entity bomb": lambda: form(b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><x>&b;</x>'),
    "WeChat Pay's notification": lambda: wechatpay_forge.payment_notice(
        wechatpay_forge.transaction(REF.out_trade_no, "SUCCESS", PRICE)
    ),
    "UnionPay's notification": unionpay_forge.paid_notice,
}
FORGERIES: Forgeries = SIGNATURES | CHANGED | NOT_OURS | SHAPES
