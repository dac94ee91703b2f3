"""Tickets for 58 and 80 mm thermal printers as ESC/POS bytes: the printer's own QR, or a picture.

Pure.  Source: Epson, ESC/POS command reference: ESC @, ESC a, ESC E, GS !, GS B, FS &, GS ( k (functions 165,
167, 169, 180, 181 for QR), GS v 0, GS V.  Text is GBK, which FS & switches on; Latin printers without
Chinese take the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from app.errors import InvalidRequest, MissingGlyph
from app.qr.encode import Level, matrix_for
from app.qr.print import raster
from app.qr.print.card import TEST_WORDS, Card
from app.qr.print.marks import Face, Mark, Page, Paragraph, Symbol, column, height_of, test_line
from app.qr.print.typefaces import Weight, cleaned
from app.qr.render import QUIET_ZONE

DOTS_PER_MM = 8  # 203 dpi
# Dots a module: 8 (1 mm) reads from a counter's far side, 4 (0.5 mm) is the least that heat keeps apart.
MODULE_DOTS, MODULE_DOTS_MIN = 8, 4
# A strip of a picture has 255 rows at most on old printers.
STRIP_ROWS = 240

_BLACK = "#000000"
_INITIALISE, _CHINESE, _CENTRE = b"\x1b@", b"\x1c&", b"\x1ba\x01"
_FEED_AND_CUT = b"\n\n\n\x1dVB\x00"


@dataclass(frozen=True, slots=True)
class Roll:
    """A paper roll: what of it the head prints, in dots of an eighth of a millimetre."""

    paper_mm: int
    dots: int


ROLLS = (Roll(58, 384), Roll(80, 576))


def native(card: Card, roll: Roll) -> bytes:
    """Text and the printer's own QR: small, sharp and quick.  Raises MissingGlyph, InvalidRequest."""
    size = matrix_for(card.address, Level.M).size
    parts = [_INITIALISE, _CHINESE, _CENTRE]
    if card.test:
        parts.append(_line(TEST_WORDS, size=0x11, inverse=True))
        parts += [_line(words.test) for words in card.words]
    parts += [_line(card.title, size=0x11), _line(card.label)]
    parts += [
        _line(card.amount, size=0x11),
        *[_line(text) for text in card.typed],
        b"\n",
        *_qr(card.address, _module_dots(size, roll)),
        b"\n",
    ]
    parts.append(_line(card.code, size=0x11))
    for words in card.words:
        parts += [_line(words.scan, bold=True), _line(words.wallets), _line(words.check)]
    parts += [_line(card.note), *[_line(text) for text in card.foot], _line(card.serial), _FEED_AND_CUT]
    return b"".join(parts)


def picture(card: Card, roll: Roll) -> bytes:
    """The whole ticket as a picture, for printers without QR or without Chinese.  Raises as ``ticket``."""
    dots = raster.paint(ticket(card, roll), DOTS_PER_MM).convert("L").point(lambda grey: 255 * (grey > 140))
    parts = [_INITIALISE]
    for top in range(0, dots.height, STRIP_ROWS):
        strip = dots.crop((0, top, dots.width, min(top + STRIP_ROWS, dots.height)))
        parts.append(_strip(strip.convert("1")))
    return b"".join([*parts, _FEED_AND_CUT])


def ticket(card: Card, roll: Roll) -> Page:
    """The ticket as a page as wide as the head prints.  Raises MissingGlyph, InvalidRequest."""
    width = roll.dots / DOTS_PER_MM
    matrix = matrix_for(card.address, Level.M)
    side = _module_dots(matrix.size, roll) * (matrix.size + 2 * QUIET_ZONE) / DOTS_PER_MM
    above = [
        Paragraph(card.title, 6, 3.2, Weight.BOLD, _BLACK, lines=2),
        Paragraph(card.label, 3.4, 2.6, colour=_BLACK, lines=2),
        Paragraph(card.amount, 8, 4, Weight.BOLD, _BLACK),
        *[Paragraph(text, 3, 2.4, colour=_BLACK) for text in card.typed],
    ]
    if card.test:
        above.insert(0, Paragraph(test_line(card), 4, 2.8, Weight.BOLD, "#ffffff", lines=3, pill=_BLACK))
    below = [Paragraph(card.code, 6, 3.2, Weight.BOLD, _BLACK)]
    for words in card.words:
        below.append(Paragraph(words.scan, 3.8, 2.8, Weight.BOLD, _BLACK))
        below += [
            Paragraph(text, 3, 2.6, colour=_BLACK, lines=2) for text in (words.wallets, words.check) if text
        ]
    below += [
        Paragraph(text, 2.6, 2.2, colour=_BLACK, lines=2) for text in (card.note, *card.foot, card.serial)
    ]
    room = width - 2
    above_mm, below_mm = height_of(above, room), height_of(below, room)
    marks: tuple[Mark, ...] = (
        *column(above, (1, 1, room, above_mm)),
        Symbol((width - side) / 2, above_mm + 1, side, matrix, _BLACK, "#ffffff"),
        *column(below, (1, above_mm + side + 1, room, below_mm)),
    )
    height = above_mm + side + below_mm + 3
    return Page(width, height, (Face(0, 0, width, height, marks),))


def _module_dots(size: int, roll: Roll) -> int:
    dots = min(MODULE_DOTS, roll.dots // (size + 2 * QUIET_ZONE))
    if dots < MODULE_DOTS_MIN:
        raise InvalidRequest(
            f"a code of {size} modules is too dense for {roll.paper_mm} mm paper",
            code="too_dense",
            param="kind",
        )
    return dots


def _line(text: str, *, size: int = 0, bold: bool = False, inverse: bool = False) -> bytes:
    """A line in GBK; nothing for no text.  ``size`` 0x11 is double in both directions."""
    text = cleaned(text).replace("¥", "￥")  # GBK has the wide one only
    if not text:
        return b""
    missing = "".join(dict.fromkeys(char for char in text if not _is_gbk(char)))
    if missing:
        raise MissingGlyph(missing)
    if inverse:
        text = f" {text} "
    on = b"\x1d!" + bytes([size]) + b"\x1bE" + bytes([bold]) + b"\x1dB" + bytes([inverse])
    return on + text.encode("gbk") + b"\x1dB\x00\x1bE\x00\x1d!\x00\n"


def _is_gbk(char: str) -> bool:
    try:
        char.encode("gbk")
    except UnicodeEncodeError:
        return False
    return True


def _qr(address: str, dots: int) -> tuple[bytes, ...]:
    """Model 2, ``dots`` a module, level M; store, then print."""
    return (
        _symbol_command(65, b"2\x00"),
        _symbol_command(67, bytes([dots])),
        _symbol_command(69, b"1"),
        _symbol_command(80, b"0" + address.encode("ascii")),
        _symbol_command(81, b"0"),
    )


def _symbol_command(function: int, data: bytes) -> bytes:
    return b"\x1d(k" + (len(data) + 2).to_bytes(2, "little") + b"1" + bytes([function]) + data


def _strip(strip: Image.Image) -> bytes:
    """GS v 0 counts bytes across and rows down; a set bit is a dot, so the picture is turned over."""
    across = (strip.width + 7) // 8
    bits = bytes([byte ^ 0xFF for byte in strip.tobytes()])
    return b"\x1dv0\x00" + across.to_bytes(2, "little") + strip.height.to_bytes(2, "little") + bits
