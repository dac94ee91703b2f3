"""The rooms of reconciliation: days, a bill brought by hand, discrepancies and who works on them."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest

from app.reconciliation import statement
from app.reconciliation.models import BillFile, Discrepancy
from app.runtime import settings
from tests.books import row_of, rows_of
from tests.dashboard.test_ledger import colleague
from tests.providers import alipay_forge
from tests.providers.contract import DAY, STATEMENT
from tests.reconciliation.plain import reconcile_a_day

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BILL = alipay_forge.bill(DAY, alipay_forge.bill_rows(STATEMENT))


def upload(person, merchant, content=BILL, day=DAY, account=None):
    person.get("/reconciliation")
    fields = {"account": account or merchant.account_id, "day": str(day)}
    return person.post("/reconciliation/bills", {**fields, "file": (io.BytesIO(content), "bill.zip")})


def test_a_day_is_shown_with_its_proof_and_files(owner, merchant):
    assert "No day has been gone through yet" in owner.get("/reconciliation").text
    reconcile_a_day(merchant.account_id)
    assert f"/reconciliation/{DAY}" in owner.get("/reconciliation").text
    day = owner.get(f"/reconciliation/{DAY}").text
    assert "proven to the cent" in day
    assert "Refund on the bill, unknown here" in day
    assert "Bills and books differ on 2024-01-15: 2 open" in owner.get("/").text
    [pdf, csv, told] = [owner.get(f"/reconciliation/{DAY}/statement.{end}") for end in ("pdf", "csv", "json")]
    assert pdf.data.startswith(b"%PDF")
    assert "missing" not in csv.text
    assert len(csv.text.splitlines()) == 3
    assert statement.verified(told.data, settings().secret_keys)["open"] == 2
    assert told.data == owner.get(f"/reconciliation/{DAY}/statement.json").data  # until there is news
    signature = json.loads(told.data)["signature"]["value"]
    assert len(signature) == 43
    bill = row_of(BillFile)
    assert owner.get(f"/reconciliation/{DAY}/bills/{bill.id}").data == BILL


def test_a_bill_is_brought_by_hand_and_gone_through_by_the_worker(owner, merchant):
    answer = upload(owner, merchant)
    assert answer.status_code == 303
    assert "The worker goes" not in answer.text
    assert owner.get(answer.location).status_code == 200
    assert row_of(BillFile).stored_by == merchant.email
    assert upload(owner, merchant).status_code == 303  # the same again
    assert row_of(BillFile).lines == 2


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"content": b""}, "file"),
        ({"content": b"no zip"}, "file"),
        ({"day": DAY + timedelta(days=1)}, "file"),  # the bill is of another day
        ({"day": "2024-02-31"}, "day"),
        ({"day": "2999-01-01"}, "day"),
        ({"account": "pa_1"}, "account"),
    ],
)
def test_what_is_no_bill_is_sent_back_with_the_reason(owner, merchant, more, field):
    answer = upload(owner, merchant, **more)
    assert answer.status_code == 400
    assert f'id="f-{field}-note"' in answer.text
    assert rows_of(BillFile) == []


def test_a_discrepancy_is_worked_on_and_resolved(owner, merchant):
    item_id = reconcile_a_day(merchant.account_id)["discrepancy_id"]
    assert owner.get("/discrepancies").text.count("/discrepancies/dis_") == 2
    page = owner.get(f"/discrepancies/{item_id}")
    assert "What to do next" in page.text
    fields = {"owner": merchant.email, "note": "asked them"}
    assert owner.post(f"/discrepancies/{item_id}", fields).status_code == 303
    assert owner.get("/discrepancies?status=open&mine=1").text.count("/discrepancies/dis_") == 1
    assert owner.post(f"/discrepancies/{item_id}", {"owner": "x@y.example"}).status_code == 400
    assert owner.post(f"/discrepancies/{item_id}/resolve", {"resolution": "magic"}).status_code == 400
    assert owner.post(f"/discrepancies/{item_id}/resolve", {"resolution": "not_ours"}).status_code == 303
    row = row_of(Discrepancy, id=item_id)
    assert (row.resolution, row.note, row.resolved_by) == ("not_ours", "asked them", merchant.email)
    assert owner.get("/discrepancies").text.count("/discrepancies/dis_") == 1
    owner.post(f"/discrepancies/{item_id}/reopen")
    assert row_of(Discrepancy, id=item_id).state == "open"


def test_all_of_a_day_and_type_are_resolved_at_once(owner, merchant):
    reconcile_a_day(merchant.account_id)
    page = owner.get(f"/discrepancies?status=open&type=missing_here&day={DAY}")
    assert "Resolve all" in page.text
    fields = {"status": "open", "type": "missing_here", "resolution": "not_ours"}
    assert owner.post("/discrepancies/resolve-all", fields).status_code == 400  # of which day?
    assert owner.post("/discrepancies/resolve-all", {**fields, "day": str(DAY)}).status_code == 303
    assert {row.sort: row.state for row in rows_of(Discrepancy)} == {
        "missing_here": "resolved",
        "refund_unknown": "open",
    }


@pytest.mark.parametrize("role", ["accountant", "manager", "cashier", "developer"])
def test_who_may_see_and_who_may_resolve(app, merchant, role):
    item_id = reconcile_a_day(merchant.account_id)["discrepancy_id"]
    person = colleague(app, merchant, role)
    person.get("/")
    may = role in ("accountant", "manager")
    assert person.get(f"/reconciliation/{DAY}").status_code == (200 if may else 403)
    answer = person.post(f"/discrepancies/{item_id}/resolve", {"resolution": "not_ours"})
    assert answer.status_code == (303 if may else 403)
    assert (row_of(Discrepancy, id=item_id).state == "resolved") is may
