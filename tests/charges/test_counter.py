"""Payment codes that a cashier scans: charged once, given up safely, whatever is lost on the way."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from app import clock, worker
from app.callbacks import inbox
from app.charges import attempts, counter, lifecycle, settle
from app.charges.counter import Till
from app.charges.models import Attempt, Charge, Incident, Refund
from app.charges.states import AttemptState, ChargeState, RefundState
from app.errors import Conflict, InvalidRequest, ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import Outcome
from app.queue import Job, Kind
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of, rows_of

CODE, OTHER_CODE = "2876543210987654", "2812345678901234"


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Deadlock(Exception):
    """As PostgreSQL says it."""

    sqlstate = "40P01"


def scan(shop, charge_id, code=CODE):
    return counter.take_code(shop.id, charge_id, code, Till(), livemode=False)


def do_due_jobs(kind=Kind.QUERY):
    """The worker's turn at what is due."""
    while claim := worker._claim(kind):
        worker.JOBS[kind](claim)


def attempt_of(charge):
    return row_of(Attempt, charge_id=charge.id)


# A code, and whose it is


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        ("134567890123456789", "wechatpay"),
        ("1345 6789 0123 456789", "wechatpay"),
        ("１３４５６７８９０１２３４５６７８９", "wechatpay"),
        ("2876543210987654", "alipay"),
        ("301234567890123456789012", "alipay"),
        ("6212345678901234567", "unionpay"),
    ],
)
def test_a_code_tells_its_wallet(text, provider):
    assert counter.read_code(text)[1].code == provider


@pytest.mark.parametrize(
    "text",
    [
        *("", "hello", "13456789012345678", "1634567890123456789", "9876543210987654"),
        *("62123456789012345678", "1" * 70, "2\u0663765432109876541", "-134567890123456789"),
    ],
)
def test_what_is_no_code_is_refused(text):
    with pytest.raises(InvalidRequest) as refused:
        counter.read_code(text)
    assert (refused.value.code, refused.value.param) == ("pay_code_invalid", "code")


# Charging it


def test_a_scan_is_a_payment(merchant, far_side):
    charge = make_charge(merchant)
    assert scan(merchant, charge.id).state == AttemptState.SUCCEEDED
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert event_types(charge.id) == ["charge.created", "charge.paid"]
    assert rows_of(Job, kind=Kind.QUERY) == []


def test_the_code_itself_is_kept_nowhere(merchant, far_side, caplog):
    charge = make_charge(merchant)
    far_side.answers_lost = 1
    scan(merchant, charge.id)
    for model in (Attempt, Charge, Job):
        assert CODE not in str(rows_of(model))
    assert CODE not in str([vars(record) for record in caplog.records])
    assert len(attempt_of(charge).code_key) == 64


def test_a_refused_code_is_a_failed_attempt_and_another_may_pay(merchant, far_side):
    charge = make_charge(merchant)
    far_side.code_mood = "refused"
    for _ in range(2):
        with pytest.raises(ProviderRejected) as refused:
            scan(merchant, charge.id)
        assert refused.value.provider_code == "ACQ.PAYMENT_AUTH_CODE_INVALID"
    assert attempt_of(charge).state == AttemptState.FAILED
    assert far_side.calls == ["alipay.trade.pay"]
    far_side.code_mood = "paid"
    assert scan(merchant, charge.id, OTHER_CODE).state == AttemptState.SUCCEEDED


def test_a_shopper_who_types_a_password_is_waited_for(merchant, far_side, at):
    charge = make_charge(merchant)
    far_side.code_mood = "asked"
    assert scan(merchant, charge.id).state == AttemptState.STARTED
    for _ in range(3):
        at(timedelta(seconds=5))
        do_due_jobs()
    assert far_side.calls == ["alipay.trade.pay", *["alipay.trade.query"] * 3]
    far_side.pay(attempt_of(charge).out_trade_no)
    at(timedelta(seconds=5))
    do_due_jobs()
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert rows_of(Refund) == []


