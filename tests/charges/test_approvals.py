"""Refunds above the limit: reserved at once, sent after a second person's yes, never by the one who asked."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from flask import Flask

from app.charges import approvals, decisions, refunds
from app.charges.commands import NewRefund
from app.charges.decisions import Press
from app.charges.models import Attempt, Charge, Refund
from app.charges.present import refund_json
from app.charges.states import RefundState
from app.charges.unclaimed import Why
from app.db import transaction
from app.errors import Conflict, NotFound, PermissionDenied
from app.merchants import policy
from app.merchants.actor import SERVER, Actor
from app.merchants.keys import Caller
from app.merchants.models import AuditEntry
from app.merchants.policy import Policy
from app.merchants.roles import permissions_of
from app.queue import Job, Kind
from app.webhooks.models import Event
from tests import books
from tests.books import row_of, rows_of
from tests.conftest import Shop
from tests.review.rounds import hear
from tests.strays import check_sums, hear_unknown, pay_twice, waiting

LIMIT_MINOR = 500
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def person(role: str, name: str | None = None) -> Actor:
    return Actor(name or f"{role}@cafe.example", permissions_of(role), role, f"usr_{name or role}")


MANAGER, OWNER = person("manager"), person("owner")


@pytest.fixture
def paid(merchant: Shop):
    """A paid charge of 12.50 in a shop with a limit of 5.00."""
    policy.save_policy(merchant.id, Policy(LIMIT_MINOR), by=SERVER)
    return books.make_paid(merchant)


def ask(shop: Shop, charge_id: str, minor: int, by: Actor = MANAGER):
    with transaction() as tx:
        return refunds.create_refund(tx, shop.id, NewRefund(charge_id, minor), by=by)


def waiting_jobs() -> list[str]:
    return [job.subject_id for job in rows_of(Job, kind=Kind.REFUND)]


@one_database
@pytest.mark.parametrize(
    ("minor", "state"),
    [(500, RefundState.RESERVED), (501, RefundState.AWAITING), (1250, RefundState.AWAITING)],
)
def test_above_the_limit_it_waits_and_is_counted(merchant, paid, minor, state):
    refund = ask(merchant, paid.id, minor)
    assert refund.state == state
    assert waiting_jobs() == ([refund.id] if state == RefundState.RESERVED else [])
    assert row_of(Charge, id=paid.id).refunded_minor == minor
    with pytest.raises(Conflict):
        ask(merchant, paid.id, 1251 - minor)
    assert refund_json(refund)["status"] == "pending"


@one_database
def test_a_refund_is_not_sliced_past_the_limit(merchant, paid):
    states = [ask(merchant, paid.id, 200).state for _ in range(4)]
    assert states == [RefundState.RESERVED] * 2 + [RefundState.AWAITING] * 2


@one_database
def test_an_approved_refund_is_sent_and_the_log_says_by_whom(merchant, paid):
    refund = ask(merchant, paid.id, 800)
    approvals.approve(merchant.id, refund.id, by=OWNER)
    row = row_of(Refund, id=refund.id)
    assert (row.state, row.asked_by, row.decided_by) == (RefundState.RESERVED, MANAGER.name, OWNER.name)
    assert waiting_jobs() == [refund.id]
    told = [(row.action, row.actor) for row in rows_of(AuditEntry, object_id=refund.id)]
    assert told == [("refund.asked", MANAGER.name), ("refund.approved", OWNER.name)]


@one_database
def test_nobody_approves_what_they_asked_for_nor_without_the_permission(merchant, paid):
    mine = ask(merchant, paid.id, 800, by=OWNER)
    for by in (OWNER, person("cashier"), person("developer"), person("accountant")):
        with pytest.raises(PermissionDenied):
            approvals.approve(merchant.id, mine.id, by=by)
    assert row_of(Refund, id=mine.id).state == RefundState.AWAITING
    for role in ("cashier", "developer", "accountant"):
        with pytest.raises(PermissionDenied):
            ask(merchant, paid.id, 1, by=person(role))


@one_database
def test_a_declined_refund_gives_its_amount_back_and_can_be_asked_for_again(merchant, paid):
    refund = ask(merchant, paid.id, 1250)
    approvals.decline(merchant.id, refund.id, by=OWNER)
    row = row_of(Refund, id=refund.id)
    assert (row.state, row.failure_code, row.decided_by) == (RefundState.FAILED, "declined", OWNER.name)
    assert row_of(Charge, id=paid.id).refunded_minor == 0
    assert [event.type for event in rows_of(Event, object_id=refund.id)] == [
        "refund.created",
        "refund.failed",
    ]
    with transaction() as tx:
        again = refunds.try_again(tx, merchant.id, refund.id, by=MANAGER)
    assert again.state == RefundState.AWAITING  # the limit is not gone around either


def test_of_many_who_decide_at_once_one_wins(app: Flask, merchant, paid):
    refund = ask(merchant, paid.id, 1000)
    deeds = [approvals.approve, approvals.decline] * 4
    barrier, said = threading.Barrier(len(deeds)), []

    def run(number: int) -> None:
        barrier.wait(timeout=30)
        with app.app_context():
            try:
                deeds[number](merchant.id, refund.id, by=person("owner", f"boss{number}@cafe.example"))
                said.append("did")
            except Conflict as refusal:
                said.append(refusal.code)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert Counter(said) == {"did": 1, "already_decided": len(deeds) - 1}
    row = row_of(Refund, id=refund.id)
    kept_minor = 1000 if row.state == RefundState.RESERVED else 0
    assert row_of(Charge, id=paid.id).refunded_minor == kept_minor
    assert waiting_jobs() == ([refund.id] if kept_minor else [])


@one_database
def test_keys_are_held_to_the_limit_only_if_the_merchant_says_so(merchant, paid):
    key = Caller(merchant.id, "key_01", False).actor()
    assert ask(merchant, paid.id, 600, by=key).state == RefundState.RESERVED
    policy.save_policy(merchant.id, Policy(LIMIT_MINOR, refund_limit_for_keys=True), by=SERVER)
    held = ask(merchant, paid.id, 600, by=key)
    assert held.state == RefundState.AWAITING
    assert refund_json(held)["pending_reason"] == "awaiting_approval"


@one_database
@pytest.mark.parametrize(
    ("minor", "state"),
    [(500, RefundState.RESERVED), (501, RefundState.AWAITING), (1999, RefundState.AWAITING)],
)
def test_unclaimed_money_that_a_person_sends_back_is_held_to_the_limit(merchant, paid, minor, state):
    hear_unknown(merchant, minor=minor)
    attempt = row_of(Attempt, out_trade_no="X1")
    press = Press(merchant.id, attempt.id, minor, MANAGER.name, MANAGER)
    assert decisions.refund(press) == state
    refund = row_of(Refund, attempt_id=attempt.id)
    assert waiting_jobs() == ([refund.id] if state == RefundState.RESERVED else [])
    assert waiting(merchant) == []
    check_sums(merchant)
    if state == RefundState.AWAITING:
        with pytest.raises(PermissionDenied):
            approvals.approve(merchant.id, refund.id, by=MANAGER)
        approvals.approve(merchant.id, refund.id, by=OWNER)
        assert waiting_jobs() == [refund.id]
        check_sums(merchant)


@one_database
def test_declined_unclaimed_money_waits_again_and_no_way_leads_around_the_limit(merchant, paid):
    hear_unknown(merchant)
    attempt = row_of(Attempt, out_trade_no="X1")
    press = Press(merchant.id, attempt.id, 1999, MANAGER.name, MANAGER)
    decisions.refund(press)
    refund = row_of(Refund, attempt_id=attempt.id)
    approvals.decline(merchant.id, refund.id, by=OWNER)
    assert waiting(merchant) == [(Why.UNKNOWN, 1999, "CNY")]
    check_sums(merchant)
    with transaction() as tx:
        assert refunds.try_again(tx, merchant.id, refund.id, by=MANAGER).state == RefundState.AWAITING
    assert waiting(merchant) == []
    assert waiting_jobs() == []
    check_sums(merchant)


@one_database
def test_a_surplus_that_goes_back_is_held_and_what_goes_back_by_itself_is_not(merchant, paid):
    charge = books.make_charge(merchant)
    number = books.make_attempt(merchant, charge.id)
    hear(merchant.account_id, number, 2000)
    attempt = row_of(Attempt, out_trade_no=number)
    decisions.accept(Press(merchant.id, attempt.id, 2000, MANAGER.name, MANAGER), return_surplus=True)
    surplus = row_of(Refund, attempt_id=attempt.id)
    assert (surplus.amount_minor, surplus.state) == (750, RefundState.AWAITING)
    again, _ = pay_twice(merchant)
    assert row_of(Refund, charge_id=again.id).state == RefundState.RESERVED
    check_sums(merchant)


@one_database
def test_another_shop_decides_nothing(merchant, other_merchant, paid):
    refund = ask(merchant, paid.id, 800)
    for act in (approvals.approve, approvals.decline):
        with pytest.raises(NotFound):
            act(other_merchant.id, refund.id, by=OWNER)
