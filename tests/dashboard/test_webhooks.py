"""Webhook endpoints at the dashboard: a secret shown once, what was sent, and sending it again."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from app.db import transaction
from app.queue import Job
from app.webhooks import endpoints
from app.webhooks.models import Delivery, DeliveryAttempt, Event, WebhookEndpoint
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person

HERE = "http://127.0.0.1:9/hook"


def endpoint_of(shop: Shop) -> str:
    return str(endpoints.create_endpoint(shop.id, livemode=False, url=HERE)[0].id)


def fail(shop: Shop, delivery_id: str) -> None:
    """What the worker does at the end of the schedule."""
    table, job = Delivery.__table__, Job.__table__
    with transaction() as tx:
        tx.execute(sa.delete(job).where(job.c.subject_id == delivery_id))
        tx.execute(sa.update(table).where(table.c.id == delivery_id).values(state="exhausted", tries=15))
        tx.execute(
            sa.insert(DeliveryAttempt),
            {
                "merchant_id": shop.id,
                "id": "da_1",
                "delivery_id": delivery_id,
                "number": 15,
                "started_at": books.later(),
                "duration_ms": 41,
                "status": 503,
                "response_head": "<h1>down</h1>",
            },
        )


def test_the_signing_secret_is_shown_once(owner: Person, merchant: Shop) -> None:
    owner.get("/webhooks")
    page = owner.post("/webhooks", {"url": HERE, "description": "网店"})
    assert page.status_code == 201
    [secret] = set(re.findall(r"whsec_[\w+/=]{40,}", page.text))
    row = books.row_of(WebhookEndpoint, merchant_id=merchant.id)
    assert (row.url, row.description, row.event_types, row.livemode) == (HERE, "网店", "*", False)
    for path in ("/webhooks", f"/webhooks/{row.id}", "/"):
        assert secret not in owner.get(path).text
    assert secret not in str(row)


def test_an_endpoint_may_want_some_events_only(owner: Person, merchant: Shop) -> None:
    owner.get("/webhooks")
    owner.post("/webhooks", {"url": HERE, "event_types": ["charge.paid", "refund.failed"]})
    assert books.row_of(WebhookEndpoint, merchant_id=merchant.id).event_types == "charge.paid,refund.failed"
    page = owner.post("/webhooks", {"url": HERE, "event_types": ["charge.eaten"]})
    assert page.status_code == 400
    assert "Choose from the list of events." in page.text


@pytest.mark.parametrize(
    "url", ["", "ftp://x.example/", "http://10.0.0.1/", "https://user:pw@x.example/", "x" * 3000]
)
def test_an_address_that_cannot_be_used_is_refused_beside_its_field(
    owner: Person, merchant: Shop, url: str
) -> None:
    owner.get("/webhooks")
    page = owner.post("/webhooks", {"url": url, "description": "kept"})
    assert page.status_code == 400
    assert "Events cannot be sent to this address" in page.text
    assert 'value="kept"' in page.text
    assert books.rows_of(WebhookEndpoint, merchant_id=merchant.id) == []


def test_a_twenty_first_endpoint_is_refused_with_words(owner: Person, merchant: Shop) -> None:
    for _ in range(endpoints.ENDPOINTS_MAX):
        endpoint_of(merchant)
    owner.get("/webhooks")
    page = owner.post("/webhooks", {"url": HERE})
    assert page.status_code == 409
    assert "There are too many endpoints." in page.text


def test_a_test_event_goes_to_this_endpoint_and_appears(owner: Person, merchant: Shop) -> None:
    first, second = endpoint_of(merchant), endpoint_of(merchant)
    owner.get(f"/webhooks/{first}")
    assert owner.post(f"/webhooks/{first}/ping").location == f"/webhooks/{first}?notice=pinged"
    assert books.row_of(Delivery, merchant_id=merchant.id).endpoint_id == first
    assert "endpoint.ping" in owner.get(f"/webhooks/{first}").text
    assert "endpoint.ping" not in owner.get(f"/webhooks/{second}").text


def test_every_try_is_shown_and_a_failed_one_is_sent_again(owner: Person, merchant: Shop) -> None:
    endpoint_id = endpoint_of(merchant)
    charge = books.make_charge(merchant)
    delivery = books.row_of(Delivery, merchant_id=merchant.id)
    fail(merchant, delivery.id)
    page = owner.get(f"/webhooks/{endpoint_id}").text
    for text in ("Given up", "HTTP 503", "41 ms", "&lt;h1&gt;down&lt;/h1&gt;"):
        assert text in page
    assert "Given up" in owner.get(f"/charges/{charge.id}").text
    response = owner.post(f"/deliveries/{delivery.id}/resend")
    assert response.location == f"/events/{delivery.event_id}?notice=resent"
    assert books.row_of(Delivery, id=delivery.id).state == "pending"
    assert books.row_of(Job, subject_id=delivery.id).kind == "deliver"
    assert "The event is sent again." in owner.get(response.location).text


def test_nothing_is_sent_again_to_who_is_disabled(owner: Person, merchant: Shop) -> None:
    endpoint_id = endpoint_of(merchant)
    books.make_charge(merchant)
    delivery = books.row_of(Delivery, merchant_id=merchant.id)
    endpoints.disable_endpoint(merchant.id, endpoint_id, endpoints.GONE)
    page = owner.get(f"/webhooks/{endpoint_id}").text
    assert "It answered that it is gone (410)." in page
    assert "Send a test event" not in page.replace("Nothing yet. Send a test event", "")
    assert owner.post(f"/deliveries/{delivery.id}/resend").location.endswith("notice=disabled")
    assert owner.post(f"/webhooks/{endpoint_id}/ping").location.endswith("notice=disabled")
    assert "1 webhook endpoint is disabled" in owner.get("/").text
    assert owner.post(f"/webhooks/{endpoint_id}/enable").location.endswith("notice=enabled")
    assert owner.post(f"/deliveries/{delivery.id}/resend").location.endswith("notice=resent")


def test_a_deleted_endpoint_is_gone_and_its_events_stay(owner: Person, merchant: Shop) -> None:
    endpoint_id = endpoint_of(merchant)
    books.make_charge(merchant)
    event = books.row_of(Event, merchant_id=merchant.id)
    owner.get(f"/webhooks/{endpoint_id}")
    assert owner.post(f"/webhooks/{endpoint_id}/delete").location == "/webhooks?notice=deleted"
    assert owner.get(f"/webhooks/{endpoint_id}").status_code == 404
    page = owner.get(f"/events/{event.id}").text
    assert "Stopped" in page
    assert HERE.rpartition("/")[2] in page


def test_an_event_is_shown_as_its_receivers_got_it(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    event = books.row_of(Event, merchant_id=merchant.id)
    page = owner.get(f"/events/{event.id}").text
    assert "&#34;type&#34;: &#34;charge.created&#34;" in page
    assert "一杯拿铁" in page
    assert f'href="/charges/{charge.id}"' in page
    assert "No endpoint wanted to hear of this event." in page


def test_deliveries_are_paged_both_ways(owner: Person, merchant: Shop) -> None:
    endpoint_id = endpoint_of(merchant)
    for _ in range(25):
        books.make_charge(merchant)
    ids = [row.event_id for row in books.rows_of(Delivery, merchant_id=merchant.id)][::-1]
    page = owner.get(f"/webhooks/{endpoint_id}").text
    assert re.findall(r'href="/events/(evt_\w+)"', page) == ids[:20]
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    page = owner.get(older[1]).text
    assert re.findall(r'href="/events/(evt_\w+)"', page) == ids[20:]
    newer = re.search(r'rel="prev" href="([^"]+)"', page)
    assert newer is not None
    assert re.findall(r'href="/events/(evt_\w+)"', owner.get(newer[1]).text) == ids[:20]


def test_an_endpoint_is_changed(owner: Person, merchant: Shop) -> None:
    endpoint_id = endpoint_of(merchant)
    owner.get(f"/webhooks/{endpoint_id}")
    fields = {"url": f"{HERE}/2", "description": "收银台", "event_types": ["charge.paid"], "asymmetric": "1"}
    saved = owner.post(f"/webhooks/{endpoint_id}", fields)
    assert saved.location == f"/webhooks/{endpoint_id}?notice=saved"
    row = books.row_of(WebhookEndpoint)
    assert (row.url, row.description, row.event_types) == (f"{HERE}/2", "收银台", "charge.paid")
    page = owner.get(f"/webhooks/{endpoint_id}").text
    assert row.public_key.replace("+", "&#43;") in page or row.public_key in page
    refused = owner.post(f"/webhooks/{endpoint_id}", {**fields, "url": "ftp://shop.example"})
    assert refused.status_code == 400
    assert "Events cannot be sent to this address" in refused.text
    assert books.row_of(WebhookEndpoint) == row
    owner.post(f"/webhooks/{endpoint_id}", {"url": HERE})
    assert books.row_of(WebhookEndpoint).event_types == "*"
    assert books.row_of(WebhookEndpoint).public_key is None


def test_a_new_secret_is_shown_once_and_the_old_one_goes_on_for_a_while(
    owner: Person, merchant: Shop
) -> None:
    endpoint_id = endpoint_of(merchant)
    owner.get(f"/webhooks/{endpoint_id}")
    page = owner.post(f"/webhooks/{endpoint_id}/rotate", {"overlap_h": "168"})
    [secret] = set(re.findall(r"whsec_[\w+/=]{40,}", page.text))
    assert "Until the old one ends, every message is signed with both." in page.text
    assert secret not in owner.get(f"/webhooks/{endpoint_id}").text
    [old] = books.row_of(WebhookEndpoint).old_secrets
    assert books.later(days=6.9).isoformat() < old["until"] < books.later(days=7.1).isoformat()
    owner.post(f"/webhooks/{endpoint_id}/rotate", {"overlap_h": "1"})
    refused = owner.post(f"/webhooks/{endpoint_id}/rotate", {"overlap_h": "1"})
    assert refused.location.endswith("notice=too_many_secrets")
    at_once = owner.post(f"/webhooks/{endpoint_id}/rotate", {"overlap_h": "0"})
    assert at_once.status_code == 200
    assert len(books.row_of(WebhookEndpoint).old_secrets) == 2


def test_a_time_is_counted_and_then_sent_again(owner: Person, merchant: Shop) -> None:
    endpoint_id = endpoint_of(merchant)
    books.make_charge(merchant)
    delivery = books.row_of(Delivery)
    fail(merchant, delivery.id)
    owner.get(f"/webhooks/{endpoint_id}")
    page = owner.post(f"/webhooks/{endpoint_id}/replay", {"hours": "24", "only_missed": "1"}).text
    assert "1 event would be sent again." in page
    assert books.row_of(Delivery).state == "exhausted"
    counted = dict(re.findall(r'<input type="hidden" name="(since|until|only_missed)" value="([^"]+)"', page))
    done = owner.post(f"/webhooks/{endpoint_id}/replay", {**counted, "confirmed": "1"})
    assert done.location == f"/webhooks/{endpoint_id}?notice=replayed"
    assert books.row_of(Delivery).state == "pending"
    for nonsense in ({}, {"hours": "x"}, {"since": "1", "until": "2"}, {"hours": "9" * 30}):
        page = owner.post(f"/webhooks/{endpoint_id}/replay", nonsense)
        assert page.status_code == 200
        assert "would be sent again" not in page.text


def test_a_person_hears_of_an_endpoint_that_hears_nothing(owner: Person, merchant: Shop) -> None:
    """On the home page and in the room; not if the person wanted it so."""
    endpoint_id = endpoint_of(merchant)
    words = "Events have stopped going to one of your addresses."
    owner.get(f"/webhooks/{endpoint_id}")
    stopped = owner.post(f"/webhooks/{endpoint_id}/disable")
    assert stopped.location.endswith("notice=stopped")
    assert "You disabled it." in owner.get(f"/webhooks/{endpoint_id}").text
    for path in ("/", "/webhooks"):
        assert words not in owner.get(path).text
    owner.post(f"/webhooks/{endpoint_id}/enable")
    endpoints.disable_endpoint(merchant.id, endpoint_id, endpoints.FAILING)
    for path in ("/", "/webhooks"):
        assert words in owner.get(path).text
    assert "It failed for days." in owner.get("/webhooks").text
    assert owner.post(f"/webhooks/{endpoint_id}/replay", {"hours": "1"}).location.endswith("notice=disabled")
