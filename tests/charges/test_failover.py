"""An account that starts failing is left within seconds and returned to, and nobody pays twice.

Two accounts at the sandbox, real signatures on a real wire; its levers make one of them fail.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import queue
from app.charges import attempts, outcomes, routes
from app.charges.attempts import Payer
from app.charges.models import Attempt, Incident
from app.charges.states import AttemptState
from app.config import Settings
from app.db import transaction
from app.errors import Conflict, ProviderRejected, ProviderUnreachable
from app.merchants import accounts, routing_rules
from app.merchants.accounts import OpenAccount
from app.merchants.health import GAPS, OPEN_AFTER, SURE_AFTER
from app.merchants.models import AccountHealth, AuditEntry
from app.merchants.routing import Share
from app.merchants.routing_rules import RuleTerms
from app.providers.alipay import Alipay
from app.providers.base import Scene
from app.queue import Kind
from tests.books import event_types, make_charge, row_of, rows_of
from tests.conftest import Shop, add_shop, running
from tests.live import ask
from tests.providers import alipay_forge, wechatpay_forge

ALIPAYS, OTHER = alipay_forge.KEYS, wechatpay_forge.KEYS
KEYS = {
    "老账户": (ALIPAYS["app.pub.pem"], ALIPAYS["app.pkcs8.pem"]),
    "新账户": (OTHER["wx_mch.pub.pem"], OTHER["wx_mch.pkcs8.pem"]),
}


class Town:
    """A shop with two accounts at Alipay, and the levers over there."""

    def __init__(self, app: Flask, shop: Shop, far: str) -> None:
        self.app, self.shop, self.far = app, shop, far
        accounts.disable_account(shop.id, shop.account_id)
        self.apps: dict[str, str] = {}
        self.first, self.second = [self.open(name) for name in ("老账户", "新账户")]

    def open(self, name: str) -> str:
        public_key, private_key = KEYS[name]
        facts = ask("POST", f"{self.far}/control/alipay/apps", json_body={"public_key": public_key}).json
        names = ("app_id", "seller_id", "gateway_url", "alipay_public_key")
        settings = {each: facts[each] for each in names} | {"private_key": private_key}
        account_id = accounts.add_account(
            self.shop.id, "alipay", livemode=False, name=name, settings=settings
        )
        self.apps[account_id] = facts["app_id"]
        return account_id

    def fail(self, account_id: str, lever: str = "outage", **more: Any) -> None:
        """From now on each of its calls ends so."""
        wish = {"name": lever, "scope": "always", "app_id": self.apps[account_id], **more}
        assert ask("POST", f"{self.far}/control/levers", json_body=wish).status == 201

    def mend(self) -> None:
        ask("DELETE", f"{self.far}/control/levers")

    def press(self, charge_id: str) -> str:
        """What the checkout does when a shopper presses Pay; the account that it was begun at."""
        account = routes.account_for(self.shop.id, charge_id, "alipay", livemode=False)
        attempts.start_attempt(charge_id, account, Payer(Scene.DESKTOP, "https://pay.example.com/C/x"))
        return account.id

    def press_in_vain(self, charge_id: str) -> None:
        with pytest.raises(ProviderUnreachable):
            self.press(charge_id)

    def leave(self) -> list[str]:
        """Shoppers find the first account failing; their charges."""
        self.fail(self.first)
        charges = [make_charge(self.shop).id for _ in range(OPEN_AFTER)]
        for charge_id in charges:
            self.press_in_vain(charge_id)
        return charges

    def pay_all(self) -> None:
        """Every order that can be paid over there is paid, by whoever was shown how to."""
        for trade in ask("GET", f"{self.far}/control/trades?limit=100").json["data"]:
            ask("POST", f"{self.far}/control/trades/{trade['out_trade_no']}/pay", json_body={})
        for attempt in rows_of(Attempt):
            if attempt.state == AttemptState.STARTED:
                attempts.ask(attempt)

    def work(self) -> int:
        """The worker asks after the accounts that were left, where that is due."""
        with transaction() as tx:
            claims = queue.claim(tx, Kind.ACCOUNT, limit=10, lease=timedelta(seconds=60))
        for claim in claims:
            outcomes.follow(claim)
        return len(claims)


def all_at_once(work: Callable[[str], None], each: list[str]) -> None:
    threads = [threading.Thread(target=work, args=(one,)) for one in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def town(settings: Settings, far: str) -> Iterator[Town]:
    with running(settings) as app:
        yield Town(app, add_shop(), far)


def test_an_account_that_fails_is_left_returned_to_and_nobody_pays_twice(
    town: Town, at: Callable[[timedelta], None]
):
    assert town.press(make_charge(town.shop).id) == town.first
    town.leave()
    assert event_types(town.first) == ["provider_account.unhealthy"]
    assert [row.kind for row in rows_of(Incident, resolved_at=None)] == ["account_left"]

    # Everybody else pays through the other one, at once.
    begun = [town.press(make_charge(town.shop).id) for _ in range(3)]
    assert begun == [town.second] * 3

    # It is asked something harmless, in vain, and payments stay away.
    at(GAPS[0])
    assert town.work() == 1
    at(GAPS[1])
    assert town.press(make_charge(town.shop).id) == town.second

    town.mend()
    at(GAPS[-1])
    assert town.work() == 1  # it answers: one payment may try it, and brings the others back
    assert town.press(make_charge(town.shop).id) == town.first
    assert rows_of(AccountHealth) == []
    assert event_types(town.first) == ["provider_account.unhealthy", "provider_account.recovered"]
    assert rows_of(Incident, resolved_at=None) == []
    actions = [row.action for row in rows_of(AuditEntry) if row.object_id == town.first]
    assert actions[-2:] == ["provider_account.left", "provider_account.returned"]
    assert town.press(make_charge(town.shop).id) == town.first

    town.pay_all()
    paid = Counter(row.charge_id for row in rows_of(Attempt) if row.received_minor is not None)
    assert set(paid.values()) == {1}
    assert len(paid) == 7


def test_a_crowd_leaves_it_together_and_each_charge_is_paid_once(town: Town):
    """Ten presses at once, twice each, on charges of their own."""
    town.fail(town.first)
    charges = [make_charge(town.shop).id for _ in range(10)]

    def press(charge_id: str) -> None:
        with town.app.app_context():
            for _ in range(2):
                try:
                    town.press(charge_id)
                except ProviderUnreachable:
                    continue

    all_at_once(press, charges)
    town.mend()
    assert event_types(town.first) == ["provider_account.unhealthy"]
    late = [make_charge(town.shop).id for _ in range(3)]
    assert [town.press(charge_id) for charge_id in late] == [town.second] * 3
    town.pay_all()
    paid = Counter(row.charge_id for row in rows_of(Attempt) if row.received_minor is not None)
    assert set(paid.values()) == {1}
    assert set(late) <= set(paid)


def test_one_charge_is_begun_at_one_account_however_many_press_while_they_change(town: Town):
    """Each pressed at a moment when another account was the one: the first who begins decides."""
    charge_id, barrier = make_charge(town.shop).id, threading.Barrier(6)

    def press(account_id: str) -> None:
        with town.app.app_context():
            account = accounts.open_account(account_id)
            barrier.wait()
            with suppress(Conflict):
                attempts.start_attempt(
                    charge_id, account, Payer(Scene.DESKTOP, "https://pay.example.com/C/x")
                )

    all_at_once(press, [town.first, town.second] * 3)
    begun = [row for row in rows_of(Attempt) if row.state == AttemptState.STARTED]
    assert len(begun) == 1


def test_after_an_unknown_outcome_the_same_charge_goes_on_where_it_was(town: Town, at):
    [charge_id, *_] = town.leave()
    # Nobody knows whether the order is there: no other account may have it.
    town.press_in_vain(charge_id)
    assert {row.account_id for row in rows_of(Attempt, charge_id=charge_id)} == {town.first}
    assert row_of(Attempt, charge_id=charge_id).state == AttemptState.STARTED
    town.mend()
    assert town.press(charge_id) == town.first


def test_a_try_that_never_arrived_is_ended_before_another_account_is_tried(town: Town, at):
    """Orders cannot be made, but questions are answered: so there is a word to believe."""
    town.fail(town.first, "outage", method="alipay.trade.precreate")
    charges = [make_charge(town.shop).id for _ in range(OPEN_AFTER)]
    for charge_id in charges:
        town.press_in_vain(charge_id)
    at(GAPS[0])
    assert town.work() == 1  # it answers
    assert town.press(charges[0]) == town.second
    first, second = rows_of(Attempt, charge_id=charges[0])
    assert (first.account_id, first.state, first.failure_code) == (
        town.first,
        AttemptState.CLOSED,
        "never_arrived",
    )
    assert (second.account_id, second.state) == (town.second, AttemptState.STARTED)


def test_a_try_that_somebody_was_shown_goes_on_where_it_is(town: Town, at):
    charge_id = make_charge(town.shop).id
    assert town.press(charge_id) == town.first
    town.leave()
    assert town.press(charge_id) == town.first  # shown again, without a call
    assert len(rows_of(Attempt, charge_id=charge_id)) == 1


def test_who_was_identified_by_an_account_goes_on_there(town: Town):
    """Their openid is nobody's at another."""
    town.leave()
    charge_id = make_charge(town.shop).id
    account = routes.account_for(town.shop.id, charge_id, "alipay", livemode=False, known_to=town.first)
    assert account.id == town.first
    stranger = routes.account_for(town.shop.id, charge_id, "alipay", livemode=False, known_to="pa_other")
    assert stranger.id == town.second


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_browser_that_was_identified_elsewhere_goes_where_the_charge_may_go(town: Town):
    """It says itself by which account it was identified, perhaps for another charge."""
    terms = RuleTerms("alipay", "franchise", (Share(town.second, 1),), is_strict=True)
    rule_id = routing_rules.add_rule(town.shop.id, terms, livemode=False)
    charge_id = make_charge(town.shop).id

    def account_for(known_to: str) -> OpenAccount:
        return routes.account_for(town.shop.id, charge_id, "alipay", livemode=False, known_to=known_to)

    assert account_for(town.first).id == town.second
    assert (account_for(town.second).id, account_for(town.second).rule_id) == (town.second, rule_id)
    # Begun in a browser on a desk, it goes on there for whoever scans it, and the rule that chose is known.
    town.press(charge_id)
    assert account_for(town.first).id == town.second
    payer = Payer(Scene.MOBILE, "https://pay.example.com/C/x")
    attempts.start_attempt(charge_id, account_for(town.first), payer)
    assert [row.routing_rule_id for row in rows_of(Attempt, charge_id=charge_id)] == [rule_id] * 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_two_accounts_that_answer_again_are_each_tried_by_one_payment(town: Town, at):
    third = town.open("新账户")
    town.leave()
    town.mend()
    for account_id in (town.first, town.second):
        for _ in range(OPEN_AFTER):
            outcomes.note_refusal(accounts.open_account(account_id), ProviderUnreachable("no answer"))
    at(GAPS[-1])
    assert town.work() == 2

    charges, barrier, got = [make_charge(town.shop).id for _ in range(8)], threading.Barrier(8), []

    def press(charge_id: str) -> None:
        with town.app.app_context():
            barrier.wait()
            got.append(routes.account_for(town.shop.id, charge_id, "alipay", livemode=False).id)

    all_at_once(press, charges)
    assert Counter(got) == {town.first: 1, town.second: 1, third: 6}


