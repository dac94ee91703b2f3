"""Rules about payments, judged without a database: what matches, what is asked for, what is no rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import InvalidRequest
from app.merchants.risk import (
    FIELDS,
    Action,
    Ask,
    Count,
    On,
    Rule,
    RuleKind,
    Start,
    Tally,
    Terms,
    ask_of,
    fits,
    judge,
    network_of,
    places_in,
    read_terms,
    strongest,
)

NOON = datetime(2026, 1, 15, 4, 0, tzinfo=UTC)  # in Beijing
MIDNIGHT = datetime(2026, 1, 14, 16, 0, tzinfo=UTC)
HERE, OTHER, DEVICE, PAYER = "a" * 32, "b" * 32, "c" * 32, "d" * 64
START = Start(
    at=NOON,
    charge_id="ch_1",
    amount_minor=1250,
    currency="CNY",
    by_shopper=True,
    code_id="qr_1",
    order_no="A-7-x",
    address="203.0.113.9",
    address_key=HERE,
    device_key=DEVICE,
    payer_key=PAYER,
)
_TEN = timedelta(minutes=10)


def rule(kind: RuleKind, **terms) -> Rule:
    return Rule(kind, Action.BLOCK, Terms(**terms))


def counted(tally: Tally):
    return lambda ask: tally


# kind, terms, what the books hold already, the words of the facts that match or None
JUDGED = [
    (RuleKind.PAYMENT_AMOUNT, {"max_amount_minor": 1249}, Tally(), {"max_amount"}),
    (RuleKind.PAYMENT_AMOUNT, {"max_amount_minor": 1250}, Tally(), None),
    (RuleKind.PAYMENT_AMOUNT, {"min_amount_minor": 1251}, Tally(), {"min_amount"}),
    (RuleKind.PAYMENT_AMOUNT, {"min_amount_minor": 1250}, Tally(), None),
    (RuleKind.DAY_TOTAL, {"max_count": 3}, Tally(2, 9999999), None),
    (RuleKind.DAY_TOTAL, {"max_count": 3}, Tally(3, 0), {"max_count", "count", "sum", "day"}),
    (RuleKind.DAY_TOTAL, {"max_sum_minor": 5000}, Tally(9, 3750), None),
    (RuleKind.DAY_TOTAL, {"max_sum_minor": 5000}, Tally(1, 3751), {"max_sum", "count", "sum", "day"}),
    (RuleKind.DAY_TOTAL, {"max_sum_minor": 1, "max_count": 0}, Tally(), {"max_sum", "max_count", "day"}),
    (RuleKind.CODE_DAY_TOTAL, {"max_count": 1}, Tally(1, 1), {"max_count"}),
    (RuleKind.PAYER_DAY_TOTAL, {"max_count": 1}, Tally(1, 1), {"max_count"}),
    (RuleKind.ADDRESS_PACE, {"max_count": 2, "window_s": 600}, Tally(1), None),
    (RuleKind.ADDRESS_PACE, {"max_count": 2, "window_s": 600}, Tally(2), {"max_count", "window_s"}),
    (RuleKind.DEVICE_PACE, {"max_count": 2, "window_s": 600}, Tally(2), {"max_count", "window_s"}),
    (RuleKind.REPEATED_AMOUNT, {"max_count": 2, "window_s": 600}, Tally(2), {"max_count"}),
    (RuleKind.ROUND_AMOUNTS, {"step_minor": 50, "max_count": 2, "window_s": 600}, Tally(2), {"max_count"}),
    (RuleKind.ROUND_AMOUNTS, {"step_minor": 100, "max_count": 0, "window_s": 600}, Tally(9), None),
    (
        RuleKind.JUST_BELOW,
        {"max_amount_minor": 1300, "margin_minor": 50, "max_count": 0, "window_s": 600},
        Tally(),
        {"max_count"},
    ),
    (
        RuleKind.JUST_BELOW,
        {"max_amount_minor": 1250, "margin_minor": 50, "max_count": 0, "window_s": 600},
        Tally(),
        None,
    ),
    (RuleKind.BLOCK_LIST, {"on": On.ADDRESS, "entries": ("203.0.113.0/24",)}, Tally(), {"on", "entry"}),
    (RuleKind.BLOCK_LIST, {"on": On.ADDRESS, "entries": (OTHER, HERE)}, Tally(), {"on", "entry"}),
    (RuleKind.BLOCK_LIST, {"on": On.ADDRESS, "entries": (OTHER, "203.0.114.0/24")}, Tally(), None),
    (RuleKind.BLOCK_LIST, {"on": On.DEVICE, "entries": (DEVICE,)}, Tally(), {"entry"}),
    (RuleKind.BLOCK_LIST, {"on": On.PAYER, "entries": (PAYER,)}, Tally(), {"entry"}),
    (RuleKind.BLOCK_LIST, {"on": On.CODE, "entries": ("qr_1",)}, Tally(), {"entry"}),
    (RuleKind.BLOCK_LIST, {"on": On.CODE, "entries": ("qr_2",)}, Tally(), None),
    (RuleKind.BLOCK_LIST, {"on": On.ORDER, "entries": ("B*", "A-*-x")}, Tally(), {"entry"}),
]


@pytest.mark.parametrize(("kind", "terms", "tally", "words"), JUDGED)
def test_a_start_is_judged(kind, terms, tally, words):
    facts = judge(rule(kind, **terms), START, counted(tally))
    assert (facts is None) == (words is None)
    assert words is None or words <= set(facts)


def test_every_kind_is_in_the_table_of_terms_and_of_this_test():
    assert set(FIELDS) == set(RuleKind) == {kind for kind, *_ in JUDGED}


WINDOW = {"max_count": 1, "window_s": 600}
ASKED = [
    (rule(RuleKind.DAY_TOTAL, max_count=1), Ask(Count.DAY, MIDNIGHT, "CNY")),
    (rule(RuleKind.CODE_DAY_TOTAL, max_count=1), Ask(Count.CODE_DAY, MIDNIGHT, "CNY", "qr_1")),
    (rule(RuleKind.PAYER_DAY_TOTAL, max_count=1), Ask(Count.PAYER_DAY, MIDNIGHT, "CNY", PAYER)),
    (rule(RuleKind.ADDRESS_PACE, **WINDOW), Ask(Count.ADDRESS, NOON - _TEN, "CNY", HERE)),
    (rule(RuleKind.DEVICE_PACE, **WINDOW), Ask(Count.DEVICE, NOON - _TEN, "CNY", DEVICE)),
    (
        rule(RuleKind.REPEATED_AMOUNT, **WINDOW),
        Ask(Count.AMOUNTS, NOON - _TEN, "CNY", low_minor=1250, high_minor=1250),
    ),
    (
        rule(RuleKind.ROUND_AMOUNTS, step_minor=50, **WINDOW),
        Ask(Count.AMOUNTS, NOON - _TEN, "CNY", step_minor=50),
    ),
    (
        rule(RuleKind.JUST_BELOW, max_amount_minor=1300, margin_minor=50, **WINDOW),
        Ask(Count.AMOUNTS, NOON - _TEN, "CNY", low_minor=1250, high_minor=1299),
    ),
]


@pytest.mark.parametrize(("asking", "ask"), ASKED)
def test_a_rule_asks_for_the_others_of_its_own_sort(asking, ask):
    assert ask_of(asking, START) == ask


BESIDE = [
    (rule(RuleKind.DAY_TOTAL, max_count=0), {"currency": "USD"}),
    (rule(RuleKind.PAYMENT_AMOUNT, max_amount_minor=1), {"currency": "USD"}),
    (rule(RuleKind.CODE_DAY_TOTAL, max_count=0), {"code_id": None}),
    (rule(RuleKind.PAYER_DAY_TOTAL, max_count=0), {"payer_key": None}),
    (rule(RuleKind.ADDRESS_PACE, max_count=1, window_s=60), {"address_key": None}),
    (rule(RuleKind.ADDRESS_PACE, max_count=1, window_s=60), {"by_shopper": False}),
    (rule(RuleKind.DEVICE_PACE, max_count=1, window_s=60), {"device_key": None}),
    (rule(RuleKind.REPEATED_AMOUNT, max_count=0, window_s=60), {"amount_minor": 1200}),
    (rule(RuleKind.BLOCK_LIST, on=On.ORDER, entries=("*A*",)), {"order_no": None}),
    (
        rule(RuleKind.BLOCK_LIST, on=On.ADDRESS, entries=("203.0.113.9",)),
        {"address": None, "address_key": None},
    ),
    *[
        (rule(RuleKind.BLOCK_LIST, on=On.ADDRESS, entries=("203.0.113.9",)), {"address": odd})
        for odd in ("", "unknown", "203.0.113.9:4711")  # what proxies say who know no better
    ],
]


@pytest.mark.parametrize(("asking", "change"), BESIDE)
def test_what_a_rule_is_not_about_it_does_not_stop(asking, change):
    assert judge(asking, START._replace(**change), counted(Tally(99, 10**9))) is None


WRONG = [
    (RuleKind.DAY_TOTAL, {}, "terms.max_sum"),
    (RuleKind.DAY_TOTAL, {"max_count": -1}, "terms.max_count"),
    (RuleKind.DAY_TOTAL, {"max_count": 1, "window_s": 60}, "terms.window_s"),
    (RuleKind.PAYMENT_AMOUNT, {"min_amount_minor": 2, "max_amount_minor": 1}, "terms.max_amount"),
    (RuleKind.PAYMENT_AMOUNT, {"max_amount_minor": 0}, "terms.max_amount"),
    (RuleKind.ADDRESS_PACE, {"max_count": 1}, "terms.window_s"),
    (RuleKind.ADDRESS_PACE, {"max_count": 0, "window_s": 60}, "terms.max_count"),
    (RuleKind.ADDRESS_PACE, {"max_count": 1, "window_s": 59}, "terms.window_s"),
    (
        RuleKind.JUST_BELOW,
        {"max_amount_minor": 100, "margin_minor": 100, "max_count": 1, "window_s": 60},
        "terms.margin",
    ),
    (RuleKind.BLOCK_LIST, {"on": On.CODE}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"entries": ("x",)}, "terms.on"),
    (RuleKind.BLOCK_LIST, {"on": On.ADDRESS, "entries": ("nowhere",)}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"on": On.ADDRESS, "entries": ("10.0.0.0/15",)}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"on": On.ADDRESS, "entries": ("2001:db8::/47",)}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"on": On.DEVICE, "entries": ("my phone",)}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"on": On.ORDER, "entries": ("**",)}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"on": On.ORDER, "entries": ("a*b*c*d*",)}, "terms.entries"),
    (RuleKind.BLOCK_LIST, {"on": On.CODE, "entries": ("qr_1",) * 201}, "terms.entries"),
]


@pytest.mark.parametrize(("kind", "terms", "param"), WRONG)
def test_what_is_no_rule_names_the_term_at_fault(kind, terms, param):
    with pytest.raises(InvalidRequest) as refusal:
        rule(kind, **terms)
    assert refusal.value.param == param


def test_dates_say_when_a_rule_is_in_force():
    some = Rule(RuleKind.DAY_TOTAL, Action.NOTE, Terms(max_count=1), valid_from=MIDNIGHT, valid_until=NOON)
    assert [some.is_in_force(at) for at in (MIDNIGHT - _TEN, MIDNIGHT, NOON - _TEN, NOON)] == [
        *(False, True, True, False)
    ]
    with pytest.raises(InvalidRequest):
        replace(some, valid_until=MIDNIGHT)


def test_the_strongest_action_wins():
    assert strongest([Action.NOTE, Action.BLOCK, Action.REVIEW]) is Action.BLOCK
    assert strongest([Action.REVIEW, Action.NOTE]) is Action.REVIEW
    assert strongest([]) is None


@pytest.mark.parametrize("terms", [Terms(max_count=0), Terms(on=On.CODE, entries=("qr_1",))])
def test_terms_are_read_as_they_were_stored(terms):
    assert read_terms(terms.stored()) == terms


@pytest.mark.parametrize(
    ("pattern", "text", "does"),
    [
        ("A-7", "A-7", True),
        ("A-7", "A-77", False),
        ("A*", "A", True),
        ("*7", "A-7", True),
        ("*b*c*", "abxcx", True),
        ("*c*b*", "abxcx", False),
        ("ab*ba", "aba", False),
        ("a*b*", "b-a", False),
    ],
)
def test_a_pattern_fits_whole_numbers(pattern, text, does):
    assert fits(pattern, text) is does


@pytest.mark.parametrize(
    ("entry", "network", "places"),
    [
        ("203.0.113.9", "203.0.113.9/32", 1),
        ("203.0.113.9/24", "203.0.113.0/24", 256),
        ("2001:db8::7", "2001:db8::/64", 1),
        ("2001:db8::/56", "2001:db8::/56", 256),
        ("::ffff:203.0.113.9", "203.0.113.9/32", 1),
        ("::ffff:203.0.113.9/120", "203.0.113.0/24", 256),
    ],
)
def test_an_address_of_version_six_is_a_subscribers_network(entry, network, places):
    assert str(network_of(entry)) == network
    assert places_in(network_of(entry)) == places
