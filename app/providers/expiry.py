"""When the certificates among a merchant's credentials end, as far as they say so.  Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from app.errors import InvalidRequest
from app.providers import rsa
from app.providers.base import Credential

_PASSWORD = "_password"  # noqa: S105 - how the field beside a sealed file is called: pfx, pfx_password


@dataclass(frozen=True, slots=True)
class Ending:
    """The certificate in one field of the settings, and when it ends."""

    label: str  # English, as the form has it
    at: datetime


def endings_of(credentials: Iterable[Credential], settings: Mapping[str, str]) -> list[Ending]:
    """The soonest first.  What holds no certificate, or none that can be read, is passed over.

    Of a chain the holder's own counts; of several side by side, old and new, the one that lasts longest.
    """
    endings = []
    for field in credentials:
        text = settings.get(field.name, "")
        if field.multiline and text:
            held = _certificates(text, settings.get(field.name + _PASSWORD, ""))
            issuers = {each.issuer for each in held if each.issuer != each.subject}
            own = [each.not_valid_after_utc for each in held if each.subject not in issuers]
            if own:
                endings.append(Ending(field.label, max(own)))
    return sorted(endings, key=lambda ending: ending.at)


def _certificates(text: str, password: str) -> list[x509.Certificate]:
    if "-----BEGIN" in text:
        return rsa.certificates(text)
    try:
        return [rsa.certificate(text, "")]
    except InvalidRequest:
        return _packed(text, password)


def _packed(text: str, password: str) -> list[x509.Certificate]:
    """The holder's certificate in a PFX file in base64."""
    try:
        packed = base64.b64decode("".join(text.split()), validate=True)
        _, held, _ = pkcs12.load_key_and_certificates(packed, password.encode() or None)
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm):
        return []
    return [] if held is None else [held]
