"""What nobody but Alipay may say to us, said by others; and what Alipay itself says oddly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import chain
from urllib.parse import parse_qsl, urlencode

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
from tests.providers import alipay_forge
from tests.providers.contract import NOW

Forge = Callable[[Order], Inbound]

# Every field of a notification, and what a forger would rather read there.
OTHER = {
    "app_id": "2021000000000009",
    "auth_app_id": "2021000000000009",
    "buyer_id": "2088000000000001",
    "buyer_logon_id": "a***@b.example",
    "charset": "gbk",
    "fund_bill_list": "[]",
    "gmt_create": "2024-01-15 10:00:11",
    "gmt_payment": "2024-01-15 10:00:31",
    "notify_id": "2024011500222100030000000000000009",
    "notify_time": "2024-01-15 10:00:32",
    "notify_type": "batch_refund_notify",
    "out_trade_no": "20240115100000000009",
    "seller_id": "2088000000000009",
    "subject": "别的",
    "total_amount": "0.01",
    "trade_no": "2024011522001400000000000009",
    "trade_status": "TRADE_FINISHED",
    "version": "2.0",
}
# The fields that decide something.
DECIDING = ("app_id", "out_trade_no", "seller_id", "total_amount", "trade_status", "trade_no", "gmt_payment")

SIGN_TYPES = ("RSA", "rsa2", "RSA2 ", "RSA,RSA2", "MD5", "DSA", "HMAC-SHA256", "none", "SM2", "")
# Signed by Alipay, and no amount that could be paid.
NO_AMOUNTS = {
    "empty": "",
    "zero": "0.00",
    "negative": "-12.50",
    "with an exponent": "1.25e1",
    "not a number": "NaN",
    "infinite": "Infinity",
    "in Arabic digits": "١٢.٥٠",
    "in wide digits": "１２.５０",
    "with a comma": "12,50",
    "with three decimals": "12.505",
    "with a sign": "+12.50",
    "in hexadecimal": "0x4e2",
    "with a blank": " 12.50",
    "with a line end": "12.50\n",
    "with a zero byte": "12.50\0",
    "with underscores": "1_2.50",
    "without whole yuan": ".50",
    "with a currency": "12.50CNY",
    "two to the sixty-third": "92233720368547758.08",
    "of five thousand digits": "9" * 5000,
    "with two points": "12.5.0",
}
OTHER_AMOUNTS = {
    "a fen": "0.01",
    "a fen less": "12.49",
    "a fen more": "12.51",
    "fen taken for yuan": "1250.00",
    "a hundred million and a fen": "100000000.01",
    "fifteen digits": "999999999999999.99",
}
# Signed by Alipay for us, and no trade notification.
NOT_NEWS: dict[str, dict[str, str]] = {
    "of a batch refund": {"notify_type": "batch_refund_notify"},
    "of a contract": {"notify_type": "dut_user_sign"},
    "without a status": {"trade_status": ""},
    "without a number": {"out_trade_no": ""},
    "with a zero byte": {"subject": "拿铁\0"},
    "for another application": {"app_id": "2021000000000002"},
    "for an application in capitals": {"app_id": " 2021000000000001"},
    "for no application": {"app_id": ""},
    "for another seller": {"seller_id": "2088000000000009"},
    "for no seller": {"seller_id": ""},
    "in Big5": {"charset": "big5"},
    "in UTF-16": {"charset": "utf-16"},
    "in UTF-7": {"charset": "utf-7"},
    "in no charset at all": {"charset": "\0"},
}


def fields_of(order: Order, **more: str) -> dict[str, str]:
    """A paid trade's notification; empty values are left out, as Alipay does."""
    settings = order.till.settings
    app_id = settings["app_id"]
    fields = alipay_forge.notice_fields(order.number, "TRADE_SUCCESS", order.price, app_id=app_id)
    # Under the service provider's application; the merchant's own is named beside it.
    auth_app_id = f"2021{settings['seller_id'][-12:]}" if "app_auth_token" in settings else app_id
    fields |= {"auth_app_id": auth_app_id, "seller_id": settings["seller_id"], "trade_no": order.ref}
    fields |= {"gmt_payment": "2024-01-15 10:00:30", **more}
    return {name: value for name, value in fields.items() if value}


def signed(order: Order, fields: Mapping[str, str], charset: str = "utf-8") -> dict[str, str]:
    """The fields behind the network's signature over them."""
    key = alipay_forge.private_key(order.till.signer)
    true = alipay_forge.sign(text_of(fields, charset), key)
    return {"sign": true, "sign_type": "RSA2", **fields}


