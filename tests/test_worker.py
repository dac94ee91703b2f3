"""The worker: everything that is due gets done, whatever else goes wrong, and nothing is lost with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from app import clock, heartbeat, queue, worker
from app.charges import attempts
from app.charges.states import ChargeState
from app.db import reading, transaction
from app.heartbeat import Worker
from app.merchants import accounts, idempotency
from app.merchants.keys import Caller
from app.merchants.models import IdempotencyKey
from app.queue import Claim, Job, Kind
from app.webhooks import endpoints
from app.webhooks.models import Delivery, DeliveryState
from tests.books import charge_of, make_charge, rows_of, start
from tests.conftest import KEYS, ROOT, Shop
from tests.providers import alipay_forge
from tests.webhooks.receiver import Receiver, receiving


@contextmanager
def working(app: Flask, hands: int = worker.HANDS) -> Iterator[None]:
    """A worker in this process."""
    is_over, verdicts = threading.Event(), []
    thread = threading.Thread(target=lambda: verdicts.append(worker.run(app, is_over.is_set, hands=hands)))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(worker.GRACE_S + 5)
    assert verdicts == [True]


def eventually(condition: Callable[[], object], within_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.02)


def put(kind: Kind, shop: Shop, subject_id: str) -> None:
    with transaction() as tx:
        queue.put(tx, kind, shop.id, subject_id, clock.now() - timedelta(seconds=1))


def hasten(kind: Kind) -> None:
    """Make all jobs of a kind due."""
    with transaction() as tx:
        tx.execute(sa.update(Job).where(Job.kind == kind).values(due_at=clock.now() - timedelta(seconds=1)))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_every_kind_of_job_has_somebody_who_does_it():
    assert {*worker.JOBS, Kind.DELIVER, Kind.NOTICE} == set(Kind)


def test_a_lost_callback_is_made_good(app, merchant, far_side):
    charge = make_charge(merchant)
    far_side.pay(start(merchant, charge.id, "mobile").url)
    hasten(Kind.QUERY)
    with working(app):
        eventually(lambda: charge_of(merchant, charge.id).state == ChargeState.PAID)


def test_a_charge_ends_at_its_deadline(app, merchant, at):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    at(timedelta(minutes=6))
    with working(app):
        eventually(lambda: charge_of(merchant, charge.id).state == ChargeState.EXPIRED)


def test_webhooks_are_delivered(app, merchant, receiver):
    endpoints.create_endpoint(merchant.id, livemode=False, url=receiver.url("/ok"))
    with working(app):
        make_charge(merchant)
        eventually(lambda: [row.state for row in rows_of(Delivery)] == [DeliveryState.DELIVERED])
    assert len(receiver.requests) == 1


def test_old_idempotency_keys_are_forgotten(app, merchant, at):
    caller = Caller(merchant.id, "key_1", False)
    idempotency.once(caller, "k1", ("POST", "/v1/charges", b""), lambda _tx: idempotency.Answer("{}"))
    at(idempotency.KEPT_FOR + timedelta(minutes=1))
    with working(app):
        eventually(lambda: not rows_of(IdempotencyKey))


def test_a_poisoned_job_is_pushed_ahead_and_holds_up_nobody(app, merchant, at):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    at(timedelta(minutes=6))
    for number in range(worker.HANDS + 1):  # more than there are hands
        put(Kind.QUERY, merchant, f"at_of_nobody_{number}")
    with working(app):
        eventually(lambda: charge_of(merchant, charge.id).state == ChargeState.EXPIRED)
        eventually(lambda: all(job.tries == 1 and job.token is None for job in rows_of(Job, kind=Kind.QUERY)))
    for job in rows_of(Job, kind=Kind.QUERY):
        assert timedelta(seconds=3) < job.due_at - clock.now() <= timedelta(seconds=10)


def test_each_failure_waits_longer_than_the_last(app, merchant):
    put(Kind.QUERY, merchant, "at_of_nobody")
    gaps = []
    for tries in (1, 2, 3, 60):
        with transaction() as tx:
            tx.execute(sa.update(Job).values(token="t", tries=tries))
        worker._push_ahead(Claim(merchant.id, Kind.QUERY, "at_of_nobody", "t", tries))
        [job] = rows_of(Job)
        gaps.append(round((job.due_at - clock.now()).total_seconds()))
    assert gaps == [10, 20, 40, 900]


def test_a_database_that_is_away_for_a_while_does_not_end_the_loop(monkeypatch):
    stop, pauses = threading.Event(), []
    monkeypatch.setattr(stop, "wait", pauses.append)

    def turn() -> bool:
        if len(pauses) < 3:
            raise sa.exc.OperationalError("select 1", {}, Exception("the server closed the connection"))
        stop.set()
        return True

    worker._take_turns(stop, turn)
    assert pauses == [worker.IDLE_S_MIN, 2 * worker.IDLE_S_MIN, 4 * worker.IDLE_S_MIN]


def test_idle_looks_become_rare_and_work_makes_them_frequent_again(monkeypatch):
    stop, pauses, script = threading.Event(), [], [False] * 8 + [True] + [False] * 2
    monkeypatch.setattr(stop, "wait", pauses.append)

    def turn() -> bool:
        worked = script.pop(0)
        if not script:
            stop.set()
        return worked

    worker._take_turns(stop, turn)
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 0.02, 0.04]


def test_a_thread_that_dies_ends_the_worker_and_says_so(app, monkeypatch):
    monkeypatch.setattr(worker, "_do_chores", lambda stop: None)
    assert worker.run(app, lambda: False) is False


def test_a_worker_leaves_a_sign_of_life_and_takes_it_away_when_it_stops(app):
    with working(app):
        eventually(lambda: rows_of(Worker))
        with reading() as connection:
            assert clock.now() - heartbeat.last_seen(connection) < heartbeat.ALIVE
    assert rows_of(Worker) == []


def test_two_workers_share_the_work_without_doing_it_twice(app, merchant, receiver):
    endpoints.create_endpoint(merchant.id, livemode=False, url=receiver.url("/ok"))
    with working(app, hands=1), working(app, hands=1):
        for _ in range(20):
            make_charge(merchant)
        eventually(lambda: {row.state for row in rows_of(Delivery)} == {DeliveryState.DELIVERED})
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 20
    assert len(receiver.requests) == 20


@contextmanager
def worker_process(settings) -> Iterator[subprocess.Popen[bytes]]:
    """``flask worker``, killed at the end if it still runs."""
    environment = os.environ | {
        "DATABASE_URL": settings.database_url,
        "MAFU_DATA": str(settings.data),
        "MAFU_BASE_URL": settings.base_url,
        "MAFU_SECRET_KEYS": KEYS["secret_keys"][0],
        "MAFU_ENCRYPTION_KEYS": KEYS["encryption_keys"][0],
        "MAFU_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "worker"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lead_to(receiver: Receiver, shop: Shop, path: str) -> None:
    """Let the shop's gateway be a path of the receiver, for other processes."""
    accounts.change_account(shop.account_id, alipay_forge.KEY_MODE | {"gateway_url": receiver.url(path)})


