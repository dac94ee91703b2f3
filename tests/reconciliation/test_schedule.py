"""The provider's bill of a day settles what callbacks and queries have left open, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from app import clock, queue
from app.charges.models import Attempt, Charge, Incident, Refund
from app.charges.refunds import settle_refund
from app.charges.states import ChargeState, RefundState
from app.db import transaction
from app.errors import NotFound, ProviderRejected, ProviderUnreachable
from app.ledger.models import Entry
from app.merchants.models import ProviderAccount
from app.money import Money
from app.providers.base import Outcome, RefundResult, StatementLine
from app.queue import Job, Kind
from app.reconciliation import schedule
from app.reconciliation.matching import Tally
from app.reconciliation.reconcile import reconcile
from tests.books import charge_of, make_attempt, make_charge, make_paid, refund, row_of, rows_of
from tests.charges.scripted import stand_in

TODAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)  # in Beijing
SILENCE = ProviderUnreachable("no answer")
LAPSED = ProviderRejected("ask for another token", provider_code="aop.app-auth-token-time-out")
NO_BILL = ProviderRejected("no bill", provider_code="isp.bill_not_exist")


@pytest.fixture(autouse=True)
def _noon(at):
    at(NOON)


def go_through(account_id, day):
    return reconcile(account_id, day).tally


def payment_line(number):
    return StatementLine("payment", number, f"T{number}", Money(1250, "CNY"), Money(-1, "CNY"), clock.now())


def refund_line(made, minor=None, **more):
    amount = Money(-(minor or made.amount_minor), "CNY")
    number = row_of(Attempt, id=made.attempt_id).out_trade_no
    return StatementLine(
        "refund", number, "T", amount, Money(0, "CNY"), clock.now(), out_refund_no=made.out_refund_no, **more
    )


def test_a_payment_that_is_open_here_is_asked_about_and_settled(merchant):
    number = make_attempt(merchant, make_charge(merchant).id)
    provider = stand_in(merchant)
    provider.queries, provider.bill = [Outcome.SUCCEEDED], [payment_line(number)]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=1, settled=1)
    assert row_of(Charge).state == ChargeState.PAID
    assert go_through(merchant.account_id, TODAY) == Tally()
    assert provider.calls.count("query") == 1


def test_the_bill_alone_does_not_pay(merchant):
    number = make_attempt(merchant, make_charge(merchant).id)
    provider = stand_in(merchant)
    provider.queries, provider.bill = [SILENCE], [payment_line(number)]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=1, unanswered=1)
    assert row_of(Charge).state == ChargeState.PENDING


def test_what_the_provider_kept_is_booked_once(merchant):
    number = make_attempt(merchant, make_charge(merchant).id)
    provider = stand_in(merchant)
    provider.queries, provider.bill = [Outcome.SUCCEEDED], [payment_line(number)]
    for _ in range(2):
        go_through(merchant.account_id, TODAY)
        assert row_of(Attempt).fee_billed_minor == 1
        fee = row_of(Entry, event="fee_adjusted")
        assert (fee.debit, fee.credit, fee.amount_minor) == ("fees", f"clearing:{merchant.account_id}", 1)


@pytest.mark.parametrize("fee", [Money(-1251, "CNY"), Money(1, "CNY")])
def test_a_fee_that_makes_no_sense_is_left_alone_and_holds_up_no_other(merchant, fee):
    for _ in range(2):
        make_paid(merchant)
    numbers = [attempt.out_trade_no for attempt in rows_of(Attempt)]
    odd = replace(payment_line(numbers[0]), fee=fee)
    stand_in(merchant).bill = [odd, payment_line(numbers[1])]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=2)
    assert row_of(Attempt, out_trade_no=numbers[0]).fee_billed_minor is None
    assert row_of(Attempt, out_trade_no=numbers[1]).fee_billed_minor == 1


def test_lines_of_others_and_without_a_number_are_counted_and_left(merchant):
    provider = stand_in(merchant)
    provider.bill = [payment_line("SOMEBODYELSES"), payment_line("")]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=2)
    assert provider.calls == ["fetch_bill", "query"]  # about the one that has a number


@pytest.mark.parametrize(
    "said",
    [SILENCE, Outcome.PENDING, RefundResult("", "", Outcome.PENDING, is_absent=True), NO_BILL],
    ids=["silence", "pending", "absent", "refused"],
)
def test_a_refund_on_the_bill_went_back_even_if_the_provider_says_no_more(merchant, said):
    made = refund(merchant, make_paid(merchant).id, 450)
    provider = stand_in(merchant)
    provider.refund_queries, provider.bill = [said], [refund_line(made)]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=1, settled=1)
    assert row_of(Refund).state == RefundState.SUCCEEDED
    assert go_through(merchant.account_id, TODAY) == Tally()


def test_the_providers_own_word_of_a_refund_outranks_the_bill(merchant):
    made = refund(merchant, make_paid(merchant).id, 450)
    provider = stand_in(merchant)
    provider.refund_queries, provider.bill = [Outcome.CLOSED], [refund_line(made)]
    go_through(merchant.account_id, TODAY)
    assert row_of(Refund).state == RefundState.FAILED


@pytest.mark.parametrize(("said", "unanswered"), [(Outcome.PENDING, 0), (SILENCE, 1)])
def test_a_refund_that_is_still_on_its_way_on_the_bill_stays_so_here(merchant, said, unanswered):
    made = refund(merchant, make_paid(merchant).id, 450)
    provider = stand_in(merchant)
    provider.refund_queries, provider.bill = [said], [refund_line(made, is_open=True)]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=1, unanswered=unanswered)
    assert row_of(Refund).state == RefundState.RESERVED


def test_a_refund_of_another_amount_on_the_bill_is_an_incident(merchant):
    made = refund(merchant, make_paid(merchant).id, 450)
    provider = stand_in(merchant)
    provider.refund_queries, provider.bill = [SILENCE], [refund_line(made, 451)]
    assert go_through(merchant.account_id, TODAY) == Tally(lines=1)
    assert row_of(Incident).kind == "refund_mismatched"
    assert row_of(Refund).state == RefundState.RESERVED


def test_a_refund_that_was_said_to_have_failed_and_stands_on_the_bill_is_taken_again(merchant):
    paid = make_paid(merchant)
    made = refund(merchant, paid.id, 450)
    with transaction() as tx:
        settle_refund(tx, merchant.account_id, RefundResult("", made.out_refund_no, Outcome.FAILED))
    provider = stand_in(merchant)
    provider.refund_queries, provider.bill = [SILENCE], [refund_line(made)]
    go_through(merchant.account_id, TODAY)
    assert charge_of(merchant, paid.id).refunded_minor == 450


def test_no_account_no_bill(app):
    with pytest.raises(NotFound):
        go_through("pa_01jd3w6j7hqk2m8n4p6r8t0v2x", TODAY)


class Mornings:
    """The worker's hourly chore and its job, as the clock goes on."""

    def __init__(self, at):
        self._at = at

    def until(self, moment):
        """An hour at a time."""
        while clock.now() < moment:
            self._at(min(timedelta(hours=1), moment - clock.now() + timedelta(seconds=1)))
            schedule.schedule()
            with transaction() as tx:
                claims = queue.claim(tx, Kind.BILL, limit=9, lease=timedelta(seconds=60))
            for claim in claims:
                schedule.follow(claim)


