"""Books in which everything has happened once that the ledger knows of."""

from __future__ import annotations

from app import clock
from app.charges import approvals, decisions, fees, refunds, unclaimed
from app.charges.commands import NewRefund
from app.charges.decisions import Press
from app.charges.models import Attempt, Refund
from app.charges.states import RefundState
from app.db import transaction
from app.ledger import rates
from app.ledger.rates import NewRate
from app.merchants import policy
from app.merchants.actor import SERVER
from app.merchants.policy import Policy
from app.providers.base import Outcome
from tests.books import end_refund, make_attempt, make_charge, make_paid, refund, row_of
from tests.conftest import Shop
from tests.members import purse
from tests.review.rounds import hear
from tests.strays import hear_unknown, pay_twice, tell_refund

OWNER = "owner@cafe.example"


def fill(shop: Shop) -> None:
    """Payments that fit, do not fit or were not asked for; refunds of every end; each kind of decision."""
    some = make_paid(shop, minor=10_000)
    end_refund(shop, refund(shop, some.id, 300).id, Outcome.SUCCEEDED)
    end_refund(shop, refund(shop, some.id, 400).id, Outcome.FAILED)
    refund(shop, some.id, 500)  # on its way
    late = refund(shop, some.id, 600)
    for outcome in (Outcome.FAILED, Outcome.SUCCEEDED):
        end_refund(shop, late.id, outcome)
    _hold_and_decline(shop, some.id)
    twice, _ = pay_twice(shop)
    tell_refund(shop, row_of(Refund, charge_id=twice.id), Outcome.SUCCEEDED)
    for minor in (1000, 1300):
        hear(shop.account_id, make_attempt(shop, make_charge(shop).id), minor)
        decisions.accept(_press(shop), return_surplus=False)
    decisions.set_aside(_press(shop), "paid out in cash")
    hear_unknown(shop, "X1")
    decisions.match(_press(shop), make_charge(shop, minor=1999).id, return_surplus=True)
    hear_unknown(shop, "X2", 777)
    decisions.refund(_press(shop))
    hear_unknown(shop, "X3", 888)  # waits
    make_charge(shop)


def fill_fees(shop: Shop) -> None:
    """A payment at a rate of 0.6 %, and another whose bill said otherwise."""
    rates.add_rate(shop.id, NewRate(shop.account_id, "CNY", 60, 0, clock.now()))
    for minor in (10_000, 20_000):
        make_paid(shop, minor=minor)
    with transaction() as tx:
        assert fees.correct_fees(tx, shop.id, {row_of(Attempt, received_minor=20_000).id: 119})


def fill_members(shop: Shop) -> None:
    """A member who topped up with a bonus, spent, had something given back, and refunds of every end."""
    purse.give_bonus(shop, (10_000, 1_000))
    member = purse.add_member(shop)
    topup = purse.top_up(shop, member.id, 10_000)
    end_refund(shop, refund(shop, topup.charge_id, 1_000).id, Outcome.SUCCEEDED)
    late = refund(shop, topup.charge_id, 2_000)
    for outcome in (Outcome.FAILED, Outcome.SUCCEEDED):
        end_refund(shop, late.id, outcome)
    debit = purse.spend(shop, member.id, 7_500)
    purse.give_back(shop, debit, 7_400)
    purse.adjust(shop, member.id, (-30, 20), "a slip of the keyboard")
    purse.begin_topup(shop, member.id)
    purse.add_member(shop, "user-43")


def fill_fee_back(shop: Shop) -> None:
    """With the refund of 3.00, a wallet gave back 0.02 of its fee."""
    with transaction() as tx:
        assert fees.give_back(tx, shop.id, {row_of(Refund, amount_minor=300, state="succeeded").id: 2})


def _hold_and_decline(shop: Shop, charge_id: str) -> None:
    policy.save_policy(shop.id, Policy(refund_limit_minor=1), by=SERVER)
    with transaction() as tx:
        held = refunds.create_refund(tx, shop.id, NewRefund(charge_id, 200))
    assert held.state == RefundState.AWAITING
    approvals.decline(shop.id, held.id, by=SERVER)
    policy.save_policy(shop.id, Policy(), by=SERVER)


def _press(shop: Shop) -> Press:
    """What waits alone, as somebody sees it."""
    [item], _ = unclaimed.list_unclaimed(shop.id, livemode=False)
    return Press(shop.id, item.row.id, item.waiting.minor, OWNER)
