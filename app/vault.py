"""Secrets at rest: sealed with AES-256-GCM, bound to the place they are stored in.

``place`` is table, row and column: a sealed value copied to another row does not open there.  The
key list runs oldest to newest; the newest seals, any opens, and the key's id travels with the value.

Every place has a cipher key of its own, derived by HMAC-SHA256: random nonces of 96 bits are safe for
2**32 values under one key (NIST SP 800-38D, section 8.3), and a busy shop stores more answers than that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_NONCE_BYTES, _TAG_BYTES = 12, 16


class SealBroken(Exception):
    """The value was not sealed by any key we hold, or not for this place."""


class Vault:
    """Seals and opens short secrets.  Stateless but for its keys; never prints them.

    Raises ValueError without keys, or with an empty one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        # A bare string is a sequence of one-letter keys.
        if isinstance(keys, str) or not keys or not all(keys):
            raise ValueError("the vault needs a list of keys, none of them empty")
        roots = [hashlib.sha256(b"mafu.vault\0" + key.encode()).digest() for key in keys]
        self._roots = {hashlib.sha256(root).hexdigest()[:8]: root for root in roots}
        self._newest = hashlib.sha256(roots[-1]).hexdigest()[:8]

    def seal(self, secret: str, place: str) -> str:
        """``("whsec_…", "webhook_endpoints/we_1/secret") -> "v1.<key id>.<base64>"``."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + _cipher(self._roots[self._newest], place).encrypt(
            nonce, secret.encode(), place.encode()
        )
        return f"{_VERSION}.{self._newest}.{base64.b64encode(sealed).decode()}"

    def unseal(self, sealed: str, place: str) -> str:
        """The reverse.  Raises SealBroken."""
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        root = self._roots.get(key_id)
        if version != _VERSION or root is None:
            raise SealBroken("sealed with a key that is not in MAFU_ENCRYPTION_KEYS")
        try:
            raw = base64.b64decode(body, validate=True)
            if len(raw) < _NONCE_BYTES + _TAG_BYTES:
                raise SealBroken("the value was cut short")
            opened = _cipher(root, place).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("the value was altered, or belongs to another place") from None
        return opened.decode()

    @property
    def current_prefix(self) -> str:
        """How everything begins that the newest key has sealed; the rest is to be sealed afresh."""
        return f"{_VERSION}.{self._newest}."


def _cipher(root: bytes, place: str) -> AESGCM:
    return AESGCM(hmac.digest(root, place.encode(), "sha256"))
