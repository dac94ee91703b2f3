"""/v1/request_logs: what a key asked and was told, found by the Request-Id of the answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from app.answers import (
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    PageQuery,
    PublicId,
    dump,
    json_answer,
    newer_than,
    older_than,
    optional,
    validated,
)
from app.clock import to_rfc3339
from app.merchants import journal
from app.merchants.auth import caller, require_key
from app.merchants.journal import LogFilter

LOG_ROUTE = "/v1/request_logs"
_METHODS = Literal["GET", "POST", "DELETE"]

bp = APIBlueprint(
    "request_logs_api",
    __name__,
    url_prefix=LOG_ROUTE,
    abp_tags=[Tag(name="Request log", description="Every call of your keys, secrets masked.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

LINE_EXAMPLE: dict[str, Any] = {
    "id": "req_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "request_log",
    "livemode": False,
    "created_at": "2026-01-15T02:00:00.123Z",
    "key": "key_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "address": "203.0.113.7",
    "method": "POST",
    "route": "/v1/charges",
    "path": "/v1/charges",
    "status": 400,
    "error_code": "parameter_missing",
    "duration_ms": 3,
}
LOG_EXAMPLE = {
    **LINE_EXAMPLE,
    "request_body": '{"currency": "cny", "description": "一杯拿铁"}',
    "answer_body": '{"error": {"type": "invalid_request_error", "code": "parameter_missing"}}',
}


class LogPath(BaseModel):
    """Names one call."""

    request_id: PublicId = Field(examples=[LINE_EXAMPLE["id"]])


class LogQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("req")
    ending_before: str | None = newer_than("req")
    request_id: str | None = optional("Only this call.", pattern=r"^req_[0-9a-z]{26}$")
    key: str | None = optional("Only calls of this key.", pattern=r"^key_[0-9a-z]{26}$")
    method: _METHODS | None = optional("Only calls by this method.")
    status: Literal["succeeded", "refused", "failed"] | None = optional(
        "Only answers below 400, from 400 to 499, or from 500."
    )
    object_id: str | None = optional(
        "Only calls whose address names this thing.", pattern=r"^[a-z]{2,5}_[0-9a-z]{26}$"
    )


class LineAnswer(BaseModel):
    """A call, without what was said."""

    model_config = ConfigDict(json_schema_extra={"examples": [LINE_EXAMPLE]})

    id: str
    object: str = Field(pattern="^request_log$")
    livemode: bool
    created_at: datetime
    key: str
    address: str = Field(description="Where the call came from.")
    method: str
    route: str = Field(description="The address without its ids.")
    path: str
    status: int
    error_code: str | None
    duration_ms: int


class LogAnswer(LineAnswer):
    """A call, with what was said, secrets masked, each body cut at 8,000 characters."""

    model_config = ConfigDict(json_schema_extra={"examples": [LOG_EXAMPLE]})

    request_body: str
    answer_body: str


class LogList(BaseModel):
    """One page of calls, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "url": LOG_ROUTE, "has_more": False, "data": [LINE_EXAMPLE]}]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[LineAnswer]


@bp.get("", summary="List calls", responses={200: LogList})
@validated
def list_all(query: LogQuery) -> Response:
    """Newest first.  A call appears within a second of its answer."""
    wanted = LogFilter(
        request_id=query.request_id,
        key_id=query.key,
        method=query.method,
        statuses=STATUSES[query.status] if query.status else None,
        object_id=query.object_id,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    rows, has_more = journal.search(caller().merchant_id, livemode=caller().livemode, wanted=wanted)
    data = [_line_json(row) for row in rows]
    return json_answer(dump({"object": "list", "url": LOG_ROUTE, "has_more": has_more, "data": data}))


@bp.get("/<request_id>", summary="Read a call", responses={200: LogAnswer, 404: ErrorAnswer})
@validated
def read(path: LogPath) -> Response:
    """With what was asked and answered.  The id is the Request-Id of the answer."""
    row = journal.find(caller().merchant_id, path.request_id, livemode=caller().livemode)
    bodies = {"request_body": row.request_body, "answer_body": row.answer_body}
    return json_answer(dump(_line_json(row) | bodies))


STATUSES = {"succeeded": (0, 399), "refused": (400, 499), "failed": (500, 599)}


def _line_json(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "request_log",
        "livemode": row.livemode,
        "created_at": to_rfc3339(row.created_at),
        "key": row.key_id,
        "address": row.address,
        "method": row.method,
        "route": row.route,
        "path": row.path,
        "status": row.status,
        "error_code": row.error_code,
        "duration_ms": row.duration_ms,
    }
