"""Money as whole minor units of a currency: no float, no rounding, no mixing of currencies."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Minor digits per ISO 4217 currency that a provider of ours can settle in.
EXPONENTS = {"CNY": 2, "HKD": 2, "USD": 2, "EUR": 2, "GBP": 2, "JPY": 0, "KRW": 0}
SYMBOLS = {"CNY": "¥", "HKD": "HK$", "USD": "US$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "KRW": "₩"}

# The networks cap a single payment at 100 million yuan (Alipay total_amount); the API says so early.
MINOR_MAX = 10_000_000_000

_MAJOR = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Money:
    """``minor`` units (fen) of ``currency`` (ISO 4217, upper case).  May be negative in statements.

    ``Money(1250, "CNY")`` is 12.50 yuan.  Raises ValueError for a currency without an exponent,
    TypeError for anything but an int.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"{self.minor!r} is not a whole number of minor units")
        if self.currency not in EXPONENTS:
            raise ValueError(f"{self.currency!r} is not a currency we know")

    @classmethod
    def from_major(cls, text: str, currency: str) -> Money:
        """Read a decimal string of major units exactly.  Raises ValueError.

        ``("12.5", "CNY") -> Money(1250, "CNY")``; ``"1.005"``, ``"1e3"``, ``"１"`` and ``""`` are refused.
        """
        exponent = EXPONENTS.get(currency)
        if exponent is None:
            raise ValueError(f"{currency!r} is not a currency we know")
        match = _MAJOR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:32]!r} is not a decimal amount")
        sign, whole, fraction = match[1], match[2], match[3] or ""
        if len(fraction.rstrip("0")) > exponent:
            raise ValueError(f"{text[:32]!r} is not a whole number of {currency} minor units")
        minor = int(whole) * 10**exponent + int(fraction[:exponent].ljust(exponent, "0") or "0")
        return cls(-minor if sign else minor, currency)

    def major(self) -> str:
        """Plain decimal text as the networks want it: ``Money(1250, "CNY").major() -> "12.50"``."""
        exponent = EXPONENTS[self.currency]
        sign, digits = ("-" if self.minor < 0 else ""), str(abs(self.minor)).rjust(exponent + 1, "0")
        return sign + (f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits)

    def text(self) -> str:
        """For people, the same in every language of ours: ``¥1,234.50``."""
        whole, _, fraction = self.major().lstrip("-").partition(".")
        grouped = f"{int(whole):,}" + (f".{fraction}" if fraction else "")
        return ("-" if self.minor < 0 else "") + SYMBOLS[self.currency] + grouped

    def __str__(self) -> str:
        return f"{self.major()} {self.currency}"
