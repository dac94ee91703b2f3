"""What every provider adapter must do, whoever the network is.

A provider's test class inherits ``ProviderContract``, names its adapter, says which outcomes its
network can express, and brings a ``Forge``: the network's own signer, written apart from the adapter.
``Wire`` stands where the HTTP client stands and gives the answers that the forge made, in order.

    class TestAlipay(ProviderContract):
        adapter = Alipay
        callback_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.CLOSED)
        ...
        @pytest.fixture(scope="class")
        @classmethod
        def forge(cls) -> AlipayForge:
            return AlipayForge()
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import clock
from app.errors import InvalidRequest, NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers import REGISTRY
from app.providers.base import (
    AppParams,
    BillLine,
    CallBridge,
    CodeOrder,
    HttpAnswer,
    Inbound,
    NextStep,
    Outcome,
    PaymentOrder,
    PaymentRef,
    PaymentResult,
    Provider,
    RefundOrder,
    RefundResult,
    Scene,
    StatementLine,
)

NOW = datetime(2024, 1, 15, 2, 0, 0, tzinfo=UTC)  # the moment of the known-answer vectors
DAY = date(2024, 1, 15)
CNY = "CNY"
PRICE = Money(1999, CNY)
AMOUNTS = (Money(1, CNY), Money(99, CNY), Money(100, CNY), Money(10_000_000_000, CNY))
UNKNOWN_WORD = "A_WORD_FROM_THE_FUTURE"


class Verb(StrEnum):
    """The calls that go out."""

    START = "start"
    QUERY = "query"
    CLOSE = "close"
    CHARGE_CODE = "charge_code"
    REVERSE = "reverse"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"
    STATEMENT = "statement"


@dataclass(frozen=True)
class Sent:
    """One request as the adapter handed it to the HTTP client."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """An ``Outbound`` that records what is sent and gives prepared answers in order.

    An exception among the answers is raised in its place.  A call too many fails the test.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answers: deque[HttpAnswer | Exception] = deque()

    def clear(self) -> None:
        """Forget everything."""
        self.sent.clear()
        self.answers.clear()

    def gives(self, *answers: HttpAnswer | Exception) -> None:
        """Prepare answers, after those not used yet."""
        self.answers.extend(answers)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        self.sent.append(Sent(method, url, dict(headers or {}), body))
        assert self.answers, f"the adapter called out more often than expected: {method} {url}"
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        assert len(answer.body) <= answer_max_bytes
        return answer


class Forge(Protocol):
    """The far side's signer for one account.  Lists of answers are what one verb gets, in order.

    Times come from ``clock.now()`` where the scheme has them, so that moving the clock ages a message.
    """

    settings: Mapping[str, str]  # the credentials of the account under test
    secrets: tuple[str, ...]  # texts that must show up nowhere
    pay_code: str  # a code as the network's wallet shows them

    def callback(
        self,
        out_trade_no: str,
        outcome: Outcome,
        amount: Money,
        *,
        status: str | None = None,  # a status word instead of the outcome's own
        stranger: bool = False,  # signed well, but for another merchant's account
    ) -> Inbound:
        """A notification about a payment."""
        ...

    def refund_callback(self, order: RefundOrder, outcome: Outcome) -> Inbound | None:
        """A notification about a refund; None if the network sends none for this outcome."""
        ...

    def started(self, order: PaymentOrder) -> list[HttpAnswer]:
        """What ``start`` gets for an order that is accepted; empty if the scene needs no call."""
        ...

    def started_again(self, order: PaymentOrder) -> list[HttpAnswer]:
        """What ``start`` gets for the same order once more; empty if the scene needs no call."""
        ...

    def queried(
        self, ref: PaymentRef, outcome: Outcome, amount: Money, *, status: str | None = None
    ) -> list[HttpAnswer]:
        """What ``query`` gets."""
        ...

    def closed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        """What ``close`` gets for an unpaid payment; ``again``: for one that is closed already."""
        ...

    def coded(self, order: CodeOrder, outcome: Outcome) -> list[HttpAnswer]:
        """What ``charge_code`` gets: PENDING, the shopper is asked in the wallet, or SUCCEEDED."""
        ...

    def reversed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        """What ``reverse`` gets; ``again``: for one that is reversed already."""
        ...

    def undone(self, ref: PaymentRef, amount: Money, *, paid: bool) -> list[HttpAnswer]:
        """What ``query`` gets after a reversal, of one that had been paid or had not."""
        ...

    def refunded(self, order: RefundOrder, outcome: Outcome) -> list[HttpAnswer]:
        """What ``refund`` gets, including any query that follows."""
        ...

    def refund_queried(
        self, order: RefundOrder, outcome: Outcome, *, status: str | None = None
    ) -> list[HttpAnswer]:
        """What ``query_refund`` gets."""
        ...

    def declined(self, verb: Verb) -> list[HttpAnswer]:
        """A definite, believable no; for CLOSE: because it is paid."""
        ...

    def statement(self, day: date, lines: Sequence[StatementLine]) -> list[HttpAnswer]:
        """What ``statement`` gets: the bill with these lines."""
        ...


