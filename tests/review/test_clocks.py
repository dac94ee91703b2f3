"""A machine whose clock is wrong by a day: the database's decides what is due."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from app import db, queue
from app.charges.states import ChargeState
from app.db import moment, transaction
from app.merchants import idempotency
from app.queue import Kind
from app.webhooks import endpoints
from tests.books import charge_of, make_charge, start
from tests.review.rounds import work


@pytest.fixture(params=[-8, 8])
def skew(app, request, monkeypatch):
    """PostgreSQL's clock is so many days from ours; SQLite has none of its own."""
    days = sa.literal_column(f"interval '{request.param} days'")
    monkeypatch.setattr(db, "_PG_CLOCK", sa.select(sa.func.clock_timestamp() + days))
    app.extensions.pop(db._CLOCK_READING, None)


def test_a_charge_lives_as_long_as_it_should(skew, merchant):
    charge = make_charge(merchant, life=timedelta(minutes=5))
    start(merchant, charge.id)
    assert work(Kind.EXPIRE) == 0
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    with transaction() as tx:
        assert timedelta(minutes=4) < charge.expires_at - moment(tx) <= timedelta(minutes=5)


def test_an_event_is_due_at_once(skew, merchant):
    endpoints.create_endpoint(merchant.id, livemode=False, url="http://127.0.0.1:1/hook")
    make_charge(merchant)
    with transaction() as tx:
        assert len(queue.claim(tx, Kind.DELIVER, limit=5, lease=timedelta(seconds=60))) == 1


def test_an_idempotency_key_is_kept_for_its_week(skew, client, merchant):
    headers = {**merchant.headers, "Idempotency-Key": "k"}
    body = {"amount": 1250, "currency": "cny", "description": "一杯拿铁"}
    first = client.post("/v1/charges", json=body, headers=headers)
    idempotency.forget_old()
    assert client.post("/v1/charges", json=body, headers=headers).data == first.data
