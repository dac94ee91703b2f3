"""/v1/webhook_endpoints and /v1/events: where a merchant's system hears from us, and what it missed."""

from __future__ import annotations

import json
from datetime import datetime

import sqlalchemy as sa

from app.db import transaction
from app.ids import is_id, new_id
from app.queue import Job
from app.webhooks import types
from app.webhooks.endpoints import ENDPOINTS_MAX
from app.webhooks.models import Delivery, DeliveryAttempt, Event, WebhookEndpoint
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
        "public_key": None,
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


def test_events_are_read_on_in_the_order_of_their_commits(api):
    charges = [api.charge().get_json()["id"] for _ in range(3)]
    api.post(f"/v1/charges/{charges[0]}/cancel")

    def read(query: str) -> tuple[list[str], str | None, bool]:
        answer = api.get(f"/v1/events?{query}").get_json()
        last = answer["data"][-1]["id"] if answer["data"] else None
        return [event["data"]["object"]["id"] for event in answer["data"]], last, answer["has_more"]

    first, last, has_more = read("after=start&limit=2")
    assert (first, has_more) == (charges[:2], True)
    rest, last, has_more = read(f"after={last}")
    assert (rest, has_more) == ([charges[2], charges[0]], False)
    assert read(f"after={last}") == ([], None, False)
    assert read("after=start&types=charge.canceled,charge.paid")[0] == [charges[0]]
    assert read("types=charge.canceled")[0] == read("type=charge.canceled")[0] == [charges[0]]


def test_a_cursor_that_leads_nowhere_is_refused(api):
    event_id = new_id("evt")
    assert refusal(api.get(f"/v1/events?after={event_id}")) == (404, "not_found", None)
    for query in ("after=evt_1", "after=beginning", "after=", f"after={new_id('ch')}"):
        assert refusal(api.get(f"/v1/events?{query}"))[::2] == (400, "after"), query
    for other in ("starting_after", "ending_before"):
        assert refusal(api.get(f"/v1/events?after=start&{other}={event_id}"))[::2] == (400, "after")
    for types_ in ("charge", "charge.paid,", "charge.paid;", "A.b", ",".join(["charge.paid"] * 21)):
        assert refusal(api.get(f"/v1/events?types={types_}"))[::2] == (400, "types"), types_


