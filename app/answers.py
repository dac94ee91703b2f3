"""What the faces of Mafu answer alike: JSON, drawings of codes, and the API's error object."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from pydantic import BaseModel, Field

from app.qr import render
from app.qr.encode import Level, matrix_for
from app.qr.render import Kind

SECURITY: list[dict[str, list[Any]]] = [{"key": []}]
_TYPES = {Kind.SVG: "image/svg+xml", Kind.PNG: "image/png"}


class ErrorDetail(BaseModel):
    """What went wrong, for machines and people."""

    type: str = Field(description="invalid_request_error, authentication_error, provider_error, api_error, …")
    code: str = Field(description="A stable word to branch on.")
    message: str
    param: str | None = Field(description="The dotted name of the field at fault.")
    request_id: str = Field(description="Quote it when you ask for help.")


class ErrorAnswer(BaseModel):
    """Every error of the API."""

    error: ErrorDetail


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
