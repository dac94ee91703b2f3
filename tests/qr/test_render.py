"""Every drawing is read back by two independent readers, and is what it says it is."""

from __future__ import annotations

import re
import string
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app import ids
from app.qr import render
from app.qr.encode import VERSION_MAX, Level, Matrix, matrix_for
from app.qr.links import LinkFacts, LinkSigner, link_for, parse_token
from app.qr.render import QUIET_ZONE, SIZE_PX_MAX, SIZE_PX_MIN, Kind
from tests.qr.pictures import SVG, picture_of_png, picture_of_svg

SIGNER = LinkSigner(["a key of thirty-two letters long."], purpose="charge")
FACTS = LinkFacts("ch_01jd3w6j7hk8qz4v9x2b5n7m0t", "me_01jd3w0000k8qz4v9x2b5n7m0t", 1250, "CNY")
LINK = link_for("https://pay.example.com", SIGNER.token_for(FACTS))
SIZES = (SIZE_PX_MIN, 121, 240, 333, 600, 1024, SIZE_PX_MAX)


def _picture_of_terminal(text: str, half_px: int = 6) -> Image.Image:
    """A dark terminal with light letters: a block is light, a space is the dark background."""
    lines = text.splitlines()
    picture = Image.new("L", (len(lines[0]), 2 * len(lines)), 0)
    for row, line in enumerate(lines):
        for column, block in enumerate(line):
            upper, lower = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}[block]
            picture.putpixel((column, 2 * row), 255 * upper)
            picture.putpixel((column, 2 * row + 1), 255 * lower)
    return picture.resize((picture.width * half_px, picture.height * half_px), Image.Resampling.NEAREST)


def _modules_of(picture: Image.Image, module_px: int, before: int, size: int) -> Matrix:
    """Read a drawing back by the middle of each module."""
    half = before + module_px // 2
    rows = [
        "".join(
            ["10"[picture.getpixel((half + x * module_px, half + y * module_px)) > 127] for x in range(size)]
        )
        for y in range(size)
    ]
    return Matrix(size, tuple([int(row, 2) for row in rows]))


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("size_px", SIZES)
def test_a_png_of_every_level_and_size_is_read(read, level, size_px):
    picture = picture_of_png(render.png(matrix_for(LINK, level), size_px=size_px))
    assert picture.size == (size_px, size_px)
    assert read(picture) == [LINK]


@pytest.mark.parametrize("level", Level)
def test_an_svg_of_every_level_is_read(read, level):
    assert read(picture_of_svg(render.svg(matrix_for(LINK, level)))) == [LINK]


@pytest.mark.parametrize("level", Level)
def test_a_dark_terminal_of_every_level_is_read(read, level):
    assert read(_picture_of_terminal(render.terminal(matrix_for(LINK, level)))) == [LINK]


@pytest.mark.parametrize("level", Level)
def test_blocks_of_nothing_but_zeros_are_read(read, level):
    """qrcode 8.2 cannot divide a block of zeros; a link with a long run of them must still be drawn."""
    link = LINK + "0" * 180
    assert read(picture_of_png(render.png(matrix_for(link, level), size_px=600))) == [link]


@settings(max_examples=25)
@given(
    body=st.text(alphabet=ids.ALPHABET, min_size=25, max_size=25),
    host=st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=30),
    amount_minor=st.integers(1, 10**10),
    level=st.sampled_from(Level),
    host_upper=st.booleans(),
)
def test_a_link_survives_the_way_through_both_readers(readers, body, host, amount_minor, level, host_upper):
    facts = LinkFacts(f"ch_0{body}", "me_01jd3w0000k8qz4v9x2b5n7m0t", amount_minor, "CNY")
    link = link_for(f"https://{host}.example", SIGNER.token_for(facts), host_upper=host_upper)
    picture = picture_of_png(render.png(matrix_for(link, level), size_px=480))
    for read in readers:
        assert read(picture) == [link]
    assert SIGNER.is_genuine(parse_token(link.rpartition("/")[2]), facts)


@pytest.mark.parametrize("letter", ["a", "Z", "7"])
@pytest.mark.parametrize("length", [1, 30, 200, 600])
def test_every_drawing_shows_exactly_the_matrix(letter, length):
    matrix = matrix_for(letter * length, Level.L)
    for size_px in (SIZE_PX_MIN, 127, 600):
        module_px = size_px // (matrix.size + 2 * QUIET_ZONE)
        before = (size_px - module_px * matrix.size) // 2
        png = picture_of_png(render.png(matrix, size_px=size_px)).convert("L")
        assert _modules_of(png, module_px, before, matrix.size) == matrix
    assert _modules_of(picture_of_svg(render.svg(matrix)), 6, 6 * QUIET_ZONE, matrix.size) == matrix
    shown = _picture_of_terminal(render.terminal(matrix))
    assert _modules_of(shown, 6, 6 * QUIET_ZONE, matrix.size) == matrix


