"""Refunds on their way: one number, asked about until it is known, and a person told where it needs one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.callbacks import inbox
from app.charges.models import Attempt, Incident, Refund
from app.charges.states import RefundState
from app.errors import ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.money import Money
from app.providers.base import Outcome, RefundResult
from app.queue import Job, Kind
from tests.books import charge_of, event_types, make_paid, refund, row_of, rows_of
from tests.charges.scripted import stand_in
from tests.review.rounds import work

ABSENT = RefundResult("", "", Outcome.PENDING, is_absent=True)
SILENCE = ProviderUnreachable("no answer")


@pytest.fixture
def paid(merchant):
    return make_paid(merchant)


@pytest.fixture
def provider(merchant, paid):
    return stand_in(merchant)


def state_of(made):
    return row_of(Refund, id=made.id).state


def kinds_of(made):
    return [row.kind for row in rows_of(Incident, subject_id=made.id)]


def test_it_is_sent_at_once_with_what_the_provider_must_know(merchant, paid, provider):
    made = refund(merchant, paid.id, 450, reason="cold")
    provider.refunds = [Outcome.SUCCEEDED]
    assert work(Kind.REFUND) == 1
    assert state_of(made) == RefundState.SUCCEEDED
    [order] = provider.orders
    assert (order.amount, order.paid, order.reason) == (Money(450, "CNY"), Money(1250, "CNY"), "cold")
    assert (order.out_refund_no, order.started_at) == (made.out_refund_no, made.created_at)
    assert order.payment.out_trade_no == row_of(Attempt, id=made.attempt_id).out_trade_no
    assert rows_of(Job, kind=Kind.REFUND) == []


def test_one_that_the_provider_knows_is_asked_about_and_not_sent_again(merchant, paid, provider, at):
    made = refund(merchant, paid.id)
    provider.refunds = [SILENCE]
    for _ in range(3):
        work(Kind.REFUND)
        at(timedelta(minutes=2))
    assert provider.calls == ["refund", "query_refund", "query_refund"]
    provider.refund_queries = [Outcome.SUCCEEDED]
    work(Kind.REFUND)
    assert state_of(made) == RefundState.SUCCEEDED


def test_one_that_never_arrived_is_sent_again_with_its_number(merchant, paid, provider, at):
    made = refund(merchant, paid.id)
    provider.refunds, provider.refund_queries = [SILENCE, Outcome.SUCCEEDED], [ABSENT]
    work(Kind.REFUND)
    at(timedelta(seconds=11))
    work(Kind.REFUND)
    assert provider.calls == ["refund", "query_refund", "refund"]
    assert {(order.out_refund_no, order.started_at) for order in provider.orders} == {
        (made.out_refund_no, made.created_at)
    }
    assert state_of(made) == RefundState.SUCCEEDED


def test_a_refused_question_gives_nothing_back(merchant, paid, provider, at):
    """The first call went unanswered, and then the keys were changed: nothing is known of the refund."""
    made = refund(merchant, paid.id)
    provider.refunds = [SILENCE, ProviderRejected("no", provider_code="SIGN_ERROR")]
    provider.refund_queries = [ProviderRejected("no", provider_code="SIGN_ERROR")]
    work(Kind.REFUND)
    at(timedelta(seconds=11))
    work(Kind.REFUND)
    assert state_of(made) == RefundState.RESERVED
    assert charge_of(merchant, paid.id).refunded_minor == 1250


@pytest.mark.parametrize("no", [Outcome.CLOSED, ProviderRejected("no", provider_code="TRADE_HAS_FINISHED")])
def test_a_definite_no_gives_it_back(merchant, paid, provider, no):
    made = refund(merchant, paid.id)
    provider.refunds = [no]
    work(Kind.REFUND)
    assert state_of(made) == RefundState.FAILED
    assert charge_of(merchant, paid.id).refunded_minor == 0
    assert kinds_of(made) == ["refund_failed"]
    assert rows_of(Job, kind=Kind.REFUND) == []


def test_an_empty_balance_is_told_at_once_and_tried_on_with_the_same_number(merchant, paid, provider, at):
    made = refund(merchant, paid.id)
    provider.refunds = [
        ProviderUnreachable("empty", provider_code="ACQ.SELLER_BALANCE_NOT_ENOUGH", needs_person=True),
        Outcome.SUCCEEDED,
    ]
    provider.refund_queries = [ABSENT]
    work(Kind.REFUND)
    assert kinds_of(made) == ["refund_stuck"]
    assert row_of(Refund, id=made.id).pending_reason == "ACQ.SELLER_BALANCE_NOT_ENOUGH"
    at(timedelta(seconds=11))
    work(Kind.REFUND)
    assert state_of(made) == RefundState.SUCCEEDED
    assert len({order.out_refund_no for order in provider.orders}) == 1


def test_parts_of_one_order_wait_for_their_turn_where_the_provider_wants_them_apart(
    merchant, paid, provider, at
):
    """Ten at once, one a minute: each is refused once at most, and the tenth is through in ten minutes."""
    made = [refund(merchant, paid.id, 100) for _ in range(10)]
    busy = ProviderUnreachable("too often", provider_code="FREQUENCY_LIMITED", retry_after_s=65)
    provider.refund_queries = [ABSENT]
    provider.refunds = [Outcome.SUCCEEDED, *[busy] * 9, Outcome.SUCCEEDED]
    work(Kind.REFUND)
    for minute in range(1, 11):
        assert sum(state_of(row) == RefundState.SUCCEEDED for row in made) == minute
        at(timedelta(seconds=66))
        work(Kind.REFUND)
    assert provider.calls.count("refund") == 19
    assert rows_of(Incident) == []


def test_news_of_a_refund_comes_by_callback_too(merchant, far_side):
    paid = make_paid(merchant, far_side)
    number = row_of(Attempt, id=paid.paid_attempt_id).out_trade_no
    made = refund(merchant, paid.id, 450)
    far_side.is_down = True
    work(Kind.REFUND)
    assert state_of(made) == RefundState.RESERVED
    fields = {"refund_fee": "4.50", "gmt_refund": "2026-03-02 12:00:00.000", "out_biz_no": made.out_refund_no}
    for _ in range(2):
        inbox.receive(accounts.open_account(merchant.account_id), far_side.notice(number, **fields))
    assert state_of(made) == RefundState.SUCCEEDED
    assert charge_of(merchant, paid.id).refunded_minor == 450
    assert event_types(made.id) == ["refund.created", "refund.succeeded"]
    assert rows_of(Job, kind=Kind.REFUND) == []
