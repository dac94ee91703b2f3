"""易支付 as it goes over the wire: what is signed, and what a request may say.  Pure.

Source: the protocol's public description, "MD5 签名算法", "页面跳转支付", "API 接口支付", "支付结果通知".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import quote, urlencode, urlsplit

from app.charges.commands import ORDER_NO_CHARS_MAX
from app.errors import InvalidRequest, SignatureMismatch
from app.money import Money

PAID = "TRADE_SUCCESS"  # the only word for a payment that counts
NAME_BYTES_MAX = 127  # "如超过127个字节会自动截取"
PARAM_CHARS_MAX = 500
ADDRESS_CHARS_MAX = 1024
FIELDS_MAX = 64
# The whole address that a notice goes to; one character more could not be sent (addresses.URL_MAX_CHARS).
NOTICE_CHARS_MAX = 2048

# The shop's word for a wallet -> ours.  Anything else it may know we cannot open.
WALLETS = {"alipay": "alipay", "wxpay": "wechatpay", "bank": "unionpay", "unionpay": "unionpay"}
ANY_WALLET = ("", "cashier")  # the shopper chooses
_WORDS = {"alipay": "alipay", "wechatpay": "wxpay", "unionpay": "bank"}

_UNSIGNED = ("sign", "sign_type")
_MONEY = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,2})?", re.ASCII)
_ORDER_NO = re.compile(rf"[!-~]{{1,{ORDER_NO_CHARS_MAX}}}", re.ASCII)
_ESCAPED = re.compile(r"%[89A-F][0-9A-F]", re.IGNORECASE)  # what is left of bytes that are not UTF-8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What is signed is not encoded: "&money=" inside a value reads like a parameter of its own, so whoever
# may write into a shop's text could cut a genuine request or notice into another with the same signature.
_SMUGGLED = re.compile(
    r"&(?:act|clientip|device|key|money|name|notify_url|out_trade_no|param|pid|return_url|sitename|trade_no"
    r"|trade_status|type)="
)
# An address has parameters of its own.  To swallow what follows it in the text, notify_url would have to
# hold the order's number, which always follows; behind return_url nothing follows that matters.
_SMUGGLED_IN = {"notify_url": re.compile(r"&out_trade_no="), "return_url": re.compile(r"(?!)")}


@dataclass(frozen=True, slots=True)
class Asked:
    """An order as a shop asks for it, checked."""

    out_trade_no: str
    method: str  # the shop's word for a wallet, or nothing
    name: str
    money: str  # as the shop wrote it
    amount: Money
    param: str
    notify_url: str
    return_url: str | None
    device: str

    @property
    def wallet(self) -> str:
        """Our code of the wallet; empty: the shopper chooses."""
        return WALLETS.get(self.method, "")


def signed_text(fields: Mapping[str, str]) -> str:
    """``{"b": "2", "a": "1", "c": "", "sign": "…"} -> "a=1&b=2"``: sorted, not encoded, nothing empty."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if _counts(name, fields[name]))


def signature_of(fields: Mapping[str, str], key: str) -> str:
    """MD5 of the text and the key behind it, in small letters."""
    return hashlib.md5((signed_text(fields) + key).encode()).hexdigest()  # noqa: S324 - the protocol's


def check_signature(fields: Mapping[str, str], key: str) -> None:
    """Raises SignatureMismatch, or InvalidRequest for another kind of signature."""
    if fields.get("sign_type", "MD5").upper() not in ("MD5", ""):
        raise InvalidRequest("the only sign_type is MD5", code="sign_type", param="sign_type")
    if not same_text(fields.get("sign", "").lower(), signature_of(fields, key)):
        is_garbled = any(_ESCAPED.search(fields.get(name, "")) for name in ("name", "param"))
        raise SignatureMismatch("the signature does not match", code="encoding" if is_garbled else None)


def same_text(given: str, wanted: str) -> bool:
    """Compared in a time that does not tell how much of it is right."""
    return compare_digest(given.encode(errors="replace"), wanted.encode())


def fields_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters of a request, each of which may come once.  Raises InvalidRequest."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields or len(fields) >= FIELDS_MAX:
            raise InvalidRequest("a parameter comes twice, or there are too many", param=name[:40])
        fields[name] = value
    return fields


