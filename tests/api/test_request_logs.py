"""The request log: every call of a key is found by its Request-Id, and opens nothing."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.config import Settings
from app.merchants import journal, keys
from app.merchants.journal import BODY_CHARS_MAX, Journal, Line, masked
from app.merchants.models import RequestLog
from tests.api.calls import Api, error_of, refusal
from tests.books import rows_of
from tests.conftest import Shop, add_shop, running, settings_for


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """As in every test, but with a request log."""
    return settings_for(database_url, tmp_path, request_log_days=30)


@pytest.fixture
def diary(app: Flask) -> Journal:
    """The journal, written when a test says so and not by its thread."""
    mine: Journal = app.extensions["mafu.journal"]
    mine._stop.set()
    return mine


def test_a_call_is_found_by_the_request_id_of_its_answer(api: Api, diary: Journal, merchant: Shop):
    made = api.charge(merchant_order_no="A-1")
    assert diary.write() == 1
    found = api.get(f"/v1/request_logs/{made.headers['Request-Id']}").get_json()
    answer_body = json.loads(found.pop("answer_body"))
    assert answer_body == {**made.get_json(), "url": answer_body["url"]}
    assert json.loads(found.pop("request_body"))["merchant_order_no"] == "A-1"
    assert found == {
        "id": made.headers["Request-Id"],
        "object": "request_log",
        "livemode": False,
        "created_at": found["created_at"],
        "key": keys.authenticate(merchant.key).key_id,
        "address": "127.0.0.1",
        "method": "POST",
        "route": "/v1/charges",
        "path": "/v1/charges",
        "status": 201,
        "error_code": None,
        "duration_ms": found["duration_ms"],
    }
    listed = api.get(f"/v1/request_logs?request_id={found['id']}").get_json()
    assert listed["data"] == [found]


def test_a_refused_call_is_kept_with_its_reason(api: Api, diary: Journal):
    refused = api.charge(amount=-1)
    diary.write()
    found = api.get(f"/v1/request_logs/{error_of(refused)['request_id']}").get_json()
    assert (found["status"], found["error_code"]) == (400, "parameter_invalid")
    assert json.loads(found["answer_body"]) == refused.get_json()


def test_a_call_without_a_valid_key_is_nobodys(client, api: Api, diary: Journal):
    client.get("/v1/charges")
    client.get("/v1/charges", headers={"Authorization": "Bearer mafu_sk_test_x"})
    client.get("/healthz")
    assert diary.write() == 0


def test_no_secret_is_stored(api: Api, diary: Journal):
    secrets = [
        api.endpoint().get_json()["secret"],
        api.post("/v1/api_keys", {"name": "till"}).get_json()["secret"],
        api.post("/v1/api_keys", {"name": "till", "scopes": ["logs:read"]}).get_json()["secret"],
    ]
    api.charge(description=f"{secrets[1]} {secrets[0]}", metadata={"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"})
    api.get(f"/v1/charges?merchant_order_no={secrets[1]}")
    api.post("/v1/charges", data=f"not json {secrets[2]}".encode(), content_type="application/json")
    diary.write()
    rows = rows_of(RequestLog)
    assert len(rows) == 6
    stored = str([tuple(row) for row in rows])
    for secret in [*secrets, api.key, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"]:
        assert secret not in stored
        assert secret[-20:] not in stored
    charge = json.loads(rows[3].answer_body)
    assert len(charge["url"].rpartition("/")[2]) < 15  # a payment link opens its charge


def test_bodies_are_cut(api: Api, diary: Journal):
    api.charge(metadata={f"k{number}": "x" * 500 for number in range(20)})
    diary.write()
    [row] = rows_of(RequestLog)
    assert len(row.request_body) == len(row.answer_body) == BODY_CHARS_MAX + 1


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"\x00", b'"\\ud800"', b"[" * 50_000, b'{"secret": "x', b"NaN", b"", "码".encode()]
)
def test_any_body_can_be_stored(api: Api, diary: Journal, body: bytes):
    answer = api.post("/v1/charges", data=body, content_type="application/json")
    assert answer.status_code == 400
    diary.write()
    assert api.get(f"/v1/request_logs/{answer.headers['Request-Id']}").status_code == 200


def test_reading_the_log_is_logged_without_what_it_said(api: Api, diary: Journal):
    api.get("/v1/request_logs")
    diary.write()
    [row] = rows_of(RequestLog)
    assert (row.route, row.answer_body) == ("/v1/request_logs", "")


def test_each_sees_its_own_calls(api: Api, live_api: Api, stranger: Api, diary: Journal):
    ids = [who.charge().headers["Request-Id"] for who in (api, live_api, stranger)]
    diary.write()
    for who, own in zip((api, live_api, stranger), ids, strict=True):
        listed = who.get("/v1/request_logs").get_json()["data"]
        assert [line["id"] for line in listed] == [own]
        diary.write()
        statuses = [who.get(f"/v1/request_logs/{other}").status_code for other in ids]
        assert statuses == [200 if other == own else 404 for other in ids]
        diary._lines.clear()


def test_the_list_is_paged_and_narrowed(api: Api, diary: Journal, merchant: Shop):
    charge = api.charge()
    charge_id = charge.get_json()["id"]
    answers = [charge, api.get(f"/v1/charges/{charge_id}"), api.get("/v1/charges/none"), api.charge(amount=0)]
    _, second = keys.create_key(merchant.id, livemode=False, name="second")
    answers.append(Api(api.client, second).get("/v1/events"))
    ids = [answer.headers["Request-Id"] for answer in answers]
    diary.write()

    def page(query: str) -> list[str]:
        answer = api.get(f"/v1/request_logs?{query}")
        assert answer.status_code == 200, answer.data
        return [line["id"] for line in answer.get_json()["data"]]

    assert page("") == ids[::-1]
    assert page("limit=2") == [ids[4], ids[3]]
    assert page(f"limit=2&starting_after={ids[3]}") == [ids[2], ids[1]]
    assert page(f"limit=2&ending_before={ids[2]}") == [ids[4], ids[3]]
    assert page("method=POST") == [ids[3], ids[0]]
    assert page("status=refused") == [ids[3], ids[2]]
    assert page("status=failed") == []
    assert page("status=succeeded") == [ids[4], ids[1], ids[0]]
    assert page(f"object_id={charge_id}") == [ids[1]]
    assert page(f"key={keys.authenticate(second).key_id}") == [ids[4]]
    for bad in ("status=x", "method=PUT", "key=x", "object_id=%25", "request_id=x", "starting_after=x"):
        assert refusal(api.get(f"/v1/request_logs?{bad}"))[0] == 400


def test_old_lines_are_forgotten_and_no_others(api: Api, diary: Journal, at: Any, monkeypatch: Any):
    monkeypatch.setattr(journal, "_FORGOTTEN_AT_ONCE", 2)
    for _ in range(5):
        api.get("/v1/charges")
    diary.write()
    at(timedelta(days=30, seconds=1))
    api.get("/v1/charges")
    diary.write()
    assert journal.forget_old() == 5
    assert len(rows_of(RequestLog)) == 1
    assert journal.forget_old() == 0


def test_lines_are_written_by_themselves_soon(app: Flask, api: Api):
    api.charge()
    deadline_s = time.monotonic() + 10
    while not rows_of(RequestLog) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert [row.route for row in rows_of(RequestLog)] == ["/v1/charges"]


def test_what_waits_is_written_when_the_process_ends(database_url: str, tmp_path: Path):
    settings = settings_for(database_url, tmp_path, request_log_days=1)
    with running(settings) as app:
        Api(app.test_client(), add_shop().key).charge()
    with running(settings_for(database_url, tmp_path)):
        assert len(rows_of(RequestLog)) == 1


def test_a_journal_that_cannot_write_keeps_the_newest_and_stops_nothing(
    app: Flask, api: Api, diary: Journal, monkeypatch: Any
):
    monkeypatch.setattr(diary, "_lines", type(diary._lines)(maxlen=3))
    assert {api.get("/v1/charges").status_code for _ in range(5)} == {200}
    assert diary.write() == 3


def test_masking_keeps_what_is_no_secret():
    line = Line(
        "mch_1", "req_1", False, "key_1", "::1", "POST", "/v1/charges", "/v1/charges", 201, None, 1,
        '{"description": "一杯拿铁", "amount": 1250}'.encode(), b"", None,  # type: ignore[arg-type]
    )  # fmt: skip
    assert masked(line)["request_body"] == '{"description": "一杯拿铁", "amount": 1250}'


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_zero_in_one_address_takes_no_other_call_out_of_the_log(api: Api, diary: Journal):
    for path in ("/v1/charges", "/v1/charges/%00"):
        api.get(path)
    assert diary.write() == 2