def text_of(fields: Mapping[str, str], charset: str = "utf-8") -> bytes:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode(charset)


def genuine(order: Order, **more: str) -> Inbound:
    return posted(signed(order, fields_of(order, **more)))


def _changed(name: str, value: str | None) -> Forge:
    """A field altered after the signature; None drops it."""

    def forge(order: Order) -> Inbound:
        fields = signed(order, fields_of(order)) | {name: value or ""}
        return posted({k: v for k, v in fields.items() if k != name or value is not None})

    return forge


def _twice(name: str, value: str | None, *, first: bool) -> Forge:
    """A field that comes twice: alike, or with a forged value before or behind the true one."""

    def forge(order: Order) -> Inbound:
        fields = signed(order, fields_of(order))
        more = (name, value if value is not None else fields[name])
        return posted([more, *fields.items()] if first else [*fields.items(), more])

    return forge


def _folded(name: str) -> Forge:
    """Two fields written as one: the signed text is the same to the byte."""

    def forge(order: Order) -> Inbound:
        fields = signed(order, fields_of(order))
        before = max(each for each in fields if each < name and not each.startswith("sign"))
        fields[before] += f"&{name}={fields.pop(name)}"
        return posted(fields)

    return forge


def _refund_as_payment(order: Order) -> Inbound:
    """Genuine news of a refund, with what tells of the refund folded away."""
    fields = signed(
        order, fields_of(order, passback_params="x", refund_fee="12.50", gmt_refund="2024-01-15 10:05:01.123")
    )
    fields["passback_params"] += f"&refund_fee={fields.pop('refund_fee')}"
    fields["gmt_payment"] += f"&gmt_refund={fields.pop('gmt_refund')}"
    return posted(fields)


def _misnamed(name: str, other: str) -> Forge:
    """A field under a name that another reader might take for it, and a forged one under the true name."""

    def forge(order: Order) -> Inbound:
        fields = signed(order, fields_of(order))
        return posted([*((other if k == name else k, v) for k, v in fields.items()), (name, OTHER[name])])

    return forge


def _signed_badly(name: str) -> Forge:
    def forge(order: Order) -> Inbound:
        fields = signed(order, fields_of(order))
        message = text_of({k: v for k, v in fields.items() if k not in ("sign", "sign_type")})
        key = alipay_forge.private_key(order.till.signer)
        return posted(fields | {"sign": BAD_SIGNATURES[name](message, fields["sign"], key)})

    return forge


def _signed_by(key_name: str) -> Forge:
    def forge(order: Order) -> Inbound:
        fields = fields_of(order)
        key = alipay_forge.private_key(key_name)
        return posted({"sign": alipay_forge.sign(text_of(fields), key), "sign_type": "RSA2", **fields})

    return forge


def _sign_type(word: str | None) -> Forge:
    """A true signature under another type, which is not signed itself."""
    return _changed("sign_type", word)


def _resigned(**more: str) -> Forge:
    return lambda order: genuine(order, **more)


def _cut(name: str) -> Forge:
    return lambda order: with_body(
        genuine(order), dict(cuts(list(signed(order, fields_of(order)).items())))[name]
    )


def _bad_form(name: str) -> Forge:
    return lambda order: bad_form(genuine(order), name)


def _sign_type_signed(order: Order) -> Inbound:
    """Signed as a request is, with sign_type inside the text."""
    fields = fields_of(order) | {"sign_type": "RSA2"}
    key = alipay_forge.private_key(order.till.signer)
    return posted({"sign": alipay_forge.sign(text_of(fields), key), **fields})


def _returned(order: Order) -> Inbound:
    """The parameters of the return page, which are signed alike and prove nothing."""
    wanted = "app_id auth_app_id charset out_trade_no seller_id total_amount trade_no version".split()
    fields = {k: v for k, v in fields_of(order).items() if k in wanted}
    return posted(signed(order, fields | {"method": "alipay.trade.page.pay.return"}))


def _answered(order: Order) -> Inbound:
    """The synchronous answer to a query, as a body."""
    key = alipay_forge.private_key(order.till.signer)
    fields = {"code": "10000", "out_trade_no": order.number, "trade_status": "TRADE_SUCCESS"}
    answer = alipay_forge.envelope("alipay.trade.query", fields | {"total_amount": "12.50"}, key=key)
    return Inbound({"content-type": "application/json"}, answer.body, NOW)


def _answer_as_form(order: Order) -> Inbound:
    """The signed text of an answer as the only field."""
    key = alipay_forge.private_key(order.till.signer)
    node = json.dumps({"out_trade_no": order.number, "trade_status": "TRADE_SUCCESS"})
    return posted({"sign": alipay_forge.sign(node.encode(), key), "sign_type": "RSA2", "biz_content": node})


