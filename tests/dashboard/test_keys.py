"""API keys: shown once, in one mode, and useless from the moment they are revoked."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.merchants.models import ApiKey
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person

# One database will do: test_rooms.py comes through here on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def made(owner: Person, name: str = "网店", *scopes: str) -> str:
    owner.get("/keys")
    fields = {"name": name, "reach": "restricted", "scopes": list(scopes)} if scopes else {"name": name}
    return shown(owner.post("/keys", fields))


def shown(response: TestResponse) -> str:
    """The key that a page shows, this once."""
    assert response.status_code == 201
    [key] = set(re.findall(r"mafu_[sr]k_(?:test|live)_[0-9A-Za-z]{30,}", response.text))
    return key


def opens(client: FlaskClient, key: str, path: str = "/v1/charges") -> int:
    return client.get(path, headers={"Authorization": f"Bearer {key}"}).status_code


def test_a_key_is_shown_once(owner: Person) -> None:
    key = made(owner)
    assert key.startswith("mafu_sk_test_")
    for path in ("/keys", "/", "/settings"):
        assert key not in owner.get(path).text
    assert key[-4:] in owner.get("/keys").text
    assert key not in str(books.rows_of(ApiKey))


def test_a_revoked_key_opens_nothing(owner: Person, client: FlaskClient) -> None:
    key = made(owner)
    assert client.get("/v1/charges", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    row = books.row_of(ApiKey, last4=key[-4:])
    assert owner.post(f"/keys/{row.id}/revoke").location == "/keys?notice=revoked"
    refused = client.get("/v1/charges", headers={"Authorization": f"Bearer {key}"})
    assert refused.status_code == 401
    assert refused.json["error"]["code"] == "api_key_revoked"
    assert owner.post(f"/keys/{row.id}/revoke").status_code == 404
    assert "Revoked" in owner.get("/keys").text


def test_a_restricted_key_may_do_what_was_ticked(owner: Person, client: FlaskClient) -> None:
    key = made(owner, "till", "charges:write", "events:read")
    assert key.startswith("mafu_rk_test_")
    statuses = [opens(client, key, f"/v1/{path}") for path in ("charges", "events", "webhook_endpoints")]
    assert statuses == [200, 200, 403]
    page = owner.get("/keys").text
    assert "Restricted" in page
    assert '<code translate="no">charges:write</code>' in page


def test_a_restricted_key_without_a_choice_is_refused_with_words(
    owner: Person,
) -> None:
    owner.get("/keys")
    response = owner.post("/keys", {"name": "till", "reach": "restricted"})
    assert response.status_code == 400
    assert "Choose what a restricted key may do." in response.text
    assert 'value="till"' in response.text
    assert owner.post("/keys", {"name": "x", "reach": "restricted", "scopes": "all:write"}).status_code == 400


def test_a_rolled_key_works_until_its_time_is_over(
    owner: Person, client: FlaskClient, at: Callable[[timedelta], None]
) -> None:
    old = made(owner, "till", "charges:read")
    row = books.row_of(ApiKey, last4=old[-4:])
    new = shown(owner.post(f"/keys/{row.id}/roll", {"overlap_s": "3600"}))
    assert (opens(client, old), opens(client, new)) == (200, 200)
    page = owner.get("/keys").text
    assert "works until" in page
    assert owner.post(f"/keys/{row.id}/roll", {"overlap_s": "3600"}).status_code == 409
    at(timedelta(seconds=3601))
    assert (opens(client, old), opens(client, new)) == (401, 200)


def test_a_leaked_key_is_rolled_at_once(owner: Person, client: FlaskClient) -> None:
    old = made(owner)
    row = books.row_of(ApiKey, last4=old[-4:])
    assert owner.post(f"/keys/{row.id}/roll", {"overlap_s": "1"}).status_code == 400
    new = shown(owner.post(f"/keys/{row.id}/roll", {"overlap_s": "0"}))
    assert (opens(client, old), opens(client, new)) == (401, 200)


def test_a_key_is_of_the_mode_in_which_the_form_was_shown(owner: Person) -> None:
    page = owner.get("/keys?mode=live")
    assert "Create live key" in page.text
    assert 'name="mode" value="live"' in page.text
    assert made(owner).startswith("mafu_sk_live_")
    owner.get("/keys?mode=test")  # in another window, meanwhile
    response = owner.post("/keys", {"name": "till", "mode": "live"})
    assert "mafu_sk_live_" in response.text


def test_each_mode_lists_its_own_keys(owner: Person) -> None:
    made(owner, "only for tests")
    assert "only for tests" in owner.get("/keys").text
    assert "only for tests" not in owner.get("/keys?mode=live").text


def test_a_name_that_is_none_is_refused_with_words(owner: Person, merchant: Shop) -> None:
    owner.get("/keys")
    for name in ("", " ", "x" * 81):
        response = owner.post("/keys", {"name": name})
        assert response.status_code == 400
        assert "A name has 1 to 80 characters." in response.text
    assert len(books.rows_of(ApiKey, merchant_id=merchant.id)) == 1


def test_the_test_bar_is_on_every_page_of_test_mode_alone(app: Flask, owner: Person) -> None:
    for path in ("/", "/charges", "/keys", "/webhooks", "/settings"):
        assert 'class="testbar"' in owner.get(f"{path}?mode=test").text
        assert 'class="testbar"' not in owner.get(f"{path}?mode=live").text
        assert 'class="testbar"' not in owner.get(path).text  # remembered