def test_deliveries_are_listed_read_and_sent_again(api):
    endpoint = api.endpoint().get_json()
    api.charge(), api.endpoint()
    charge_id = api.charge().get_json()["id"]
    listed = api.get("/v1/deliveries").get_json()["data"]
    assert len(listed) == 3
    [one] = api.get(f"/v1/deliveries?endpoint={endpoint['id']}&object_id={charge_id}").get_json()["data"]
    assert (one["event_type"], one["status"], one["attempts"]) == ("charge.created", "pending", [])
    assert api.get(f"/v1/deliveries/{one['id']}").get_json() == one
    by_event = api.get(f"/v1/deliveries?event={one['event']}").get_json()["data"]
    assert {delivery["endpoint"] for delivery in by_event} >= {endpoint["id"]}
    assert api.get("/v1/deliveries?status=delivered").get_json()["data"] == []
    assert len(api.get("/v1/deliveries?status=pending&limit=2").get_json()["data"]) == 2
    settle_delivery(one["id"])
    [done] = api.get("/v1/deliveries?status=delivered").get_json()["data"]
    [attempt] = done["attempts"]
    assert attempt["request_headers"] == {
        "content-type": "application/json",
        "user-agent": "Mafu",
        "webhook-id": one["event"],
        "webhook-timestamp": "1768442584",
        "webhook-signature": "v1,… v1a,…",
    }
    assert (attempt["response_status"], attempt["response_head"], attempt["duration_ms"]) == (200, "ok", 41)
    assert api.post(f"/v1/deliveries/{one['id']}/resend").get_json()["status"] == "pending"
    api.post(f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": True})
    refused = refusal(api.post(f"/v1/deliveries/{one['id']}/resend"))
    assert refused == (409, "endpoint_disabled", None)


def test_a_replay_is_dry_unless_it_is_meant(api):
    endpoint_id = api.endpoint().get_json()["id"]
    api.charge()
    [delivery] = rows_of(Delivery)
    settle_delivery(delivery.id)
    span = {"since": "2026-01-01T00:00:00Z", "until": "2126-01-01T08:00:00+08:00"}
    dry = api.post("/v1/events/replay", span).get_json()
    assert dry == {
        "object": "replay",
        "dry_run": True,
        "endpoints": [{"endpoint": endpoint_id, "events": 1}],
        "lasts_s": 0,
    }
    assert row_of(Delivery).state == "delivered"
    wet = api.post("/v1/events/replay", {**span, "endpoint": endpoint_id, "dry_run": False}).get_json()
    assert wet == {**dry, "dry_run": False}
    assert row_of(Delivery).state == "pending"


def test_a_replay_that_makes_no_sense_is_refused_by_name(api):
    api.endpoint()
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    cases = {
        "since": ["yesterday", 1767225600, "2026-01-01T00:00:00", None, True],
        "until": ["2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", ""],
        "endpoint": ["we_1", None, 7],
        "types": [[], "charge.paid", ["charge.eaten"], ["x"] * 21],
        "only_missed": ["yes", 1],
        "dry_run": ["no", 0],
        "pace": [1000],
    }
    for param, values in cases.items():
        for value in values:
            answer = api.post("/v1/events/replay", {**span, param: value})
            assert (answer.status_code, refusal(answer)[2]) == (400, param), value


def settle_delivery(delivery_id: str) -> None:
    """What the worker writes down of a try that went well."""
    deliveries, jobs = Delivery.__table__, Job.__table__
    with transaction() as tx:
        tx.execute(sa.delete(jobs).where(jobs.c.subject_id == delivery_id))
        tx.execute(sa.update(deliveries).where(deliveries.c.id == delivery_id).values(state="delivered"))
        tx.execute(
            sa.insert(DeliveryAttempt),
            {
                "merchant_id": row_of(Delivery, id=delivery_id).merchant_id,
                "id": new_id("whd"),
                "delivery_id": delivery_id,
                "number": 1,
                "started_at": datetime.fromisoformat("2026-01-15T02:03:04.601+00:00"),
                "duration_ms": 41,
                "status": 200,
                "response_head": "ok",
                "signed_with": "v1 v1a",
            },
        )


def test_a_secret_is_changed_and_shown_once(api):
    created = api.endpoint(asymmetric=True).get_json()
    path = f"/v1/webhook_endpoints/{created['id']}"
    changed = api.post(f"{path}/rotate_secret", {"expires_in_s": 60}).get_json()
    assert changed["secret"].startswith("whsec_")
    assert changed["secret"] != created["secret"]
    assert changed["public_key"].startswith("whpk_")
    assert changed["public_key"] != created["public_key"]
    shown = api.get(path)
    assert "secret" not in shown.get_json()
    assert "whsk_" not in shown.text
    assert shown.get_json()["public_key"] == changed["public_key"]  # this one may be read at any time
    headers = {"Idempotency-Key": "r-1"}
    first = api.post(f"{path}/rotate_secret", {}, headers=headers)
    assert api.post(f"{path}/rotate_secret", {}, headers=headers).data == first.data
    assert refusal(api.post(f"{path}/rotate_secret", {})) == (409, "too_many_secrets", None)
    for seconds in (-1, 7 * 86400 + 1, 1.5, "60", None, True):
        assert refusal(api.post(f"{path}/rotate_secret", {"expires_in_s": seconds}))[::2] == (
            400,
            "expires_in_s",
        )


def test_an_endpoint_is_changed_in_what_is_named_only(api):
    created = api.endpoint(event_types=["charge.paid"], description="till").get_json()
    path = f"/v1/webhook_endpoints/{created.pop('id')}"
    created.pop("secret")
    before = api.get(path).get_json()
    assert api.post(path, {}).get_json() == before
    moved = api.post(path, {"url": "https://new.example.com/hook", "event_types": ["*"]}).get_json()
    assert moved == {**before, "url": "https://new.example.com/hook", "event_types": ["*"]}
    off = api.post(path, {"disabled": True}).get_json()
    assert (off["status"], off["disabled_reason"]) == ("disabled", "asked")
    assert refusal(api.post(f"{path}/ping")) == (409, "endpoint_disabled", None)
    assert api.post(path, {"disabled": False}).get_json() == moved
    cases = {
        "url": ["", "ftp://shop.example.com", "https://10.0.0.1/x", None],
        "event_types": [["charge.eaten"], [], None],
        "description": ["x" * 201, None],
        "disabled": ["yes", None, 1],
        "asymmetric": ["yes", None],
        "status": ["disabled"],
        "secret": ["whsec_mine"],
    }
    for param, values in cases.items():
        for value in values:
            answer = api.post(path, {param: value})
            assert (answer.status_code, refusal(answer)[2]) == (400, param), value
    assert api.get(path).get_json() == moved


def test_a_ping_is_an_event_for_one_endpoint(api):
    first, second = (api.endpoint().get_json()["id"] for _ in range(2))
    event_id = api.post(f"/v1/webhook_endpoints/{first}/ping").get_json()["event"]
    assert api.get(f"/v1/events/{event_id}").get_json()["type"] == "endpoint.ping"
    [delivery] = api.get(f"/v1/deliveries?event={event_id}").get_json()["data"]
    assert delivery["endpoint"] == first
    assert api.get(f"/v1/deliveries?endpoint={second}").get_json()["data"] == []
