"""Every event is described, and every event that is emitted is what its description says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app import catalogue
from app.charges import lifecycle, outcomes
from app.charges.settle import settle
from app.db import transaction
from app.errors import ProviderUnreachable
from app.merchants import accounts
from app.merchants.health import OPEN_AFTER
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.webhooks import endpoints, types
from app.webhooks.models import Event
from tests.books import make_attempt, make_charge, rows_of

DOCS = Path(__file__).parents[1] / "docs" / "webhooks.md"


@pytest.fixture
def document(client) -> dict[str, Any]:
    body: dict[str, Any] = client.get("/v1/openapi.json").get_json()
    return body


def fits(document: dict[str, Any], event: dict[str, Any]) -> None:
    """Raises ValidationError."""
    schema = document["components"]["schemas"][catalogue.schema_name(event["type"])]
    jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(event)


def test_every_type_is_in_the_document_and_in_the_guide(document):
    assert set(document["webhooks"]) == set(types.ALL) == set(catalogue.WHEN)
    guide = DOCS.read_text()
    for name, message in document["webhooks"].items():
        schema = message["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        assert f"`{name}`" in guide


def test_what_is_emitted_fits_its_description(merchant, document):
    """A day at the shop: paid, paid twice, wrong amount, too late, canceled, and an endpoint lost."""
    endpoint_id, other = (
        endpoints.create_endpoint(merchant.id, livemode=False, url="http://127.0.0.1:9/")[0].id
        for _ in range(2)
    )
    endpoints.ping_endpoint(merchant.id, endpoint_id)
    paid, wrong, late = (make_charge(merchant) for _ in range(3))
    numbers = [make_attempt(merchant, charge.id) for charge in (paid, wrong, late)]
    second = make_attempt(merchant, paid.id, "mobile")
    lifecycle.cancel_charge(merchant.id, late.id)
    lifecycle.cancel_charge(merchant.id, make_charge(merchant).id)
    for number, minor in ((numbers[0], 1250), (second, 1250), (numbers[1], 1000), (numbers[2], 1250)):
        with transaction() as tx:
            settle(
                tx, merchant.account_id, PaymentResult(number, Outcome.SUCCEEDED, Money(minor, "CNY"), number)
            )
    endpoints.disable_endpoint(merchant.id, other, endpoints.GONE)
    account = accounts.open_account(merchant.account_id)
    for _ in range(OPEN_AFTER):
        outcomes.note_refusal(account, ProviderUnreachable("no answer"))
    outcomes.note_success(replace(account, is_ailing=True))
    events = [json.loads(row.body) for row in rows_of(Event)]
    for event in events:
        fits(document, event)
    assert {event["type"] for event in events} >= {
        types.CHARGE_CREATED,
        types.CHARGE_PAID,
        types.CHARGE_AMOUNT_MISMATCHED,
        types.CHARGE_CANCELED,
        types.REFUND_CREATED,
        types.WEBHOOK_ENDPOINT_DISABLED,
        types.PROVIDER_ACCOUNT_UNHEALTHY,
        types.PROVIDER_ACCOUNT_RECOVERED,
        types.ENDPOINT_PING,
    }


def test_another_body_does_not_fit(merchant, document):
    make_charge(merchant)
    [event] = [json.loads(row.body) for row in rows_of(Event)]
    faulty: list[dict[str, Any]] = [
        {**event, "type": "charge.paid"},
        {**event, "sequence": 0},
        {**event, "more": 1},
        {**event, "data": {}},
        {**event, "data": {"object": {**event["data"]["object"], "amount": "12.50"}}},
        {name: value for name, value in event.items() if name != "livemode"},
    ]
    for body in faulty:
        with pytest.raises(jsonschema_rs.ValidationError):
            fits(document, body)
