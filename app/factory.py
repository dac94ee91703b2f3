"""Mafu 码付: scan-to-pay that merchants host themselves.  ``create_app`` puts the house together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from flask import Flask, Request, Response
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_migrate import Migrate
from flask_openapi import Info, OpenAPI, Server
from flask_wtf.csrf import CSRFProtect
from jinja2 import StrictUndefined
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli, db, frame, guide, i18n, logs, operator, problems, runtime, telemetry, versions
from app.answers import ErrorAnswer
from app.callbacks import accounts_views, evidence
from app.callbacks import views as callbacks_views
from app.charges import api as charges_api
from app.charges import (
    balance_api,
    batch_api,
    batch_views,
    counter_api,
    dossier,
    expand,
    ledger_views,
    lists_views,
    print_views,
    refunds_api,
    refunds_views,
    risk_api,
    risk_views,
    routing_api,
    routing_views,
    search,
    shifts_views,
    simulator_views,
    statement_views,
    test_helpers_api,
    till_views,
)
from app.charges import views as charges_views
from app.checkout import views as checkout_views
from app.codes import api as codes_api
from app.codes import codes
from app.codes import print_api as codes_print_api
from app.codes import print_views as codes_print_views
from app.codes import room_views as codes_room_views
from app.codes import search as codes_search
from app.codes import test_helpers_api as code_test_helpers_api
from app.codes import views as codes_views
from app.codes.tally import Tally
from app.config import Settings, load_settings
from app.document import current_document
from app.epay import notices as epay_notices
from app.epay import room_views as epay_room_views
from app.epay import views as epay_views
from app.members import adjustments_api, bonus_rules_api, debits_api, topup_views, topups_api
from app.members import api as members_api
from app.members import views as members_views
from app.merchants import (
    audit_views,
    brand_views,
    branding_views,
    door_views,
    keys_api,
    keys_views,
    logs_api,
    logs_views,
    policy_views,
    security_views,
    stores_api,
    stores_views,
    team_views,
)
from app.merchants import views as merchants_views
from app.reconciliation import api as reconciliation_api
from app.reconciliation import discrepancies_views, papers_views
from app.reconciliation import views as reconciliation_views
from app.webhooks import api as webhooks_api
from app.webhooks import outbox, types
from app.webhooks import views as webhooks_views

# Nothing that anybody sends us is larger: 20 metadata values of 500 characters, each spelled as \uXXXX,
# with their names and the rest of a charge are 70 kB.
BODY_BYTES_MAX = 128 * 1024

APIS = (
    charges_api.bp,
    batch_api.bp,
    counter_api.bp,
    refunds_api.bp,
    balance_api.bp,
    reconciliation_api.bp,
    reconciliation_api.discrepancies_bp,
    members_api.bp,
    topups_api.bp,
    debits_api.bp,
    adjustments_api.bp,
    bonus_rules_api.bp,
    routing_api.bp,
    risk_api.bp,
    codes_api.bp,
    codes_print_api.bp,
    stores_api.bp,
    keys_api.bp,
    logs_api.bp,
    webhooks_api.bp,
    webhooks_api.events_bp,
    webhooks_api.deliveries_bp,
    test_helpers_api.bp,
    code_test_helpers_api.bp,
)
ROOMS = (
    merchants_views.bp,
    door_views.bp,
    security_views.bp,
    policy_views.bp,
    accounts_views.bp,
    routing_views.bp,
    team_views.bp,
    audit_views.bp,
    branding_views.bp,
    keys_views.bp,
    logs_views.bp,
    charges_views.bp,
    lists_views.bp,
    print_views.bp,
    batch_views.bp,
    till_views.bp,
    shifts_views.bp,
    simulator_views.bp,
    refunds_views.bp,
    ledger_views.bp,
    risk_views.bp,
    statement_views.bp,
    reconciliation_views.bp,
    papers_views.bp,
    discrepancies_views.bp,
    members_views.bp,
    codes_room_views.bp,
    codes_print_views.bp,
    stores_views.bp,
    webhooks_views.bp,
    epay_room_views.bp,
)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application.  Raises SettingsError."""
    settings = settings or load_settings()
    logs.configure(level=settings.log_level, json=not settings.is_demo)
    app = OpenAPI(
        "app",
        template_folder="../templates",
        static_folder="../static",
        info=Info(
            title="Mafu",
            version=versions.CURRENT,
            description="Scan-to-pay that merchants host themselves.\n\nEvery answer carries Request-Id and "
            "Mafu-Version.  A key reads the version that was the newest when it was made; send Mafu-Version "
            "to read another, or to be refused, with 400, where there is no such version.",
        ),
        security_schemes={
            "bearer": {"type": "http", "scheme": "bearer", "description": "mafu_sk_test_… or mafu_sk_live_…"},
            "basic": {"type": "http", "scheme": "basic", "description": "The key as user name: curl -u KEY:"},
        },
        servers=[Server(url=settings.origin)],
        validation_error_status=400,
        validation_error_model=ErrorAnswer,
        doc_ui=False,
    )
    app.openapi_version = "3.1.0"
    cast(DefaultJSONProvider, app.json).sort_keys = False  # the error object reads from type to request_id
    app.session_interface = _FormSessions()
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    is_https = settings.origin.startswith("https://")
    app.config.update(
        SECRET_KEY=settings.secret_keys[-1],
        SECRET_KEY_FALLBACKS=list(settings.secret_keys[:-1]),
        MAX_CONTENT_LENGTH=BODY_BYTES_MAX,
        MAX_FORM_MEMORY_SIZE=BODY_BYTES_MAX,
        # Carries nothing but the forms' CSRF secret.
        SESSION_COOKIE_NAME="__Host-mafu_form" if is_https else "mafu_form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=is_https,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=True,
        SEND_FILE_MAX_AGE_DEFAULT=31536000,
    )
    if settings.proxy_count:
        hops = settings.proxy_count
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    db.init_app(app, settings.sqlalchemy_url)
    runtime.init_app(app, settings)
    i18n.init_app(app)
    problems.init_app(app)
    telemetry.init_app(app)
    frame.init_app(app)  # before the forms' guard, which reads what it lets in
    Migrate(app, db.db, directory="migrations", render_as_batch=True)
    _add_rooms(app)
    app.extensions["mafu.tally"] = Tally(app.app_context)
    cli.init_app(app)
    app.url_defaults(_version_of_files(app))
    return app


