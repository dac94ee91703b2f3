"""The code of a sign: read however people write it, and never another code for a slip of the pen."""

from __future__ import annotations

import itertools

import pytest

from app.errors import BadLink
from app.qr.encode import Level, matrix_for
from app.qr.short_code import ALPHABET, CODE_CHARS, address_of, in_groups, new_code, parse_code

CODE = "7K2M9QXT4CWJ"


@pytest.mark.parametrize(
    "written",
    [
        CODE,
        CODE.lower(),
        "7K2M-9QXT-4CWJ",
        " 7k2m 9qxt 4cwj ",
        "７Ｋ２Ｍ－９ＱＸＴ－４ＣＷＪ",
        "7K2M–9QXT–4CWJ",
    ],
)
def test_a_code_is_read_however_it_is_written(written):
    assert parse_code(written) == CODE
    assert in_groups(CODE) == "7K2M-9QXT-4CWJ"


@pytest.mark.parametrize(
    "written",
    ["", CODE[:-1], CODE + "2", "7K2M9QXT4CW0", "7K2M9QXT4CWſ", "٧K2M9QXT4CWJ", "7K2M\n9QXT4CWJ", "-" * 500],
)
def test_what_is_no_code_is_refused(written):
    with pytest.raises(BadLink):
        parse_code(written)


def test_every_wrong_letter_and_every_two_that_changed_places_are_found():
    """All of them, for one code: the weighted sum modulo a prime leaves none."""
    slips = {CODE[:at] + letter + CODE[at + 1 :] for at in range(CODE_CHARS) for letter in ALPHABET}
    for one, other in itertools.combinations(range(CODE_CHARS), 2):
        letters = list(CODE)
        letters[one], letters[other] = letters[other], letters[one]
        slips.add("".join(letters))
    slips.discard(CODE)
    assert len(slips) > 380
    for slip in slips:
        with pytest.raises(BadLink):
            parse_code(slip)


def test_new_codes_are_codes_and_all_different():
    fresh = {new_code() for _ in range(1000)}
    assert len(fresh) == 1000
    assert {parse_code(code) for code in fresh} == fresh


def test_the_address_keeps_its_scheme_small_and_fits_twenty_nine_modules():
    address = address_of("https://pay.example.com", CODE)
    assert address == "https://PAY.EXAMPLE.COM/P/7K2M9QXT4CWJ"
    assert matrix_for(address, Level.Q).size == 29
    plain = address_of("https://pay.example.com", CODE, host_upper=False)
    assert plain == "https://pay.example.com/P/7K2M9QXT4CWJ"
