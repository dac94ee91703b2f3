"""Trying to pay: stored before sent, taken up again, retired before another is made."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta

import pytest

from app.charges import attempts
from app.charges.attempts import Payer, payer_key
from app.charges.models import Attempt
from app.charges.states import AttemptState, ChargeState
from app.db import is_writing
from app.errors import Conflict, NotFound, NumberTaken, ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import CallBridge, Redirect, Scene, ShowQR
from app.queue import Job
from tests.books import charge_of, make_attempt, make_charge, row_of, rows_of, start
from tests.far_side import Trade
from tests.providers import alipay_forge


def begin(shop, charge_id, scene=Scene.WECHAT, **payer):
    """What the checkout does, with all that it knows of the payer."""
    account = accounts.open_account(shop.account_id)
    return attempts.start_attempt(charge_id, account, Payer(scene, "https://pay.example.com/C/x", **payer))


@pytest.fixture
def orders(monkeypatch):
    """The numbers that reached a network whose bridge each payer must call themselves, in order."""
    seen = []

    def start(self, order):
        seen.append(order.ref.out_trade_no)
        return CallBridge("WeixinJSBridge", {"package": f"{order.payer_id} {len(seen)}"}, good_for_s=7200)

    monkeypatch.setattr(Alipay, "start", start)
    return seen


@pytest.fixture
def opens_once(far_side, monkeypatch):
    """A network that, like UnionPay, opens a number once: the same order again is refused as a duplicate.

    Yields the numbers it was sent; those in ``lost`` were opened without an answer reaching us.
    """
    answer, seen, lost = Alipay.start, [], []

    def start(self, order):
        number = order.ref.out_trade_no
        seen.append(number)
        if seen.count(number) > 1:
            raise NumberTaken("duplicate order", provider_code="12")
        far_side.answers_lost = 1 if len(set(seen)) in start.loses else 0
        if far_side.answers_lost:
            lost.append(number)
        return answer(self, order)

    start.loses = {1}
    start.seen, start.lost = seen, lost
    monkeypatch.setattr(Alipay, "start", start)
    return start


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


# One payer's attempts


def test_an_attempt_is_taken_up_again_only_by_the_payer_it_was_made_for(merchant, orders):
    charge = make_charge(merchant)
    first = begin(merchant, charge.id, payer_id="openid-a")
    assert begin(merchant, charge.id, payer_id="openid-a") == first
    assert first.is_personal
    second = begin(merchant, charge.id, payer_id="openid-b")
    assert second.attempt_id != first.attempt_id
    assert len(orders) == 2


def test_another_payers_attempt_is_closed_first(merchant, far_side):
    charge = make_charge(merchant)
    begin(merchant, charge.id, Scene.DESKTOP, payer_id="openid-a")
    theirs = row_of(Attempt, charge_id=charge.id).out_trade_no
    far_side.open(theirs)
    begin(merchant, charge.id, Scene.DESKTOP, payer_id="openid-b")
    assert far_side.trades[theirs].state == "TRADE_CLOSED"
    assert [row.state for row in rows_of(Attempt, charge_id=charge.id)] == ["closed", "started"]


def test_a_browser_goes_on_with_what_it_began_without_being_identified_again(merchant, orders):
    charge = make_charge(merchant)
    first = begin(merchant, charge.id, payer_id="openid-a")
    assert begin(merchant, charge.id, holds=frozenset({first.attempt_id})) == first
    assert begin(merchant, charge.id).attempt_id != first.attempt_id


def test_what_a_browser_holds_does_not_make_it_another_payer(merchant, orders):
    charge = make_charge(merchant)
    first = begin(merchant, charge.id, payer_id="openid-a")
    other = begin(merchant, charge.id, payer_id="openid-b", holds=frozenset({first.attempt_id}))
    assert other.attempt_id != first.attempt_id


def test_a_payer_is_kept_as_a_digest_that_differs_between_accounts(merchant, orders):
    charge = make_charge(merchant)
    begin(merchant, charge.id, payer_id="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
    row = row_of(Attempt, charge_id=charge.id)
    assert row.payer_key == payer_key(merchant.account_id, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
    assert len(row.payer_key) == 64
    assert row.payer_key != payer_key("pa_other", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
    assert payer_key(merchant.account_id, None) is None


def test_the_newest_of_several_open_attempts_is_taken_up(merchant, far_side, monkeypatch):
    charge = make_charge(merchant)
    monkeypatch.setattr(attempts, "_retire_others", lambda *_: frozenset())
    begin(merchant, charge.id, Scene.DESKTOP, payer_id="a")
    begin(merchant, charge.id, Scene.DESKTOP, payer_id="b")
    older, newer = rows_of(Attempt, charge_id=charge.id)
    held = frozenset({older.id, newer.id})
    assert begin(merchant, charge.id, Scene.DESKTOP, holds=held).attempt_id == newer.id


# Steps that go stale


def test_a_stale_step_is_asked_for_again_under_the_same_number(merchant, orders, at):
    charge = make_charge(merchant, life=timedelta(hours=5))
    first = begin(merchant, charge.id)
    row = row_of(Attempt, charge_id=charge.id)
    assert timedelta(minutes=119) < row.step_expires_at - row.started_at <= timedelta(hours=2, minutes=1)
    assert first.good_until == row.step_expires_at
    at(timedelta(minutes=115))
    assert begin(merchant, charge.id) == first
    at(timedelta(minutes=10))
    again = begin(merchant, charge.id)
    assert again.attempt_id == first.attempt_id
    assert again.step != first.step
    assert again.good_until > first.good_until
    assert len(orders) == 2
    assert len(set(orders)) == 1


def test_a_step_without_an_end_is_good_as_long_as_the_order(merchant, monkeypatch):
    monkeypatch.setattr(Alipay, "start", lambda self, order: ShowQR("https://qr.example/1"))
    charge = make_charge(merchant)
    started = begin(merchant, charge.id, Scene.DESKTOP)
    assert row_of(Attempt, charge_id=charge.id).step_expires_at is None
    assert started.good_until == charge.expires_at


def test_a_step_is_never_good_for_longer_than_the_order(merchant, orders):
    charge = make_charge(merchant, life=timedelta(minutes=30))
    assert begin(merchant, charge.id).good_until == charge.expires_at


def test_a_step_that_comes_after_the_deadline_is_not_handed_out(merchant, orders, at, monkeypatch):
    charge, answer = make_charge(merchant), Alipay.start

    def slow(self, order):
        at(timedelta(hours=3))
        return answer(self, order)

    monkeypatch.setattr(Alipay, "start", slow)
    with pytest.raises(Conflict):
        begin(merchant, charge.id)
    row = row_of(Attempt, charge_id=charge.id)
    assert (row.state, row.next_step) == (AttemptState.STARTED, None)
    assert rows_of(Job, subject_id=row.id) != []


def test_a_stale_step_that_its_network_will_not_renew_is_over(merchant, far_side, at, monkeypatch):
    charge = make_charge(merchant, life=timedelta(hours=5))
    monkeypatch.setattr(Alipay, "start", lambda self, order: ShowQR("https://qr.example/1", good_for_s=60))
    number = make_attempt(merchant, charge.id)
    far_side.trades[number] = Trade(number, Money(1250, "CNY"), charge.expires_at)
    far_side.open(number)
    at(timedelta(minutes=2))

    def refuse(self, order):
        raise ProviderRejected("closed", provider_code="ORDER_CLOSED")

    monkeypatch.setattr(Alipay, "start", refuse)
    with pytest.raises(ProviderRejected):
        start(merchant, charge.id)
    assert row_of(Attempt, charge_id=charge.id).state == AttemptState.CLOSED
    assert far_side.trades[number].state == "TRADE_CLOSED"


# A number that cannot be had again


def test_a_lost_answer_that_cannot_be_repeated_is_followed_by_another_number(merchant, opens_once):
    charge = make_charge(merchant)
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    step = start(merchant, charge.id)
    first, second = rows_of(Attempt, charge_id=charge.id)
    assert step.content == f"https://qr.alipay.com/{second.out_trade_no}"
    assert opens_once.seen == [first.out_trade_no, first.out_trade_no, second.out_trade_no]
    assert (
        rows_of(Job, subject_id=first.id) != []
    )  # its network does not close it: somebody must go on asking
    assert start(merchant, charge.id) == step


def test_a_spent_number_is_closed_before_another_is_taken(merchant, far_side, opens_once):
    charge = make_charge(merchant)
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    far_side.open(opens_once.lost[0])
    start(merchant, charge.id)
    assert far_side.trades[opens_once.lost[0]].state == "TRADE_CLOSED"
    assert [row.state for row in rows_of(Attempt, charge_id=charge.id)] == ["closed", "started"]


@pytest.mark.parametrize("amount", [Money(1250, "CNY"), Money(1249, "CNY")])
def test_a_spent_number_that_was_paid_is_followed_by_no_other(merchant, far_side, opens_once, amount):
    charge = make_charge(merchant)
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    far_side.pay(opens_once.lost[0], amount)
    with pytest.raises(Conflict):
        start(merchant, charge.id)
    assert len(rows_of(Attempt, charge_id=charge.id)) == 1
    fits = amount == Money(1250, "CNY")
    assert charge_of(merchant, charge.id).state == (ChargeState.PAID if fits else ChargeState.PENDING)


def test_a_spent_number_of_which_nothing_is_known_is_followed_by_no_other(merchant, far_side, opens_once):
    charge = make_charge(merchant)
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    far_side.is_down = True
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    assert len(rows_of(Attempt, charge_id=charge.id)) == 1


def test_one_press_takes_one_other_number_and_no_more(merchant, far_side, monkeypatch):
    charge, seen = make_charge(merchant), []

    def taken(self, order):
        seen.append(order.ref.out_trade_no)
        raise NumberTaken("duplicate order")

    monkeypatch.setattr(Alipay, "start", taken)
    with pytest.raises(ProviderUnreachable):
        start(merchant, charge.id)
    assert len(seen) == 2
    assert len(rows_of(Attempt, charge_id=charge.id)) == 2


def test_other_numbers_count_among_the_tries(merchant, far_side, monkeypatch):
    charge = make_charge(merchant)

    def taken(self, order):
        raise NumberTaken("duplicate order")

    monkeypatch.setattr(Alipay, "start", taken)
    monkeypatch.setattr(attempts, "ATTEMPTS_MAX", 3)
    for _ in range(4):
        with pytest.raises((ProviderUnreachable, Conflict)):
            start(merchant, charge.id)
    assert len(rows_of(Attempt, charge_id=charge.id)) == 3


def test_a_press_that_lost_the_race_for_the_only_answer_shows_that_answer(
    merchant, far_side, opens_once, monkeypatch
):
    """Two press at once: the second is told "duplicate" while the first gets the code."""
    charge = make_charge(merchant)
    opens_once.loses = set()
    begin_it = attempts._begin

    def late(row, attempt, account, payer, now):
        monkeypatch.setattr(attempts, "_begin", begin_it)
        start(merchant, charge.id)  # the other press, from beginning to end
        return begin_it(row, attempt, account, payer, now)

    monkeypatch.setattr(attempts, "_begin", late)
    step = start(merchant, charge.id)
    [row] = rows_of(Attempt, charge_id=charge.id)
    assert step.content == f"https://qr.alipay.com/{row.out_trade_no}"
    assert opens_once.seen == [row.out_trade_no] * 2
    assert "alipay.trade.close" not in far_side.calls  # the other press shows its code just now


# What else must not happen


def test_money_of_another_amount_takes_no_further_attempt(merchant, far_side):
    charge = make_charge(merchant)
    far_side.pay(make_attempt(merchant, charge.id), Money(1249, "CNY"))
    attempts.ask_if_due(merchant.id, charge.id)
    with pytest.raises(Conflict) as refusal:
        start(merchant, charge.id)
    assert refusal.value.code == "charge_in_review"


def test_two_scenes_pressed_at_once_leave_no_attempt_that_nobody_asks_about(app, merchant, far_side):
    charge, barrier = make_charge(merchant), threading.Barrier(8)

    def press(scene):
        with app.app_context():
            barrier.wait()
            with suppress(Conflict, ProviderUnreachable):
                start(merchant, charge.id, scene)

    threads = [threading.Thread(target=press, args=(scene,)) for scene in ["desktop", "mobile"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = rows_of(Attempt, charge_id=charge.id)
    still_open = {row.id for row in rows if row.state == AttemptState.STARTED}
    assert {row.state for row in rows} <= {AttemptState.STARTED, AttemptState.CLOSED}
    assert {job.subject_id for job in rows_of(Job, kind="query")} == still_open
    for row in rows:  # what is closed here can no longer be paid there
        trade = far_side.trades.get(row.out_trade_no)
        if row.state == AttemptState.CLOSED:
            assert trade is not None
            assert trade.state == "TRADE_CLOSED"
