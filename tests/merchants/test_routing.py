"""Which account a payment goes through, by rules and by how the accounts do."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from app.merchants.routing import Candidate, Payment, Rule, Share, Standing, decide, fits, is_within

OLD, MID, NEW = "pa_1", "pa_2", "pa_3"
NOON = datetime(2026, 1, 15, 4, tzinfo=UTC)  # in Beijing


def payment(key: str = "ch_1", minor: int = 1250, store: str | None = None, at: datetime = NOON) -> Payment:
    return Payment(key, minor, "CNY", store, at)


def accounts(**standings: Standing) -> list[Candidate]:
    return [Candidate(each, standings.get(each, Standing.WELL)) for each in (OLD, MID, NEW)]


def rule(*shares: tuple[str, int], **more) -> Rule:
    return Rule("rr_1", "rule", tuple(Share(*share) for share in shares), **more)


def test_without_a_rule_it_is_the_oldest():
    assert decide(payment(), [], accounts()).order == (OLD, MID, NEW)
    assert decide(payment(), [], accounts()).chosen == OLD
    assert decide(payment(), [], []).chosen is None


def test_the_first_rule_that_fits_decides():
    rules = [
        rule((MID, 1), currency="CNY", min_minor=10_000),
        rule((NEW, 1), enabled=False),
        rule((NEW, 1), store_id="st_1"),
        rule((MID, 1)),
    ]
    assert decide(payment(minor=10_000, store="st_1"), rules, accounts()).chosen == MID
    assert decide(payment(minor=9_999, store="st_1"), rules, accounts()).chosen == NEW
    assert decide(payment(), rules, accounts()).rule is rules[3]


@pytest.mark.parametrize(
    ("more", "is_fit"),
    [
        ({}, True),
        ({"currency": "CNY", "min_minor": 1250, "max_minor": 1250}, True),
        ({"currency": "CNY", "min_minor": 1251}, False),
        ({"currency": "CNY", "max_minor": 1249}, False),
        ({"currency": "USD"}, False),
        ({"store_id": "st_1"}, True),
        ({"store_id": "st_2"}, False),
        ({"from_minute": 12 * 60, "until_minute": 13 * 60}, True),
        ({"from_minute": 11 * 60, "until_minute": 12 * 60}, False),
    ],
)
def test_what_a_rule_is_about(more, is_fit):
    assert fits(rule((OLD, 1), **more), payment(store="st_1")) is is_fit


@pytest.mark.parametrize(
    ("hour", "is_night"), [(21, False), (22, True), (23, True), (0, True), (5, True), (6, False), (12, False)]
)
def test_hours_may_go_past_midnight_in_beijing(hour, is_night):
    at = datetime(2026, 1, 15, (hour - 8) % 24, 59, tzinfo=UTC)
    assert is_within(22 * 60, 6 * 60, at) is is_night


def test_weights_share_payments_and_a_charge_is_always_dealt_alike():
    rules = [rule((OLD, 70), (MID, 30), (NEW, 0))]
    drawn = Counter(decide(payment(f"ch_{n}"), rules, accounts()).chosen for n in range(2000))
    assert drawn[NEW] == 0
    assert 1300 < drawn[OLD] < 1500
    for n in range(20):
        first = decide(payment(f"ch_{n}"), rules, accounts())
        assert first == decide(payment(f"ch_{n}", at=datetime.now(UTC)), rules, accounts())
        assert first.order[-1] == NEW
        assert dict(first.shares) == {OLD: 0.7, MID: 0.3, NEW: 0.0}


def test_an_account_more_moves_only_what_it_gets():
    before = [decide(payment(f"ch_{n}"), [rule((OLD, 1), (MID, 1))], accounts()).chosen for n in range(500)]
    rules = [rule((OLD, 1), (MID, 1), (NEW, 1))]
    after = [decide(payment(f"ch_{n}"), rules, accounts()).chosen for n in range(500)]
    assert {now for was, now in zip(before, after, strict=True) if was != now} == {NEW}


def test_a_failing_account_is_passed_over_and_then_another_than_the_rules_takes_it():
    rules = [rule((MID, 1))]
    assert decide(payment(), rules, accounts(pa_2=Standing.LEFT)).chosen == OLD
    both = accounts(pa_1=Standing.LEFT, pa_2=Standing.LEFT)
    assert decide(payment(), rules, both).chosen == NEW
    assert decide(payment(), rules, accounts(pa_2=Standing.DUE)).chosen == MID


def test_where_none_works_the_first_is_tried_all_the_same():
    assert decide(payment(), [], [Candidate(OLD, Standing.LEFT), Candidate(MID, Standing.LEFT)]).chosen == OLD


def test_a_strict_rule_knows_no_other_account():
    rules = [rule((MID, 1), is_strict=True)]
    assert decide(payment(), rules, accounts(pa_2=Standing.LEFT)).chosen == MID
    assert decide(payment(), rules, [Candidate(OLD, Standing.WELL)]).chosen is None
