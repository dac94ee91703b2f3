"""What runs in the background: webhooks on their way, providers asked, deadlines kept, old rows forgotten.

Start any number of workers on any number of machines: what is due is claimed from the table (see
``queue.py``), so they share the work without knowing each other.  A worker that is killed loses
nothing: what it held becomes due again when the lease ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import structlog
from flask import Flask

from app import clock, heartbeat, queue
from app.callbacks.retention import forget_old_bodies
from app.charges import outcomes, proving, refund_sending, screening, sweeps
from app.codes import quiet, tally
from app.db import moment, reading, transaction
from app.epay import notices
from app.epay.carrier import SLOTS, Carrier, guard_for_shops
from app.http import Sender
from app.ids import new_id
from app.merchants import idempotency, journal, post
from app.queue import Claim, Kind
from app.reconciliation import files, schedule
from app.runtime import settings
from app.webhooks import endpoints, retention
from app.webhooks.courier import Courier
from app.webhooks.hosts import HostPace

# Each kind of job and who does it.  Deliveries and notices are not here: threads of their own drive many of
# them at once.
JOBS: dict[Kind, Callable[[Claim], None]] = {
    Kind.QUERY: sweeps.query_attempt,
    Kind.EXPIRE: sweeps.expire_charge,
    Kind.REFUND: refund_sending.pursue,
    Kind.ACCOUNT: outcomes.follow,
    Kind.BILL: schedule.follow,
    Kind.MAIL: post.deliver,
    Kind.QUIET: quiet.watch,
    Kind.LEDGER: proving.go_on,
}
CHORES: tuple[Callable[[], object], ...] = (
    idempotency.forget_old,
    journal.forget_old,
    schedule.schedule,
    proving.schedule,
    retention.forget_old,
    notices.forget_old,
    forget_old_bodies,
    tally.forget_old,
    files.forget_old,
    screening.forget_old,
)
CHORES_EVERY_S = 3600.0

HANDS = 4  # jobs done at once: they wait for providers, hardly for the processor
LEASE = timedelta(seconds=60)  # a job makes a handful of calls at most, and each may take 10 s
IDLE_S_MIN, IDLE_S_MAX = 0.02, 1.0  # pauses between looks that find nothing: doubled up to a second
# A job that fails in a way nobody foresaw waits 10 s, 20 s, ... a quarter of an hour: whatever is wrong
# with it cannot keep the worker from the others.
AHEAD, AHEAD_MAX = timedelta(seconds=5), timedelta(minutes=15)
GRACE_S = 8.0  # for what is in hand when told to stop; shorter than the 10 s that Docker gives

log = structlog.get_logger(__name__)

Turn = Callable[[], bool]  # does some work if there is any, and says whether there was


def run(app: Flask, is_over: Callable[[], bool], *, hands: int = HANDS) -> bool:
    """Work until ``is_over`` says so, then finish what is in hand.  False if a thread has died.

    What is not finished within GRACE_S is left to its lease, as if the worker had been killed.
    """
    stop = threading.Event()
    loops = [partial(_deliver, app), _tell_shops, _do_chores, _show_life, *[_do_jobs] * hands]
    threads = [threading.Thread(target=_enter, args=(app, loop, stop), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    log.info("worker started", hands=hands)
    while not is_over() and all(thread.is_alive() for thread in threads):
        time.sleep(0.05)
    is_sound = all(thread.is_alive() for thread in threads)
    stop.set()
    deadline_s = time.monotonic() + GRACE_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    log.info("worker stopped", unfinished=sum(thread.is_alive() for thread in threads))
    return is_sound


def desk_for(app: Flask) -> ThreadPoolExecutor:
    """A thread beside the courier's that claims and records.

    One: with more of them they wait for the interpreter, and SQLite for its one writer, longer than they win.
    """
    return ThreadPoolExecutor(1, "desk", initializer=lambda: app.app_context().push())


def _enter(app: Flask, loop: Callable[[threading.Event], None], stop: threading.Event) -> None:
    with app.app_context():
        loop(stop)


def _deliver(app: Flask, stop: threading.Event) -> None:
    """The thread of the webhooks, with others that claim and record for it."""
    with desk_for(app) as desk:
        guard, per_s = endpoints.guard_of(settings()), settings().webhook_host_rate
        sender = Sender(guard, proxy=settings().webhook_proxy)
        courier = Courier(sender, desk=desk, pace=HostPace(guard, per_s) if per_s else None)

        def turn() -> bool:
            courier.step()
            return not courier.is_idle

        _take_turns(stop, turn)
        courier.close()


def _tell_shops(stop: threading.Event) -> None:
    """The thread of the notices of 易支付."""
    guard, per_s = guard_for_shops(settings()), settings().webhook_host_rate
    pace = HostPace(guard, per_s) if per_s else None
    carrier = Carrier(Sender(guard, slots=SLOTS, proxy=settings().webhook_proxy), pace=pace)
    _take_turns(stop, lambda: bool(carrier.step()) or not carrier.is_idle)
    carrier.close()


def _do_jobs(stop: threading.Event) -> None:
    """One of the threads that speak to providers."""
    kinds = deque(JOBS)

    def turn() -> bool:
        kinds.rotate(1)  # so that no kind starves behind a busy one
        for kind in kinds:
            claim = _claim(kind)
            if claim is not None:
                _do(claim)
                return True
        return False

    _take_turns(stop, turn)


def _do_chores(stop: threading.Event) -> None:
    """The thread that tidies up."""

    def turn() -> bool:
        for chore in CHORES:
            chore()
        return False

    _take_turns(stop, turn, idle_s=(CHORES_EVERY_S, CHORES_EVERY_S))


def _show_life(stop: threading.Event) -> None:
    """The thread that says that this worker lives."""
    worker_id, started_at = new_id("wk"), clock.now()

    def turn() -> bool:
        heartbeat.beat(worker_id, started_at)
        return False

    _take_turns(stop, turn, idle_s=(heartbeat.EVERY_S, heartbeat.EVERY_S))
    heartbeat.end(worker_id)


def _take_turns(
    stop: threading.Event, turn: Turn, *, idle_s: tuple[float, float] = (IDLE_S_MIN, IDLE_S_MAX)
) -> None:
    """Turn after turn until ``stop``; a turn without work, or one that failed, is followed by a pause."""
    pause_s, pause_s_max = idle_s
    while not stop.is_set():
        try:
            worked = turn()
        except Exception:  # Whatever it is (a database that is away, a poisoned row), the loop goes on.
            log.exception("a turn failed")
            worked = False
        pause_s = idle_s[0] if worked else min(pause_s, pause_s_max)
        if not worked:
            stop.wait(pause_s)
            pause_s *= 2


def _claim(kind: Kind) -> Claim | None:
    with reading() as connection:
        if not queue.is_due(connection, kind):
            return None
    with transaction() as tx:
        return next(iter(queue.claim(tx, kind, limit=1, lease=LEASE)), None)


def _do(claim: Claim) -> None:
    """Do one job; if that raises, make it due later before the loop hears of it."""
    is_done = False
    try:
        JOBS[Kind(claim.kind)](claim)
        is_done = True
    finally:
        if not is_done:
            log.error("job failed", kind=claim.kind, subject_id=claim.subject_id, tries=claim.tries)
            _push_ahead(claim)


def _push_ahead(claim: Claim) -> None:
    gap = min(AHEAD * 2 ** min(claim.tries, 10), AHEAD_MAX)
    with transaction() as tx:
        queue.put_back(tx, claim, moment(tx) + gap)
