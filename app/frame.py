"""What surrounds every request: its id, its version, its line in the log, the headers of its answer."""

from __future__ import annotations

import time

from flask import Flask, Response, current_app, g, request
from werkzeug.datastructures import Headers

from app import clock, problems, versions
from app.answers import POLICY
from app.charges.batch import BYTES_MAX
from app.errors import NotFound
from app.ids import new_id
from app.merchants.journal import Journal, Line
from app.merchants.logs_api import LOG_ROUTE
from app.qr.print.logo import FILE_BYTES_MAX as LOGO_BYTES_MAX
from app.rates import Verdict
from app.reconciliation.files import FILE_BYTES_MAX as BILL_BYTES_MAX
from app.runtime import settings

# Addresses that take a file: how many bytes; a form has its frame around it.
_FILES = {
    "batch_api.create": BYTES_MAX,
    "batch.upload": BYTES_MAX + 64 * 1024,
    "reconciliation.upload": BILL_BYTES_MAX + 64 * 1024,
    "branding.save": LOGO_BYTES_MAX + 64 * 1024,
}
_JOURNAL = "mafu.journal"

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # an address here is a key to a charge
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FILE_HEADERS = list(_HEADERS.items())
_PAGE_HEADERS = [*_FILE_HEADERS, ("Cache-Control", "no-store")]


def init_app(app: Flask) -> None:
    """Register the hooks, and open the request log if the operator wants one."""
    with app.app_context():
        if settings().request_log_days:
            app.extensions[_JOURNAL] = Journal(app.app_context)
    app.before_request(_open_request)
    app.after_request(_close_request)


def _open_request() -> None:
    if request.endpoint in _FILES:
        request.max_content_length = _FILES[request.endpoint]
    g.request_id = new_id("req")
    g.opened_at, g.opened_s = clock.now(), time.perf_counter()
    # PostgreSQL has no text with it, so it names nothing of ours.  The API has its own words for that.
    if "\x00" in request.path and not problems.is_api():
        raise NotFound("nothing has a zero in its address")


def _close_request(response: Response) -> Response:
    headers = response.headers
    headers["Request-Id"] = g.get("request_id", "")
    if problems.is_api():
        known = g.get("version", versions.CURRENT)
        headers["Mafu-Version"] = known if versions.is_known(known) else versions.CURRENT
        headers["X-Content-Type-Options"] = "nosniff"
        _say_rate(headers, g.get("rate"))
        _log_call(response)
        return response
    given = {name.lower() for name, _ in headers}
    wanted = _FILE_HEADERS if request.endpoint == "static" else _PAGE_HEADERS
    headers.extend([(name, value) for name, value in wanted if name.lower() not in given])
    return response


def _say_rate(headers: Headers, verdict: Verdict | None) -> None:
    if verdict is not None:
        headers["RateLimit-Limit"] = str(verdict.limit)
        headers["RateLimit-Remaining"] = str(verdict.remaining)
        headers["RateLimit-Reset"] = str(verdict.reset_s)


def _log_call(response: Response) -> None:
    """Note what a key has asked and was told, to be written later."""
    journal, who = current_app.extensions.get(_JOURNAL), g.get("caller")
    if journal is None or who is None or request.url_rule is None:
        return
    route = request.url_rule.rule.replace("<", "{").replace(">", "}")
    # Not what the log itself answers: it would grow by its own size each time it is read.
    is_told = response.mimetype in ("application/json", "text/csv") and not route.startswith(LOG_ROUTE)
    journal.add(
        Line(
            merchant_id=who.merchant_id,
            id=g.request_id,
            livemode=who.livemode,
            key_id=who.key_id,
            address=(request.remote_addr or "")[:45],
            method=request.method,
            route=route,
            path=request.full_path.rstrip("?"),
            status=response.status_code,
            error_code=g.get("error_code"),
            duration_ms=round((time.perf_counter() - g.opened_s) * 1000),
            request_body=g.get("request_body", b""),
            answer_body=response.get_data() if is_told else b"",
            created_at=g.opened_at,
        )
    )
