"""UnionPay's wire: what is signed, how requests are read, how answers and notifications are written.  Pure.

Requests, notifications and the shopper's way back are url-encoded forms.  An answer is the same pairs
without any encoding.  What is signed is the hexadecimal SHA-256 of the sorted pairs, and the signature
hashes that once more.
Source: UnionPay ACP 5.1.0, signing and verification (signMethod 01).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sandbox import rsakeys
from sandbox.unionpay.codes import BAD_FORM, MISSING, Refusal

_FIELDS_MAX = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}", re.ASCII)
# These would be read as the structure of an answer, which repeats the value without encoding it.
_STRUCTURE = re.compile(r"[&={}\[\]\"'\x00-\x1f]")

# How each field must look; of a field that is not here only the length is looked at.
FORMS = {
    name: re.compile(form, re.ASCII)
    for name, form in {
        "version": r"5\.1\.0",
        "encoding": r"[Uu][Tt][Ff]-8",
        "signMethod": "01",
        "certId": r"[0-9]{1,128}",
        "signature": r"[A-Za-z0-9+/]+={0,2}",
        "txnType": r"[0-9]{2}",
        "txnSubType": r"[0-9]{2}",
        "bizType": r"[0-9]{6}",
        "channelType": "0[78]",
        "accessType": "0",
        "merId": r"[0-9A-Za-z]{15}",
        "orderId": r"[0-9A-Za-z]{8,40}",
        "txnTime": r"[0-9]{14}",
        "txnAmt": r"0*[1-9][0-9]{0,11}",
        "currencyCode": "156",
        "payTimeout": r"[0-9]{14}",
        # No query: whoever merges it into the form breaks the signature of the notification.
        "backUrl": r"https?://[^\s/?#]+[^\s?#]*",
        "frontUrl": r"https?://[^\s/]\S*",
        "frontFailUrl": r"https?://[^\s/]\S*",
        "origQryId": r"[0-9]{21}",
        "queryId": r"[0-9]{21}",
        "settleDate": r"[0-9]{4}",
        "qrNo": r"62[0-9]{17}",
        "termId": r"[0-9A-Za-z]{8}",
        "fileType": r"[0-9]{2}",
    }.items()
}
_LENGTHS = {"txnAmt": 12, "backUrl": 256, "frontUrl": 256, "frontFailUrl": 256, "orderDesc": 32}
_LENGTH_MAX = 1024
COMMON = (
    *("version", "encoding", "signMethod", "signature", "certId"),
    *("txnType", "txnSubType", "bizType", "accessType", "merId"),
)
# What an answer repeats of its request.
_REPEATED = ("txnType", "txnSubType", "bizType", "accessType", "merId", "orderId", "txnTime", "reqReserved")


def read(body: bytes) -> dict[str, str]:
    """A request's fields, decoded once.  Raises Refusal for what is no form of UTF-8, or repeats a field."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        raise Refusal(BAD_FORM) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refusal(BAD_FORM, "重复域")
    return fields


def check(fields: Mapping[str, str]) -> None:
    """The common fields are there, and every field looks as the manual says.  Raises Refusal."""
    for name, value in fields.items():
        if _NAME.fullmatch(name) is None or not is_well_formed(name, value):
            raise Refusal(BAD_FORM, name if _NAME.fullmatch(name) else "")
    require(fields, COMMON)


def require(fields: Mapping[str, str], names: tuple[str, ...]) -> None:
    """Raises Refusal for a missing field."""
    for name in names:
        if name not in fields:
            raise Refusal(MISSING, name)


def is_well_formed(name: str, value: str) -> bool:
    """Whether a value is neither empty nor too long, and has the form of its field."""
    if not value.strip() or len(value) > _LENGTHS.get(name, _LENGTH_MAX):
        return False
    if name == "reqReserved" and _STRUCTURE.search(value):
        return False
    return name not in FORMS or FORMS[name].fullmatch(value) is not None


def repeated(fields: Mapping[str, str]) -> dict[str, str]:
    """What an answer repeats of a request, as far as the request can be read."""
    return {name: fields[name] for name in _REPEATED if name in fields and is_well_formed(name, fields[name])}


def signed_text(fields: Mapping[str, str]) -> bytes:
    """What both hashes begin with: every field but ``signature``, sorted, joined, in UTF-8."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "signature").encode()


def digest(text: bytes) -> bytes:
    """The first hash, as the 64 letters that the signature hashes again."""
    return hashlib.sha256(text).hexdigest().encode()


def sign(key: RSAPrivateKey, fields: Mapping[str, str]) -> str:
    """The signature of a message, in base64."""
    return rsakeys.sign(key, digest(signed_text(fields)))


def verifies(public_key: str, fields: Mapping[str, str]) -> bool:
    """Whether a message's ``signature`` is this key's."""
    return rsakeys.verifies(public_key, digest(signed_text(fields)), fields.get("signature", ""))


def answer(fields: Mapping[str, str]) -> bytes:
    """The body of a synchronous answer: sorted pairs, nothing encoded."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()


def form(fields: Mapping[str, str]) -> bytes:
    """The body of a notification: the same pairs, each encoded once."""
    return urlencode(sorted(fields.items())).encode("ascii")
