"""Letters on paper: all of GBK, never a box, and lines that fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import MissingGlyph
from app.qr.print.typefaces import FOLDER, Weight, cleaned, fitted, path_of, runs_of, width_of

GBK = "".join(
    char
    for code in range(0x21, 0x10000)
    if (char := chr(code)).isprintable() and char.encode("gbk", "ignore")
)


def test_every_character_of_gbk_is_there_but_for_one_sign_that_noto_has_not():
    assert len(GBK) > 21_000
    with pytest.raises(MissingGlyph) as caught:
        runs_of(GBK)
    assert caught.value.characters == "≒"


@pytest.mark.parametrize("weight", Weight)
def test_what_the_bold_one_lacks_is_set_in_the_regular_one(weight):
    runs = runs_of("双囍¥é", weight)
    assert "".join(run.text for run in runs) == "双囍¥é"
    if weight is Weight.BOLD:
        assert [(run.weight, run.text) for run in runs] == [
            (Weight.BOLD, "双"),
            (Weight.REGULAR, "囍"),
            (Weight.BOLD, "¥é"),
        ]


def test_every_missing_character_is_named_once():
    with pytest.raises(MissingGlyph) as caught:
        runs_of("晨光🥐咖啡馆𠮷🥐ﷺ")
    assert caught.value.characters == "🥐𠮷ﷺ"
    assert caught.value.code == "missing_glyph"


texts = st.text(alphabet="晨光咖啡馆，。abc WXYZ-·123 ", max_size=80)


@given(
    text=texts | st.text(alphabet="W", max_size=60),
    width=st.floats(15, 200),
    size=st.floats(3, 12),
    lines=st.integers(1, 3),
    weight=st.sampled_from(Weight),
)
def test_lines_fit_their_width_and_lose_nothing_but_by_an_ellipsis(text, width, size, lines, weight):
    least = size / 2
    set_lines, used = fitted(text, width, size=size, least=least, lines=lines, weight=weight)
    assert least <= used <= size
    assert len(set_lines) <= lines
    for line in set_lines:
        assert width_of(line, weight) * used <= width + 1e-6
        assert line == line.strip()
    whole = "".join(set_lines).replace(" ", "")
    wanted = cleaned(text).replace(" ", "")
    assert whole == wanted or (whole.endswith("…") and wanted.startswith(whole[:-1]))


def test_latin_breaks_between_words_and_chinese_before_no_stop():
    assert fitted("测试：不会真实扣款·TEST: no money moves", 30, size=4, least=2.4, lines=2)[0] == (
        "测试：不会真实扣款·",
        "TEST: no money moves",
    )
    lines, _ = fitted("晨光咖啡馆，人民路店。" * 3, 30, size=4, least=2, lines=3)
    assert not any(line[0] in "，。" for line in lines)


def test_the_fonts_travel_with_their_licence_and_may_be_embedded():
    assert "SIL Open Font License, Version 1.1" in (FOLDER / "OFL.txt").read_text()
    assert sum(path_of(weight).stat().st_size for weight in Weight) < 10_000_000
