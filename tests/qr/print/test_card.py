"""Colours that phones do not find are refused before anything is drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.qr.print.card import Card, Look, Placing, contrast, luminance

colours = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21.0), ("#777777", "#ffffff", 4.48), ("#595959", "#ffffff", 7.0)],
)
def test_contrast_is_as_wcag_counts_it(one, other, ratio):
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)
    assert contrast(other, one) == contrast(one, other)


@given(ink=colours, tile=colours)
def test_a_code_is_dark_on_light_and_stands_out_seven_to_one_or_is_refused(ink, tile):
    safe = luminance(ink) < luminance(tile) and contrast(ink, tile) >= 7
    if safe:
        assert Look(ink=ink, tile=tile).ink == ink
        return
    with pytest.raises(InvalidRequest) as caught:
        Look(ink=ink, tile=tile)
    assert caught.value.param == "ink"
    assert caught.value.code in ("contrast_too_low", "colour_inverted")


def test_the_limits_are_where_they_are_said_to_be():
    assert Look(ink="#595959").ink == "#595959"
    for ink in ("#5a5a5a", "#1677ff", "#07c160"):
        with pytest.raises(InvalidRequest, match="needs 7"):
            Look(ink=ink)
    with pytest.raises(InvalidRequest, match="white text") as caught:
        Look(accent="#07c160")
    assert caught.value.param == "accent"


@pytest.mark.parametrize("colour", ["", "red", "#fff", "#12345G", "#1234567", "#123456\n", "url(#a)"])
@pytest.mark.parametrize("param", ["ink", "tile", "accent"])
def test_what_is_no_colour_is_refused(param, colour):
    with pytest.raises(InvalidRequest) as caught:
        Look(**{param: colour})
    assert (caught.value.code, caught.value.param) == ("colour_invalid", param)


@pytest.mark.parametrize("offset", [0.51, -0.51, float("nan"), float("inf")])
@pytest.mark.parametrize("param", ["right_mm", "down_mm"])
def test_a_sheet_is_moved_by_half_a_millimetre_at_most(param, offset):
    assert Placing(**{param: 0.5})
    with pytest.raises(InvalidRequest) as caught:
        Placing(**{param: offset})
    assert caught.value.param == param


def test_the_host_is_read_off_the_address():
    assert Card("https://PAY.EXAMPLE.COM:8443/P/X", "a", ()).host == "pay.example.com:8443"
