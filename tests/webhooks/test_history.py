"""What merchants look up, page by page, and send again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.errors import Conflict, InvalidRequest, NotFound
from app.webhooks import endpoints, history
from app.webhooks.history import Page
from app.webhooks.models import DeliveryState
from tests.webhooks.turns import deliver_due


def only_delivery(shop_id: str):
    [story], _ = history.list_deliveries(shop_id, livemode=False, page=Page())
    return story


def test_events_are_paged_newest_first_in_both_directions(tell, shop_id):
    objects = [tell() for _ in range(5)][::-1]
    first, has_more = history.list_events(shop_id, livemode=False, page=Page(limit=2))
    assert ([row.object_id for row in first], has_more) == (objects[:2], True)
    second, has_more = history.list_events(shop_id, livemode=False, page=Page(first[-1].id, limit=3))
    assert ([row.object_id for row in second], has_more) == (objects[2:], False)
    back, has_more = history.list_events(shop_id, livemode=False, page=Page(None, second[0].id, 1))
    assert ([row.object_id for row in back], has_more) == (objects[1:2], True)


def test_events_are_narrowed_by_type_and_object(tell, shop_id):
    wanted = tell("charge.expired")
    tell("charge.paid")
    by_type, _ = history.list_events(shop_id, livemode=False, event_types=["charge.expired"], page=Page())
    by_object, _ = history.list_events(shop_id, livemode=False, object_id=wanted, page=Page())
    assert [row.object_id for row in by_type] == [row.object_id for row in by_object] == [wanted]
    assert history.find_event(shop_id, by_type[0].id).object_id == wanted


def test_nobody_reads_another_merchants_or_modes_history(tell, listen, shop_id, other_merchant):
    listen()
    tell()
    delivery_id = only_delivery(shop_id).delivery.id
    [event], _ = history.list_events(shop_id, livemode=False, page=Page())
    for merchant_id, livemode in ((other_merchant.id, False), (shop_id, True)):
        assert history.list_events(merchant_id, livemode=livemode, page=Page()) == ([], False)
        assert history.list_deliveries(merchant_id, livemode=livemode, page=Page()) == ([], False)
        for look, wanted in (
            (history.find_event, event.id),
            (history.find_delivery, delivery_id),
            (history.resend, delivery_id),
        ):
            with pytest.raises(NotFound):
                look(merchant_id, wanted, livemode=livemode)


@pytest.mark.parametrize("page", [Page("x"), Page(None, "dlv_x"), Page(limit=0), Page(limit=101)])
def test_bad_page_is_refused(app, shop_id, page):
    for turn in (history.list_events, history.list_deliveries):
        with pytest.raises(InvalidRequest):
            turn(shop_id, livemode=False, page=page)


def test_resend_repeats_a_delivered_event_with_the_same_id_and_bytes(
    tell, listen, shop_id, sender, receiver, at
):
    listen()
    tell()
    deliver_due(sender)
    at(timedelta(hours=1))
    history.resend(shop_id, only_delivery(shop_id).delivery.id)
    deliver_due(sender)
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 3600
    story = only_delivery(shop_id)
    assert story.delivery.state == DeliveryState.DELIVERED
    assert [attempt.number for attempt in story.attempts] == [1, 2]


def test_resend_of_one_that_waits_makes_it_due_at_once(tell, listen, shop_id, sender, receiver):
    listen("/fail")
    tell()
    deliver_due(sender)
    receiver.answers = [200]
    history.resend(shop_id, only_delivery(shop_id).delivery.id)
    deliver_due(sender)
    assert only_delivery(shop_id).delivery.state == DeliveryState.DELIVERED


def test_resend_needs_an_endpoint_that_is_there_and_enabled(tell, listen, shop_id, sender, receiver):
    endpoint_id, _ = listen()
    tell()
    delivery_id = only_delivery(shop_id).delivery.id
    endpoints.disable_endpoint(shop_id, endpoint_id, endpoints.GONE)
    with pytest.raises(Conflict):
        history.resend(shop_id, delivery_id)
    endpoints.enable_endpoint(shop_id, endpoint_id)
    history.resend(shop_id, delivery_id)
    deliver_due(sender)
    assert len(receiver.requests) == 1
    endpoints.delete_endpoint(shop_id, endpoint_id)
    with pytest.raises(Conflict):
        history.resend(shop_id, delivery_id)
