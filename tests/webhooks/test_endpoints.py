"""Endpoints: what may be stored, what is shown once, and what stops with them."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from app.db import reading, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.queue import Job, Kind, claim
from app.runtime import vault
from app.vault import SealBroken
from app.webhooks import endpoints, history
from app.webhooks.delivery import LEASE
from app.webhooks.endpoints import ENDPOINTS_MAX
from app.webhooks.history import Page
from app.webhooks.models import DeliveryState
from app.webhooks.present import delivery_json, endpoint_json, event_json
from tests.webhooks.turns import deliver_due


def test_secret_is_shown_once_and_sealed_to_its_row(listen, shop_id):
    endpoint_id, secret = listen()
    row = endpoints.find_endpoint(shop_id, endpoint_id)
    assert secret.startswith("whsec_")
    assert endpoint_json(row, secret)["secret"] == secret
    assert secret not in str(row)
    assert secret not in str(endpoint_json(row))
    assert vault().unseal(row.sealed_secret, endpoints.secret_place(endpoint_id)) == secret
    with pytest.raises(SealBroken):
        vault().unseal(row.sealed_secret, endpoints.secret_place("we_other"))


def test_endpoint_is_presented_as_it_was_asked_for(listen, shop_id, receiver):
    endpoint_id, _ = listen(
        "/ok", event_types=["charge.paid", "charge.paid", "refund.failed"], description="ERP"
    )
    shown = endpoint_json(endpoints.find_endpoint(shop_id, endpoint_id))
    assert shown["url"] == receiver.url("/ok")
    assert shown["event_types"] == ["charge.paid", "refund.failed"]
    assert (shown["status"], shown["description"], shown["livemode"]) == ("enabled", "ERP", False)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"event_types": ["charge.payed"]}, "event_types"),
        ({"event_types": ["endpoint.ping"]}, "event_types"),
        ({"description": "x" * 201}, "description"),
    ],
)
def test_faulty_endpoint_is_refused_and_the_field_is_named(app, shop_id, changes, param):
    with pytest.raises(InvalidRequest) as refused:
        endpoints.create_endpoint(shop_id, **{"livemode": False, "url": "https://shop.example/", **changes})
    assert refused.value.param == param
    assert endpoints.list_endpoints(shop_id, livemode=False) == []


def test_live_settings_want_https_and_the_usual_ports(settings):
    live = settings.model_copy(update={"mode": "live", "webhook_allow": ()})
    assert live.is_demo is False
    guard = endpoints.guard_of(live)
    guard.check_url("https://shop.example/hook")
    for url in (
        "http://shop.example/",
        "https://shop.example:9000/",
        "https://127.0.0.1/",
        "https://localhost/",
    ):
        with pytest.raises(InvalidRequest):
            guard.check_url(url)


def test_list_has_the_newest_first_and_no_deleted_one(listen, shop_id):
    first, _ = listen("/ok/1")
    second, _ = listen("/ok/2")
    live, _ = listen("/ok/3", livemode=True)
    endpoints.delete_endpoint(shop_id, first)
    assert [row.id for row in endpoints.list_endpoints(shop_id, livemode=False)] == [second]
    assert [row.id for row in endpoints.list_endpoints(shop_id, livemode=True)] == [live]


def test_another_merchants_endpoint_does_not_exist(listen, shop_id, other_merchant):
    endpoint_id, _ = listen()
    for act in (
        endpoints.find_endpoint,
        endpoints.enable_endpoint,
        endpoints.delete_endpoint,
        endpoints.ping_endpoint,
    ):
        with pytest.raises(NotFound):
            act(other_merchant.id, endpoint_id)
        with pytest.raises(NotFound):
            act(shop_id, endpoint_id, livemode=True)
    assert endpoints.find_endpoint(shop_id, endpoint_id).deleted_at is None


def test_there_are_never_more_than_the_limit_even_in_a_race(app, shop_id):
    refused = []

    def create() -> None:
        with app.app_context():
            try:
                endpoints.create_endpoint(shop_id, livemode=False, url="https://shop.example/")
            except Conflict:
                refused.append(1)

    for _ in range(ENDPOINTS_MAX - 2):
        create()
    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(endpoints.list_endpoints(shop_id, livemode=False)) == ENDPOINTS_MAX
    assert len(refused) == 4
    endpoints.create_endpoint(
        shop_id, livemode=True, url="https://shop.example/"
    )  # the other mode has its own


def test_deleting_ends_what_is_pending_and_keeps_what_was_done(listen, tell, shop_id, sender, receiver):
    endpoint_id, _ = listen()
    tell()
    deliver_due(sender)
    tell()
    endpoints.delete_endpoint(shop_id, endpoint_id)
    deliver_due(sender)
    assert len(receiver.requests) == 1
    stories, _ = history.list_deliveries(shop_id, livemode=False, endpoint_id=endpoint_id, page=Page())
    assert [story.delivery.state for story in stories] == [DeliveryState.ABANDONED, DeliveryState.DELIVERED]
    assert jobs() == 0
    with pytest.raises(NotFound):
        endpoints.delete_endpoint(shop_id, endpoint_id)


def test_deleting_drops_even_a_claimed_job(listen, tell, shop_id):
    endpoint_id, _ = listen()
    tell()
    with transaction() as tx:
        assert len(claim(tx, Kind.DELIVER, limit=10, lease=LEASE)) == 1
    endpoints.delete_endpoint(shop_id, endpoint_id)
    assert jobs() == 0


def test_disabling_tells_the_other_endpoints_once(listen, tell, shop_id, sender, receiver):
    doomed, _ = listen("/ok/doomed")
    listen("/ok/other")
    tell()
    assert endpoints.disable_endpoint(shop_id, doomed, endpoints.GONE)
    assert not endpoints.disable_endpoint(shop_id, doomed, endpoints.GONE)
    deliver_due(sender)
    assert receiver.to("/ok/doomed") == []
    assert len(receiver.to("/ok/other")) == 2
    told, _ = history.list_events(
        shop_id, livemode=False, event_types=["webhook_endpoint.disabled"], page=Page()
    )
    assert [event_json(event)["data"]["object"]["id"] for event in told] == [doomed]
    shown = endpoint_json(endpoints.find_endpoint(shop_id, doomed))
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")


def test_enabling_again_starts_afresh_and_counts_on(listen, tell, shop_id, sender, receiver):
    endpoint_id, _ = listen()
    for _ in range(2):  # the second time must not collide with the first in the events' order
        endpoints.disable_endpoint(shop_id, endpoint_id, endpoints.FAILING)
        tell()
        row = endpoints.enable_endpoint(shop_id, endpoint_id)
        assert (row.disabled_at, row.disabled_reason, row.failing_since) == (None, None, None)
    deliver_due(sender)
    assert receiver.requests == []  # what happened while it was disabled is not sent by itself
    tell()
    deliver_due(sender)
    assert len(receiver.requests) == 1


def test_ping_goes_to_one_endpoint_whatever_it_subscribes_to(listen, shop_id, sender, receiver):
    endpoint_id, _ = listen("/ok/1", event_types=["charge.paid"])
    listen("/ok/2")
    event_ids = [endpoints.ping_endpoint(shop_id, endpoint_id) for _ in range(2)]
    deliver_due(sender)
    assert sorted(request.headers["webhook-id"] for request in receiver.to("/ok/1")) == event_ids
    assert receiver.to("/ok/2") == []
    endpoints.disable_endpoint(shop_id, endpoint_id, endpoints.GONE)
    with pytest.raises(Conflict):
        endpoints.ping_endpoint(shop_id, endpoint_id)


def test_delivery_is_presented_with_its_attempts(listen, tell, shop_id, sender):
    endpoint_id, _ = listen("/fail")
    object_id = tell()
    deliver_due(sender)
    [story], has_more = history.list_deliveries(shop_id, livemode=False, object_id=object_id, page=Page())
    shown = delivery_json(story.delivery, story.attempts)
    assert not has_more
    assert (shown["endpoint"], shown["object_id"], shown["event_type"]) == (
        endpoint_id,
        object_id,
        "charge.paid",
    )
    assert (shown["status"], shown["tries"], shown["delivered_at"]) == ("pending", 1, None)
    assert shown["next_try_at"] > shown["created_at"]
    [attempt] = shown["attempts"]
    assert (attempt["number"], attempt["response_status"], attempt["response_head"], attempt["error"]) == (
        1,
        500,
        "this is fail",
        None,
    )


def jobs() -> int:
    with reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(Job)).scalar_one()
