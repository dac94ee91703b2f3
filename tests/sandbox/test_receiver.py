"""The demo merchant verifies webhooks as the independent package standardwebhooks signs them."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
BODY = json.dumps(
    {"type": "charge.paid", "data": {"amount": 1250, "名": "咖啡"}}, ensure_ascii=False
).encode()


def hook(far: Any, *, body: bytes = BODY, secret: str = SECRET, age_s: int = 0, **instead: str) -> int:
    sent = datetime.now(UTC) - timedelta(seconds=age_s)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", sent, BODY.decode()),
        "content-type": "application/json",
    }
    headers |= {name.replace("_", "-"): value for name, value in instead.items()}
    status: int = far.ask("POST", "/receiver/hook", body, headers).status
    return status


@pytest.fixture
def receiver(far: Any) -> Any:
    assert far.post("/receiver/secret", {"secret": SECRET}).status == 200
    yield far
    far.post("/receiver/levers")


def test_a_genuine_webhook_is_taken_and_can_be_verified_again(receiver: Any) -> None:
    assert hook(receiver) == 204
    (event,) = receiver.get("/receiver/events").json["data"]
    assert (event["id"], event["type"], event["verified"]) == ("evt_1", "charge.paid", True)
    assert Webhook(SECRET).verify(event["body"], event["headers"])["type"] == "charge.paid"


def test_one_good_signature_among_several_is_enough(receiver: Any) -> None:
    sent = datetime.now(UTC)
    good = Webhook(SECRET).sign("evt_1", sent, BODY.decode())
    stamp = str(int(sent.timestamp()))
    assert hook(receiver, webhook_signature=f"v1,AAAA {good} v2,x", webhook_timestamp=stamp) == 204


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": BODY + b" "},
        {"secret": "whsec_" + base64.b64encode(b"x" * 24).decode()},
        {"age_s": 301},
        {"age_s": -301},
        {"webhook_id": "evt_2"},
        {"webhook_signature": ""},
        {"webhook_signature": "v1,"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": ""},
    ],
)
def test_everything_else_is_refused_and_kept(receiver: Any, wrong: dict[str, Any]) -> None:
    assert hook(receiver, **wrong) == 401
    (event,) = receiver.get("/receiver/events").json["data"]
    assert event["verified"] is False


def test_it_fails_as_often_as_it_is_told(receiver: Any) -> None:
    receiver.post("/receiver/levers", {"fail_times": 2, "status": 503})
    assert [hook(receiver) for _ in range(3)] == [503, 503, 204]


def test_it_is_as_slow_as_it_is_told(receiver: Any) -> None:
    receiver.post("/receiver/levers", {"slow_s": 0.3})
    begun = time.monotonic()
    assert hook(receiver) == 204
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("wish", [{"fail_times": -1}, {"status": 99}, {"slow_s": 61}, {"slow_s": "1"}])
def test_levers_that_make_no_sense_are_refused(receiver: Any, wish: dict[str, Any]) -> None:
    assert receiver.post("/receiver/levers", wish).status == 400


def test_only_the_last_two_hundred_are_kept(receiver: Any) -> None:
    with receiver.box.store.write() as db:
        for number in range(205):
            db.execute(
                "INSERT INTO hooks (received_ts, verified, status, headers, body) VALUES (?, 0, 401, ?, ?)",
                (float(number), '{"webhook-id": "old"}', b"{"),
            )
    hook(receiver)
    events = receiver.get("/receiver/events").json["data"]
    assert len(events) == 200
    assert events[0]["id"] == "evt_1"


@pytest.mark.parametrize("secret", ["", "x", "whsec_", "whsec_ü", "whsec_short", 7])
def test_a_secret_that_is_none_is_refused(far: Any, secret: Any) -> None:
    assert far.post("/receiver/secret", {"secret": secret}).status == 400


def test_the_page_shows_what_came_but_never_the_secret(receiver: Any) -> None:
    hook(receiver, body=b"<script>")
    page = receiver.get("/receiver?lang=en").text
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert SECRET not in page
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert receiver.ask("POST", "/receiver/form", b"fail_times=1&slow_s=0", form).status == 303
    assert [hook(receiver) for _ in range(2)] == [500, 204]
