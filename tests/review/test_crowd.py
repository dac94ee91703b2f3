"""Everything at once: no interleaving breaks a key, waits in a ring or counts money twice."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from app.charges import attempts, lifecycle
from app.charges.models import Attempt, Charge, Refund
from app.charges.states import AttemptState
from app.errors import PlatformError
from app.providers.base import Redirect
from app.queue import Kind
from tests.books import event_types, make_charge, rows_of, start
from tests.review.rounds import work

HANDS = 8
SPAN_S = 2.0


class Crowd:
    """Shoppers, a postman, a merchant and workers.  ``faults`` are answers that nobody should get."""

    def __init__(self, app, merchant, far_side):
        self._app, self._merchant, self._far_side = app, merchant, far_side
        self.charge_ids = [make_charge(merchant).id for _ in range(4)]
        self.over = threading.Event()
        self.faults = []

    def act(self, seed):
        rng, deeds = (
            random.Random(seed),
            [*[self._press] * 4, self._pay, self._wait, self._cancel, self._work],
        )
        with self._app.app_context():
            while not self.over.is_set():
                if rng.random() < 0.05:
                    self.charge_ids.append(make_charge(self._merchant).id)
                self._far_side.is_down = rng.random() < 0.6
                try:
                    with suppress(PlatformError):
                        rng.choice(deeds)(rng, rng.choice(self.charge_ids[-3:]))
                except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                    self.faults.append(error)

    def _press(self, rng, charge_id):
        step = start(self._merchant, charge_id, rng.choice(["desktop", "mobile", "alipay"]))
        if isinstance(step, Redirect):
            self._far_side.open(step.url)

    def _pay(self, rng, charge_id):
        """Pay whatever can be paid before any news of it arrives, then post the news in any order."""
        numbers = [row.out_trade_no for row in attempts.list_attempts(self._merchant.id, charge_id)]
        known = [number for number in numbers if number in self._far_side.trades]
        for number in known:
            with suppress(AssertionError):  # paid or closed already
                self._far_side.pay(number)
        client = self._app.test_client()
        for number in rng.sample(known, len(known)):
            notice = self._far_side.notice(number)
            answer = client.post(f"/callbacks/{self._merchant.account_id}", data=notice.body)
            assert answer.status_code == 200

    def _wait(self, _rng, charge_id):
        attempts.ask_if_due(self._merchant.id, charge_id)

    def _cancel(self, rng, charge_id):
        if rng.random() < 0.1:
            lifecycle.cancel_charge(self._merchant.id, charge_id)

    def _work(self, _rng, _charge_id):
        work(Kind.QUERY, 2)
        work(Kind.REFUND, 2)


@pytest.mark.slow
def test_a_crowd_leaves_books_that_add_up(app, merchant, far_side, at):
    crowd = Crowd(app, merchant, far_side)
    at(timedelta(seconds=6))  # so that there is something to ask about
    threads = [threading.Thread(target=crowd.act, args=(seed,)) for seed in range(HANDS)]
    for thread in threads:
        thread.start()
    time.sleep(SPAN_S)
    crowd.over.set()
    for thread in threads:
        thread.join()
    assert crowd.faults == []
    for charge in rows_of(Charge, merchant_id=merchant.id):
        tries = rows_of(Attempt, charge_id=charge.id)
        settling = [each.id for each in tries if each.settles]
        assert settling == ([charge.paid_attempt_id] if charge.state == "paid" else [])
        assert event_types(charge.id).count("charge.paid") == len(settling)
        extra = [each.id for each in tries if each.state == AttemptState.SUCCEEDED and not each.settles]
        assert sorted(row.attempt_id for row in rows_of(Refund, charge_id=charge.id)) == sorted(extra)
