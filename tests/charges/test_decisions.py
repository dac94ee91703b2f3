"""What a person does with money that no charge has taken."""

from __future__ import annotations

import json
import threading

import pytest

from app.charges import decisions, lifecycle, unclaimed
from app.charges.decisions import Press
from app.charges.models import Attempt, Decision, Incident, Refund
from app.charges.states import AttemptState, ChargeState, RefundState
from app.errors import Conflict, InvalidRequest, NotFound
from app.money import Money
from app.providers.base import Outcome
from app.queue import Job, Kind
from app.webhooks.models import Event
from tests.books import charge_of, event_types, later, make_attempt, make_charge, row_of, rows_of
from tests.review.rounds import hear, work
from tests.strays import check_sums, hear_unknown, pay_twice, tell_refund, waiting

OWNER = "owner@cafe.example"


def press(shop, seen_minor=None, attempt_id=None):
    """Somebody presses a button beside the payment that waits alone, as they saw it."""
    if attempt_id is None:
        [item], _ = unclaimed.list_unclaimed(shop.id, livemode=False)
        attempt_id, seen_minor = item.row.id, seen_minor or item.waiting.minor
    return Press(shop.id, attempt_id, seen_minor, OWNER)


def payment_in(object_id, event_type):
    event = row_of(Event, object_id=object_id, type=event_type)
    return json.loads(event.body)["data"]["payment"]


@pytest.fixture
def short(merchant):
    """A charge of 12.50 for which 10.00 came."""
    charge = make_charge(merchant)
    hear(merchant.account_id, make_attempt(merchant, charge.id), 1000)
    return charge


@pytest.fixture
def long(merchant):
    """A charge of 12.50 for which 13.00 came."""
    charge = make_charge(merchant)
    hear(merchant.account_id, make_attempt(merchant, charge.id), 1300)
    return charge


def test_less_than_was_asked_pays_the_charge_and_is_all_that_can_go_back(merchant, short):
    decisions.accept(press(merchant), return_surplus=True)
    paid = charge_of(merchant, short.id)
    assert (paid.state, paid.amount_minor, paid.paid_minor) == (ChargeState.PAID, 1250, 1000)
    attempt = row_of(Attempt, charge_id=short.id)
    assert (attempt.settles, attempt.credited_minor, paid.paid_attempt_id) == (True, 1000, attempt.id)
    assert event_types(short.id) == ["charge.created", "charge.amount_mismatched", "charge.paid"]
    assert payment_in(short.id, "charge.paid") == {
        "provider": "alipay",
        "out_trade_no": attempt.out_trade_no,
        "provider_ref": attempt.provider_ref,
        "amount_received": 1000,
        "currency": "cny",
        "accepted_by": OWNER,
    }
    assert rows_of(Job, kind=Kind.EXPIRE) == []
    assert rows_of(Refund) == []
    assert waiting(merchant) == []
    check_sums(merchant)


def test_the_surplus_goes_back_if_so_chosen(merchant, long):
    decisions.accept(press(merchant), return_surplus=True)
    assert charge_of(merchant, long.id).paid_minor == 1250
    refund = row_of(Refund, charge_id=long.id)
    assert (refund.amount_minor, refund.reason, refund.automatic) == (50, "surplus", True)
    assert event_types(refund.id) == ["refund.created"]
    assert waiting(merchant) == []
    check_sums(merchant)


def test_or_the_surplus_stays_and_is_decided_about_later(merchant, long):
    decisions.accept(press(merchant), return_surplus=False)
    assert waiting(merchant) == [("surplus", 50, "CNY")]
    with pytest.raises(Conflict, match="gone elsewhere"):
        decisions.accept(press(merchant), return_surplus=False)
    decisions.refund(press(merchant))
    assert row_of(Refund, charge_id=long.id).amount_minor == 50
    assert waiting(merchant) == []
    check_sums(merchant)


def test_a_surplus_that_could_not_go_back_waits_again(merchant, long):
    decisions.accept(press(merchant), return_surplus=True)
    tell_refund(merchant, row_of(Refund), Outcome.FAILED)
    assert waiting(merchant) == [("surplus", 50, "CNY")]
    assert charge_of(merchant, long.id).refunded_minor == 0
    check_sums(merchant)


def test_an_expired_charge_is_paid_late_by_a_person(merchant, short, at):
    at(later(hours=3))
    work(Kind.EXPIRE)
    assert charge_of(merchant, short.id).state == ChargeState.EXPIRED
    decisions.accept(press(merchant), return_surplus=True)
    paid = charge_of(merchant, short.id)
    assert (paid.state, paid.paid_late) == (ChargeState.PAID, True)
    assert event_types(short.id)[2:] == ["charge.expired", "charge.paid", "charge.paid_late"]
    assert payment_in(short.id, "charge.paid_late")["accepted_by"] == OWNER


