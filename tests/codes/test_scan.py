"""Charges begun at a printed code: what it asks for, what it may take, and whatever keys are rotated."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.charges import lifecycle
from app.charges.models import Charge
from app.codes import codes, scan, search
from app.codes.present import Counts
from app.codes.terms import LabelKind, Standing, Terms
from app.db import transaction
from app.errors import BadLink, Conflict, InvalidRequest
from app.money import Money
from app.qr.short_code import new_code
from tests.books import event_types, pay, rows_of
from tests.codes.signs import begin, change, hang
from tests.conftest import KEYS, running, settings_for

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MORNING = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # nine o'clock in Beijing


def test_a_scan_begins_an_ordinary_charge_that_knows_its_code(merchant):
    code = hang(merchant, label_kind=LabelKind.TABLE, label_text="7")
    charge = begin(code)
    assert (charge.qr_code_id, charge.amount_minor, charge.description) == (code.id, 1250, "堂食 · 7")
    assert event_types(charge.id) == ["charge.created"]
    pay(charge.id)
    begin(code)
    assert codes.counts_of(merchant.id, [code.id]) == {code.id: Counts(2, 1, 1250)}


@ONE_DATABASE
@pytest.mark.parametrize(
    ("terms", "minor", "word"),
    [
        ({"amount_minor": 1800}, 1799, "amount_too_small"),
        ({"amount_minor": 1800}, 1801, "amount_too_large"),
        ({"min_minor": 100}, 99, "amount_too_small"),
        ({"max_minor": 5000}, 5001, "amount_too_large"),
        ({}, 500_001, "amount_too_large"),
    ],
)
def test_the_amount_is_judged_here_and_not_on_the_page(merchant, terms, minor, word):
    with pytest.raises(InvalidRequest) as refusal:
        begin(hang(merchant, **terms), minor)
    assert refusal.value.code == word
    assert rows_of(Charge) == []


@ONE_DATABASE
def test_a_sign_asks_for_new_terms_from_the_next_scan_on(merchant):
    code = hang(merchant, amount_minor=1800)
    first = begin(code, 1800)
    change(code, amount_minor=2000)
    with pytest.raises(InvalidRequest):
        begin(code, 1800)
    assert begin(code, 2000).amount_minor == 2000
    assert pay(first.id).state == "paid"  # what was begun goes on under the old terms
    assert scan.find_public(code.code).row.amount_minor == 2000


@ONE_DATABASE
def test_nothing_is_begun_at_a_sign_that_is_not_in_use(merchant, at):
    at(MORNING)
    code = hang(merchant, valid_from=MORNING + timedelta(hours=1), valid_until=MORNING + timedelta(hours=2))
    for hours, standing in ((0, Standing.EARLY), (1, Standing.ACTIVE), (2, Standing.ENDED)):
        at(MORNING + timedelta(hours=hours, seconds=1))
        assert scan.find_public(code.code).standing is standing
        if standing is not Standing.ACTIVE:
            with pytest.raises(Conflict, match="nothing can be paid"):
                begin(code)
    change(code, active=False, valid_until=None)
    assert scan.find_public(code.code).standing is Standing.DISABLED
    change(code, active=True)
    assert begin(code).qr_code_id == code.id


@ONE_DATABASE
def test_an_old_print_opens_after_every_key_was_changed(database_url, tmp_path, merchant, app):
    code = hang(merchant)
    fresh = {name: (f"another-{name}-9876543210-zyxwvutsrq".replace("secret", "link"),) for name in KEYS}
    with running(settings_for(database_url, tmp_path, **fresh)):
        assert scan.find_public(code.code.lower()).row.id == code.id


@ONE_DATABASE
def test_a_forged_code_opens_nothing(merchant):
    hang(merchant)
    for text in (new_code(), "7K2M9QXT4CW0", "x" * 12, ""):
        with pytest.raises(BadLink, match="this is no code of a sign"):
            scan.find_public(text)


def test_a_crowd_pays_no_more_often_than_a_code_may_be_paid(app, merchant):
    """Twelve at once at a code that takes five."""
    code = hang(merchant, max_payments=5)
    assert _crowd(app, code, 12) == {"begun": 5, "in_payment": 7}
    [first, *_] = rows_of(Charge, qr_code_id=code.id)
    lifecycle.cancel_charge(merchant.id, first.id)
    begin(code)  # what was given up is free again
    for charge in rows_of(Charge, qr_code_id=code.id, state="pending"):
        pay(charge.id)
    assert scan.find_public(code.code).standing is Standing.USED_UP
    with pytest.raises(Conflict) as refusal:
        begin(code)
    assert refusal.value.code == "used_up"


def test_a_crowd_pays_no_more_than_the_daily_cap(app, merchant, at):
    """Ten at once with 12.50 each, at a code that takes 50.00 a day."""
    at(MORNING)
    code = hang(merchant, daily_cap_minor=5000)
    assert _crowd(app, code, 10) == {"begun": 4, "daily_cap": 6}
    at(MORNING + timedelta(hours=14, minutes=59))
    with pytest.raises(Conflict, match="no more today"):
        begin(code, 1)
    at(MORNING + timedelta(hours=15, seconds=1))  # midnight in Beijing
    assert begin(code, 5000).amount_minor == 5000


@ONE_DATABASE
def test_who_begins_charges_without_end_is_stopped(merchant, monkeypatch):
    monkeypatch.setattr(scan, "PENDING_MAX", 3)
    code = hang(merchant)
    for _ in range(3):
        begin(code, 1)
    with pytest.raises(Conflict) as refusal:
        begin(code, 1)
    assert refusal.value.code == "too_many_pending"
    begin(hang(merchant), 1)  # another sign goes on


def test_a_series_is_made_whole_or_not_at_all(merchant, monkeypatch):
    terms = Terms("堂食", label_kind=LabelKind.TABLE, label_text="A1")
    labels = [f"A{number}" for number in range(1, 501)]
    with transaction() as tx:
        rows = codes.create_series(tx, merchant.id, terms, labels, livemode=False, series="1–500")
    assert [row.label_text for row in rows] == labels
    assert len({row.code for row in rows}) == 500
    assert len({row.series_id for row in rows}) == 1
    for wrong in ([*labels, "A501"], ["A1", "A1"], []):
        with pytest.raises(InvalidRequest), transaction() as tx:
            codes.create_series(tx, merchant.id, terms, wrong, livemode=False, series="x")
    [series] = search.list_series(merchant.id, livemode=False)
    assert (series.series, series.size) == ("1–500", 500)


def _crowd(app, code, size: int) -> dict[str, int]:
    """So many begin a charge of 12.50 at once; how often which word was the answer."""
    words: list[str] = []
    start = threading.Barrier(size)

    def one() -> None:
        with app.app_context():
            start.wait()
            try:
                with transaction() as tx:
                    scan.begin_charge(tx, code, Money(1250, "CNY"))
                words.append("begun")
            except Conflict as refusal:
                words.append(refusal.code)

    threads = [threading.Thread(target=one) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {word: words.count(word) for word in sorted(set(words))}
