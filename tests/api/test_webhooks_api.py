"""/v1/webhook_endpoints and /v1/events: where a merchant's system hears from us, and what it missed."""

from __future__ import annotations

import json

from app.db import transaction
from app.ids import is_id
from app.webhooks import types
from app.webhooks.endpoints import ENDPOINTS_MAX
from app.webhooks.models import Event, WebhookEndpoint
from tests.api.calls import refusal, row_counts
from tests.books import row_of, rows_of


def test_an_endpoint_shows_its_secret_once(api):
    created = api.endpoint(event_types=["charge.paid", "charge.expired"], description="the till")
    assert created.status_code == 201
    endpoint = created.get_json()
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert is_id(endpoint["id"], "we")
    assert endpoint == {
        "id": endpoint["id"],
        "object": "webhook_endpoint",
        "livemode": False,
        "url": "https://shop.example.com/mafu",
        "description": "the till",
        "event_types": ["charge.paid", "charge.expired"],
        "status": "enabled",
        "disabled_reason": None,
        "disabled_at": None,
        "failing_since": None,
        "created_at": endpoint["created_at"],
    }
    assert api.get(f"/v1/webhook_endpoints/{endpoint['id']}").get_json() == endpoint
    assert api.get("/v1/webhook_endpoints").get_json() == {
        "object": "list",
        "url": "/v1/webhook_endpoints",
        "has_more": False,
        "data": [endpoint],
    }
    assert secret not in str(row_of(WebhookEndpoint))


def test_an_endpoint_hears_everything_unless_it_says_what(api):
    assert api.endpoint().get_json()["event_types"] == ["*"]
    assert api.endpoint(event_types=["charge.paid", "*"]).get_json()["event_types"] == ["*"]


def test_a_bad_endpoint_is_refused_by_name_and_leaves_nothing(api):
    cases = {
        "url": ["", "ftp://shop.example.com", "https://u:p@shop.example.com/", "https://10.0.0.1/x"],
        "event_types": [["charge.eaten"], [], ["endpoint.ping"], "charge.paid", {}, None],
        "event_types.0": [[7], [None], ["\ud800"]],
        "description": ["x" * 201, 7, "a\u0000b", "\ud800", "a\nb", None],
        "secret": ["whsec_mine"],
        "status": ["disabled"],
        "merchant_id": ["mch_1"],
    }
    cases["url"] += ["https://shop.example.com/\u0000", "https://shop.example.com/" + "x" * 2048, "\ud800", 7]
    before = row_counts()
    for param, values in cases.items():
        for value in values:
            answer = api.endpoint(**{param.removesuffix(".0"): value})
            assert (answer.status_code, refusal(answer)[2]) == (400, param), value
    assert row_counts() == before


def test_a_deleted_endpoint_is_gone(api):
    endpoint_id = api.endpoint().get_json()["id"]
    deleted = api.delete(f"/v1/webhook_endpoints/{endpoint_id}")
    assert deleted.get_json() == {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}
    assert refusal(api.delete(f"/v1/webhook_endpoints/{endpoint_id}")) == (404, "not_found", None)
    assert refusal(api.get(f"/v1/webhook_endpoints/{endpoint_id}")) == (404, "not_found", None)
    assert api.get("/v1/webhook_endpoints").get_json()["data"] == []


def test_there_are_at_most_so_many_endpoints(api, live_api):
    for _ in range(ENDPOINTS_MAX):
        assert api.endpoint().status_code == 201
    assert refusal(api.endpoint()) == (409, "too_many_endpoints", None)
    assert live_api.endpoint().status_code == 201


def test_an_event_is_read_as_the_bytes_that_webhooks_carry(api):
    charge = api.charge(description="一杯 🍵").get_json()
    event = row_of(Event, object_id=charge["id"])
    answer = api.get(f"/v1/events/{event.id}")
    assert answer.data.decode() == event.body
    body = answer.get_json()
    assert list(body) == ["id", "object", "type", "created_at", "timestamp", "livemode", "sequence", "data"]
    assert (body["object"], body["type"], body["sequence"]) == ("event", types.CHARGE_CREATED, 1)
    assert body["data"] == {"object": charge}


def test_events_are_paged_and_narrowed(api):
    charges = [api.charge().get_json()["id"] for _ in range(3)]
    api.post(f"/v1/charges/{charges[0]}/cancel")
    ids = [row.id for row in rows_of(Event)][::-1]

    def page(query: str) -> tuple[list[str], bool]:
        answer = api.get(f"/v1/events?{query}")
        assert answer.status_code == 200, answer.data
        assert (answer.get_json()["object"], answer.get_json()["url"]) == ("list", "/v1/events")
        return [event["id"] for event in answer.get_json()["data"]], answer.get_json()["has_more"]

    assert page("") == (ids, False)
    assert page("limit=3") == (ids[:3], True)
    assert page(f"limit=3&starting_after={ids[2]}") == (ids[3:], False)
    assert page(f"limit=2&ending_before={ids[3]}") == (ids[1:3], True)
    assert page(f"limit=3&ending_before={ids[3]}") == (ids[:3], False)
    assert page("type=charge.canceled") == (ids[:1], False)
    assert page("type=charge.unheard_of") == ([], False)
    assert page(f"object_id={charges[0]}") == ([ids[0], ids[3]], False)


def test_a_listed_event_is_the_event(api):
    api.charge()
    [listed] = api.get("/v1/events").get_json()["data"]
    assert listed == json.loads(row_of(Event).body)


def test_an_endpoint_is_stored_with_its_idempotency_key_or_not_at_all(api):
    """The key row and the endpoint share one transaction."""
    first = api.endpoint(once="e-1")
    again = api.endpoint(once="e-1")
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(rows_of(WebhookEndpoint)) == 1
    with transaction() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM idempotency_keys").scalar_one() == 1
