"""What a stranger with a payment link can make us do, and how often."""

from __future__ import annotations

import threading

import pytest

from app.charges import attempts
from app.charges.models import Attempt
from app.errors import Conflict, ProviderRejected
from tests.books import make_attempt, make_charge, rows_of, start
from tests.providers import alipay_forge


def test_a_charge_is_tried_fifty_times_and_no_more(merchant, far_side, monkeypatch):
    charge = make_charge(merchant)
    refused = alipay_forge.refused("alipay.trade.precreate", "ACQ.ACCESS_FORBIDDEN")
    monkeypatch.setattr(far_side, "_answer", lambda _method, _biz: refused)
    for _ in range(attempts.ATTEMPTS_MAX):
        with pytest.raises(ProviderRejected):
            start(merchant, charge.id)
    with pytest.raises(Conflict):
        start(merchant, charge.id)
    assert len(rows_of(Attempt, charge_id=charge.id)) == attempts.ATTEMPTS_MAX


def test_waiting_shoppers_hold_a_few_threads_of_a_process_and_no_more(app, merchant, far_side, monkeypatch):
    charges = [make_charge(merchant).id for _ in range(attempts.ASKING_MAX + 4)]
    for charge_id in charges:
        make_attempt(merchant, charge_id)
    hanging, may_end, all_in = [], threading.Event(), threading.Event()
    answer = far_side.send

    def hang(*args, **kwargs):
        hanging.append(1)
        if len(hanging) == attempts.ASKING_MAX:
            all_in.set()
        may_end.wait(10)
        return answer(*args, **kwargs)

    def poll(charge_id):
        with app.app_context():
            asked.append(attempts.ask_if_due(merchant.id, charge_id))

    monkeypatch.setattr(far_side, "send", hang)
    asked: list[bool] = []
    first = [threading.Thread(target=poll, args=(each,)) for each in charges[: attempts.ASKING_MAX]]
    for thread in first:
        thread.start()
    assert all_in.wait(10)
    for charge_id in charges[attempts.ASKING_MAX :]:
        poll(charge_id)  # returns at once
    assert asked == [False] * 4
    may_end.set()
    for thread in first:
        thread.join()
    assert asked[4:] == [True] * attempts.ASKING_MAX
    monkeypatch.undo()
    assert attempts.ask_if_due(merchant.id, charges[-1])
