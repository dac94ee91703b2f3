"""Errors become HTTP here and nowhere else: a JSON error object for the API, a friendly page for people."""

from __future__ import annotations

from typing import cast

import structlog
from flask import Flask, Response, g, jsonify, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from app import errors
from app.errors import PlatformError, RequestUnderWay, TooManyRequests

log = structlog.get_logger(__name__)

# Class -> HTTP status, API error type.  The first match along the class's ancestry counts.
_STATUS: dict[type[PlatformError], tuple[int, str]] = {
    errors.InvalidRequest: (400, "invalid_request_error"),
    errors.NotAuthenticated: (401, "authentication_error"),
    errors.PermissionDenied: (403, "permission_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.BadLink: (404, "invalid_request_error"),
    errors.IdempotencyMismatch: (422, "idempotency_error"),
    errors.Conflict: (409, "invalid_request_error"),
    errors.TooManyRequests: (429, "rate_limit_error"),
    errors.ProviderRejected: (402, "provider_error"),
    errors.ProviderUnreachable: (503, "provider_error"),
    errors.ProviderError: (502, "provider_error"),
    errors.SignatureMismatch: (400, "invalid_request_error"),
    errors.UnknownPayment: (404, "invalid_request_error"),
    errors.PlatformError: (500, "api_error"),
}
_RETRY_S = 5
# Werkzeug speaks to people in front of a browser.
_WORDS = {
    404: "there is nothing at this address",
    405: "this address does not know this method",
    413: "the request is too large",
}


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(PlatformError, _platform_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    for away in (OperationalError, InterfaceError, NoConnectionLeft):
        app.register_error_handler(away, _database_away)
    app.register_error_handler(Exception, _unforeseen)


def _platform_error(error: PlatformError) -> Response:
    status, kind = next(_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS)
    response = _render(status, kind, error.code, error.detail, getattr(error, "param", None))
    if isinstance(error, TooManyRequests | RequestUnderWay):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif status == 503:
        response.headers["Retry-After"] = str(_RETRY_S)
    elif status == 401 and is_api():
        response.headers["WWW-Authenticate"] = 'Bearer realm="mafu"'
    return response


def _csrf_error(_error: CSRFError) -> Response:
    return _render(
        400,
        "invalid_request_error",
        "form_expired",
        "the form is too old or was not ours: open the page again",
    )


def _http_error(error: HTTPException) -> Response | BaseResponse:
    if error.response is not None:
        return cast(BaseResponse, error.response)
    status = error.code or 500
    kind = "api_error" if status >= 500 else "invalid_request_error"
    code = "not_found" if status == 404 else error.name.lower().replace(" ", "_")
    text = _WORDS.get(status) or error.description or error.name
    response = _render(status, kind, code, text)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


def _database_away(error: OperationalError | InterfaceError | NoConnectionLeft) -> Response:
    cause = getattr(error, "orig", None) or error
    log.error("database", reason=type(cause).__name__, says=str(cause)[:200])
    response = _render(503, "api_error", "database_unavailable", "the database does not answer: try again")
    response.headers["Retry-After"] = str(_RETRY_S)
    return response


def _unforeseen(error: Exception) -> Response:
    log.exception("unforeseen", error=type(error).__name__)
    return _render(500, "api_error", "internal", "something went wrong on our side; nothing more is known")


def _render(status: int, kind: str, code: str, detail: str, param: str | None = None) -> Response:
    request_id = g.get("request_id", "")
    g.error_code = code  # for the request log
    if is_api():
        body = {"type": kind, "code": code, "message": detail, "param": param, "request_id": request_id}
        response = jsonify(error=body)
    else:
        page = render_template("error.html", status=status, code=code, request_id=request_id)
        response = Response(page, content_type="text/html; charset=utf-8")
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def is_api() -> bool:
    """Whether this request is for the API, where every answer is JSON."""
    return request.path == "/v1" or request.path.startswith("/v1/")
