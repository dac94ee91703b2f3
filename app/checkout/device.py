"""By what a browser is known again, where a shop's rules count what one device begins.

A random number in a cookie of our own, signed so that nobody can wear out or borrow the count of another;
no trait of the device is looked at.  It is given only after a payment was begun at such a shop.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from itsdangerous import BadSignature, Signer

from app.runtime import settings

LIFE_S = 30 * 86400
COOKIE_CHARS_MAX = 80
_NUMBER = re.compile(r"[0-9a-f]{32}", re.ASCII)


def device_of(cookie: str) -> str:
    """The number in a cookie; a new one for a browser without, or with one that is not ours."""
    try:
        number = _signer().unsign(cookie[:COOKIE_CHARS_MAX]).decode() if cookie else ""
    except BadSignature:
        number = ""
    return number if _NUMBER.fullmatch(number) else secrets.token_hex(16)


def cookie_of(number: str) -> str:
    """What to give the browser."""
    return _signer().sign(number).decode()


def _signer() -> Signer:
    return Signer(list(settings().secret_keys), salt="mafu device", digest_method=hashlib.sha256)
