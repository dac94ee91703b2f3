"""Money: whole minor units, exactly, in every direction."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.money import EXPONENTS, MINOR_MAX, SYMBOLS, Money

currencies = st.sampled_from(sorted(EXPONENTS))
minors = st.integers(-MINOR_MAX, MINOR_MAX)


@given(minor=minors, currency=currencies)
def test_what_is_written_is_read_back(minor, currency):
    money = Money(minor, currency)
    assert Money.from_major(money.major(), currency) == money


@given(minor=minors, currency=currencies)
def test_major_units_are_what_decimal_arithmetic_says(minor, currency):
    assert Decimal(Money(minor, currency).major()) == Decimal(minor).scaleb(-EXPONENTS[currency])


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "CNY", 1250),
        ("12.5", "CNY", 1250),
        ("12", "CNY", 1200),
        ("0.01", "CNY", 1),
        ("0", "CNY", 0),
        ("007.10", "CNY", 710),
        ("12.500", "CNY", 1250),
        ("-3.00", "CNY", -300),
        ("1500", "JPY", 1500),
        ("1500.00", "JPY", 1500),
        ("100000000.00", "CNY", MINOR_MAX),
    ],
)
def test_decimal_text_is_read_exactly(text, currency, minor):
    assert Money.from_major(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "1.005",
            "1e3",
            "1E3",
            "１",
            "١٢",
            "1,000",
            "1_000",
            " 1",
            "1 ",
            "1\n",
            "+1",
            "--1",
            ".5",
            "5.",
            ".",
        ),
        *("0x10", "NaN", "Infinity", "1.2.3", "¥1", "1.0000", "9" * 16, "None", "1.5\u0000"),
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="is not"):
        Money.from_major(text, "CNY")


def test_a_fraction_that_the_currency_does_not_have_is_refused():
    for text, currency in (("1.5", "JPY"), ("0.001", "CNY"), ("1.01", "KRW")):
        with pytest.raises(ValueError, match="minor units"):
            Money.from_major(text, currency)


@given(text=st.text(max_size=12), currency=currencies)
def test_no_text_is_read_as_something_that_it_does_not_say(text, currency):
    try:
        money = Money.from_major(text, currency)
    except ValueError:
        return
    assert text.isascii()
    assert Decimal(text) == Decimal(money.minor).scaleb(-EXPONENTS[currency])


@pytest.mark.parametrize("minor", [1.0, "1", True, None, Decimal(1), 12.5])
def test_only_a_whole_number_is_an_amount(minor):
    with pytest.raises(TypeError):
        Money(minor, "CNY")


@pytest.mark.parametrize("currency", ["cny", "XXX", "", "BTC", "KWD", "CN¥"])
def test_only_currencies_with_a_known_exponent_exist(currency):
    with pytest.raises(ValueError, match="currency"):
        Money(1, currency)
    with pytest.raises(ValueError, match="currency"):
        Money.from_major("1", currency)


def test_money_is_a_value():
    assert Money(1, "CNY") == Money(1, "CNY") != Money(1, "HKD")
    assert len({Money(1, "CNY"), Money(1, "CNY")}) == 1
    with pytest.raises(AttributeError):
        Money(1, "CNY").minor = 2  # type: ignore[misc]


def test_people_read_it_with_its_symbol():
    assert Money(123450, "CNY").text() == "¥1,234.50"
    assert Money(-5, "CNY").text() == "-¥0.05"
    assert Money(1500, "JPY").text() == "JP¥1,500"
    assert Money(0, "USD").text() == "US$0.00"
    assert str(Money(1250, "CNY")) == "12.50 CNY"
    assert set(SYMBOLS) == set(EXPONENTS)
    assert len(set(SYMBOLS.values())) == len(SYMBOLS)
