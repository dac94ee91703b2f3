"""Statements: the sums of the books by day, month, store and wallet, the same on every sheet."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

import pytest

from app import clock
from app.charges import balance, statements
from app.charges.models import Attempt, Charge, Refund
from app.charges.overview import day_of
from app.charges.statement_paper import Paper, Table, csv_of, pdf_of
from app.charges.statements import Period, Takings, Wanted, statement_of
from app.codes import codes
from app.codes.scan import begin_charge
from app.codes.terms import Terms
from app.db import transaction
from app.errors import InvalidRequest
from app.merchants import stores
from app.merchants.stores import StoreTerms
from app.money import Money
from app.providers.base import Outcome
from tests import full_books
from tests.books import end_refund, make_paid, pay, refund, rows_of

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def wanted(shop, period=None, store_id=None):
    return Wanted(shop.id, False, Period.of(period or str(day_of(clock.now()))), store_id)


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("2026-01-15", "2026-01-14T16:00Z", "2026-01-15T16:00Z"),
        ("2026-12", "2026-11-30T16:00Z", "2026-12-31T16:00Z"),
        ("2028-02", "2028-01-31T16:00Z", "2028-02-29T16:00Z"),
    ],
)
def test_a_day_and_a_month_begin_at_midnight_in_beijing(text, begins, ends):
    assert Period.of(text).span == (datetime.fromisoformat(begins), datetime.fromisoformat(ends))


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-02-30", "２０２６-01", "2026-01-1x"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(InvalidRequest):
        Period.of(text)


def test_a_statement_says_what_the_books_say(merchant):
    full_books.fill(merchant)
    full_books.fill_fees(merchant)
    statement = statement_of(wanted(merchant))
    [sheet] = statement.sheets
    assert sheet.is_balanced
    paid = rows_of(Charge, state="paid")
    of_charges = [row for row in rows_of(Refund, automatic=False) if row.state != "failed"]
    sums = sheet.takings
    assert (sums.sales_count, sums.sales_minor) == (len(paid), sum(row.paid_minor for row in paid))
    assert (sums.refunds_count, sums.refunds_minor) == (
        len(of_charges),
        sum(row.amount_minor for row in of_charges),
    )
    assert sums.fees_minor == 60 + 119
    [wallet] = sheet.wallets
    received = [row.received_minor for row in rows_of(Attempt) if row.received_minor]
    back = [row.amount_minor for row in rows_of(Refund, state="succeeded")]
    assert (wallet.payments_count, wallet.payments_minor) == (len(received), sum(received))
    assert (wallet.refunds_count, wallet.refunds_minor) == (len(back), sum(back))
    clearing = next(each for each in sheet.balances if each.account.startswith("clearing:"))
    assert clearing.closing_minor == wallet.net_minor == sum(received) - sum(back) - 179
    assert sheet.stores == {None: sums}
    [api] = balance.sums_of(merchant.id, livemode=False)  # counted in the books, not in the ledger
    assert (api.collected_minor, api.refunded_minor + api.pending_minor) == (
        sums.sales_minor,
        sums.refunds_minor,
    )
    assert len(list(statements.entries_of(wanted(merchant)))) == statement.entries


def test_what_was_left_yesterday_is_where_today_begins(merchant, at):
    charge = make_paid(merchant, minor=5000)
    yesterday = str(day_of(clock.now()))
    at(timedelta(days=1))
    end_refund(merchant, refund(merchant, charge.id, 2000).id, Outcome.SUCCEEDED)
    [before], [after] = (
        statement_of(wanted(merchant, yesterday)).sheets,
        statement_of(wanted(merchant)).sheets,
    )
    closing = {each.account: each.closing_minor for each in before.balances}
    opening = {each.account: each.opening_minor for each in after.balances if each.opening_minor}
    assert closing == opening == {f"clearing:{merchant.account_id}": 5000, "sales": 5000}
    assert before.takings == Takings(1, 5000, 0, 0, 0)
    assert after.takings == Takings(0, 0, 1, 2000, 0)
    assert after.is_balanced


@one_database
def test_a_store_has_what_was_paid_at_its_codes(merchant, far_side):
    """And goes on having it when the code is hung up elsewhere."""
    with transaction() as tx:
        here, there = [
            stores.add_store(tx, merchant.id, StoreTerms(name, ""), livemode=False).id
            for name in ("一号店", "二号店")
        ]
        code = codes.create_code(tx, merchant.id, Terms("x", store_id=here), livemode=False)
        charge = begin_charge(tx, code, Money(700, "CNY"))
    pay(charge.id)
    refund(merchant, charge.id, 200)
    make_paid(merchant, minor=300)
    with transaction() as tx:
        codes.change_code(tx, merchant.id, code.id, {"store_id": there}, livemode=False)
    [sheet] = statement_of(wanted(merchant)).sheets
    assert sheet.stores == {here: Takings(1, 700, 1, 200, 0), None: Takings(1, 300, 0, 0, 0)}
    [own] = statement_of(wanted(merchant, store_id=here)).sheets
    assert own.takings == sheet.stores[here]
    assert own.is_balanced
    assert statement_of(wanted(merchant, store_id=there)).sheets == ()


@one_database
def test_entries_are_read_on_in_pieces_without_a_gap(merchant, monkeypatch):
    full_books.fill(merchant)
    whole = list(statements.entries_of(wanted(merchant)))
    monkeypatch.setattr(statements, "_BATCH", 3)
    assert list(statements.entries_of(wanted(merchant))) == whole


def paper(rows=3, name="晨光咖啡馆"):
    table = Table("Accounts", ("", "Opening", "Closing"), (("Sales", "¥0.00", "-¥1,234.50"),) * rows, True)
    return Paper("Daily statement", (("Merchant", name),), (table, table), "foot")


def test_a_statement_is_printed_the_same_each_time_on_as_many_pages_as_it_takes():
    assert pdf_of(paper()) == pdf_of(paper())
    assert pdf_of(paper(rows=100)).count(b"/Type /Page\n") == 6
    assert pdf_of(paper(name="店 🍜\n")).startswith(b"%PDF")  # no letter keeps it from being printed


def test_a_spreadsheet_runs_nothing_that_somebody_wrote():
    text = "".join(csv_of(["a", "b"], [["=HYPERLINK(1)", '二"号']]))
    assert list(csv.reader(io.StringIO(text.lstrip("\ufeff")))) == [["a", "b"], ["'=HYPERLINK(1)", '二"号']]
