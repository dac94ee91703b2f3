"""The dashboard's rooms for webhooks: endpoints, what was sent to them, and the events themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.errors import Conflict, InvalidRequest
from app.merchants.auth import actor, me
from app.merchants.views import faults_of, livemode, open_room
from app.webhooks import endpoints, history, replay, types
from app.webhooks.history import Page
from app.webhooks.present import event_json
from app.webhooks.replay import Span

PAGE = 20
SPANS_H = (1, 24, 3 * 24, 7 * 24, 30 * 24)  # how far back the form offers to replay
OVERLAPS_H = (24, 1, 7 * 24, 0)  # how long the form lets an old secret sign; the first is proposed

_FAULTS = {
    "description": _l("A description has at most 200 characters."),
    "event_types": _l("Choose from the list of events."),
}

bp = Blueprint("webhooks", __name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """A replay that was counted: so many events, and how long the last of them waits."""

    span: Span
    events: int
    lasts_s: int


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
            asymmetric="asymmetric" in request.form,
            by=actor(),
        )
    except InvalidRequest as error:
        return _endpoints_page(faults=_explained(error), status=400)
    except Conflict:
        return _endpoints_page(
            faults={"": gettext("There are too many endpoints. Delete one first.")}, status=409
        )
    return _endpoints_page(fresh=endpoint, secret=secret, status=201)


@bp.get("/webhooks/<endpoint_id>")
def show_endpoint(endpoint_id: str) -> Response:
    """An endpoint, and what was sent to it with every try."""
    return _endpoint_page(endpoint_id)


def _endpoint_page(
    endpoint_id: str,
    *,
    secret: str | None = None,
    plan: Plan | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    endpoint = endpoints.find_endpoint(me().merchant_id, endpoint_id)
    page = Page(request.args.get("after"), request.args.get("before"), PAGE)
    stories, has_more = history.list_deliveries(
        me().merchant_id, livemode=endpoint.livemode, endpoint_id=endpoint.id, page=page
    )
    backwards = page.ending_before is not None

    def turn(**cursor: Any) -> str:
        return url_for("webhooks.show_endpoint", endpoint_id=endpoint.id, **cursor)

    shown = render_template(
        "dashboard/endpoint.html",
        secret=secret,
        plan=plan,
        spans=SPANS_H,
        overlaps=OVERLAPS_H,
        event_types=types.SUBSCRIBABLE,
        faults=faults or {},
        form=request.form,
        endpoint=endpoint,
        livemode=endpoint.livemode,
        stories=stories,
        older=stories and (backwards or has_more) and turn(after=stories[-1].delivery.id),
        newer=stories
        and (has_more if backwards else page.starting_after)
        and turn(before=stories[0].delivery.id),
    )
    return make_response(shown, status)


@bp.post("/webhooks/<endpoint_id>")
def change_endpoint(endpoint_id: str) -> BaseResponse:
    """Where events go, and which."""
    chosen = {
        "url": request.form.get("url", "").strip(),
        "description": request.form.get("description", "").strip(),
        "event_types": request.form.getlist("event_types") or [types.EVERY],
        "asymmetric": "asymmetric" in request.form,
    }
    try:
        endpoints.update_endpoint(me().merchant_id, endpoint_id, chosen, by=actor())
    except InvalidRequest as error:
        return _endpoint_page(endpoint_id, faults=_explained(error), status=400)
    return _back_to(endpoint_id, "saved")


@bp.post("/webhooks/<endpoint_id>/rotate")
def rotate_secret(endpoint_id: str) -> BaseResponse:
    """A new secret, shown in this answer and never again."""
    hours = request.form.get("overlap_h", "24")
    overlap_s = 3600 * int(hours) if hours in map(str, OVERLAPS_H) else endpoints.OVERLAP_S
    try:
        _, secret = endpoints.rotate_secret(me().merchant_id, endpoint_id, overlap_s=overlap_s, by=actor())
    except Conflict:
        return _back_to(endpoint_id, "too_many_secrets")
    return _endpoint_page(endpoint_id, secret=secret)


@bp.post("/webhooks/<endpoint_id>/disable")
def disable_endpoint(endpoint_id: str) -> BaseResponse:
    """Send nothing there until it is enabled again."""
    endpoints.update_endpoint(me().merchant_id, endpoint_id, {"disabled": True}, by=actor())
    return _back_to(endpoint_id, "stopped")


@bp.post("/webhooks/<endpoint_id>/replay")
def replay_events(endpoint_id: str) -> BaseResponse:
    """Count what would be sent again; with the moments that were counted, send it."""
    endpoint = endpoints.find_endpoint(me().merchant_id, endpoint_id)
    span = _span_of(endpoint)
    if span is None:
        return _endpoint_page(endpoint_id)
    is_dry = "confirmed" not in request.form
    work = replay.plan if is_dry else replay.replay
    try:
        shares = work(span, endpoint_id=endpoint_id, events_max=replay.EVENTS_MAX)
    except InvalidRequest:
        return _endpoint_page(
            endpoint_id,
            faults={"span": gettext("These are too many events. Choose a shorter time.")},
            status=400,
        )
    except Conflict:
        return _back_to(endpoint_id, "disabled")
    if not is_dry:
        return _back_to(endpoint_id, "replayed")
    return _endpoint_page(endpoint_id, plan=Plan(span, shares[0].events, replay.seconds_for(shares)))


def _span_of(endpoint: sa.Row[Any]) -> Span | None:
    """The span of the form: so many hours back from now, or exactly what was counted before."""
    only_missed = "only_missed" in request.form
    try:
        if "since" in request.form:
            moments = [datetime.fromisoformat(request.form[name]) for name in ("since", "until")]
        else:
            now, hours = clock.now(), int(request.form.get("hours", ""))
            moments = [now - timedelta(hours=hours), now]
    except (ValueError, KeyError, OverflowError):
        return None
    if any(moment.tzinfo is None for moment in moments):
        return None
    return Span(endpoint.merchant_id, endpoint.livemode, moments[0], moments[1], only_missed=only_missed)


@bp.post("/webhooks/<endpoint_id>/delete")
def delete_endpoint(endpoint_id: str) -> BaseResponse:
    """Send nothing there any more."""
    endpoints.delete_endpoint(me().merchant_id, endpoint_id, by=actor())
    return redirect(url_for("webhooks.list_endpoints", notice="deleted"), 303)


@bp.post("/webhooks/<endpoint_id>/enable")
def enable_endpoint(endpoint_id: str) -> BaseResponse:
    """Let events come again."""
    endpoints.enable_endpoint(me().merchant_id, endpoint_id, by=actor())
    return _back_to(endpoint_id, "enabled")


@bp.post("/webhooks/<endpoint_id>/ping")
def ping(endpoint_id: str) -> BaseResponse:
    """Send a test event to this endpoint alone."""
    try:
        endpoints.ping_endpoint(me().merchant_id, endpoint_id)
        notice = "pinged"
    except Conflict:
        notice = "disabled"
    return _back_to(endpoint_id, notice)


@bp.get("/events")
def list_events() -> str:
    """All of them, newest first; the filters and the cursor are in the address."""
    typed = {name: request.args.get(name, "").strip()[:64] for name in ("type", "object")}
    kept: dict[str, Any] = {name: text for name, text in typed.items() if text and "\x00" not in text}
    page = Page(request.args.get("after"), request.args.get("before"), PAGE)
    rows, has_more = history.list_events(
        me().merchant_id,
        livemode=livemode(),
        event_types=[kept["type"]] if "type" in kept else (),
        object_id=kept.get("object"),
        page=page,
    )
    backwards = page.ending_before is not None

    def turn(**cursor: Any) -> str:
        return url_for("webhooks.list_events", **kept, **cursor)

    return render_template(
        "dashboard/events.html",
        events=rows,
        wanted={"type": "", "object": "", **kept},
        event_types=types.SUBSCRIBABLE,
        older=rows and (backwards or has_more) and turn(after=rows[-1].id),
        newer=rows and (has_more if backwards else page.starting_after) and turn(before=rows[0].id),
    )


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


def _back_to(endpoint_id: str, notice: str) -> BaseResponse:
    return redirect(url_for("webhooks.show_endpoint", endpoint_id=endpoint_id, notice=notice), 303)


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
