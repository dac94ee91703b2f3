"""Pictures from outside: only pixels get through."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from PIL import Image, PngImagePlugin

from app.errors import InvalidRequest
from app.qr.encode import Level, matrix_for
from app.qr.print.logo import FILE_BYTES_MAX, PIXELS_MAX, SHARE_MAX, SIDE_PX, cover_of, read_logo


def picture(
    kind: str = "PNG", size: tuple[int, int] = (200, 100), mode: str = "RGB", **more: object
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "#c0392b" if mode in ("RGB", "RGBA") else 100).save(out, kind, **more)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_says(width: int, height: int) -> bytes:
    """A header that promises so many pixels, and almost no data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.txt", "hello")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_comes_out_as_a_square_on_white(kind, mode):
    with Image.open(io.BytesIO(read_logo(picture(kind, mode=mode)).png)) as drawn:
        assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", (SIDE_PX, SIDE_PX))
        assert drawn.getpixel((0, 0)) == (255, 255, 255)
        assert drawn.getpixel((SIDE_PX // 2, SIDE_PX // 2)) != (255, 255, 255)


def test_what_is_transparent_becomes_white():
    with Image.open(io.BytesIO(read_logo(picture(mode="RGBA")).png)) as drawn:
        assert drawn.mode == "RGB"
    clear = io.BytesIO()
    Image.new("RGBA", (100, 100), (0, 0, 0, 0)).save(clear, "PNG")
    with Image.open(io.BytesIO(read_logo(clear.getvalue()).png)) as drawn:
        assert drawn.getextrema() == ((255, 255),) * 3


def test_nothing_but_pixels_gets_through():
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "<script>alert(1)</script>")
    exif = Image.Exif()
    exif[0x010E] = "<?php system($_GET[0]); ?>"
    for data in (picture(pnginfo=told), picture("JPEG", exif=exif, comment=b"PK\x03\x04 <script>")):
        assert b"script" in data or b"php" in data
        drawn = read_logo(data).png
        assert b"script" not in drawn
        assert b"php" not in drawn
    assert read_logo(picture()) == read_logo(picture())


REFUSED = {
    "nothing": b"",
    "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "an SVG with a PNG's name in front": b"\x89PNG\r\n\x1a\n<svg/>",
    "a GIF": picture("GIF", mode="L"),
    "a TIFF": picture("TIFF"),
    "a BMP": picture("BMP"),
    "an ICO": picture("ICO"),
    "a PDF": b"%PDF-1.4\n%%EOF",
    "an EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "a PNG and an archive": picture() + archive(),
    "a JPEG and an archive": picture("JPEG") + archive(),
    "a WebP and an archive": picture("WEBP") + archive(),
    "a PNG and a page": picture() + b"<script>alert(1)</script>",
    "half a PNG": picture()[:-20],
    "half a JPEG": picture("JPEG", size=(400, 400))[:-200],
    "half a JPEG with an end": picture("JPEG", size=(400, 400))[:300] + b"\xff\xd9",
    "a WebP that lies about its length": picture("WEBP")[:4] + b"\xff\xff\xff\x7f" + picture("WEBP")[8:],
    "a PNG whose pixels are rubbish": picture()[:60] + b"\0" * 8 + picture()[68:],
    "a moving PNG": picture(
        save_all=True, append_images=[Image.new("RGB", (200, 100), "#0000ff")], duration=100
    ),
    "a moving WebP": picture(
        "WEBP", save_all=True, append_images=[Image.new("RGB", (200, 100), "#0000ff")], duration=100
    ),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_no_single_picture_is_refused(data):
    with pytest.raises(InvalidRequest) as caught:
        read_logo(data)
    assert (caught.value.code, caught.value.param) == ("logo_unreadable", "logo")


TOO_LARGE = {
    "a bomb": png_that_says(60_000, 60_000),
    "a bomb that Pillow itself refuses": png_that_says(200_000, 200_000),
    "one pixel row too many": png_that_says(4000, PIXELS_MAX // 4000 + 1),
    "a heavy file": picture() + b"\0" * FILE_BYTES_MAX,
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_would_fill_the_memory_is_refused_before_it_is_unpacked(data):
    with pytest.raises(InvalidRequest) as caught:
        read_logo(data)
    assert caught.value.code == "logo_too_large"


def test_what_would_be_a_blot_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        read_logo(picture(size=(200, 63)))
    assert caught.value.code == "logo_too_small"


@pytest.mark.parametrize("level", Level)
def test_a_logo_covers_no_more_than_its_level_can_spare(level):
    for length in (20, 36, 75, 200):
        size = matrix_for("a" * length, level).size
        covered = cover_of(size, level)
        assert covered <= size * SHARE_MAX[level]
        assert covered % 2 == 1 or covered == 0
        assert (covered == 0) == (level in (Level.L, Level.M))
