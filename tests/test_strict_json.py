"""JSON as it may enter.  What the API answers to the rest is in tests/api/test_bad_input.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.strict_json import DEPTH_MAX, parse_object

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text(max_size=8), values, max_size=5), ascii_only=st.booleans())
def test_an_ordinary_object_is_read_as_python_reads_it(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert parse_object(body) == value


@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_invalid_request(body):
    try:
        value = parse_object(body)
    except InvalidRequest:
        return
    assert isinstance(value, dict)


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_nesting_ends_where_it_is_said_to():
    assert parse_object(nested(DEPTH_MAX))
    for depth in (DEPTH_MAX + 1, 990, 100_000):
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            parse_object(nested(depth))


def test_integers_have_at_most_nineteen_digits():
    assert parse_object(b'{"a": -9223372036854775808}') == {"a": -(2**63)}
    for digits in (20, 4_301):
        with pytest.raises(InvalidRequest, match="too many digits"):
            parse_object(b'{"a": ' + b"9" * digits + b"}")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_python_s_own_numbers_are_refused_wherever_they_stand(word):
    for body in (f'{{"a": {word}}}', f'{{"a": [{{"b": {word}}}]}}'):
        with pytest.raises(InvalidRequest, match="is not JSON"):
            parse_object(body.encode())


def test_a_repeated_key_is_named_wherever_it_stands():
    for body in (b'{"a": 1, "b": 2, "a": 1}', b'{"x": [{"a": 1, "a": 1}]}', b'{"a": 1, "\\u0061": 1}'):
        with pytest.raises(InvalidRequest, match="'a' occurs twice") as caught:
            parse_object(body)
        assert (caught.value.code, caught.value.param) == ("duplicate_key", "a")


def test_a_refusal_does_not_repeat_what_was_sent():
    secret = "whsec_canary"
    for body in (
        f'{{"secret": "{secret}"',
        f'{{"secret": "{secret}", "secret": "{secret}"}}',
        f'["{secret}"]',
    ):
        with pytest.raises(InvalidRequest) as caught:
            parse_object(body.encode())
        assert secret not in caught.value.detail
