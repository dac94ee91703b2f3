"""Deadlines of charges whose provider is gone."""

from __future__ import annotations

from datetime import timedelta

from app.charges.states import ChargeState
from app.queue import Kind
from tests.books import charge_of, make_attempt, make_charge
from tests.review.rounds import work


def test_a_provider_that_never_answers_is_asked_ever_more_seldom(merchant, far_side, at):
    """Every 30 seconds for ever, times the charges of one closed account, would keep all hands busy."""
    charge = make_charge(merchant, life=timedelta(minutes=5))
    make_attempt(merchant, charge.id)
    far_side.is_down = True
    at(timedelta(minutes=6))
    rounds = 0
    for _ in range(24 * 6):
        rounds += work(Kind.EXPIRE)
        at(timedelta(minutes=10))
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert 5 <= rounds <= 20
    far_side.is_down = False
    at(timedelta(days=1))
    work(Kind.EXPIRE)
    assert charge_of(merchant, charge.id).state == ChargeState.EXPIRED
