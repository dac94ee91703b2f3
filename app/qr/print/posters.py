"""How posters, table tents, stickers and plain codes are laid out.  Pure: a card in, a page of marks out.

A paper of the A series is one drawing in three sizes.  Its coloured frame stays 5 % inside the paper, which
home printers cannot reach; only the sticker, which a print shop cuts, bleeds over its edge.
"""

from __future__ import annotations

from app.qr.print.card import TEST_COLOUR, Card, Look, accent_of
from app.qr.print.marks import (
    DARK,
    GREY,
    PALE,
    WHITE,
    Box,
    Face,
    Line,
    Mark,
    Page,
    Paragraph,
    code_marks,
    column,
    height_of,
    joined,
    test_line,
)
from app.qr.print.typefaces import Weight

A4, A5, A6 = (210.0, 297.0), (148.0, 210.0), (105.0, 148.5)

STICKER_MM = 80.0
BLEED_MM = 3.0
CROP_MM = 10.0  # outside the cut: 3 mm of bleed, then marks 5 mm long
PLAIN_MM = 60.0


def poster(card: Card, look: Look, size: tuple[float, float]) -> Page:
    """A stand for door or counter: who is paid above, the code on white below."""
    width, height = size
    unit = width / 105
    edge = 5 * unit
    head = _heading(card, unit)
    head_mm = max(24 * unit, height_of(head, 87 * unit) + 8 * unit)
    top, side_gap = edge + head_mm, 1.6 * unit
    inner = (edge + side_gap, top, width - 2 * (edge + side_gap), height - top - edge - side_gap)
    marks: list[Mark] = [
        Box(edge, edge, width - 2 * edge, height - 2 * edge, accent_of(card, look), 6 * unit),
        *column(head, (9 * unit, edge, 87 * unit, head_mm)),
        Box(*inner, WHITE, 4.6 * unit),
        *_card_marks(card, look, inner, unit),
    ]
    return Page(width, height, (Face(0, 0, width, height, tuple(marks)),))


def tent(card: Card, look: Look) -> Page:
    """An A5 sheet folded across: the same face before and behind, the upper one on its head."""
    width, height = A5
    half = height / 2
    face = _tent_face(card, look, width, half)
    fold = (
        Line(0, half, 6, half, 0.2, GREY, 1),
        Line(width - 6, half, width, half, 0.2, GREY, 1),
    )
    return Page(
        width,
        height,
        (
            Face(0, 0, width, half, face, turned=True),
            Face(0, half, width, half, face),
            Face(0, 0, width, height, fold),
        ),
    )


def sticker(card: Card, look: Look) -> Page:
    """80 mm square for the till, with 3 mm of bleed and crop marks."""
    page = STICKER_MM + 2 * CROP_MM
    low, high = CROP_MM, CROP_MM + STICKER_MM
    side = 55.0
    left = (page - side) / 2
    bleed = STICKER_MM + 2 * BLEED_MM
    top = [Paragraph(card.title, 4.8, 2.6, Weight.BOLD, WHITE)]
    if card.test:
        top = [Paragraph(test_line(card), 3.2, 1.8, Weight.BOLD, TEST_COLOUR, pill=WHITE), *top]
    elif card.label or card.amount:
        top.append(Paragraph(joined(card.label, card.amount), 3, 2, colour=PALE))
    bottom = [
        Paragraph(joined(*[words.scan for words in card.words]), 3.6, 2.2, Weight.BOLD, WHITE),
        Paragraph(joined(card.code, *[words.wallets for words in card.words[:1]]), 2.6, 1.8, colour=PALE),
        Paragraph(card.verify, 2.2, 1.6, colour=PALE),
    ]
    code_top = low + 13.6
    marks: list[Mark] = [
        Box(low - BLEED_MM, low - BLEED_MM, bleed, bleed, accent_of(card, look)),
        *column(top, (low + 4, low + 1.8, STICKER_MM - 8, 10.2)),
        Box(left - 0.8, code_top - 0.8, side + 1.6, side + 1.6, look.tile, 2.2),
        *code_marks(card, look, left, code_top, side),
        *column(bottom, (low + 4, code_top + side + 1.8, STICKER_MM - 8, high - code_top - side - 3.4)),
    ]
    for near, far in ((low, 0.0), (high, page)):
        out = -1 if far == 0 else 1
        begin, end = near + out * (BLEED_MM + 1), near + out * (BLEED_MM + 6)
        for across in (low, high):
            marks += [
                Line(across, begin, across, end, 0.1, DARK),
                Line(begin, across, end, across, 0.1, DARK),
            ]
    return Page(page, page, (Face(0, 0, page, page, tuple(marks)),), margin=CROP_MM, bleed=BLEED_MM)


def plain(card: Card, look: Look) -> Page:
    """The code alone, 6 cm wide, for a design of one's own; what people compare stands below."""
    lines = [Paragraph(card.code, 4.2, 2.4, Weight.BOLD)] if card.code else []
    if card.test:
        lines.insert(0, Paragraph(test_line(card), 3, 1.8, Weight.BOLD, WHITE, pill=TEST_COLOUR))
    below = height_of(lines, PLAIN_MM - 4) + 2 if lines else 0.0
    marks = (
        Box(0, 0, PLAIN_MM, PLAIN_MM + below, look.tile),
        *code_marks(card, look, 0, 0, PLAIN_MM),
        *column(lines, (2, PLAIN_MM - 1, PLAIN_MM - 4, below)),
    )
    return Page(PLAIN_MM, PLAIN_MM + below, (Face(0, 0, PLAIN_MM, PLAIN_MM + below, marks),))


