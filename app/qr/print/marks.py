"""What stands on a page, in millimetres from the top left corner; painters turn it into bytes.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.errors import InvalidRequest
from app.qr.encode import Level, Matrix
from app.qr.print.card import MODULE_MM_MIN, TEST_COLOUR, TEST_WORDS, Card, Look, symbol_of
from app.qr.print.logo import Logo, cover_of
from app.qr.print.typefaces import BASELINE, LINE_HEIGHT, Weight, fitted, width_of
from app.qr.render import QUIET_ZONE

Anchor = Literal["start", "middle"]

DARK, GREY, WHITE, PALE = "#16202c", "#55606e", "#ffffff", "#dce4f0"


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle, its corners rounded by ``radius``."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    radius: float = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A straight stroke; ``dash`` is the length of its dashes and gaps."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    colour: str
    dash: float = 0


@dataclass(frozen=True, slots=True)
class Text:
    """One line; ``y`` is the baseline, ``size`` one em."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    weight: Weight = Weight.REGULAR
    anchor: Anchor = "start"

    @property
    def left(self) -> float:
        """Where the first letter begins."""
        return self.x - (width_of(self.text, self.weight) * self.size / 2 if self.anchor == "middle" else 0)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A code with its quiet zone on its tile: ``side`` is the tile's."""

    x: float
    y: float
    side: float
    matrix: Matrix
    ink: str
    tile: str

    @property
    def module(self) -> float:
        """Millimetres a module."""
        return self.side / (self.matrix.size + 2 * QUIET_ZONE)


@dataclass(frozen=True, slots=True)
class Picture:
    """A square picture."""

    x: float
    y: float
    side: float
    logo: Logo


Mark = Box | Line | Text | Symbol | Picture


@dataclass(frozen=True, slots=True)
class Face:
    """A part of a page with corners of its own; ``turned`` stands on its head, to be folded."""

    x: float
    y: float
    width: float
    height: float
    marks: tuple[Mark, ...]
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A sheet.  ``margin`` lies outside the trimmed size (crop marks stand there), ``bleed`` within it."""

    width: float
    height: float
    faces: tuple[Face, ...]
    margin: float = 0
    bleed: float = 0


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text to be set into a column: as large as ``size`` if it fits, in ``lines`` lines at most."""

    text: str
    size: float
    least: float
    weight: Weight = Weight.REGULAR
    colour: str = DARK
    lines: int = 1
    pill: str = ""  # the colour of a plate behind it, if any


def code_marks(card: Card, look: Look, x: float, y: float, side: float) -> tuple[Mark, ...]:
    """The symbol, and what stands in its middle: the logo, or the word TEST, which no scissors remove.

    Raises InvalidRequest (``too_dense``) where modules would be too small to print.
    """
    matrix = symbol_of(card, look)
    symbol = Symbol(x, y, side, matrix, look.ink, look.tile)
    module = symbol.module
    if module < MODULE_MM_MIN:
        raise InvalidRequest(
            f"the code's modules would be {module:.2f} mm wide, and {MODULE_MM_MIN} mm is the least",
            code="too_dense",
            param="kind",
        )
    middle_x, middle_y = x + side / 2, y + side / 2
    if card.test:
        width = cover_of(matrix.size, Level.Q) * module
        height = 3 * module
        size = min(0.66 * height, 0.9 * width / width_of(TEST_WORDS, Weight.BOLD))
        return (
            symbol,
            Box(middle_x - width / 2, middle_y - height / 2, width, height, TEST_COLOUR),
            Text(middle_x, middle_y + 0.36 * size, TEST_WORDS, size, WHITE, Weight.BOLD, "middle"),
        )
    if look.logo is None:
        return (symbol,)
    plate = cover_of(matrix.size, Level.H) * module
    inner = plate - module
    return (
        symbol,
        Box(middle_x - plate / 2, middle_y - plate / 2, plate, plate, look.tile),
        Picture(middle_x - inner / 2, middle_y - inner / 2, inner, look.logo),
    )


def test_line(card: Card) -> str:
    """What a test print says of itself, in each of its languages."""
    return joined(*[words.test for words in card.words]) or TEST_WORDS


def joined(*texts: str) -> str:
    """The texts that there are, with a dot between them; the font's dot brings air of its own."""
    return "·".join([text for text in texts if text])


def height_of(paragraphs: Sequence[Paragraph], width: float) -> float:
    """What a column takes at least, in millimetres."""
    total = 0.0
    for paragraph in paragraphs:
        lines, size = _set(paragraph, width)
        total += len(lines) * size * LINE_HEIGHT + (0.5 * size if paragraph.pill and lines else 0)
    return total


def column(
    paragraphs: Sequence[Paragraph],
    box: tuple[float, float, float, float],
    *,
    anchor: Anchor = "middle",
    spread: bool = False,
) -> tuple[Mark, ...]:
    """Paragraphs one below the other in ``box`` (x, y, width, height), in its middle or spread over it.

    If they are too many for the box, all become smaller.
    """
    x, y, width, height = box
    paragraphs = _shrunk([paragraph for paragraph in paragraphs if paragraph.text], width, height)
    shown = [(paragraph, *_set(paragraph, width)) for paragraph in paragraphs]
    spare = max(0.0, height - height_of(paragraphs, width))
    gap = spare / (len(shown) + 1) if spread else 0.0
    at = y + (gap if spread else spare / 2)
    marks: list[Mark] = []
    for paragraph, lines, size in shown:
        if paragraph.pill:
            plate = max([width_of(line, paragraph.weight) for line in lines]) * size + 1.4 * size
            tall = (LINE_HEIGHT * len(lines) + 0.3) * size
            left = x + (width - plate) / 2 if anchor == "middle" else x
            plate = min(plate, width)
            marks.append(Box(max(left, x), at, plate, tall, paragraph.pill, min(tall / 2, size)))
            at += 0.15 * size
        inset = 0.7 * size if paragraph.pill and anchor == "start" else 0
        across = x + width / 2 if anchor == "middle" else x + inset
        for line in lines:
            marks.append(
                Text(across, at + BASELINE * size, line, size, paragraph.colour, paragraph.weight, anchor)
            )
            at += LINE_HEIGHT * size
        at += (0.35 * size if paragraph.pill else 0) + gap
    return tuple(marks)


def _shrunk(paragraphs: Sequence[Paragraph], width: float, height: float) -> Sequence[Paragraph]:
    for percent in range(100, 40, -5):
        scale = percent / 100
        smaller = [replace(one, size=scale * one.size, least=scale * one.least) for one in paragraphs]
        if height_of(smaller, width) <= height + 0.01:
            break
    return smaller


def _set(paragraph: Paragraph, width: float) -> tuple[tuple[str, ...], float]:
    room = width - 1.4 * paragraph.size if paragraph.pill else width
    return fitted(
        paragraph.text,
        room,
        size=paragraph.size,
        least=paragraph.least,
        lines=paragraph.lines,
        weight=paragraph.weight,
    )