def test_a_canceled_charge_is_paid_by_a_person_and_by_nothing_else(merchant, far_side):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    lifecycle.cancel_charge(merchant.id, charge.id)
    hear(merchant.account_id, number)
    assert charge_of(merchant, charge.id).state == ChargeState.CANCELED
    tell_refund(merchant, row_of(Refund), Outcome.FAILED)
    decisions.accept(press(merchant), return_surplus=True)
    paid = charge_of(merchant, charge.id)
    assert (paid.state, paid.paid_late, paid.paid_minor) == (ChargeState.PAID, True, 1250)
    came, taken = "charge.paid_late", ["charge.paid", "charge.paid_late"]
    assert event_types(charge.id) == ["charge.created", "charge.canceled", came, *taken]
    assert row_of(Decision).found == ChargeState.CANCELED
    check_sums(merchant)


def test_money_that_comes_after_an_acceptance_is_a_second_payment(merchant):
    short = make_charge(merchant)
    first, number = make_attempt(merchant, short.id), make_attempt(merchant, short.id, "mobile")
    hear(merchant.account_id, first, 1000)
    decisions.accept(press(merchant), return_surplus=True)
    hear(merchant.account_id, number)
    assert event_types(short.id)[-2:] == ["charge.paid", "charge.double_paid"]
    assert row_of(Refund, charge_id=short.id).amount_minor == 1250
    assert payment_in(short.id, "charge.double_paid")["amount_received"] == 1250
    check_sums(merchant)


def test_news_of_accepted_money_again_contradicts_nothing(merchant, short):
    number = row_of(Attempt, charge_id=short.id).out_trade_no
    decisions.accept(press(merchant), return_surplus=True)
    hear(merchant.account_id, number, 1000)
    assert [row.kind for row in rows_of(Incident)] == ["amount_mismatched"]
    assert row_of(Attempt, charge_id=short.id).state == AttemptState.MISMATCHED


def test_another_currency_cannot_pay(merchant):
    charge = make_charge(merchant)
    hear(merchant.account_id, make_attempt(merchant, charge.id), currency="USD")
    with pytest.raises(Conflict) as refusal:
        decisions.accept(press(merchant), return_surplus=True)
    assert refusal.value.code == "other_currency"
    decisions.refund(press(merchant))
    assert (row_of(Refund).amount_minor, row_of(Refund).currency) == (1250, "USD")
    assert check_sums(merchant)["USD"].refunded == Money(1250, "USD")


def test_unknown_money_has_no_charge_to_accept_it(merchant):
    """Not even one of the many that carry no order number."""
    charge = make_charge(merchant)
    hear_unknown(merchant)
    for act in (
        lambda: decisions.accept(press(merchant), return_surplus=True),
        lambda: decisions.match(press(merchant), "", return_surplus=True),
    ):
        with pytest.raises(NotFound):
            act()
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING


@pytest.mark.parametrize("by", ["id", "merchant_order_no"])
def test_unknown_money_is_matched_to_a_charge_by_hand(merchant, by):
    charge = make_charge(merchant, merchant_order_no="A-1")
    hear_unknown(merchant, minor=1250)
    decisions.match(press(merchant), f" {getattr(charge, by)} ", return_surplus=True)
    paid = charge_of(merchant, charge.id)
    assert (paid.state, paid.paid_late, paid.provider) == (ChargeState.PAID, False, "alipay")
    assert row_of(Attempt, charge_id=charge.id).settles
    assert event_types(charge.id) == ["charge.created", "charge.paid"]
    decided = row_of(Decision)
    assert (decided.deed, decided.came_for_id, decided.charge_id) == ("matched", None, charge.id)
    assert (decided.decided_by, decided.amount_minor) == (OWNER, 1250)
    check_sums(merchant)


def test_a_second_payment_is_matched_to_the_charge_that_it_was_meant_for(merchant):
    charge, number = pay_twice(merchant)
    tell_refund(merchant, row_of(Refund), Outcome.FAILED)
    meant = make_charge(merchant)
    with pytest.raises(Conflict) as refusal:
        decisions.accept(press(merchant), return_surplus=True)
    assert refusal.value.code == "charge_paid"
    decisions.match(press(merchant), meant.id, return_surplus=True)
    assert row_of(Attempt, out_trade_no=number).charge_id == meant.id
    [told] = decisions.list_decisions_of_charge(merchant.id, charge.id)
    assert decisions.list_decisions_of_charge(merchant.id, meant.id) == [told]
    check_sums(merchant)


def test_a_match_stays_with_the_merchant(merchant, other_merchant):
    theirs = make_charge(other_merchant, merchant_order_no="B-1")
    hear_unknown(merchant, minor=1250)
    for wanted in (theirs.id, "B-1", "ch_nothing", "A" * 500):
        with pytest.raises(NotFound):
            decisions.match(press(merchant), wanted, return_surplus=True)
    own = press(merchant)
    with pytest.raises(NotFound):
        decisions.refund(Press(other_merchant.id, own.attempt_id, own.seen_minor, OWNER))
    assert charge_of(other_merchant, theirs.id).state == ChargeState.PENDING