def test_one_payment_at_a_time_tries_an_account_that_answers_again(town: Town, at):
    town.leave()
    town.mend()
    town.fail(town.first, "outage", method="alipay.trade.precreate")
    at(GAPS[0])
    town.work()
    town.press_in_vain(make_charge(town.shop).id)  # the probe
    assert town.press(make_charge(town.shop).id) == town.second
    town.mend()
    at(GAPS[2])
    town.work()
    account = routes.account_for(town.shop.id, make_charge(town.shop).id, "alipay", livemode=False)
    assert account.id == town.first
    assert town.press(make_charge(town.shop).id) == town.second  # while the probe is under way


def test_it_is_returned_to_without_a_payment_once_it_has_answered_for_a_while(town: Town, at):
    town.leave()
    town.mend()
    at(GAPS[0])
    town.work()
    assert row_of(AccountHealth).answers_since is not None
    at(SURE_AFTER + GAPS[0])
    town.work()
    assert rows_of(AccountHealth) == []
    at(timedelta(hours=1))
    assert town.work() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_account_that_comes_and_goes_stays_away_longer_each_time(town: Town, at):
    """It answers what it is asked, and fails the payments of one product, say: each leaving is told."""
    town.leave()
    for gap in GAPS:  # until it is asked every five minutes only
        at(gap)
        assert town.work() == 1
    account = replace(accounts.open_account(town.first), is_ailing=True)
    for gap in GAPS[1:4]:
        outcomes.note_success(account)
        for _ in range(OPEN_AFTER):
            outcomes.note_refusal(account, ProviderUnreachable("no answer"))
        at(gap / 2)
        assert town.work() == 0
        at(gap / 2)
        assert town.work() == 1  # and not when the old question was due
    at(timedelta(hours=1))
    outcomes.note_success(account)
    for _ in range(OPEN_AFTER):
        outcomes.note_refusal(account, ProviderUnreachable("no answer"))
    at(GAPS[0])
    assert town.work() == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_shoppers_refusal_says_nothing_of_the_account(town: Town):
    error = ProviderRejected("no", provider_code="ACQ.BUYER_BALANCE_NOT_ENOUGH")
    account = accounts.open_account(town.first)
    for _ in range(OPEN_AFTER):
        outcomes.note_refusal(account, error)
    assert rows_of(AccountHealth) == []


@pytest.mark.parametrize(
    ("error", "is_fault"),
    [
        (ProviderUnreachable("no answer"), True),
        (ProviderUnreachable("busy", provider_code="aop.ACQ.SYSTEM_ERROR"), True),
        (ProviderUnreachable("not signed", provider_code="isv.invalid-signature"), True),
        (ProviderUnreachable("typing", provider_code="USERPAYING"), False),
        (ProviderRejected("token", provider_code="aop.invalid-app-auth-token"), True),
        (ProviderRejected("barred", provider_code="ACQ.SELLER_BEEN_BLOCKED"), True),
        (ProviderRejected("too much", provider_code="ACQ.TOTAL_FEE_EXCEED"), False),
        (ProviderRejected("no scene"), False),
    ],
)
def test_what_counts_as_the_accounts_fault(error, is_fault):
    assert outcomes.is_fault(Alipay.info, error) is is_fault
