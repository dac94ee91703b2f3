"""An endpoint in trouble: what is due for it waits without using a slot, and one try finds out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import clock
from app.http import Sender
from app.queue import Job, Kind
from app.webhooks import breaker, delivery, endpoints, history
from app.webhooks.breaker import BEHIND, GAPS, OPEN_AFTER, PROBE_LEASE
from app.webhooks.models import Delivery, DeliveryState, WebhookEndpoint
from tests.books import row_of, rows_of
from tests.webhooks.turns import deliver_due

MANY = 30


@pytest.fixture
def broken(tell, listen, sender, receiver, shop_id, at) -> str:
    """An endpoint whose breaker has just opened; MANY deliveries that were never tried are due for it."""
    endpoint_id, _ = listen("/fail")
    tell()
    for gap in (timedelta(), *delivery.GAPS[: OPEN_AFTER - 1]):
        at(gap * 1.2)
        deliver_due(sender)
    assert row_of(WebhookEndpoint).next_probe_at > clock.now()
    for _ in range(MANY):
        tell()
    receiver.requests.clear()
    return endpoint_id


def test_while_it_is_open_nothing_is_sent_and_no_try_is_used_up(broken, sender, receiver, shop_id):
    deliver_due(sender)
    assert receiver.requests == []
    assert {row.tries for row in rows_of(Delivery)[1:]} == {0}
    due = [row.due_at for row in rows_of(Job, kind=Kind.DELIVER)[1:]]
    assert min(due) >= row_of(WebhookEndpoint).next_probe_at


def test_one_probe_is_sent_and_its_failure_moves_the_next_one_away(broken, sender, receiver, at):
    for gap in GAPS[:2]:
        at(gap * 1.01)
        deliver_due(sender)
        at(GAPS[0])
    assert len(receiver.requests) == 2
    row = row_of(WebhookEndpoint)
    assert row.failed_rounds == OPEN_AFTER + 2
    assert row.next_probe_at - clock.now() > GAPS[2] - GAPS[0] - timedelta(seconds=2)


def test_a_probe_that_arrives_lets_the_others_go(broken, sender, receiver, at):
    receiver.answers = [200] * (MANY + 1)
    at(GAPS[0] * 1.1)
    deliver_due(sender)
    assert len(receiver.requests) == 1
    row = row_of(WebhookEndpoint)
    assert (row.failing_since, row.failed_rounds, row.next_probe_at) == (None, 0, None)
    at(BEHIND + timedelta(seconds=1))
    deliver_due(sender)
    assert len(receiver.requests) >= MANY
    assert {row.state for row in rows_of(Delivery)[1:]} == {DeliveryState.DELIVERED}


def test_of_several_workers_one_sends_the_probe(broken, at):
    at(GAPS[0] * 1.1)
    first, _ = delivery.claim_parcels(10)
    second, _ = delivery.claim_parcels(10)
    assert (len(first), len(second)) == (1, 0)
    late = [row for row in rows_of(Job, kind=Kind.DELIVER) if row.token is None]
    assert all(row.due_at > clock.now() for row in late if row.tries)


def test_a_probe_that_was_seen_by_two_is_sent_by_one(broken, at, monkeypatch):
    """Both have read the row before either has moved it."""
    at(GAPS[0] * 1.1)
    sift, seen = breaker.sift, []
    monkeypatch.setattr(breaker, "sift", lambda parcels: seen.append(parcels) or [])
    delivery.claim_parcels(5), delivery.claim_parcels(5)
    assert [len(sift(parcels)) for parcels in seen] == [1, 0]


def test_a_probe_whose_worker_died_is_sent_by_another(broken, sender, receiver, at):
    at(GAPS[0] * 1.1)
    assert len(delivery.claim_parcels(10)[0]) == 1
    at(PROBE_LEASE - timedelta(seconds=1))
    deliver_due(sender)
    assert receiver.requests == []
    at(timedelta(seconds=15))
    deliver_due(sender)
    assert len(receiver.requests) == 1


def test_what_a_person_asks_for_is_tried_at_once(broken, sender, receiver, shop_id):
    history.resend(shop_id, rows_of(Delivery)[0].id)
    deliver_due(sender)
    assert len(receiver.requests) == 1
    endpoints.ping_endpoint(shop_id, broken)
    deliver_due(sender)
    assert len(receiver.requests) == 2


def test_an_open_breaker_takes_no_slot_from_anybody(broken, tell, listen, settings, receiver):
    listen("/ok")
    tell()
    sender = Sender(endpoints.guard_of(settings), slots=1)
    deliver_due(sender, batch=5)
    sender.close()
    assert [request.path for request in receiver.requests] == ["/ok"]


def test_an_endpoint_that_fails_now_and_then_keeps_its_breaker_closed(tell, listen, sender, receiver):
    listen()
    for _ in range(2 * OPEN_AFTER):
        tell(), tell()
        receiver.answers = [500, 200]
        deliver_due(sender)
    assert row_of(WebhookEndpoint).next_probe_at is None


def test_enabling_again_and_another_address_begin_afresh(broken, sender, receiver, shop_id):
    endpoints.update_endpoint(shop_id, broken, {"url": receiver.url("/ok")})
    row = row_of(WebhookEndpoint)
    assert (row.failing_since, row.failed_rounds, row.next_probe_at) == (None, 0, None)
    deliver_due(sender)
    assert len(receiver.requests) == MANY