def read_order(fields: Mapping[str, str]) -> Asked:
    """What a signed request asks for.  Raises InvalidRequest naming the parameter."""
    _refuse_smuggling(fields)
    money, method = fields.get("money", ""), fields.get("type", "")
    amount = read_money(money)
    if method not in WALLETS and method not in ANY_WALLET:
        raise InvalidRequest("no such type", code="type", param="type")
    out_trade_no, param = fields.get("out_trade_no", ""), fields.get("param", "")
    if not is_order_no(out_trade_no):
        raise _fault("out_trade_no")
    name = cut_name(fields.get("name", "").strip())
    if not name or _CONTROL.search(name):
        raise _fault("name")
    if len(param) > PARAM_CHARS_MAX or _CONTROL.search(param):
        raise _fault("param")
    return_url = fields.get("return_url") or None
    if return_url is not None and not is_web_address(return_url):
        raise _fault("return_url")
    notify_url = fields.get("notify_url", "")
    if not is_web_address(notify_url):
        raise _fault("notify_url")
    return Asked(
        out_trade_no, method, name, money, amount, param, notify_url, return_url, fields.get("device", "")
    )


def is_order_no(text: str) -> bool:
    """Whether a shop's order can have this number."""
    return _ORDER_NO.fullmatch(text) is not None


def read_money(text: str) -> Money:
    """``"12.5" -> Money(1250, "CNY")``; no sign, no exponent, two decimals.  Raises InvalidRequest."""
    if not _MONEY.fullmatch(text):
        raise _fault("money")
    amount = Money.from_major(text, "CNY")
    if amount.minor < 1:
        raise _fault("money")
    return amount


def cut_name(name: str) -> str:
    """At most 127 bytes of UTF-8, and no broken character at the end."""
    return name.encode(errors="replace")[:NAME_BYTES_MAX].decode(errors="ignore").rstrip()


def word_for(provider: str, asked: str) -> str:
    """The shop's own word for the wallet that paid, if it asked for that one; else the usual one."""
    return asked if WALLETS.get(asked) == provider else _WORDS.get(provider, provider)


def encoded(fields: Mapping[str, str]) -> str:
    """For a query: UTF-8, everything but letters and digits escaped.  What is empty is left out: many
    shops sign whatever arrives, and an empty parameter would be in their text and not in ours."""
    return urlencode({name: value for name, value in fields.items() if value}, quote_via=quote, safe="")


def with_query(address: str, query: str) -> str:
    """The address with more parameters, put where shops look for them: at the very end of it."""
    return f"{address}{'&' if '?' in address else '?'}{query}"


def with_signature(fields: Mapping[str, str], key: str) -> str:
    """The query of a notice, signed."""
    return f"{encoded(fields)}&sign={signature_of(fields, key)}&sign_type=MD5"


def is_success(status: int | None, head: bytes) -> bool:
    """Whether a shop's answer says that it has heard: 2xx, and "success" first, or last on its line.

    Not anywhere in it: ``{"success": false}`` and a page with a class "alert-success" are no receipts.
    """
    if status is None or not 200 <= status < 300:
        return False
    text = head.decode(errors="replace").lstrip("\ufeff").strip().lower()
    return re.search(r"\Asuccess(?![\w:-])|[\n>]\s*success\Z", text) is not None


def is_web_address(url: str) -> bool:
    """Whether a browser can be sent there."""
    if not 1 <= len(url) <= ADDRESS_CHARS_MAX or _CONTROL.search(url) or re.search(r"[\s\\<>\"]", url):
        return False
    try:
        parts = urlsplit(for_a_header(url))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False


def for_a_header(address: str) -> str:
    """The address in ASCII: its host as names are looked up, the rest escaped; what is escaped already stays.

    ``"https://商店.example/谢" -> "https://xn--czrs0t.example/%E8%B0%A2"``.  Raises ValueError.
    """
    scheme, _, rest = address.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not place.isascii():
        host, colon, port = place.partition(":")
        address = f"{scheme}://{host.encode('idna').decode()}{colon}{port}{rest[len(place) :]}"
    return quote(address, safe="%/:=&?~#+!$,;'@()*[]")


def _counts(name: str, value: str) -> bool:
    return bool(value) and name not in _UNSIGNED


def _refuse_smuggling(fields: Mapping[str, str]) -> None:
    for name, value in fields.items():
        if _SMUGGLED_IN.get(name, _SMUGGLED).search(value) or "&" in name or "=" in name:
            raise InvalidRequest("reads like another parameter", code="ambiguous", param=name[:40])


def _fault(param: str) -> InvalidRequest:
    return InvalidRequest("missing, too long, or not of its form", param=param)
