"""Errors become HTTP here and nowhere else: a JSON error object for the API, a friendly page for people."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, jsonify, render_template, request
from flask_wtf.csrf import CSRFError
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from app import errors
from app.errors import InvalidRequest, PlatformError, TooManyRequests
from app.strict_json import parse_object

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


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(PlatformError, _platform_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OperationalError, _database_away)
    app.register_error_handler(Exception, _unforeseen)


def refuse_input(error: ValidationError) -> Response:
    """The API's answer to input that does not fit its schema; flask-openapi calls this.

    A body that is not strict JSON arrives here as "missing": it is read again to say what is wrong.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    if request.get_data() and not isinstance(request.get_json(silent=True), dict):
        try:
            parse_object(request.get_data())
        except InvalidRequest as refusal:
            return _answer(refusal)
    param = ".".join(str(part) for part in first["loc"]) or None
    if param is None:
        return _answer(
            InvalidRequest("send a JSON object with Content-Type: application/json", code="invalid_json")
        )
    return _answer(InvalidRequest(_sentence(first["msg"]), code=_code(first["type"]), param=param))


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:]


def _code(kind: str) -> str:
    return {"missing": "parameter_missing", "extra_forbidden": "parameter_unknown"}.get(
        kind, "parameter_invalid"
    )


def _platform_error(error: PlatformError) -> Response:
    return _answer(error)


def _answer(error: PlatformError) -> Response:
    status, kind = next(_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS)
    response = _render(status, kind, error.code, error.detail, getattr(error, "param", None))
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif status == 503:
        response.headers["Retry-After"] = str(_RETRY_S)
    elif status == 401 and _is_api():
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
        return error.response
    status = error.code or 500
    kind = "api_error" if status >= 500 else "invalid_request_error"
    code = error.name.lower().replace(" ", "_")
    response = _render(status, kind, code, _sentence(error.description or error.name).rstrip("."))
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


def _database_away(error: OperationalError) -> Response:
    log.error("database", reason=type(error.orig).__name__)
    response = _render(503, "api_error", "database_unavailable", "the database does not answer: try again")
    response.headers["Retry-After"] = str(_RETRY_S)
    return response


def _unforeseen(error: Exception) -> Response:
    log.exception("unforeseen", error=type(error).__name__)
    return _render(500, "api_error", "internal", "something went wrong on our side; nothing more is known")


def _render(status: int, kind: str, code: str, detail: str, param: str | None = None) -> Response:
    request_id = g.get("request_id", "")
    if _is_api():
        body = {"type": kind, "code": code, "message": detail, "param": param, "request_id": request_id}
        response = jsonify(error=body)
    else:
        page = render_template("error.html", status=status, code=code, request_id=request_id)
        response = Response(page, content_type="text/html; charset=utf-8")
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def _is_api() -> bool:
    return request.path.startswith("/v1/")
