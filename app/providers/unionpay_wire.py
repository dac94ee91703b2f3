"""UnionPay's wire: what is signed, how an answer and a notification are taken apart.  All of it pure.

Both are ``name=value`` pairs; a notification is a form and url-encoded, an answer is not.  The signed
text is the sorted pairs in the bytes of ``encoding``; what is signed is the hexadecimal of its
SHA-256, which the signature hashes once more.
Source: UnionPay ACP 5.1.0, signing and verification (signMethod 01).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import unquote_to_bytes, urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from app import clock
from app.errors import SignatureMismatch
from app.providers import rsa
from app.providers.unionpay_certs import Trust

# Notifications are about 4 kB, certificate and all; they are read before their sender is known.
NOTICE_BYTES_MAX = 65_536
FIELDS_MAX = 200
STAMP = "%Y%m%d%H%M%S"  # Beijing time, without a word on its zone
ENCODINGS = frozenset({"utf-8", "gbk"})

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
# A pair of an answer: inside {} and [] an "&" is part of the value.  A bracket closes at the first
# that matches, and one that never closes runs to the end, as UnionPay's own SDK reads them.
_PAIR = re.compile(rb"([^=&]+)=((?:\{[^}]*+\}?|\[[^\]]*+\]?|[^&{\[]++)*+)(?:&|\Z)")
_TRACE_TIME = re.compile(r"[0-9]{10}")
# The signed text joins raw values, so "a=1&b=2" may be two fields or one.  No value of a genuine
# message holds the start of a field that decides something.
_FOLDED = re.compile(
    rb"&(?:accessType|certId|currencyCode|encoding|merId|orderId|origQryId|origResp(?:Code|Msg)|qrCode"
    rb"|queryId|reqReserved|resp(?:Code|Msg)|settleDate|signMethod|signPubKeyCert|tn|traceTime|txnAmt"
    rb"|txnSubType|txnTime|txnType)="
)


def canonical(fields: Mapping[str, str]) -> bytes:
    """The text that a request's signature covers: all but ``signature``, no blank ones, sorted."""
    return "&".join(
        f"{k}={fields[k]}" for k in sorted(fields) if k != "signature" and fields[k].strip()
    ).encode()


def digest(message: bytes) -> bytes:
    """The first of the two hashes, as the 64 letters that the second one is taken of."""
    return hashlib.sha256(message).hexdigest().encode("ascii")


def signed_fields(fields: Mapping[str, str], key: RSAPrivateKey) -> dict[str, str]:
    """The fields without their blank ones, and with ``signature``.  ``certId`` must be among them."""
    kept = {k: v for k, v in fields.items() if v.strip()}
    return kept | {"signature": rsa.sign(key, digest(canonical(kept)))}


def form_text(fields: Mapping[str, str]) -> str:
    """Encode the fields of a request, once."""
    return urlencode(sorted(fields.items()))


def read_notice(body: bytes, trust: Trust, moment: datetime) -> dict[str, str]:
    """Verify a notification and return its fields.  Raises SignatureMismatch.

    The form is decoded once, from its bytes, and the signature covers those bytes.
    """
    if len(body) > NOTICE_BYTES_MAX:
        raise SignatureMismatch("the notification is too large")
    pairs = (part.replace(b"+", b" ").partition(b"=") for part in body.split(b"&"))
    return _verified(((unquote_to_bytes(k), unquote_to_bytes(v)) for k, _, v in pairs), trust, moment)


def read_answer(body: bytes, trust: Trust, moment: datetime) -> dict[str, str]:
    """Verify a synchronous answer and return its fields.  Raises SignatureMismatch."""
    return _verified(_pairs(body), trust, moment)


def moment_near(text: str, near: datetime) -> datetime:
    """Read ``MMDDhhmmss``, Beijing time, in the year that brings it closest to a moment.

    ``("1231235959", 2024-01-01 00:00 Beijing) -> 2023-12-31 23:59:59 Beijing``.  Raises ValueError.
    """
    if _TRACE_TIME.fullmatch(text) is None:
        raise ValueError(f"{text[:16]!r} is not a time of the form MMDDhhmmss")
    found = []
    for year in range(near.year - 1, near.year + 2):
        try:
            found.append(clock.from_beijing(f"{year:04}{text}", STAMP))
        except (ValueError, OverflowError):  # 29 February is in one year of four
            continue
    if not found:
        raise ValueError(f"{text!r} is in no calendar")
    return min(found, key=lambda moment: abs(moment - near))


def _pairs(body: bytes) -> Iterable[tuple[bytes, bytes]]:
    at = 0
    while at < len(body):
        pair = _PAIR.match(body, at)
        if pair is None:
            raise SignatureMismatch("the message is not made of pairs")
        yield pair[1], pair[2]
        at = pair.end()


def _verified(pairs: Iterable[tuple[bytes, bytes]], trust: Trust, moment: datetime) -> dict[str, str]:
    """What the pairs say, if UnionPay signed it.  Raises SignatureMismatch.

    Empty values take part in the signature.  A field that comes twice is refused: which one was signed
    is a guess.
    """
    raw: dict[bytes, bytes] = {}
    for name, value in pairs:
        if len(raw) == FIELDS_MAX or _NAME.fullmatch(name) is None or name in raw:
            raise SignatureMismatch("a field has no proper name, comes twice, or is one too many")
        raw[name] = value
    if raw.get(b"signMethod") != b"01":  # 11 and 12 would mean a shared secret
        raise SignatureMismatch("signMethod is not 01")
    signature = raw.pop(b"signature", b"").decode("latin-1")
    key = trust.key_in(raw.get(b"signPubKeyCert", b""), moment)
    message = b"&".join(b"%b=%b" % (name, raw[name]) for name in sorted(raw))
    rsa.verify(key, digest(message), signature)
    return _decoded(raw)


def _decoded(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """Text in the encoding that the message itself names: it is signed, the HTTP header is not."""
    encoding = raw.get(b"encoding", b"utf-8").decode("latin-1").lower()
    if encoding not in ENCODINGS:
        raise SignatureMismatch("the encoding is neither utf-8 nor gbk")
    if any(_FOLDED.search(value) for value in raw.values()):
        raise SignatureMismatch("a value holds another field")
    if any(b"\0" in value for value in raw.values()):  # which PostgreSQL cannot hold
        raise SignatureMismatch("a value holds a zero byte")
    try:
        return {name.decode("ascii"): value.decode(encoding) for name, value in raw.items()}
    except UnicodeDecodeError:
        raise SignatureMismatch(f"the message is not {encoding}") from None
