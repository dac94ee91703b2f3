"""Thousands of events to a receiver that fails three times in ten, while workers are killed and stopped.

    EVENTS=100000 KILLS=50 SEED=7 pytest -s tests/webhooks/test_storm.py       what `make prove-webhooks` runs

Every event arrives; each try of it has the same id and the same bytes; what comes twice is no more
than what was in the hands of those that were killed.  Invariants I-33 to I-36 (docs/invariants.md).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.config import Settings
from app.db import reading, table_of, transaction
from app.http import SLOTS
from app.ids import new_id
from app.merchants import people
from app.queue import Job, Kind
from app.webhooks import endpoints
from app.webhooks.courier import UNRECORDED_MAX
from app.webhooks.models import Delivery, DeliveryAttempt, DeliveryState, Event, WebhookEndpoint
from app.webhooks.outbox import Fact, emit
from tests.books import rows_of
from tests.webhooks.ledger import Ledger, digest_of, keeping
from tests.webhooks.receiver import receiving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EVENTS = int(os.environ.get("EVENTS", "2000"))
KILLS = int(os.environ.get("KILLS", "3"))
SHOPS = SLOTS // 4  # an endpoint is sent four at once, so these fill every slot
WORKERS = {"sqlite": 1, "postgresql": 2}  # on SQLite they would only wait for one another
FAILING = 0.3
LEASE_S, TEMPO = 3.0, 0.002
PATIENCE_S = 60 + EVENTS / 25

_jobs, _deliveries, _events = table_of(Job), table_of(Delivery), table_of(Event)
_LEFT = sa.select(sa.func.count()).where(_jobs.c.kind == Kind.DELIVER)
# Whose jobs are in somebody's hands.
_HELD = (
    sa.select(_deliveries.c.event_id, _jobs.c.token)
    .join(
        _jobs,
        sa.and_(_jobs.c.merchant_id == _deliveries.c.merchant_id, _jobs.c.subject_id == _deliveries.c.id),
    )
    .where(_jobs.c.kind == Kind.DELIVER, _jobs.c.token.is_not(None))
)


def test_no_event_is_lost_or_altered_by_failures_and_kills(app, settings, database_url):
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    kind = database_url.partition("+")[0].partition(":")[0]
    say(f"{kind}: EVENTS={EVENTS} KILLS={KILLS} SEED={seed}")
    began_s = time.monotonic()
    with keeping(FAILING, seed) as ledger:
        shops = [listening_shop(ledger, number) for number in range(SHOPS)]
        tell_all(shops, EVENTS)
        with at_work(settings, WORKERS[kind]) as workers:
            held = kill_at_random(settings, workers, ledger, random.Random(seed))
            wait_until(lambda: left() == 0, "not everything that was due is done")
        bodies = {row.id: digest_of(row.body.encode()) for row in rows_of(Event)}
        say(
            f"{kind}: {len(bodies)} events, {ledger.count} requests, {ledger.repeated} again after being "
            f"accepted, {held} in hand at {KILLS} kills; {time.monotonic() - began_s:.0f} s"
        )
        assert len(bodies) == EVENTS
        assert ledger.altered == []
        assert ledger.digests == bodies  # nobody heard of anything else either
        assert set(ledger.accepted) == set(bodies)
        assert ledger.repeated <= held
        assert held <= KILLS * WORKERS[kind] * (SLOTS + UNRECORDED_MAX)
        assert {row.state for row in rows_of(Delivery)} == {DeliveryState.DELIVERED}


def test_a_worker_that_was_stopped_past_its_lease_moves_nothing(settings, tell, shop_id):
    """SIGSTOP in the middle of a request, the lease runs out, another one delivers, SIGCONT."""
    with receiving() as receiver:
        receiver.slow_s = 0.5
        endpoints.create_endpoint(shop_id, livemode=False, url=receiver.url("/slow"))
        told = [tell() for _ in range(2)]
        with at_work(settings, 1) as workers:
            wait_until(lambda: len(receiver.requests) == len(told), "nothing was sent")
            workers[0].send_signal(signal.SIGSTOP)
            assert None not in {job.token for job in rows_of(Job, kind=Kind.DELIVER)}
            with at_work(settings, 1):
                wait_until(lambda: left() == 0, "nobody took over")
            before = rows_of(Delivery), rows_of(WebhookEndpoint)
            workers[0].send_signal(signal.SIGCONT)
            wait_until(lambda: len(rows_of(DeliveryAttempt)) == 4, "the stopped one recorded nothing")
            assert (rows_of(Delivery), rows_of(WebhookEndpoint)) == before
            assert workers[0].poll() is None
    assert {delivery.state for delivery in before[0]} == {DeliveryState.DELIVERED}
    assert {delivery.tries for delivery in before[0]} == {1}
    assert len(receiver.requests) == 4


def listening_shop(ledger: Ledger, number: int) -> str:
    """A merchant with one endpoint."""
    merchant_id, _ = people.add_merchant(f"店 {number}", email=f"storm{number}@cafe.example", password=None)
    endpoints.create_endpoint(merchant_id, livemode=False, url=ledger.url(f"/{number}"))
    return merchant_id


def tell_all(shops: list[str], count: int) -> None:
    """So many events, shop by shop in turn."""
    facts = [
        Fact(shops[number % SHOPS], False, "charge.paid", new_id("ch"), 1, {"number": number})
        for number in range(count)
    ]
    for start in range(0, count, 500):
        with transaction() as tx:
            emit(tx, *facts[start : start + 500])


@contextmanager
def at_work(settings: Settings, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many workers; whoever is in the list at the end is ended."""
    workers = [start_worker(settings) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": settings.database_url,
        "MAFU_DATA": str(settings.data),
        "MAFU_SECRET_KEYS": ",".join(settings.secret_keys),
        "MAFU_ENCRYPTION_KEYS": ",".join(settings.encryption_keys),
        "LEASE_S": str(LEASE_S),
        "TEMPO": str(TEMPO),
    }
    return subprocess.Popen([sys.executable, Path(__file__).with_name("worker_process.py")], env=environment)


def kill_at_random(
    settings: Settings, workers: list[subprocess.Popen[bytes]], ledger: Ledger, chance: random.Random
) -> int:
    """Kill one worker after the other, spread over all of it; how many events were then in hand.

    In hand is what was accepted and is not written down: the receiver must hear of it again.
    """
    held: set[tuple[str, str]] = set()  # what is not due again by the next kill is in hand once
    for number in range(KILLS):
        goal = EVENTS * (number + chance.random()) / (KILLS + 1)
        wait_until(lambda goal=goal: len(ledger.accepted) >= goal, f"stuck before kill {number + 1}")
        which = chance.randrange(len(workers))
        workers[which].kill()
        workers[which].wait()
        time.sleep(0.1)  # what had reached the wire arrives
        with reading() as connection:
            rows = connection.execute(_HELD)
            held |= {(row.event_id, row.token) for row in rows if row.event_id in ledger.accepted}
        workers[which] = start_worker(settings)
    return len(held)


def left() -> int:
    """How many deliveries are not done."""
    with reading() as connection:
        return int(connection.execute(_LEFT).scalar_one())


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()


def wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(0.02)
