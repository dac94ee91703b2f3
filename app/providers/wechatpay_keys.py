"""Whose signature counts as WeChat Pay's: public keys by name, platform certificates by number.

Every message names its key.  ``PUB_KEY_ID_…`` is a public key, configured by hand; 40 hexadecimal
digits are a platform certificate, which may also be downloaded: both appear while a merchant moves from
one to the other.  Reading a callback only looks into the ring and never fetches; a callback whose key is
not held is refused, and WeChat Pay sends it again.  Keys are learnt on our own calls, whose answers
name the same certificate.
Source: WeChat Pay API v3, verifying signatures, downloading platform certificates.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from app.errors import InvalidRequest, SignatureMismatch
from app.providers import rsa, wechatpay_wire
from app.providers.wechatpay_wire import Node

# One download per five minutes, however many strange numbers arrive: they are free to make up.
FETCH_EVERY = timedelta(minutes=5)
# A number that a download did not bring is not worth another one for a while.
MISSED_FOR = timedelta(hours=1)
# The manual: fetch at least every 12 hours, so that a successor is known before it signs.
RENEW_EVERY = timedelta(hours=12)
# WeChat Pay keeps one or two certificates per merchant.
CERTIFICATES_MAX = 16

_NUMBER = re.compile(r"[0-9A-Fa-f]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Held:
    """A key, and until when it counts; a public key without certificate has no end."""

    key: RSAPublicKey
    until: datetime | None = None


def number_of(certificate: x509.Certificate) -> str:
    """A certificate's number as WeChat Pay writes it: upper-case hexadecimal, leading zeros kept."""
    return f"{certificate.serial_number:040X}"


def held_certificates(certificates: Iterable[x509.Certificate], param: str) -> dict[str, Held]:
    """Certificates by ring name.  Pure.  Raises InvalidRequest naming ``param``."""
    return {
        _name(number_of(each)): Held(rsa.certificate_key(each, param), each.not_valid_after_utc)
        for each in certificates
    }


def read_certificates(node: Node, api_key: bytes, at: datetime) -> dict[str, Held]:
    """The certificates in an answer to GET /v3/certificates that are valid at this moment.  Pure.

    The answer is signed by one of the certificates inside it, so it is opened before it is verified;
    the APIv3 key vouches for each by authenticated encryption.  Raises SignatureMismatch.
    """
    found = []
    for entry in node.children("data")[:CERTIFICATES_MAX]:
        text = wechatpay_wire.unsealed(entry.child("encrypt_certificate"), api_key)
        try:
            certificate = rsa.certificate(text.decode("ascii"), "certificate")
        except (InvalidRequest, UnicodeDecodeError):
            raise SignatureMismatch("a platform certificate cannot be read") from None
        if _name(number_of(certificate)) != _name(entry.word("serial_no")):
            raise SignatureMismatch("a platform certificate came under another number")
        if certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            found.append(certificate)
    try:
        return held_certificates(found, "certificate")
    except InvalidRequest:
        raise SignatureMismatch("a platform certificate holds no RSA key") from None


class Keyring:
    """The keys of one account, and when the next download is due.  Safe among threads."""

    def __init__(self, held: Mapping[str, Held], at: datetime) -> None:
        self._configured = {_name(name): entry for name, entry in held.items()}
        self._fetched: dict[str, Held] = {}
        self._uses_certificates = any(entry.until for entry in self._configured.values())
        self._renewed_at = at
        self._closed_until: datetime | None = None
        self._missed: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def key(self, name: str, at: datetime) -> RSAPublicKey | None:
        """The key that a message names, None if it is not held or has expired."""
        held = self._fetched.get(_name(name)) or self._configured.get(_name(name))
        if held is None or (held.until is not None and held.until < at):
            return None
        return held.key

    def may_fetch(self, name: str, at: datetime) -> bool:
        """Whether to download certificates now because of this name.  A yes takes the turn."""
        if _NUMBER.fullmatch(name) is None:
            return False
        with self._lock:
            self._missed = {name: until for name, until in self._missed.items() if _ahead(until, at)}
            if _name(name) in self._missed or not self._take_turn(at):
                return False
            self._missed[_name(name)] = at + MISSED_FOR  # until the download brings it
            return True

    def is_stale(self, at: datetime) -> bool:
        """Whether certificates are in use and a routine download is due.  A yes takes the turn."""
        with self._lock:
            due = self._uses_certificates and self._renewed_at + RENEW_EVERY <= at
            return due and self._take_turn(at)

    def learn(self, fetched: Mapping[str, Held], at: datetime) -> None:
        """Replace what was downloaded before; what was configured stays."""
        with self._lock:
            self._fetched = dict(fetched)
            self._missed = {name: until for name, until in self._missed.items() if name not in fetched}
            self._uses_certificates = True
            self._renewed_at = at

    def nothing_there(self, at: datetime) -> None:
        """This merchant has no platform certificates (404), so that asking soon again is no use."""
        with self._lock:
            self._closed_until = at + RENEW_EVERY

    def _take_turn(self, at: datetime) -> bool:
        if self._closed_until is not None and _ahead(self._closed_until, at, RENEW_EVERY):
            return False
        self._closed_until = at + FETCH_EVERY
        return True


def _ahead(until: datetime, at: datetime, at_most: timedelta = MISSED_FOR) -> bool:
    """Whether a moment is still to come; further ahead than it was ever set, the clock was put back."""
    return timedelta() < until - at <= at_most


def _name(name: str) -> str:
    """Under which name a key hangs in the ring: numbers without leading zeros, which some tools drop."""
    return name.upper().lstrip("0") if _NUMBER.fullmatch(name) else name