def _heading(card: Card, unit: float) -> list[Paragraph]:
    lines = [
        Paragraph(card.title, 9 * unit, 4.4 * unit, Weight.BOLD, WHITE, lines=2),
        Paragraph(card.label, 4.2 * unit, 2.8 * unit, colour=PALE, lines=2),
    ]
    if card.test:
        pill = Paragraph(
            test_line(card), 4.2 * unit, 2.2 * unit, Weight.BOLD, TEST_COLOUR, lines=2, pill=WHITE
        )
        lines.insert(0, pill)
    return lines


def _card_marks(
    card: Card, look: Look, inner: tuple[float, float, float, float], unit: float
) -> tuple[Mark, ...]:
    """On the white part: what to do, how much, the code as large as is left, and what to compare."""
    x, y, width, height = inner
    pad = 3.2 * unit
    x, width = x + pad, width - 2 * pad
    first, *others = card.words
    above = [
        Paragraph(first.scan, 5.6 * unit, 3.6 * unit, Weight.BOLD, accent_of(card, look)),
        *[Paragraph(words.scan, 3.6 * unit, 2.6 * unit, colour=GREY) for words in others],
        Paragraph(card.amount, 9 * unit, 4.5 * unit, Weight.BOLD),
        Paragraph(joined(*card.typed), 3 * unit, 2 * unit, colour=GREY),
    ]
    below = [
        Paragraph(card.code, 5.2 * unit, 2.6 * unit, Weight.BOLD),
        Paragraph(joined(*[words.wallets for words in card.words]), 3 * unit, 1.9 * unit, lines=2),
        *[Paragraph(words.check, 2.5 * unit, 1.8 * unit, colour=GREY) for words in card.words],
        Paragraph(card.note, 2.3 * unit, 1.7 * unit, colour=GREY),
        Paragraph(joined(*card.foot, card.serial), 2 * unit, 1.4 * unit, colour=GREY),
    ]
    above_mm, below_mm = height_of(above, width), height_of(below, width)
    side = min(75 * unit, width, height - above_mm - below_mm - 5 * unit)
    gap = (height - above_mm - side - below_mm) / 4
    # The quiet zone is air already: text may come closer to it than to the frame.
    code_top = y + 1.4 * gap + above_mm
    return (
        *column(above, (x, y + 1.2 * gap, width, above_mm)),
        *code_marks(card, look, x + (width - side) / 2, code_top, side),
        *column(below, (x, code_top + side + 0.4 * gap, width, below_mm)),
    )


def _tent_face(card: Card, look: Look, width: float, height: float) -> tuple[Mark, ...]:
    edge, gap = 5.0, 1.6
    tile = height - 2 * (edge + gap)
    side = tile - 14
    left = edge + gap
    words_left = left + tile + 5
    room = width - edge - 4 - words_left
    first, *others = card.words
    told = [
        # Shop and store, each on a line of its own.
        *[Paragraph(part, 7.5, 3.6, Weight.BOLD, WHITE, lines=2) for part in card.title.split("·")],
        Paragraph(card.label, 4.4, 2.8, colour=PALE, lines=2),
        Paragraph(card.amount, 9, 4.4, Weight.BOLD, WHITE),
        Paragraph(joined(*card.typed), 3.2, 2, colour=WHITE, lines=2),
        Paragraph(" ", 2, 2),
        *[Paragraph(words.wallets, 3.4, 2, colour=WHITE, lines=2) for words in card.words],
        *[Paragraph(words.check, 2.7, 1.8, colour=PALE, lines=2) for words in card.words],
        Paragraph(card.note, 2.4, 1.7, colour=PALE, lines=2),
        Paragraph(joined(*card.foot, card.serial), 2, 1.5, colour=PALE, lines=2),
    ]
    if card.test:
        told.insert(0, Paragraph(test_line(card), 3.6, 2, Weight.BOLD, TEST_COLOUR, lines=2, pill=WHITE))
    scan = [
        Paragraph(joined(first.scan, *[w.scan for w in others]), 5, 3, Weight.BOLD, accent_of(card, look))
    ]
    code = [Paragraph(card.code, 5, 2.6, Weight.BOLD)]
    code_left = left + (tile - side) / 2
    return (
        Box(edge, edge, width - 2 * edge, height - 2 * edge, accent_of(card, look), 6),
        Box(left, edge + gap, tile, tile, WHITE, 4.6),
        *column(scan, (left + 3, edge + gap + 1.2, tile - 6, 8)),
        *code_marks(card, look, code_left, edge + gap + (8 if card.code else 11), side),
        *column(code, (left + 3, edge + gap + 4.6 + side, tile - 6, 8)),
        *column(told, (words_left, edge + 5, room, height - 2 * edge - 10), anchor="start", spread=True),
    )
