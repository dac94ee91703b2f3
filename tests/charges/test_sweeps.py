"""What the worker does when nobody calls."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import queue
from app.charges import refund_sending, sweeps
from app.charges.models import Attempt, Incident, Refund
from app.charges.states import AttemptState, ChargeState, RefundState
from app.db import transaction
from app.queue import Job, Kind
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of, rows_of, start

HANDLERS = {
    Kind.QUERY: sweeps.query_attempt,
    Kind.EXPIRE: sweeps.expire_charge,
    Kind.REFUND: refund_sending.pursue,
}


def open_second_attempt(merchant, far_side, charge_id):
    """Another attempt, made while the first cannot be closed; a signed address, so no call is needed."""
    far_side.is_down = True
    step = start(merchant, charge_id, "mobile")
    far_side.is_down = False
    return far_side.open(step.url).out_trade_no


@pytest.fixture
def tick():
    """One round of the worker; how many jobs it found."""

    def work() -> int:
        done = 0
        for kind, handle in HANDLERS.items():
            with transaction() as tx:
                claims = queue.claim(tx, kind, limit=50, lease=timedelta(seconds=60))
            for claim in claims:
                handle(claim)
                done += 1
        return done

    return work


def test_a_lost_callback_is_made_good(merchant, far_side, at, tick):
    charge = make_charge(merchant)
    far_side.pay(make_attempt(merchant, charge.id))
    assert tick() == 0
    at(timedelta(seconds=6))
    assert tick() == 1
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert rows_of(Job, merchant_id=merchant.id) == []


def test_an_unpaid_attempt_is_asked_about_fast_and_then_slowly(merchant, far_side, at, tick):
    charge = make_charge(merchant)
    far_side.open(make_attempt(merchant, charge.id))
    far_side.calls.clear()
    for _ in range(60):
        at(timedelta(seconds=10))
        tick()
    assert 6 <= far_side.calls.count("alipay.trade.query") <= 10


def test_a_charge_past_its_deadline_expires_after_asking(merchant, far_side, at, tick):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    number = make_attempt(merchant, charge.id)
    far_side.open(number)
    at(timedelta(minutes=6))
    tick()
    assert charge_of(merchant, charge.id).state == ChargeState.EXPIRED
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.CLOSED
    assert event_types(charge.id) == ["charge.created", "charge.expired"]
    assert rows_of(Job, merchant_id=merchant.id) == []


def test_a_payment_in_the_last_second_is_found_by_the_expiry(merchant, far_side, at, tick):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    far_side.pay(make_attempt(merchant, charge.id))
    at(timedelta(minutes=6))
    tick()
    paid = charge_of(merchant, charge.id)
    assert (paid.state, paid.paid_late) == (ChargeState.PAID, False)


def test_nothing_expires_while_the_provider_cannot_be_asked(merchant, far_side, at, tick):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    make_attempt(merchant, charge.id)
    far_side.is_down = True
    at(timedelta(minutes=6))
    tick()
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    far_side.is_down = False
    at(timedelta(minutes=1))
    tick()
    assert charge_of(merchant, charge.id).state == ChargeState.EXPIRED


def test_late_money_pays_an_expired_charge_and_is_marked(merchant, far_side, at, tick):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    number = make_attempt(merchant, charge.id)  # never scanned in time, so it is watched on
    at(timedelta(minutes=6))
    tick()
    assert charge_of(merchant, charge.id).state == ChargeState.EXPIRED
    far_side.trades[number].state = "WAIT_BUYER_PAY"
    far_side.trades[number].expires_at += timedelta(hours=1)
    far_side.pay(number)
    at(timedelta(minutes=3))
    tick()
    paid = charge_of(merchant, charge.id)
    assert (paid.state, paid.paid_late) == (ChargeState.PAID, True)
    assert event_types(charge.id)[2:] == ["charge.paid", "charge.paid_late"]


def test_an_attempt_that_was_never_opened_is_given_up_a_day_later(merchant, at, tick):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    number = make_attempt(merchant, charge.id)
    rounds = 0
    while rows_of(Job, merchant_id=merchant.id):
        at(timedelta(hours=1))
        tick()
        rounds += 1
        assert rounds < 60
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.CLOSED
    assert charge_of(merchant, charge.id).state == ChargeState.EXPIRED


def test_money_paid_twice_goes_back_once(merchant, far_side, at, tick):
    charge = make_charge(merchant)
    first = make_attempt(merchant, charge.id)
    second = open_second_attempt(merchant, far_side, charge.id)
    far_side.pay(first)
    far_side.pay(second)
    for _ in range(4):
        at(timedelta(minutes=1))
        tick()
    refund = row_of(Refund, charge_id=charge.id)
    assert refund.state == RefundState.SUCCEEDED
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    given = [money.minor for trade in far_side.trades.values() for money in trade.refunds.values()]
    assert given == [1250]
    assert event_types(refund.id) == ["refund.created", "refund.succeeded"]


def test_a_refund_whose_answer_is_lost_is_sent_again_with_its_number(merchant, far_side, at, tick):
    charge = make_charge(merchant)
    first = make_attempt(merchant, charge.id)
    second = open_second_attempt(merchant, far_side, charge.id)
    far_side.pay(first)
    at(timedelta(seconds=6))
    far_side.pay(second)
    tick()
    far_side.answers_lost = 1
    for _ in range(4):
        at(timedelta(minutes=1))
        tick()
    assert row_of(Refund, charge_id=charge.id).state == RefundState.SUCCEEDED
    assert sum(len(trade.refunds) for trade in far_side.trades.values()) == 1


def test_a_refused_refund_gives_its_reservation_back_and_is_shown(merchant, far_side, at, tick):
    charge = make_charge(merchant)
    first = make_attempt(merchant, charge.id)
    second = open_second_attempt(merchant, far_side, charge.id)
    far_side.refuses_refunds = True
    far_side.pay(first)
    far_side.pay(second)
    for _ in range(4):
        at(timedelta(minutes=1))
        tick()
    refund = row_of(Refund, charge_id=charge.id)
    assert (refund.state, refund.failure_code) == (RefundState.FAILED, "ACQ.TRADE_NOT_ALLOW_REFUND")
    assert row_of(Attempt, id=refund.attempt_id).refunded_minor == 0
    assert event_types(refund.id) == ["refund.created", "refund.failed"]
    assert row_of(Incident, subject_id=refund.id).kind == "refund_failed"
