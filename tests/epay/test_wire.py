"""The pure part of 易支付: what is signed, how money and names are read, what counts as a receipt."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.epay import wire
from app.errors import InvalidRequest, SignatureMismatch

FIELDS = {"b": "2", "a": "1", "c": "", "sign": "x", "sign_type": "MD5"}


def test_what_is_signed_is_sorted_not_encoded_and_without_what_is_empty():
    assert wire.signed_text({**FIELDS, "name": "会员 & +"}) == "a=1&b=2&name=会员 & +"
    # printf '%s' 'a=1&b=2KEY' | md5sum
    assert wire.signature_of(FIELDS, "KEY") == "c5b3153ba616141a0bf58e29ad4cbb3f"


def test_a_signature_may_be_written_in_capitals_and_its_kind_left_out():
    signed = {"a": "1", "b": "2", "sign": wire.signature_of(FIELDS, "KEY").upper()}
    wire.check_signature(signed, "KEY")
    for other in ({"a": "2"}, {"sign": ""}, {"sign": "ä"}):
        with pytest.raises(SignatureMismatch):
            wire.check_signature(signed | other, "KEY")


@given(st.text(max_size=12))
def test_money_is_read_exactly_or_not_at_all(text):
    try:
        amount = wire.read_money(text)
    except InvalidRequest:
        return
    assert Decimal(amount.minor) == Decimal(text) * 100


@pytest.mark.parametrize(
    ("text", "minor"),
    [("1", 100), ("0.01", 1), ("12.5", 1250), ("12.50", 1250), ("999999999.99", 99999999999)],
)
def test_money_has_up_to_two_decimals(text, minor):
    assert wire.read_money(text).minor == minor


@given(st.text())
def test_a_name_is_cut_between_characters(name):
    cut = wire.cut_name(name)
    assert len(cut.encode()) <= 127
    assert name.encode(errors="replace").decode().startswith(cut)


@pytest.mark.parametrize(
    ("status", "body", "heard"),
    [
        (200, b"success", True),
        (200, b" SUCCESS\r\n", True),
        (204, b"", False),
        (200, b"\xef\xbb\xbfsuccess", True),
        (200, b"Notice: undefined index in a.php\nsuccess", True),
        (200, b"success\n<!-- 0.01 s -->", True),
        (200, b'{"success":true}', False),
        (200, b'<div class="alert-success">', False),
        (200, b"unsuccess", False),
        (200, b"no success", False),
        (200, b"success_rate: 0", False),
        (500, b"success", False),
        (302, b"success", False),
        (None, b"success", False),
    ],
)
def test_only_a_plain_success_is_a_receipt(status, body, heard):
    assert wire.is_success(status, body) is heard


def test_parameters_go_to_the_very_end_of_an_address():
    assert wire.with_query("https://a.example/n", "x=1") == "https://a.example/n?x=1"
    assert wire.with_query("https://a.example/n?r=pay/n", "x=1") == "https://a.example/n?r=pay/n&x=1"
    assert wire.with_query("https://a.example/#/order/1", "x=1") == "https://a.example/#/order/1?x=1"


def test_a_parameter_comes_once_and_there_are_not_many():
    with pytest.raises(InvalidRequest):
        wire.fields_of([("money", "1"), ("money", "2")])
    with pytest.raises(InvalidRequest):
        wire.fields_of([(f"x{number}", "") for number in range(wire.FIELDS_MAX + 1)])


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        (
            "https://商店.example:8443/谢?a=%E4&b=中",
            "https://xn--czrs0t.example:8443/%E8%B0%A2?a=%E4&b=%E4%B8%AD",
        ),
        ("http://商店.example?a=/", "http://xn--czrs0t.example?a=/"),
        ("https://shop.example/@谢", "https://shop.example/@%E8%B0%A2"),
    ],
)
def test_a_host_goes_out_as_names_are_looked_up(address, sent):
    assert wire.is_web_address(address)
    assert wire.for_a_header(address) == sent


@pytest.mark.parametrize("address", ["https://" + "商" * 70 + ".example/", "https://商店。＠evil.example/"])
def test_a_host_that_has_no_such_form_is_no_address(address):
    assert not wire.is_web_address(address)
