"""The request log at the dashboard: a developer pastes a Request-Id and sees what was said."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.config import Settings
from tests.api.calls import Api
from tests.conftest import Shop, settings_for
from tests.dashboard.person import Person

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_for(database_url, tmp_path, request_log_days=30)


@pytest.fixture
def calls(app: Flask, merchant: Shop) -> list[str]:
    """Request-Ids of a charge made and of one refused."""
    api = Api(app.test_client(), merchant.key)
    ids = [api.charge(**more).headers["Request-Id"] for more in ({"description": "<b>拿铁"}, {"amount": 0})]
    app.extensions["mafu.journal"].write()
    return ids


def test_calls_are_listed_and_a_request_id_leads_to_its_call(owner: Person, calls: list[str]) -> None:
    page = owner.get("/logs").text
    assert all(f"/logs/{request_id}" in page for request_id in calls)
    assert "parameter_<wbr>invalid" in page
    assert owner.get(f"/logs?q={calls[0]}").location == f"/logs/{calls[0]}"
    shown = owner.get(f"/logs/{calls[0]}").text
    assert "&lt;b&gt;拿铁" in shown
    assert "&#34;amount&#34;: 1250" in shown


def test_the_list_is_narrowed_by_answer_and_key(owner: Person, calls: list[str]) -> None:
    refused = owner.get("/logs?status=refused").text
    assert (calls[0] in refused, calls[1] in refused) == (False, True)
    assert "No call fits this filter." in owner.get("/logs?key=key_none").text
    assert "Every call of your keys appears here" in owner.get("/logs?mode=live").text


def test_pages_lead_to_each_other(app: Flask, owner: Person, merchant: Shop) -> None:
    api = Api(app.test_client(), merchant.key)
    ids = [api.get("/v1/charges").headers["Request-Id"] for _ in range(31)]
    app.extensions["mafu.journal"].write()
    first = owner.get("/logs").text
    assert f"after={ids[1]}" in first
    assert ids[0] not in first
    assert f"before={ids[0]}" in owner.get(f"/logs?after={ids[1]}").text
    assert owner.get("/logs?after=nonsense").status_code == 200
