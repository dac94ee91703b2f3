"""What a payment link says, and how we know again that we wrote it.

A link carries a token: which charge, and a signature.  The signature covers what the shopper relies
on (charge, merchant, amount, currency) but the token does not repeat it, so a row altered after the
link was issued refuses to open, and the token stays short enough for paper:

    https://PAY.EXAMPLE.COM/C/01JD3W6J7HK8QZ4V9X2B5N7M0T7QK2M9XTB4R8W3V6Z1YJ5H0PCD
                              `--- body of the charge id -' `---- signature ------'

Both halves are 26 characters of Crockford's base 32, which QR packs in its alphanumeric mode (5.5 bits
a character) when they are capitals.  The scheme stays in lower case, because scanners that look for
``https://`` take ``HTTPS://`` for plain text.

The signature is HMAC-SHA256 by itsdangerous, one derived key per purpose, cut to 130 bits.  Expiry and
revocation are columns, never in the token.  A sign that hangs for years says less: see short_code.py.

Pure.  Sources: RFC 2104 (HMAC, section 5 on truncation); Crockford, "Base 32";
ISO/IEC 18004:2015 section 7.4.4 (alphanumeric mode).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from urllib.parse import urlsplit

from itsdangerous import Signer

from app.errors import BadLink
from app.ids import ALPHABET, BODY_CHARS, is_id


class Purpose(StrEnum):
    """What a link opens.  Each purpose has keys of its own: a token for one is refused by the other."""

    CHARGE = "charge"
    MEMBER = "member"  # the page on which one tops up; a member stands where a charge does, of no amount


PREFIXES = {Purpose.CHARGE: "ch", Purpose.MEMBER: "mb"}
PATH = "/C/"
MEMBER_PATH = "/M/"

# 130 bits fill 26 characters exactly: no spare bits, so a signature is spelled in one way only.
# RFC 2104 wants at least half of the digest (128 bits); a longer one would cost a larger code.
SIGNATURE_CHARS = 26
TOKEN_CHARS = BODY_CHARS + SIGNATURE_CHARS
_SIGNATURE_BITS = 5 * SIGNATURE_CHARS
_SIGNATURE_BYTES = (_SIGNATURE_BITS + 7) // 8
_SPARE_BITS = 8 * _SIGNATURE_BYTES - _SIGNATURE_BITS

# Letters are listed twice instead of folding case first: "ſ".upper() is "S".
_TOKEN = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{51}", re.ASCII)
_TO_BASE_32 = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What a link promises: this charge, to this merchant, of this amount.

    ``LinkFacts("ch_01jd…", "me_01jd…", 1250, "CNY")``.
    """

    charge_id: str
    merchant_id: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart; nothing is proved yet.  The signature opens the charge, so it is not shown."""

    charge_id: str
    signature: bytes = field(repr=False)


class LinkSigner:
    """Signs and checks the links of one purpose.  Build it once: deriving the keys is most of the work.

    ``keys`` run from oldest to newest: the newest signs, all of them verify, and dropping one refuses
    the links it signed.  Raises ValueError for an unknown purpose, no keys or an empty key.
    """

    def __init__(self, keys: Sequence[str], *, purpose: str) -> None:
        # A bare string is a sequence of one-letter keys; it would sign, and be guessed.
        if isinstance(keys, str) or not keys or not all(keys):
            raise ValueError("links need a list of keys, none of them empty")
        self.purpose = Purpose(purpose)
        self._prefix = PREFIXES[self.purpose]
        signer = Signer(
            list(keys),
            salt=f"mafu.link.{self.purpose}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        self._algorithm = signer.algorithm
        self._derived = [signer.derive_key(key) for key in reversed(signer.secret_keys)]

    def token_for(self, facts: LinkFacts) -> str:
        """The token of a link: 52 capitals and digits.  Raises ValueError if the id is of another kind.

        The same facts under the same key give the same token, so a link is never stored.
        """
        if not is_id(facts.charge_id, self._prefix):
            raise ValueError(f"{facts.charge_id[:40]!r} is not an id of a {self.purpose}")
        signature = int.from_bytes(self._signature(self._derived[0], _message(facts)), "big")
        letters = [ALPHABET[signature >> shift & 31] for shift in range(_SIGNATURE_BITS - 5, -1, -5)]
        return (facts.charge_id[len(self._prefix) + 1 :] + "".join(letters)).upper()

    def is_genuine(self, token: Token, facts: LinkFacts) -> bool:
        """Whether we signed this token for exactly these facts, with a key that is still listed.

        Each comparison takes the same time wherever the signatures differ.
        """
        if token.charge_id != facts.charge_id:
            return False
        message = _message(facts)
        for key in self._derived:
            if hmac.compare_digest(self._signature(key, message), token.signature):
                return True
        return False

    def _signature(self, key: bytes, message: bytes) -> bytes:
        digest = self._algorithm.get_signature(key, message)
        number = int.from_bytes(digest[:_SIGNATURE_BYTES], "big") >> _SPARE_BITS
        return number.to_bytes(_SIGNATURE_BYTES, "big")


def parse_token(text: str, *, purpose: str = Purpose.CHARGE) -> Token:
    """Read a token in any letter case.  Raises BadLink for anything that is not 52 letters of ours.

    Crockford's look-alikes (O for 0, I and L for 1) are refused: tokens are scanned, not typed.
    """
    if _TOKEN.fullmatch(text) is None:
        raise BadLink("this address is not a payment link")
    lower = text.lower()
    number = int(lower[BODY_CHARS:].translate(_TO_BASE_32), 32)
    return Token(
        charge_id=f"{PREFIXES[Purpose(purpose)]}_{lower[:BODY_CHARS]}",
        signature=number.to_bytes(_SIGNATURE_BYTES, "big"),
    )


def link_for(base_url: str, token: str, *, host_upper: bool = True, path: str = PATH) -> str:
    """The address that the QR code says.  Raises ValueError if base_url is not a plain web address.

    ``("https://pay.example.com", "01JD…") -> "https://PAY.EXAMPLE.COM/C/01JD…"``; with
    ``host_upper=False`` the base is kept as given, at the price of a larger code.
    """
    return _stem(base_url, host_upper, path) + token


@lru_cache(maxsize=32)
def _stem(base_url: str, host_upper: bool, path: str) -> str:
    parts = urlsplit(base_url)
    plain = parts.hostname and "@" not in parts.netloc and not (parts.query or parts.fragment)
    # Capitals of other scripts may change the name ("ß" becomes "SS"): such a host comes in its xn-- form.
    if parts.scheme not in ("http", "https") or not plain or not base_url.isascii():
        raise ValueError(f"{base_url[:80]!r} is not a web address such as https://pay.example.com")
    rest = parts.netloc + parts.path.rstrip("/")
    return f"{parts.scheme}://{rest.upper() if host_upper else rest}{path}"


def _message(facts: LinkFacts) -> bytes:
    """The signed bytes.  Each field follows its length, so two different facts never read alike."""
    fields = (facts.charge_id, facts.merchant_id, str(facts.amount_minor), facts.currency)
    return "".join([f"{len(text)}:{text}" for text in fields]).encode()
