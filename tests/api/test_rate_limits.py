"""Rate limits: one key's haste is answered with 429 and how long to wait, and nobody else's calls with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app.merchants import keys
from app.rates import rates_of
from tests.api.calls import Api, error_of, refusal, row_counts
from tests.conftest import Shop

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def limit(app: Flask, **limits: int) -> None:
    """Give the application tight limits."""
    mine = app.extensions["mafu.runtime"]
    all_limits = {"reads_per_s": 0, "writes_per_s": 0, "failures_per_min": 0, **limits}
    app.extensions["mafu.runtime"] = replace(mine, rates=rates_of(**all_limits))


@pytest.fixture
def hasty(app: Flask, api: Api) -> Api:
    limit(app, reads_per_s=2, writes_per_s=1)
    return api


def test_a_hasty_key_is_told_to_wait(hasty: Api):
    statuses = [hasty.get("/v1/charges").status_code for _ in range(5)]
    assert statuses == [200] * 4 + [429]
    refused = hasty.get("/v1/charges")
    assert error_of(refused)["type"] == "rate_limit_error"
    assert refusal(refused) == (429, "too_many_requests", None)
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit-Remaining"] == "0"


def test_every_answer_says_how_much_is_left(hasty: Api):
    answers = [hasty.get("/v1/charges/none") for _ in range(2)]
    said = [
        [answer.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]
        for answer in answers
    ]
    assert said == [["4", "3", "1"], ["4", "2", "1"]]


def test_reading_and_writing_are_counted_apart_and_a_refused_call_does_nothing(hasty: Api):
    statuses = [hasty.charge().status_code for _ in range(3)]
    assert statuses == [201, 201, 429]
    before = row_counts()
    assert refusal(hasty.charge(once="k-1"))[0] == 429
    assert row_counts() == before
    assert hasty.get("/v1/charges").status_code == 200


def test_another_key_is_not_slowed_down(hasty: Api, live_api: Api, stranger: Api):
    while hasty.charge().status_code == 201:
        pass
    assert live_api.charge().status_code == stranger.charge().status_code == 201


def test_no_limit_is_no_header(app: Flask, api: Api):
    limit(app)
    answer = api.get("/v1/charges")
    assert not [name for name in dict(answer.headers) if name.startswith("RateLimit")]


def test_an_address_that_tries_keys_is_slowed_down(app: Flask, merchant: Shop):
    limit(app, failures_per_min=3)
    client = app.test_client()

    def knock(key: str, address: str = "203.0.113.7") -> Any:
        return client.get(
            "/v1/charges",
            headers={"Authorization": f"Bearer {key}"},
            environ_base={"REMOTE_ADDR": address},
        )

    assert [knock("wrong").status_code for _ in range(4)] == [401, 401, 401, 429]
    refused = knock(merchant.key)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "20")
    assert knock(merchant.key, "203.0.113.8").status_code == 200
    # The whole /64 is one subscriber, who could have a new address for each try.
    for number in range(3):
        assert knock("wrong", f"2001:db8::{number}").status_code == 401
    assert knock("wrong", "2001:db8::ffff").status_code == 429
    assert knock("wrong", "2001:db8:0:1::1").status_code == 401


def test_good_keys_are_not_counted_against_their_address(app: Flask, api: Api, merchant: Shop):
    limit(app, failures_per_min=2)
    assert {api.get("/v1/charges").status_code for _ in range(10)} == {200}
    _, revoked = keys.create_key(merchant.id, livemode=False, name="old")
    assert Api(api.client, revoked + "x").get("/v1/charges").status_code == 401


def test_shoppers_and_providers_are_never_limited(app: Flask, api: Api):
    """A café's shoppers share one address, and a wallet sends all its news from a few."""
    limit(app, reads_per_s=1, writes_per_s=1, failures_per_min=1)
    token = api.charge().get_json()["url"].rpartition("/")[2]
    client = app.test_client()
    assert {client.get(f"/C/{token}").status_code for _ in range(30)} == {200}
    assert {client.get(f"/C/{token}/status").status_code for _ in range(30)} == {200}
    assert 429 not in {client.post("/callbacks/pa_none", data=b"x").status_code for _ in range(30)}
