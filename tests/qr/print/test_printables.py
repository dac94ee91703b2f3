"""Every printable is read by three readers, printed and spoilt; the whole matrix is `make prove-print`."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import pytest

from app.errors import InvalidRequest
from app.qr.print.card import Look
from app.qr.print.shop import CARDS_MAX, STOCK_OF, Form, Kind, calibration, draw, forms_of, pages
from tests.qr.print import samples
from tests.qr.print.prove import tiles
from tests.qr.print.readers import READERS, has_zbar
from tests.qr.print.samples import CHARGE, CODE, WORDS, look_with_logo, needs_poppler, pixels_of_pdf, series
from tests.qr.print.spoiling import SPOILINGS, spoilt

STATES = ("code", "test", "logo")
# Each printable at both resolutions, and the states and languages by turns: each meets each somewhere.
TURNS = [
    (kind, dpi, state, language)
    for (kind, dpi), state, language in zip(
        [(kind, dpi) for kind in Kind for dpi in (203, 300)], cycle(STATES), cycle(WORDS), strict=False
    )
]


@pytest.mark.skipif(not has_zbar(), reason="no libzbar0")
def test_there_are_three_readers():
    assert set(READERS) == {"zxing", "wechat", "zbar"}


@needs_poppler
@pytest.mark.parametrize(("kind", "dpi", "state", "language"), TURNS)
def test_every_printable_is_read_as_printed_and_after_every_spoiling(kind, dpi, state, language):
    if state == "logo" and kind in (Kind.THERMAL_58, Kind.THERMAL_80):
        state = "test"
    count = STOCK_OF[kind].count if kind in STOCK_OF else 1
    card = replace(CHARGE if state == "test" else CODE, words=WORDS[language])
    look = look_with_logo() if state == "logo" else Look()
    found = tiles(kind, series(count, card), look, dpi)
    assert len(found) == (2 if kind is Kind.TENT else count)
    for tile in {0: found[0], len(found) - 1: found[-1]}.values():
        for name in SPOILINGS:
            picture = spoilt(tile.view, tile.modules, name)
            for who, reader in READERS.items():
                assert reader(picture) == {tile.address}, (name, who)


@needs_poppler
def test_a_whole_sheet_is_read_label_for_label():
    cards = series(24)
    picture = pixels_of_pdf(draw(Kind.LABELS_24, cards).body, 203)
    assert READERS["zxing"](picture) == {card.address for card in cards}


# A5 and A4 are A6 in another size, and take their time.
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.A4, Kind.A5)])
def test_every_form_gives_the_same_bytes_each_time(kind):
    for form in forms_of(kind):
        assert draw(kind, series(3), form=form) == draw(kind, series(3), form=form)


def test_a_form_that_a_printable_has_not_is_refused():
    for kind, form in ((Kind.A4, Form.ESCPOS), (Kind.THERMAL_58, Form.PDF)):
        with pytest.raises(InvalidRequest) as caught:
            draw(kind, [CODE], form=form)
        assert caught.value.code == "form_invalid"
    with pytest.raises(InvalidRequest):
        calibration(Kind.A4, [])


@pytest.mark.parametrize("count", [0, CARDS_MAX + 1])
@pytest.mark.parametrize("kind", [Kind.A6, Kind.LABELS_24, Kind.THERMAL_58])
def test_a_series_has_1_to_500_codes(kind, count):
    with pytest.raises(InvalidRequest) as caught:
        draw(kind, [CODE] * count)
    assert caught.value.code == "series_invalid"


def test_a_code_too_dense_for_its_size_is_refused():
    dense = replace(CODE, address="https://PAY.EXAMPLE.COM/" + "a" * 300)
    assert pages(Kind.A4, [dense])
    with pytest.raises(InvalidRequest) as caught:
        draw(Kind.LABELS_21, [dense])
    assert caught.value.code == "too_dense"


@needs_poppler
def test_a_logo_is_drawn_and_a_test_print_says_test_instead():
    plain, decorated = draw(Kind.PLAIN, [CODE]), draw(Kind.PLAIN, [CODE], look=look_with_logo())
    assert plain.body != decorated.body
    on_test = [draw(Kind.PLAIN, [CHARGE], look=look) for look in (Look(), Look(logo=look_with_logo().logo))]
    assert on_test[0] == on_test[1]
    assert (
        samples.told_by("pdftotext", draw(Kind.PLAIN, [CHARGE], form=Form.PDF).body).count("TEST 测试") == 1
    )
