"""Pages as pixels: PNG at 300 dpi, what a thermal printer prints, and what the pre-flight looks at.

Pure but for reading the fonts.  Source: W3C PNG, third edition, section 11.3.4.3 (pHYs).
"""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from app.qr.print.card import rgb
from app.qr.print.marks import Box, Face, Line, Mark, Page, Picture, Symbol, Text
from app.qr.print.pdf import runs_in
from app.qr.print.typefaces import Weight, path_of, runs_of
from app.qr.render import QUIET_ZONE

DPI = 300
INCH_MM = 25.4
_FINER = 4


def png(page: Page, *, dpi: float = DPI) -> bytes:
    """The page in its real size; every module is a whole number of pixels."""
    out = io.BytesIO()
    paint(page, dpi / INCH_MM).save(out, "PNG", dpi=(dpi, dpi))
    return out.getvalue()


def paint(page: Page, px_per_mm: float, *, whole_modules: bool = True) -> Image.Image:
    """An RGB picture.  ``whole_modules=False`` rounds each edge by itself, as printers do with a PDF."""
    picture = Image.new("RGB", (round(page.width * px_per_mm), round(page.height * px_per_mm)), "#ffffff")
    brush = _Brush(picture, px_per_mm, whole_modules)
    for face in page.faces:
        if face.turned:
            size = (round(face.width * px_per_mm), round(face.height * px_per_mm))
            aside = Image.new("RGB", size, "#ffffff")
            _Brush(aside, px_per_mm, whole_modules).paint(face, 0, 0)
            corner = (round(face.x * px_per_mm), round(face.y * px_per_mm))
            picture.paste(aside.transpose(Image.Transpose.ROTATE_180), corner)
        else:
            brush.paint(face, face.x, face.y)
    return picture


class _Brush:
    """A picture being painted, at so many pixels a millimetre."""

    def __init__(self, picture: Image.Image, px_per_mm: float, whole_modules: bool) -> None:
        self._picture = picture
        self._draw = ImageDraw.Draw(picture)
        self._scale = px_per_mm
        self._whole_modules = whole_modules

    def paint(self, face: Face, x: float, y: float) -> None:
        for mark in face.marks:
            self._mark(mark, x, y)

    def _mark(self, mark: Mark, x: float, y: float) -> None:
        match mark:
            case Box():
                box = self._box(x + mark.x, y + mark.y, mark.width, mark.height)
                self._draw.rounded_rectangle(box, mark.radius * self._scale, fill=rgb(mark.colour))
            case Line():
                self._line(mark, x, y)
            case Text():
                self._text(mark, x, y)
            case Symbol():
                self._symbol(mark, x, y)
            case Picture():
                left, top, right, bottom = self._box(x + mark.x, y + mark.y, mark.side, mark.side)
                with Image.open(io.BytesIO(mark.logo.png)) as logo:
                    size = (right - left + 1, bottom - top + 1)
                    self._picture.paste(logo.resize(size, Image.Resampling.LANCZOS), (left, top))

    def _box(self, x: float, y: float, width: float, height: float) -> tuple[int, int, int, int]:
        """First and last pixel, both within."""
        left, top = round(x * self._scale), round(y * self._scale)
        right, bottom = round((x + width) * self._scale) - 1, round((y + height) * self._scale) - 1
        return left, top, max(left, right), max(top, bottom)

    def _line(self, line: Line, x: float, y: float) -> None:
        """Straight ones only, as all of ours are: a thin box, or several."""
        wide = max(line.width, 1 / self._scale)
        length = max(abs(line.x2 - line.x1), abs(line.y2 - line.y1))
        lying = abs(line.x2 - line.x1) >= abs(line.y2 - line.y1)
        left, top = min(line.x1, line.x2), min(line.y1, line.y2)
        step = line.dash or length
        at = 0.0
        while at < length - 1e-9:
            part = min(step, length - at)
            box = (
                (left + at, top - wide / 2, part, wide) if lying else (left - wide / 2, top + at, wide, part)
            )
            self._draw.rectangle(self._box(x + box[0], y + box[1], *box[2:]), fill=rgb(line.colour))
            at += 2 * step if line.dash else step

    def _text(self, text: Text, x: float, y: float) -> None:
        """Four times as large, then reduced: Pillow rounds each letter's width to whole pixels."""
        at, size = (x + text.left) * self._scale, text.size * self._scale
        baseline = (y + text.y) * self._scale
        top = int(baseline - 1.2 * size)
        for run in runs_of(text.text, text.weight):
            left, width = int(at) - 2, run.width * size
            mask = Image.new("L", (_FINER * (int(width) + 6), _FINER * (int(1.7 * size) + 2)))
            place = ((at - left) * _FINER, (baseline - top) * _FINER)
            font = _font(run.weight, round(size * _FINER, 2))
            ImageDraw.Draw(mask).text(place, run.text, fill=255, font=font, anchor="ls")
            self._picture.paste(rgb(text.colour), (left, top), mask.reduce(_FINER))
            at += width

    def _symbol(self, symbol: Symbol, x: float, y: float) -> None:
        left, top, right, bottom = self._box(x + symbol.x, y + symbol.y, symbol.side, symbol.side)
        self._draw.rectangle((left, top, right, bottom), fill=rgb(symbol.tile))
        count = symbol.matrix.size + 2 * QUIET_ZONE
        side = right - left + 1
        module = side // count if self._whole_modules else side / count
        spare = (side - module * count) / 2
        edges = [round(spare + module * number) for number in range(count + 1)]
        ink = rgb(symbol.ink)
        for row, column, length in runs_in(symbol.matrix):
            first, last = edges[QUIET_ZONE + column], edges[QUIET_ZONE + column + length]
            above, below = edges[QUIET_ZONE + row], edges[QUIET_ZONE + row + 1]
            self._draw.rectangle((left + first, top + above, left + last - 1, top + below - 1), fill=ink)


@lru_cache(maxsize=64)
def _font(weight: Weight, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path_of(weight)), size, layout_engine=ImageFont.Layout.BASIC)
