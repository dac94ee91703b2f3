"""Verified news that cannot be true beside what is in the books."""

from __future__ import annotations

from app.charges.models import Attempt, Incident
from app.charges.settle import Verdict
from app.charges.states import AttemptState, ChargeState
from app.queue import Job, Kind
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of, rows_of
from tests.review.rounds import hear, work


def kinds_of(charge):
    return {row.kind for row in rows_of(Incident, charge_id=charge.id)}


def test_the_same_number_of_units_in_another_currency_is_one(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    hear(merchant.account_id, number)
    assert hear(merchant.account_id, number, currency="USD") is Verdict.NO_NEWS
    assert kinds_of(charge) == {"amount_contradicted"}


def test_the_right_amount_after_a_wrong_one_is_one_and_pays_nothing(merchant):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    hear(merchant.account_id, number, currency="USD")
    hear(merchant.account_id, number, currency="USD")
    assert kinds_of(charge) == {"amount_mismatched"}
    assert hear(merchant.account_id, number) is Verdict.NO_NEWS
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert kinds_of(charge) == {"amount_mismatched", "amount_contradicted"}


def test_a_number_of_the_provider_pays_one_attempt_and_never_two(client, merchant, far_side):
    paid, other = make_charge(merchant), make_charge(merchant)
    hear(merchant.account_id, make_attempt(merchant, paid.id), ref="T1")
    number = make_attempt(merchant, other.id)
    far_side.pay(number)
    notice = far_side.notice(number, trade_no="T1")
    for _ in range(2):
        answer = client.post(f"/callbacks/{merchant.account_id}", data=notice.body)
        assert (answer.status_code, answer.data) == (200, b"success")
    assert charge_of(merchant, other.id).state == ChargeState.PENDING
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.MISMATCHED
    assert kinds_of(other) == {"provider_ref_reused"}
    assert event_types(other.id) == ["charge.created", "charge.amount_mismatched"]


def test_a_query_that_names_anothers_number_ends_its_job(merchant, far_side, at):
    """It used to break a unique key, and the job was done again every quarter of an hour for ever."""
    paid, other = make_charge(merchant), make_charge(merchant)
    first, second = make_attempt(merchant, paid.id), make_attempt(merchant, other.id)
    far_side.pay(first)
    far_side.pay(second).trade_no = far_side.trades[first].trade_no
    at(other.expires_at - (other.expires_at - other.created_at) / 2)
    work(Kind.QUERY)
    assert rows_of(Job, kind=Kind.QUERY) == []
    assert {charge_of(merchant, each.id).state for each in (paid, other)} == {
        ChargeState.PAID,
        ChargeState.PENDING,
    }
