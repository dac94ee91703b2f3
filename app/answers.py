"""What the faces of Mafu share: how a request to the API is read, and what is answered alike."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any, get_type_hints

from flask import Response, g, request
from flask_openapi.types import ResponseDict
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo
from werkzeug.exceptions import UnsupportedMediaType

from app import versions
from app.clock import day_of
from app.errors import InvalidRequest
from app.qr import render
from app.qr.encode import Level, matrix_for
from app.qr.render import Kind
from app.strict_json import parse_object

# No third party, no inline script or style, no framing; forms may post to a provider's cashier by name.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
SECURITY: list[dict[str, list[Any]]] = [{"bearer": []}, {"basic": []}]  # either of them
PAGE_LIMIT, PAGE_LIMIT_MAX = 10, 100
_ID_PATTERN = "^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"
_PLAIN_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:", re.ASCII)
_PARAM_CHARS_MAX = 128
_TYPES = {Kind.SVG: "image/svg+xml", Kind.PNG: "image/png"}
# pydantic's words for what a client did, in ours; anything else is a value that does not fit.
_CODES = {"missing": "parameter_missing", "extra_forbidden": "parameter_unknown"}


def _if_given(schema: dict[str, Any]) -> None:
    """What may be left out cannot be sent as null, and has no default that could be sent."""
    schema.pop("default", None)
    kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
    schema.update(*kinds)


def optional(description: str, **limits: Any) -> Any:
    """A parameter that may be left out; what it means and its limits, for the OpenAPI document too."""
    return Field(None, description=description, json_schema_extra=_if_given, **limits)


# An id as a client wrote it.  What can be no id names nothing, so that it is answered like an unknown one.
PublicId = Annotated[str, AfterValidator(lambda text: text if text.isascii() and text.isprintable() else "")]


def _utc(moment: datetime) -> datetime:
    try:
        day_of(moment)  # which every page shows it by
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None


def _dated(value: object) -> object:
    # pydantic also reads "8" and 8, as seconds since 1970.
    if isinstance(value, str) and _DATE_TIME.match(value):
        return value
    raise PydanticCustomError("rfc3339", "write the time as 2026-01-15T02:00:00Z")


# A moment as clients write it, in UTC from here on.
Moment = Annotated[AwareDatetime, BeforeValidator(_dated), AfterValidator(_utc)]


def _plain(text: str) -> str:
    # int() reads "１", "1_0", "+1" and " 1", and pydantic "1.0".
    if _PLAIN_INTEGER.fullmatch(text) is None:
        raise PydanticCustomError("plain_integer", "write a whole number in plain digits")
    return text


QueryInt = Annotated[int, BeforeValidator(_plain)]


class PageQuery(BaseModel):
    """Which page of a list, newest first.  Each list names the ids that its cursors are."""

    model_config = ConfigDict(extra="forbid")

    limit: QueryInt = Field(PAGE_LIMIT, ge=1, le=PAGE_LIMIT_MAX, description="How many at most.")

    @field_validator("ending_before", check_fields=False)
    @classmethod
    def _is_alone(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("starting_after") is not None:
            raise PydanticCustomError("two_cursors", "send starting_after or ending_before, not both")
        return value


def older_than(prefix: str) -> Any:
    """The cursor ``starting_after`` of a list whose ids begin with ``prefix``."""
    return optional("The page after this id: older.", pattern=_ID_PATTERN.format(prefix))


def newer_than(prefix: str) -> Any:
    """The cursor ``ending_before``; not to be sent together with ``starting_after``."""
    return optional(
        "The page before this id: newer.  Not with starting_after.", pattern=_ID_PATTERN.format(prefix)
    )


class OnceHeader(BaseModel):
    """Makes a request safe to send again."""

    idempotency_key: str | None = optional(
        "1 to 128 visible ASCII characters of your choice.  The same request again under its key gets the "
        "first answer, byte for byte, with Idempotent-Replayed: true; another one gets 422.  Kept a week.",
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,128}$",
        examples=["order-20260115-0042"],
    )


class ErrorDetail(BaseModel):
    """What went wrong, for machines and people."""

    type: str = Field(description="invalid_request_error, authentication_error, provider_error, api_error, …")
    code: str = Field(description="A stable word to branch on.")
    message: str
    param: str | None = Field(description="The dotted name of the field at fault.")
    request_id: str = Field(description="Quote it when you ask for help.")


class ErrorAnswer(BaseModel):
    """Every error of the API."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "type": "invalid_request_error",
                        "code": "parameter_missing",
                        "message": "field required",
                        "param": "amount",
                        "request_id": "req_01jd3w6j7hqk2m8n4p6r8t0v2x",
                    }
                }
            ]
        }
    )

    error: ErrorDetail