def test_a_refund_that_failed_is_tried_again_under_a_new_number(merchant, short, far_side):
    number = row_of(Attempt, charge_id=short.id).out_trade_no
    far_side.pay(number, Money(1000, "CNY"))
    far_side.refuses_refunds = True
    decisions.refund(press(merchant))
    assert waiting(merchant) == []
    work(Kind.REFUND)
    assert waiting(merchant) == [("wrong_amount", 1000, "CNY")]
    far_side.refuses_refunds = False
    decisions.refund(press(merchant))
    work(Kind.REFUND)
    assert [(row.out_refund_no, row.state) for row in rows_of(Refund)] == [
        (f"DUP{number}", RefundState.FAILED),
        (f"DUP{number}R2", RefundState.SUCCEEDED),
    ]
    assert far_side.trades[number].refunds == {f"DUP{number}R2": Money(1000, "CNY")}
    assert waiting(merchant) == []
    check_sums(merchant)


def test_unknown_money_goes_back(merchant, far_side):
    hear_unknown(merchant, "9" * 64, ref="T1")
    decisions.refund(press(merchant))
    refund = row_of(Refund)
    assert (refund.charge_id, len(refund.out_refund_no)) == (None, 29)
    tell_refund(merchant, refund, Outcome.SUCCEEDED)
    assert row_of(Refund).state == RefundState.SUCCEEDED
    assert event_types(refund.id) == ["refund.created", "refund.succeeded"]
    check_sums(merchant)


def test_what_was_settled_elsewhere_leaves_the_list_and_stays_in_the_sums(merchant, short):
    decisions.set_aside(press(merchant), "  the difference was\tpaid in cash ")
    assert waiting(merchant) == []
    assert check_sums(merchant)["CNY"].outside == Money(1000, "CNY")
    assert row_of(Decision).note == "the difference was paid in cash"


@pytest.mark.parametrize("note", ["", "   ", "x" * 201, "a\u202eb", "a\x00b"])
def test_it_needs_a_note(merchant, short, note):
    with pytest.raises(InvalidRequest):
        decisions.set_aside(press(merchant), note)
    assert waiting(merchant) == [("wrong_amount", 1000, "CNY")]


@pytest.mark.parametrize("deed", ["accept", "refund", "set_aside"])
def test_the_incident_is_dealt_with_by_the_decision(merchant, short, deed):
    act = {
        "accept": lambda seen: decisions.accept(seen, return_surplus=True),
        "refund": decisions.refund,
        "set_aside": lambda seen: decisions.set_aside(seen, "cash"),
    }[deed]
    assert row_of(Incident).resolved_at is None
    act(press(merchant))
    assert row_of(Incident).resolved_at is not None
    assert [row.deed for row in decisions.list_decisions(merchant.id, livemode=False)] == [
        row_of(Decision).deed
    ]


def test_who_comes_second_is_told(merchant, short):
    seen = press(merchant)
    decisions.refund(seen)
    for act in (
        lambda: decisions.refund(seen),
        lambda: decisions.accept(seen, return_surplus=True),
        lambda: decisions.set_aside(seen, "cash"),
    ):
        with pytest.raises(Conflict) as refusal:
            act()
        assert refusal.value.code == "already_decided"
    assert len(rows_of(Decision)) == len(rows_of(Refund)) == 1


def test_nobody_decides_about_another_amount_than_they_saw(merchant, long):
    seen = press(merchant)
    decisions.accept(seen, return_surplus=False)
    with pytest.raises(Conflict):
        decisions.refund(seen)
    with pytest.raises(Conflict):
        decisions.refund(press(merchant, seen_minor=49))
    assert rows_of(Refund) == []


def test_of_many_who_press_at_once_one_wins(app, merchant, short):
    seen, barrier, ends = press(merchant), threading.Barrier(9), []
    acts = [
        lambda: decisions.accept(seen, return_surplus=True),
        lambda: decisions.refund(seen),
        lambda: decisions.set_aside(seen, "cash"),
    ]

    def run(act):
        with app.app_context():
            barrier.wait()
            try:
                act()
                ends.append("won")
            except Conflict as refusal:
                ends.append(refusal.code)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["already_decided"] * 8 + ["won"]
    assert len(rows_of(Decision)) == 1
    check_sums(merchant)


def test_two_payments_matched_to_one_charge_at_once_pay_it_once(app, merchant):
    charge, barrier, ends = make_charge(merchant), threading.Barrier(4), []
    for number in range(4):
        hear_unknown(merchant, f"X{number}", 1250)
    items, _ = unclaimed.list_unclaimed(merchant.id, livemode=False)

    def run(attempt_id):
        with app.app_context():
            barrier.wait()
            try:
                decisions.match(press(merchant, 1250, attempt_id), charge.id, return_surplus=True)
                ends.append("won")
            except Conflict as refusal:
                ends.append(refusal.code)

    threads = [threading.Thread(target=run, args=(item.row.id,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["charge_paid"] * 3 + ["won"]
    assert event_types(charge.id) == ["charge.created", "charge.paid"]
    assert len(waiting(merchant)) == 3
    check_sums(merchant)
