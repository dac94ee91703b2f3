"""Pages as SVG: text is outlines, so that a print shop without the font shows no boxes either.

Pure but for reading the fonts.  Source: W3C SVG 2, chapters 5, 9 and 12.
"""

from __future__ import annotations

import base64
import threading
from functools import lru_cache
from html import escape

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

from app.qr.print.marks import Box, Face, Line, Mark, Page, Picture, Symbol, Text
from app.qr.print.pdf import runs_in
from app.qr.print.typefaces import Weight, path_of, runs_of
from app.qr.render import QUIET_ZONE

# fontTools unpacks a font's tables as they are asked for, which two threads must not do at once.
_LOCK = threading.Lock()


def svg(page: Page, *, title: str) -> bytes:
    """One page in its real size; ``title`` is what a screen reader says."""
    faces = "".join([_face(face) for face in page.faces])
    width, height = _number(page.width), _number(page.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}" role="img"><title>{escape(title, quote=False)}</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{faces}</svg>'
    ).encode()


def _face(face: Face) -> str:
    marks = "".join([_mark(mark) for mark in face.marks])
    place = f"translate({_number(face.x)} {_number(face.y)})"
    if face.turned:
        place += f" rotate(180 {_number(face.width / 2)} {_number(face.height / 2)})"
    return f'<g transform="{place}">{marks}</g>'


def _mark(mark: Mark) -> str:
    match mark:
        case Box():
            corner = f' rx="{_number(mark.radius)}"' if mark.radius else ""
            return f'<rect {_box(mark.x, mark.y, mark.width, mark.height)}{corner} fill="{mark.colour}"/>'
        case Line():
            dash = f' stroke-dasharray="{_number(mark.dash)}"' if mark.dash else ""
            ends = f"M{_number(mark.x1)} {_number(mark.y1)}L{_number(mark.x2)} {_number(mark.y2)}"
            return f'<path d="{ends}" stroke="{mark.colour}" stroke-width="{_number(mark.width)}"{dash}/>'
        case Text():
            return _text(mark)
        case Symbol():
            return _symbol(mark)
        case Picture():
            data = base64.b64encode(mark.logo.png).decode()
            box = _box(mark.x, mark.y, mark.side, mark.side)
            return f'<image {box} href="data:image/png;base64,{data}"/>'


def _text(text: Text) -> str:
    glyphs, at = [], 0.0
    for run in runs_of(text.text, text.weight):
        for char in run.text:
            outline, advance = _outline(run.weight, char)
            if outline:
                glyphs.append(f'<path transform="translate({at:.0f} 0)" d="{outline}"/>')
            at += advance
    scale = f"{text.size / 1000:.6f}"
    place = f"translate({_number(text.left)} {_number(text.y)}) scale({scale} -{scale})"
    return f'<g fill="{text.colour}" transform="{place}">{"".join(glyphs)}</g>'


def _symbol(symbol: Symbol) -> str:
    path = "".join(
        [
            f"M{QUIET_ZONE + column} {QUIET_ZONE + row}h{length}v1h-{length}z"
            for row, column, length in runs_in(symbol.matrix)
        ]
    )
    place = f"translate({_number(symbol.x)} {_number(symbol.y)}) scale({symbol.module:.6f})"
    tile = _box(symbol.x, symbol.y, symbol.side, symbol.side)
    return (
        f'<rect {tile} fill="{symbol.tile}"/>'
        f'<path transform="{place}" fill="{symbol.ink}" shape-rendering="crispEdges" d="{path}"/>'
    )


@lru_cache(maxsize=4096)
def _outline(weight: Weight, char: str) -> tuple[str, float]:
    """A character's path and its width, in thousandths of an em; y goes up."""
    with _LOCK:
        font = _font(weight)
        glyphs = font.getGlyphSet()
        name = font.getBestCmap()[ord(char)]
        pen = SVGPathPen(glyphs)
        glyphs[name].draw(pen)
        return pen.getCommands(), float(glyphs[name].width)


@lru_cache(maxsize=2)
def _font(weight: Weight) -> TTFont:
    return TTFont(path_of(weight), lazy=True)


def _box(x: float, y: float, width: float, height: float) -> str:
    return f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'


def _number(value: float) -> str:
    """At most a thousandth of a millimetre, and no trailing zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
