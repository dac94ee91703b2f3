"""A trial against the plainest telling of what a rule would have done: every attempt, judged one by one."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from random import Random

import pytest
import sqlalchemy as sa

from app import clock
from app.charges import past, rehearsal, screening
from app.charges.models import Attempt, Charge
from app.charges.rehearsal import Sum
from app.clock import day_of, start_of
from app.db import insert_many, reading, table_of, transaction
from app.ids import new_id
from app.merchants.risk import Action, Count, On, Rule, RuleKind, Start, Tally, Terms, judge
from tests.charges.test_screening import AWAY, HOME, RULES
from tests.many import pair

DAYS = (Count.DAY, Count.CODE_DAY, Count.PAYER_DAY)
LISTS = {On.PAYER: "a" * 32, On.DEVICE: "b" * 32, On.CODE: "q", On.ORDER: "A-*", On.ADDRESS: HOME}
MORE = [
    *[
        Rule(RuleKind.BLOCK_LIST, Action.BLOCK, Terms(on=on, entries=(entry,)), name="r")
        for on, entry in LISTS.items()
    ],
    Rule(RuleKind.PAYMENT_AMOUNT, Action.BLOCK, Terms(min_amount_minor=1999), name="r"),
    Rule(RuleKind.DEVICE_PACE, Action.BLOCK, Terms(max_count=1, window_s=600), name="r"),
    Rule(RuleKind.PAYER_DAY_TOTAL, Action.BLOCK, Terms(max_sum_minor=3500, max_count=2), name="r"),
]


def tried_again_and_again(shop, count=90):
    """Charges of all sorts, each tried up to three times by anybody, some of them with success."""
    dice, at = Random(7), clock.now() - timedelta(days=20)
    charges, tries = [], []
    for number in range(count):
        at += timedelta(seconds=dice.choice([1, 30, 400, 20000]))
        minor, pays = dice.choice([1999, 2000, 1251, 3000]), dice.random() < 0.5
        made = pair(shop, 0, at, None)
        charge = made[0] | {"amount_minor": minor, "amount_by_shopper": dice.random() < 0.8}
        charge |= {
            "merchant_order_no": f"{dice.choice('AB')}-{number}",
            "qr_code_id": dice.choice([None, "q"]),
            "currency": dice.choice(["CNY"] * 9 + ["HKD"]),
        }
        ends = at + timedelta(seconds=500)
        charge |= {"paid_at": ends if pays else None, "state": "paid" if pays else "expired"}
        charges.append(charge)
        many = dice.randint(1, 3)
        for nth in range(many):
            attempt = made[1] | {"id": new_id("at"), "out_trade_no": new_id("at")[3:].upper()}
            attempt |= {"provider_ref": attempt["id"], "started_at": at + timedelta(seconds=90 * nth)}
            attempt |= {"settles": pays and nth == many - 1, "finished_at": dice.choice([ends, None])}
            attempt |= {f"{who}_key": dice.choice([None, "a" * 32, "b" * 32]) for who in ("payer", "device")}
            attempt |= {"address_key": screening.place_key(shop.id, dice.choice([HOME, AWAY]))}
            if attempt["settles"]:
                attempt["finished_at"] = ends
            tries.append(attempt)
    with transaction() as tx:
        insert_many(tx, table_of(Charge), charges)
        insert_many(tx, table_of(Attempt), tries)


def start_of_row(row, places):
    return Start(
        *(row.started_at, row.charge_id, row.amount_minor, row.currency, row.by_shopper, row.code_id),
        *(row.order_no, places.get(row.address_key), row.address_key, row.device_key, row.payer_key),
    )


def counted(begun, row, ask):
    """What the books say at that moment: ``risk_counts``, word for word."""
    keys = {
        Count.CODE_DAY: "code_id",
        Count.PAYER_DAY: "payer_key",
        Count.ADDRESS: "address_key",
        Count.DEVICE: "device_key",
    }
    found = {}
    paid = {each.charge_id for each in begun if each.settles and each.finished_at <= row.started_at}
    for each in begun:
        others = each.charge_id != row.charge_id and each.currency == ask.currency
        if not others or (ask.of in keys and getattr(each, keys[ask.of]) != ask.key):
            continue
        if ask.of in (Count.ADDRESS, Count.DEVICE, Count.AMOUNTS):
            amount = each.amount_minor
            is_of_sort = ask.low_minor <= amount <= ask.high_minor and amount % ask.step_minor == 0
            counts = each.by_shopper and each.started_at > ask.since and is_of_sort
        elif each.charge_id in paid:
            counts = each.settles and each.paid_at >= ask.since
        else:
            counts = each.finished_at is None or each.finished_at > row.started_at
        if counts:
            found[each.charge_id] = each.amount_minor
    return Tally(len(found), sum(found.values()) if ask.of in DAYS else 0)


def told_plainly(rule, rows, places):
    """The charges that are stopped with what the rule said first, and the attempts whose money is lost."""
    begun, stopped, lost = [], {}, []
    for row in rows:
        is_stopped = rule.action is Action.REVIEW and row.charge_id in stopped
        if not is_stopped:
            facts = judge(rule, start_of_row(row, places), lambda ask, row=row: counted(begun, row, ask))
            if facts is not None:
                is_stopped = True
                stopped.setdefault(row.charge_id, (row, facts))
        if is_stopped and row.settles:
            lost.append(row)
        if not is_stopped or rule.action is Action.NOTE:
            begun.append(row)
    return list(stopped.values()), lost


def sums(rows):
    amounts = {currency: [] for currency in sorted({row.currency for row in rows})}
    for row in rows:
        amounts[row.currency].append(row.amount_minor)
    return [Sum(currency, len(each), sum(each)) for currency, each in amounts.items()]


def test_a_trial_says_of_the_past_what_judging_every_attempt_says(merchant, monkeypatch):
    monkeypatch.setattr(rehearsal, "EXAMPLES_MAX", 1000)
    tried_again_and_again(merchant)
    long_ago = clock.now() - timedelta(days=25)
    of_whom = {"merchant_id": merchant.id, "livemode": False, "since": long_ago, "made_since": long_ago}
    of_whom["most"] = past.ATTEMPTS_MAX
    with reading() as connection:
        rows = connection.execute(sa.select(past.RECENT), of_whom).all()
    rows.sort(key=lambda row: (row.started_at, row.attempt_id))
    for rule in RULES + MORE:
        for action in Action:
            tried = dataclasses.replace(rule, action=action)
            told = rehearsal.rehearse(merchant.id, tried, livemode=False)
            stopped, lost = told_plainly(tried, rows, rehearsal.places_of(merchant.id, tried))
            assert stopped, tried
            assert told.judged == 90
            by_currency = [sorted(each, key=lambda each: each.currency) for each in (told.stopped, told.lost)]
            assert by_currency == [sums([row for row, _ in stopped]), sums(lost)], tried
            examples = {each.charge_id: (each.at, each.paid_at, each.facts) for each in told.examples}
            plainly = {row.charge_id: (row.started_at, row.paid_at, facts) for row, facts in stopped}
            assert examples == plainly, tried


def test_of_a_busier_shop_the_latest_attempts_are_gone_through(merchant, monkeypatch):
    tried_again_and_again(merchant, count=8)
    rule = Rule(RuleKind.DAY_TOTAL, Action.NOTE, Terms(max_count=0), name="r")
    whole = rehearsal.rehearse(merchant.id, rule, livemode=False)
    assert (whole.is_whole, whole.judged) == (True, 8)
    assert whole.since == start_of(day_of(whole.until - timedelta(days=30)))
    monkeypatch.setattr(past, "ATTEMPTS_MAX", 4)
    part = rehearsal.rehearse(merchant.id, rule, livemode=False)
    assert not part.is_whole
    assert part.since > whole.since
    began = {each.charge_id: each.at for each in whole.examples}
    assert min(began[each.charge_id] for each in part.examples) <= part.since
    assert 0 < part.judged < 8


@pytest.mark.parametrize("kind", [RuleKind.DAY_TOTAL, RuleKind.PAYMENT_AMOUNT])
def test_of_a_shop_that_has_just_begun_a_trial_says_nothing(merchant, kind):
    terms = Terms(max_count=1) if kind is RuleKind.DAY_TOTAL else Terms(max_amount_minor=1)
    told = rehearsal.rehearse(merchant.id, Rule(kind, Action.BLOCK, terms, name="r"), livemode=False)
    assert (told.is_whole, told.judged, told.stopped, told.lost, told.examples) == (True, 0, (), (), ())
