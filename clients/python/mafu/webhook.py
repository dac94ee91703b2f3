"""Is a webhook ours, and fresh?  Standard Webhooks 1.0.0, symmetric signatures, in twenty lines."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from mafu.errors import InvalidSignature
from mafu.objects import Event

TOLERANCE_S = 300


def verify(
    body: bytes | str, headers: Mapping[str, str], secret: str, *, tolerance_s: int = TOLERANCE_S
) -> Event:
    """The event that a webhook tells of.  ``body`` is the raw body, before any JSON parser.

    Raises InvalidSignature: then answer 401 and do nothing.  The same event may come more than once.
    """
    raw = body.encode() if isinstance(body, str) else body
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise InvalidSignature("webhook-timestamp is missing or no number")
    if abs(time.time() - int(timestamp)) > tolerance_s:
        raise InvalidSignature("the webhook is too old, or a clock is wrong")
    expected = hmac.digest(
        _key(secret), b".".join([message_id.encode(), timestamp.encode(), raw]), hashlib.sha256
    )
    if not any(_is(expected, entry) for entry in given.get("webhook-signature", "").split(" ")):
        raise InvalidSignature("no signature fits")
    try:
        return Event.read(json.loads(raw))
    except (ValueError, KeyError, TypeError):
        raise InvalidSignature("signed, but not an event") from None


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("the secret is no whsec_… secret") from None


def _is(expected: bytes, entry: str) -> bool:
    scheme, _, text = entry.partition(",")
    try:
        return scheme == "v1" and hmac.compare_digest(expected, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
