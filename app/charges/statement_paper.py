"""A statement on A4 and as a spreadsheet: the same figures, titles and units in the reader's language.  Pure.

The same statement gives the same bytes on every run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.errors import MissingGlyph
from app.qr.print.marks import DARK, GREY, PALE, Box, Face, Line, Mark, Page, Text
from app.qr.print.pdf import pdf
from app.qr.print.typefaces import Weight, cleaned, fitted, width_of

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 18.0  # A4, millimetres
ROW, BODY, SMALL = 6.2, 3.3, 2.8
COLUMN = 26.0  # of a figure
BOTTOM = HEIGHT - MARGIN - 6
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins so


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts: the first column to the left, all others to the right; the last row may be a total."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_total: bool = False


@dataclass(frozen=True, slots=True)
class Paper:
    """What stands on the sheets.  ``facts`` are names with their values, below the title."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    foot: str
    warning: str = ""  # in test mode
    language: str = "en"


def pdf_of(paper: Paper) -> bytes:
    """As many pages as it takes."""
    pages = list(_pages(paper))
    faces = [
        Face(0, 0, WIDTH, HEIGHT, (*marks, *_foot(paper, number, len(pages))))
        for number, marks in enumerate(pages, 1)
    ]
    sheets = [Page(WIDTH, HEIGHT, (face,)) for face in faces]
    return pdf(sheets, title=f"{paper.title} {paper.facts[0][1]}", language=paper.language)


def csv_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """As spreadsheets read it, piece by piece, without formulas."""
    yield "\ufeff" + _line(head)
    for row in rows:
        yield _line(row)


def printable(text: str) -> str:
    """One line of it, with a box for what the fonts lack: it must come out whatever a shop is called."""
    text = cleaned(text)
    try:
        width_of(text)
    except MissingGlyph as missing:
        text = "".join(["□" if char in missing.characters else char for char in text])
    return text


def _pages(paper: Paper) -> Iterator[tuple[Mark, ...]]:
    marks, y = _head(paper)
    for table in [each for each in paper.tables if each.rows]:
        if y + 4 * ROW > BOTTOM:
            yield tuple(marks)
            marks, y = [], MARGIN
        marks.append(_left(table.title, MARGIN, y + ROW, BODY * 1.15, weight=Weight.BOLD))
        marks += _row(table.head, y + 2.2 * ROW, SMALL, colour=GREY)
        y += 2.2 * ROW + 2
        for number, row in enumerate(table.rows, 1):
            if y + ROW > BOTTOM:
                yield tuple(marks)
                marks, y = _row(table.head, MARGIN + ROW, SMALL, colour=GREY), MARGIN + ROW + 2
            is_total = table.has_total and number == len(table.rows)
            marks.append(
                Line(MARGIN, y, WIDTH - MARGIN, y, 0.4 if is_total else 0.1, DARK if is_total else PALE)
            )
            marks += _row(row, y + 0.68 * ROW, BODY, weight=Weight.BOLD if is_total else Weight.REGULAR)
            y += ROW
        y += ROW
    yield tuple(marks)


def _head(paper: Paper) -> tuple[list[Mark], float]:
    marks: list[Mark] = [_left(paper.title, MARGIN, MARGIN + 6, 7, weight=Weight.BOLD)]
    y = MARGIN + 14
    if paper.warning:
        marks.append(Box(MARGIN, y - 4, WIDTH - 2 * MARGIN, 6, PALE, 1))
        marks.append(_left(paper.warning, MARGIN + 2, y + 0.2, BODY, weight=Weight.BOLD))
        y += 8
    for name, value in paper.facts:
        marks.append(_left(name, MARGIN, y, BODY, colour=GREY))
        marks.append(_left(_fit(value, 130, BODY), MARGIN + 42, y, BODY))
        y += 5.2
    return marks, y + 3


def _foot(paper: Paper, number: int, count: int) -> tuple[Mark, ...]:
    y = HEIGHT - MARGIN + 3
    page = f"{number} / {count}"
    return (
        Line(MARGIN, y - 5, WIDTH - MARGIN, y - 5, 0.1, PALE),
        _left(_fit(paper.foot, WIDTH - 2 * MARGIN - 20, SMALL), MARGIN, y, SMALL, colour=GREY),
        _right(page, WIDTH - MARGIN, y, SMALL, colour=GREY),
    )


def _row(
    cells: Sequence[str], y: float, size: float, *, colour: str = DARK, weight: Weight = Weight.REGULAR
) -> list[Mark]:
    """The first cell has what the others leave."""
    room = WIDTH - 2 * MARGIN - COLUMN * (len(cells) - 1) - 2
    marks: list[Mark] = [_left(_fit(cells[0], room, size, weight), MARGIN, y, size, colour, weight)]
    for place, cell in enumerate(reversed(cells[1:])):
        marks.append(_right(cell, WIDTH - MARGIN - COLUMN * place, y, size, colour, weight))
    return marks


def _fit(text: str, width: float, size: float, weight: Weight = Weight.REGULAR) -> str:
    lines, _ = fitted(printable(text), width, size=size, least=size, weight=weight)
    return lines[0] if lines else ""


def _left(
    text: str, x: float, y: float, size: float, colour: str = DARK, weight: Weight = Weight.REGULAR
) -> Text:
    return Text(x, y, printable(text), size, colour, weight)


def _right(
    text: str, x: float, y: float, size: float, colour: str = DARK, weight: Weight = Weight.REGULAR
) -> Text:
    text = printable(text)
    natural = width_of(text, weight)
    size = min(size, (COLUMN - 1.5) / natural) if natural else size
    return Text(x - natural * size, y, text, size, colour, weight)


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return out.getvalue()
