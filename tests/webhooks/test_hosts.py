"""Many endpoints of many merchants aimed at one host do not add up to a flood."""

from __future__ import annotations

import pytest

from app import rates
from app.addresses import Guard
from app.webhooks.courier import Courier
from app.webhooks.hosts import HostPace
from tests.webhooks.test_courier import states_of


@pytest.fixture
def clock_s(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [0.0]

    class Still(rates.Buckets):
        def __init__(self, per_s, burst):
            super().__init__(per_s, burst, now_s=lambda: now[0])

    monkeypatch.setattr("app.webhooks.hosts.Buckets", Still)
    return now


def admitted(pace, urls) -> int:
    return sum(pace.wait_s(url) == 0 for url in urls)


def test_a_thousand_endpoints_at_one_host_get_what_one_host_gets(clock_s):
    pace = HostPace(Guard(), 10)
    urls = [f"https://Victim.example.:{443 + 8000 * (n % 2)}/{n}" for n in range(1000)]
    assert admitted(pace, urls) == 20
    for _ in range(3):
        clock_s[0] += 1
        assert admitted(pace, urls) == 10
    assert admitted(pace, ["https://other.example/"]) == 1


def test_what_is_too_much_is_spread_over_the_time_that_it_takes(clock_s):
    pace = HostPace(Guard(), 10)
    waits = [pace.wait_s("https://victim.example/") for _ in range(120)]
    assert waits[:20] == [0.0] * 20
    assert 0.5 <= min(waits[20:]) < 1.5
    assert 5.0 <= waits[-1] <= 15.0  # a hundred before it, ten a second


def test_those_that_go_later_shorten_the_wait(clock_s):
    pace = HostPace(Guard(), 10)
    for _ in range(220):
        pace.wait_s("https://victim.example/")
    for _ in range(20):
        clock_s[0] += 1
        admitted(pace, ["https://victim.example/"] * 10)
    assert pace.wait_s("https://victim.example/") <= 1.5


def test_the_operators_own_networks_are_not_counted(clock_s, settings):
    pace = HostPace(Guard(settings.allowed_networks), 1)
    assert admitted(pace, ["http://127.0.0.1:3000/hook"] * 50) == 50
    assert admitted(pace, ["http://localhost/hook"] * 50) == 50
    assert admitted(pace, ["https://10.0.0.1/hook"] * 50) == 2


def test_what_has_to_wait_is_not_sent_nor_counted_as_tried(tell, listen, sender, receiver, shop_id):
    class Full(HostPace):
        def wait_s(self, url: str) -> float:
            return 30.0 if url.endswith("/full") else 0.0

    full, _ = listen("/ok/full")
    free, _ = listen("/ok/free")
    tell()
    courier = Courier(sender, pace=Full(Guard(), 1))
    courier.step()
    while not courier.is_idle:
        courier.step()
    assert [request.path for request in receiver.requests] == ["/ok/free"]
    assert states_of(shop_id, endpoint_id=full) == ["pending"]
    assert states_of(shop_id, endpoint_id=free) == ["delivered"]
