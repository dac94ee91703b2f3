"""Where labels lie on the sheets that shops buy, and what stands on each.  Pure.

Positions are the vendors' own: Avery L7164 (3 x 4) and L7160 (3 x 7), Zweckform 3474 (3 x 8), all A4;
compared with Debian's glabels-data 3.4.1, whose figures differ by a millimetre at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import InvalidRequest
from app.qr.print.card import TEST_COLOUR, Card, Look, Placing
from app.qr.print.marks import (
    DARK,
    GREY,
    WHITE,
    Box,
    Face,
    Line,
    Mark,
    Page,
    Paragraph,
    Text,
    code_marks,
    column,
    joined,
    test_line,
)
from app.qr.print.posters import A4
from app.qr.print.typefaces import Weight, cleaned

SAFE_MM = 2.5  # inside of a label's edge: half a millimetre of offset, and the cut's own spread
RULER_MM = 100


@dataclass(frozen=True, slots=True)
class Stock:
    """A sheet of labels: ``left`` and ``top`` of the first one, the step to the next.  Millimetres."""

    name: str
    columns: int
    rows: int
    width: float
    height: float
    left: float
    top: float
    step_x: float
    step_y: float
    code: float  # the symbol's side with its quiet zone

    @property
    def count(self) -> int:
        """Labels on a sheet."""
        return self.columns * self.rows

    def corner(self, number: int) -> tuple[float, float]:
        """Top left of the label; 0 is the first, counted along the rows."""
        row, across = divmod(number, self.columns)
        return self.left + across * self.step_x, self.top + row * self.step_y


STOCKS = (
    Stock("Avery L7164", 3, 4, 63.5, 72.0, 7.2, 4.5, 66.0, 72.0, 46.0),
    Stock("Avery L7160", 3, 7, 63.5, 38.1, 7.25, 15.15, 66.0, 38.1, 33.0),
    Stock("Avery Zweckform 3474", 3, 8, 70.0, 37.0, 0.0, 0.5, 70.0, 37.0, 32.0),
)


def sheets(stock: Stock, cards: Sequence[Card], look: Look, placing: Placing) -> tuple[Page, ...]:
    """The cards in order, beginning at label ``placing.start`` of the first sheet.  Raises InvalidRequest."""
    if not 1 <= placing.start <= stock.count:
        raise InvalidRequest(
            f"the labels of this sheet are numbered 1 to {stock.count}", code="start_invalid", param="start"
        )
    places: list[list[Face]] = []
    for turn, card in enumerate(cards, placing.start - 1):
        number = turn % stock.count
        if not places or number == 0:
            places.append([])
        x, y = stock.corner(number)
        marks = _upright(card, look, stock) if stock.height > stock.width else _lying(card, look, stock)
        places[-1].append(Face(x + placing.right_mm, y + placing.down_mm, stock.width, stock.height, marks))
    return tuple([Page(*A4, tuple(faces)) for faces in places])


def calibration(stock: Stock, placing: Placing, lines: Sequence[str]) -> Page:
    """The outlines of all labels, to be held against a sheet; ``lines`` say how, in the reader's language.

    A ruler of 100 mm shows whether the printer scales, which no offset could mend.
    """
    marks: list[Mark] = []
    for number in range(stock.count):
        x, y = stock.corner(number)
        x, y = x + placing.right_mm, y + placing.down_mm
        marks += _outline(x, y, stock.width, stock.height)
        marks.append(Text(x + stock.width / 2, y + 8, str(number + 1), 5, GREY, Weight.BOLD, "middle"))
        if number == 0:
            continue  # the words stand there
        middle_x, middle_y = x + stock.width / 2, y + stock.height / 2
        marks += [
            Line(middle_x - 3, middle_y, middle_x + 3, middle_y, 0.1, DARK),
            Line(middle_x, middle_y - 3, middle_x, middle_y + 3, 0.1, DARK),
        ]
    marks += _ruler((A4[0] - RULER_MM) / 2, stock.corner(2 * stock.columns)[1] - 5)
    told = [Paragraph(cleaned(line), 2.6, 2, lines=3) for line in (stock.name, *lines)]
    first_x, first_y = stock.corner(0)
    room = stock.width - 2 * SAFE_MM
    marks += column(told, (first_x + SAFE_MM, first_y + 9, room, stock.height - 9 - SAFE_MM), anchor="start")
    return Page(*A4, (Face(0, 0, *A4, tuple(marks)),))


def _upright(card: Card, look: Look, stock: Stock) -> tuple[Mark, ...]:
    """Text above and below the code."""
    inset = SAFE_MM + (1 if card.test else 0)  # clear of the frame
    room = stock.width - 2 * inset
    above = [
        Paragraph(card.label or card.title, 5.5, 2.8, Weight.BOLD),
        Paragraph(joined(card.title if card.label else "", card.amount), 3, 2, colour=GREY),
    ]
    below = [
        Paragraph(joined(*[words.scan for words in card.words], card.code), 3, 2, Weight.BOLD),
        Paragraph(joined(*[words.wallets for words in card.words[:1]]), 2.4, 1.7, colour=GREY),
        Paragraph(card.verify, 2, 1.5, colour=GREY),
    ]
    top = (stock.height - stock.code) / 2
    edge = _test_edge(card, stock)
    if card.test:
        above[1] = Paragraph(test_line(card), 2.8, 1.8, Weight.BOLD, WHITE, pill=TEST_COLOUR)
    return (
        *edge,
        *column(above, (inset, SAFE_MM, room, top - SAFE_MM)),
        *code_marks(card, look, (stock.width - stock.code) / 2, top, stock.code),
        *column(below, (inset, top + stock.code, room, top - SAFE_MM)),
    )


def _lying(card: Card, look: Look, stock: Stock) -> tuple[Mark, ...]:
    """The code at the left, text beside it."""
    left = SAFE_MM + stock.code
    room = stock.width - left - SAFE_MM - (1 if card.test else 0)
    told = [
        Paragraph(card.label or card.title, 6.5, 2.6, Weight.BOLD, lines=3),
        Paragraph(card.title if card.label else "", 2.8, 1.9, lines=2),
        Paragraph(card.amount, 4.6, 2.4, Weight.BOLD),
        *[Paragraph(words.scan, 2.6, 1.9, colour=GREY) for words in card.words],
        Paragraph(card.code, 3.2, 1.9, Weight.BOLD),
        Paragraph(card.verify, 2, 1.4, colour=GREY),
    ]
    if card.test:
        told.insert(0, Paragraph(test_line(card), 2.6, 1.5, Weight.BOLD, WHITE, lines=2, pill=TEST_COLOUR))
    return (
        *_test_edge(card, stock),
        *code_marks(card, look, SAFE_MM - 1, (stock.height - stock.code) / 2, stock.code),
        *column(told, (left, SAFE_MM, room, stock.height - 2 * SAFE_MM), anchor="start"),
    )


def _test_edge(card: Card, stock: Stock) -> tuple[Mark, ...]:
    """A red frame just inside of the label."""
    if not card.test:
        return ()
    inset, thick = 0.8, 1.0
    width, height = stock.width - 2 * inset, stock.height - 2 * inset
    return (
        Box(inset, inset, width, height, TEST_COLOUR, 2),
        Box(inset + thick, inset + thick, width - 2 * thick, height - 2 * thick, WHITE, 1.2),
    )


def _outline(x: float, y: float, width: float, height: float) -> list[Mark]:
    right, bottom = x + width, y + height
    ends = ((x, y, right, y), (right, y, right, bottom), (right, bottom, x, bottom), (x, bottom, x, y))
    return [Line(*end, 0.15, DARK) for end in ends]


def _ruler(x: float, y: float) -> list[Mark]:
    marks: list[Mark] = [Line(x, y, x + RULER_MM, y, 0.2, DARK)]
    for mm in range(0, RULER_MM + 1, 10):
        tall = 2.5 if mm % 50 == 0 else 1.5
        marks += [Line(x + mm, y - tall, x + mm, y, 0.2, DARK)]
    marks.append(Text(x + RULER_MM / 2, y - 3.2, f"{RULER_MM} mm", 2.6, DARK, Weight.BOLD, "middle"))
    return marks