# What any operation may answer; each adds its own.
REFUSALS: ResponseDict = dict.fromkeys((400, 401, 403, 429, 503), ErrorAnswer)
ONCE_REFUSALS: ResponseDict = {409: ErrorAnswer, 422: ErrorAnswer}  # of what takes an Idempotency-Key
BODY_REFUSALS: ResponseDict = {413: ErrorAnswer, 415: ErrorAnswer}


def validated(view: Callable[..., Response]) -> Callable[..., Response]:
    """Hand a view of the API its ``path``, ``header``, ``query`` and ``body`` as the models it names.

    The OpenAPI document is drawn from the same annotations.  flask-openapi's own reading is set aside:
    it works out a JSON schema for each request with a query, takes the first of two parameters of one
    name, and cannot say why a body is not JSON.  Raises InvalidRequest, UnsupportedMediaType.
    """
    models = get_type_hints(view)
    parts = [(name, _READERS[name], models[name]) for name in _READERS if name in models]
    takes_query = "query" in models

    @wraps(view)
    def read(**names: str) -> Response:
        if request.query_string and not takes_query:
            raise InvalidRequest(
                "this takes no query", code="parameter_unknown", param=next(iter(request.args), None)
            )
        return view(**{part: _fit(model, reader(model, names)) for part, reader, model in parts})

    read.__delay_validate_request__ = True  # type: ignore[attr-defined]
    return read


def dump(value: Any) -> str:
    """An object of the API as JSON text, in the caller's version of it."""
    return json.dumps(
        versions.shown(value, g.get("version", versions.CURRENT)), ensure_ascii=False, separators=(",", ":")
    )


def json_answer(body: str, status: int = 200, *, replayed: bool = False) -> Response:
    """JSON text that is already final."""
    response = Response(body, status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def qr_answer(text: str, *, kind: Kind, level: Level, size_px: int) -> Response:
    """A code as an image.  The same text draws the same for ever, so whoever has it may keep it."""
    tag = render.etag(text, level, kind, size_px)
    response = Response(content_type=_TYPES[kind])
    response.headers["ETag"] = f'"{tag.strip(chr(34))}"'
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    if request.if_none_match.contains(tag.strip('"')):
        response.status_code = 304
        return response
    matrix = matrix_for(text, level)
    response.data = render.svg(matrix) if kind is Kind.SVG else render.png(matrix, size_px=size_px)
    return response


def _read_path(_model: type[BaseModel], names: Mapping[str, str]) -> Mapping[str, str]:
    return names


def _read_header(model: type[BaseModel], _names: Mapping[str, str]) -> dict[str, str]:
    wanted = [field.alias or name for name, field in model.model_fields.items()]
    return {name: request.headers[name] for name in wanted if name in request.headers}


def _read_query(model: type[BaseModel], _names: Mapping[str, str]) -> dict[str, Any]:
    # Only what is called a list, as in expand[]=refunds, may be given more than once.
    lists = {field.alias for field in model.model_fields.values() if (field.alias or "").endswith("[]")}
    given: dict[str, Any] = {}
    for name, values in request.args.lists():
        if len(values) > 1 and (name not in lists or len(set(values)) < len(values)):
            raise InvalidRequest("is given twice", code="parameter_repeated", param=name[:_PARAM_CHARS_MAX])
        given[name] = values if name in lists else values[0]
    return given


def _read_body(_model: type[BaseModel], _names: Mapping[str, str]) -> dict[str, Any]:
    body = g.request_body = request.get_data(cache=True)  # for the request log
    if body and not request.is_json:
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    return parse_object(body)


_READERS: dict[str, Callable[[Any, Mapping[str, str]], Mapping[str, Any]]] = {
    "path": _read_path,
    "header": _read_header,
    "query": _read_query,
    "body": _read_body,
}


def _fit(model: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The place of a mapping's key ends in "[key]", which says nothing to a client.
    param = ".".join(str(part) for part in first["loc"] if part != "[key]")[:_PARAM_CHARS_MAX]
    raise InvalidRequest(
        first["msg"][:1].lower() + first["msg"][1:],
        code=_CODES.get(first["type"], "parameter_invalid"),
        param=param or None,
    )
