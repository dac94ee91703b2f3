"""Money that no charge has taken: what waits and why, and the sums that must agree at every moment."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
import sqlalchemy as sa

from app.charges import decisions, lifecycle, refunds, unclaimed
from app.charges.commands import NewRefund
from app.charges.decisions import Press
from app.charges.models import Attempt, Charge, Refund
from app.charges.settle import settle, settle_unknown
from app.charges.unclaimed import Account, Why
from app.db import reading, transaction
from app.errors import Conflict
from app.merchants import accounts
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.queue import Job, Kind
from tests.books import make_attempt, make_charge, row_of, rows_of
from tests.conftest import add_shop
from tests.providers import alipay_forge
from tests.review.rounds import hear, work
from tests.strays import check_sums, hear_unknown, pay_twice, tell_refund, waiting


def test_a_payment_that_fits_does_not_wait(merchant):
    hear(merchant.account_id, make_attempt(merchant, make_charge(merchant).id))
    assert waiting(merchant) == []
    paid, nothing = Money(1250, "CNY"), Money(0, "CNY")
    assert check_sums(merchant) == {"CNY": Account(paid, paid, nothing, nothing, nothing, nothing)}


@pytest.mark.parametrize(
    ("minor", "currency", "why"),
    [(1000, "CNY", Why.WRONG_AMOUNT), (1300, "CNY", Why.WRONG_AMOUNT), (1250, "USD", Why.WRONG_CURRENCY)],
)
def test_a_wrong_payment_waits_in_its_own_currency(merchant, minor, currency, why):
    hear(merchant.account_id, make_attempt(merchant, make_charge(merchant).id), minor, currency)
    assert waiting(merchant) == [(why, minor, currency)]
    assert check_sums(merchant)[currency].waiting == Money(minor, currency)


def test_unneeded_money_waits_once_its_refund_has_failed_and_no_sooner(merchant):
    charge, number = pay_twice(merchant)
    assert waiting(merchant) == []
    refund = row_of(Refund, charge_id=charge.id)
    tell_refund(merchant, refund, Outcome.FAILED)
    assert waiting(merchant) == [(Why.UNNEEDED, 1250, "CNY")]
    [item], _ = unclaimed.list_unclaimed(merchant.id, livemode=False)
    assert (item.row.out_trade_no, item.row.refund_failed) == (number, True)
    assert item.row.failure_code_of_refund == "SELLER_BALANCE_NOT_ENOUGH"
    assert not item.can_be_accepted  # its charge is paid
    assert item.can_be_matched
    check_sums(merchant)


def test_money_that_went_back_after_all_is_overdrawn_where_it_was_used(merchant):
    charge, _ = pay_twice(merchant)
    refund, other = row_of(Refund, charge_id=charge.id), make_charge(merchant)
    tell_refund(merchant, refund, Outcome.FAILED)
    press = Press(merchant.id, refund.attempt_id, 1250, "owner@cafe.example")
    decisions.match(press, other.id, return_surplus=True)
    tell_refund(merchant, refund, Outcome.SUCCEEDED)
    assert waiting(merchant) == []
    assert check_sums(merchant)["CNY"].overdrawn == Money(1250, "CNY")


def test_unknown_money_waits_and_is_booked_once(merchant):
    assert hear_unknown(merchant)
    assert hear_unknown(merchant)
    assert waiting(merchant) == [(Why.UNKNOWN, 1999, "CNY")]
    check_sums(merchant)


def test_a_payment_that_is_in_the_books_is_not_booked_under_another_number(merchant):
    hear(merchant.account_id, make_attempt(merchant, make_charge(merchant).id), ref="T1")
    assert not hear_unknown(merchant, ref="T1")
    number = make_attempt(merchant, make_charge(merchant).id)
    for _ in range(2):
        hear(merchant.account_id, number, ref="T1")
    assert waiting(merchant) == []
    assert check_sums(merchant)["CNY"].received == Money(1250, "CNY")


def test_a_message_at_the_merchants_other_account_books_nothing(merchant):
    """The two share their credentials, so it verifies at both doors; the money came once."""
    number = make_attempt(merchant, make_charge(merchant).id)
    other_id = accounts.add_account(
        merchant.id, "alipay", livemode=False, name="second", settings=alipay_forge.KEY_MODE
    )
    result = PaymentResult(number, Outcome.SUCCEEDED, Money(1250, "CNY"), "T1")
    with transaction() as tx:
        assert not settle_unknown(tx, accounts.open_account(other_id), result)
    hear(merchant.account_id, number, ref="T1")
    assert waiting(merchant) == []
    assert check_sums(merchant)["CNY"].received == Money(1250, "CNY")


@pytest.mark.parametrize(
    "said",
    [
        PaymentResult("X1", Outcome.SUCCEEDED, None, "T1"),
        PaymentResult("X1", Outcome.SUCCEEDED, Money(0, "CNY"), "T1"),
        PaymentResult("X1", Outcome.PENDING, Money(1250, "CNY"), "T1"),
        PaymentResult("X" * 65, Outcome.SUCCEEDED, Money(1250, "CNY"), "T1"),
        PaymentResult("X1", Outcome.SUCCEEDED, Money(1250, "CNY"), "T" * 65),
    ],
)
def test_nothing_is_booked_that_is_no_money_or_that_no_row_can_hold(merchant, said):
    with transaction() as tx:
        assert not settle_unknown(tx, accounts.open_account(merchant.account_id), said)
    assert rows_of(Attempt) == []


def test_an_amount_that_is_told_later_waits_from_then_on(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    result = PaymentResult(number, Outcome.SUCCEEDED, Money(1250, "CNY"), "T1")
    for said in (replace(result, amount=None), replace(result, amount=None)):
        with transaction() as tx:
            settle(tx, merchant.account_id, said)
    assert waiting(merchant) == []
    with transaction() as tx:
        settle(tx, merchant.account_id, result)
    assert waiting(merchant) == [(Why.WRONG_AMOUNT, 1250, "CNY")]
    check_sums(merchant)


def test_another_merchant_and_the_other_mode_see_nothing(merchant, other_merchant):
    hear_unknown(merchant)
    assert waiting(other_merchant) == []
    assert unclaimed.account_for(other_merchant.id, livemode=False) == []
    assert unclaimed.list_unclaimed(merchant.id, livemode=True) == ([], False)
    assert unclaimed.account_for(merchant.id, livemode=True) == []


def test_the_list_turns_its_pages(merchant):
    for number in range(5):
        hear_unknown(merchant, f"X{number}")
    seen, before, has_more = [], None, True
    while has_more:
        items, has_more = unclaimed.list_unclaimed(merchant.id, livemode=False, before=before, limit=2)
        seen += [item.row.out_trade_no for item in items]
        before = items[-1].row.id
    assert seen == ["X4", "X3", "X2", "X1", "X0"]


# PostgreSQL's planner reads so small a table whole.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_list_is_read_off_its_index(merchant):
    query = unclaimed._ITEM.where(*unclaimed._waiting_in(merchant.id, False))
    with reading() as connection:
        sql = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = " ".join(row.detail for row in connection.execute(sa.text(f"EXPLAIN QUERY PLAN {sql}")))
    assert "ix_attempts_unneeded" in plan


class History:
    """A shop whose shoppers, provider and people do whatever they like, from a seed."""

    def __init__(self, shop, seed):
        self.shop, self.rng = shop, random.Random(seed)
        self.serial = 0
        self.deeds = [self.sell, self.pay, self.pay, self.pay_unknown, self.cancel]
        self.deeds += [self.end_refund, self.decide, self.decide, self.give_back]

    def sell(self):
        charge = make_charge(self.shop, minor=self.rng.choice([100, 1250]), merchant_order_no=self._new("NO"))
        make_attempt(self.shop, charge.id)

    def pay(self):
        tried = [row for row in rows_of(Attempt, merchant_id=self.shop.id) if row.charge_id]
        if tried:
            attempt = self.rng.choice(tried)
            minor = attempt.amount_minor + self.rng.choice([0, 0, 0, -1, 7])
            currency = self.rng.choice(["CNY", "CNY", "CNY", "USD"])
            hear(self.shop.account_id, attempt.out_trade_no, minor, currency)
            make_attempt(self.shop, make_charge(self.shop).id)

    def pay_unknown(self):
        hear_unknown(self.shop, self._new("X"), self.rng.choice([100, 1250, 1999]))

    def cancel(self):
        pending = rows_of(Charge, merchant_id=self.shop.id, state="pending")
        if pending:
            lifecycle.cancel_charge(self.shop.id, self.rng.choice(pending).id)

    def end_refund(self):
        known = rows_of(Refund, merchant_id=self.shop.id)
        if known:
            outcome = self.rng.choice([Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED])
            tell_refund(self.shop, self.rng.choice(known), outcome)

    def decide(self):
        items, _ = unclaimed.list_unclaimed(self.shop.id, livemode=False, limit=100)
        if not items:
            return
        item, back = self.rng.choice(items), self.rng.random() < 0.5
        press = Press(self.shop.id, item.row.id, item.waiting.minor, "owner@cafe.example")
        wanted = self.rng.choice(rows_of(Charge, merchant_id=self.shop.id) or [None])
        match self.rng.randrange(4):
            case 0 if item.can_be_accepted:
                decisions.accept(press, return_surplus=back)
            case 1 if item.can_be_matched and wanted:
                with suppress(Conflict):  # It is paid, or asks for another currency.
                    decisions.match(press, wanted.id, return_surplus=back)
            case 2:
                decisions.refund(press)
            case _ if self.rng.random() < 0.3:
                decisions.set_aside(press, "paid out in cash")

    def give_back(self):
        """The merchant refunds a part of a paid charge."""
        paid = rows_of(Charge, merchant_id=self.shop.id, state="paid")
        if paid:
            new = NewRefund(self.rng.choice(paid).id, self.rng.choice([1, 40]))
            with suppress(Conflict), transaction() as tx:
                refunds.create_refund(tx, self.shop.id, new)

    def _new(self, prefix):
        self.serial += 1
        return f"{prefix}{self.serial}"


def test_whatever_happens_the_sums_agree(app, far_side):
    """Money in = credited + refunded + settled elsewhere + waiting, after every step of any history."""
    for seed in range(2):
        history = History(add_shop(f"owner{seed}@cafe.example", password=None), seed)
        for _ in range(35):
            history.rng.choice(history.deeds)()
            check_sums(history.shop)
        assert check_sums(history.shop)["CNY"].received.minor > 0
    assert rows_of(Job, kind=Kind.REFUND)
    work(Kind.REFUND)
