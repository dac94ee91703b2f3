"""A page cut once fills with anybody's texts, and none of them is read as a page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from app.checkout.stencil import cut, hole


@given(shop=st.text(), note=st.text())
def test_a_text_is_escaped_once_wherever_it_stands(shop, note):
    page = f"<b title='{hole('shop')}'>{hole('shop')}</b>{hole('note')}"
    expected = f"<b title='{escape(shop)}'>{escape(shop)}</b>{escape(note)}"
    assert cut(page).filled({"shop": shop, "note": note}) == expected


def test_a_text_that_looks_like_a_hole_stays_a_text():
    assert cut(hole("a") + hole("b")).filled({"a": hole("b"), "b": "secret"}) == hole("b") + "secret"


def test_a_drawing_is_put_in_as_it_is():
    assert cut(f"<p>{hole('drawing')}</p>").filled({"drawing": Markup("<svg/>")}) == "<p><svg/></p>"


def test_a_missing_text_is_an_error_and_not_an_empty_page():
    with pytest.raises(KeyError):
        cut(hole("amount")).filled({})
