"""Standard Webhooks: how a receiver knows that a message is ours, and fresh.  Pure.

Source: Standard Webhooks 1.0.0, symmetric signatures (HMAC-SHA256, scheme ``v1``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the standard allows 24 to 64


def new_secret() -> str:
    """``whsec_`` and 32 random bytes in base64.  Not pure: the one function here that is not."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(signing_secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature``: one ``v1,`` entry a secret, with a space between.

    While a secret is being changed both the old and the new one sign, and either is enough for the
    receiver.  ``timestamp`` is the Unix time of this try in seconds.
    """
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"v1,{_mac(secret, content)}" for secret in signing_secrets)


def headers_for(
    signing_secrets: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """All headers of a webhook."""
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(signing_secrets, message_id, timestamp, body),
    }


def _mac(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
