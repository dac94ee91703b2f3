"""Versions of the API: a planted one shows that an old key goes on reading what it has always read."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from app import versions
from app.db import transaction
from app.merchants.models import ApiKey
from app.versions import Change, shown

NEW, NEWER = "2027-03-01", "2027-09-01"


def _without_late(charge: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in charge.items() if name != "late"}


def _in_words(charge: dict[str, Any]) -> dict[str, Any]:
    return {**charge, "amount": str(charge["amount"])}


@pytest.fixture
def later_versions(monkeypatch):
    changes = (Change(NEW, "charge", _without_late), Change(NEWER, "charge", _in_words))
    monkeypatch.setattr(versions, "CHANGES", changes)
    monkeypatch.setattr(versions, "VERSIONS", (*versions.VERSIONS, NEW, NEWER))


def test_later_changes_are_undone_wherever_the_object_stands(later_versions):
    charge = {"object": "charge", "amount": 5, "late": False}
    page = {"object": "list", "data": [charge, {"object": "refund", "late": 1}]}
    assert shown(page, NEWER) == page
    assert shown(page, NEW)["data"][0] == {**charge, "amount": "5"}
    assert shown(page, "2026-11-21")["data"] == [
        {"object": "charge", "amount": "5"},
        {"object": "refund", "late": 1},
    ]


def test_with_one_version_everything_is_shown_as_it_is():
    value = {"object": "charge", "data": [1]}
    assert shown(value, versions.CURRENT) is value


def test_a_key_keeps_the_version_of_its_birth_and_a_header_overrides_it(client, merchant, later_versions):
    def ask(**headers: str) -> Any:
        return client.get("/v1/api_keys", headers={**merchant.headers, **headers})

    assert ask().headers["Mafu-Version"] == "2026-11-21"
    assert ask(**{"Mafu-Version": NEW}).headers["Mafu-Version"] == NEW
    with transaction() as tx:
        tx.execute(sa.update(ApiKey.__table__).values(version=NEWER))
    assert ask().headers["Mafu-Version"] == NEWER
    refused = ask(**{"Mafu-Version": "2020-01-01"})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "unknown_version")


def test_what_the_api_says_passes_through_the_callers_version(client, merchant, monkeypatch):
    monkeypatch.setattr(versions, "CHANGES", (Change(NEW, "api_key", lambda key: {"id": key["id"]}),))
    monkeypatch.setattr(versions, "VERSIONS", (*versions.VERSIONS, NEW))
    old = client.get("/v1/api_keys", headers=merchant.headers).get_json()
    assert [set(key) for key in old["data"]] == [{"id"}]
    new = client.get("/v1/api_keys", headers={**merchant.headers, "Mafu-Version": NEW}).get_json()
    assert "name" in new["data"][0]
