"""Where things stand: text keeps off the code and inside of its paper, labels where the vendor cut them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.qr.print.card import TEST_WORDS, Look, Placing
from app.qr.print.labels import STOCKS
from app.qr.print.marks import Face, Line, Page, Symbol, Text
from app.qr.print.shop import Kind, calibration, pages
from app.qr.print.typefaces import width_of
from tests.qr.print.samples import (
    CHARGE,
    CODE,
    WORDS,
    look_with_logo,
    needs_poppler,
    pixels_of_pdf,
    series,
    told_by,
)


def box_of(text: Text) -> tuple[float, float, float, float]:
    """The ink of a line, about: from a Chinese top to a Latin descender."""
    right = text.left + width_of(text.text, text.weight) * text.size
    return text.left, text.y - 0.86 * text.size, right, text.y + 0.2 * text.size


def faults(face: Face) -> list[str]:
    """Texts that leave the face, lie on a code (but for the word TEST in its middle) or on each other."""
    symbols = [mark for mark in face.marks if isinstance(mark, Symbol)]
    texts = [mark for mark in face.marks if isinstance(mark, Text) and mark.text.strip()]
    found = []
    for number, text in enumerate(texts):
        left, top, right, bottom = box_of(text)
        if left < 0 or top < 0 or right > face.width or bottom > face.height:
            found.append(f"{text.text} leaves the paper")
        for symbol in symbols:
            edge = 2 * symbol.module  # a half of the quiet zone is air for its neighbours, too
            low, high = edge, symbol.side - edge
            across = right > symbol.x + low and left < symbol.x + high
            if across and bottom > symbol.y + low and top < symbol.y + high and text.text != TEST_WORDS:
                found.append(f"{text.text} lies on the code")
        for other in texts[number + 1 :]:
            a, b = (left, top, right, bottom), box_of(other)
            if a[0] < b[2] - 0.1 and b[0] < a[2] - 0.1 and a[1] < b[3] - 0.3 and b[1] < a[3] - 0.3:
                found.append(f"{text.text} lies on {other.text}")
    return found


def all_faults(page: Page) -> list[str]:
    return [fault for face in page.faces for fault in faults(face)]


names = st.text(alphabet="晨光咖啡馆 WMil·é", max_size=80)


@settings(max_examples=8, deadline=None)
@given(title=names, label=names, amount=st.sampled_from(["", "¥0.01", "¥100,000,000.00"]), test=st.booleans())
@pytest.mark.parametrize("kind", Kind)
def test_text_keeps_off_the_code_however_long_it_is(kind, title, label, amount, test):
    for words in WORDS.values():
        card = replace(
            CHARGE, title=title or "W", label=label, amount=amount, words=words, test=test, code="7K2M-9QXT"
        )
        assert all_faults(pages(kind, [card])[0]) == []


def test_the_check_for_faults_finds_them():
    page = pages(Kind.A6, [CODE])[0]
    middle = Text(52, 74, "in the way", 5, "#000000", anchor="middle")
    spoilt = replace(page.faces[0], marks=(*page.faces[0].marks, middle, replace(middle, x=-20)))
    assert any("lies on the code" in fault for fault in faults(spoilt))
    assert any("leaves the paper" in fault for fault in faults(spoilt))


@pytest.mark.parametrize("kind", [Kind.A4, Kind.A5, Kind.A6, Kind.TENT, Kind.STICKER, Kind.PLAIN])
@pytest.mark.parametrize("card", [CODE, CHARGE], ids=["code", "charge"])
def test_modules_are_as_large_as_their_readers_distance_asks(kind, card):
    least = {Kind.A4: 2.4, Kind.A5: 1.6, Kind.A6: 1.1, Kind.TENT: 1.5, Kind.STICKER: 1.1, Kind.PLAIN: 1.1}
    symbols = [
        mark for face in pages(kind, [card])[0].faces for mark in face.marks if isinstance(mark, Symbol)
    ]
    assert all(symbol.module >= least[kind] for symbol in symbols)


# In points, as the templates of glabels-data 3.4.1 (Debian) have them: columns, rows, width, height, left,
# top, steps.  They were measured by hand: Avery's own drawings, which STOCKS follows, centre each sheet.
GLABELS = {
    "Avery L7164": (3, 4, 180.0, 204.038, 20.84, 10.0, 187.08, 204.038),
    "Avery L7160": (3, 7, 181.4, 108.0, 21.2, 43.9, 187.2, 108.0),
    "Avery Zweckform 3474": (3, 8, 198.43, 104.88, 0.0, 0.0, 198.43, 104.88),
}


@pytest.mark.parametrize("stock", STOCKS, ids=lambda stock: stock.name)
def test_labels_lie_where_the_vendor_cut_them(stock):
    columns, rows, *points = GLABELS[stock.name]
    width, height, left, top, step_x, step_y = [point / 72 * 25.4 for point in points]
    assert (stock.columns, stock.rows) == (columns, rows)
    assert (stock.width, stock.height) == pytest.approx((width, height), abs=0.5)
    for number in range(stock.count):
        x, y = stock.corner(number)
        assert x == pytest.approx(left + number % columns * step_x, abs=0.4)
        assert y == pytest.approx(top + number // columns * step_y, abs=1.1)
        assert x >= 0
        assert x + stock.width <= 210.01
        assert y >= 0
        assert y + stock.height <= 297.01


def test_the_margins_of_a_sheet_are_even():
    for stock in STOCKS:
        x, y = stock.corner(stock.count - 1)
        assert 210 - x - stock.width == pytest.approx(stock.left, abs=0.15)
        assert 297 - y - stock.height == pytest.approx(stock.top, abs=0.15)


def test_a_series_begins_at_the_label_that_is_free_and_goes_on_over_sheets():
    sheets = pages(Kind.LABELS_12, series(15), placing=Placing(start=11))
    assert [len(sheet.faces) for sheet in sheets] == [2, 12, 1]
    corners = [(face.x, face.y) for face in sheets[0].faces]
    assert corners == [STOCKS[0].corner(10), STOCKS[0].corner(11)]
    assert (sheets[2].faces[0].x, sheets[2].faces[0].y) == STOCKS[0].corner(0)


@pytest.mark.parametrize("start", [0, 13])
def test_a_sheet_has_no_label_beyond_its_last(start):
    with pytest.raises(InvalidRequest) as caught:
        pages(Kind.LABELS_12, [CODE], placing=Placing(start=start))
    assert caught.value.param == "start"


def test_an_offset_moves_every_label_by_as_much():
    plain = pages(Kind.LABELS_21, series(21))[0]
    moved = pages(Kind.LABELS_21, series(21), placing=Placing(right_mm=0.5, down_mm=-0.3))[0]
    for before, after in zip(plain.faces, moved.faces, strict=True):
        assert (after.x - before.x, after.y - before.y) == pytest.approx((0.5, -0.3))
        assert after.marks == before.marks


@needs_poppler
def test_the_calibration_page_shows_every_frame_where_labels_will_lie():
    printed = calibration(Kind.LABELS_24, ["Hold it against the light."], placing=Placing(right_mm=0.5))
    text = told_by("pdftotext", printed.body)
    for part in ("Avery Zweckform 3474", "Hold it", "100 mm", "24"):
        assert part in text
    picture = pixels_of_pdf(printed.body, 254)  # ten pixels a millimetre
    for number in (4, 22):
        x, y = STOCKS[2].corner(number)
        row = [picture.getpixel((round(10 * (x + 0.5)) + step, round(10 * (y + 5)))) for step in range(-5, 6)]
        assert min(row[3:8]) < 128 < min(row[0], row[-1])


def test_the_upper_face_of_a_tent_stands_on_its_head():
    page = pages(Kind.TENT, [CODE])[0]
    assert [face.turned for face in page.faces] == [True, False, False]
    assert page.faces[0].marks == page.faces[1].marks
    assert all(isinstance(mark, Line) for mark in page.faces[2].marks)


def test_a_logo_hides_no_more_of_the_code_than_it_may():
    for kind in (Kind.A6, Kind.LABELS_21):
        page = pages(kind, [CODE], look=look_with_logo())[0]
        marks = page.faces[0].marks
        symbol = next(mark for mark in marks if isinstance(mark, Symbol))
        plate = marks[marks.index(symbol) + 1]
        assert plate.width <= 0.25 * symbol.module * symbol.matrix.size
        assert plate.x - symbol.x == pytest.approx(symbol.x + symbol.side - plate.x - plate.width)
    assert pages(Kind.A6, [CODE], look=Look())[0].faces[0].marks != marks
