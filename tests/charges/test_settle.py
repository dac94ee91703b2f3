"""The one door through which money enters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from app.charges.models import Attempt, Charge, Incident, Refund
from app.charges.settle import Verdict, settle
from app.charges.states import AttemptState, ChargeState
from app.db import transaction
from app.errors import UnknownPayment
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of


def success(number: str, minor: int = 1250, currency: str = "CNY", ref: str | None = None) -> PaymentResult:
    return PaymentResult(number, Outcome.SUCCEEDED, Money(minor, currency), ref or f"T{number}")


def news(account_id: str, result: PaymentResult) -> Verdict:
    with transaction() as tx:
        return settle(tx, account_id, result)


def test_a_success_pays_the_charge_and_says_so_once(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    assert news(merchant.account_id, success(number)) is Verdict.PAID
    paid = charge_of(merchant, charge.id)
    assert (paid.state, paid.provider, paid.paid_late) == (ChargeState.PAID, "alipay", False)
    assert paid.paid_attempt_id == row_of(Attempt, out_trade_no=number).id
    assert event_types(charge.id) == ["charge.created", "charge.paid"]


def test_the_same_success_again_changes_nothing(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    news(merchant.account_id, success(number))
    before = charge_of(merchant, charge.id)
    for _ in range(3):
        assert news(merchant.account_id, success(number)) is Verdict.NO_NEWS
    assert charge_of(merchant, charge.id) == before
    assert event_types(charge.id) == ["charge.created", "charge.paid"]


@pytest.mark.parametrize(
    "amount", [Money(1249, "CNY"), Money(1251, "CNY"), Money(1250, "USD"), Money(1, "CNY")]
)
def test_wrong_amount_never_pays(merchant, amount):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    result = replace(success(number), amount=amount)
    assert news(merchant.account_id, result) is Verdict.MISMATCHED
    assert news(merchant.account_id, result) is Verdict.NO_NEWS
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.MISMATCHED
    assert row_of(Incident, charge_id=charge.id).kind == "amount_mismatched"
    assert event_types(charge.id) == ["charge.created", "charge.amount_mismatched"]


def test_a_success_without_an_amount_never_pays(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    assert news(merchant.account_id, replace(success(number), amount=None)) is Verdict.MISMATCHED
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING


def test_a_callback_for_another_merchants_account_finds_nothing(merchant, other_merchant):
    """A places B's order number at A's own account, pays itself, and gets nothing of B's."""
    charge = make_charge(other_merchant)
    number = make_attempt(other_merchant, charge.id)
    with pytest.raises(UnknownPayment):
        news(merchant.account_id, success(number))
    assert charge_of(other_merchant, charge.id).state == ChargeState.PENDING


@pytest.mark.parametrize("last_word", [Outcome.CLOSED, Outcome.FAILED])
def test_money_outranks_a_failure_whichever_comes_first(merchant, last_word):
    for order in ((last_word, Outcome.SUCCEEDED), (Outcome.SUCCEEDED, last_word)):
        charge = make_charge(merchant)
        number = make_attempt(merchant, charge.id)
        for outcome in order:
            news(merchant.account_id, replace(success(number), outcome=outcome))
        assert charge_of(merchant, charge.id).state == ChargeState.PAID
        assert row_of(Attempt, out_trade_no=number).state == AttemptState.SUCCEEDED


def test_the_second_attempt_to_succeed_is_refunded_in_full_once(merchant):
    charge = make_charge(merchant)
    first, second = make_attempt(merchant, charge.id), make_attempt(merchant, charge.id, scene="mobile")
    assert news(merchant.account_id, success(first)) is Verdict.PAID
    assert news(merchant.account_id, success(second)) is Verdict.UNNEEDED
    assert news(merchant.account_id, success(second)) is Verdict.NO_NEWS
    refund = row_of(Refund, charge_id=charge.id)
    assert (refund.amount_minor, refund.automatic, refund.out_refund_no) == (1250, True, f"DUP{second}")
    assert event_types(charge.id) == ["charge.created", "charge.paid", "charge.double_paid"]
    assert event_types(refund.id) == ["refund.created"]


def test_a_closed_or_failed_attempt_leaves_the_charge_payable(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    assert news(merchant.account_id, PaymentResult(number, Outcome.CLOSED)) is Verdict.NOT_PAID
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.CLOSED


def test_pending_is_no_news(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    assert news(merchant.account_id, PaymentResult(number, Outcome.PENDING)) is Verdict.NO_NEWS
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.STARTED


def test_the_database_itself_refuses_a_second_settlement(merchant):
    charge = make_charge(merchant)
    first, second = make_attempt(merchant, charge.id), make_attempt(merchant, charge.id, scene="mobile")
    news(merchant.account_id, success(first))
    attempts = Attempt.__table__
    with pytest.raises(sa.exc.IntegrityError), transaction() as tx:
        tx.execute(sa.update(attempts).where(attempts.c.out_trade_no == second).values(settles=True))


def test_contradicting_news_of_booked_money_raises_an_incident(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    news(merchant.account_id, success(number))
    assert news(merchant.account_id, success(number, minor=9999)) is Verdict.NO_NEWS
    assert row_of(Incident, charge_id=charge.id).kind == "amount_contradicted"
    assert row_of(Charge, id=charge.id).state == ChargeState.PAID
