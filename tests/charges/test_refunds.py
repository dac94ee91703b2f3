"""Money going back: never more than came in, whoever asks, however often, and whatever the provider says."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.charges import refunds
from app.charges.models import Attempt, Incident, Refund
from app.charges.refunds import Reservation
from app.charges.states import RefundState
from app.db import reading, transaction
from app.errors import Conflict, NotFound, UnknownPayment
from app.merchants.actor import ALL, Actor
from app.money import Money
from app.providers.base import Outcome, RefundResult
from app.queue import Job, Kind
from tests.books import charge_of, event_types, make_paid, refund, row_of, rows_of

AT_ONCE = 200


@pytest.fixture
def paid(merchant):
    return make_paid(merchant)


def tell(account_id, made, outcome, minor=None, **more):
    """News of a refund; whether it was any."""
    amount = None if minor is None else Money(minor, "CNY")
    with transaction() as tx:
        return refunds.settle_refund(
            tx, account_id, RefundResult("", made.out_refund_no, outcome, amount, **more)
        )


def counted(shop, charge_id):
    """What the charge and its attempt count as gone back, and what their refunds say, which is the same."""
    charge = charge_of(shop, charge_id)
    attempt = row_of(Attempt, id=charge.paid_attempt_id)
    alive = [row for row in rows_of(Refund, charge_id=charge_id) if row.state != RefundState.FAILED]
    assert charge.refunded_minor == attempt.refunded_minor == sum(row.amount_minor for row in alive)
    return charge.refunded_minor


def kinds_of(made):
    return [row.kind for row in rows_of(Incident, subject_id=made.id)]


def test_it_is_counted_before_it_is_sent(merchant, paid):
    made = refund(merchant, paid.id, 450)
    assert counted(merchant, paid.id) == 450
    assert (made.state, made.currency, made.livemode) == (RefundState.RESERVED, "CNY", False)
    assert row_of(Job, subject_id=made.id).due_at == made.created_at
    assert made.out_refund_no.isalnum()
    assert len(made.out_refund_no) == 26


def test_a_failure_gives_it_back_once_however_often_it_is_told(merchant, paid):
    kept, lost = refund(merchant, paid.id, 200), refund(merchant, paid.id, 450)
    assert tell(merchant.account_id, lost, Outcome.FAILED)
    assert not tell(merchant.account_id, lost, Outcome.CLOSED)
    assert counted(merchant, paid.id) == 200
    assert event_types(lost.id) == ["refund.created", "refund.failed"]
    assert rows_of(Job, subject_id=lost.id) == []
    assert kinds_of(kept) == []


def test_a_success_after_a_failure_takes_it_again(merchant, paid):
    made = refund(merchant, paid.id, 450)
    tell(merchant.account_id, made, Outcome.FAILED)
    assert tell(merchant.account_id, made, Outcome.SUCCEEDED, 450)
    assert counted(merchant, paid.id) == 450
    assert kinds_of(made) == ["refund_failed", "refund_contradicted"]


def test_more_than_was_paid_is_booked_as_all_of_it_and_a_person_told(merchant, paid):
    """The provider said no, the merchant gave it back another way, and then the provider did it too."""
    first = refund(merchant, paid.id)
    tell(merchant.account_id, first, Outcome.FAILED)
    second = refund(merchant, paid.id)
    assert tell(merchant.account_id, first, Outcome.SUCCEEDED)
    assert kinds_of(first) == ["refund_failed", "refund_contradicted", "refund_exceeds"]
    assert charge_of(merchant, paid.id).refunded_minor == 1250
    tell(merchant.account_id, second, Outcome.FAILED)  # and what is true now is counted, nothing is lost
    assert counted(merchant, paid.id) == 1250


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED])
def test_another_amount_under_our_number_settles_nothing(merchant, paid, outcome):
    made = refund(merchant, paid.id, 450)
    assert not tell(merchant.account_id, made, outcome, 449)
    assert row_of(Refund, id=made.id).state == RefundState.RESERVED
    assert kinds_of(made) == ["refund_mismatched"]
    assert counted(merchant, paid.id) == 450


def test_another_payment_beside_our_number_settles_nothing(merchant, paid):
    made = refund(merchant, paid.id, 450)
    with transaction() as tx:
        result = RefundResult("SOMEBODYELSES", made.out_refund_no, Outcome.SUCCEEDED, Money(450, "CNY"))
        assert not refunds.settle_refund(tx, merchant.account_id, result)
    assert kinds_of(made) == ["refund_mismatched"]


def test_news_for_another_merchants_account_finds_nothing(merchant, other_merchant, paid):
    made = refund(merchant, paid.id)
    with pytest.raises(UnknownPayment):
        tell(other_merchant.account_id, made, Outcome.SUCCEEDED)


def test_one_that_waits_for_a_person_stays_counted_and_says_why(merchant, paid):
    made = refund(merchant, paid.id, 450)
    tell(merchant.account_id, made, Outcome.PENDING, provider_status="ABNORMAL", needs_person=True)
    assert row_of(Refund, id=made.id).pending_reason == "ABNORMAL"
    assert counted(merchant, paid.id) == 450
    assert tell(merchant.account_id, made, Outcome.SUCCEEDED)
    assert row_of(Refund, id=made.id).pending_reason is None


def test_a_failed_one_is_tried_again_once_under_a_new_number(merchant, paid):
    made = refund(merchant, paid.id, 450, reason="cold")

    def again(refund_id=made.id):
        with transaction() as tx:
            return refunds.try_again(tx, merchant.id, refund_id, by=Actor("owner@cafe.example", ALL))

    with pytest.raises(Conflict, match="only a failed one"):
        again()
    tell(merchant.account_id, made, Outcome.CLOSED)
    first, second = again(), again()
    assert first.id == second.id
    assert first.out_refund_no != made.out_refund_no
    assert (first.amount_minor, first.reason, first.replaces) == (450, "cold", made.id)
    assert counted(merchant, paid.id) == 450
    with pytest.raises(NotFound):
        again("re_none")


def test_a_failed_one_is_not_tried_again_with_money_that_went_back_otherwise(merchant, paid):
    made = refund(merchant, paid.id)
    tell(merchant.account_id, made, Outcome.FAILED)
    refund(merchant, paid.id, 1000)
    with pytest.raises(Conflict) as refused, transaction() as tx:
        refunds.try_again(tx, merchant.id, made.id)
    assert refused.value.code == "amount_too_large"


def test_one_number_is_one_refund_whoever_comes_first(merchant, paid):
    """What a cause reserves by its own number it reserves once; nothing is counted the second time."""
    wanted = Reservation(300, "surplus", number="DUPNUMBER1")
    with transaction() as tx:
        assert refunds.reserve(tx, merchant.id, paid.paid_attempt_id, wanted) is not None
    with transaction() as tx:
        assert refunds.reserve(tx, merchant.id, paid.paid_attempt_id, wanted) is None
    assert counted(merchant, paid.id) == 300


def test_money_without_a_charge_goes_back_in_its_accounts_mode(merchant):
    with transaction() as tx:
        tx.execute(
            sa.insert(Attempt.__table__).values(
                merchant_id=merchant.id,
                id="at_01jd3w6j7hqk2m8n4p6r8t0v2x",
                account_id=merchant.account_id,
                provider="alipay",
                scene="desktop",
                out_trade_no="somebody's own number",
                state="succeeded",
                settles=False,
                amount_minor=700,
                currency="CNY",
                received_minor=700,
                received_currency="CNY",
                credited_minor=0,
                outside_minor=0,
                refunded_minor=0,
                started_at=sa.func.now(),
                expires_at=sa.func.now(),
            )
        )
        made = refunds.reserve(
            tx,
            merchant.id,
            "at_01jd3w6j7hqk2m8n4p6r8t0v2x",
            Reservation(None, "nobody_asked", automatic=True),
        )
    assert made is not None
    assert (made.charge_id, made.livemode, made.amount_minor) == (None, False, 700)
    assert tell(merchant.account_id, made, Outcome.SUCCEEDED, 700)
    assert event_types(made.id) == ["refund.created", "refund.succeeded"]


def test_the_database_itself_refuses_to_give_back_more_than_came_in(merchant, paid):
    table = Attempt.__table__
    for minor in (-1, 1251):
        with pytest.raises(sa.exc.IntegrityError), transaction() as tx:
            tx.execute(
                sa.update(table).where(table.c.id == paid.paid_attempt_id).values(refunded_minor=minor)
            )


steps = st.lists(
    st.tuples(st.sampled_from(["ask", "yes", "no"]), st.integers(0, 5), st.integers(1, 1400)), max_size=14
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=steps)
def test_any_order_of_asking_and_news_adds_up(merchant, story):
    charge_id, made = make_paid(merchant).id, []
    for step, which, minor in story:
        if step == "ask":
            with suppress(Conflict):
                made.append(refund(merchant, charge_id, minor))
        elif made:
            outcome = Outcome.SUCCEEDED if step == "yes" else Outcome.FAILED
            tell(merchant.account_id, made[which % len(made)], outcome)
        alive = [row for row in rows_of(Refund, charge_id=charge_id) if row.state != RefundState.FAILED]
        total = sum(row.amount_minor for row in alive)
        assert charge_of(merchant, charge_id).refunded_minor == min(total, 1250)
        if not any("refund_contradicted" in kinds_of(row) for row in alive):
            assert total <= 1250


class Crowd:
    """Who asks for parts at once, and somebody who looks on.  ``faults`` are what nobody should see."""

    def __init__(self, app, merchant, charge_id):
        self._app, self._merchant, self._charge_id = app, merchant, charge_id
        self._start, self._over = threading.Barrier(AT_ONCE), threading.Event()
        self.faults: list[BaseException] = []

    def run(self):
        hands = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(AT_ONCE)]
        onlooker = threading.Thread(target=self._look_on)
        for thread in [onlooker, *hands]:
            thread.start()
        for thread in hands:
            thread.join()
        self._over.set()
        onlooker.join()

    def _ask(self, seed):
        rng = random.Random(seed)
        self._start.wait(60)
        try:
            with self._app.app_context():
                made = refund(self._merchant, self._charge_id, rng.randint(1, 60))
                if rng.random() < 0.7:
                    tell(self._merchant.account_id, made, rng.choice([Outcome.FAILED, Outcome.SUCCEEDED]))
        except Conflict as error:
            if error.code not in ("amount_too_large", "charge_already_refunded"):
                self.faults.append(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            self.faults.append(error)

    def _look_on(self):
        alive = sa.select(sa.func.sum(Refund.amount_minor)).where(Refund.state != RefundState.FAILED)
        with self._app.app_context():
            while not self._over.is_set():
                with reading() as connection:
                    if (minor := connection.execute(alive).scalar_one() or 0) > 1250:
                        self.faults.append(AssertionError(f"{minor} of 1250 on its way"))


def test_two_hundred_at_once_never_give_back_more_than_was_paid(app, merchant, paid):
    """Some fail at once and give theirs back to the others; somebody looks on all the while."""
    crowd = Crowd(app, merchant, paid.id)
    crowd.run()
    assert crowd.faults == []
    assert {row.state for row in rows_of(Refund)} == set(RefundState) - {RefundState.AWAITING}
    assert counted(merchant, paid.id) <= 1250
    with suppress(Conflict):
        refund(merchant, paid.id)  # what the failures gave back
    assert counted(merchant, paid.id) == 1250
    reserved = [row.id for row in rows_of(Refund) if row.state == RefundState.RESERVED]
    assert sorted(job.subject_id for job in rows_of(Job, kind=Kind.REFUND)) == sorted(reserved)
