"""Rules about payments where they count: as an attempt begins, one after the other, and never about money."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import clock
from app.charges import attempts, counter, rehearsal, reviews, screening
from app.charges.attempts import Payer
from app.charges.counter import Till
from app.charges.models import Attempt
from app.charges.settle import settle
from app.charges.states import ChargeState
from app.db import transaction
from app.errors import Conflict, InvalidRequest, PaymentStopped, PermissionDenied
from app.merchants import accounts, risk_rules
from app.merchants.actor import SERVER, Actor
from app.merchants.models import AuditEntry
from app.merchants.risk import Action, On, Rule, RuleKind, Terms
from app.merchants.risk_models import RiskDecision
from app.money import Money
from app.providers.base import Outcome, PaymentResult, Scene
from app.webhooks.models import Event
from tests.books import charge_of, event_types, make_charge, pay, row_of, rows_of
from tests.conftest import add_shop

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

HOME, AWAY = "203.0.113.9", "198.51.100.7"


def add(shop, kind, action=Action.BLOCK, *, valid_until=None, **terms):
    rule = Rule(kind, action, Terms(**terms), name="rule", valid_until=valid_until)
    with transaction() as tx:
        return risk_rules.add_rule(tx, shop.id, rule, livemode=False, by=SERVER).id


def begin(shop, charge_id, scene=Scene.DESKTOP, ip=HOME, **payer):
    account = accounts.open_account(shop.account_id)
    return attempts.start_attempt(
        charge_id, account, Payer(scene, "https://pay.example.com/C/x", ip, **payer)
    )


def typed(shop, minor=1250, **more):
    """A charge whose amount a shopper typed."""
    return make_charge(shop, minor=minor, amount_by_shopper=True, **more)


def outcome_of(shop, charge_id, **payer):
    try:
        begin(shop, charge_id, **payer)
    except PaymentStopped as stop:
        return stop.code
    return "begun"


def at_once(app, work, count):
    """What so many threads get that begin at one moment."""
    barrier, got = threading.Barrier(count), []

    def run(number):
        with app.app_context():
            barrier.wait()
            got.append(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        (RuleKind.DAY_TOTAL, {"max_count": 1}),
        (RuleKind.DAY_TOTAL, {"max_sum_minor": 2499}),
        (RuleKind.ADDRESS_PACE, {"max_count": 1, "window_s": 600}),
        (RuleKind.REPEATED_AMOUNT, {"max_count": 1, "window_s": 600}),
    ],
)
def test_of_eight_at_once_a_limit_of_one_lets_one_pass(app, merchant, far_side, kind, terms):
    add(merchant, kind, **terms)
    charges = [typed(merchant) for _ in range(8)]
    got = at_once(app, lambda number: outcome_of(merchant, charges[number].id), 8)
    assert sorted(got) == ["begun"] + ["payment_blocked"] * 7
    assert len(rows_of(Attempt)) == 1
    assert len(rows_of(RiskDecision)) == 7


def test_eight_tills_at_once_pass_a_limit_of_one_once(app, merchant, far_side):
    add(merchant, RuleKind.DAY_TOTAL, max_count=1)
    charges = [make_charge(merchant) for _ in range(8)]

    def scan(number):
        try:
            counter.take_code(
                merchant.id, charges[number].id, f"28765432109876{number:02}", Till(), livemode=False
            )
        except PaymentStopped as stop:
            return stop.code
        return "begun"

    assert sorted(at_once(app, scan, 8)) == ["begun"] + ["payment_blocked"] * 7


def test_an_open_attempt_that_is_taken_up_counts_once(merchant, far_side):
    add(merchant, RuleKind.DAY_TOTAL, max_count=1)
    charge = make_charge(merchant)
    assert begin(merchant, charge.id).attempt_id == begin(merchant, charge.id).attempt_id
    assert (
        outcome_of(merchant, charge.id, scene=Scene.MOBILE) == "begun"
    )  # a second attempt of the same charge
    assert outcome_of(merchant, make_charge(merchant).id) == "payment_blocked"
    assert rows_of(RiskDecision, charge_id=charge.id) == []


def test_what_came_to_nothing_frees_its_place_in_the_day(merchant, far_side):
    add(merchant, RuleKind.DAY_TOTAL, max_count=1)
    first, second = make_charge(merchant), make_charge(merchant)
    begin(merchant, first.id)
    assert outcome_of(merchant, second.id) == "payment_blocked"
    [attempt] = rows_of(Attempt)
    with transaction() as tx:
        settle(tx, merchant.account_id, PaymentResult(attempt.out_trade_no, Outcome.CLOSED))
    assert outcome_of(merchant, second.id) == "begun"


def test_what_is_paid_fills_its_day_and_not_the_next(merchant, far_side, at):
    at(datetime(2026, 1, 15, 15, 30, tzinfo=UTC))  # half an hour before midnight in Beijing
    add(merchant, RuleKind.DAY_TOTAL, max_count=1)
    pay(make_charge(merchant).id)
    late = make_charge(merchant)
    assert outcome_of(merchant, late.id) == "payment_blocked"
    at(timedelta(hours=1))
    assert outcome_of(merchant, late.id) == "begun"


def test_codes_payers_addresses_and_devices_are_counted_apart(merchant, far_side):
    for kind, terms in (
        (RuleKind.CODE_DAY_TOTAL, {"max_count": 1}),
        (RuleKind.PAYER_DAY_TOTAL, {"max_count": 1}),
        (RuleKind.ADDRESS_PACE, {"max_count": 1, "window_s": 600}),
        (RuleKind.DEVICE_PACE, {"max_count": 1, "window_s": 600}),
    ):
        add(merchant, kind, **terms)

    def outcome(code, ip, device, payer):
        return outcome_of(merchant, typed(merchant, qr_code_id=code).id, ip=ip, device=device, payer_id=payer)

    assert outcome("qr_1", HOME, "phone", "wang") == "begun"
    for again in (
        ("qr_1", AWAY, "other", "li"),
        ("qr_2", HOME, "other", "li"),
        ("qr_2", AWAY, "phone", "li"),
        ("qr_2", AWAY, "other", "wang"),
    ):
        assert outcome(*again) == "payment_blocked", again
    assert outcome("qr_2", AWAY, "other", "li") == "begun"
    kinds = [row.kind for row in rows_of(RiskDecision)]
    assert kinds == [
        RuleKind.CODE_DAY_TOTAL,
        RuleKind.ADDRESS_PACE,
        RuleKind.DEVICE_PACE,
        RuleKind.PAYER_DAY_TOTAL,
    ]


def test_amounts_count_from_when_they_were_begun_and_not_typed(merchant, far_side, at):
    """Else a stock of charges, laid in and left until the window is past, would be begun uncounted."""
    add(merchant, RuleKind.REPEATED_AMOUNT, max_count=1, window_s=300)
    stock = [typed(merchant) for _ in range(3)]
    at(timedelta(minutes=6))
    assert outcome_of(merchant, stock[0].id) == "begun"
    assert outcome_of(merchant, stock[1].id) == "payment_blocked"
    at(timedelta(minutes=6))
    assert outcome_of(merchant, stock[2].id) == "begun"


def test_one_subscriber_of_ipv6_is_one_address(merchant, far_side):
    add(merchant, RuleKind.ADDRESS_PACE, max_count=1, window_s=600)
    assert outcome_of(merchant, typed(merchant).id, ip="2001:db8::1") == "begun"
    assert outcome_of(merchant, typed(merchant).id, ip="2001:db8::2:3") == "payment_blocked"
    assert outcome_of(merchant, typed(merchant).id, ip="2001:db8:0:1::1") == "begun"


def test_a_block_is_told_once_and_explained(merchant, far_side):
    rule_id = add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1000)
    charge = make_charge(merchant)
    for _ in range(3):
        with pytest.raises(PaymentStopped) as stop:
            begin(merchant, charge.id)
    assert "1000" not in stop.value.detail
    assert event_types(charge.id) == ["charge.created", "charge.blocked"]
    kept = row_of(RiskDecision)
    assert (kept.times, kept.rule_id, kept.facts) == (3, rule_id, {"amount": 1250, "max_amount": 1000})
    assert '"rule":"' + rule_id in row_of(Event, type="charge.blocked").body
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert rows_of(Attempt) == [] == far_side.calls


@one_database
def test_who_presses_on_and_on_holds_up_nobody_else(merchant, far_side, monkeypatch):
    """Not by the gate, which all payments of a shop pass one after the other."""
    add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1000)
    charge = make_charge(merchant)
    for _ in range(screening.STOPS_MAX):
        assert outcome_of(merchant, charge.id) == "payment_blocked"
    monkeypatch.setattr(risk_rules, "lock_gate", None)
    with pytest.raises(Conflict, match="too often"):
        begin(merchant, charge.id)
    assert row_of(RiskDecision).times == screening.STOPS_MAX


def test_a_note_lets_pass_and_is_kept(merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.NOTE, max_amount_minor=1000)
    charge = make_charge(merchant)
    assert outcome_of(merchant, charge.id) == "begun"
    assert row_of(RiskDecision).action == Action.NOTE
    assert event_types(charge.id) == ["charge.created"]


def test_of_several_rules_the_strongest_decides_and_weaker_stops_are_not_kept(merchant, far_side):
    for action in Action:
        add(merchant, RuleKind.PAYMENT_AMOUNT, action, max_amount_minor=1000)
    charge = make_charge(merchant)
    assert outcome_of(merchant, charge.id) == "payment_blocked"
    assert [row.action for row in rows_of(RiskDecision)] == [Action.NOTE, Action.BLOCK]
    assert charge_of(merchant, charge.id).review is None


def test_dates_and_an_end_take_a_rule_out_of_force(merchant, far_side, at):
    add(merchant, RuleKind.DAY_TOTAL, valid_until=clock.now() + timedelta(hours=1), max_count=0)
    rule_id = add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1)
    charge = make_charge(merchant)
    assert outcome_of(merchant, charge.id) == "payment_blocked"
    with transaction() as tx:
        risk_rules.end_rule(tx, merchant.id, rule_id, livemode=False, by=SERVER)
        risk_rules.end_rule(tx, merchant.id, rule_id, livemode=False, by=SERVER)
    assert outcome_of(merchant, charge.id) == "payment_blocked"
    at(timedelta(minutes=61))
    assert outcome_of(merchant, charge.id) == "begun"


def test_a_rule_is_replaced_once_and_never_changed(merchant):
    old = add(merchant, RuleKind.DAY_TOTAL, max_count=1)
    new = Rule(RuleKind.DAY_TOTAL, Action.NOTE, Terms(max_count=2), name="new")
    with transaction() as tx:
        made = risk_rules.replace_rule(tx, merchant.id, old, new, livemode=False, by=SERVER)
    with pytest.raises(Conflict), transaction() as tx:
        risk_rules.replace_rule(tx, merchant.id, old, new, livemode=False, by=SERVER)
    before = risk_rules.find(merchant.id, old, livemode=False)
    assert (before.terms, before.replaced_by) == ({"max_count": 1}, made.id)
    assert [row.action for row in rows_of(AuditEntry)][-2:] == ["risk_rule.added", "risk_rule.replaced"]


def test_a_held_charge_is_payable_only_after_release(merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    charge = make_charge(merchant)
    assert outcome_of(merchant, charge.id) == "payment_held"
    assert outcome_of(merchant, charge.id) == "payment_held"
    with pytest.raises(PaymentStopped):
        counter.take_code(merchant.id, charge.id, "2876543210987654", Till(), livemode=False)
    assert [row.id for row in reviews.list_waiting(merchant.id, livemode=False)] == [charge.id]
    with pytest.raises(PermissionDenied):
        reviews.release(merchant.id, charge.id, "known guest", by=Actor("cashier"))
    with pytest.raises(InvalidRequest):
        reviews.release(merchant.id, charge.id, " ", by=SERVER)
    released = reviews.release(merchant.id, charge.id, "known guest", by=SERVER)
    assert (released.review, released.review_by, released.review_reason) == (
        *("released", "server", "known guest"),
    )
    with pytest.raises(Conflict):
        reviews.refuse(merchant.id, charge.id, "no", by=SERVER)
    assert outcome_of(merchant, charge.id) == "begun"
    assert event_types(charge.id) == ["charge.created", "charge.review_opened", "charge.review_closed"]
    assert row_of(AuditEntry, action="risk_review.released").object_id == charge.id


def test_a_released_charge_still_meets_the_rules_that_block(merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    charge = make_charge(merchant)
    assert outcome_of(merchant, charge.id) == "payment_held"
    reviews.release(merchant.id, charge.id, "known guest", by=SERVER)
    add(merchant, RuleKind.DAY_TOTAL, max_count=0)
    assert outcome_of(merchant, charge.id) == "payment_blocked"


def test_a_refused_charge_is_canceled(merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    charge = make_charge(merchant)
    outcome_of(merchant, charge.id)
    refused = reviews.refuse(merchant.id, charge.id, "no such order", by=SERVER)
    assert (refused.state, refused.review) == (ChargeState.CANCELED, "refused")
    assert event_types(charge.id)[-2:] == ["charge.review_closed", "charge.canceled"]
    with pytest.raises(Conflict):
        begin(merchant, charge.id)


def test_of_many_who_decide_at_once_one_does(app, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    charge = make_charge(merchant)
    outcome_of(merchant, charge.id)

    def decide(number):
        try:
            (reviews.release if number % 2 else reviews.refuse)(merchant.id, charge.id, "yes", by=SERVER)
        except Conflict:
            return 0
        return 1

    assert sum(at_once(app, decide, 6)) == 1
    assert event_types(charge.id).count("charge.review_closed") == 1


@pytest.mark.parametrize("action", [Action.BLOCK, Action.REVIEW])
def test_money_that_comes_is_taken_whatever_the_rules_say(merchant, far_side, action):
    charge = make_charge(merchant)
    begin(merchant, charge.id)
    add(merchant, RuleKind.PAYMENT_AMOUNT, action, max_amount_minor=1)
    far_side.answers_lost = 99  # what is open cannot be closed
    assert outcome_of(merchant, charge.id, scene=Scene.MOBILE).startswith("payment_")
    [attempt] = rows_of(Attempt)
    with transaction() as tx:
        settle(
            tx,
            merchant.account_id,
            PaymentResult(attempt.out_trade_no, Outcome.SUCCEEDED, Money(1250, "CNY"), "T1"),
        )
    assert charge_of(merchant, charge.id).state == ChargeState.PAID


def test_without_rules_a_start_costs_no_statement_more(app, merchant, far_side):
    seen = []
    engine = app.extensions["sqlalchemy"].engine
    charges = [make_charge(merchant) for _ in range(3)]
    begin(merchant, charges[0].id)  # opens what is opened once

    def note(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    begin(merchant, charges[1].id)
    without, had = list(seen), [text for text in seen if "risk_" in text]
    sa.event.remove(engine, "before_cursor_execute", note)
    assert len(had) == 1
    assert had[0].startswith("SELECT charges.")  # the lock of the charge, which was asked for before
    assert not [text for text in without if "risk_rules" in text or "risk_decisions" in text]


def test_nobody_is_known_longer_than_a_month(merchant, far_side, at):
    at(-timedelta(days=32))
    add(merchant, RuleKind.DEVICE_PACE, Action.NOTE, max_count=1, window_s=60)
    for _ in range(2):
        assert outcome_of(merchant, typed(merchant).id, device="phone", payer_id="wang") == "begun"
    assert all(row.address_key and row.device_key for row in rows_of(Attempt))
    screening.forget_old()
    assert all(row.address_key for row in rows_of(Attempt))
    assert row_of(RiskDecision).device_key
    at(timedelta(days=32))
    screening.forget_old()
    assert not any(row.address_key or row.device_key for row in rows_of(Attempt))
    kept = row_of(RiskDecision)
    assert [kept.address_key, kept.device_key, kept.payer_key, kept.is_named] == [None, None, None, False]


def test_no_address_is_stored_and_two_merchants_know_it_by_two_names(merchant, other_merchant, far_side):
    for shop in (merchant, other_merchant):
        begin(shop, make_charge(shop).id)
    keys = [row.address_key for row in rows_of(Attempt)]
    assert len(set(keys)) == 2
    assert not [key for key in keys if HOME in key]


RULES = [
    Rule(RuleKind.PAYMENT_AMOUNT, Action.BLOCK, Terms(max_amount_minor=1999), name="r"),
    Rule(RuleKind.DAY_TOTAL, Action.BLOCK, Terms(max_count=2, max_sum_minor=6000), name="r"),
    Rule(RuleKind.DAY_TOTAL, Action.REVIEW, Terms(max_count=1), name="r"),
    Rule(RuleKind.CODE_DAY_TOTAL, Action.BLOCK, Terms(max_sum_minor=3500), name="r"),
    Rule(RuleKind.PAYER_DAY_TOTAL, Action.BLOCK, Terms(max_count=1), name="r"),
    Rule(RuleKind.ADDRESS_PACE, Action.BLOCK, Terms(max_count=1, window_s=120), name="r"),
    Rule(RuleKind.ADDRESS_PACE, Action.REVIEW, Terms(max_count=1, window_s=7200), name="r"),
    Rule(RuleKind.REPEATED_AMOUNT, Action.BLOCK, Terms(max_count=1, window_s=600), name="r"),
    Rule(RuleKind.ROUND_AMOUNTS, Action.BLOCK, Terms(step_minor=1000, max_count=1, window_s=7200), name="r"),
    Rule(
        RuleKind.JUST_BELOW,
        Action.BLOCK,
        Terms(max_amount_minor=2000, margin_minor=100, max_count=0, window_s=60),
        name="r",
    ),
    Rule(RuleKind.BLOCK_LIST, Action.BLOCK, Terms(on=On.ADDRESS, entries=("203.0.113.0/24",)), name="r"),
    Rule(RuleKind.BLOCK_LIST, Action.BLOCK, Terms(on=On.ORDER, entries=("A*",)), name="r"),
]
steps = st.tuples(
    st.sampled_from([0, 1, 47, 113, 3000, 40000]),  # seconds since the step before
    st.sampled_from([(1999, "qr_1"), (2000, "qr_2"), (1251, "qr_1"), (1251, None), (3000, "qr_2")]),
    st.sampled_from(["leave", "pay", "close"]),
    st.sampled_from([HOME, AWAY]),
    st.sampled_from([None, "wang", "li"]),
)


def live_through(shop, story, move):
    """Tell a story to a shop, each line a new charge; the lines that a rule stopped, and whose line it is."""
    lines, stopped = {}, set()
    for number, (gap_s, (minor, code), ending, ip, payer) in enumerate(story):
        move(gap_s)
        charge = typed(shop, minor, qr_code_id=code, merchant_order_no=f"{'AB'[number % 2]}-{number}")
        lines[charge.id] = number
        try:
            began = begin(shop, charge.id, ip=ip, payer_id=payer).attempt_id
        except PaymentStopped:
            stopped.add(number)
            continue
        if ending == "leave":
            continue
        attempt = row_of(Attempt, id=began)
        ends = Outcome.SUCCEEDED if ending == "pay" else Outcome.CLOSED
        received = Money(minor, "CNY") if ending == "pay" else None
        with transaction() as tx:
            settle(tx, shop.account_id, PaymentResult(attempt.out_trade_no, ends, received, f"T{began}"))
    return stopped, lines


@one_database
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(rule=st.sampled_from(RULES), story=st.lists(steps, min_size=3, max_size=9))
def test_a_trial_says_what_the_rule_would_have_done(app, far_side, monkeypatch, rule, story):
    """The same story, once with the rule in force and once without it and then tried: the same charges."""
    verdicts = []
    for is_live in (True, False):
        now = [datetime(2026, 1, 15, 8, 0, tzinfo=UTC)]
        monkeypatch.setattr(clock, "now", lambda now=now: now[0])
        shop = add_shop(f"{len(rows_of(AuditEntry))}-{id(now)}@shop.example", password=None)

        def move(gap_s, now=now):
            now[0] += timedelta(seconds=gap_s)

        if is_live:
            with transaction() as tx:
                risk_rules.add_rule(tx, shop.id, rule, livemode=False, by=SERVER)
        stopped, lines = live_through(shop, story, move)
        if not is_live:
            told = rehearsal.rehearse(shop.id, rule, livemode=False)
            stopped = {lines[example.charge_id] for example in told.examples}
            assert sum(each.count for each in told.stopped) == len(stopped)
        verdicts.append(stopped)
    assert verdicts[0] == verdicts[1]
