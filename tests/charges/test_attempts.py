"""Trying to pay: stored before sent, taken up again, retired before another is made."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.charges import attempts
from app.charges.models import Attempt
from app.charges.states import AttemptState, ChargeState
from app.db import is_writing
from app.errors import Conflict, NotFound, ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.providers.base import Redirect, ShowQR
from tests.books import charge_of, make_attempt, make_charge, row_of, rows_of, start
from tests.providers import alipay_forge


def test_the_attempt_is_stored_before_the_provider_hears_of_it(merchant, far_side, monkeypatch):
    charge, seen = make_charge(merchant), []
    answer = far_side.send

    def send(*args, **kwargs):
        seen.append((is_writing(), [row.out_trade_no for row in rows_of(Attempt, charge_id=charge.id)]))
        return answer(*args, **kwargs)

    monkeypatch.setattr(far_side, "send", send)
    start(merchant, charge.id)
    [(writing, numbers)] = seen
    assert not writing
    assert numbers == list(far_side.trades)


def test_a_lost_answer_leaves_an_attempt_that_is_taken_up_with_its_number(merchant, far_side):
    charge = make_charge(merchant)
    far_side.answers_lost = 1
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    assert row_of(Attempt, charge_id=charge.id).state == AttemptState.STARTED
    step = start(merchant, charge.id)
    assert isinstance(step, ShowQR)
    assert [row.out_trade_no for row in rows_of(Attempt, charge_id=charge.id)] == list(far_side.trades)


def test_pressing_pay_twice_is_one_attempt_and_one_call(merchant, far_side):
    charge = make_charge(merchant)
    assert start(merchant, charge.id) == start(merchant, charge.id)
    assert far_side.calls == ["alipay.trade.precreate"]
    assert len(rows_of(Attempt, charge_id=charge.id)) == 1


def test_twenty_at_once_make_one_attempt(app, merchant, far_side):
    charge, barrier, steps = make_charge(merchant), threading.Barrier(20), []

    def press():
        with app.app_context():
            barrier.wait()
            steps.append(start(merchant, charge.id))

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(steps) == 20
    assert len({step.content for step in steps}) == 1
    assert len(rows_of(Attempt, charge_id=charge.id)) == 1


def test_a_refusal_fails_the_attempt_and_another_may_follow(merchant, far_side, monkeypatch):
    charge = make_charge(merchant)
    monkeypatch.setattr(
        far_side,
        "_answer",
        lambda method, _biz: alipay_forge.refused(method, "ACQ.ACCESS_FORBIDDEN"),
    )
    with pytest.raises(ProviderRejected):
        start(merchant, charge.id)
    failed = row_of(Attempt, charge_id=charge.id)
    assert (failed.state, failed.failure_code) == (AttemptState.FAILED, "ACQ.ACCESS_FORBIDDEN")
    monkeypatch.undo()
    start(merchant, charge.id)
    assert [row.state for row in rows_of(Attempt, charge_id=charge.id)] == ["failed", "started"]


def test_another_scene_closes_the_open_attempt_at_the_provider_first(merchant, far_side):
    charge = make_charge(merchant)
    first = make_attempt(merchant, charge.id)
    far_side.open(first)
    assert isinstance(start(merchant, charge.id, "mobile"), Redirect)
    assert far_side.trades[first].state == "TRADE_CLOSED"
    assert row_of(Attempt, out_trade_no=first).state == AttemptState.CLOSED


def test_switching_finds_a_payment_whose_callback_was_lost(merchant, far_side):
    charge = make_charge(merchant)
    far_side.pay(make_attempt(merchant, charge.id))
    with pytest.raises(Conflict):
        start(merchant, charge.id, "mobile")
    assert charge_of(merchant, charge.id).state == ChargeState.PAID


@pytest.mark.parametrize("state", ["paid", "expired"])
def test_what_is_over_cannot_be_started(merchant, far_side, at, state):
    charge = make_charge(merchant)
    if state == "paid":
        far_side.pay(make_attempt(merchant, charge.id))
        attempts.ask_if_due(merchant.id, charge.id)
    else:
        at(timedelta(hours=3))
    with pytest.raises(Conflict):
        start(merchant, charge.id, "mobile")


def test_another_merchants_account_cannot_try_a_charge(merchant, other_merchant):
    charge = make_charge(merchant)
    with pytest.raises(NotFound):
        start(other_merchant, charge.id)
    assert rows_of(Attempt, charge_id=charge.id) == []


def test_a_waiting_shopper_learns_the_truth_and_asks_at_most_every_three_seconds(merchant, far_side, at):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.calls.clear()
    assert attempts.ask_if_due(merchant.id, charge.id)
    assert not attempts.ask_if_due(merchant.id, charge.id)
    assert far_side.calls == ["alipay.trade.query"]
    far_side.pay(number)
    at(timedelta(seconds=3.1))
    assert attempts.ask_if_due(merchant.id, charge.id)
    assert charge_of(merchant, charge.id).state == ChargeState.PAID


def test_a_provider_that_is_away_is_no_news_to_a_waiting_shopper(merchant, far_side):
    charge = make_charge(merchant)
    make_attempt(merchant, charge.id)
    far_side.is_down = True
    assert attempts.ask_if_due(merchant.id, charge.id)
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING


def test_a_disabled_account_starts_nothing_but_still_hears_of_money(app, merchant, far_side):
    charge = make_charge(merchant)
    account = accounts.open_account(merchant.account_id)
    assert account.enabled
    accounts.disable_account(merchant.id, merchant.account_id)
    with pytest.raises(NotFound):
        start(merchant, charge.id)
    assert accounts.open_account(merchant.account_id).provider is not None
