"""The code of a printed sign: what its symbol says, and what people read below it.

    https://PAY.EXAMPLE.COM/P/7K2M9QXT4CWJ        below the symbol: 7K2M-9QXT-4CWJ

Eleven random letters name a row, and a twelfth checks them, so that a mistyped code is told from an
unknown one without a look into the table.  Nothing is signed: paper outlives every key, and what a sign
asks for may change while it hangs.  Guessing is hopeless (29 to the power of 11 is 2 to the power of 53),
and whoever guessed a code would have found a sign that hangs in a shop.

The letters are those that cannot be taken for one another in print: neither 0 nor O, none of 1 I L, of U
and V only U, of 8 and B only 8.  There are 29, a prime number, so that the weighted sum finds every single
wrong letter and every two that changed places.

Pure but for ``new_code``.  Source: ISO/IEC 18004:2015 section 7.4.4 (capitals pack tighter).
"""

from __future__ import annotations

import secrets
import unicodedata

from app.errors import BadLink
from app.qr.links import link_for

ALPHABET = "23456789ACDEFGHJKMNPQRSTUWXYZ"
CODE_CHARS = 12
PATH = "/P/"

_GROUP = 4
_TYPED_CHARS_MAX = 40
_MODULUS = len(ALPHABET)
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_LAST_WEIGHT_INVERSE = pow(CODE_CHARS, -1, _MODULUS)


def new_code() -> str:
    """A code that nobody can guess: ``"7K2M9QXT4CWJ"``."""
    drawn = "".join([secrets.choice(ALPHABET) for _ in range(CODE_CHARS - 1)])
    return drawn + _check_letter(drawn)


def parse_code(text: str) -> str:
    """A code as it was scanned or typed, in capitals and without what people put between the letters.

    ``" 7k2m-9qxt 4cwj" -> "7K2M9QXT4CWJ"``; full-width letters are read, too.  Raises BadLink.
    """
    if len(text) > _TYPED_CHARS_MAX:
        raise BadLink("this is no code of a sign", code="no_such_code")
    plain = unicodedata.normalize("NFKC", text)
    # ASCII before capitals: "ſ".upper() is "S".
    code = "".join([letter for letter in plain if letter not in " -‐‑–—"]) if plain.isprintable() else ""
    code = code.upper() if code.isascii() else ""
    if len(code) != CODE_CHARS or not set(code) <= set(ALPHABET) or code[-1] != _check_letter(code[:-1]):
        raise BadLink("this is no code of a sign", code="no_such_code")
    return code


def in_groups(code: str) -> str:
    """For people: ``"7K2M9QXT4CWJ" -> "7K2M-9QXT-4CWJ"``."""
    return "-".join([code[start : start + _GROUP] for start in range(0, len(code), _GROUP)])


def address_of(base_url: str, code: str, *, host_upper: bool = True) -> str:
    """What the symbol says.  Raises ValueError if base_url is not a plain web address."""
    return link_for(base_url, code, host_upper=host_upper, path=PATH)


def _check_letter(drawn: str) -> str:
    """The letter with which the weighted sum of all twelve is a multiple of 29."""
    total = sum(weight * _VALUES[letter] for weight, letter in enumerate(drawn, start=1))
    return ALPHABET[-total * _LAST_WEIGHT_INVERSE % _MODULUS]
