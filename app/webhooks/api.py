"""/v1/webhook_endpoints and /v1/events: where the merchant's system hears from us, and what was said."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from app.answers import SECURITY, ErrorAnswer, json_answer
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
)
events_bp = APIBlueprint(
    "events_api",
    __name__,
    url_prefix="/v1/events",
    abp_tags=[Tag(name="Events", description="What has happened, in order, for ever the same.")],
    abp_security=SECURITY,
)
bp.before_request(require_key)
events_bp.before_request(require_key)

EventType = Annotated[StrictStr, Field(max_length=64)]


class EndpointBody(BaseModel):
    """A new endpoint."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[StrictStr, Field(min_length=1, max_length=2048)]
    event_types: Annotated[
        list[EventType], Field(min_length=1, max_length=50, description='Names of events, or ["*"] for all.')
    ] = [types.EVERY]
    description: Annotated[StrictStr, Field(max_length=200)] = ""


class EndpointPath(BaseModel):
    """Names one endpoint."""

    endpoint_id: str = Field(max_length=64)


class EndpointAnswer(BaseModel):
    """An endpoint.  ``secret`` is there in the answer that creates it, and never again."""

    id: str
    object: str = Field("webhook_endpoint", pattern="^webhook_endpoint$")
    livemode: bool
    url: str
    description: str
    event_types: list[str]
    status: str = Field(description="enabled or disabled")
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="When an unbroken run of failures began.")
    created_at: datetime
    secret: str | None = Field(None, description="whsec_…: verify deliveries with it (Standard Webhooks).")


class EndpointList(BaseModel):
    """All endpoints of one mode, newest first."""

    object: str = Field("list", pattern="^list$")
    url: str
    has_more: bool
    data: list[EndpointAnswer]


class DeletedAnswer(BaseModel):
    """What remains of a deleted endpoint."""

    id: str
    object: str
    deleted: bool


class EventQuery(BaseModel):
    """Narrows a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(10, ge=1, le=100)
    starting_after: str | None = Field(None, max_length=64, description="The page after this id.")
    ending_before: str | None = Field(None, max_length=64, description="The page before this id.")
    type: str | None = Field(None, max_length=64)
    object_id: str | None = Field(None, max_length=64, description="Events of one charge or refund.")


class EventPath(BaseModel):
    """Names one event."""

    event_id: str = Field(max_length=64)


class EventData(BaseModel):
    """The object as it was."""

    object: dict[str, Any]


class EventAnswer(BaseModel):
    """An event: exactly what webhooks carry."""

    id: str
    object: str = Field("event", pattern="^event$")
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

    object: str = Field("list", pattern="^list$")
    url: str
    has_more: bool
    data: list[EventAnswer]


@bp.post("", summary="Add an endpoint", responses={201: EndpointAnswer, 409: ErrorAnswer, 422: ErrorAnswer})
def create(body: EndpointBody) -> Response:
    """The secret is in this answer alone."""
    who = caller()

    def work(tx: Any) -> Answer:
        row, secret = endpoints.store_endpoint(
            tx,
            who.merchant_id,
            livemode=who.livemode,
            url=body.url,
            event_types=body.event_types,
            description=body.description,
        )
        return Answer(_dump(endpoint_json(row, secret)), 201)

    answer = once(
        who, request.headers.get("Idempotency-Key"), (request.method, request.path, request.get_data()), work
    )
    return json_answer(answer.body, answer.status, replayed=answer.replayed)


@bp.get("", summary="List endpoints", responses={200: EndpointList})
def list_all() -> Response:
    """All of them: there are at most twenty."""
    rows = endpoints.list_endpoints(caller().merchant_id, livemode=caller().livemode)
    return _page("/v1/webhook_endpoints", [endpoint_json(row) for row in rows], has_more=False)


@bp.get("/<endpoint_id>", summary="Read an endpoint", responses={200: EndpointAnswer, 404: ErrorAnswer})
def read(path: EndpointPath) -> Response:
    """Without its secret."""
    row = endpoints.find_endpoint(caller().merchant_id, path.endpoint_id, livemode=caller().livemode)
    return json_answer(_dump(endpoint_json(row)))


@bp.delete("/<endpoint_id>", summary="Delete an endpoint", responses={200: DeletedAnswer, 404: ErrorAnswer})
def delete(path: EndpointPath) -> Response:
    """Nothing is sent there any more; what was sent stays in the log."""
    endpoints.delete_endpoint(caller().merchant_id, path.endpoint_id, livemode=caller().livemode)
    return json_answer(_dump({"id": path.endpoint_id, "object": "webhook_endpoint", "deleted": True}))


@events_bp.get("", summary="List events", responses={200: EventList})
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
def read_event(path: EventPath) -> Response:
    """The same bytes that webhooks carry."""
    row = history.find_event(caller().merchant_id, path.event_id, livemode=caller().livemode)
    return json_answer(row.body)


def _page(url: str, data: list[dict[str, Any]], *, has_more: bool) -> Response:
    return json_answer(_dump({"object": "list", "url": url, "has_more": has_more, "data": data}))


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
