"""Facts become events and deliveries with the change, for those who listen, and for nobody else."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from app.clock import to_rfc3339
from app.db import db, reading, transaction
from app.queue import Job
from app.webhooks import endpoints
from app.webhooks.models import Delivery, Event
from app.webhooks.outbox import Fact, emit, wants


def rows(model) -> list:
    with reading() as connection:
        return list(connection.execute(sa.select(*model.__table__.c).order_by(sa.text("1"), sa.text("2"))))


def test_event_body_is_frozen_json_in_ascii(tell):
    object_id = tell("charge.paid", description="拿铁 ☕", amount=1250)
    [stored] = rows(Event)
    assert stored.body.isascii()
    assert json.loads(stored.body) == {
        "id": stored.id,
        "object": "event",
        "type": "charge.paid",
        "created_at": to_rfc3339(stored.created_at),
        "timestamp": to_rfc3339(stored.created_at),
        "livemode": False,
        "sequence": 1,
        "data": {"object": {"id": object_id, "description": "拿铁 ☕", "amount": 1250}},
    }


def test_nobody_listens_so_nothing_is_queued(tell):
    tell()
    assert len(rows(Event)) == 1
    assert rows(Delivery) == rows(Job) == []


def test_every_endpoint_that_wants_the_event_gets_one_delivery_and_one_job(tell, listen):
    everything, _ = listen("/ok/1")
    paid, _ = listen("/ok/2", event_types=["charge.paid", "refund.succeeded"])
    listen("/ok/3", event_types=["charge.expired"])
    tell("charge.paid")
    deliveries = rows(Delivery)
    assert {delivery.endpoint_id for delivery in deliveries} == {everything, paid}
    assert {job.subject_id for job in rows(Job)} == {delivery.id for delivery in deliveries}


def test_rolled_back_change_leaves_no_trace(app, shop_id, listen):
    listen()

    def change_that_fails() -> None:
        with transaction() as tx:
            emit(tx, Fact(shop_id, False, "charge.paid", "ch_1", 1, {}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_that_fails()
    assert rows(Event) == rows(Delivery) == rows(Job) == []


def test_events_stay_with_their_merchant_and_mode(tell, listen, shop_id, other_merchant):
    mine, _ = listen("/ok/mine")
    live, _ = listen("/ok/live", livemode=True)
    theirs, _ = listen("/ok/theirs", merchant_id=other_merchant.id)
    tell()
    assert [(row.merchant_id, row.endpoint_id) for row in rows(Delivery)] == [(shop_id, mine)]
    tell(livemode=True)
    tell(merchant_id=other_merchant.id)
    assert {(row.merchant_id, row.endpoint_id) for row in rows(Delivery)} == {
        (shop_id, mine),
        (shop_id, live),
        (other_merchant.id, theirs),
    }


def test_deleted_and_disabled_endpoints_hear_nothing(tell, listen, shop_id):
    deleted, _ = listen("/ok/1")
    disabled, _ = listen("/ok/2", event_types=["charge.paid"])
    endpoints.delete_endpoint(shop_id, deleted)
    endpoints.disable_endpoint(shop_id, disabled, endpoints.GONE)
    tell()
    assert rows(Delivery) == []


def test_facts_of_several_merchants_and_objects_are_stored_in_one_go(app, shop_id, other_merchant, listen):
    listen("/ok/1")
    listen("/ok/2", merchant_id=other_merchant.id)
    statements = []

    def note(*args):
        if "clock_timestamp" not in args[2]:  # read once a second, whoever asks
            statements.append(args[2])

    event.listen(db.engine, "before_cursor_execute", note)
    with transaction() as tx:
        statements.clear()
        emit(
            tx,
            Fact(shop_id, False, "charge.created", "ch_1", 1, {}),
            Fact(shop_id, False, "charge.paid", "ch_1", 2, {}),
            Fact(other_merchant.id, False, "charge.paid", "ch_2", 1, {}),
            Fact(shop_id, True, "charge.paid", "ch_3", 1, {}),
        )
        assert len(statements) == 6  # four events, deliveries, jobs
        statements.clear()
        emit(tx, Fact(shop_id, False, "charge.paid", "ch_4", 1, {}))
        assert len(statements) == 3  # the hot path pays for each one
    assert len(rows(Event)) == 5
    assert len(rows(Delivery)) == 4


def test_no_fact_costs_no_statement(app):
    with transaction() as tx:
        emit(tx)
    assert rows(Event) == []


def test_two_facts_cannot_claim_the_same_place_in_the_order(app, shop_id):
    with pytest.raises(sa.exc.IntegrityError), transaction() as tx:
        emit(tx, Fact(shop_id, False, "a", "ch_1", 1, {}), Fact(shop_id, False, "b", "ch_1", 1, {}))


@pytest.mark.parametrize(
    ("subscription", "type_", "expected"),
    [
        ("*", "charge.paid", True),
        ("charge.paid", "charge.paid", True),
        ("charge.created,charge.paid", "charge.paid", True),
        ("charge.paid_late", "charge.paid", False),
        ("charge.paid", "charge.paid_late", False),
        ("charge", "charge.paid", False),
    ],
)
def test_subscription_names_whole_types(subscription, type_, expected):
    assert wants(subscription, type_) is expected
