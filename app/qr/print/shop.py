"""The door of the print shop: which printables there are, and cards in, a file out.

``shop.draw(Kind.LABELS_21, cards, look=Look(accent="#7a1f2b"))`` is all that a caller needs.  Pure: the same
description gives the same bytes, so a file may be cached, compared and printed again in years.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.errors import InvalidRequest
from app.qr.print import labels, posters, raster, thermal
from app.qr.print.card import Card, Look, Placing
from app.qr.print.labels import STOCKS, Stock
from app.qr.print.marks import Page
from app.qr.print.pdf import pdf
from app.qr.print.svg import svg
from app.qr.print.thermal import ROLLS

CARDS_MAX = 500


class Kind(StrEnum):
    """What can be printed.  The values are in addresses and bookmarks: they stay."""

    A4 = "a4"
    A5 = "a5"
    A6 = "a6"
    TENT = "tent"
    STICKER = "sticker"
    LABELS_12 = "labels12"
    LABELS_21 = "labels21"
    LABELS_24 = "labels24"
    THERMAL_58 = "thermal58"
    THERMAL_80 = "thermal80"
    PLAIN = "plain"


class Form(StrEnum):
    """What kind of file.  ``ESCPOS`` is the printer's own QR, ``ESCPOS_PICTURE`` a picture of the ticket."""

    PDF = "pdf"
    PNG = "png"
    SVG = "svg"
    ESCPOS = "escpos"
    ESCPOS_PICTURE = "escpos-picture"


STOCK_OF: dict[Kind, Stock] = dict(zip((Kind.LABELS_12, Kind.LABELS_21, Kind.LABELS_24), STOCKS, strict=True))
_ROLL_OF = dict(zip((Kind.THERMAL_58, Kind.THERMAL_80), ROLLS, strict=True))
_SHEETS = {Kind.A4: posters.A4, Kind.A5: posters.A5, Kind.A6: posters.A6}
_MEDIA = {
    Form.PDF: ("application/pdf", "pdf"),
    Form.PNG: ("image/png", "png"),
    Form.SVG: ("image/svg+xml", "svg"),
    Form.ESCPOS: ("application/octet-stream", "bin"),
    Form.ESCPOS_PICTURE: ("application/octet-stream", "bin"),
}
_PLAIN_LOOK, _NOT_MOVED = Look(), Placing()


@dataclass(frozen=True, slots=True)
class Printed:
    """A file, its media type, and the end of its name."""

    body: bytes
    media_type: str
    extension: str


def forms_of(kind: Kind, cards: int = 1) -> tuple[Form, ...]:
    """The files that a printable comes as; the first one is what most people want.

    Of a series only those that hold all of it: a picture is one page.
    """
    if cards > 1:
        return (Form.ESCPOS, Form.ESCPOS_PICTURE) if kind in _ROLL_OF else (Form.PDF,)
    if kind in _ROLL_OF:
        return Form.ESCPOS, Form.ESCPOS_PICTURE, Form.PNG
    if kind is Kind.PLAIN:
        return Form.PNG, Form.SVG, Form.PDF
    return Form.PDF, Form.PNG, Form.SVG


def draw(
    kind: Kind,
    cards: Sequence[Card],
    *,
    form: Form | None = None,
    look: Look = _PLAIN_LOOK,
    placing: Placing = _NOT_MOVED,
) -> Printed:
    """One file of 1 to 500 cards.  PNG and SVG are single pages: of a series they show the first.

    Raises InvalidRequest for what cannot be printed, MissingGlyph for text without letters.
    """
    form = form or forms_of(kind)[0]
    if form not in forms_of(kind):
        raise InvalidRequest(f"{kind} does not come as {form}", code="form_invalid", param="form")
    if form in (Form.ESCPOS, Form.ESCPOS_PICTURE):
        _count(cards)
        ticket = thermal.native if form is Form.ESCPOS else thermal.picture
        return _printed(form, b"".join([ticket(card, _ROLL_OF[kind]) for card in cards]))
    laid = pages(kind, cards if form is Form.PDF else cards[: _per_page(kind)], look=look, placing=placing)
    return _printed(form, _painted(kind, form, laid, cards[0]))


def calibration(kind: Kind, lines: Sequence[str], *, placing: Placing = _NOT_MOVED) -> Printed:
    """The outlines of a sheet of labels, with ``lines`` that say what to do.  Raises InvalidRequest."""
    stock = STOCK_OF.get(kind)
    if stock is None:
        raise InvalidRequest(f"{kind} is no sheet of labels", code="form_invalid", param="kind")
    page = labels.calibration(stock, placing, lines)
    return _printed(Form.PDF, pdf([page], title=f"{stock.name} · 100 %", language="zh-CN"))


def pages(
    kind: Kind, cards: Sequence[Card], *, look: Look = _PLAIN_LOOK, placing: Placing = _NOT_MOVED
) -> tuple[Page, ...]:
    """The pages before they are painted, in millimetres.  Raises InvalidRequest, MissingGlyph."""
    _count(cards)
    if kind in STOCK_OF:
        return labels.sheets(STOCK_OF[kind], cards, look, placing)
    return tuple([_page(kind, card, look) for card in cards])


def _page(kind: Kind, card: Card, look: Look) -> Page:
    if kind in _SHEETS:
        return posters.poster(card, look, _SHEETS[kind])
    if kind in _ROLL_OF:
        return thermal.ticket(card, _ROLL_OF[kind])
    makers = {Kind.TENT: posters.tent, Kind.STICKER: posters.sticker, Kind.PLAIN: posters.plain}
    return makers[kind](card, look)


def _painted(kind: Kind, form: Form, laid: Sequence[Page], card: Card) -> bytes:
    match form:
        case Form.PDF:
            language = "zh-CN" if card.words[0].language == "zh" else "en"
            return pdf(laid, title=card.title, language=language)
        case Form.SVG:
            return svg(laid[0], title=card.title)
        case _:
            # A thermal ticket is as many pixels as the head has dots.
            dpi = raster.INCH_MM * thermal.DOTS_PER_MM if kind in _ROLL_OF else raster.DPI
            return raster.png(laid[0], dpi=dpi)


def _printed(form: Form, body: bytes) -> Printed:
    return Printed(body, *_MEDIA[form])


def _per_page(kind: Kind) -> int:
    return STOCK_OF[kind].count if kind in STOCK_OF else 1


def _count(cards: Sequence[Card]) -> None:
    if not 1 <= len(cards) <= CARDS_MAX:
        raise InvalidRequest(f"print 1 to {CARDS_MAX} codes at a time", code="series_invalid", param="codes")
