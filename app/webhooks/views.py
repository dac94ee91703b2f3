"""The dashboard's rooms for webhooks: endpoints, what was sent to them, and the events themselves."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.errors import Conflict, InvalidRequest
from app.merchants.auth import me
from app.merchants.views import faults_of, livemode, open_room
from app.webhooks import endpoints, history, types
from app.webhooks.history import Page
from app.webhooks.present import event_json

PAGE = 20

_FAULTS = {
    "description": _l("A description has at most 200 characters."),
    "event_types": _l("Choose from the list of events."),
}

bp = Blueprint("webhooks", __name__)


@bp.get("/webhooks")
def list_endpoints() -> Response:
    """The endpoints of this mode."""
    return _endpoints_page()


@bp.post("/webhooks")
def create_endpoint() -> Response:
    """Add an endpoint and show its secret: in this answer, and never again."""
    try:
        endpoint, secret = endpoints.create_endpoint(
            me().merchant_id,
            livemode=livemode(),
            url=request.form.get("url", "").strip(),
            event_types=request.form.getlist("event_types") or [types.EVERY],
            description=request.form.get("description", "").strip(),
        )
    except InvalidRequest as error:
        return _endpoints_page(faults=_explained(error), status=400)
    except Conflict:
        return _endpoints_page(
            faults={"": gettext("There are too many endpoints. Delete one first.")}, status=409
        )
    return _endpoints_page(fresh=endpoint, secret=secret, status=201)


@bp.get("/webhooks/<endpoint_id>")
def show_endpoint(endpoint_id: str) -> str:
    """An endpoint, and what was sent to it with every try."""
    endpoint = endpoints.find_endpoint(me().merchant_id, endpoint_id)
    page = Page(request.args.get("after"), request.args.get("before"), PAGE)
    stories, has_more = history.list_deliveries(
        me().merchant_id, livemode=endpoint.livemode, endpoint_id=endpoint.id, page=page
    )
    backwards = page.ending_before is not None

    def turn(**cursor: Any) -> str:
        return url_for("webhooks.show_endpoint", endpoint_id=endpoint.id, **cursor)

    return render_template(
        "dashboard/endpoint.html",
        endpoint=endpoint,
        livemode=endpoint.livemode,
        stories=stories,
        older=stories and (backwards or has_more) and turn(after=stories[-1].delivery.id),
        newer=stories
        and (has_more if backwards else page.starting_after)
        and turn(before=stories[0].delivery.id),
    )


@bp.post("/webhooks/<endpoint_id>/delete")
def delete_endpoint(endpoint_id: str) -> BaseResponse:
    """Send nothing there any more."""
    endpoints.delete_endpoint(me().merchant_id, endpoint_id)
    return redirect(url_for("webhooks.list_endpoints", notice="deleted"), 303)


@bp.post("/webhooks/<endpoint_id>/enable")
def enable_endpoint(endpoint_id: str) -> BaseResponse:
    """Let events come again."""
    endpoints.enable_endpoint(me().merchant_id, endpoint_id)
    return redirect(url_for("webhooks.show_endpoint", endpoint_id=endpoint_id, notice="enabled"), 303)


@bp.post("/webhooks/<endpoint_id>/ping")
def ping(endpoint_id: str) -> BaseResponse:
    """Send a test event to this endpoint alone."""
    try:
        endpoints.ping_endpoint(me().merchant_id, endpoint_id)
        notice = "pinged"
    except Conflict:
        notice = "disabled"
    return redirect(url_for("webhooks.show_endpoint", endpoint_id=endpoint_id, notice=notice), 303)


@bp.get("/events/<event_id>")
def show_event(event_id: str) -> str:
    """An event as its receivers got it, and how its deliveries went."""
    event = history.find_event(me().merchant_id, event_id)
    stories, _ = history.list_deliveries(
        me().merchant_id, livemode=event.livemode, event_id=event.id, page=Page(limit=history.LIST_LIMIT_MAX)
    )
    return render_template(
        "dashboard/event.html",
        event=event,
        livemode=event.livemode,
        raw=json.dumps(event_json(event), ensure_ascii=False, indent=2),
        stories=stories,
    )


@bp.post("/deliveries/<delivery_id>/resend")
def resend(delivery_id: str) -> BaseResponse:
    """Send it once more; then to the page of its event, where the outcome appears."""
    delivery = history.find_delivery(me().merchant_id, delivery_id).delivery
    try:
        history.resend(me().merchant_id, delivery_id)
        notice = "resent"
    except Conflict:
        notice = "disabled"
    return redirect(url_for("webhooks.show_event", event_id=delivery.event_id, notice=notice), 303)


def _explained(error: InvalidRequest) -> dict[str, str]:
    if error.param != "url":
        return faults_of(error, _FAULTS)
    # Which rule of many an address breaks is worth saying, and is said in one language only.
    return {"url": gettext("Events cannot be sent to this address (%(reason)s).", reason=error.detail)}


def _endpoints_page(
    *, fresh: Any = None, secret: str | None = None, faults: dict[str, str] | None = None, status: int = 200
) -> Response:
    page = render_template(
        "dashboard/webhooks.html",
        endpoints=endpoints.list_endpoints(me().merchant_id, livemode=livemode()),
        fresh=fresh,
        secret=secret,
        event_types=types.SUBSCRIBABLE,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


open_room(bp)