def _in_query(order: Order, *kept: str) -> Inbound:
    """The named fields in the body, the others in the address."""
    fields = signed(order, fields_of(order))
    there = urlencode({k: v for k, v in fields.items() if k not in kept})
    return with_query(posted({k: fields[k] for k in kept}), there)


def _raw_bytes(order: Order) -> Inbound:
    """Signed by Alipay, and no text in the charset that it names."""
    fields = {k: v.encode() for k, v in fields_of(order).items()} | {b"subject".decode(): b"\xff\xfe\xb2"}
    message = b"&".join(k.encode() + b"=" + fields[k] for k in sorted(fields))
    true = alipay_forge.sign(message, alipay_forge.private_key(order.till.signer))
    return Inbound(
        genuine(order).headers, urlencode({"sign": true, "sign_type": "RSA2", **fields}).encode(), NOW
    )


def _cut_names() -> list[str]:
    fields = dict.fromkeys(["sign", "sign_type", *sorted({*OTHER})], "x")
    return [name for name, _ in cuts(list(fields.items()))]


def _sold_by(**parties: str) -> Forge:
    return lambda order: genuine(order, **parties)


_REFUNDED = {
    "refund_fee": "12.50",
    "gmt_refund": "2024-01-15 10:05:01",
    "out_biz_no": "RE20240115100000000009",
}
_PARTIES = {
    "another merchant": {"seller_id": "2088000000000002", "auth_app_id": "2021000000000002"},
    "another seller": {"seller_id": "2088000000000002"},
    "nobody in particular": {"seller_id": ""},
    "the provider for itself": {"seller_id": alipay_forge.SELLER_ID, "auth_app_id": alipay_forge.APP_ID},
    "the merchant's own application": {"app_id": "2021000000000009"},
}
# Signed by Alipay for the service provider's application, of others than the one who authorised it here.
FORGED_TO_PARTNERS: dict[str, Forge] = {
    **{f"a payment of {whose}": _sold_by(**parties) for whose, parties in _PARTIES.items()},
    **{f"a refund of {whose}": _sold_by(**_REFUNDED, **parties) for whose, parties in _PARTIES.items()},
}

FORGED: dict[str, Forge] = dict(
    chain(
        ((f"{name} changed", _changed(name, value)) for name, value in OTHER.items()),
        ((f"{name} dropped", _changed(name, None)) for name in OTHER),
        ((f"{name} emptied", _changed(name, "")) for name in OTHER),
        (
            (f"{name} twice alike", _twice(name, None, first=False))
            for name in ("sign", "sign_type", *DECIDING)
        ),
        ((f"{name} forged behind", _twice(name, OTHER[name], first=False)) for name in DECIDING),
        ((f"{name} forged before", _twice(name, OTHER[name], first=True)) for name in DECIDING),
        ((f"{name} folded into another", _folded(name)) for name in DECIDING if name != "app_id"),
        ((f"{name} in capitals", _misnamed(name, name.upper())) for name in DECIDING),
        ((f"{name} with a blank", _misnamed(name, f"{name} ")) for name in DECIDING),
        ((f"{name} as a list", _misnamed(name, f"{name}[]")) for name in DECIDING),
        ((f"signature {name}", _signed_badly(name)) for name in BAD_SIGNATURES),
        (("signature missing", _changed("sign", None)), ("signature as text signed", _sign_type_signed)),
        (
            (f"signature by {whose}", _signed_by(key))
            for whose, key in {
                "our own application": "app.pkcs8.pem",
                "alipay's authority": "alipay_root_rsa.pkcs8.pem",
                "alipay's other network": "alipay_sub.pkcs8.pem",
                "wechatpay": "wx_pubkey.pkcs8.pem",
                "unionpay": "up_sign.pkcs8.pem",
            }.items()
        ),
        ((f"sign_type {word!r}", _sign_type(word)) for word in SIGN_TYPES),
        (("sign_type missing", _sign_type(None)),),
        ((f"amount {name}", _resigned(total_amount=value)) for name, value in NO_AMOUNTS.items()),
        ((f"genuine news {name}", _resigned(**more)) for name, more in NOT_NEWS.items()),
        ((name, _cut(name)) for name in _cut_names()),
        ((f"body {name}", _bad_form(name)) for name in (*BAD_FORMS, *PACKED)),
        (
            ("a refund folded into a payment", _refund_as_payment),
            ("the return page's parameters", _returned),
            ("the answer to a query", _answered),
            ("the answer to a query as a form", _answer_as_form),
            ("bytes of no charset, signed", _raw_bytes),
            ("everything in the query", _in_query),
            ("the signature in the query", lambda order: _in_query(order, *fields_of(order))),
            ("all but the signature in the query", lambda order: _in_query(order, "sign", "sign_type")),
        ),
    )
)


