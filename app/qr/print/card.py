"""What a printed code says and how it may look; whatever would not be readable is refused here.  Pure.

Sources: WCAG 2.2, relative luminance and contrast ratio; ISO/IEC 18004:2015 section 6.3.8 (dark on light).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.errors import InvalidRequest
from app.qr.encode import Level, Matrix, matrix_for
from app.qr.print.logo import Logo

# Readers manage 1.7:1 on a clean picture; a phone in a dim bar does not.  7:1 is WCAG's own "enhanced".
CODE_CONTRAST_MIN = 7.0
TEXT_CONTRAST_MIN = 4.5
# Below half a millimetre a module, the dots of a label printer run into each other.
MODULE_MM_MIN = 0.5
# Offsets of a sheet in a home printer's tray; more than this is the wrong paper.
OFFSET_MM_MAX = 0.5

TEST_COLOUR = "#a81d2a"
TEST_WORDS = "TEST 测试"
_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Words:
    """What is said to the payer in one language, ready to print; ``language`` is "zh" or "en".

    ``wallets`` names the enabled ones in plain text ("支付宝、微信支付"): marks are their owners' own;
    ``amount`` is said where the payer types it, ``whose`` before the address that tells whose code it is.
    """

    language: str
    scan: str
    wallets: str = ""
    check: str = ""
    test: str = ""
    amount: str = ""
    whose: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One printed code.  One ``Words`` prints one language, two print both, the first one larger.

    ``title`` is who is paid; ``label`` the store, table or purpose; ``amount`` may be left out, and ``open``
    says that the payer types it; ``code`` is what people compare and type ("7K2M-9QXT-4CWJ"), ``verify``
    where ("pay.example.com/v"); ``note`` and ``serial`` are small print.
    """

    address: str
    title: str
    words: tuple[Words, ...]
    amount: str = ""
    label: str = ""
    code: str = ""
    note: str = ""
    serial: str = ""
    verify: str = ""
    open: bool = False
    test: bool = False

    @property
    def host(self) -> str:
        """Where the address leads, for people who read before they scan."""
        return urlsplit(self.address).netloc.lower()

    @property
    def typed(self) -> tuple[str, ...]:
        """That the payer types the amount, in each language, where that is so."""
        return tuple([words.amount for words in self.words if words.amount and self.open])

    @property
    def foot(self) -> tuple[str, ...]:
        """Where whoever doubts finds out whose code this is; for a charge, where its address leads."""
        if not self.verify:
            return (self.host,)
        asked = [words.whose for words in self.words if words.whose]
        return (*asked, f"{self.verify}/{self.code}")


@dataclass(frozen=True, slots=True)
class Look:
    """Colours as ``#rrggbb`` and the shop's logo.  Raises InvalidRequest for what scanners may not read.

    ``ink`` on ``tile`` is the code; ``accent`` is the frame, under white text.  The neutral navy imitates no
    wallet's stand.
    """

    ink: str = "#000000"
    tile: str = "#ffffff"
    accent: str = "#1f3f77"
    logo: Logo | None = None

    def __post_init__(self) -> None:
        for param in ("ink", "tile", "accent"):
            if _COLOUR.fullmatch(getattr(self, param)) is None:
                raise InvalidRequest("a colour is written #1f3f77", code="colour_invalid", param=param)
        found = contrast(self.ink, self.tile)
        if luminance(self.ink) >= luminance(self.tile):
            raise InvalidRequest(
                "a code is dark on light: many phones do not find the reverse",
                code="colour_inverted",
                param="ink",
            )
        if found < CODE_CONTRAST_MIN:
            raise InvalidRequest(
                f"the code stands out {found:.1f} to 1 from its ground, and needs {CODE_CONTRAST_MIN:.0f}",
                code="contrast_too_low",
                param="ink",
            )
        found = contrast("#ffffff", self.accent)
        if found < TEXT_CONTRAST_MIN:
            raise InvalidRequest(
                f"white text stands out {found:.1f} to 1 from the frame, and needs {TEXT_CONTRAST_MIN}",
                code="contrast_too_low",
                param="accent",
            )


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a sheet of labels begins (1 is the first) and by how much its printer is off, in millimetres."""

    start: int = 1
    right_mm: float = 0.0
    down_mm: float = 0.0

    def __post_init__(self) -> None:
        for param in ("right_mm", "down_mm"):
            if not -OFFSET_MM_MAX <= getattr(self, param) <= OFFSET_MM_MAX:
                raise InvalidRequest(
                    f"a sheet is moved by {OFFSET_MM_MAX} mm at most", code="offset_too_large", param=param
                )


def symbol_of(card: Card, look: Look) -> Matrix:
    """Level Q for wear on a counter, H where a logo covers the middle."""
    return matrix_for(card.address, Level.H if look.logo is not None and not card.test else Level.Q)


def accent_of(card: Card, look: Look) -> str:
    """The frame's colour: a test print is red all over, whatever the shop's colour."""
    return TEST_COLOUR if card.test else look.accent


def contrast(one: str, other: str) -> float:
    """From 1 to 21, the same both ways: ``("#000000", "#ffffff") -> 21.0``."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, from 0 to 1."""
    parts = [value / 255 for value in rgb(colour)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#1f3f77" -> (31, 63, 119)``."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
