"""Two processes at one day: by hand, and the worker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from app import clock
from app.merchants import accounts
from app.reconciliation import alone, items
from app.reconciliation.models import Discrepancy
from app.reconciliation.reconcile import open_day
from tests.books import make_paid, rows_of
from tests.charges.scripted import stand_in


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_two_miss_at_once_is_written_down_once(app, merchant, monkeypatch):
    make_paid(merchant)
    stand_in(merchant)
    account = accounts.open_account(merchant.account_id)
    run = open_day(account, clock.day_of(clock.now()))
    both, write = threading.Barrier(2), items.write

    def write_together(tx, *facts):
        with suppress(threading.BrokenBarrierError):  # the other one waits for this transaction
            both.wait(0.5)
        return write(tx, *facts)

    monkeypatch.setattr(items, "write", write_together)

    def go():
        with app.app_context():
            alone.look_for_missing(account, run, lambda: None)

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(go) for _ in range(2)]:
            each.result()
    assert len(rows_of(Discrepancy)) == 1
