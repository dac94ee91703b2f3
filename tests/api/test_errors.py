"""Every answer of the API has its frame, whatever went wrong."""

from __future__ import annotations

import base64

import pytest
from sqlalchemy.exc import OperationalError

from app import problems
from app.charges import lifecycle
from app.errors import PlatformError
from app.ids import is_id
from app.merchants import keys
from tests.api.calls import CHARGE, Api, error_of, refusal, row_counts


def test_every_answer_names_itself_and_the_version(api, client):
    charge_id = api.charge().get_json()["id"]
    answers = [
        api.get("/v1/charges"),
        api.get(f"/v1/charges/{charge_id}"),
        api.get(f"/v1/charges/{charge_id}/qr.svg"),
        api.get("/v1/charges/ch_nothing"),
        api.get("/v1/nothing"),
        api.post("/v1/charges", {}),
        client.get("/v1/charges"),
        client.get("/v1/openapi.json"),
        client.put("/v1/charges"),
        client.get("/v1"),
    ]
    seen = {answer.headers["Request-Id"] for answer in answers}
    assert len(seen) == len(answers)
    for answer in answers:
        assert is_id(answer.headers["Request-Id"], "req")
        assert answer.headers["Mafu-Version"] == "2026-11-21"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_another_version_of_the_api_is_refused(api, client):
    assert api.get("/v1/charges", headers={"Mafu-Version": "2026-11-21"}).status_code == 200
    for version in ("2020-01-01", "", "latest"):
        answer = api.get("/v1/charges", headers={"Mafu-Version": version})
        assert refusal(answer) == (400, "unknown_version", "Mafu-Version")
    assert client.get("/healthz", headers={"Mafu-Version": "2020-01-01"}).status_code == 200


def test_without_a_good_key_nothing_is_shown(client, merchant):
    good = merchant.key
    wrong_tail = good[:-1] + ("0" if good[-1] != "0" else "1")
    refused = {
        None: "missing_api_key",
        "": "missing_api_key",
        good: "missing_api_key",
        f"Token {good}": "missing_api_key",
        "Bearer": "invalid_api_key",
        "Bearer ": "invalid_api_key",
        f"Bearer {wrong_tail}": "invalid_api_key",
        f"Bearer {good}x": "invalid_api_key",
        f"Bearer {good[:-1]}": "invalid_api_key",
        f"Bearer {good.replace('test', 'live')}": "invalid_api_key",
        "Bearer 码付": "invalid_api_key",
        "Bearer " + "x" * 5000: "invalid_api_key",
        f"Bearer {_key_of_nobody()}": "invalid_api_key",
        "Basic ": "invalid_api_key",
        "Basic !!!": "missing_api_key",
        "Basic " + base64.b64encode(b"x:y").decode(): "invalid_api_key",
        "Basic " + base64.b64encode(f":{good}".encode()).decode(): "invalid_api_key",
    }
    before = row_counts()
    for header, code in refused.items():
        headers = {} if header is None else {"Authorization": header}
        for answer in (
            client.get("/v1/charges", headers=headers),
            client.post("/v1/charges", json=CHARGE, headers=headers),
            client.get("/v1/events", headers=headers),
            client.get("/v1/webhook_endpoints", headers=headers),
        ):
            assert refusal(answer) == (401, code, None), header
            assert error_of(answer)["type"] == "authentication_error"
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mafu"'
    assert row_counts() == before


def _key_of_nobody() -> str:
    """Well formed, and never made."""
    body = "mafu_sk_test_" + "A" * 43
    return body + keys._tail(body)


def test_a_key_is_taken_as_bearer_and_as_user_name(client, merchant):
    for user in (f"{merchant.key}:", f"{merchant.key}:ignored"):
        basic = "Basic " + base64.b64encode(user.encode()).decode()
        assert client.get("/v1/charges", headers={"Authorization": basic}).status_code == 200
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {merchant.key}"}
        assert client.get("/v1/charges", headers=headers).status_code == 200