@pytest.mark.parametrize("size_px", [SIZE_PX_MIN, 127, 128, 600, 601, SIZE_PX_MAX])
def test_a_png_is_one_bit_deep_with_a_white_quiet_zone_of_four_modules_or_more(size_px):
    matrix = matrix_for(LINK)
    picture = picture_of_png(render.png(matrix, size_px=size_px))
    assert picture.format == "PNG"
    assert picture.mode == "1"
    grey = picture.convert("L")
    assert set(grey.get_flattened_data()) == {0, 255}
    left, top, right, bottom = grey.point(lambda value: 255 - value).getbbox() or (0, 0, 0, 0)
    assert (left, right - left) == (top, bottom - top)  # a square, as far from the top as from the left
    module_px, rest = divmod(right - left, matrix.size)
    assert rest == 0
    assert min(left, size_px - right) >= QUIET_ZONE * module_px
    assert abs(left - (size_px - right)) <= 1
    assert size_px - (matrix.size + 2 * QUIET_ZONE) * module_px < matrix.size + 2 * QUIET_ZONE


@pytest.mark.parametrize(
    ("asked", "given_px"), [(-1, 120), (0, 120), (119, 120), (2049, 2048), (10**9, 2048)]
)
def test_the_size_of_a_png_is_clamped(asked, given_px):
    assert picture_of_png(render.png(matrix_for(LINK), size_px=asked)).size == (given_px, given_px)


def test_the_largest_symbol_still_has_a_pixel_a_module_at_the_smallest_size():
    assert SIZE_PX_MIN // (4 * VERSION_MAX + 17 + 2 * QUIET_ZONE) >= 1


def test_an_svg_is_a_white_tile_with_one_dark_path_and_nothing_else():
    matrix = matrix_for(LINK)
    root = ET.fromstring(render.svg(matrix, title="付款"))
    side = matrix.size + 2 * QUIET_ZONE
    assert root.attrib["viewBox"] == f"0 0 {side} {side}"
    assert root.attrib["shape-rendering"] == "crispEdges"
    assert [child.tag for child in root.iter()] == [f"{SVG}{tag}" for tag in ("svg", "title", "rect", "path")]
    tile, path = root[1].attrib, root[2].attrib
    assert (tile["width"], tile["height"], tile["fill"]) == (str(side), str(side), "#fff")
    assert path["stroke"] == "#000"
    picture = picture_of_svg(render.svg(matrix), module_px=1)
    box = picture.point(lambda value: 255 - value).getbbox()
    assert box == (QUIET_ZONE, QUIET_ZONE, QUIET_ZONE + matrix.size, QUIET_ZONE + matrix.size)


@given(title=st.text(st.characters(), max_size=300))
def test_any_title_is_safe_and_keeps_the_svg_well_formed(title):
    data = render.svg(matrix_for("A"), title=title)
    root = ET.fromstring(data)
    assert [child.tag for child in root.iter()] == [f"{SVG}{tag}" for tag in ("svg", "title", "rect", "path")]
    shown = root[0].text or ""
    assert len(shown) == min(len(title), render.TITLE_CHARS_MAX)
    assert all(kept in (char, " ") for kept, char in zip(shown, title, strict=False))


def test_a_title_is_escaped_and_named_for_screen_readers():
    data = render.svg(matrix_for("A"), title="</title><script>alert('&')</script>")
    assert b"<script" not in data
    assert b'role="img"' in data
    assert b'aria-hidden="true"' in render.svg(matrix_for("A"))


def test_a_long_title_is_cut():
    root = ET.fromstring(render.svg(matrix_for("A"), title="店" * (render.TITLE_CHARS_MAX + 1)))
    assert root[0].text == "店" * render.TITLE_CHARS_MAX


def test_a_terminal_drawing_is_light_around_and_never_wider_than_its_code():
    matrix = matrix_for(LINK)
    side = matrix.size + 2 * QUIET_ZONE
    lines = render.terminal(matrix).split("\n")
    assert lines.pop() == ""
    assert len(lines) == (side + 1) // 2
    assert {len(line) for line in lines} == {side}
    assert lines[:2] == ["█" * side] * 2
    assert lines[-1] == "▀" * side
    assert all(line.startswith("████") and line.endswith("████") for line in lines[:-1])


def test_an_etag_is_steady_and_differs_wherever_the_bytes_do():
    tags = [
        render.etag(LINK, Level.M, Kind.PNG, 600),
        render.etag(LINK, Level.M, Kind.PNG, 601),
        render.etag(LINK, Level.Q, Kind.PNG, 600),
        render.etag(LINK, Level.M, Kind.SVG, 600),
        render.etag(LINK + "A", Level.M, Kind.PNG, 600),
        render.etag(LINK, Level.M, Kind.SVG, title=""),
        render.etag(LINK, Level.M, Kind.SVG),
        render.etag(LINK, Level.M, Kind.SVG, title="付款"),
    ]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r"[0-9a-f]{32}", tag) for tag in tags)
    assert tags[0] == render.etag(LINK, Level.M, Kind.PNG, 600)


def test_the_same_text_gives_the_same_bytes():
    first, second = matrix_for(LINK), matrix_for(LINK)
    assert render.png(first, size_px=600) == render.png(second, size_px=600)
    assert render.svg(first, title="a") == render.svg(second, title="a")


def test_the_caches_are_bounded():
    assert render._widened.cache_info().maxsize == 16
