"""Token buckets: a burst, then the rate; each caller for itself; no more memory than is granted."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rates import Buckets, place_of, rates_of


class Clock:
    """Seconds that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock_s() -> Clock:
    return Clock()


def test_a_burst_is_let_through_and_then_the_rate(clock_s):
    buckets = Buckets(2, 4, now_s=clock_s)
    assert [buckets.take("k").allowed for _ in range(5)] == [True] * 4 + [False]
    clock_s.now_s += 0.5
    assert [buckets.take("k").allowed for _ in range(2)] == [True, False]
    clock_s.now_s += 100
    assert [buckets.take("k").allowed for _ in range(5)] == [True] * 4 + [False]


def test_a_caller_is_told_how_long_to_wait(clock_s):
    buckets = Buckets(0.5, 2, now_s=clock_s)
    first = buckets.take("k")
    assert (first.limit, first.remaining, first.reset_s, first.retry_after_s) == (2, 1, 2, 0)
    buckets.take("k")
    refused = buckets.take("k")
    assert (refused.allowed, refused.remaining, refused.reset_s, refused.retry_after_s) == (False, 0, 4, 2)
    clock_s.now_s += refused.retry_after_s
    assert buckets.take("k").allowed


def test_callers_do_not_disturb_each_other(clock_s):
    buckets = Buckets(1, 1, now_s=clock_s)
    assert buckets.take("a").allowed
    assert not buckets.take("a").allowed
    assert buckets.take("b").allowed


def test_looking_takes_nothing(clock_s):
    buckets = Buckets(1, 1, now_s=clock_s)
    assert all(buckets.look("k").allowed for _ in range(5))
    assert buckets.take("k").allowed
    assert not buckets.look("k").allowed


def test_only_so_many_callers_are_remembered(clock_s):
    buckets = Buckets(1, 1, kept=3, now_s=clock_s)
    for number in range(50):
        buckets.take(str(number))
    assert len(buckets._levels) == 3
    assert not buckets.take("49").allowed
    assert buckets.take("1").allowed


def test_threads_take_no_token_twice(clock_s):
    buckets = Buckets(1, 500, now_s=clock_s)
    allowed = []

    def run() -> None:
        allowed.extend(buckets.take("k").allowed for _ in range(200))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 500


@given(gaps=st.lists(st.floats(0, 5), max_size=60))
def test_no_pattern_of_calls_gets_more_than_burst_and_rate(gaps):
    clock_s = Clock()
    buckets = Buckets(2, 3, now_s=clock_s)
    allowed = 0
    for gap in gaps:
        clock_s.now_s += gap
        allowed += buckets.take("k").allowed
    assert allowed <= 3 + 2 * sum(gaps) + 1e-6


def test_zero_is_no_limit():
    rates = rates_of(reads_per_s=0, writes_per_s=0, failures_per_min=0)
    assert (rates.reads, rates.writes, rates.batches, rates.failures) == (None,) * 4


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_subscriber_is_an_address_or_a_64(address, place):
    assert place_of(address) == place
