"""A model of the world, told at random: whatever happens in whatever order, the books stay right.

Shoppers start, pay, pay late, pay the wrong amount, pay twice; callbacks are lost, doubled, reordered,
forged and sent to the wrong door; the provider goes away; our process dies in the middle of a call;
merchants cancel, charges expire, the worker ticks, the clock jumps.  After every step the invariants
hold, and when the world calms down every fen that a provider took is credited, given back, or held
with an incident.  Numbers such as I-4 are the project's list of invariants (docs/invariants.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from app import clock, queue
from app.callbacks import inbox
from app.charges import attempts, lifecycle, refund_sending, sweeps
from app.charges.models import Attempt, Charge, Incident, Refund
from app.charges.states import AttemptState, ChargeState, RefundState
from app.db import transaction
from app.errors import (
    Conflict,
    ProviderRejected,
    ProviderUnreachable,
    SignatureMismatch,
    UnknownPayment,
)
from app.merchants import accounts
from app.money import Money
from app.providers.base import Inbound, PostForm, Redirect, ShowQR
from app.queue import Job, Kind
from app.webhooks import endpoints
from app.webhooks.models import Delivery, Event
from tests.books import make_charge, rows_of, start
from tests.conftest import Shop, add_shop
from tests.far_side import AlipayFarSide

LEASE = timedelta(seconds=60)
HANDLERS: dict[Kind, Callable[[queue.Claim], None]] = {
    Kind.QUERY: sweeps.query_attempt,
    Kind.EXPIRE: sweeps.expire_charge,
    Kind.REFUND: refund_sending.pursue,
}
_REAL_NOW = clock.now


class Death(BaseException):
    """Our process is gone; nothing after this line of it runs."""


class MortalFarSide(AlipayFarSide):
    """Alipay, before whose answer our process may die: the call took effect, we never learn it."""

    def __init__(self) -> None:
        super().__init__()
        self.kills_caller = False

    def _answer(self, method: str, biz: dict[str, str]) -> Any:
        answer = super()._answer(method, biz)
        if self.kills_caller:
            self.kills_caller = False
            raise Death
        return answer


class Books:
    """All rows of one merchant, read at one moment."""

    def __init__(self, merchant_id: str) -> None:
        self.charges = rows_of(Charge, merchant_id=merchant_id)
        self.attempts = rows_of(Attempt, merchant_id=merchant_id)
        self.refunds = rows_of(Refund, merchant_id=merchant_id)
        self.incidents = rows_of(Incident, merchant_id=merchant_id, kind="amount_mismatched")
        self.events = rows_of(Event, merchant_id=merchant_id)
        self.deliveries = rows_of(Delivery, merchant_id=merchant_id)

    def types(self, object_id: str) -> list[str]:
        """What was said of an object, in order; the sequence must have no gap."""
        events = sorted(
            (row for row in self.events if row.object_id == object_id), key=lambda row: row.sequence
        )
        assert [row.sequence for row in events] == list(range(1, len(events) + 1)), "I-39"
        return [row.type for row in events]


class World(RuleBasedStateMachine):
    """One merchant, one stranger, one provider."""

    app: ClassVar[Flask]
    install: ClassVar[Callable[[MortalFarSide], None]]
    round: ClassVar[int] = 0

    charges = Bundle("charges")
    numbers = Bundle("numbers")  # out_trade_no of attempts whose trade the provider knows

    @initialize()
    def open_shop(self) -> None:
        World.round += 1
        self.far = MortalFarSide()
        World.install(self.far)
        self.offset = timedelta()
        clock.now = lambda: _REAL_NOW() + self.offset
        with transaction() as tx:  # what an earlier round left undone is not this one's
            tx.execute(sa.delete(Job))
        self.shop = add_shop(f"owner{World.round}@cafe.example", password=None)
        self.stranger = add_shop(f"stranger{World.round}@cafe.example", name="路人", password=None)
        endpoints.create_endpoint(self.shop.id, livemode=False, url="http://127.0.0.1:9/hook")
        self.theirs = make_charge(self.stranger)
        start(self.stranger, self.theirs.id)
        self.their_number = attempts.list_attempts(self.stranger.id, self.theirs.id)[0].out_trade_no
        self.far.open(self.their_number)
        self.last: dict[str, Any] = {}
        self.bodies: dict[str, str] = {}

    @rule(target=charges, minor=st.sampled_from([1, 99, 1250]), minutes=st.sampled_from([1, 5, 120]))
    def create(self, minor: int, minutes: int) -> str:
        return make_charge(self.shop, minor=minor, life=timedelta(minutes=minutes)).id

    @rule(minor=st.integers(1, 10_000), key=st.sampled_from(["k1", "k2"]))
    def create_by_api_twice(self, minor: int, key: str) -> None:
        """I-27, I-28: the same request again gets the same bytes; another under its key gets none."""
        key = f"{key}-{minor}"
        client, body = self.app.test_client(), {"amount": minor, "currency": "cny", "description": "面"}
        headers = {**self.shop.headers, "Idempotency-Key": key}
        first, again = (client.post("/v1/charges", json=body, headers=headers) for _ in range(2))
        assert (first.status_code, first.data) == (again.status_code, again.data) == (201, again.data)
        other = client.post("/v1/charges", json={**body, "amount": minor + 1}, headers=headers)
        assert other.status_code == 422

    @rule(target=numbers, charge=charges, scene=st.sampled_from(["desktop", "mobile"]))
    def press_pay(self, charge: str, scene: str) -> Any:
        """The shopper presses Pay and follows to the wallet: the trade comes to be there."""
        try:
            step = start(self.shop, charge, scene)
        except (Conflict, ProviderRejected, ProviderUnreachable, Death):
            return multiple()
        match step:
            case ShowQR(content):
                return self.far.open(content).out_trade_no
            case Redirect(url) | PostForm(url):
                return self.far.open(url).out_trade_no
        raise AssertionError(step)

    @rule(number=numbers, short=st.sampled_from([0, 0, 0, 1]))
    def pay(self, number: str, short: int) -> None:
        """The shopper confirms in the wallet; now and then the network takes the wrong amount."""
        trade = self.far.open(number)
        if trade.state == "WAIT_BUYER_PAY":
            self.far.pay(number, Money(trade.price.minor + short, "CNY"))

    @rule(number=numbers)
    def pay_late(self, number: str) -> None:
        """The network takes money for a trade that it had closed."""
        if self.far.open(number).state == "TRADE_CLOSED" and self.far.trades[number].paid is None:
            self.far.pay(number, late=True)

    @rule(number=numbers, times=st.integers(1, 3))
    def callback(self, number: str, times: int) -> None:
        """I-6: once, twice or three times, and in whatever order among the numbers."""
        if not self.far.trades[number].refunds:
            for _ in range(times):
                self._receive(self.shop, self.far.notice(number))

    @rule(number=numbers, at=st.integers(0, 10_000), flip=st.integers(1, 255))
    def forged_callback(self, number: str, at: int, flip: int) -> None:
        """A byte of a genuine success is changed: refused, or harmless (the same fields are read)."""
        genuine = self.far.notice(number, trade_status="WAIT_BUYER_PAY")
        body = bytearray(genuine.body)
        body[at % len(body)] ^= flip
        with suppress(SignatureMismatch):
            self._receive(self.shop, Inbound(genuine.headers, bytes(body), genuine.received_at))

    @rule(number=numbers)
    def callback_at_the_wrong_door(self, number: str) -> None:
        """I-4, I-5: money paid to one merchant's order pays nothing at another merchant's account."""
        before = rows_of(Charge, merchant_id=self.stranger.id)
        with suppress(UnknownPayment):  # Of a success the money is booked there, for a person.
            inbox.receive(accounts.open_account(self.stranger.account_id), self.far.notice(number))
        assert rows_of(Charge, merchant_id=self.stranger.id) == before

    @rule()
    def their_number_at_our_door(self) -> None:
        with pytest.raises(UnknownPayment):
            inbox.receive(accounts.open_account(self.shop.account_id), self.far.notice(self.their_number))

    @rule(charge=charges)
    def shopper_waits(self, charge: str) -> None:
        """The page polls; a paid attempt is found without any callback."""
        with suppress(Death):
            attempts.ask_if_due(self.shop.id, charge)

    @rule(charge=charges)
    def cancel(self, charge: str) -> None:
        with suppress(Conflict, ProviderUnreachable, Death):
            lifecycle.cancel_charge(self.shop.id, charge)

    @rule()
    def worker_ticks(self) -> None:
        self._tick()

    @rule(span=st.sampled_from([1, 4, 30, 90, 400, 3600, 7300, 90_000]))
    def time_passes(self, span: int) -> None:
        self.offset += timedelta(seconds=span)

    @rule(is_down=st.booleans())
    def provider_comes_and_goes(self, is_down: bool) -> None:
        self.far.is_down = is_down

    @rule()
    def next_answer_is_lost(self) -> None:
        self.far.answers_lost = 1

    @rule()
    def process_dies_at_the_next_call(self) -> None:
        self.far.kills_caller = True

    @rule(refuses=st.booleans())
    def refunds_are_refused_for_a_while(self, refuses: bool) -> None:
        self.far.refuses_refunds = refuses

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "shop"):
            return
        self.books = Books(self.shop.id)
        for charge in self.books.charges:
            self._check_charge(charge)
        known = {attempt.out_trade_no for attempt in self.books.attempts}
        assert set(self.far.trades) - {self.their_number} <= known, "I-15: no order without a stored intent"
        self._check_events()

    def teardown(self) -> None:
        """I-45: the world calms down, and every fen is accounted for."""
        try:
            if hasattr(self, "shop"):
                self._calm_down()
                self.books_are_right()
                self._account_for_all_money()
        finally:
            clock.now = _REAL_NOW

    def _check_charge(self, charge: Any) -> None:
        types = self.books.types(charge.id)
        tries = [attempt for attempt in self.books.attempts if attempt.charge_id == charge.id]
        settling = [attempt for attempt in tries if attempt.settles]
        paid = charge.state == ChargeState.PAID
        assert len(settling) == types.count("charge.paid") == int(paid), "I-1, I-2"
        assert charge.sequence == len(types), "I-32, I-39"
        if paid:
            assert settling[0].id == charge.paid_attempt_id
            assert settling[0].received_minor == charge.amount_minor, "I-4"
            assert types.count("charge.paid_late") == int(charge.paid_late), "I-11"
        before = self.last.get(charge.id)
        if before is not None and before != charge.state:
            assert before in (ChargeState.PENDING, ChargeState.EXPIRED), "I-9: paid and canceled are final"
            assert charge.state == ChargeState.PAID or before == ChargeState.PENDING, "I-9"
        self.last[charge.id] = charge.state
        just_closed = before != charge.state and charge.state in (ChargeState.EXPIRED, ChargeState.CANCELED)
        for attempt in tries:
            self._check_attempt(attempt, just_closed=just_closed)

    def _check_attempt(self, attempt: Any, *, just_closed: bool) -> None:
        trade = self.far.trades.get(attempt.out_trade_no)
        if attempt.state in (AttemptState.SUCCEEDED, AttemptState.MISMATCHED):
            assert trade is not None, "I-3: only proof moves money state"
            assert trade.paid is not None, "I-3"
            assert trade.paid.minor == attempt.received_minor
        elif just_closed and attempt.state == AttemptState.STARTED:
            assert trade is None or trade.paid is None, "I-16: closed only when its provider says not paid"
        alarms = [row for row in self.books.incidents if row.subject_id == attempt.id]
        assert len(alarms) == int(attempt.state == AttemptState.MISMATCHED), "I-7"
        given_back = [row for row in self.books.refunds if row.attempt_id == attempt.id]
        unneeded = attempt.state == AttemptState.SUCCEEDED and not attempt.settles
        assert len(given_back) == int(unneeded), "I-12"
        for refund in given_back:
            assert refund.out_refund_no == f"DUP{attempt.out_trade_no}"
            assert refund.amount_minor == attempt.received_minor
            reserved = 0 if refund.state == RefundState.FAILED else refund.amount_minor
            assert attempt.refunded_minor == reserved, "I-19, I-21"

    def _check_events(self) -> None:
        for event in self.books.events:
            assert self.bodies.setdefault(event.id, event.body) == event.body, "I-34: frozen at commit"
        deliveries = sorted(row.event_id for row in self.books.deliveries)
        assert deliveries == [row.id for row in self.books.events], "I-33: one for each event and endpoint"

    def _receive(self, shop: Shop, inbound: Inbound) -> None:
        inbox.receive(accounts.open_account(shop.account_id), inbound)

    def _tick(self) -> None:
        """What the worker does in one round, dying where the world says so."""
        for kind, handle in HANDLERS.items():
            with transaction() as tx:
                claims = queue.claim(tx, kind, limit=20, lease=LEASE)
            for claim in claims:
                try:
                    handle(claim)
                except Death:
                    return  # the claimed jobs come back when their lease ends

    def _calm_down(self) -> None:
        self.far.is_down = self.far.kills_caller = self.far.refuses_refunds = False
        self.far.answers_lost = 0
        for _ in range(60):
            with transaction() as tx:
                left = tx.execute(
                    sa.select(Job.due_at).where(Job.merchant_id == self.shop.id, Job.kind != Kind.DELIVER)
                ).all()
            if not left:
                return
            due: datetime = min(row.due_at for row in left)
            self.offset += max(due - clock.now(), timedelta()) + timedelta(seconds=1)
            self._tick()
        raise AssertionError(f"I-45: still {len(left)} jobs")

    def _account_for_all_money(self) -> None:
        """Money in = credited + given back + held with an incident (I-11, I-12, I-7)."""
        for attempt in rows_of(Attempt, merchant_id=self.shop.id):
            trade = self.far.trades.get(attempt.out_trade_no)
            if trade is None or trade.paid is None:
                assert attempt.state in (AttemptState.CLOSED, AttemptState.FAILED)
                continue
            back = sum(refund.minor for refund in trade.refunds.values())
            refused = any(row.state == RefundState.FAILED for row in rows_of(Refund, attempt_id=attempt.id))
            if attempt.settles:
                assert (back, trade.paid.minor) == (0, attempt.amount_minor)
            elif attempt.state == AttemptState.SUCCEEDED:
                assert refused or back == trade.paid.minor
            else:
                assert attempt.state in (AttemptState.MISMATCHED, AttemptState.CLOSED)
                if attempt.state == AttemptState.CLOSED:  # paid after the last time anybody asked
                    self._receive(self.shop, self.far.notice(attempt.out_trade_no))
                    assert rows_of(Attempt, id=attempt.id)[0].state != AttemptState.CLOSED


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> type[World]:
    def install(far: MortalFarSide) -> None:
        app.extensions["mafu.runtime"] = replace(app.extensions["mafu.runtime"], outbound=far, adapters={})

    monkeypatch.setattr(World, "app", app, raising=False)
    monkeypatch.setattr(World, "install", staticmethod(install), raising=False)
    monkeypatch.setattr(clock, "now", clock.now)
    return World


def test_whatever_happens_the_books_stay_right(world: type[World]) -> None:
    """A few hundred steps for each database; ``make prove-story`` tells thousands of worlds."""
    run_state_machine_as_test(
        world,
        settings=settings(
            max_examples=int(os.environ.get("STORY_ROUNDS", "20")),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
