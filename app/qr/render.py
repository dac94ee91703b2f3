"""How a QR code is drawn: SVG, PNG and a terminal, each with its quiet zone.

Codes are always dark on a white tile, in dark mode too: many readers do not find inverted ones.  The
quiet zone of 4 modules (ISO/IEC 18004:2015 section 6.3.8) is part of every drawing, so a page cannot
forget it.  The same text, level, kind and size give the same bytes for ever; ``etag`` names them.

Pure.  Sources: ISO/IEC 18004:2015 sections 6.3.8 and 9 (printing); W3C SVG 2, chapter 9 (paths);
W3C PNG, third edition, sections 5, 9 and 11.2.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import StrEnum
from functools import lru_cache
from html import escape

from app.qr.encode import Level, Matrix

QUIET_ZONE = 4

# 120 pixels hold the largest symbol (97 modules and the quiet zone) at one pixel a module; 2,048 print
# 17 cm at 300 dpi.  A picture of the largest size is 0.5 MB before compression.
SIZE_PX_MIN = 120
SIZE_PX_MAX = 2048

TITLE_CHARS_MAX = 200

# Part of every ETag: raise it when a drawing changes, or browsers keep the old one.
_DRAWING = "1"


class Kind(StrEnum):
    """The drawings that go over the wire."""

    SVG = "svg"
    PNG = "png"


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"

# Each run of modules as a relative path command: dark draws a line, light moves on.
_RUNS = {"1" * length: f"h{length}" for length in range(1, 178)}
_RUNS |= {"0" * length: f"m{length} 0" for length in range(1, 178)}


def svg(matrix: Matrix, *, title: str | None = None) -> bytes:
    """One path of horizontal runs on a white tile; the viewBox counts modules, so it scales to any size.

    A run is a stroke one module wide, which takes two thirds of the bytes of outlined rectangles.  ``title``
    is what a screen reader says, cut to 200 characters; without one the picture is hidden from it.
    """
    side = matrix.size + 2 * QUIET_ZONE
    lines = [f"{row:0{matrix.size}b}".replace("01", "0 1").replace("10", "1 0") for row in matrix.rows]
    path = f"m-{matrix.size} 1".join(["".join([_RUNS[run] for run in line.split()]) for line in lines])
    if title is None:
        head, label = 'aria-hidden="true"', ""
    else:
        head, label = 'role="img"', f"<title>{_xml_text(title)}</title>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}"'
        f' shape-rendering="crispEdges" {head}>{label}<rect width="{side}" height="{side}" fill="#fff"/>'
        f'<path stroke="#000" d="M{QUIET_ZONE} {QUIET_ZONE}.5{path}"/></svg>'
    ).encode()


def png(matrix: Matrix, *, size_px: int) -> bytes:
    """A black and white picture exactly ``size_px`` wide and high, clamped to 120 and 2,048.

    Modules are a whole number of pixels; what that leaves over widens the quiet zone evenly.
    """
    size_px = min(max(size_px, SIZE_PX_MIN), SIZE_PX_MAX)
    module_px = size_px // (matrix.size + 2 * QUIET_ZONE)
    width_bytes = (size_px + 7) // 8
    before = (size_px - module_px * matrix.size) // 2
    after = size_px - module_px * matrix.size - before
    right = after + 8 * width_bytes - size_px  # and the unused bits of the last byte

    # A module row is drawn once.  The pixel rows below it say "as above" (filter 2, all zeros), which
    # deflate passes over fastest.
    white = (1 << 8 * width_bytes) - 1
    blank = b"\x00" + white.to_bytes(width_bytes, "big")
    again = (b"\x02" + bytes(width_bytes)) * (module_px - 1)
    pieces = [blank * before]
    wide, padding = _widened(module_px), -matrix.size % 8
    for row in matrix.rows:
        packed = (row << padding).to_bytes((matrix.size + padding) // 8, "big")
        dark = int.from_bytes(b"".join([wide[eight] for eight in packed]), "big") >> padding * module_px
        pieces += [b"\x00", (white ^ dark << right).to_bytes(width_bytes, "big"), again]
    pieces.append(blank * after)
    header = struct.pack(">IIBBBBB", size_px, size_px, 1, 0, 0, 0, 0)  # one bit of grey, no interlace
    pixels = zlib.compress(b"".join(pieces), 1)
    return _PNG_SIGNATURE + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", pixels) + _PNG_END


def terminal(matrix: Matrix) -> str:
    """Two modules to a character, for light text on a dark terminal; each line ends in a newline.

    Light modules are printed as blocks and dark ones left empty, so that the code and its quiet zone
    stand light around dark, the right way round.
    """
    side = matrix.size + 2 * QUIET_ZONE
    margin = "0" * QUIET_ZONE
    zone = ["0" * side] * QUIET_ZONE
    lines = [*zone, *[f"{margin}{row:0{matrix.size}b}{margin}" for row in matrix.rows], *zone]
    lines.append("1" * side)  # an odd number of lines: the last half character stays empty
    blocks = {"00": "█", "01": "▀", "10": "▄", "11": " "}
    pairs = zip(lines[::2], lines[1::2], strict=False)
    return "".join(["".join([blocks[a + b] for a, b in zip(*pair, strict=True)]) + "\n" for pair in pairs])


def etag(text: str, level: Level, kind: Kind, size: int = 0, *, title: str | None = None) -> str:
    """A strong entity tag, without its quotes: equal only for equal bytes.

    ``size`` is the size_px of a PNG and means nothing to an SVG.  The tag tells nothing of the text.
    """
    parts = (_DRAWING, text, level, kind, str(size), "" if title is None else f"title {title}")
    told = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _xml_text(text: str) -> str:
    """Text for an element.  XML has no way to write most control characters: they become spaces."""
    kept = [char if char.isprintable() else " " for char in text[:TITLE_CHARS_MAX]]
    return escape("".join(kept), quote=False)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


@lru_cache(maxsize=16)
def _widened(module_px: int) -> tuple[bytes, ...]:
    """Each byte of eight modules as the pixels it covers: 256 entries of ``module_px`` bytes."""
    runs = str.maketrans({"0": "0" * module_px, "1": "1" * module_px})
    texts = [f"{eight:08b}".translate(runs) for eight in range(256)]
    return tuple([int(text, 2).to_bytes(module_px, "big") for text in texts])