def test_a_revoked_key_opens_nothing_from_the_next_call_on(api, merchant, client):
    key_id, key = keys.create_key(merchant.id, livemode=False, name="second")
    second = Api(client, key)
    assert second.get("/v1/charges").status_code == 200
    keys.revoke_key(merchant.id, key_id)
    assert refusal(second.get("/v1/charges")) == (401, "api_key_revoked", None)
    assert api.get("/v1/charges").status_code == 200


def test_what_is_not_there_and_what_is_not_done(api):
    charge_id = api.charge().get_json()["id"]
    for path in ("/v1/nothing", "/v1", "/v1/", "/v1/charges/", "/v2/charges", f"/v1/charges/{charge_id}/pay"):
        if path.startswith("/v1"):
            assert refusal(api.get(path)) == (404, "not_found", None), path
        else:
            assert api.get(path).status_code == 404
    for method, path, allowed in (
        ("PUT", "/v1/charges", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", f"/v1/charges/{charge_id}", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", f"/v1/charges/{charge_id}", {"GET", "HEAD", "OPTIONS"}),
        ("GET", f"/v1/charges/{charge_id}/cancel", {"OPTIONS", "POST"}),
        ("PATCH", "/v1/webhook_endpoints", {"GET", "HEAD", "OPTIONS", "POST"}),
    ):
        answer = api._call(method, path, {})
        assert refusal(answer) == (405, "method_not_allowed", None)
        assert set(answer.headers["Allow"].split(", ")) == allowed


def test_no_header_turns_one_method_into_another(api):
    charge_id = api.charge().get_json()["id"]
    path = f"/v1/webhook_endpoints/{api.endpoint().get_json()['id']}"
    api.get(path, headers={"X-HTTP-Method-Override": "DELETE"}, query_string={})
    assert api.get(path).status_code == 200
    assert api.post(f"/v1/charges/{charge_id}?_method=DELETE").status_code == 405


def test_a_body_of_another_kind_is_415_and_a_huge_one_413(api):
    before = row_counts()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = api.post("/v1/charges", data=b'{"amount": 1}', content_type=content_type)
        assert refusal(answer) == (415, "unsupported_media_type", None), content_type
    for path in ("/v1/charges", "/v1/webhook_endpoints"):
        answer = api.post(path, data=b" " * (1 << 20), content_type="application/json")
        assert refusal(answer) == (413, "request_entity_too_large", None)
    assert row_counts() == before
    vendor = api.post("/v1/charges", data=b'{"amount": 1}', content_type="application/json; charset=utf-8")
    assert refusal(vendor) == (400, "parameter_missing", "currency")


def test_the_largest_charge_there_is_fits(api):
    """Twenty values of 500 characters, each spelled as an escape, as Python's clients send them."""
    metadata = {f"{number:02}" + "键" * 38: "值" * 500 for number in range(20)}
    body = {
        "description": "茶" * 127,
        "return_url": "https://shop.example/" + "x" * 2027,
        "metadata": metadata,
    }
    assert api.charge(**body).status_code == 201


@pytest.mark.parametrize("kind", [kind for kind in problems._STATUS if kind is not PlatformError])
def test_every_deliberate_error_has_a_status_of_its_own(kind):
    assert 400 <= problems._STATUS[kind][0] < 600
    assert problems._STATUS[kind][0] != 500


def test_a_database_that_is_away_is_503_and_a_fault_of_ours_500(api, monkeypatch):
    def away(*_args: object, **_more: object) -> None:
        raise OperationalError("SELECT secret", {"key": "whsec_canary"}, Exception("connection refused"))

    def broken(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError("whsec_canary")

    monkeypatch.setattr(lifecycle, "find", away)
    answer = api.get("/v1/charges/ch_x")
    assert refusal(answer) == (503, "database_unavailable", None)
    assert int(answer.headers["Retry-After"]) > 0
    monkeypatch.setattr(lifecycle, "find", broken)
    answer = api.get("/v1/charges/ch_x")
    assert refusal(answer) == (500, "internal", None)
    assert b"canary" not in answer.data
