"""Pages as a PDF: vector modules, embedded font subsets, and the same bytes on every run.

ReportLab's ``invariant`` fixes dates and ids.  A symbol is one path, so that no viewer shows hairlines
between its rows.  Source: ISO 32000-1:2008 sections 8.5 (paths), 9.9 (embedded fonts), 14.11.2 (boxes).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas

from app.qr.encode import Matrix
from app.qr.print.marks import Box, Face, Line, Mark, Page, Picture, Symbol, Text
from app.qr.print.typefaces import Weight, font_of, runs_of
from app.qr.render import QUIET_ZONE

MM = 72 / 25.4  # points


def pdf(pages: Sequence[Page], *, title: str, language: str) -> bytes:
    """One document of them; ``title`` and ``language`` ("zh-CN") are for readers, human and machine."""
    for weight in Weight:
        pdfmetrics.registerFont(font_of(weight))
    out = io.BytesIO()
    # Without a first font of ours, every document names Helvetica and does not embed it.
    first: Any = Weight.REGULAR
    canvas = Canvas(out, invariant=1, pageCompression=1, initialFontName=first, lang=language)
    canvas.setTitle(title)
    canvas.setAuthor("Mafu")
    canvas.setCreator("Mafu")
    for page in pages:
        canvas.setPageSize((page.width * MM, page.height * MM))
        if page.margin:
            _set_boxes(canvas, page)
        canvas.scale(MM, MM)
        for face in page.faces:
            _paint_face(canvas, page, face)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def runs_in(matrix: Matrix) -> Iterator[tuple[int, int, int]]:
    """Dark modules as (row, column, length), each row from the left; no quiet zone."""
    for row, bits in enumerate(matrix.rows):
        column = 0
        text = f"{bits:0{matrix.size}b}"
        while (start := text.find("1", column)) >= 0:
            end = text.find("0", start)
            column = end if end >= 0 else matrix.size
            yield row, start, column - start


def _set_boxes(canvas: Canvas, page: Page) -> None:
    """What a print shop's machine cuts and bleeds."""
    for inset, name in ((page.margin, "trim"), (page.margin - page.bleed, "bleed")):
        far_x, far_y = page.width - inset, page.height - inset
        box = (inset * MM, inset * MM, far_x * MM, far_y * MM)
        canvas.setTrimBox(box) if name == "trim" else canvas.setBleedBox(box)


def _paint_face(canvas: Canvas, page: Page, face: Face) -> None:
    """Down is positive in marks and negative in PDF: each mark is turned over as it is painted."""
    canvas.saveState()
    canvas.translate(face.x, page.height - face.y)
    if face.turned:
        canvas.translate(face.width, -face.height)
        canvas.rotate(180)
    for mark in face.marks:
        _paint(canvas, mark)
    canvas.restoreState()


def _paint(canvas: Canvas, mark: Mark) -> None:
    match mark:
        case Box():
            canvas.setFillColor(HexColor(mark.colour))
            box = (mark.x, -mark.y - mark.height, mark.width, mark.height)
            if mark.radius:
                canvas.roundRect(*box, mark.radius, stroke=0, fill=1)
            else:
                canvas.rect(*box, stroke=0, fill=1)
        case Line():
            canvas.setStrokeColor(HexColor(mark.colour))
            canvas.setLineWidth(mark.width)
            canvas.setDash([mark.dash] if mark.dash else [])
            canvas.line(mark.x1, -mark.y1, mark.x2, -mark.y2)
        case Text():
            canvas.setFillColor(HexColor(mark.colour))
            at = mark.left
            for run in runs_of(mark.text, mark.weight):
                canvas.setFont(run.weight, mark.size)
                canvas.drawString(at, -mark.y, run.text)
                at += run.width * mark.size
        case Symbol():
            _paint_symbol(canvas, mark)
        case Picture():
            with Image.open(io.BytesIO(mark.logo.png)) as picture:
                canvas.drawImage(ImageReader(picture), mark.x, -mark.y - mark.side, mark.side, mark.side)


def _paint_symbol(canvas: Canvas, symbol: Symbol) -> None:
    canvas.setFillColor(HexColor(symbol.tile))
    canvas.rect(symbol.x, -symbol.y - symbol.side, symbol.side, symbol.side, stroke=0, fill=1)
    canvas.saveState()
    canvas.translate(symbol.x, -symbol.y)
    canvas.scale(symbol.module, symbol.module)  # from here on a module is 1, and numbers are short
    path = canvas.beginPath()
    for row, column, length in runs_in(symbol.matrix):
        path.rect(QUIET_ZONE + column, -QUIET_ZONE - row - 1, length, 1)
    canvas.setFillColor(HexColor(symbol.ink))
    canvas.drawPath(path, stroke=0, fill=1)
    canvas.restoreState()
