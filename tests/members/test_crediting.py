"""Whatever becomes of a top-up's charge, its member has what it took, once, and loses what goes back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.charges import approvals, decisions, lifecycle, unclaimed
from app.charges.decisions import Press
from app.charges.models import Attempt, Refund
from app.charges.settle import settle
from app.charges.states import ChargeState
from app.db import transaction
from app.errors import Conflict
from app.merchants import policy
from app.merchants.actor import ALL, SERVER, Actor
from app.merchants.policy import Policy
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.purses.models import Topup
from app.webhooks.models import Event
from tests.books import end_refund, event_types, make_attempt, refund, row_of, rows_of
from tests.conftest import Shop
from tests.members.purse import (
    add_member,
    begin_topup,
    charge_of,
    faults,
    give_bonus,
    has,
    kinds,
    spend,
    top_up,
)
from tests.review.rounds import hear
from tests.strays import hear_unknown


def test_a_paid_top_up_is_the_members_with_its_bonus(merchant):
    give_bonus(merchant)
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    assert has(member.id) == (10_000, 1_000)
    assert (topup.credited_minor, topup.bonus_credited_minor) == (10_000, 1_000)
    assert event_types(topup.id) == ["topup.succeeded"]
    assert event_types(member.id) == ["member.balance_changed"]
    assert faults() == []


def test_the_bonus_is_the_one_promised_when_it_was_begun(merchant):
    member = add_member(merchant)
    give_bonus(merchant, (10_000, 1_000))
    topup = begin_topup(merchant, member.id)
    give_bonus(merchant, (10_000, 5))
    hear(merchant.account_id, make_attempt(merchant, topup.charge_id), 10_000)
    assert has(member.id) == (10_000, 1_000)


def test_money_that_comes_late_is_credited_late(merchant, at):
    member = add_member(merchant)
    topup = begin_topup(merchant, member.id)
    number = make_attempt(merchant, topup.charge_id)
    at(timedelta(hours=3))
    with transaction() as tx:
        lifecycle.close_charge(
            tx, merchant.id, topup.charge_id, ChargeState.EXPIRED, retired=frozenset({row_of(Attempt).id})
        )
    assert has(member.id) == (0, 0)
    hear(merchant.account_id, number, 10_000)
    assert has(member.id) == (10_000, 0)


def test_of_money_that_a_person_accepts_the_tier_that_was_reached_counts(merchant):
    """80.00 instead of 100.00: what was paid, and the bonus of that."""
    give_bonus(merchant, (5_000, 300), (10_000, 1_000))
    member = add_member(merchant)
    topup = begin_topup(merchant, member.id)
    hear(merchant.account_id, make_attempt(merchant, topup.charge_id), 8_000)
    assert has(member.id) == (0, 0)
    decisions.accept(_press(merchant), return_surplus=False)
    assert has(member.id) == (8_000, 300)
    assert faults() == []


def test_money_of_nobody_that_is_matched_by_hand_is_credited(merchant):
    member = add_member(merchant)
    topup = begin_topup(merchant, member.id)
    hear_unknown(merchant, "X1", 10_000)
    decisions.match(_press(merchant), topup.charge_id, return_surplus=False)
    assert has(member.id) == (10_000, 0)
    assert faults() == []


def test_money_that_nobody_needed_goes_back_and_touches_no_purse(merchant):
    member = add_member(merchant)
    topup = begin_topup(merchant, member.id)
    numbers = [make_attempt(merchant, topup.charge_id, scene) for scene in ("desktop", "mobile")]
    for number in numbers:
        hear(merchant.account_id, number, 10_000)
    assert kinds(member.id) == ["topup"]
    assert has(member.id) == (10_000, 0)
    assert event_types(topup.id) == ["topup.succeeded"]


@pytest.mark.parametrize("parts", [[10_000], [3_333, 3_333, 3_334], [1] * 7 + [9_993], [5_000, 2, 4_998]])
def test_refunds_take_back_the_bonus_in_proportion_and_in_the_end_all_of_it(merchant, parts):
    give_bonus(merchant, (10_000, 999))
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    gone = 0
    for part in parts:
        end_refund(merchant, refund(merchant, topup.charge_id, part).id, Outcome.SUCCEEDED)
        gone += part
        assert has(member.id) == (10_000 - gone, 999 - 999 * gone // 10_000)
    assert has(member.id) == (0, 0)
    assert event_types(topup.id) == ["topup.succeeded"] + ["topup.refunded"] * len(parts)
    assert faults() == []


def test_a_refund_that_fails_gives_back_exactly_what_it_took(merchant):
    give_bonus(merchant, (10_000, 999))
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    first = refund(merchant, topup.charge_id, 3_335)
    second = refund(merchant, topup.charge_id, 3_335)
    assert has(member.id) == (3_330, 333)
    end_refund(merchant, first.id, Outcome.FAILED)
    assert has(member.id) == (6_665, 666)
    refund(merchant, topup.charge_id)
    assert has(member.id) == (0, 0)
    end_refund(merchant, second.id, Outcome.FAILED)
    assert faults() == []


def test_a_refund_that_went_back_after_it_had_failed_is_taken_whatever_is_left(merchant):
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    back = refund(merchant, topup.charge_id, 4_000)
    end_refund(merchant, back.id, Outcome.FAILED)
    spend(merchant, member.id, 10_000)
    end_refund(merchant, back.id, Outcome.SUCCEEDED)
    assert has(member.id) == (-4_000, 0)
    assert kinds(member.id)[-1] == "topup_taken_again"
    assert faults() == []


def test_a_refund_of_what_is_spent_is_refused_and_nothing_of_it_stays(merchant):
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    spend(merchant, member.id, 6_000)
    with pytest.raises(Conflict, match=r"40\.00") as refusal:
        refund(merchant, topup.charge_id, 4_001)
    assert refusal.value.code == "member_balance_too_low"
    assert rows_of(Refund) == []
    assert (charge_of(topup).refunded_minor, row_of(Topup).taken_minor) == (0, 0)
    refund(merchant, topup.charge_id, 4_000)
    assert has(member.id) == (0, 0)


def test_a_merchant_may_let_members_owe(merchant):
    give_bonus(merchant)
    policy.save_policy(merchant.id, Policy(members_may_owe=True), by=SERVER)
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    spend(merchant, member.id, 10_500)
    refund(merchant, topup.charge_id)
    assert has(member.id) == (-10_000, -500)
    with pytest.raises(Conflict):
        spend(merchant, member.id, 1, "d-2")
    top_up(merchant, member.id, 20_000)
    assert has(member.id) == (10_000, 500)
    assert faults() == []


def test_a_top_up_keeps_its_order_number(merchant):
    member, other = add_member(merchant), add_member(merchant, "user-43")
    first = begin_topup(merchant, member.id, merchant_order_no="T1")
    assert begin_topup(merchant, member.id, merchant_order_no="T1").id == first.id
    for whose, minor in ((other, 10_000), (member, 9_999)):
        with pytest.raises(Conflict) as refusal:
            begin_topup(merchant, whose.id, minor, merchant_order_no="T1")
        assert refusal.value.code == "merchant_order_no_taken"


def test_a_declined_refund_gives_back(merchant):
    member = add_member(merchant)
    topup = top_up(merchant, member.id)
    policy.save_policy(merchant.id, Policy(refund_limit_minor=1), by=SERVER)
    held = refund(merchant, topup.charge_id)
    approvals.decline(merchant.id, held.id, by=Actor("chef@cafe.example", ALL))
    assert kinds(member.id) == ["topup", "topup_taken_back", "topup_given_back"]


def test_news_of_the_same_money_credits_nothing(merchant):
    member = add_member(merchant)
    topup = begin_topup(merchant, member.id)
    number = make_attempt(merchant, topup.charge_id)
    news = PaymentResult(number, Outcome.SUCCEEDED, Money(10_000, "CNY"), "T1")
    for _ in range(3):
        with transaction() as tx:
            settle(tx, merchant.account_id, news)
    assert has(member.id) == (10_000, 0)
    assert len(rows_of(Event, type="member.balance_changed")) == 1


def _press(shop: Shop) -> Press:
    [item], _ = unclaimed.list_unclaimed(shop.id, livemode=False)
    return Press(shop.id, item.row.id, item.waiting.minor, "owner@cafe.example")
