"""Which pictures may stand in the middle of a code, and how much of it they may cover.  Pure.

A picture from outside is never passed on: it is read by Pillow within limits and drawn anew, so that nothing
but its pixels reaches paper.  Files that go on behind the picture's end are refused, too: they are two things
at once.  Sources: W3C PNG, third edition, section 5; ITU-T T.81, annex B; RFC 9649 (WebP).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError

from app.errors import InvalidRequest
from app.qr.encode import Level

FILE_BYTES_MAX = 1 << 20
# A phone's photograph has 12 million; 25 million pixels take 100 MB for a moment.
PIXELS_MAX = 16_000_000
SIDE_PX_MIN = 64
SIDE_PX = 384  # 15 mm at 600 dpi: more than any printer shows

# 44 CSS pixels at a phone's density; most logos take the first step, photographs a later one.  The last
# cannot be too large: 64 x 64 pixels of three bits are 1,536 bytes.
_SCREEN_STEPS = ((132, 64), (96, 64), (96, 32), (96, 16), (64, 8))
SCREEN_BYTES_MAX = 4096

# A white square of 34 % of the width is the most that a reader put up with at level Q, and 42 % at H, on a
# clean picture.  A third of that area leaves the rest to scratches and bad light; L and M have none to spare.
SHARE_MAX = {Level.L: 0.0, Level.M: 0.0, Level.Q: 0.20, Level.H: 0.25}

_FORMATS = ("PNG", "JPEG", "WEBP")
_REFUSED = "the logo must be one PNG, JPEG or WebP picture"


@dataclass(frozen=True, slots=True)
class Logo:
    """A square picture on white, drawn anew: ``png`` is safe to pass on."""

    png: bytes


def read_logo(data: bytes) -> Logo:
    """Read a merchant's picture, fit it into a white square.  Raises InvalidRequest (param ``logo``)."""
    if len(data) > FILE_BYTES_MAX:
        raise _refusal(f"the logo's file is larger than {FILE_BYTES_MAX >> 20} MB", "logo_too_large")
    if _length(data) != len(data):
        raise _refusal(_REFUSED, "logo_unreadable")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            _judge(picture)
            pixels = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error) as fault:
        raise _refusal(_REFUSED, "logo_unreadable") from fault
    except Image.DecompressionBombError as fault:
        raise _refusal(f"the logo has more than {PIXELS_MAX} pixels", "logo_too_large") from fault
    pixels.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIDE_PX, SIDE_PX), "#ffffff")
    corner = ((SIDE_PX - pixels.width) // 2, (SIDE_PX - pixels.height) // 2)
    square.paste(pixels, corner, pixels)
    out = io.BytesIO()
    square.save(out, "PNG")
    return Logo(out.getvalue())


def for_screens(logo: Logo) -> bytes:
    """The same picture as a small PNG: on a phone's page it shares 20 kB with everything else."""
    with Image.open(io.BytesIO(logo.png), formats=("PNG",)) as picture:
        for side, colours in _SCREEN_STEPS:
            small = picture.resize((side, side), Image.Resampling.LANCZOS).quantize(
                colours, dither=Image.Dither.NONE
            )
            out = io.BytesIO()
            small.save(out, "PNG", optimize=True)
            if out.tell() <= SCREEN_BYTES_MAX:
                break
    return out.getvalue()


def cover_of(size: int, level: Level) -> int:
    """How many modules of ``size`` a side a square in the middle may cover: odd, so it is centred."""
    covered = int(size * SHARE_MAX[level])
    return covered - (covered + 1) % 2 if covered else 0


def _judge(picture: Image.Image) -> None:
    """Before a single pixel is unpacked: the header alone says how large it will become."""
    if picture.width * picture.height > PIXELS_MAX:
        raise _refusal(f"the logo has more than {PIXELS_MAX} pixels", "logo_too_large")
    if min(picture.size) < SIDE_PX_MIN:
        raise _refusal(f"the logo is less than {SIDE_PX_MIN} pixels wide or high", "logo_too_small")
    moving: Any = getattr(picture, "n_frames", 1)
    if moving != 1:
        raise _refusal("the logo moves; paper does not", "logo_unreadable")


def _length(data: bytes) -> int:
    """Where the picture ends by its own account; -1 for what is none of the three formats."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        at = 8
        while at + 12 <= len(data):
            kind = data[at + 4 : at + 8]
            at += 12 + int.from_bytes(data[at : at + 4], "big")
            if kind == b"IEND":
                return at
        return -1
    if data.startswith(b"\xff\xd8\xff"):
        return len(data) if data.endswith(b"\xff\xd9") else -1
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = int.from_bytes(data[4:8], "little")
        return 8 + size + size % 2
    return -1


def _refusal(detail: str, code: str) -> InvalidRequest:
    return InvalidRequest(detail, code=code, param="logo")
