"""WeChat Pay's wire: what is signed, what is sealed, how messages are taken apart.  All of it pure.

Signatures cover the exact bytes that travel, so nothing is parsed and written again in between.
Source: WeChat Pay API v3, signing requests, verifying answers and notifications, decrypting.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import InvalidRequest, SignatureMismatch
from app.providers import rsa
from app.providers.base import Inbound
from app.strict_json import parse_object

SCHEME = "WECHATPAY2-SHA256-RSA2048"
# WeChat Pay refuses requests, and tells us to refuse messages, whose clock is five minutes off.
WINDOW_S = 300
# Now and then WeChat Pay sends a wrong signature on purpose, to see whether it is checked.
PROBE = "WECHATPAY/SIGNTEST/"
# Notifications are about 2 kB; everything is read into memory before its sender is known.
NOTICE_BYTES_MAX = 65_536

_MOMENT = re.compile(r"[0-9]{1,12}", re.ASCII)
_NONCE = re.compile(r"[\x21-\x7e]{1,128}")
_WORD = re.compile(r"[\x21-\x7e]{1,2048}")


@dataclass(frozen=True, slots=True)
class Request:
    """What a request's signature covers beside its stamp.  ``path`` is as on the wire, with its query."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When, in Unix seconds, and a word that is never used twice."""

    timestamp: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Signer:
    """The merchant: number, number of the API certificate, private key."""

    mchid: str
    serial: str
    key: RSAPrivateKey

    def authorization(self, request: Request, stamp: Stamp) -> str:
        """The Authorization header of a request."""
        signature = rsa.sign(self.key, request_text(request, stamp))
        return (
            f'{SCHEME} mchid="{self.mchid}",nonce_str="{stamp.nonce}",signature="{signature}",'
            f'timestamp="{stamp.timestamp}",serial_no="{self.serial}"'
        )

    def client_signature(self, *lines: str) -> str:
        """What the pay sheet in WeChat, or the app's SDK, wants to see: each line ends with a newline."""
        return rsa.sign(self.key, "".join(f"{line}\n" for line in lines).encode())


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON object, read with suspicion: what is not there, or not of its kind, is empty."""

    fields: Mapping[str, Any]

    def word(self, name: str) -> str:
        """A text of printable ASCII without blanks, which all words that decide something are."""
        value = self.fields.get(name)
        return value if isinstance(value, str) and _WORD.fullmatch(value) else ""

    def text(self, name: str) -> str:
        """Any text."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def whole(self, name: str) -> int | None:
        """A whole number; ``true`` is none."""
        value = self.fields.get(name)
        return value if type(value) is int else None

    def child(self, name: str) -> Node:
        """An object inside, empty if there is none."""
        value = self.fields.get(name)
        return Node(value if isinstance(value, dict) else {})

    def children(self, name: str) -> list[Node]:
        """The objects of a list inside."""
        value = self.fields.get(name)
        return [Node(each) for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def request_text(request: Request, stamp: Stamp) -> bytes:
    """The text that a request's signature covers: five lines, the last one ended too."""
    head = f"{request.method}\n{request.path}\n{stamp.timestamp}\n{stamp.nonce}\n"
    return head.encode("ascii") + request.body + b"\n"


def answer_text(stamp: Stamp, body: bytes) -> bytes:
    """The text that an answer's or a notification's signature covers; a 204 has an empty line."""
    return f"{stamp.timestamp}\n{stamp.nonce}\n".encode("ascii") + body + b"\n"


def key_name(headers: Mapping[str, str]) -> str:
    """Which key a message says it was signed with; header names are in lower case."""
    return headers.get("wechatpay-serial", "")


def is_probe(headers: Mapping[str, str]) -> bool:
    """Whether the signature is one of the deliberately wrong ones."""
    return headers.get("wechatpay-signature", "").startswith(PROBE)


def verify(headers: Mapping[str, str], body: bytes, at: datetime, key: RSAPublicKey | None) -> None:
    """Return if this message was signed by the key, and within five minutes of ``at``.

    Raises SignatureMismatch.  The scheme is pinned here; a header that names another is refused.
    """
    if key is None:
        raise SignatureMismatch("the message names a key that is not held")
    if headers.get("wechatpay-signature-type", SCHEME) != SCHEME:
        raise SignatureMismatch("the message is signed by another scheme")
    timestamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
    # A newline in a nonce could be the body's first: the same signature would cover another body.
    if _MOMENT.fullmatch(timestamp) is None or _NONCE.fullmatch(nonce) is None:
        raise SignatureMismatch("the message has no proper time and nonce")
    if abs(at.timestamp() - int(timestamp)) >= WINDOW_S:
        raise SignatureMismatch("the message is more than five minutes from now")
    if is_probe(headers):
        raise SignatureMismatch("the signature is WeChat Pay's test of whether it is checked")
    rsa.verify(key, answer_text(Stamp(timestamp, nonce), body), headers.get("wechatpay-signature", ""))


def read_node(body: bytes) -> Node:
    """A JSON object.  Raises ValueError."""
    try:
        return Node(parse_object(body))
    except InvalidRequest as error:
        raise ValueError(error.detail) from None


def read_notice(
    inbound: Inbound, key_for: Callable[[str, datetime], RSAPublicKey | None], api_key: bytes
) -> tuple[str, Node]:
    """Verify and open a notification: its ``event_type`` and the resource.  Raises SignatureMismatch."""
    if len(inbound.body) > NOTICE_BYTES_MAX:
        raise SignatureMismatch("the notification is too large")
    key = key_for(key_name(inbound.headers), inbound.received_at)
    verify(inbound.headers, inbound.body, inbound.received_at, key)
    try:
        notice = read_node(inbound.body)
        return notice.word("event_type"), read_node(unsealed(notice.child("resource"), api_key))
    except ValueError:
        raise SignatureMismatch("the notification is not JSON") from None


def unsealed(resource: Node, api_key: bytes) -> bytes:
    """Open an AEAD_AES_256_GCM resource.  Raises SignatureMismatch.

    Nonces of 12 bytes are the rule, but WeChat Pay's own examples have others; the library takes 8 to
    128 bytes.  ``associated_data`` may be empty or missing.
    """
    if resource.word("algorithm") != "AEAD_AES_256_GCM":
        raise SignatureMismatch("the resource is sealed by another algorithm")
    nonce, associated = resource.text("nonce"), resource.text("associated_data")
    try:
        sealed = base64.b64decode(resource.text("ciphertext"), validate=True)
        return AESGCM(api_key).decrypt(nonce.encode(), sealed, associated.encode())
    except InvalidTag:
        raise SignatureMismatch("the resource is not sealed with this account's APIv3 key") from None
    except (binascii.Error, ValueError):
        raise SignatureMismatch("the resource's nonce or ciphertext has no proper form") from None


def compact_json(value: Mapping[str, Any]) -> bytes:
    """A body: it is signed as sent, so it is written once, in this order, without blanks, unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
