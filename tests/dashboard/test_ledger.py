"""The room of the ledger, as an owner, an accountant and somebody behind the counter see it."""

from __future__ import annotations

import pytest

from app import clock
from app.charges.overview import day_of
from app.ledger import rates
from app.ledger.models import Entry
from app.merchants.actor import SERVER
from app.merchants.sessions import Browser
from app.merchants.team import NewPerson, invite, join
from tests import full_books
from tests.books import make_paid, row_of
from tests.conftest import Shop
from tests.dashboard.person import Person

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def colleague(app, shop: Shop, role: str) -> Person:
    email = f"{role}@cafe.example"
    join(invite(shop.id, NewPerson.of(email, role, role), by=SERVER), "correct horse battery", Browser("x"))
    person = Person(app)
    person.sign_in(Shop(shop.id, "", email, "correct horse battery", "", ""))
    return person


def test_a_day_is_shown_with_its_sums_and_files(owner, merchant):
    full_books.fill(merchant)
    full_books.fill_fees(merchant)
    page = owner.get("/ledger").text
    for text in (
        "Takings in CNY",
        "it adds up",
        "Refunds on their way",
        "¥8.88",
        "0.60 %",
        "flask ledger check",
    ):
        assert text in page, text
    today = str(day_of(clock.now()))
    sheet = owner.get(f"/ledger/statement.csv?period={today}")
    assert sheet.content_type == "text/csv; charset=utf-8"
    lines = sheet.text.splitlines()
    assert lines[0].startswith("\ufeffTime (UTC+8),Entry,Cause,Debit,Credit,Amount,Currency")
    assert any(
        "Payment,at_" in line and "With the provider: Alipay · 支付宝,Sales,100.00,CNY" in line
        for line in lines
    )
    paper = owner.get(f"/ledger/statement.pdf?period={today[:7]}")
    assert (paper.content_type, paper.data[:5]) == ("application/pdf", b"%PDF-")
    assert f"mafu-statement-{today[:7]}.pdf" in paper.headers["Content-Disposition"]


@pytest.mark.parametrize("period", ["x", "2026-02-30", "9" * 500])
def test_what_is_no_period_shows_today(owner, merchant, period):
    make_paid(merchant)
    assert str(day_of(clock.now())) in owner.get(f"/ledger?period={period}").text


def test_a_charge_has_its_entries_on_its_page(owner, merchant):
    charge = make_paid(merchant)
    page = owner.get(f"/charges/{charge.id}").text
    assert page.index("ledger-title") < page.index("With the provider")


def test_a_rate_is_added_for_payments_to_come(owner, merchant):
    owner.get("/ledger")
    form = {"account": merchant.account_id, "currency": "CNY", "rate": "0.38", "fixed": "0.01", "from": ""}
    assert owner.post("/ledger/rates", form).status_code == 303
    [rate] = rates.list_rates(merchant.id, livemode=False)
    assert (rate.basis_points, rate.fixed_minor, rate.currency) == (38, 1, "CNY")
    make_paid(merchant, minor=10_000)
    assert row_of(Entry, event="fee").amount_minor == 39


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", "pa_x"),
        ("currency", "XYZ"),
        *[("rate", text) for text in ("", "x", "0.385", "-1", "10.01", "NaN", "1e999999")],
        *[("fixed", text) for text in ("x", "-1", "0.001", "100000")],
        *[("from", text) for text in ("x", "2020-01-01", "2026-02-30")],
    ],
)
def test_a_rate_that_makes_no_sense_is_sent_back_with_the_reason(owner, merchant, field, value):
    owner.get("/ledger")
    form = {"account": merchant.account_id, "currency": "CNY", "rate": "0.6", "fixed": "0", "from": ""}
    form[field] = value
    answer = owner.post("/ledger/rates", form)
    assert answer.status_code == 400
    assert f'id="f-{field}-note"' in answer.text
    assert rates.list_rates(merchant.id, livemode=False) == []


def test_an_accountant_reads_it_and_a_cashier_does_not(app, merchant):
    charge = make_paid(merchant)
    accountant, cashier = colleague(app, merchant, "accountant"), colleague(app, merchant, "cashier")
    assert "Add a rate" not in accountant.get("/ledger").text
    assert accountant.get("/ledger/statement.pdf").status_code == 200
    assert cashier.get("/ledger").status_code == 403
    assert cashier.get("/ledger/statement.csv").status_code == 403
    assert "ledger-title" not in cashier.get(f"/charges/{charge.id}").text
