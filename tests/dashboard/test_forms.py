"""What people type for an amount, and the command that makes the same charge by hand."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.charges.forms import amount_of, curl_for
from app.errors import InvalidRequest
from app.money import MINOR_MAX, Money

SAME = [
    "1234.5",
    "1,234.50",
    "¥1,234.5",
    "￥1234.50",
    "1234.50元",
    "１２３４．５",
    "１２３４。５０",
    " 1 234.5 ",
]


@pytest.mark.parametrize("text", SAME)
def test_an_amount_is_read_however_it_is_written(text: str) -> None:
    assert amount_of(text, "CNY") == Money(123450, "CNY")


@pytest.mark.parametrize("text", ["", "¥", "abc", "1.2.3", "1e3", "0x10", "--1", "1.005", "٣", "½", "1" * 33])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        amount_of(text, "CNY")
    assert refusal.value.param == "amount"


@given(minor=st.integers(0, MINOR_MAX), currency=st.sampled_from(["CNY", "HKD", "JPY", "USD"]))
def test_what_we_write_we_read(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert amount_of(money.text(), currency) == money
    assert amount_of(money.major(), currency) == money


@given(text=st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(InvalidRequest):
        assert amount_of(text, "CNY").currency == "CNY"


@given(description=st.text(min_size=1, max_size=60))
def test_the_command_survives_the_shell(description: str) -> None:
    text = description.replace("\x00", "")
    charge = {"amount": 1250, "currency": "cny", "description": text, "store": "st_1"}
    words = shlex.split(curl_for("http://pay.example.com", charge).replace("\\\n", ""))
    assert json.loads(words[words.index("-d") + 1]) == charge
    assert words[1] == "http://pay.example.com/v1/charges"
