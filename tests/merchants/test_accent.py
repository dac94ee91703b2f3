"""A colour of the merchant's never makes a page unreadable."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.merchants.accent import css_of, mixed
from app.qr.print.card import contrast

TOKEN = re.compile(r"--([a-z-]+):(#[0-9a-f]{6})")
DAY, NIGHT = ("#ffffff", "#f6f7f9"), ("#0f141b", "#171e27", "#1e2732")
COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(colour=COLOURS)
def test_text_can_be_read_by_day_and_by_night(colour: str) -> None:
    assume(contrast(colour, "#ffffff") >= 4.5)  # what a merchant can choose
    day, night = [dict(TOKEN.findall(block)) for block in css_of(colour).split("@media")]
    for tokens, grounds in ((day, DAY), (night, NIGHT)):
        for ground in (*grounds, tokens["accent-soft"], tokens["on-accent"]):
            assert contrast(tokens["accent"], ground) >= 4.5
        assert contrast(tokens["accent-strong"], tokens["on-accent"]) >= 4.5


def test_a_dark_colour_stays_as_it_is_by_day() -> None:
    assert "--accent:#7a3b12;" in css_of("#7a3b12").split("@media")[0]


@pytest.mark.parametrize(("share", "found"), [(0, "#204060"), (0.5, "#90a0b0"), (1, "#ffffff")])
def test_colours_are_mixed(share: float, found: str) -> None:
    assert mixed("#204060", "#ffffff", share) == found
