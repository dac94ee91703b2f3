"""The demo's trade: booked as if it had happened, at its times, once, and in the demo alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.charges.models import Charge, Incident
from app.charges.overview import overview_of
from app.charges.states import ChargeState
from app.cli import demo, trade
from app.clock import BEIJING
from app.codes.models import QRCode
from app.merchants import accounts, brand, people
from app.queue import Job, Kind
from tests.books import rows_of
from tests.providers import alipay_forge

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

AFTERNOON = datetime(2026, 11, 25, 7, 40, tzinfo=UTC)  # 15:40 in Beijing


@pytest.fixture
def owner(house, at):
    at(AFTERNOON)
    merchant_id, _ = people.add_merchant(demo.NAME, email=demo.EMAIL)
    accounts.add_account(merchant_id, "alipay", livemode=False, name="支付宝", settings=alipay_forge.KEY_MODE)
    return merchant_id


def test_two_days_of_payments_are_in_the_books_at_their_times(run, owner):
    result = run("trade --days 2")
    assert result.exit_code == 0, result.output
    charges = rows_of(Charge)
    assert f"{len(charges)} payments" in result.output
    assert {charge.state for charge in charges} == {ChargeState.PAID}
    times = [charge.paid_at.astimezone(BEIJING) for charge in charges]
    assert times == sorted(times)
    assert {at.day for at in times} == {24, 25}
    assert {at.hour for at in times} <= set(range(8, 20))
    assert max(times) < AFTERNOON
    today = overview_of(owner, livemode=False).today[0]
    assert today.so_far.count == len([at for at in times if at.day == 25])
    codes = rows_of(QRCode)
    assert sum([code.scans for code in codes]) == len([each for each in charges if each.qr_code_id])
    assert brand.find(owner).accent == trade.ACCENT
    assert rows_of(Incident) == []
    assert rows_of(Job, kind=Kind.QUERY) == []  # nobody asks a network about what it never heard of


def test_it_happens_once(run, owner):
    run("trade --days 1")
    before = len(rows_of(Charge))
    result = run("trade --days 1")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: the shop has printed codes, so it has been filled already\n",
    )
    assert len(rows_of(Charge)) == before


def test_without_a_demo_there_is_nothing_to_fill(run, house):
    result = run("trade")
    assert result.exit_code == 1
    assert "start it with make run" in result.stderr
