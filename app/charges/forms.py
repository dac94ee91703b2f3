"""What a person typed, read into commands.  Pure.

People type amounts as they write them: with a currency sign, thousands commas, or the full-width
digits of a Chinese keyboard.  The commands behind check the rest.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any

from app.charges.commands import EXPIRES_IN_S_DEFAULT, NewCharge, currency_of
from app.errors import InvalidRequest
from app.money import SYMBOLS, Money

AMOUNT_CHARS_MAX = 32
# A comma parts thousands and nothing else: who means 12.50 by "12,50" must not be asked for 1,250.
_GROUPED = re.compile(r"[^,]*\d{1,3}(,\d{3})+(?!\d)[^,]*", re.ASCII)
# What the form offers; the API takes any number of seconds between 60 and the last of these.
LIFETIMES_S = (900, EXPIRES_IN_S_DEFAULT, 86400, 15 * 86400)


def read_new_charge(fields: Mapping[str, str]) -> NewCharge:
    """The form for a new charge.  Raises InvalidRequest naming the field at fault."""
    currency = currency_of(fields.get("currency", "CNY"))
    lifetime = fields.get("expires_in_s", str(EXPIRES_IN_S_DEFAULT))
    if not (lifetime.isascii() and lifetime.isdigit() and len(lifetime) <= 8):
        raise InvalidRequest("choose how long the code is valid", param="expires_in_s")
    return NewCharge(
        amount=amount_of(fields.get("amount", ""), currency),
        description=fields.get("description", ""),
        merchant_order_no=fields.get("merchant_order_no", "").strip() or None,
        expires_in_s=int(lifetime),
        store_id=fields.get("store") or None,
    )


def amount_of(text: str, currency: str) -> Money:
    """``"¥1,234.5"``, ``"１２３４。５０"`` and ``"1234.5"`` are all 1234.50.  Raises InvalidRequest."""
    if len(text) > AMOUNT_CHARS_MAX:
        raise InvalidRequest("not an amount", code="amount_invalid", param="amount")
    plain = unicodedata.normalize("NFKC", text).replace("。", ".").replace("元", "")
    for extra in (*sorted(SYMBOLS.values(), key=len, reverse=True), ",", " "):
        plain = plain.replace(extra, "")
    try:
        return Money.from_major(plain.strip(), currency)
    except ValueError:
        raise InvalidRequest("not an amount", code="amount_invalid", param="amount") from None


def shopper_amount(text: str, currency: str) -> Money:
    """``"１２。５"``, ``"¥12.50"`` and ``"1,234.50"``; never ``"12,50"``.  Raises InvalidRequest."""
    plain = unicodedata.normalize("NFKC", text[: AMOUNT_CHARS_MAX + 1])
    if "," in plain and not _GROUPED.fullmatch(plain):
        raise InvalidRequest("not an amount", code="amount_invalid", param="amount")
    return amount_of(text, currency)


def curl_for(origin: str, charge: Mapping[str, Any]) -> str:
    """A shell command that makes a charge like this one over the API; the key is the reader's own."""
    names = ("amount", "currency", "description", "store")
    body = {name: charge[name] for name in names if charge[name] is not None}
    text = json.dumps(body, ensure_ascii=False)
    return "\n".join(
        [
            f"curl {shlex.quote(f'{origin}/v1/charges')} \\",
            '  -H "Authorization: Bearer $MAFU_KEY" \\',
            '  -H "Content-Type: application/json" \\',
            '  -H "Idempotency-Key: $(uuidgen)" \\',
            f"  -d {shlex.quote(text)}",
        ]
    )
