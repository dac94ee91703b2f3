"""SVG for designers: one valid document, outlines instead of fonts, and a browser that agrees."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from app.qr.print.shop import Form, Kind, draw, forms_of
from tests.qr.print.readers import READERS
from tests.qr.print.samples import CHARGE, CODE, look_with_logo, series

CHROMIUM = shutil.which("chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
SVG = "{http://www.w3.org/2000/svg}"
SVGS = [kind for kind in Kind if Form.SVG in forms_of(kind)]


@pytest.mark.parametrize("kind", SVGS)
def test_it_has_its_real_size_and_needs_no_font(kind):
    root = ET.fromstring(draw(kind, series(2, CHARGE), form=Form.SVG).body)
    width, height = root.attrib["width"], root.attrib["height"]
    assert root.attrib["viewBox"] == f"0 0 {width[:-2]} {height[:-2]}"
    assert width.endswith("mm")
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "g", "rect", "path"}


def test_names_are_text_and_never_markup():
    nasty = "<script>alert(1)</script>&\"'"
    root = ET.fromstring(draw(Kind.A6, [replace(CODE, title=nasty)], form=Form.SVG).body)
    assert root.findtext(f"{SVG}title") == nasty
    assert not [element for element in root.iter() if element.tag.endswith("script")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_draws_a_code_that_every_reader_reads(chromium):
    page = chromium.new_page(viewport={"width": 900, "height": 900})
    for kind, card, look in ((Kind.TENT, CHARGE, None), (Kind.PLAIN, CODE, look_with_logo())):
        more = {} if look is None else {"look": look}
        data = draw(kind, [card], form=Form.SVG, **more).body.decode()
        page.set_content(f"<body style='margin:0'>{data}</body>")
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        for name, reader in READERS.items():
            assert reader(picture) == {card.address}, (kind, name)
    page.close()
