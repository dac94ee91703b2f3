"""What the API takes and answers of endpoints, events and deliveries; the OpenAPI document is drawn of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from app.answers import Moment, PageQuery, PublicId, newer_than, older_than, optional
from app.webhooks import endpoints, types
from app.webhooks.models import DeliveryState

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
    "public_key": None,
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

DELIVERY_EXAMPLE: dict[str, Any] = {
    "id": "dlv_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "delivery",
    "livemode": False,
    "event": EVENT_EXAMPLE["id"],
    "event_type": "charge.paid",
    "object_id": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "endpoint": ENDPOINT_EXAMPLE["id"],
    "url": "https://shop.example.com/mafu",
    "status": "pending",
    "tries": 1,
    "next_try_at": "2026-01-15T02:03:09.998Z",
    "created_at": "2026-01-15T02:03:04.567Z",
    "delivered_at": None,
    "attempts": [
        {
            "id": "whd_01jd3w6j7hqk2m8n4p6r8t0v2x",
            "object": "delivery_attempt",
            "number": 1,
            "started_at": "2026-01-15T02:03:04.601Z",
            "duration_ms": 41,
            "request_headers": {
                "content-type": "application/json",
                "user-agent": "Mafu",
                "webhook-id": EVENT_EXAMPLE["id"],
                "webhook-timestamp": "1768442584",
                "webhook-signature": "v1,…",
            },
            "response_status": 503,
            "response_head": "down for maintenance",
            "error": None,
        }
    ],
}

_ID = "_[0-7][0-9a-hjkmnp-tv-z]{25}"
_TYPES_PATTERN = r"^[a-z_]{1,32}\.[a-z_]{1,32}(,[a-z_]{1,32}\.[a-z_]{1,32}){0,19}$"

EventType = Annotated[
    StrictStr, Field(max_length=64, json_schema_extra={"enum": [types.EVERY, *types.SUBSCRIBABLE]})
]
Word = Annotated[str, Field(pattern=r"^[0-9a-z_.]{1,64}$")]


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
    asymmetric: StrictBool = Field(
        False, description="Sign with ed25519 (v1a) as well; verify with the endpoint's public_key."
    )


class EndpointChanges(BaseModel):
    """What shall be different; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"event_types": ["*"], "disabled": False}]}
    )

    url: Annotated[StrictStr, Field(min_length=1, max_length=2048)] = optional("Where events go from now on.")
    event_types: Annotated[list[EventType], Field(min_length=1, max_length=50)] = optional(
        'Names of events, or ["*"] for all.'
    )
    description: Annotated[StrictStr, Field(max_length=endpoints.DESCRIPTION_MAX_CHARS)] = optional(
        "For people."
    )
    asymmetric: StrictBool = optional("Whether to sign with ed25519 (v1a) as well.")
    disabled: StrictBool = optional("true sends nothing any more and drops what waits; false enables again.")


class RotationBody(BaseModel):
    """How long the old secret goes on signing beside the new one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"expires_in_s": 86400}]})

    expires_in_s: Annotated[StrictInt, Field(ge=0, le=endpoints.OVERLAP_S_MAX)] = Field(
        endpoints.OVERLAP_S, description="Seconds; 0 if the old secret is known to somebody else."
    )


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
    disabled_reason: str | None = Field(
        description="gone (it answered 410), failing (for days), asked (by you)."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="When an unbroken run of failures began.")
    public_key: str | None = Field(description="whpk_…: verifies the v1a signatures, if it has any.")
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
    after: str | None = optional(
        "Read on: the events that were committed after this one, oldest first, without a gap.  start begins "
        "with the oldest that is kept.  Not with starting_after or ending_before.",
        pattern=f"^(start|evt{_ID})$",
    )
    types: str | None = optional(
        "Only events of these types, up to twenty with commas between.", pattern=_TYPES_PATTERN
    )
    type: Word | None = optional("Only events of this type, such as charge.paid.")
    object_id: Word | None = optional("Only events of this charge, refund or endpoint.")

    @field_validator("after")
    @classmethod
    def _is_the_only_cursor(cls, value: str | None, info: ValidationInfo) -> str | None:
        others = (info.data.get("starting_after"), info.data.get("ending_before"))
        if value is not None and any(others):
            raise PydanticCustomError("two_cursors", "send one of after, starting_after and ending_before")
        return value

    @property
    def event_types(self) -> list[str]:
        """The types asked for by either parameter."""
        return [name for name in [*(self.types or "").split(","), self.type] if name]


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
    """One page of events: newest first, or oldest first when reading on with ``after``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "url": "/v1/events", "has_more": False, "data": [EVENT_EXAMPLE]}]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[EventAnswer]


class DeliveryQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("dlv")
    ending_before: str | None = newer_than("dlv")
    endpoint: Word | None = optional("Only deliveries to this endpoint.")
    event: Word | None = optional("Only deliveries of this event.")
    object_id: Word | None = optional("Only deliveries about this charge, refund or endpoint.")
    status: DeliveryState | None = optional("pending, delivered, exhausted (given up) or abandoned.")


class DeliveryPath(BaseModel):
    """Names one delivery."""

    delivery_id: PublicId = Field(examples=["dlv_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class AttemptAnswer(BaseModel):
    """One try, and what came back."""

    id: str
    object: str = Field(pattern="^delivery_attempt$")
    number: int
    started_at: datetime
    duration_ms: int
    request_headers: dict[str, str] = Field(
        description="As they were sent; of each signature the scheme alone is kept."
    )
    response_status: int | None = Field(description="null: there was no answer.")
    response_head: str | None = Field(description="The first 2,000 characters of the answer's body.")
    error: str | None = Field(description="Why there was no whole answer.")


class DeliveryAnswer(BaseModel):
    """One event on its way to one endpoint."""

    model_config = ConfigDict(json_schema_extra={"examples": [DELIVERY_EXAMPLE]})

    id: str
    object: str = Field(pattern="^delivery$")
    livemode: bool
    event: str
    event_type: str
    object_id: str
    endpoint: str
    url: str
    status: str
    tries: int
    next_try_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    attempts: list[AttemptAnswer]


class DeliveryList(BaseModel):
    """One page of deliveries, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/deliveries", "has_more": False, "data": [DELIVERY_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool
    data: list[DeliveryAnswer]


_REPLAY_EXAMPLE = {
    "since": "2026-01-08T00:00:00Z",
    "until": "2026-01-15T00:00:00Z",
    "endpoint": ENDPOINT_EXAMPLE["id"],
    "only_missed": True,
}


class ReplayBody(BaseModel):
    """Which events to send again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_REPLAY_EXAMPLE]})

    since: Moment = Field(description="The first moment of the span.")
    until: Moment = Field(description="The first moment after it.")
    endpoint: Annotated[StrictStr, Field(pattern=f"^we{_ID}$")] = optional(
        "To this endpoint alone; else to every enabled one."
    )
    types: Annotated[list[Word], Field(min_length=1, max_length=20)] = optional(
        "Events of these types alone."
    )
    only_missed: StrictBool = Field(False, description="Leave out what the endpoint has received.")
    dry_run: StrictBool = Field(True, description="Only say what would be sent.  Send false to do it.")

    @field_validator("since", "until", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if not isinstance(value, str):
            raise PydanticCustomError("time_text", "must be a time like 2026-01-15T00:00:00Z")
        return value


class ReplayShare(BaseModel):
    """What one endpoint gets."""

    endpoint: str
    events: int


class ReplayAnswer(BaseModel):
    """What is sent again, or would be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "replay",
                    "dry_run": True,
                    "endpoints": [{"endpoint": ENDPOINT_EXAMPLE["id"], "events": 1204}],
                    "lasts_s": 24,
                }
            ]
        }
    )

    object: str = Field(pattern="^replay$")
    dry_run: bool
    endpoints: list[ReplayShare]
    lasts_s: int = Field(description="How long the last of them waits: an endpoint gets 50 a second.")


class PingAnswer(BaseModel):
    """The event that was sent."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object": "ping", "event": EVENT_EXAMPLE["id"]}]}
    )

    object: str = Field(pattern="^ping$")
    event: str