def test_one_that_takes_too_long_is_given_up_and_the_charge_goes_on(merchant, far_side, at):
    charge = make_charge(merchant)
    far_side.code_mood = "asked"
    scan(merchant, charge.id)
    for _ in range(9):
        at(timedelta(seconds=5.1))
        do_due_jobs()
    attempt = attempt_of(charge)
    assert (attempt.state, charge_of(merchant, charge.id).state) == ("closed", "pending")
    assert far_side.calls[-3:] == ["alipay.trade.query", "alipay.trade.cancel", "alipay.trade.query"]
    assert far_side.calls.count("alipay.trade.cancel") == 1
    assert rows_of(Job, kind=Kind.QUERY) == []
    far_side.code_mood = "paid"
    assert scan(merchant, charge.id, OTHER_CODE).state == AttemptState.SUCCEEDED


# Once


@one_database
@pytest.mark.parametrize(("room", "step"), [(counter, "_store"), (settle, "settle")], ids=["store", "settle"])
def test_what_the_database_stops_to_end_a_deadlock_is_done_again(merchant, far_side, monkeypatch, room, step):
    """A scan and a settlement lock a charge and an old attempt in either order; the code is sent once."""
    stopped, real = [], getattr(room, step)

    def stop_once(*args):
        done = real(*args)
        if not stopped:
            stopped.append(step)
            raise OperationalError("", {}, Deadlock())
        return done

    monkeypatch.setattr(room, step, stop_once)
    charge = make_charge(merchant)
    assert scan(merchant, charge.id).state == AttemptState.SUCCEEDED
    assert stopped == [step]
    assert far_side.calls == ["alipay.trade.pay"]


def test_one_code_scanned_twice_is_one_payment(merchant, far_side):
    charge, other = make_charge(merchant), make_charge(merchant)
    far_side.code_mood = "asked"
    assert scan(merchant, charge.id).id == scan(merchant, charge.id, "2876 5432 1098 7654").id
    with pytest.raises(Conflict) as refused:
        scan(merchant, other.id)
    assert refused.value.code == "pay_code_used"
    assert far_side.calls == ["alipay.trade.pay"]
    assert len(rows_of(Attempt)) == 1


def test_one_code_at_two_tills_at_once_is_one_payment(app, merchant, far_side):
    charges = [make_charge(merchant) for _ in range(6)]
    barrier, told = threading.Barrier(12), []

    def press(charge_id):
        with app.app_context():
            barrier.wait()
            try:
                told.append(scan(merchant, charge_id).charge_id)
            except Conflict as refusal:
                told.append(refusal.code)

    threads = [threading.Thread(target=press, args=(charge.id,)) for charge in charges * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [attempt] = rows_of(Attempt)
    assert far_side.calls == ["alipay.trade.pay"]
    assert sorted(told) == sorted([attempt.charge_id] * 2 + ["pay_code_used"] * 10)


def test_a_second_code_waits_for_the_first(merchant, far_side):
    charge = make_charge(merchant)
    far_side.code_mood = "asked"
    scan(merchant, charge.id)
    with pytest.raises(Conflict) as refused:
        scan(merchant, charge.id, OTHER_CODE)
    assert refused.value.code == "charge_in_payment"
    assert far_side.calls == ["alipay.trade.pay"]


def test_a_like_code_of_long_ago_is_another_one(merchant, far_side, at):
    scan(merchant, make_charge(merchant).id)
    at(timedelta(minutes=11))
    assert scan(merchant, make_charge(merchant).id).state == AttemptState.SUCCEEDED


def test_another_merchants_scan_of_the_same_digits_is_their_own(merchant, other_merchant, far_side):
    scan(merchant, make_charge(merchant).id)
    charge = make_charge(other_merchant)
    assert scan(other_merchant, charge.id).state == AttemptState.SUCCEEDED


def test_a_qr_code_that_is_open_is_closed_before_a_code_is_charged(merchant, far_side):
    charge = make_charge(merchant)
    far_side.open(make_attempt(merchant, charge.id))
    scan(merchant, charge.id)
    assert [row.state for row in rows_of(Attempt, charge_id=charge.id)] == ["closed", "succeeded"]


def test_what_is_over_or_not_set_up_is_a_conflict(merchant, far_side):
    charge = make_charge(merchant)
    with pytest.raises(Conflict) as refused:
        scan(merchant, charge.id, "134567890123456789")
    assert refused.value.code == "provider_not_set_up"
    lifecycle.cancel_charge(merchant.id, charge.id)
    with pytest.raises(Conflict) as refused:
        scan(merchant, charge.id)
    assert refused.value.code == "charge_not_payable"
    assert rows_of(Attempt) == []


# Given up


def asked(shop, far_side):
    charge = make_charge(shop)
    far_side.code_mood = "asked"
    scan(shop, charge.id)
    return charge


def test_nothing_is_reversed_within_fifteen_seconds(merchant, far_side, at):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=5))
    counter.give_up(merchant.id, charge.id)
    with pytest.raises(ProviderUnreachable) as early:
        lifecycle.cancel_charge(merchant.id, charge.id)
    assert 1 <= early.value.retry_after_s <= 10
    at(timedelta(seconds=9))
    do_due_jobs()
    assert "alipay.trade.cancel" not in far_side.calls
    at(timedelta(seconds=2))
    do_due_jobs()
    assert attempt_of(charge).state == AttemptState.CLOSED
    assert far_side.calls[-3:] == ["alipay.trade.query", "alipay.trade.cancel", "alipay.trade.query"]


