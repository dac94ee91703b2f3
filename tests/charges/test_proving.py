"""The checker: books in which everything has happened are whole, and whatever row is changed is named."""

from __future__ import annotations

from functools import partial

import pytest
import sqlalchemy as sa

from app.charges import proving
from app.charges.models import Attempt, Charge, Decision, Incident, Refund
from app.charges.proving import FAULT
from app.db import db, elsewhere, snapshot
from app.ledger.accounts import balance_of
from app.ledger.events import Event
from app.ledger.models import Entry, LedgerCheck
from app.purses.models import Debit, Member, Movement, Topup
from app.queue import Job, Kind
from tests import full_books
from tests.books import row_of, rows_of
from tests.review import rounds
from tests.strays import check_sums

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# What somebody changes, of which row, and what it is set to.
CHANGES = [
    (Charge, "state = 'paid'", "paid_minor = paid_minor - 1"),
    (Charge, "refunded_minor > 0", "refunded_minor = refunded_minor - 1"),
    (Charge, "state = 'paid'", "state = 'expired'"),
    (Charge, "state = 'pending'", "state = 'paid'"),
    (Charge, "state = 'paid'", "currency = 'USD'"),
    (Charge, "state = 'paid'", "livemode = true"),
    (Attempt, "received_minor = 888", "received_minor = 889"),
    (Attempt, "received_minor = 888", "received_currency = 'USD'"),
    (Attempt, "received_minor = 10000", "refunded_minor = refunded_minor - 1"),
    (Attempt, "outside_minor > 0", "outside_minor = outside_minor - 1"),
    (Attempt, "credited_minor = 1000", "credited_minor = 999"),
    (Attempt, "settles AND refunded_minor = 0", "settles = false, credited_minor = 0"),
    (Attempt, "received_minor = 888", "state = 'failed'"),
    (Attempt, "fee_minor = 60", "fee_minor = 61"),
    (Attempt, "fee_billed_minor = 119", "fee_billed_minor = 118"),
    (Attempt, "fee_billed_minor = 119", "fee_billed_minor = NULL"),
    (Refund, "state = 'succeeded' AND NOT automatic", "amount_minor = amount_minor + 1"),
    (Refund, "state = 'reserved' AND NOT automatic", "state = 'succeeded'"),
    (Refund, "state = 'failed'", "state = 'reserved'"),
    (Refund, "state = 'succeeded' AND automatic", "automatic = false"),
    (Refund, "state = 'reserved' AND automatic", "currency = 'USD'"),
    (Decision, "deed = 'accepted'", "amount_minor = amount_minor - 1"),
    (Decision, "deed = 'set_aside'", "amount_minor = amount_minor + 1"),
    (Decision, "deed = 'matched'", "charge_id = 'ch_other'"),
    (Decision, "deed = 'refunded'", "amount_minor = amount_minor - 1"),
    (Entry, "event = 'payment' AND credit = 'sales'", "amount_minor = amount_minor + 1"),
    (Entry, "event = 'payment' AND credit = 'sales'", "credit = 'unclaimed'"),
    (Entry, "event = 'payment' AND credit = 'sales'", "currency = 'USD'"),
    (Entry, "event = 'payment' AND credit = 'sales'", "livemode = true"),
    (Entry, "event = 'refund_failed'", "event = 'refund_lost'"),
    (Entry, "event = 'credited'", "attempt_id = 'at_other'"),
    (Entry, "event = 'set_aside'", "attempt_id = NULL"),
    (Entry, "event = 'fee'", "cause_id = 'at_other'"),
    (Entry, "event = 'refund_contradicted'", None),
    (Entry, "event = 'payment' AND credit = 'unclaimed'", None),
    (Member, "sequence > 0", "balance_minor = balance_minor + 1"),
    (Member, "sequence > 0", "bonus_minor = bonus_minor - 1"),
    (Member, "sequence = 0", "balance_minor = 1"),
    (Member, "sequence > 0", "currency = 'USD'"),
    (Movement, "kind = 'topup'", "balance_minor = balance_minor + 1"),
    (Movement, "kind = 'debit'", "balance_after_minor = balance_after_minor + 1"),
    (Movement, "kind = 'topup_taken_back'", "bonus_minor = bonus_minor + 1"),
    (Movement, "kind = 'reversal'", "cause_id = 'db_other'"),
    (Movement, "kind = 'adjustment'", None),
    (Topup, "credited_minor IS NOT NULL", "credited_minor = credited_minor - 1"),
    (Topup, "credited_minor IS NOT NULL", "bonus_credited_minor = bonus_credited_minor + 1"),
    (Topup, "taken_minor > 0", "taken_minor = taken_minor - 1"),
    (Topup, "taken_minor > 0", "bonus_taken_minor = bonus_taken_minor - 1"),
    (Topup, "credited_minor IS NULL", "credited_minor = 1"),
    (Debit, "reversed_minor > 0", "reversed_minor = reversed_minor - 1"),
    (Debit, "reversed_minor > 0", "balance_minor = balance_minor - 1"),
    (Debit, "reversed_minor > 0", "reversed_at = NULL"),
    (Charge, "topup_id IS NOT NULL", "topup_id = NULL"),
    (Charge, "topup_id IS NULL", "topup_id = 'tu_other'"),
    (Entry, "event = 'topup'", "amount_minor = amount_minor + 1"),
    (Entry, "event = 'topup_bonus'", "member_id = 'mb_other'"),
    (Entry, "event = 'debit'", "member_id = NULL"),
    (Entry, "event = 'reversal_bonus'", "debit = 'sales'"),
    (Entry, "event = 'topup_taken_again'", None),
]


