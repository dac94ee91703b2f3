"""Made, found, listed, canceled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.charges import attempts, lifecycle
from app.charges.lifecycle import ChargeFilter
from app.charges.models import Attempt, Charge
from app.charges.present import link_of
from app.charges.states import AttemptState, ChargeState
from app.db import db
from app.errors import BadLink, Conflict, InvalidRequest, NotFound, ProviderUnreachable
from app.queue import Job
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of, rows_of


def token_of(charge):
    return link_of(charge).rpartition("/")[2]


def test_a_link_opens_its_charge_in_either_case(merchant):
    charge = make_charge(merchant)
    for token in (token_of(charge), token_of(charge).lower()):
        found = lifecycle.find_public(token)
        assert (found.id, found.merchant_name) == (charge.id, "晨光咖啡馆")


def test_a_row_altered_after_the_link_was_issued_refuses_to_open(merchant, app):
    charge = make_charge(merchant)
    token = token_of(charge)
    with db.engine.begin() as tx:
        tx.execute(Charge.__table__.update().values(amount_minor=1))
    with pytest.raises(BadLink):
        lifecycle.find_public(token)


def test_a_link_to_nothing_is_refused_with_the_same_code(merchant):
    charge = make_charge(merchant)
    token = token_of(charge)
    altered = token[:-1] + ("0" if token[-1] != "0" else "1")
    unknown = token[:10] + ("0" if token[10] != "0" else "1") + token[11:]
    words = set()
    for text in (altered, unknown, "", "x", token[:-1], token + "0", "🧧" * 52):
        with pytest.raises(BadLink) as refusal:
            lifecycle.find_public(text)
        words.add(refusal.value.code)
    assert words == {"bad_link"}


def test_the_same_order_number_with_the_same_content_is_the_same_charge(merchant):
    first = make_charge(merchant, merchant_order_no="A-1")
    again = make_charge(merchant, merchant_order_no="A-1")
    assert again == first
    assert event_types(first.id) == ["charge.created"]
    with pytest.raises(Conflict, match="A-1"):
        make_charge(merchant, minor=1, merchant_order_no="A-1")


def test_two_merchants_may_use_the_same_order_number(merchant, other_merchant):
    first = make_charge(merchant, merchant_order_no="A-1")
    other = make_charge(other_merchant, merchant_order_no="A-1")
    assert first.id != other.id


def test_pages_run_both_ways_without_gap_or_overlap(merchant, other_merchant):
    ids = [make_charge(merchant).id for _ in range(7)][::-1]
    make_charge(other_merchant)

    def page(**cursor):
        rows, more = lifecycle.list_charges(
            merchant.id, livemode=False, wanted=ChargeFilter(limit=3, **cursor)
        )
        return [row.id for row in rows], more

    assert page() == (ids[:3], True)
    assert page(starting_after=ids[2]) == (ids[3:6], True)
    assert page(starting_after=ids[5]) == (ids[6:], False)
    assert page(ending_before=ids[6]) == (ids[3:6], True)
    assert page(ending_before=ids[3]) == (ids[:3], False)
    with pytest.raises(InvalidRequest):
        page(starting_after="ch_'; drop table charges")


def test_canceling_closes_the_open_attempt_at_the_provider(merchant, far_side):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.open(number)
    canceled = lifecycle.cancel_charge(merchant.id, charge.id)
    assert canceled.state == ChargeState.CANCELED
    assert far_side.trades[number].state == "TRADE_CLOSED"
    assert row_of(Attempt, out_trade_no=number).state == AttemptState.CLOSED
    assert rows_of(Job, merchant_id=merchant.id) == []
    assert lifecycle.cancel_charge(merchant.id, charge.id) == canceled
    assert event_types(charge.id) == ["charge.created", "charge.canceled"]


def test_a_charge_paid_unnoticed_is_settled_instead_of_canceled(merchant, far_side):
    charge = make_charge(merchant)
    far_side.pay(make_attempt(merchant, charge.id))
    with pytest.raises(Conflict, match="paid"):
        lifecycle.cancel_charge(merchant.id, charge.id)
    assert charge_of(merchant, charge.id).state == ChargeState.PAID


def test_nothing_is_canceled_while_the_provider_cannot_be_asked(merchant, far_side):
    charge = make_charge(merchant)
    make_attempt(merchant, charge.id)
    far_side.is_down = True
    with pytest.raises(ProviderUnreachable):
        lifecycle.cancel_charge(merchant.id, charge.id)
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING


def test_another_merchants_charge_does_not_exist(merchant, other_merchant):
    charge = make_charge(other_merchant)
    with pytest.raises(NotFound):
        lifecycle.find(merchant.id, charge.id)
    with pytest.raises(NotFound):
        lifecycle.cancel_charge(merchant.id, charge.id)
    with pytest.raises(NotFound):
        lifecycle.find(other_merchant.id, charge.id, livemode=True)


def test_money_after_a_cancel_goes_back_by_itself(merchant, far_side, at):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)  # shown, but not scanned: unknown at the provider
    lifecycle.cancel_charge(merchant.id, charge.id)
    far_side.pay(number)
    at(timedelta(seconds=10))
    attempts.ask_if_due(merchant.id, charge.id)
    assert charge_of(merchant, charge.id).state == ChargeState.CANCELED
    assert event_types(charge.id) == ["charge.created", "charge.canceled", "charge.paid_late"]


def test_the_same_order_number_with_another_deadline_is_other_content(merchant):
    make_charge(merchant, merchant_order_no="A-2")
    with pytest.raises(Conflict, match="A-2"):
        make_charge(merchant, merchant_order_no="A-2", life=timedelta(minutes=5))
