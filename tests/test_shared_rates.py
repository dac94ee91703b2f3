"""Buckets counted at a real Redis: several processes as if they were one, each for itself when it is gone."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from app import shared_rates
from app.rates import rates_of
from app.shared_rates import counted_at


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a Redis that listens on a socket in our folder alone."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server")
    socket = tmp_path / "r.sock"
    words = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    running = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 20
    while not socket.exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    yield f"unix://{socket}", running
    running.kill()
    running.wait()


def test_many_who_count_together_let_through_what_one_would(server, monkeypatch):
    monkeypatch.setattr(shared_rates, "ANSWER_S", 10.0)  # on a busy machine, too
    processes = [counted_at(server[0])("writes", 0.001, 20) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda n: processes[n % 4].take("key_1").allowed, range(100)))
    assert sum(verdicts) == 20
    assert processes[0].take("key_2").allowed


def test_it_says_what_the_buckets_in_memory_say(server, monkeypatch):
    monkeypatch.setattr(shared_rates, "ANSWER_S", 10.0)
    shared, here = (
        rates_of(reads_per_s=1, writes_per_s=0, failures_per_min=1, **more)
        for more in ({"make": counted_at(server[0])}, {})
    )
    assert (shared.writes, shared.batches) == (None, None)
    for name in ("reads", "failures"):
        for verb in ("look", "take", "take", "take", "look"):
            told = getattr(getattr(shared, name), verb)("k")
            assert told == getattr(getattr(here, name), verb)("k"), (name, verb)


def test_a_token_comes_back_with_time_and_an_idle_caller_leaves_no_row(server, monkeypatch):
    monkeypatch.setattr(shared_rates, "ANSWER_S", 10.0)
    counts = counted_at(server[0])("reads", 20, 1)
    assert counts.take("k").allowed
    assert not counts.take("k").allowed
    time.sleep(0.1)
    assert counts.take("k").allowed
    with redis.Redis.from_url(server[0]) as inside:
        assert 0 < inside.pttl("mafu:rate:reads:k") <= 1100


def test_without_it_each_process_counts_for_itself(server, monkeypatch):
    said = []
    monkeypatch.setattr(shared_rates.log, "warning", lambda event, **_: said.append(event))
    address, running = server
    counts = counted_at(address)("writes", 0.001, 2)
    running.kill()
    running.wait()
    assert [counts.take("k").allowed for _ in range(3)] == [True, True, False]
    assert not counts.look("k").allowed
    assert said == ["limits are counted here: Redis does not answer"]
