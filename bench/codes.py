"""The QR code of a payment link, against libqrencode (C) and the plainest writer of a 1-bit PNG."""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections.abc import Callable

from app.ids import new_id
from app.qr.encode import matrix_for
from app.qr.links import LinkFacts, LinkSigner, Purpose, link_for
from app.qr.render import QUIET_ZONE, png, svg
from bench.rounds import Block, Contest, Target

CALLS = 20
SIZE_PX = 600
TARGET = Target(due=5, then=1.2, at_most=True)
LIBRARY = "libqrencode.so.4"
LEVEL_M, MODE_8, CASE_SENSITIVE = 1, 2, 1


class _Code(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("width", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_ubyte)),
    )


def contests() -> list[Contest]:
    """Both drawings; none, with a line that says why, without the library."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        print(f"QR codes are not measured: there is no {LIBRARY} (Debian: libqrencode4)")
        return []
    library.QRcode_encodeString.restype = ctypes.POINTER(_Code)
    library.QRcode_free.argtypes = [ctypes.POINTER(_Code)]
    floor = _block(lambda text: _floor_png(library, text))
    return [
        Contest("QR SVG", floor, _block(lambda text: svg(matrix_for(text))), TARGET),
        Contest("QR PNG", floor, _block(lambda text: png(matrix_for(text), size_px=SIZE_PX)), TARGET),
    ]


def _block(draw: Callable[[str], bytes]) -> Block:
    signer = LinkSigner(["a key for nothing but measuring speed"], purpose=Purpose.CHARGE)

    def prepare() -> Callable[[], int]:
        facts = [LinkFacts(new_id("ch"), new_id("me"), 1250, "CNY") for _ in range(CALLS)]
        links = [link_for("https://pay.example.com", signer.token_for(fact)) for fact in facts]
        return lambda: len([draw(link) for link in links])

    return prepare


def _floor_png(library: ctypes.CDLL, text: str) -> bytes:
    code = library.QRcode_encodeString(text.encode(), 0, LEVEL_M, MODE_8, CASE_SENSITIVE)
    width = code.contents.width
    modules = ctypes.string_at(code.contents.data, width * width)
    library.QRcode_free(code)

    module_px = SIZE_PX // (width + 2 * QUIET_ZONE)
    margin = SIZE_PX - module_px * width
    left = "1" * (margin // 2)
    right = "1" * (margin - margin // 2)
    bits = modules.translate(_IS_LIGHT).decode()
    wide = str.maketrans({"0": "0" * module_px, "1": "1" * module_px})
    blank = b"\0" + b"\xff" * (SIZE_PX // 8)
    rows = [blank * (margin // 2)]
    for start in range(0, width * width, width):
        line = left + bits[start : start + width].translate(wide) + right
        rows.append((b"\0" + int(line, 2).to_bytes(SIZE_PX // 8, "big")) * module_px)
    rows.append(blank * (margin - margin // 2))
    header = struct.pack(">IIBBBBB", SIZE_PX, SIZE_PX, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(b"".join(rows), 1)), _chunk(b"IEND", b"")]
    )


_IS_LIGHT = bytes([48 + (value + 1) % 2 for value in range(256)])  # libqrencode's lowest bit says dark


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
