"""Standard Webhooks: how a receiver knows that a message is ours, and fresh.  Pure, but for new keys.

An endpoint's keys are one text, a key ring: ``whsec_…`` for symmetric signatures (HMAC-SHA256, scheme
``v1``), which the receiver has too, and perhaps ``whsk_…`` for asymmetric ones (ed25519, scheme
``v1a``), which nobody but us has ever seen: the receiver verifies with ``whpk_…``.

Source: Standard Webhooks 1.0.0.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SYMMETRIC, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
_SECRET_BYTES = 32  # the standard allows 24 to 64; ed25519 has no choice


def new_secret() -> str:
    """``whsec_`` and 32 random bytes in base64."""
    return _named(SYMMETRIC, secrets.token_bytes(_SECRET_BYTES))


def new_private_key() -> str:
    """``whsk_`` and the 32 bytes of an ed25519 private key in base64."""
    return _named(PRIVATE, secrets.token_bytes(_SECRET_BYTES))


def public_key_of(private_key: str) -> str:
    """``whpk_…``, which anybody may know."""
    return _named(PUBLIC, _ed25519(private_key).public_key().public_bytes_raw())


def ring_of(secret: str, private_key: str | None) -> str:
    """The keys of an endpoint as the vault keeps them."""
    return secret if private_key is None else f"{secret} {private_key}"


def keys_of(ring: str) -> tuple[str, str | None]:
    """The reverse: the secret, and the private key if there is one."""
    secret, _, private_key = ring.partition(" ")
    return secret, private_key or None


def sign(rings: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature``: an entry a key, with a space between; the newest ring first.

    While keys are being changed both the old and the new ones sign, and any is enough for the
    receiver.  ``timestamp`` is the Unix time of this try in seconds.
    """
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(_entry(key, content) for ring in rings for key in ring.split(" "))


def schemes_of(rings: Sequence[str]) -> str:
    """What ``sign`` signs with, for the record: ``"v1 v1a v1"``."""
    return " ".join("v1a" if key.startswith(PRIVATE) else "v1" for ring in rings for key in ring.split(" "))


def headers_for(rings: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """All headers of a webhook."""
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(rings, message_id, timestamp, body),
    }


def _entry(key: str, content: bytes) -> str:
    if key.startswith(PRIVATE):
        return "v1a," + base64.b64encode(_ed25519(key).sign(content)).decode()
    mac = hmac.digest(base64.b64decode(key.removeprefix(SYMMETRIC)), content, hashlib.sha256)
    return "v1," + base64.b64encode(mac).decode()


@functools.lru_cache(maxsize=1000)  # reading a key costs as much as signing with it
def _ed25519(private_key: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(private_key.removeprefix(PRIVATE)))


def _named(prefix: str, raw: bytes) -> str:
    return prefix + base64.b64encode(raw).decode()
