"""Alipay's wire: what is signed, how an answer and a notification are taken apart.  All of it pure.

Nothing here is believed before its signature is checked, and signatures are checked over the bytes
as they came: Alipay escapes slashes and orders fields its own way, so re-written JSON never verifies.
Source: Alipay open platform, signing and verification (RSA2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from app.errors import SignatureMismatch
from app.providers import rsa

# Notifications are about 2 kB; everything is read into memory before its sender is known.
NOTICE_BYTES_MAX = 65_536
NOTICE_FIELDS_MAX = 200
# What Alipay writes in: the request's charset, or GBK for the oldest contracts.
CHARSETS = frozenset({"utf-8", "gbk"})

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
# The signed text joins raw values, so "a=1&b=2" may be two fields or one.  No value of a genuine
# notification holds the start of a field that decides something: our subjects carry no "&" or "=".
_FOLDED = re.compile(
    r"&(?:app_id|seller_id|charset|trade_status|trade_no|out_trade_no|out_biz_no|total_amount|refund_fee"
    r"|gmt_payment|gmt_refund|notify_type)="
)
_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """A synchronous answer taken apart, not yet verified.  ``signed`` is the node's exact bytes."""

    node: Mapping[str, Any]
    signed: bytes
    signature: str
    cert_number: str

    def word(self, name: str) -> str:
        """A field of the node as text, empty when it is missing."""
        value = self.node.get(name)
        return value if isinstance(value, str) else "" if value is None else str(value)


def canonical(params: Mapping[str, str]) -> bytes:
    """The text that a request's signature covers: all but ``sign``, no empties, sorted, unencoded.

    ``sign_type`` stays in here, unlike in notifications.
    """
    return "&".join(f"{k}={params[k]}" for k in sorted(params) if k != "sign" and params[k]).encode()


def signed_params(params: Mapping[str, str], key: RSAPrivateKey) -> dict[str, str]:
    """The parameters without their empty ones, and with ``sign``."""
    return {k: v for k, v in params.items() if v} | {"sign": rsa.sign(key, canonical(params))}


def query_text(params: Mapping[str, str]) -> str:
    """Percent-encode parameters for an address, a form body or an app's order string."""
    return urlencode(sorted(params.items()))


def compact_json(value: Mapping[str, Any]) -> str:
    """``biz_content``: it is signed as sent, so it is written once, without blanks, sorted, unescaped."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read_answer(body: bytes, method: str) -> Answer:
    """Find the node of a method (or ``error_response``) and the exact bytes that were signed.

    The members are walked with the JSON parser itself, so braces and quotes inside strings cannot
    move a boundary (a brace counter wrongly refuses genuine answers).  Raises ValueError.
    """
    text = body.decode("utf-8")  # the charset of our request; UnicodeDecodeError is a ValueError
    try:
        members = _members(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    name = method.replace(".", "_") + "_response"
    start, end, node = members.get(name) or members.get("error_response") or (0, 0, None)
    if not isinstance(node, dict):
        raise ValueError(f"no {name}")
    return Answer(
        node, text[start:end].encode(), _text_member(members, "sign"), _text_member(members, "alipay_cert_sn")
    )


def read_notice(body: bytes, keys: list[RSAPublicKey]) -> dict[str, str]:
    """Verify an asynchronous notification and return its fields.  Raises SignatureMismatch.

    The form is decoded once, from its bytes; the signature covers those bytes, so the charset is
    only needed, and only read, after it held.  ``sign`` and ``sign_type`` are both left out.
    """
    raw = _form(body)
    if raw.get(b"sign_type") != b"RSA2":  # RSA would mean SHA-1
        raise SignatureMismatch("sign_type is not RSA2")
    signed = {k: v for k, v in raw.items() if k not in (b"sign", b"sign_type") and v}
    message = b"&".join(b"%b=%b" % (k, signed[k]) for k in sorted(signed))
    _verify_any(keys, message, raw.get(b"sign", b"").decode("latin-1"))
    return _decoded(signed)


def _members(text: str) -> dict[str, tuple[int, int, Any]]:
    """The members of a JSON object with where each value starts and ends.  Raises ValueError."""
    decoder = json.JSONDecoder()
    found: dict[str, tuple[int, int, Any]] = {}
    at = _past(text, 0, "{")
    while True:
        name, at = decoder.raw_decode(text, _past(text, at, ""))
        if not isinstance(name, str) or name in found:
            raise ValueError("a member's name is not text, or comes twice")
        start = _past(text, _past(text, at, ":"), "")
        value, at = decoder.raw_decode(text, start)
        found[name] = (start, at, value)
        at = _past(text, at, "")
        if text[at : at + 1] != ",":
            break
        at += 1
    if _past(text, _past(text, at, "}"), "") != len(text):
        raise ValueError("text after the answer")
    return found


def _past(text: str, at: int, token: str) -> int:
    """The place behind any blanks and the token."""
    blank = _BLANK.match(text, at)
    at = blank.end() if blank else at
    if not text.startswith(token, at):
        raise ValueError(f"no {token!r} at {at}")
    return at + len(token)


def _text_member(members: Mapping[str, tuple[int, int, Any]], name: str) -> str:
    value = members[name][2] if name in members else ""
    return value if isinstance(value, str) else ""


def _form(body: bytes) -> dict[bytes, bytes]:
    """Decode a form once.  A field that comes twice is refused: which one was signed is a guess."""
    parts = body.split(b"&", NOTICE_FIELDS_MAX) if len(body) <= NOTICE_BYTES_MAX else []
    if not parts or len(parts) > NOTICE_FIELDS_MAX:
        raise SignatureMismatch("the notification is too large")
    fields: dict[bytes, bytes] = {}
    for part in parts:
        name, _, value = (unquote_to_bytes(x) for x in part.replace(b"+", b" ").partition(b"="))
        if _NAME.fullmatch(name) is None or name in fields:
            raise SignatureMismatch("a field of the notification has no proper name, or comes twice")
        fields[name] = value
    return fields


def _verify_any(keys: list[RSAPublicKey], message: bytes, signature: str) -> None:
    for key in keys[:-1]:
        try:
            return rsa.verify(key, message, signature)
        except SignatureMismatch:
            continue
    return rsa.verify(keys[-1], message, signature)


def _decoded(signed: Mapping[bytes, bytes]) -> dict[str, str]:
    """Text in the charset that the notification itself names; the header is not signed, this is."""
    charset = signed.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in CHARSETS:
        raise SignatureMismatch("the notification's charset is neither utf-8 nor gbk")
    try:
        fields = {k.decode("ascii"): v.decode(charset) for k, v in signed.items()}
    except UnicodeDecodeError:
        raise SignatureMismatch(f"the notification is not {charset}") from None
    if any("\0" in value for value in fields.values()):  # which PostgreSQL cannot hold
        raise SignatureMismatch("a value of the notification holds a zero byte")
    if any(_FOLDED.search(value) for value in fields.values()):
        raise SignatureMismatch("a value of the notification holds another field")
    return fields
