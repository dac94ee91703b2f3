"""Refunds whose provider changes its mind, or says nothing at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.charges import refunds
from app.charges.models import Attempt, Incident, Refund
from app.charges.states import RefundState
from app.db import transaction
from app.money import Money
from app.providers.base import Outcome, RefundResult
from app.queue import Job, Kind
from tests.books import event_types, make_attempt, make_charge, row_of, rows_of, start
from tests.review.rounds import hear, work


@pytest.fixture
def refund(merchant, far_side):
    """A payment that came twice: its refund is reserved, and was not sent yet."""
    charge = make_charge(merchant)
    first = make_attempt(merchant, charge.id)
    far_side.is_down = True  # so that the first stays open
    second = far_side.open(start(merchant, charge.id, "mobile").url).out_trade_no
    far_side.is_down = False
    for number in (first, second):
        far_side.pay(number)
        hear(merchant.account_id, number)
    return row_of(Refund, charge_id=charge.id)


@pytest.fixture
def tell(merchant, refund):
    """News of that refund; whether it was any."""

    def tell(outcome, **more):
        result = RefundResult("", refund.out_refund_no, outcome, Money(1250, "CNY"), **more)
        with transaction() as tx:
            return refunds.settle_refund(tx, merchant.account_id, result)

    return tell


def kinds_of(refund):
    return [row.kind for row in rows_of(Incident, subject_id=refund.id)]


def test_one_that_succeeds_after_it_failed_is_reserved_again_and_raised(refund, tell):
    assert tell(Outcome.FAILED)
    assert row_of(Attempt, id=refund.attempt_id).refunded_minor == 0
    assert tell(Outcome.SUCCEEDED)
    assert not tell(Outcome.SUCCEEDED)
    assert not tell(Outcome.FAILED)
    assert row_of(Refund, id=refund.id).state == RefundState.SUCCEEDED
    assert row_of(Attempt, id=refund.attempt_id).refunded_minor == 1250
    assert event_types(refund.id) == ["refund.created", "refund.failed", "refund.succeeded"]
    assert kinds_of(refund) == ["refund_failed", "refund_contradicted"]


def test_one_that_only_a_person_can_move_on_is_raised_and_stays_reserved(refund, tell):
    assert not tell(Outcome.PENDING, provider_status="ABNORMAL", needs_person=True)
    assert row_of(Attempt, id=refund.attempt_id).refunded_minor == 1250
    assert kinds_of(refund) == ["refund_stuck"]


def test_one_that_is_never_answered_is_raised_within_a_day_and_tried_on(refund, far_side, at):
    far_side.is_down = True
    work(Kind.REFUND)
    assert kinds_of(refund) == []
    for _ in range(48):
        at(timedelta(minutes=30))
        work(Kind.REFUND)
    assert kinds_of(refund) == ["refund_stuck"]
    assert [job.kind for job in rows_of(Job, subject_id=refund.id)] == [Kind.REFUND]
    far_side.is_down = False
    at(timedelta(hours=7))
    work(Kind.REFUND)
    assert row_of(Refund, id=refund.id).state == RefundState.SUCCEEDED
