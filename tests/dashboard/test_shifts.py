"""The room for shifts: opening at the till, sums on paper and for a spreadsheet, and whose one may see."""

from __future__ import annotations

import re

import pytest

from app.charges.models import Charge, Shift
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.dashboard.test_people import hired
from tests.dashboard.test_till import sell

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_cashier_opens_sells_looks_and_closes(app, merchant: Shop) -> None:
    cashier = hired(app, merchant, "cashier")
    assert "No shift open" in cashier.get("/counter").text
    cashier.get("/shifts")
    opened = cashier.post("/shifts", {"float": "２００", "mode": "test"})
    shift = books.row_of(Shift)
    assert (shift.float_minor, shift.person) == (20000, "cashier@team.example")
    assert opened.location.startswith(f"/shifts/{shift.id}?notice=")
    assert cashier.post("/shifts", {"mode": "test"}).location == "/shifts?notice=shift_open"
    sell(cashier, "counter", "12.50")
    token = re.search(r'name="token" value="(\w+)"', cashier.get("/charges/new").text)[1]
    form = {"amount": "3", "description": "=1+1", "token": token, "mode": "test"}
    assert cashier.post("/charges/new", form).status_code == 303
    charges = books.rows_of(Charge)
    assert {row.shift_id for row in charges} == {shift.id}
    for charge in charges:
        books.pay(charge.id)
    page = cashier.get(f"/shifts/{shift.id}").text
    for text in ("X report", "¥15.50", "There should be ¥200.00", "Shift open"):
        assert text in page + cashier.get("/counter").text
    wrong = cashier.post(f"/shifts/{shift.id}/close", {"counted": "lots", "mode": "test"})
    assert wrong.status_code == 400
    closed = cashier.post(f"/shifts/{shift.id}/close", {"counted": "199.5", "note": "少", "mode": "test"})
    page = cashier.get(closed.location).text
    for text in ("Z report", "−¥0.50", "少"):
        assert text in page
    assert "Close the shift" not in page


def test_a_report_goes_on_paper_and_into_a_spreadsheet(owner: Person, merchant: Shop) -> None:
    owner.get("/shifts")
    owner.post("/shifts", {"mode": "test"})
    shift_id = books.row_of(Shift).id
    token = re.search(r'name="token" value="(\w+)"', owner.get("/charges/new").text)[1]
    owner.post("/charges/new", {"amount": "3", "description": "=1+1", "token": token, "mode": "test"})
    books.pay(books.row_of(Charge).id)
    for paper in ("a4", "80"):
        page = owner.get(f"/shifts/{shift_id}/print?paper={paper}").text
        assert f'class="receipt receipt--{paper}"' in page
        assert "¥3.00" in page
    table = owner.get(f"/shifts/{shift_id}/export.csv")
    assert table.content_type == "text/csv; charset=utf-8"
    assert ",'=1+1,Alipay,paid,3.00,," in table.text
    day = owner.get("/shifts/day").text
    assert "¥3.00" in day
    assert merchant.email in day


def test_a_manager_closes_what_a_cashier_forgot_and_an_accountant_reads_it(app, merchant: Shop) -> None:
    cashier = hired(app, merchant, "cashier")
    cashier.get("/shifts")
    cashier.post("/shifts", {"mode": "test"})
    path = f"/shifts/{books.row_of(Shift).id}"
    accountant, manager = hired(app, merchant, "accountant"), hired(app, merchant, "manager")
    assert "Close" not in accountant.get(path).text.split("<main")[1]
    assert "Close this forgotten shift" in manager.get(path).text
    assert manager.post(f"{path}/close", {"mode": "test"}).location == f"{path}?notice=shift_closed"
    assert "by manager@team.example" in cashier.get(path).text
    developer = hired(app, merchant, "developer")
    assert developer.get(path).status_code == 404
    assert path not in developer.get("/shifts").text