class ProviderContract:
    """Inherited once per provider; nothing in here knows a network."""

    adapter: ClassVar[type[Provider]]
    start_scene: ClassVar[Scene] = Scene.DESKTOP  # a scene whose start calls out
    callback_outcomes: ClassVar[tuple[Outcome, ...]] = (Outcome.SUCCEEDED,)
    query_outcomes: ClassVar[tuple[Outcome, ...]] = tuple(Outcome)
    refund_outcomes: ClassVar[tuple[Outcome, ...]] = (Outcome.PENDING, Outcome.SUCCEEDED)
    callback_max_age_s: ClassVar[int | None] = None  # None: the scheme has no time to trust
    signed_anew: ClassVar[frozenset[str]] = frozenset()  # what differs in a step that is asked for again
    statement_lines: ClassVar[tuple[StatementLine, ...]]  # STATEMENT below, or as this network's bill says it
    accepted_reply: ClassVar[tuple[int, bytes]]
    refused_reply: ClassVar[tuple[int, bytes]]

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> Forge:
        raise NotImplementedError("each provider brings its forge")

    @pytest.fixture(scope="class")
    @classmethod
    def reader(cls, forge: Forge) -> Provider:
        """An adapter that is only asked to read: any call out fails the test."""
        return cls.adapter(forge.settings, Wire())

    @pytest.fixture(autouse=True)
    def _stopped_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clock, "now", lambda: NOW)

    @pytest.fixture(scope="class")
    @classmethod
    def line(cls) -> Wire:
        return Wire()

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls, forge: Forge, line: Wire) -> Provider:
        """One adapter for the class: it is stateless, and reading its keys takes 35 ms."""
        return cls.adapter(forge.settings, line)

    @pytest.fixture
    def wire(self, line: Wire) -> Wire:
        """The provider's line, as new."""
        line.clear()
        return line

    # What it says of itself

    def test_it_is_in_the_registry_under_its_own_code(self) -> None:
        assert REGISTRY[self.adapter.info.code] is self.adapter

    def test_its_credentials_have_distinct_names_and_secrets_no_default(self) -> None:
        names = [credential.name for credential in self.adapter.credentials]
        assert len(names) == len(set(names))
        assert not [c for c in self.adapter.credentials if c.secret and c.default]

    def test_each_required_credential_is_missed_by_name(self, forge: Forge) -> None:
        for credential in self.adapter.credentials:
            if not credential.required or credential.default:
                continue
            broken = {k: v for k, v in forge.settings.items() if k != credential.name}
            with pytest.raises(InvalidRequest) as refused:
                self.adapter(broken, Wire())
            assert refused.value.param == credential.name

    def test_a_secret_credential_that_cannot_be_used_is_refused_unshown(self, forge: Forge) -> None:
        for credential in self.adapter.credentials:
            if not credential.secret or credential.name not in forge.settings:
                continue
            with pytest.raises(InvalidRequest) as refused:
                self.adapter({**forge.settings, credential.name: "not a key"}, Wire())
            assert refused.value.param == credential.name
            assert "not a key" not in str(refused.value)

    # Starting

    @pytest.mark.parametrize("scene", list(Scene))
    def test_start_serves_each_declared_scene_and_refuses_the_others(
        self, scene: Scene, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        asked = order(scene)
        if scene not in self.adapter.info.scenes:
            with pytest.raises(ProviderRejected):
                provider.start(asked)
            assert not wire.sent
            return
        wire.gives(*forge.started(asked))
        assert isinstance(provider.start(asked), NextStep)
        assert not wire.answers

    def test_start_sends_our_number_and_the_callback_address(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        asked = order(self.start_scene)
        wire.gives(*forge.started(asked))
        provider.start(asked)
        sent = wire.sent[0].url.encode() + wire.sent[0].body
        assert asked.ref.out_trade_no.encode() in sent
        assert b"callbacks" in sent

    def test_the_same_order_again_gives_the_same_step_or_its_number_is_taken(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        for scene in sorted(self.adapter.info.scenes):
            asked = order(scene)
            wire.gives(*forge.started(asked))
            first = provider.start(asked)
            wire.gives(*forge.started_again(asked))
            try:
                again = provider.start(asked)
            except NumberTaken:
                assert not wire.answers
                continue
            assert self._core(again) == self._core(first)
            assert not wire.answers

    def test_a_step_is_good_for_less_when_it_is_asked_for_later_and_then_its_number_is_taken(
        self, provider: Provider, wire: Wire, forge: Forge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An order that is sent again may get the handle that it had before; a signature is made anew."""
        for scene in sorted(self.adapter.info.scenes):
            asked = replace(order(scene), expires_at=NOW + timedelta(days=1))

            def good_for_s(age_s: int, asked: PaymentOrder = asked) -> int | None:
                monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(seconds=age_s))
                wire.clear()
                wire.gives(*forge.started(asked))
                return provider.start(replace(asked, asked_at=clock.now())).good_for_s

            first = good_for_s(0)
            if first is None:  # as long as the order itself
                continue
            assert 0 < first < 2 * 3600
            later = good_for_s(120)
            if not wire.sent and later == first:  # signed afresh: there is nothing to run out
                continue
            assert later == first - 120
            assert good_for_s(first - 1) == 1
            with pytest.raises(NumberTaken):
                good_for_s(first)
            assert not wire.sent

    def test_start_refuses_a_currency_it_does_not_name(self, provider: Provider, wire: Wire) -> None:
        assert "JPY" not in self.adapter.info.currencies
        with pytest.raises(ProviderRejected):
            provider.start(replace(order(self.start_scene), amount=Money(1999, "JPY")))
        assert not wire.sent

    def test_identify_answers_for_each_declared_scene(self, provider: Provider) -> None:
        for scene in self.adapter.info.scenes:
            address = provider.identify(scene, "https://pay.example/return", "state0123456789")
            assert address is None or (address.startswith("http") and "state0123456789" in address)

    def test_a_return_without_the_networks_word_names_nobody(self, provider: Provider, wire: Wire) -> None:
        with pytest.raises(ProviderRejected):
            provider.payer_from({"state": "state0123456789"})
        assert not wire.sent

    # Asking

    def test_query_reads_every_outcome(self, provider: Provider, wire: Wire, forge: Forge) -> None:
        for outcome in self.query_outcomes:
            wire.gives(*forge.queried(REF, outcome, PRICE))
            result = provider.query(REF)
            assert (result.out_trade_no, result.outcome) == (REF.out_trade_no, outcome)
            if outcome is Outcome.SUCCEEDED:
                assert result.amount == PRICE
                assert result.provider_ref
                assert result.paid_at is not None
                assert result.paid_at.tzinfo is not None

    def test_an_unknown_status_in_a_query_is_pending_and_logged(
        self, provider: Provider, wire: Wire, forge: Forge, caplog: pytest.LogCaptureFixture
    ) -> None:
        wire.gives(*forge.queried(REF, Outcome.SUCCEEDED, PRICE, status=UNKNOWN_WORD))
        with caplog.at_level(logging.WARNING):
            assert provider.query(REF).outcome is Outcome.PENDING
        assert [record for record in caplog.records if record.levelno == logging.WARNING]

    @pytest.mark.parametrize("amount", AMOUNTS, ids=str)
    def test_amounts_survive_a_query(
        self, amount: Money, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        wire.gives(*forge.queried(REF, Outcome.SUCCEEDED, amount))
        assert provider.query(REF).amount == amount

    def test_an_answer_about_another_payment_is_not_believed(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        other = replace(REF, out_trade_no="ANOTHER000000000001")
        wire.gives(*forge.queried(other, Outcome.SUCCEEDED, PRICE))
        with pytest.raises(ProviderUnreachable):
            provider.query(REF)

    # Closing

    def test_an_unpaid_payment_closes_and_a_second_close_is_harmless(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        wire.gives(*forge.closed(REF))
        provider.close(REF)
        wire.gives(*forge.closed(REF, again=True))
        provider.close(REF)
        assert not wire.answers

    # Payment codes

    def test_its_codes_look_like_no_other_networks(self, forge: Forge) -> None:
        assert re.fullmatch(self.adapter.info.pay_code, forge.pay_code)
        others = [each.info.pay_code for each in REGISTRY.values() if each is not self.adapter]
        assert not [other for other in others if re.fullmatch(other, forge.pay_code)]
        for wrong in (forge.pay_code[:-3], f"{forge.pay_code}{'0' * 10}", f"9{forge.pay_code[1:]}"):
            assert not re.fullmatch(self.adapter.info.pay_code, wrong)

    def test_a_code_is_charged_or_its_owner_asked(self, provider: Provider, wire: Wire, forge: Forge) -> None:
        for outcome in (Outcome.PENDING, Outcome.SUCCEEDED):
            wire.clear()
            wire.gives(*forge.coded(code_order(forge), outcome))
            result = provider.charge_code(code_order(forge))
            assert not wire.answers
            assert (result.out_trade_no, result.outcome) == (REF.out_trade_no, outcome)
            assert not result.is_undone
            if outcome is Outcome.SUCCEEDED:
                assert (result.amount, bool(result.provider_ref)) == (PRICE, True)
                assert result.paid_at is not None
            sent = unquote(wire.sent[0].url) + unquote(wire.sent[0].body.decode())
            for text in (forge.pay_code, REF.out_trade_no, "TILL0007"):
                assert text in sent

    def test_a_code_for_another_payment_is_not_believed(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        other = replace(code_order(forge), ref=replace(REF, out_trade_no="ANOTHER000000000001"))
        wire.gives(*forge.coded(other, Outcome.SUCCEEDED))
        with pytest.raises(ProviderUnreachable):
            provider.charge_code(code_order(forge))

    def test_no_other_currency_is_taken_by_code(self, provider: Provider, wire: Wire, forge: Forge) -> None:
        with pytest.raises(ProviderRejected):
            provider.charge_code(replace(code_order(forge), amount=Money(1999, "JPY")))
        assert not wire.sent

    def test_a_payment_by_code_is_reversed_once_and_again(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        for again in (False, True):
            wire.gives(*forge.reversed(REF, again=again))
            provider.reverse(REF)
            assert not wire.answers

    def test_after_a_reversal_nothing_is_left_of_it(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        for paid in (False, True):
            wire.gives(*forge.undone(REF, PRICE, paid=paid))
            result = provider.query(REF)
            assert result.is_undone
            # Money that a network still speaks of is money that has gone back.
            assert result.outcome in (Outcome.CLOSED, Outcome.FAILED) or (paid and result.amount == PRICE)

    # Refunding

    def test_a_refund_and_its_query_read_every_outcome(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        for outcome in self.refund_outcomes:
            wire.gives(*forge.refunded(REFUND, outcome))
            first = provider.refund(REFUND)
            wire.gives(*forge.refund_queried(REFUND, outcome))
            later = provider.query_refund(REFUND)
            assert not wire.answers
            for result in (first, later):
                assert (result.out_trade_no, result.out_refund_no) == (REF.out_trade_no, REFUND.out_refund_no)
            assert later.outcome is outcome
            # A network may accept a refund first and decide later; it must not claim more than it said.
            assert first.outcome in (outcome, Outcome.PENDING)
            if outcome is Outcome.SUCCEEDED:
                assert later.amount == REFUND.amount
            if outcome is not Outcome.PENDING:
                assert not later.is_absent

    def test_an_unknown_refund_status_is_pending_and_logged(
        self, provider: Provider, wire: Wire, forge: Forge, caplog: pytest.LogCaptureFixture
    ) -> None:
        wire.gives(*forge.refund_queried(REFUND, Outcome.SUCCEEDED, status=UNKNOWN_WORD))
        with caplog.at_level(logging.WARNING):
            later = provider.query_refund(REFUND)
        # It is there, whatever the word means: sending it again would be a guess.
        assert (later.outcome, later.is_absent) == (Outcome.PENDING, False)
        assert [record for record in caplog.records if record.levelno == logging.WARNING]

    def test_a_repeated_refund_carries_the_same_number(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        for _ in range(2):
            before = len(wire.sent)
            wire.gives(*forge.refunded(REFUND, Outcome.SUCCEEDED))
            provider.refund(REFUND)
            sent = wire.sent[before]
            assert REFUND.out_refund_no.encode() in sent.url.encode() + sent.body

    # When the far side fails

    @pytest.mark.parametrize("verb", list(Verb))
    def test_no_answer_means_outcome_unknown(
        self, verb: Verb, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        wire.gives(ProviderUnreachable("timed out"))
        with pytest.raises(ProviderUnreachable):
            act(provider, verb, self.start_scene, forge.pay_code)

    @pytest.mark.parametrize("verb", list(Verb))
    @pytest.mark.parametrize(
        "answer",
        [
            HttpAnswer(500, {}, b""),
            HttpAnswer(502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>"),
            HttpAnswer(200, {}, b""),
            HttpAnswer(200, {"content-type": "text/html"}, b"<html>sign in to the hotel</html>"),
            HttpAnswer(200, {}, b"\xff\xfe\x00garbage"),
            HttpAnswer(200, {"content-type": "application/json"}, b"{}"),
            HttpAnswer(200, {"content-type": "application/json"}, b"[" * 100_000),
            HttpAnswer(200, {"content-type": "application/json"}, b'{"a":' * 100_000),
        ],
        ids=["500", "502", "empty", "captive portal", "bytes", "empty object", "deep list", "deep object"],
    )
    def test_garbage_means_outcome_unknown(
        self, verb: Verb, answer: HttpAnswer, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        wire.gives(answer)
        with pytest.raises(ProviderUnreachable):
            act(provider, verb, self.start_scene, forge.pay_code)

    @pytest.mark.parametrize(
        "verb", [Verb.START, Verb.CLOSE, Verb.CHARGE_CODE, Verb.REVERSE, Verb.REFUND, Verb.STATEMENT]
    )
    def test_a_definite_no_is_rejected_with_the_networks_word(
        self, verb: Verb, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        wire.gives(*forge.declined(verb))
        with pytest.raises(ProviderRejected) as refused:
            act(provider, verb, self.start_scene, forge.pay_code)
        assert refused.value.provider_code
        assert refused.value.detail.isascii()

    @pytest.mark.parametrize("verb", [each for each in Verb if each is not Verb.STATEMENT])
    def test_an_answer_with_a_changed_byte_is_never_believed(
        self, verb: Verb, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        """About forty places over the body; the harmless ones (in blanks, say) give the same result."""
        genuine = self._answers(forge, verb)
        wire.gives(*genuine)
        truth = act(provider, verb, self.start_scene, forge.pay_code)
        body = genuine[0].body
        for place in range(0, len(body), max(1, len(body) // 40)):
            wire.answers.clear()
            wire.gives(replace(genuine[0], body=flipped(body, place, 1)), *genuine[1:], *genuine)
            try:
                told = act(provider, verb, self.start_scene, forge.pay_code)
            except ProviderUnreachable:
                continue
            # Of a code that was accepted it may be known less, and never more.
            assert told == truth or (verb is Verb.CHARGE_CODE and told.outcome is Outcome.PENDING)

    # Notifications

    def test_a_callback_tells_every_outcome(self, reader: Provider, forge: Forge) -> None:
        for outcome in self.callback_outcomes:
            result = reader.read_callback(forge.callback(REF.out_trade_no, outcome, PRICE))
            assert isinstance(result, PaymentResult)
            assert (result.out_trade_no, result.outcome) == (REF.out_trade_no, outcome)
            if outcome is Outcome.SUCCEEDED:
                assert result.amount == PRICE
                assert result.provider_ref
                assert result.paid_at is not None

    @pytest.mark.parametrize("amount", AMOUNTS, ids=str)
    def test_amounts_survive_a_callback(self, amount: Money, reader: Provider, forge: Forge) -> None:
        result = reader.read_callback(forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, amount))
        assert result.amount == amount

    def test_a_refund_callback_names_the_refund(self, reader: Provider, forge: Forge) -> None:
        for outcome in self.refund_outcomes:
            inbound = forge.refund_callback(REFUND, outcome)
            if inbound is None:
                continue
            result = reader.read_callback(inbound)
            assert isinstance(result, RefundResult)
            assert (result.out_trade_no, result.out_refund_no) == (REF.out_trade_no, REFUND.out_refund_no)
            assert result.outcome is outcome
            assert result.amount in (None, REFUND.amount)

    def test_an_unknown_status_in_a_callback_is_pending_and_logged(
        self, reader: Provider, forge: Forge, caplog: pytest.LogCaptureFixture
    ) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE, status=UNKNOWN_WORD)
        with caplog.at_level(logging.WARNING):
            assert reader.read_callback(inbound).outcome is Outcome.PENDING
        assert [record for record in caplog.records if record.levelno == logging.WARNING]

    def test_another_merchants_callback_is_refused(self, reader: Provider, forge: Forge) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE, stranger=True)
        with pytest.raises(SignatureMismatch):
            reader.read_callback(inbound)

    def test_a_callback_is_read_without_a_call(self, provider: Provider, wire: Wire, forge: Forge) -> None:
        provider.read_callback(forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE))
        assert not wire.sent

    def test_a_callback_reads_the_same_twice(self, reader: Provider, forge: Forge) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        assert reader.read_callback(inbound) == reader.read_callback(inbound)

    def test_a_callback_too_old_or_too_new_is_refused_where_the_scheme_has_a_time(
        self, reader: Provider, forge: Forge
    ) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        if self.callback_max_age_s is None:  # no time to trust: a late one is read, settle makes it harmless
            late = replace(inbound, received_at=NOW + timedelta(days=1))
            assert reader.read_callback(late) == reader.read_callback(inbound)
            return
        for age_s in (self.callback_max_age_s + 1, -self.callback_max_age_s - 1):
            stale = replace(inbound, received_at=NOW + timedelta(seconds=age_s))
            with pytest.raises(SignatureMismatch):
                reader.read_callback(stale)
        fresh = replace(inbound, received_at=NOW + timedelta(seconds=self.callback_max_age_s - 1))
        assert reader.read_callback(fresh).outcome is Outcome.SUCCEEDED

    def test_every_single_changed_byte_is_refused_or_harmless(self, reader: Provider, forge: Forge) -> None:
        """Every place of one body once; hypothesis below tries other changes."""
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        truth = reader.read_callback(inbound)
        for place in range(len(inbound.body)):
            assert self._read(reader, inbound, flipped(inbound.body, place, 1)) in (None, truth)

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_any_changed_byte_is_refused_or_harmless(
        self, reader: Provider, forge: Forge, data: st.DataObject
    ) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        place = data.draw(st.integers(0, len(inbound.body) - 1))
        bits = data.draw(st.integers(1, 255))
        truth = reader.read_callback(inbound)
        assert self._read(reader, inbound, flipped(inbound.body, place, bits)) in (None, truth)

    def test_a_callback_cut_short_or_lengthened_is_refused_or_harmless(
        self, reader: Provider, forge: Forge
    ) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        truth = reader.read_callback(inbound)
        for keep in range(0, len(inbound.body), 7):
            assert self._read(reader, inbound, inbound.body[:keep]) in (None, truth)
        for tail in (b"&", b"&a=b", b"&amp;", b"}", b" ", b"\x00", b"\r\n"):
            assert self._read(reader, inbound, inbound.body + tail) in (None, truth)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(body=st.binary(max_size=400))
    def test_any_bytes_are_refused_as_unsigned(self, reader: Provider, forge: Forge, body: bytes) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        assert self._read(reader, inbound, body) is None

    def test_a_callback_without_headers_or_of_absurd_size_is_refused_or_harmless(
        self, reader: Provider, forge: Forge
    ) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        truth = reader.read_callback(inbound)
        try:
            assert reader.read_callback(replace(inbound, headers={})) == truth
        except SignatureMismatch:
            pass
        assert self._read(reader, inbound, b"a=" + b"b" * (1 << 20)) is None

    def test_an_added_query_string_changes_nothing(self, reader: Provider, forge: Forge) -> None:
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        truth = reader.read_callback(inbound)
        assert reader.read_callback(replace(inbound, query="total_amount=0.01&txnAmt=1")) == truth

    def test_the_reply_is_exactly_what_the_manual_says(self, reader: Provider) -> None:
        for accepted, wanted in ((True, self.accepted_reply), (False, self.refused_reply)):
            reply = reader.reply(accepted)
            assert (reply.status, reply.body) == wanted

    # The bill

    def test_a_statement_tells_payments_and_refunds_with_their_signs(
        self, provider: Provider, wire: Wire, forge: Forge
    ) -> None:
        wire.gives(*forge.statement(DAY, self.statement_lines))
        read = bill_of(provider)
        assert not wire.answers
        assert [replace(line, raw={}, number=0) for line in read] == list(self.statement_lines)

    # Discretion

    def test_no_secret_is_shown_or_logged(
        self, provider: Provider, wire: Wire, forge: Forge, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = [repr(provider), str(provider)]
        with caplog.at_level(logging.DEBUG):
            for verb in Verb:
                wire.answers.clear()
                wire.gives(HttpAnswer(200, {}, b"garbage"))
                said.append(str(refusal_of(lambda verb=verb: self._act(provider, verb, forge))))
            for verb in (Verb.START, Verb.CLOSE, Verb.CHARGE_CODE, Verb.REFUND):
                wire.answers.clear()
                wire.gives(*forge.declined(verb))
                said.append(str(refusal_of(lambda verb=verb: self._act(provider, verb, forge))))
            said.append(repr(code_order(forge)))
            inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE, stranger=True)
            said.append(str(refusal_of(lambda: provider.read_callback(inbound))))
        said += [str(vars(record)) for record in caplog.records]
        assert forge.secrets
        for secret in (*forge.secrets, forge.pay_code):
            assert len(secret) >= 8
            assert not [text for text in said if secret in text]

    def _act(self, provider: Provider, verb: Verb, forge: Forge) -> Any:
        return act(provider, verb, self.start_scene, forge.pay_code)

    def _read(self, reader: Provider, inbound: Inbound, body: bytes) -> PaymentResult | RefundResult | None:
        """The result, or None when refused; any other exception fails the test."""
        try:
            return reader.read_callback(replace(inbound, body=body))
        except SignatureMismatch:
            return None

    def _core(self, step: NextStep) -> NextStep | dict[str, str]:
        """A step without what is made anew each time: its time, a nonce, their signature."""
        if isinstance(step, CallBridge | AppParams):
            return {name: text for name, text in step.params.items() if name not in self.signed_anew}
        return replace(step, good_for_s=None)

    def _answers(self, forge: Forge, verb: Verb) -> list[HttpAnswer]:
        return {
            Verb.START: lambda: forge.started(order(self.start_scene)),
            Verb.QUERY: lambda: forge.queried(REF, Outcome.SUCCEEDED, PRICE),
            Verb.CLOSE: lambda: forge.closed(REF),
            Verb.CHARGE_CODE: lambda: forge.coded(code_order(forge), Outcome.SUCCEEDED),
            Verb.REVERSE: lambda: forge.reversed(REF),
            Verb.REFUND: lambda: forge.refunded(REFUND, Outcome.SUCCEEDED),
            Verb.QUERY_REFUND: lambda: forge.refund_queried(REFUND, Outcome.SUCCEEDED),
        }[verb]()


REF = PaymentRef(out_trade_no="20240115100000000001", started_at=NOW, provider_ref="202401152200140000001")
REFUND = RefundOrder(
    payment=REF,
    out_refund_no="R20240115100500000001",
    amount=Money(500, CNY),
    paid=PRICE,
    reason="正常退款",
    started_at=NOW,
    notify_url="https://pay.example/callbacks/pa_1",
)
STATEMENT = (
    StatementLine(
        kind="payment",
        out_trade_no=REF.out_trade_no,
        provider_ref="202401152200140000001",
        amount=PRICE,
        fee=Money(-12, CNY),
        happened_at=datetime(2024, 1, 15, 2, 0, 30, tzinfo=UTC),
    ),
    StatementLine(
        kind="refund",
        out_trade_no=REF.out_trade_no,
        provider_ref="202401152200140000001",
        amount=Money(-500, CNY),
        fee=Money(3, CNY),
        happened_at=datetime(2024, 1, 15, 2, 5, 1, tzinfo=UTC),
        out_refund_no=REFUND.out_refund_no,
    ),
)


def order(scene: Scene) -> PaymentOrder:
    """An order of 19.99 yuan that expires in a quarter of an hour."""
    return PaymentOrder(
        ref=replace(REF, provider_ref=None),
        amount=PRICE,
        description="测试商品 A+B",
        scene=scene,
        notify_url="https://pay.example/callbacks/pa_1",
        return_url="https://pay.example/return",
        expires_at=NOW + timedelta(minutes=15),
        payer_id="payer-0001",
        payer_ip="203.0.113.7",
    )


def code_order(forge: Forge) -> CodeOrder:
    """An order of the same 19.99 yuan, of a shopper who shows a code at till 7."""
    return CodeOrder(
        ref=replace(REF, provider_ref=None),
        amount=PRICE,
        description="测试商品 A+B",
        code=forge.pay_code,
        device_id="TILL0007",
        device_ip="203.0.113.8",
        notify_url="https://pay.example/callbacks/pa_1",
        expires_at=NOW + timedelta(minutes=2),
    )


def act(provider: Provider, verb: Verb, scene: Scene, code: str = "") -> Any:
    """Do one verb as the platform would."""
    match verb:
        case Verb.START:
            return provider.start(order(scene))
        case Verb.QUERY:
            return provider.query(REF)
        case Verb.CLOSE:
            return provider.close(REF)
        case Verb.CHARGE_CODE:
            return provider.charge_code(CodeOrder(REF, PRICE, "x", code, "TILL0007", "::1", "http://x", NOW))
        case Verb.REVERSE:
            return provider.reverse(REF)
        case Verb.REFUND:
            return provider.refund(REFUND)
        case Verb.QUERY_REFUND:
            return provider.query_refund(REFUND)
        case Verb.STATEMENT:
            return bill_of(provider)


def bill_of(provider: Provider, day: date = DAY) -> list[BillLine]:
    """Fetched, and read to its end."""
    return list(provider.read_bill(provider.fetch_bill(day), day))


def flipped(body: bytes, place: int, bits: int) -> bytes:
    """The body with some bits of one byte turned over."""
    return body[:place] + bytes([body[place] ^ bits]) + body[place + 1 :]


def refusal_of(call: Callable[[], object]) -> Exception:
    """The refusal that a call must end in."""
    with pytest.raises((ProviderRejected, ProviderUnreachable, SignatureMismatch)) as refused:
        call()
    return refused.value
