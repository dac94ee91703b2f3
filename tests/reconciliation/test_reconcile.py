"""A day's end: pools that age, bills that are corrected, workers that die, fees that come back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from app import clock
from app.charges.models import Attempt, Refund
from app.charges.settle import settle
from app.db import transaction
from app.errors import Conflict, InvalidRequest, PermissionDenied, ProviderUnreachable
from app.ledger.models import Entry
from app.merchants import accounts, audit
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import AuditFilter
from app.money import Money
from app.providers.base import Outcome, PaymentResult, StatementLine, UnreadLine, WrongTotals
from app.reconciliation import files, lines, overview, proof, worklist
from app.reconciliation.models import BillChunk, BillFile, BillRow, Discrepancy, Reconciliation
from app.reconciliation.reconcile import give_up, reconcile
from app.reconciliation.states import DayState, ItemState, Resolution
from app.reconciliation.worklist import ItemFilter
from app.webhooks.models import Event
from tests.books import end_refund, make_attempt, make_charge, make_paid, refund, row_of, rows_of
from tests.charges.scripted import stand_in

TODAY = date(2026, 3, 2)
TOMORROW = TODAY + timedelta(days=1)
NOON = clock.start_of(TODAY) + timedelta(hours=12)
MIDNIGHT = clock.start_of(TOMORROW)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _noon(at):
    at(NOON)


def line_of(attempt, minor=None, **more):
    amount = Money(attempt.amount_minor if minor is None else minor, "CNY")
    number = attempt.out_trade_no
    return StatementLine("payment", number, f"T{number}", amount, Money(0, "CNY"), clock.now(), **more)


def paid_attempt(merchant):
    charge = make_paid(merchant)
    return row_of(Attempt, charge_id=charge.id)


def sorts(**conditions):
    return [(row.sort, row.state) for row in rows_of(Discrepancy, **conditions)]


def test_a_day_that_agrees_is_proven_and_told_once(merchant):
    attempt = paid_attempt(merchant)
    stand_in(merchant).bill = [line_of(attempt)]
    for _ in range(2):
        assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED
    run = row_of(Reconciliation)
    [cny] = proof.read_stored(run.summary).proofs
    assert [(each.here_minor, each.there_minor, each.terms) for each in cny.sums[:1]] == [(1250, 1250, ())]
    assert [row.type for row in rows_of(Event, object_id=run.id)] == ["reconciliation.completed"]
    assert overview.latest(merchant.id, livemode=False).is_good


@pytest.mark.parametrize("found_on", [1, 2, None])
def test_a_payment_of_the_last_minute_waits_for_the_next_two_bills(merchant, at, found_on):
    at(MIDNIGHT - timedelta(seconds=20))
    attempt = paid_attempt(merchant)
    provider = stand_in(merchant)
    at(MIDNIGHT + timedelta(hours=11))
    assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED
    assert sorts() == [("day_edge", ItemState.POOLED)]
    for later in (1, 2):
        provider.bill = [line_of(attempt)] if later == found_on else []
        at(timedelta(days=1))
        reconcile(merchant.account_id, TODAY + timedelta(days=later))
        [item] = rows_of(Discrepancy)
        if found_on is not None and later >= found_on:
            assert (item.state, item.resolution) == (ItemState.RESOLVED, Resolution.HEALED)
        elif later == 2:
            assert (item.sort, item.state) == ("missing_there", ItemState.OPEN)
        else:
            assert item.state == ItemState.POOLED
    first = overview.find_day(merchant.id, livemode=False, day=TODAY).accounts[0]
    assert first.summary.is_proven
    assert first.row.state == (DayState.DIFFERS if found_on is None else DayState.MATCHED)


def test_a_corrected_bill_heals_what_the_first_had_wrong_and_adds_nothing(merchant):
    some, other = paid_attempt(merchant), paid_attempt(merchant)
    stand_in(merchant).bill = [line_of(some, 1251), UnreadLine(2, "too short", "x"), line_of(other)]
    assert reconcile(merchant.account_id, TODAY).state == DayState.DIFFERS
    assert sorts() == [("amount", ItemState.OPEN), ("malformed", ItemState.OPEN)]
    account = accounts.open_account(merchant.account_id)
    account.provider.bill = [line_of(some), line_of(other)]
    files.store(account, TODAY, account.provider.fetch_bill(TODAY))
    assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED
    assert {row.resolution for row in rows_of(Discrepancy)} == {Resolution.HEALED}
    assert len(rows_of(BillRow)) == 2
    assert len(rows_of(BillFile)) == 2


def test_what_was_missing_for_good_and_healed_does_not_go_back_into_the_pool(merchant, at):
    """A second item of the same name would stand in the way of ageing the first, on every day to come."""
    at(MIDNIGHT - timedelta(seconds=20))
    attempt = paid_attempt(merchant)
    provider = stand_in(merchant)
    account = accounts.open_account(merchant.account_id)

    def bring(day, bill):
        provider.bill = bill
        at(timedelta(seconds=1))
        files.store(account, day, provider.fetch_bill(day))
        reconcile(merchant.account_id, day)

    bring(TODAY, [])
    assert sorts() == [("day_edge", ItemState.POOLED)]
    bring(TODAY + timedelta(days=2), [])
    assert sorts() == [("missing_there", ItemState.OPEN)]
    bring(TODAY, [line_of(attempt)])
    assert sorts() == [("missing_there", ItemState.RESOLVED)]
    for day in (TODAY, TODAY + timedelta(days=2)):
        bring(day, [UnreadLine(1, "too short", "x")])
    assert sorts(day=TODAY) == [("missing_there", ItemState.OPEN), ("malformed", ItemState.OPEN)]


def test_a_bill_that_contradicts_its_totals_is_no_whole_day_until_a_corrected_one_comes(merchant):
    attempt = paid_attempt(merchant)
    stand_in(merchant).bill = [line_of(attempt), WrongTotals(2, "总交易单数: 2 stated, 1 found")]
    for _ in range(2):
        assert reconcile(merchant.account_id, TODAY).state == DayState.DIFFERS
        assert sorts() == [("totals", ItemState.OPEN)]
    assert row_of(Discrepancy).detail == "总交易单数: 2 stated, 1 found"
    account = accounts.open_account(merchant.account_id)
    account.provider.bill = [line_of(attempt)]
    files.store(account, TODAY, account.provider.fetch_bill(TODAY))
    assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED
    assert row_of(Discrepancy).resolution == Resolution.HEALED


def test_a_worker_that_dies_in_the_middle_leaves_the_rest_to_the_next(merchant, monkeypatch):
    monkeypatch.setattr(lines, "SLICE", 2)
    tries = [paid_attempt(merchant) for _ in range(5)]
    stand_in(merchant).bill = [line_of(each) for each in tries]

    class Killed(Exception):
        pass

    for patience in range(1, 12):
        left = [patience]

        def hold(left=left):
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        try:
            reconcile(merchant.account_id, TODAY, hold=hold)
        except Killed:
            continue
        break
    assert row_of(Reconciliation).state == DayState.MATCHED
    assert [row.number for row in rows_of(BillRow)] == [1, 2, 3, 4, 5]
    assert sorts() == []


def test_two_that_go_through_a_day_at_once_do_not_count_it_twice(merchant):
    attempt = paid_attempt(merchant)
    stand_in(merchant).bill = [line_of(attempt)]

    calls = []

    def intrude():
        calls.append(len(calls))
        if len(calls) == 3:  # the file is taken, and no line of it is read
            reconcile(merchant.account_id, TODAY)

    with pytest.raises(Conflict):
        reconcile(merchant.account_id, TODAY, hold=intrude)
    assert len(rows_of(BillRow)) == 1
    assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED


def test_money_of_an_unknown_number_is_booked_as_unclaimed_once_its_provider_confirms_it(merchant):
    provider = stand_in(merchant)
    provider.queries = [Outcome.SUCCEEDED]
    provider.bill = [StatementLine("payment", "X1", "TX1", Money(1250, "CNY"), Money(0, "CNY"), clock.now())]
    result = reconcile(merchant.account_id, TODAY)
    assert (result.state, result.tally.unclaimed) == (DayState.MATCHED, 1)
    [item] = rows_of(Discrepancy)
    assert (item.sort, item.resolution) == ("missing_here", Resolution.UNCLAIMED)
    assert row_of(Entry).credit == "unclaimed"


def test_a_fee_that_comes_back_with_a_refund_is_booked_once(merchant):
    charge = make_paid(merchant)
    attempt, made = row_of(Attempt), refund(merchant, charge.id, 500)
    end_refund(merchant, made.id, Outcome.SUCCEEDED)
    back = StatementLine(
        "refund",
        attempt.out_trade_no,
        "T",
        Money(-500, "CNY"),
        Money(3, "CNY"),
        clock.now(),
        made.out_refund_no,
    )
    stand_in(merchant).bill = [replace(line_of(attempt), fee=Money(-8, "CNY")), back]
    for _ in range(2):
        assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED
        assert row_of(Refund).fee_back_minor == 3
        entry = row_of(Entry, event="fee_back")
        assert (entry.debit, entry.credit) == (f"clearing:{merchant.account_id}", "fees")
    fees = proof.read_stored(row_of(Reconciliation).summary).proofs[0].sums[2]
    assert (fees.here_minor, fees.there_minor) == (-5, -5)


def test_what_is_settled_later_heals_the_line_that_waited_for_it(merchant, at):
    number = make_attempt(merchant, make_charge(merchant, life=timedelta(days=9)).id)
    attempt = row_of(Attempt, out_trade_no=number)
    provider = stand_in(merchant)
    provider.queries, provider.bill = [ProviderUnreachable("no answer")], [line_of(attempt)]
    at(MIDNIGHT + timedelta(hours=11))
    reconcile(merchant.account_id, TODAY)
    assert sorts() == [("status", ItemState.OPEN)]
    with transaction() as tx:
        result = PaymentResult(number, Outcome.SUCCEEDED, Money(1250, "CNY"), f"T{number}")
        settle(tx, merchant.account_id, result)
    provider.bill = []
    at(timedelta(days=1))
    reconcile(merchant.account_id, TOMORROW)  # on which it was booked
    assert [row.resolution for row in rows_of(Discrepancy)] == [Resolution.HEALED]
    states = [row.state for row in rows_of(Reconciliation)]
    assert states == [DayState.MATCHED, DayState.MATCHED]


def test_without_a_bill_a_day_is_empty_or_missing(merchant, at):
    assert give_up(merchant.account_id, TODAY - timedelta(days=1)) == DayState.EMPTY
    paid_attempt(merchant)
    assert give_up(merchant.account_id, TODAY) == DayState.MISSING
    assert not overview.find_day(merchant.id, livemode=False, day=TODAY).is_good


def test_what_is_no_bill_is_not_stored(merchant):
    account = accounts.open_account(merchant.account_id)
    with pytest.raises(ProviderUnreachable):
        files.store(account, TODAY, b"<html>")
    with pytest.raises(InvalidRequest):
        files.store(account, TODAY, b"x" * (files.FILE_BYTES_MAX + 1))
    assert (rows_of(BillFile), rows_of(BillChunk)) == ([], [])


def test_old_bills_lose_their_bytes_and_keep_their_names(merchant, at):
    attempt = paid_attempt(merchant)
    stand_in(merchant).bill = [line_of(attempt)]
    reconcile(merchant.account_id, TODAY)
    assert files.forget_old() == 0
    at(files.KEPT + timedelta(days=1))
    assert files.forget_old() == 1
    assert rows_of(BillChunk) == []
    assert row_of(BillFile).forgotten_at is not None


# People


def one_item(merchant):
    stand_in(merchant).bill = [line_of(paid_attempt(merchant), 1251)]
    reconcile(merchant.account_id, TODAY)
    return row_of(Discrepancy)


def test_a_person_takes_one_on_resolves_it_and_opens_it_again(merchant):
    item = one_item(merchant)
    worklist.change(merchant.id, item.id, owner=merchant.email, note="asked", by=SERVER)
    worklist.resolve(merchant.id, item.id, resolution="provider", note="they pay it", by=SERVER)
    with pytest.raises(Conflict):
        worklist.resolve(merchant.id, item.id, resolution="provider", note="", by=SERVER)
    row = row_of(Discrepancy)
    assert (row.owner, row.note, row.resolution) == (merchant.email, "they pay it", "provider")
    assert reconcile(merchant.account_id, TODAY).state == DayState.MATCHED  # and going on leaves it so
    assert row_of(Discrepancy) == row
    worklist.reopen(merchant.id, item.id, by=SERVER)
    assert worklist.open_count(merchant.id, livemode=False) == 1
    entries, _ = audit.search(merchant.id, AuditFilter(action="discrepancy"))
    assert [row.action.partition(".")[2] for row in entries] == ["reopened", "resolved", "changed"]


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        (lambda m, i: worklist.change(m, i, owner="x@y.example", note="", by=SERVER), InvalidRequest),
        (lambda m, i: worklist.change(m, i, owner="", note="n" * 501, by=SERVER), InvalidRequest),
        (lambda m, i: worklist.resolve(m, i, resolution="healed", note="", by=SERVER), InvalidRequest),
        (lambda m, i: worklist.reopen(m, i, by=SERVER), Conflict),
        (lambda m, i: worklist.reopen(m, i, by=Actor("cashier@cafe.example")), PermissionDenied),
    ],
)
def test_what_nobody_may_do_with_one(merchant, deed, error):
    item = one_item(merchant)
    with pytest.raises(error):
        deed(merchant.id, item.id)
    assert row_of(Discrepancy) == item


def test_all_of_a_day_and_type_are_resolved_at_once(merchant):
    stand_in(merchant).bill = [line_of(paid_attempt(merchant), 1251) for _ in range(3)]
    reconcile(merchant.account_id, TODAY)
    wanted = ItemFilter(day=TODAY, sort="amount")
    how = {"livemode": False, "resolution": "written_off", "note": "", "by": SERVER}
    assert worklist.resolve_all(merchant.id, wanted, **how) == 3
    assert worklist.resolve_all(merchant.id, wanted, **how) == 0
    with pytest.raises(InvalidRequest):
        worklist.resolve_all(merchant.id, ItemFilter(day=TODAY), **how)
