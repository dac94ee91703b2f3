"""What a thermal printer makes of our bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.errors import InvalidRequest, MissingGlyph
from app.qr.print.shop import Form, Kind, draw
from tests.qr.print.escpos import Paper, Printer
from tests.qr.print.readers import READERS
from tests.qr.print.samples import CHARGE, CODE

DOTS = {Kind.THERMAL_58: 384, Kind.THERMAL_80: 576}
ROLLS = pytest.mark.parametrize("kind", DOTS)


def printed(kind: Kind, form: Form, *cards) -> Paper:
    return Printer().print(draw(kind, cards, form=form).body)


@ROLLS
def test_the_printers_own_code_says_the_address_between_the_texts(kind):
    paper = printed(kind, Form.ESCPOS, CODE)
    assert paper.codes == [(CODE.address, 8, "M")]
    told = [text for text, _ in paper.lines]
    for text in (CODE.title, CODE.label, CODE.code, "扫码付款", "Scan to pay", *CODE.foot):
        assert text in told
    assert all(style["align"] == 1 for _, style in paper.lines)
    assert dict(paper.lines)[CODE.title]["size"] == 0x11
    assert paper.cuts == 1


@ROLLS
def test_a_test_ticket_begins_with_the_word_in_white_on_black(kind):
    paper = printed(kind, Form.ESCPOS, CHARGE)
    text, style = paper.lines[0]
    assert text.strip() == "TEST 测试"
    assert (style["inverse"], style["size"]) == (1, 0x11)
    assert "￥12.50" in [text for text, _ in paper.lines]


@ROLLS
def test_the_picture_is_as_wide_as_the_head_and_every_reader_reads_it(kind):
    for card in (CODE, CHARGE):
        paper = printed(kind, Form.ESCPOS_PICTURE, card)
        assert paper.picture.width == DOTS[kind]
        assert set(paper.picture.tobytes()) == {0, 255}
        for name, reader in READERS.items():
            assert reader(paper.picture) == {card.address}, name


def test_a_series_is_cut_between_tickets():
    cards = [replace(CODE, address=f"{CODE.address[:-1]}{n}") for n in range(3)]
    paper = printed(Kind.THERMAL_80, Form.ESCPOS, *cards)
    assert [data for data, _, _ in paper.codes] == [card.address for card in cards]
    assert paper.cuts == 3


def test_text_outside_gbk_is_refused_by_name_and_control_characters_never_reach_the_printer():
    with pytest.raises(MissingGlyph) as caught:
        draw(Kind.THERMAL_80, [replace(CODE, title="café ☕ 🥐 ☕")], form=Form.ESCPOS)
    assert caught.value.characters == "☕🥐"
    paper = printed(Kind.THERMAL_80, Form.ESCPOS, replace(CODE, title="a\x1b@\x1dV\x42\x00b"))
    assert paper.lines[0][0] == "a @ VB b"
    assert paper.cuts == 1


def test_a_code_too_dense_for_the_roll_is_refused():
    dense = replace(CODE, address="https://PAY.EXAMPLE.COM/" + "a" * 500)
    for form in (Form.ESCPOS, Form.ESCPOS_PICTURE, Form.PNG):
        with pytest.raises(InvalidRequest, match="too dense for 58 mm"):
            draw(Kind.THERMAL_58, [dense], form=form)