@pytest.fixture
def mornings(at):
    return Mornings(at)


def read_to():
    return row_of(ProviderAccount).bills_read_to


def test_each_days_bill_is_read_once_on_the_morning_after(merchant, mornings):
    provider = stand_in(merchant)
    mornings.until(NOON + timedelta(hours=22))  # ten in the morning
    assert provider.calls == []
    mornings.until(NOON + timedelta(hours=24))
    assert (provider.calls, read_to()) == (["fetch_bill"], TODAY)
    mornings.until(NOON + timedelta(days=3))
    assert (provider.calls, read_to()) == (["fetch_bill"] * 3, TODAY + timedelta(days=2))
    assert rows_of(Job, kind=Kind.BILL) == []


def test_a_bill_that_is_not_there_yet_is_asked_for_until_the_next_is_due(merchant, mornings):
    provider = stand_in(merchant)
    provider.bill = NO_BILL
    mornings.until(NOON + timedelta(days=1))
    assert len(provider.calls) > 1
    assert read_to() is None
    provider.bill = []
    mornings.until(NOON + timedelta(days=1, hours=1))
    assert read_to() == TODAY


def test_a_day_without_trades_ends_quietly(merchant, mornings):
    stand_in(merchant).bill = NO_BILL
    mornings.until(NOON + timedelta(days=2))
    assert read_to() == TODAY
    assert rows_of(Incident) == []


@pytest.mark.parametrize("trouble", [SILENCE, LAPSED], ids=["silence", "an account's fault"])
def test_a_bill_that_cannot_be_read_for_days_is_told_to_a_person(merchant, mornings, trouble):
    stand_in(merchant).bill = trouble
    mornings.until(NOON + timedelta(days=4))
    assert read_to() == TODAY
    assert row_of(Incident).kind == "bill_unread"


def test_open_questions_bring_the_bill_back(merchant, mornings):
    number = make_attempt(merchant, make_charge(merchant, life=timedelta(days=9)).id)
    provider = stand_in(merchant)
    provider.queries, provider.bill = [SILENCE], [payment_line(number)]
    mornings.until(NOON + timedelta(days=1))
    assert row_of(Charge).state == ChargeState.PENDING
    provider.queries = [Outcome.SUCCEEDED]
    mornings.until(NOON + timedelta(days=1, hours=1))
    assert row_of(Charge).state == ChargeState.PAID
    assert read_to() == TODAY


def test_a_bill_is_in_one_workers_hands_however_long_it_takes(merchant, at):
    at(NOON + timedelta(days=1))
    provider = stand_in(merchant)
    with transaction() as tx:
        queue.put(tx, Kind.BILL, merchant.id, schedule.subject_of(merchant.account_id, TODAY), clock.now())

    def claim():
        with transaction() as tx:
            return queue.claim(tx, Kind.BILL, limit=1, lease=timedelta(seconds=60))

    class Slow(list):
        """A bill that is still being read after the usual lease."""

        def __iter__(self):
            at(timedelta(minutes=20))
            assert claim() == []
            return iter(())

    provider.bill = Slow()
    [mine] = claim()
    at(timedelta(seconds=61))
    [other] = claim()
    schedule.follow(mine)  # its lease was lost: it does nothing
    assert provider.calls == []
    schedule.follow(other)
    assert (provider.calls, read_to()) == (["fetch_bill"], TODAY)