def _add_rooms(app: OpenAPI) -> None:
    csrf = CSRFProtect(app)
    for api in APIS:
        app.register_api(api)
        csrf.exempt(api)  # a bearer key is not sent by a browser on its own
    for room in ROOMS:
        app.register_blueprint(room)
    app.register_blueprint(guide.bp)
    app.register_blueprint(operator.bp)
    dossier.call("callbacks", evidence.steps_of)
    dossier.call("epay", epay_notices.steps_of)
    outbox.hear(types.CHARGE_PAID, "epay", epay_notices.owe)
    search.teach(codes.find_by_letters)
    expand.teach(expand.OfCharge.QR_CODE, codes_search.unfolded)
    expand.teach(expand.OfCharge.STORE, stores_api.unfolded)
    shops = (epay_views.bp, epay_views.programs_bp)
    doors = (checkout_views.bp, codes_views.bp, topup_views.bp, callbacks_views.bp, brand_views.bp, *shops)
    for public in doors:
        app.register_blueprint(public)
        csrf.exempt(public)  # the address itself is the authority; there is no session to ride on
    app.add_url_rule("/healthz", "health", lambda: Response("ok\n", content_type="text/plain"))
    app.add_url_rule("/v1/openapi.json", "openapi", current_document)


def _version_of_files(app: Flask) -> Callable[[str, dict[str, Any]], None]:
    """Browsers keep a static file for a year, so its address changes with its content."""
    folder = Path(app.static_folder or "")
    known: dict[str, str] = {}

    def add(endpoint: str, values: dict[str, Any]) -> None:
        name = values.get("filename")
        if endpoint == "static" and name is not None:
            if name not in known:
                known[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()[:10]
            values.setdefault("v", known[name])

    return add


class _FormSessions(SecureCookieSessionInterface):
    """Flask's sessions, without making a serializer for those who bring no cookie."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if self.get_cookie_name(app) in request.cookies:
            return super().open_session(app, request)
        return self.session_class()
