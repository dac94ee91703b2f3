"""``flask reconcile``: a day held against the books, a bill brought by hand, a statement checked."""

from __future__ import annotations

import json
from datetime import date

import pytest

from app import clock
from app.charges.states import ChargeState
from app.errors import ProviderRejected
from app.money import Money
from app.providers.base import Outcome, StatementLine
from app.reconciliation import statement
from app.reconciliation.models import BillFile
from app.runtime import settings
from tests.books import charge_of, make_attempt, make_charge, row_of
from tests.charges.scripted import stand_in
from tests.cli.conftest import json_of
from tests.conftest import add_shop
from tests.providers import alipay_forge
from tests.providers.contract import DAY, STATEMENT

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def run(app):
    """A command in a house whose wallets answer."""
    return lambda *words: app.test_cli_runner().invoke(args=list(words))


def test_a_day_is_held_against_the_books_and_counted(run):
    shop = add_shop()
    charge_id = make_charge(shop).id
    number = make_attempt(shop, charge_id, "mobile")  # which calls nobody
    provider = stand_in(shop)
    provider.queries = [Outcome.SUCCEEDED]
    provider.bill = [
        StatementLine("payment", number, "T1", Money(1250, "CNY"), Money(0, "CNY"), clock.now()),
        StatementLine("payment", "", "T2", Money(1250, "CNY"), Money(0, "CNY"), clock.now()),
    ]
    result = run("reconcile", "run", shop.account_id, "2026-03-02", "--json")
    assert result.exit_code == 1  # a line names no payment
    told = {"state": "differs", "lines": 2, "looked_at": 2, "settled": 1, "unclaimed": 0, "unanswered": 0}
    assert json.loads(result.output) == told
    assert charge_of(shop, charge_id).state == ChargeState.PAID
    assert "settled     0" in run("reconcile", "run", shop.account_id, "2026-03-02").output


def test_a_bill_that_is_not_there_is_said_in_a_line(run):
    shop = add_shop()
    stand_in(shop).bill = ProviderRejected("no bill for that day, or not yet")
    result = run("reconcile", "run", shop.account_id, "2026-03-02")
    assert result.exit_code == 1
    assert result.stderr == "Error: no bill for that day, or not yet\n"
    assert run("reconcile", "run", shop.account_id, "yesterday").exit_code == 2


def test_a_bill_is_brought_by_hand_and_kept_as_it_is(run, tmp_path):
    shop = add_shop()
    bill = tmp_path / "bill.zip"
    bill.write_bytes(alipay_forge.bill(DAY, alipay_forge.bill_rows(STATEMENT)))
    told = run("reconcile", "upload", shop.account_id, str(DAY), str(bill), "--json").output
    assert json.loads(told)["lines"] == 2
    assert row_of(BillFile).size_bytes == len(bill.read_bytes())
    bill.write_bytes(b"no bill")
    refused = run("reconcile", "upload", shop.account_id, str(DAY), str(bill))
    assert (refused.exit_code, "cannot be unpacked" in refused.stderr) == (1, True)
    assert row_of(BillFile).lines == 2


def test_a_statement_is_verified_and_an_altered_one_is_not(run, tmp_path):
    facts = {"merchant": "mch_1", "day": str(date(2026, 1, 15)), "open": 0, "as_of": "now"}
    file = tmp_path / "statement.json"
    file.write_text(statement.signed(facts, settings().secret_keys))
    assert json_of(run("reconcile", "verify", str(file), "--json"))["verified"] is True
    file.write_text(file.read_text().replace('"open": 0', '"open": 1'))
    refused = run("reconcile", "verify", str(file))
    assert refused.exit_code == 1
    assert "does not fit" in refused.stderr
    file.write_text("[]")
    assert run("reconcile", "verify", str(file)).exit_code == 1
