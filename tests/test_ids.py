"""Ids sort by birth, are unguessable, and are known by their form."""

from __future__ import annotations

import re
import threading
import time
from itertools import pairwise

import pytest

from app import ids


def test_ids_rise_strictly_within_a_process():
    made = [ids.new_id("ch") for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_of_many_threads_are_all_different():
    made: list[list[str]] = [[] for _ in range(8)]
    threads = [
        threading.Thread(target=lambda box=box: box.extend(ids.new_body() for _ in range(2_000)))
        for box in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({body for box in made for body in box}) == 16_000
    assert all(box == sorted(box) for box in made)


def test_a_clock_set_back_does_not_set_ids_back(monkeypatch):
    before = ids.new_body()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    after = [ids.new_body() for _ in range(100)]
    assert [before, *after] == sorted({before, *after})


def number_of(body: str) -> int:
    """The body read as a number, letter by letter: not the way it was written."""
    number = 0
    for letter in body:
        number = number * 32 + ids.ALPHABET.index(letter)
    return number


def test_the_next_id_of_the_same_millisecond_cannot_be_counted_up(monkeypatch):
    monkeypatch.setattr(ids, "_last", ids._last)
    monkeypatch.setattr(time, "time_ns", lambda: 10**18 * 4)  # in the year 2096
    strides = [after - before for before, after in pairwise(number_of(ids.new_body()) for _ in range(50))]
    assert min(strides) > 0
    assert len(set(strides)) == len(strides)


def test_an_id_begins_with_its_time():
    assert abs(number_of(ids.new_body()[:10]) - time.time_ns() // 1_000_000) < 60_000


def test_the_form_of_an_id_is_known():
    assert re.fullmatch(r"ch_[0-9a-hjkmnp-tv-z]{26}", ids.new_id("ch"))
    assert ids.is_id(ids.new_id("ch"), "ch")
    good = ids.new_id("ch")
    bad = [
        "",
        "ch",
        "ch_",
        good[3:],
        good.upper(),
        good + "0",
        good[:-1],
        good + "\n",
        "ch__" + good[3:],
        " " + good,
    ]
    bad += ["re" + good[2:], good[:-1] + "i", good[:-1] + "é", "ch_8" + good[4:], good.replace("_", "-")]
    for text in bad:
        assert not ids.is_id(text, "ch"), text


@pytest.mark.parametrize("number", [0, 1, 31, 32, 2**128 - 1])
def test_the_body_is_crockfords_base_32(number):
    body = ids._encode(number)
    assert len(body) == ids.BODY_CHARS
    assert number_of(body) == number
