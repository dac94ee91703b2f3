"""/v1/webhook_endpoints and /v1/events: where the merchant's system hears from us, and what was said."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    OnceHeader,
    PageQuery,
    PublicId,
    json_answer,
    newer_than,
    older_than,
    optional,
    validated,
)
from app.merchants.auth import caller, require_key
from app.merchants.idempotency import Answer, once
from app.webhooks import endpoints, history, types
from app.webhooks.history import Page
from app.webhooks.present import endpoint_json

bp = APIBlueprint(
    "webhook_endpoints_api",
    __name__,
    url_prefix="/v1/webhook_endpoints",
    abp_tags=[Tag(name="Webhook endpoints", description="Addresses that hear of every change.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
events_bp = APIBlueprint(
    "events_api",
    __name__,
    url_prefix="/v1/events",
    abp_tags=[Tag(name="Events", description="What has happened, in order, for ever the same.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)
events_bp.before_request(require_key)

ENDPOINT_EXAMPLE: dict[str, Any] = {
    "id": "we_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "webhook_endpoint",
    "livemode": False,
    "url": "https://shop.example.com/mafu",
    "description": "the till",
    "event_types": ["charge.paid"],
    "status": "enabled",
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "created_at": "2026-01-15T02:00:00.123Z",
}
EVENT_EXAMPLE: dict[str, Any] = {
    "id": "evt_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "event",
    "type": "charge.paid",
    "created_at": "2026-01-15T02:03:04.567Z",
    "timestamp": "2026-01-15T02:03:04.567Z",
    "livemode": False,
    "sequence": 2,
    "data": {
        "object": {
            "id": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
            "object": "charge",
            "status": "paid",
            "amount": 1250,
        },
        "payment": {
            "provider": "alipay",
            "out_trade_no": "01JD3W6J7HQK2M8N4P6R8T0V2X",
            "provider_ref": "2026011522001400001",
            "amount_received": 1250,
            "currency": "cny",
            "accepted_by": None,
        },
    },
}

EventType = Annotated[
    StrictStr, Field(max_length=64, json_schema_extra={"enum": [types.EVERY, *types.SUBSCRIBABLE]})
]
_Word = Annotated[str, Field(pattern=r"^[0-9a-z_.]{1,64}$")]


class EndpointBody(BaseModel):
    """A new endpoint."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"url": "https://shop.example.com/mafu", "event_types": ["charge.paid"]}]
        },
    )

    url: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=2048,
            description="https, at port 443 or 8443 unless the operator allows more, on the public internet.",
        ),
    ]
    event_types: Annotated[
        list[EventType], Field(min_length=1, max_length=50, description='Names of events, or ["*"] for all.')
    ] = [types.EVERY]
    description: Annotated[StrictStr, Field(max_length=endpoints.DESCRIPTION_MAX_CHARS)] = ""


class EndpointPath(BaseModel):
    """Names one endpoint."""

    endpoint_id: PublicId = Field(examples=["we_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class EndpointAnswer(BaseModel):
    """An endpoint."""

    model_config = ConfigDict(json_schema_extra={"examples": [ENDPOINT_EXAMPLE]})

    id: str
    object: str = Field(pattern="^webhook_endpoint$")
    livemode: bool
    url: str
    description: str
    event_types: list[str]
    status: str = Field(description="enabled or disabled")
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="When an unbroken run of failures began.")
    created_at: datetime


class NewEndpointAnswer(EndpointAnswer):
    """An endpoint with its secret, which is never shown again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**ENDPOINT_EXAMPLE, "secret": "whsec_…"}]},
    )

    secret: str = Field(description="whsec_…: verify deliveries with it (Standard Webhooks).")


class EndpointList(BaseModel):
    """All endpoints of one mode, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/webhook_endpoints",
                    "has_more": False,
                    "data": [ENDPOINT_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool
    data: list[EndpointAnswer]


class DeletedAnswer(BaseModel):
    """What remains of a deleted endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": ENDPOINT_EXAMPLE["id"], "object": "webhook_endpoint", "deleted": True}]
        }
    )

    id: str
    object: str
    deleted: bool


class EventQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("evt")
    ending_before: str | None = newer_than("evt")
    type: _Word | None = optional("Only events of this type, such as charge.paid.")
    object_id: _Word | None = optional("Only events of this charge, refund or endpoint.")


class EventPath(BaseModel):
    """Names one event."""

    event_id: PublicId = Field(examples=["evt_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class EventData(BaseModel):
    """The object as it was."""

    object: dict[str, Any]


class EventAnswer(BaseModel):
    """An event: exactly what webhooks carry."""

    model_config = ConfigDict(json_schema_extra={"examples": [EVENT_EXAMPLE]})

    id: str
    object: str = Field(pattern="^event$")
    type: str
    created_at: datetime
    timestamp: datetime
    livemode: bool
    sequence: int = Field(
        description="Rises with each event of one object: drop what is older than you know."
    )
    data: EventData


class EventList(BaseModel):
    """One page of events, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "url": "/v1/events", "has_more": False, "data": [EVENT_EXAMPLE]}]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[EventAnswer]