def test_a_cashier_who_cancels_what_was_paid_is_told_so(merchant, far_side, at):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=20))
    far_side.pay(attempt_of(charge).out_trade_no)
    counter.give_up(merchant.id, charge.id)
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert "alipay.trade.cancel" not in far_side.calls


def test_canceling_the_charge_reverses_its_code(merchant, far_side, at):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=20))
    assert lifecycle.cancel_charge(merchant.id, charge.id).state == ChargeState.CANCELED
    assert attempt_of(charge).state == AttemptState.CLOSED


def test_money_between_the_question_and_the_reversal_is_booked_as_come_and_gone(
    merchant, far_side, at, monkeypatch
):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=20))
    reverse = Alipay.reverse

    def too_late(self, ref):
        far_side.pay(ref.out_trade_no)
        reverse(self, ref)

    monkeypatch.setattr(Alipay, "reverse", too_late)
    counter.give_up(merchant.id, charge.id)
    attempt, refund = attempt_of(charge), row_of(Refund)
    assert (attempt.state, attempt.settles) == (AttemptState.SUCCEEDED, False)
    assert (attempt.received_minor, attempt.refunded_minor) == (1250, 1250)
    assert (refund.state, refund.automatic, refund.reason) == (RefundState.SUCCEEDED, True, "given_up")
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert event_types(charge.id) == ["charge.created"]
    assert event_types(refund.id) == ["refund.created", "refund.succeeded"]
    assert rows_of(Job, kind=Kind.REFUND) == []
    assert scan_anew(merchant, charge, far_side) == ChargeState.PAID


def scan_anew(shop, charge, far_side):
    far_side.code_mood = "paid"
    scan(shop, charge.id, OTHER_CODE)
    return charge_of(shop, charge.id).state


def test_news_of_money_that_was_given_up_sends_it_back_whoever_is_first(merchant, far_side, at):
    """The callback overtakes the reversal: the refund finds nothing to send, for it has gone already."""
    charge = asked(merchant, far_side)
    at(timedelta(seconds=5))
    counter.give_up(merchant.id, charge.id)
    number = attempt_of(charge).out_trade_no
    far_side.pay(number)
    account = accounts.open_account(merchant.account_id)
    inbox.receive(account, far_side.notice(number))
    assert row_of(Refund).state == RefundState.RESERVED
    account.provider.reverse(attempts.ref_of(attempt_of(charge)))
    do_due_jobs(Kind.REFUND)
    assert row_of(Refund).state == RefundState.SUCCEEDED
    assert far_side.trades[number].gone == 1250
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING


def test_news_of_money_that_was_given_up_is_refunded_when_no_reversal_comes(merchant, far_side, at):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=5))
    counter.give_up(merchant.id, charge.id)
    number = attempt_of(charge).out_trade_no
    far_side.pay(number)
    inbox.receive(accounts.open_account(merchant.account_id), far_side.notice(number))
    do_due_jobs(Kind.REFUND)
    assert row_of(Refund).state == RefundState.SUCCEEDED
    at(timedelta(seconds=60))
    do_due_jobs()
    assert far_side.trades[number].gone == 1250
    assert "alipay.trade.cancel" not in far_side.calls


