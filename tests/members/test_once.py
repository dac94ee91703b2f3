"""However often and however many at once the news of one top-up arrives, it is credited once."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.callbacks import inbox
from app.db import transaction
from app.errors import Conflict
from app.merchants import accounts
from app.purses import debits
from app.purses.debits import NewDebit
from app.purses.models import Debit, Movement
from app.webhooks.models import Event
from tests.books import make_attempt, refund, row_of, rows_of
from tests.members.purse import add_member, begin_topup, faults, give_bonus, has, kinds, top_up

CALLBACKS, AT_ONCE = 1_000, 8


def at_once(app, work, count):
    """What ``count`` calls of work answer, some at a time."""

    def call(number):
        with app.app_context():
            return work(number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, range(count)))


@pytest.mark.slow
def test_a_thousand_callbacks_of_one_top_up_credit_once(app, merchant, far_side):
    give_bonus(merchant)
    member = add_member(merchant)
    topup = begin_topup(merchant, member.id)
    number = make_attempt(merchant, topup.charge_id)
    far_side.pay(number)
    account = accounts.open_account(merchant.account_id)
    notice = far_side.notice(number)
    at_once(app, lambda _: inbox.receive(account, notice), CALLBACKS)
    assert has(member.id) == (10_000, 1_000)
    assert kinds(member.id) == ["topup"]
    assert len(rows_of(Event, type="topup.succeeded")) == 1
    assert faults() == []


def test_no_two_debits_spend_the_same_money(app, merchant):
    member = add_member(merchant)
    top_up(merchant, member.id, 1_000)

    def spend(number):
        try:
            with transaction() as tx:
                debits.take(tx, merchant.id, NewDebit(member.id, f"d{number}", 300), livemode=False)
        except Conflict as refusal:
            return refusal.code
        return "taken"

    answers = at_once(app, spend, 12)
    assert sorted(answers) == ["member_balance_too_low"] * 9 + ["taken"] * 3
    assert has(member.id) == (100, 0)
    assert faults() == []


def test_one_debit_that_is_sent_many_times_at_once_takes_once(app, merchant):
    member = add_member(merchant)
    top_up(merchant, member.id, 1_000)

    def spend(_):
        with transaction() as tx:
            return debits.take(tx, merchant.id, NewDebit(member.id, "d1", 300), livemode=False).id

    assert len(set(at_once(app, spend, 12))) == 1
    assert has(member.id) == (700, 0)
    assert len(rows_of(Debit)) == 1


def test_a_refund_and_a_debit_at_once_never_take_the_same(app, merchant):
    member = add_member(merchant)
    topup = top_up(merchant, member.id, 1_000)

    def take(number):
        try:
            if number % 2:
                refund(merchant, topup.charge_id, 400)
            else:
                with transaction() as tx:
                    debits.take(tx, merchant.id, NewDebit(member.id, f"d{number}", 400), livemode=False)
        except Conflict:
            return 0
        return 1

    assert sum(at_once(app, take, 8)) == 2
    assert has(member.id) == (200, 0)
    sums = list(itertools.accumulate(row.balance_minor for row in rows_of(Movement)))
    assert min(sums) >= 0
    assert row_of(Movement, kind="topup").balance_minor == 1_000
    assert faults() == []
