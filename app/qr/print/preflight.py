"""Whether a print will be read: it is painted as a 203 dpi printer would, spoilt, and decoded.

The decoder (ZXing's C++ port) shares no code with what drew the symbol.  The pixels are our own raster of the
very layout that the PDF is painted from, so that nothing but Pillow is needed to run; tests compare it with
poppler's rendering of the PDF.  Each spoiling is one that a shop knows: a shaking hand, a phone held askew,
a code seen from the side, a dim corner, a step too far away.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import zxingcpp
from PIL import Image, ImageFilter

from app.qr.print import raster
from app.qr.print.card import Card, Look, Placing
from app.qr.print.marks import Page, Symbol
from app.qr.print.shop import Kind, pages
from app.qr.render import QUIET_ZONE

DPI = 203
# What a phone's camera sees of a module at arm's length; the far one is at ten times the symbol's width.
NEAR_PX, FAR_PX = 8, 3
# Rule of thumb of the trade, not in the standard: a symbol reads from ten times its width.
DISTANCE_PER_WIDTH = 10

_QR_ONLY = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)


class Trial(StrEnum):
    """What is done to the picture before it is read."""

    CLEAN = "clean"
    BLUR = "blur"
    ROTATION = "rotation"
    PERSPECTIVE = "perspective"
    LOW_CONTRAST = "low_contrast"
    DISTANCE = "distance"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the page says before a download.

    ``modules`` a side, ``module_mm`` and ``distance_mm`` of the densest code; ``trials`` in the order tried.
    """

    modules: int
    module_mm: float
    distance_mm: float
    trials: tuple[tuple[Trial, bool], ...]

    @property
    def passed(self) -> bool:
        """Whether every trial was read, to the letter."""
        return all(read for _, read in self.trials)


def preflight(
    kind: Kind, cards: Sequence[Card], *, look: Look | None = None, placing: Placing | None = None
) -> Verdict:
    """Judge the first sheet of them; a series differs in its texts only.  Raises as ``shop.draw``."""
    page = pages(kind, cards, look=look or Look(), placing=placing or Placing())[0]
    addresses = {card.address for card in cards}
    picture = raster.paint(page, DPI / raster.INCH_MM, whole_modules=False).convert("L")
    found = _symbols(page)
    x, y, symbol = max(found, key=lambda place: (place[2].matrix.size, -place[2].side))
    seen = sorted([text for text in read(picture) if text in addresses])
    view = _view(picture, x, y, symbol)
    near = _resized(view, symbol, NEAR_PX)
    told = {text for text in read(near) if text in addresses}
    trials = [(Trial.CLEAN, len(seen) == len(found) and len(told) == 1)]
    for trial, spoil in SPOILINGS.items():
        trials.append((trial, set(read(spoil(near))) == told and bool(told)))
    far = set(read(_resized(view, symbol, FAR_PX)))
    trials.append((Trial.DISTANCE, far == told and bool(told)))
    width = symbol.module * symbol.matrix.size
    return Verdict(symbol.matrix.size, symbol.module, DISTANCE_PER_WIDTH * width, tuple(trials))


def read(picture: Image.Image) -> list[str]:
    """The texts of all QR codes in a grey picture."""
    found = zxingcpp.read_barcodes(picture, formats=_QR_ONLY, try_invert=False)
    return [code.text for code in found]


def _symbols(page: Page) -> list[tuple[float, float, Symbol]]:
    """Every symbol with the place of its tile on the page; of a turned face, where it ends up."""
    found = []
    for face in page.faces:
        for mark in face.marks:
            if isinstance(mark, Symbol):
                x, y = mark.x, mark.y
                if face.turned:
                    x, y = face.width - x - mark.side, face.height - y - mark.side
                found.append((face.x + x, face.y + y, mark))
    return found


def _view(picture: Image.Image, x: float, y: float, symbol: Symbol) -> Image.Image:
    """What a phone frames: the tile, and a little around it."""
    scale, around = DPI / raster.INCH_MM, 0.06 * symbol.side
    left, top, side = x - around, y - around, symbol.side + 2 * around
    box = (left * scale, top * scale, (left + side) * scale, (top + side) * scale)
    return picture.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))


def _resized(view: Image.Image, symbol: Symbol, module_px: int) -> Image.Image:
    """The same view at so many pixels a module."""
    side = round(module_px * (symbol.matrix.size + 2 * QUIET_ZONE) * 1.12)
    return view.resize((side, side), Image.Resampling.BOX if side < view.width else Image.Resampling.BICUBIC)


def _blurred(picture: Image.Image) -> Image.Image:
    """Out of focus: four tenths of a module each way."""
    return picture.filter(ImageFilter.GaussianBlur(0.4 * NEAR_PX))


def _rotated(picture: Image.Image) -> Image.Image:
    return picture.rotate(17, Image.Resampling.BICUBIC, expand=True, fillcolor=200)


def _askew(picture: Image.Image) -> Image.Image:
    """From the side and from above: the far edge is a fifth shorter than the near one."""
    side = picture.width
    corners = ((0.10, 0.06), (0.93, 0.0), (1.0, 1.0), (0.0, 0.86))
    target = [(x * side, y * side) for x, y in corners]
    source = [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)]
    return picture.transform(
        picture.size,
        Image.Transform.PERSPECTIVE,
        _coefficients(target, source),
        Image.Resampling.BICUBIC,
        fillcolor=200,
    )


def _dim(picture: Image.Image) -> Image.Image:
    """A fifth of the greys is left, around a third of the light."""
    return picture.point(lambda grey: 60 + grey // 5)


SPOILINGS: dict[Trial, Callable[[Image.Image], Image.Image]] = {
    Trial.BLUR: _blurred,
    Trial.ROTATION: _rotated,
    Trial.PERSPECTIVE: _askew,
    Trial.LOW_CONTRAST: _dim,
}


def _coefficients(
    target: Sequence[tuple[float, float]], source: Sequence[tuple[float, float]]
) -> tuple[float, ...]:
    """Pillow's eight numbers of the perspective that takes each target corner to its source corner."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, v])
    for pivot in range(8):
        best = max(range(pivot, 8), key=lambda row: abs(rows[row][pivot]))
        rows[pivot], rows[best] = rows[best], rows[pivot]
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for row in range(8):
            if row != pivot:
                factor = rows[row][pivot]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[pivot], strict=True)]
    return tuple([row[8] for row in rows])