def test_a_code_given_up_lets_the_next_one_pay_at_once(merchant, far_side, at):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=5))
    counter.give_up(merchant.id, charge.id)
    assert scan_anew(merchant, charge, far_side) == ChargeState.PAID
    at(timedelta(seconds=20))
    do_due_jobs()
    assert [row.state for row in rows_of(Attempt, charge_id=charge.id)] == ["closed", "succeeded"]


# Dying


CRASHES = ["before the call", "after the call", "before the reversal", "after the reversal"]


@pytest.mark.parametrize("pays", [False, True], ids=["unpaid", "paid"])
@pytest.mark.parametrize("crash", CRASHES)
def test_whoever_dies_where_the_rest_is_finished(merchant, far_side, at, monkeypatch, crash, pays):
    """A process that dies leaves a due job, which asks, reverses and closes; no money is unaccounted for."""

    class Death(BaseException):
        pass

    charge = make_charge(merchant)
    far_side.code_mood = "asked"
    verb = "charge_code" if crash.endswith("call") else "reverse"
    done = getattr(Alipay, verb)

    def dies(self, asked):
        if crash.startswith("after"):
            done(self, asked)
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(Alipay, verb, dies)
        if verb == "charge_code":
            with pytest.raises(Death):
                scan(merchant, charge.id)
        else:
            scan(merchant, charge.id)
            at(timedelta(seconds=20))
            with pytest.raises(Death):
                counter.give_up(merchant.id, charge.id)
    attempt = attempt_of(charge)
    assert attempt.state == AttemptState.STARTED
    can_pay = crash in ("after the call", "before the reversal")
    if pays and can_pay:
        far_side.pay(attempt.out_trade_no)
    for _ in range(8):
        at(timedelta(seconds=30))
        do_due_jobs()
        do_due_jobs(Kind.REFUND)
    trade = far_side.trades.get(attempt.out_trade_no)
    attempt, state = attempt_of(charge), charge_of(merchant, charge.id).state
    if not (pays and can_pay):
        assert state == ChargeState.PENDING
        assert trade is None or trade.state == "TRADE_CLOSED"
        assert attempt.state == (AttemptState.STARTED if trade is None else AttemptState.CLOSED)
    elif crash == "after the call":
        assert (state, trade.gone) == (ChargeState.PAID, 0)
    else:  # it was given up before the money was heard of
        assert (state, trade.gone) == (ChargeState.PENDING, 1250)
        assert row_of(Refund).state == RefundState.SUCCEEDED


def test_a_network_that_is_down_is_asked_until_it_answers(merchant, far_side, at):
    charge = asked(merchant, far_side)
    far_side.is_down = True
    for _ in range(10):
        at(timedelta(seconds=6))
        do_due_jobs()
    assert attempt_of(charge).state == AttemptState.STARTED
    far_side.is_down = False
    at(timedelta(minutes=2))
    do_due_jobs()
    assert attempt_of(charge).state == AttemptState.CLOSED


def test_a_lost_answer_to_a_paid_code_is_found(merchant, far_side, at):
    charge = make_charge(merchant)
    far_side.answers_lost = 1
    assert scan(merchant, charge.id).state == AttemptState.STARTED
    at(timedelta(seconds=6))
    do_due_jobs()
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    assert attempts.ask(attempt_of(charge)).outcome is Outcome.SUCCEEDED
    assert clock.now() > attempt_of(charge).started_at


def test_money_of_another_amount_that_a_reversal_sent_back_waits_for_nobody(
    merchant, far_side, at, monkeypatch
):
    charge = asked(merchant, far_side)
    at(timedelta(seconds=20))
    reverse = Alipay.reverse

    def too_late(self, ref):
        far_side.pay(ref.out_trade_no, Money(1251, "CNY"))
        reverse(self, ref)

    monkeypatch.setattr(Alipay, "reverse", too_late)
    counter.give_up(merchant.id, charge.id)
    attempt = attempt_of(charge)
    assert (attempt.state, attempt.received_minor, attempt.refunded_minor) == ("succeeded", 1251, 1251)
    assert rows_of(Incident) == []