def _like(**more: str) -> Forge:
    return lambda order: genuine(order, **more)


def _refund_nobody_made(order: Order) -> Inbound:
    return genuine(order, refund_fee="12.50", gmt_refund="2024-01-15 10:05:01.123", out_biz_no="RE20240115")


# Genuine; the number, the amount or the trade is not that of this order.
MISMATCHED: dict[str, Forge] = {
    **{f"amount {name}": _like(total_amount=value) for name, value in OTHER_AMOUNTS.items()},
    "a number that nobody gave out": _like(out_trade_no="20240115100000000009"),
    "a number of another length": _like(out_trade_no="9" * 64),
    "a number in lower case": lambda order: genuine(order, out_trade_no=order.number.lower()),
    "a number with a blank": lambda order: genuine(order, out_trade_no=f"{order.number} "),
    "a number without end": _like(out_trade_no="9" * 5000),
    "a trade without a number": _like(trade_no="", total_amount="0.01"),
    "a refund with a number without end": lambda order: genuine(
        order, gmt_refund="2024-01-15 10:05:01", out_biz_no="9" * 5000
    ),
    "a refund that nobody made": _refund_nobody_made,
}


def _form(change: Callable[[Pairs], Pairs]) -> Forge:
    return lambda order: posted(change(list(signed(order, fields_of(order)).items())))


def _typed(content_type: str) -> Forge:
    return lambda order: with_body(genuine(order), genuine(order).body, content_type=content_type)


def _gbk(order: Order) -> Inbound:
    return posted(signed(order, fields_of(order, charset="gbk"), "gbk"), "gbk")


# Genuine, although it looks odd: the signature covers all that is read, so it counts.
TRUE: dict[str, Forge] = {
    "as it is": genuine,
    "in another order": _form(lambda pairs: pairs[::-1]),
    "blanks as percent signs": lambda order: with_body(
        genuine(order), genuine(order).body.replace(b"+", b"%20")
    ),
    "percent signs in lower case": lambda order: with_body(
        genuine(order), genuine(order).body.replace(b"%2B", b"%2b")
    ),
    "every letter escaped": lambda order: with_body(genuine(order), _escaped(genuine(order).body)),
    "an empty field more": _form(lambda pairs: [*pairs, ("discount_voucher", "")]),
    "a field from the future, signed": _like(zz_new_field="1"),
    "in GBK": _gbk,
    "charset in capitals": _like(charset="UTF-8"),
    "without a charset": _like(charset=""),
    "over for good": _like(trade_status="TRADE_FINISHED"),
    "without a time": _like(gmt_payment=""),
    "at no time": _like(gmt_payment="9999-99-99 99:99:99"),
    "before time began": _like(gmt_payment="0001-01-01 00:00:00"),
    "an amount with one decimal": _like(total_amount="12.5"),
    "an amount with zeros before": _like(total_amount="0012.50"),
    "a trade with a number without end": lambda order: genuine(order, trade_no=order.ref * 200),
    "a long subject": _like(subject="长" * 250),
    "other amounts in the query": lambda order: with_query(genuine(order), "total_amount=0.01&sign=x"),
    "another number in the query": lambda order: with_query(genuine(order), "out_trade_no=1&out_trade_no=2"),
    "no type of content": lambda order: Inbound({}, genuine(order).body, NOW),
    "called JSON": _typed("application/json"),
    "called text": _typed("text/plain; charset=iso-8859-1"),
    "called a form of parts": _typed("multipart/form-data"),
    "called GB2312": _typed("application/x-www-form-urlencoded; charset=gb2312"),
}


def _escaped(body: bytes) -> bytes:
    return b"&".join(
        b"=".join("".join(f"%{byte:02X}" for byte in part.encode()).encode() for part in pair)
        for pair in parse_qsl(body.decode())
    )


# Genuine news that is none of money: heard, and nothing moves but the evidence.
NO_NEWS: dict[str, Forge] = {
    "waiting for the buyer": _like(trade_status="WAIT_BUYER_PAY", gmt_payment=""),
    "a word from the future": _like(trade_status="TRADE_PENDING", gmt_payment=""),
    "a word with a blank": _like(trade_status="TRADE_SUCCESS "),
    "a word in lower case": _like(trade_status="trade_success"),
}
