"""Secrets at rest: sealed with AES-256-GCM, bound to the place they are stored in.

``place`` is table, row and column: a sealed value copied to another row does not open there.  The
key list runs oldest to newest; the newest seals, any opens, and the key's id travels with the value.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_NONCE_BYTES = 12


class SealBroken(Exception):
    """The value was not sealed by any key we hold, or not for this place."""


class Vault:
    """Seals and opens short secrets.  Stateless but for its keys; never prints them."""

    def __init__(self, keys: Sequence[str]) -> None:
        digests = [hashlib.sha256(b"mafu.vault\0" + key.encode()).digest() for key in keys]
        self._ciphers = {hashlib.sha256(digest).hexdigest()[:8]: AESGCM(digest) for digest in digests}
        self._newest = hashlib.sha256(digests[-1]).hexdigest()[:8]

    def seal(self, secret: str, place: str) -> str:
        """``("whsec_…", "webhook_endpoints/we_1/secret") -> "v1.<key id>.<base64>"``."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[self._newest].encrypt(nonce, secret.encode(), place.encode())
        return f"{_VERSION}.{self._newest}.{base64.b64encode(sealed).decode()}"

    def unseal(self, sealed: str, place: str) -> str:
        """The reverse.  Raises SealBroken."""
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise SealBroken("sealed with a key that is not in MAFU_ENCRYPTION_KEYS")
        raw = base64.b64decode(body)
        try:
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode()
        except InvalidTag:
            raise SealBroken("the value was altered, or belongs to another place") from None

    def is_current(self, sealed: str) -> bool:
        """Whether the newest key sealed it; if not, a rotation should seal it afresh."""
        return sealed.startswith(f"{_VERSION}.{self._newest}.")
