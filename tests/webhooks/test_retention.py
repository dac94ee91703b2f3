"""What is old is forgotten, in slices; what is on its way never is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.errors import NotFound
from app.runtime import settings
from app.webhooks import endpoints, feed, history, retention
from app.webhooks.models import Delivery, DeliveryAttempt, Event
from tests.books import rows_of
from tests.conftest import running, settings_for
from tests.webhooks.turns import deliver_due


def days(count: int) -> timedelta:
    return timedelta(days=count, minutes=1)


def test_tries_go_first_and_then_events_with_their_deliveries(tell, listen, sender, at):
    listen()
    tell()
    deliver_due(sender)
    at(days(settings().keep_tries_days - 1))
    assert retention.forget_old() == 0
    at(days(1))
    assert retention.forget_old() == 1
    assert (len(rows_of(DeliveryAttempt)), len(rows_of(Delivery)), len(rows_of(Event))) == (0, 1, 1)
    at(days(settings().keep_events_days - settings().keep_tries_days))
    fresh = tell()
    assert retention.forget_old() == 1
    assert [row.object_id for row in rows_of(Event)] == [fresh]
    assert len(rows_of(Delivery)) == 1


def test_what_is_on_its_way_stays_whatever_its_age(tell, listen, sender, receiver, at, shop_id):
    listen()
    for _ in range(3):
        tell()
    deliver_due(sender)
    waiting = rows_of(Delivery)[1]
    at(days(settings().keep_events_days))
    history.resend(shop_id, waiting.id)
    retention.forget_old()
    assert [row.id for row in rows_of(Event)] == [waiting.event_id]
    deliver_due(sender)
    assert len(receiver.requests) == 4
    assert retention.forget_old() == 1
    assert rows_of(Event) == rows_of(DeliveryAttempt) == []


def test_events_of_endpoints_stay_because_their_numbers_go_on(listen, shop_id, at):
    endpoint_id, _ = listen()
    endpoints.ping_endpoint(shop_id, endpoint_id)
    endpoints.disable_endpoint(shop_id, endpoint_id, endpoints.GONE)
    at(days(settings().keep_events_days))
    retention.forget_old()
    endpoints.enable_endpoint(shop_id, endpoint_id)
    endpoints.ping_endpoint(shop_id, endpoint_id)
    assert [row.sequence for row in rows_of(Event)] == [1, 2, 3]


def test_events_of_accounts_stay_for_the_same_reason(tell, at):
    """An account fails perhaps once a year: its receiver would drop what begins at 1 again as old news."""
    kept = [tell(f"provider_account.{name}") for name in ("unhealthy", "recovered")]
    at(days(settings().keep_events_days))
    retention.forget_old()
    assert [row.object_id for row in rows_of(Event)] == kept


def test_many_go_in_slices(tell, listen, sender, at, monkeypatch):
    listen()
    for _ in range(7):
        tell()
    deliver_due(sender)
    monkeypatch.setattr(retention, "SLICE", 3)
    at(days(settings().keep_events_days))
    assert retention.forget_old() == 14
    assert rows_of(Event) == []


def test_a_round_has_an_end(tell, at, monkeypatch):
    for _ in range(7):
        tell()
    monkeypatch.setattr(retention, "SLICE", 1)
    monkeypatch.setattr(retention, "SLICES_MAX", 2)
    at(days(settings().keep_events_days))
    assert [retention.forget_old() for _ in range(5)] == [2, 2, 2, 1, 0]


def test_a_reader_who_stood_at_what_is_forgotten_is_told(tell, shop_id, at):
    tell()
    [known], _ = feed.read_on(shop_id, livemode=False, after=None, limit=10)
    at(days(settings().keep_events_days))
    fresh = tell()
    retention.forget_old()
    with pytest.raises(NotFound, match="from the start"):
        feed.read_on(shop_id, livemode=False, after=known.id, limit=10)
    rows, _ = feed.read_on(shop_id, livemode=False, after=None, limit=10)
    assert [row.object_id for row in rows] == [fresh]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_forgotten_where_that_is_wanted(database_url, tmp_path, at):
    forever = {"keep_tries_days": 0, "keep_events_days": 0, "keep_callbacks_days": 0}
    with running(settings_for(database_url, tmp_path, **forever)):
        at(days(10_000))
        assert retention.forget_old() == 0
