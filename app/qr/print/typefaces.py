"""Which letters paper can show, how wide they are, and where a line breaks.  Pure but for reading two files.

Two weights of Noto Sans SC travel with Mafu (``fonts/``, OFL 1.1).  A character that the bold one lacks is
set in the regular one; what neither has is an error that names it, never an empty box.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from reportlab.pdfbase.ttfonts import TTFont

from app.errors import MissingGlyph

FOLDER = Path(__file__).resolve().parents[3] / "fonts"
LINE_HEIGHT = 1.3  # em; Chinese needs more air than Latin
BASELINE = 1.03  # em below the top of its line: half of the air, and the 0.88 em above a Chinese baseline
_CUT = "…"
# A Chinese character, which keeps the stop behind it; or a word of anything else, with its space.
_WORDS = re.compile(r"[\u2e80-\uffff][，。、：；！？）》」·]*|[^\u2e80-\uffff ]+ ?| ")


class Weight(StrEnum):
    """The file of each is its name."""

    REGULAR = "NotoSansSC-Regular"
    BOLD = "NotoSansSC-Bold"


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one font; ``width`` in em."""

    weight: Weight
    text: str
    width: float


@lru_cache(maxsize=2)
def font_of(weight: Weight) -> TTFont:
    """The font as ReportLab reads it, once a process (half a second, 20 MB); for each document its subset."""
    return TTFont(weight, str(path_of(weight)), asciiReadable=0)


def path_of(weight: Weight) -> Path:
    """The font's file."""
    return FOLDER / f"{weight}.ttf"


@lru_cache(maxsize=4096)
def runs_of(text: str, weight: Weight = Weight.REGULAR) -> tuple[Run, ...]:
    """A line as runs of one font each.  Raises MissingGlyph, which names every character at once."""
    missing = "".join(dict.fromkeys(char for char in text if not _widths(Weight.REGULAR).get(ord(char))))
    if missing:
        raise MissingGlyph(missing)
    found = []
    for chosen, chars in groupby(
        text, lambda char: weight if ord(char) in _widths(weight) else Weight.REGULAR
    ):
        run = "".join(chars)
        found.append(Run(chosen, run, sum([_widths(chosen)[ord(char)] for char in run]) / 1000))
    return tuple(found)


def width_of(text: str, weight: Weight = Weight.REGULAR) -> float:
    """In em.  Raises MissingGlyph."""
    return sum([run.width for run in runs_of(text, weight)])


def fitted(
    text: str, width: float, *, size: float, least: float, lines: int = 1, weight: Weight = Weight.REGULAR
) -> tuple[tuple[str, ...], float]:
    """Lines and their size: as large as ``size``, as small as ``least``, then cut off with an ellipsis.

    All in one unit.  One line is preferred down to 70 % of the size, a second one from there.
    """
    text = cleaned(text)
    if not text:
        return (), size
    natural = width_of(text, weight)
    single = width / natural if natural else size
    if single >= (least if lines == 1 else max(least, 0.7 * size)):
        return (text,), min(size, single)
    step = size
    while step > least:
        broken = _broken(text, width / step, weight)
        if len(broken) <= lines:
            return tuple(broken), step
        step *= 0.94
    broken = _broken(text, width / least, weight)
    if len(broken) > lines:
        broken[lines - 1 :] = [_cut("".join(broken[lines - 1 :]), width / least, weight)]
    return tuple(broken), least


def cleaned(text: str) -> str:
    """One line of it: whatever is no printable character becomes a space, and spaces do not pile up."""
    return " ".join("".join([char if char.isprintable() else " " for char in text]).split())


def _broken(text: str, width: float, weight: Weight) -> list[str]:
    """Lines of at most ``width`` em: Chinese breaks anywhere, Latin between words, unless one is longer."""
    lines, line = [], ""
    for word in _WORDS.findall(text):
        if line and width_of((line + word).rstrip(), weight) > width:
            lines.append(line.rstrip())
            line = ""
        line = (line + word).lstrip()
        while width_of(line.rstrip(), weight) > width and len(line) > 1:
            kept = max(1, next(n for n in range(len(line)) if width_of(line[: n + 1], weight) > width))
            lines.append(line[:kept])
            line = line[kept:]
    return [*lines, line] if line else lines


def _cut(text: str, width: float, weight: Weight) -> str:
    if width_of(text, weight) <= width:
        return text
    while text and width_of(text + _CUT, weight) > width:
        text = text[:-1]
    return text.rstrip() + _CUT


@lru_cache(maxsize=2)
def _widths(weight: Weight) -> dict[int, float]:
    """By code point, in thousandths of an em."""
    face = font_of(weight).face
    return {code: face.charWidths.get(code, 0) for code in face.charToGlyph if code >= 0x20}
