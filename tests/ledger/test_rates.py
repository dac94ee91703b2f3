"""What a provider keeps: foreseen by dated rates, never more than came."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import clock
from app.charges import fees
from app.charges.models import Attempt
from app.db import transaction
from app.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from app.ledger import rates
from app.ledger.models import Entry
from app.ledger.rates import NewRate, fee_of
from app.merchants.actor import Actor
from tests.books import make_paid, row_of, rows_of

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    ("amount", "basis_points", "fixed", "fee"),
    [
        (1250, 60, 0, 8),  # 7.5 fen
        (1249, 60, 0, 7),  # 7.494
        (83, 60, 0, 0),  # 0.498
        (84, 60, 0, 1),  # 0.504
        (10**10, 60, 0, 6 * 10**7),
        (1250, 0, 30, 30),
        (20, 0, 30, 20),
        (1250, 0, 0, 0),
    ],
)
def test_a_fee_is_rounded_half_up_and_is_no_more_than_the_payment(amount, basis_points, fixed, fee):
    assert fee_of(amount, basis_points, fixed) == fee


def test_a_payment_costs_what_its_day_says(merchant, at):
    """Of several rates the latest that has begun; nothing without one, and nothing for what came before."""
    make_paid(merchant, minor=1000)
    now = clock.now()
    for basis_points, since in ((60, now), (38, now + timedelta(days=1))):
        rates.add_rate(merchant.id, NewRate(merchant.account_id, "CNY", basis_points, 0, since))
    make_paid(merchant, minor=2000)
    at(timedelta(days=1, minutes=1))
    make_paid(merchant, minor=3000)
    booked = {row.received_minor: row.fee_minor for row in rows_of(Attempt)}
    assert booked == {1000: None, 2000: 12, 3000: 11}
    posted = {
        row.attempt_id: (row.debit, row.credit, row.amount_minor) for row in rows_of(Entry, event="fee")
    }
    clearing = f"clearing:{merchant.account_id}"
    assert posted == {
        row_of(Attempt, received_minor=2000).id: ("fees", clearing, 12),
        row_of(Attempt, received_minor=3000).id: ("fees", clearing, 11),
    }


@one_database
@pytest.mark.parametrize(
    ("billed", "entry"),
    [(14, ("fees", "clearing", 2)), (9, ("clearing", "fees", 3)), (12, None), (0, ("clearing", "fees", 12))],
)
def test_a_bill_corrects_the_fee_once(merchant, billed, entry):
    rates.add_rate(merchant.id, NewRate(merchant.account_id, "CNY", 60, 0, clock.now()))
    make_paid(merchant, minor=2000)
    attempt = row_of(Attempt)
    with transaction() as tx:
        assert not fees.correct_fees(tx, merchant.id, {attempt.id: 2001})  # more than came
        assert fees.correct_fees(tx, merchant.id, {attempt.id: billed}) == {attempt.id}
        for again in (billed, billed + 1):
            assert not fees.correct_fees(tx, merchant.id, {attempt.id: again})
    posted = [
        (row.debit.partition(":")[0], row.credit.partition(":")[0], row.amount_minor)
        for row in rows_of(Entry, event="fee_adjusted")
    ]
    assert posted == ([entry] if entry else [])


@one_database
def test_rates_are_the_owners_business_and_never_overlap(merchant, other_merchant):
    new = NewRate(merchant.account_id, "CNY", 60, 0, clock.now())
    with pytest.raises(PermissionDenied):
        rates.add_rate(merchant.id, new, by=Actor("cashier@cafe.example"))
    with pytest.raises(NotFound):
        rates.add_rate(other_merchant.id, new)
    with pytest.raises(InvalidRequest):
        rates.add_rate(merchant.id, NewRate(merchant.account_id, "CNY", 1001, 0))
    rates.add_rate(merchant.id, new)
    with pytest.raises(Conflict):
        rates.add_rate(merchant.id, new)
    [listed] = rates.list_rates(merchant.id, livemode=False)
    assert (listed.basis_points, listed.provider) == (60, "alipay")
    assert rates.list_rates(merchant.id, livemode=True) == []