@pytest.mark.slow
def test_told_to_end_it_finishes_what_it_holds(app, settings, merchant, receiver):
    charge = make_charge(merchant)
    start(merchant, charge.id, "mobile")
    receiver.slow_s = 1.5
    lead_to(receiver, merchant, "/slow")
    hasten(Kind.QUERY)
    with worker_process(settings) as process:
        eventually(lambda: receiver.requests, within_s=90)
        asked_at = clock.now()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=worker.GRACE_S + 5) == 0
    [job] = rows_of(Job, kind=Kind.QUERY)
    assert job.token is None, "it was put back, not left to its lease"
    assert job.due_at > asked_at


@pytest.mark.slow
def test_killed_in_the_middle_it_loses_nothing(app, settings, merchant, far_side, receiver, at):
    charge = make_charge(merchant)
    far_side.pay(start(merchant, charge.id, "mobile").url)
    receiver.slow_s = 30.0
    lead_to(receiver, merchant, "/hang")
    hasten(Kind.QUERY)
    with worker_process(settings) as process:
        eventually(lambda: receiver.requests, within_s=90)
        process.kill()
        process.wait()
    [job] = rows_of(Job, kind=Kind.QUERY)
    assert job.token is not None, "it died with the job in its hands"
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING

    at(worker.LEASE + timedelta(seconds=1))
    with working(app):
        eventually(lambda: charge_of(merchant, charge.id).state == ChargeState.PAID)
    assert rows_of(Job, kind=Kind.QUERY) == []
    assert [row.state for row in attempts.list_attempts(merchant.id, charge.id)] == ["succeeded"]