def faults(snapshots=snapshot, shop=None):
    return [str(fault) for part in proving.check_all(snapshots, shop) for fault in part.faults]


@pytest.fixture
def books(merchant):
    full_books.fill(merchant)
    full_books.fill_fees(merchant)
    full_books.fill_fee_back(merchant)
    full_books.fill_members(merchant)
    return merchant


def test_books_in_which_everything_happened_are_whole_and_entries_alone_say_where_money_is(
    books, database_url
):
    assert faults() == []
    assert faults(partial(snapshot, elsewhere(database_url))) == []
    check_sums(books)
    entries = rows_of(Entry)
    assert {row.event for row in entries} == set(Event)
    accounts = {row.debit for row in entries} | {row.credit for row in entries}
    balances = {
        name.partition(":")[0]: balance_of(
            name,
            sum(row.amount_minor for row in entries if row.debit == name),
            sum(row.amount_minor for row in entries if row.credit == name),
        )
        for name in accounts
    }
    came = sum(row.received_minor or 0 for row in rows_of(Attempt))
    back = sum(row.amount_minor for row in rows_of(Refund, state="succeeded"))
    # Bills said that one was less, and that some came back with a refund.
    fees = sum(row.fee_minor or 0 for row in rows_of(Attempt)) - 1 - 2
    [topup] = [row for row in rows_of(Topup) if row.credited_minor]
    [debit], member = rows_of(Debit), row_of(Member, account="user-42")
    assert balances == {
        "clearing": came - back - fees,
        "sales": sum(row.credited_minor for row in rows_of(Attempt)) - topup.credited_minor + 100,
        "refunds": sum(row.amount_minor for row in live() if not row.automatic) - topup.taken_minor,
        "refunds_payable": sum(row.amount_minor for row in live() if row.state != "succeeded"),
        "fees": fees,
        "unclaimed": 888,
        "elsewhere": 50,
        "members": member.balance_minor + member.bonus_minor,
        "bonus": member.bonus_minor,
        "adjustments": -30,
    }
    assert (debit.amount_minor - debit.reversed_minor, topup.taken_minor) == (100, 3_000)


def live():
    return [row for row in rows_of(Refund) if row.state != "failed"]


@one_database
def test_whatever_row_is_changed_is_named(books):
    """Each change on its own, taken back before the next."""
    assert faults() == []
    for model, which, change in CHANGES:
        table = model.__tablename__
        with db.engine.connect() as connection:
            loosen(connection)
            query = f"SELECT * FROM {table} WHERE {which} LIMIT 1"
            row = connection.execute(sa.text(query)).one()
            key = {c.name: row._mapping[c.name] for c in model.__table__.primary_key}
            own = " AND ".join(f"{name} = :{name}" for name in key)
            deed = f"UPDATE {table} SET {change}" if change else f"DELETE FROM {table}"
            assert connection.execute(sa.text(f"{deed} WHERE {own}"), key).rowcount == 1
            found = [
                str(fault)
                for after in ("", "at_z", proving.AT_MEMBERS)
                for fault in proving.check_slice(connection, books.id, after).faults
            ]
            name = row.cause_id if model is Entry else row.id
            assert any(name in fault for fault in found), (table, which, change, found)
            connection.rollback()
    assert faults() == []


def loosen(connection):
    """Whoever changes rows behind our back has taken the triggers and checks off before."""
    for table in ("ledger_entries", "member_movements"):
        for deed in ("update", "delete"):
            connection.execute(sa.text(f"DROP TRIGGER {table}_no_{deed}"))
    connection.execute(sa.text("PRAGMA ignore_check_constraints = ON"))


def test_the_worker_goes_on_slice_by_slice_and_tells_a_person_once(books, monkeypatch, at):
    monkeypatch.setattr(proving, "SLICE", 5)
    monkeypatch.setitem(rounds.HANDLERS, Kind.LEDGER, proving.go_on)
    with db.engine.begin() as connection:
        changed = connection.execute(
            sa.text("UPDATE attempts SET outside_minor = 49 WHERE outside_minor = 50 RETURNING id")
        ).scalar_one()
    whole_round = -(-len(rows_of(Attempt)) // 5) + 3  # strays, the members, and that there are no more
    for _ in range(2):
        proving.schedule()
        proving.schedule()
        for _ in range(whole_round):
            assert rounds.work(Kind.LEDGER) == 1
            at(proving.PAUSE * 2)
        assert rounds.work(Kind.LEDGER) == 0  # this round is over
        check = row_of(LedgerCheck)
        assert (check.cursor, check.last_faults) == ("", 1)
        at(proving.ROUND_EVERY)
    told = row_of(Incident, kind=FAULT)
    assert told.subject_id == f"attempts {changed}"
    assert "outside_minor is 49, and 50" in told.detail
    assert len(rows_of(Job, kind=Kind.LEDGER)) == 1