@bp.post(
    "",
    summary="Add an endpoint",
    responses={201: NewEndpointAnswer, 409: ErrorAnswer, 422: ErrorAnswer, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: EndpointBody) -> Response:
    """The secret is in this answer alone."""
    who = caller()

    def work(tx: Connection) -> Answer:
        row, secret = endpoints.store_endpoint(
            tx,
            who.merchant_id,
            livemode=who.livemode,
            url=body.url,
            event_types=body.event_types,
            description=body.description,
        )
        return Answer(_dump(endpoint_json(row, secret)), 201)

    answer = once(who, header.idempotency_key, (request.method, request.path, request.get_data()), work)
    return json_answer(answer.body, answer.status, replayed=answer.replayed)


@bp.get("", summary="List endpoints", responses={200: EndpointList})
@validated
def list_all() -> Response:
    """All of them: there are at most twenty."""
    rows = endpoints.list_endpoints(caller().merchant_id, livemode=caller().livemode)
    return _page("/v1/webhook_endpoints", [endpoint_json(row) for row in rows], has_more=False)


@bp.get("/<endpoint_id>", summary="Read an endpoint", responses={200: EndpointAnswer, 404: ErrorAnswer})
@validated
def read(path: EndpointPath) -> Response:
    """Without its secret."""
    row = endpoints.find_endpoint(caller().merchant_id, path.endpoint_id, livemode=caller().livemode)
    return json_answer(_dump(endpoint_json(row)))


@bp.delete("/<endpoint_id>", summary="Delete an endpoint", responses={200: DeletedAnswer, 404: ErrorAnswer})
@validated
def delete(path: EndpointPath) -> Response:
    """Nothing is sent there any more; what was sent stays in the log."""
    endpoints.delete_endpoint(caller().merchant_id, path.endpoint_id, livemode=caller().livemode)
    return json_answer(_dump({"id": path.endpoint_id, "object": "webhook_endpoint", "deleted": True}))


@events_bp.get("", summary="List events", responses={200: EventList})
@validated
def list_events(query: EventQuery) -> Response:
    """Newest first.  To catch up, page with ``ending_before`` from the last event you know."""
    rows, has_more = history.list_events(
        caller().merchant_id,
        livemode=caller().livemode,
        event_type=query.type,
        object_id=query.object_id,
        page=Page(query.starting_after, query.ending_before, query.limit),
    )
    return _page("/v1/events", [json.loads(row.body) for row in rows], has_more=has_more)


@events_bp.get("/<event_id>", summary="Read an event", responses={200: EventAnswer, 404: ErrorAnswer})
@validated
def read_event(path: EventPath) -> Response:
    """The same bytes that webhooks carry."""
    row = history.find_event(caller().merchant_id, path.event_id, livemode=caller().livemode)
    return json_answer(row.body)


def _page(url: str, data: list[dict[str, Any]], *, has_more: bool) -> Response:
    return json_answer(_dump({"object": "list", "url": url, "has_more": has_more, "data": data}))


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
