"""/v1/webhook_endpoints, /v1/events, /v1/deliveries: where the merchant's system hears from us, and what."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from flask import Response
from flask_openapi import APIBlueprint, Tag
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    OnceHeader,
    dump,
    json_answer,
    validated,
)
from app.merchants.auth import actor, caller, require_key
from app.merchants.once_api import done_once, done_once_in_steps
from app.webhooks import endpoints, feed, history, replay
from app.webhooks.history import Page
from app.webhooks.present import delivery_json, endpoint_json, replay_json
from app.webhooks.replay import Span
from app.webhooks.schema import (
    DeletedAnswer,
    DeliveryAnswer,
    DeliveryList,
    DeliveryPath,
    DeliveryQuery,
    EndpointAnswer,
    EndpointBody,
    EndpointChanges,
    EndpointList,
    EndpointPath,
    EventAnswer,
    EventList,
    EventPath,
    EventQuery,
    NewEndpointAnswer,
    PingAnswer,
    ReplayAnswer,
    ReplayBody,
    RotationBody,
)

bp = APIBlueprint(
    "webhook_endpoints_api",
    __name__,
    url_prefix="/v1/webhook_endpoints",
    abp_tags=[Tag(name="Webhook endpoints", description="Addresses that hear of every change.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
events_bp = APIBlueprint(
    "events_api",
    __name__,
    url_prefix="/v1/events",
    abp_tags=[Tag(name="Events", description="What has happened, in order, for ever the same.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
deliveries_bp = APIBlueprint(
    "deliveries_api",
    __name__,
    url_prefix="/v1/deliveries",
    abp_tags=[Tag(name="Deliveries", description="Events on their way to endpoints, with every try.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
for each in (bp, events_bp, deliveries_bp):
    each.before_request(require_key)

START = "start"  # what ``after`` is called before anything was read


@bp.post(
    "",
    summary="Add an endpoint",
    responses={201: NewEndpointAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: EndpointBody) -> Response:
    """The secret is in this answer alone."""

    def work(tx: Connection) -> tuple[sa.Row[Any], str]:
        return endpoints.store_endpoint(
            tx,
            caller().merchant_id,
            livemode=caller().livemode,
            url=body.url,
            event_types=body.event_types,
            description=body.description,
            by=actor(),
            asymmetric=body.asymmetric,
        )

    return done_once(header, lambda tx: endpoint_json(*work(tx)), 201)


@bp.get("", summary="List endpoints", responses={200: EndpointList})
@validated
def list_all() -> Response:
    """All of them: there are at most twenty."""
    rows = endpoints.list_endpoints(caller().merchant_id, livemode=caller().livemode)
    return _page("/v1/webhook_endpoints", [endpoint_json(row) for row in rows], has_more=False)


@bp.get("/<endpoint_id>", summary="Read an endpoint", responses={200: EndpointAnswer, 404: ErrorAnswer})
@validated
def read(path: EndpointPath) -> Response:
    """Without its secret."""
    row = endpoints.find_endpoint(caller().merchant_id, path.endpoint_id, livemode=caller().livemode)
    return json_answer(dump(endpoint_json(row)))


@bp.post(
    "/<endpoint_id>",
    summary="Change an endpoint",
    responses={200: EndpointAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def update(path: EndpointPath, header: OnceHeader, body: EndpointChanges) -> Response:
    """What is on its way goes to the new address.

    ``disabled: true`` drops what waits; what happens while an endpoint is disabled is not sent later by
    itself: replay it, or read it with ``GET /v1/events?after=``.
    """
    changes = body.model_dump(include=body.model_fields_set)
    who = caller()
    return done_once(
        header,
        lambda tx: endpoint_json(
            endpoints.store_changes(
                tx, who.merchant_id, path.endpoint_id, changes, livemode=who.livemode, by=actor()
            )
        ),
    )


@bp.post(
    "/<endpoint_id>/rotate_secret",
    summary="Change the secret",
    responses={
        200: NewEndpointAnswer,
        404: ErrorAnswer,
        **ONCE_REFUSALS,
        **BODY_REFUSALS,
    },
)
@validated
def rotate_secret(path: EndpointPath, header: OnceHeader, body: RotationBody) -> Response:
    """The new secret is in this answer alone.

    Until the old one ends both sign each message, so a receiver may change over at any moment in between.
    An endpoint with a public_key gets a new one as well.  At most two older secrets sign at a time.
    """
    who = caller()
    return done_once(
        header,
        lambda tx: endpoint_json(
            *endpoints.store_new_secret(
                tx,
                who.merchant_id,
                path.endpoint_id,
                livemode=who.livemode,
                overlap_s=body.expires_in_s,
                by=actor(),
            )
        ),
    )


@bp.post(
    "/<endpoint_id>/ping",
    summary="Send a test event",
    responses={200: PingAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def ping(path: EndpointPath, header: OnceHeader) -> Response:
    """``endpoint.ping`` goes to this endpoint alone, whatever it subscribes to."""
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        event_id = endpoints.send_ping(tx, who.merchant_id, path.endpoint_id, livemode=who.livemode)
        return {"object": "ping", "event": event_id}

    return done_once(header, work)


@bp.delete("/<endpoint_id>", summary="Delete an endpoint", responses={200: DeletedAnswer, 404: ErrorAnswer})
@validated
def delete(path: EndpointPath) -> Response:
    """Nothing is sent there any more; what was sent stays in the log."""
    endpoints.delete_endpoint(caller().merchant_id, path.endpoint_id, livemode=caller().livemode, by=actor())
    return json_answer(dump({"id": path.endpoint_id, "object": "webhook_endpoint", "deleted": True}))


@events_bp.get("", summary="List events", responses={200: EventList, 404: ErrorAnswer})
@validated
def list_events(query: EventQuery) -> Response:
    """Newest first; or, to read everything once and in order, with ``after``.

    Ask with ``after=start`` at first, then with the id of the last event that you have dealt with, again
    and again.  Events come in the order of their commits, so none is ever missed, and an answer without
    events says that there are none yet.  404: that event is not kept any more.
    """
    who = caller()
    if query.after is not None:
        rows, has_more = feed.read_on(
            who.merchant_id,
            livemode=who.livemode,
            after=None if query.after == START else query.after,
            event_types=query.event_types,
            object_id=query.object_id,
            limit=query.limit,
        )
    else:
        rows, has_more = history.list_events(
            who.merchant_id,
            livemode=who.livemode,
            event_types=query.event_types,
            object_id=query.object_id,
            page=Page(query.starting_after, query.ending_before, query.limit),
        )
    return _page("/v1/events", [json.loads(row.body) for row in rows], has_more=has_more)


@events_bp.get("/<event_id>", summary="Read an event", responses={200: EventAnswer, 404: ErrorAnswer})
@validated
def read_event(path: EventPath) -> Response:
    """The same bytes that webhooks carry."""
    row = history.find_event(caller().merchant_id, path.event_id, livemode=caller().livemode)
    return json_answer(row.body)


@events_bp.post(
    "/replay",
    summary="Send a span of events again",
    responses={200: ReplayAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def replay_events(header: OnceHeader, body: ReplayBody) -> Response:
    """The same ids and bytes, at most 50 a second and endpoint, to your endpoints of this mode alone.

    Nothing is sent unless ``dry_run`` is false.  Doing it twice leaves alone what is still on its way.
    """
    who = caller()
    span = Span(
        who.merchant_id, who.livemode, body.since, body.until, tuple(body.types or ()), body.only_missed
    )
    carry_out = replay.plan if body.dry_run else replay.replay

    def work() -> dict[str, Any]:
        shares = carry_out(span, endpoint_id=body.endpoint, events_max=replay.EVENTS_MAX)
        return replay_json(shares, dry_run=body.dry_run)

    return done_once_in_steps(header, work)


@deliveries_bp.get("", summary="List deliveries", responses={200: DeliveryList})
@validated
def list_deliveries(query: DeliveryQuery) -> Response:
    """Newest first, each with its tries."""
    stories, has_more = history.list_deliveries(
        caller().merchant_id,
        livemode=caller().livemode,
        event_id=query.event,
        endpoint_id=query.endpoint,
        object_id=query.object_id,
        state=query.status,
        page=Page(query.starting_after, query.ending_before, query.limit),
    )
    data = [delivery_json(story.delivery, story.attempts) for story in stories]
    return _page("/v1/deliveries", data, has_more=has_more)


@deliveries_bp.get(
    "/<delivery_id>", summary="Read a delivery", responses={200: DeliveryAnswer, 404: ErrorAnswer}
)
@validated
def read_delivery(path: DeliveryPath) -> Response:
    """With every try: what was sent, what came back, how long it took."""
    story = history.find_delivery(caller().merchant_id, path.delivery_id, livemode=caller().livemode)
    return json_answer(dump(delivery_json(story.delivery, story.attempts)))


@deliveries_bp.post(
    "/<delivery_id>/resend",
    summary="Send it again",
    responses={200: DeliveryAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def resend_delivery(path: DeliveryPath, header: OnceHeader) -> Response:
    """Now, to the same endpoint: same id, same bytes, new signature.  One that waits is sent at once."""
    who = caller()

    def work() -> dict[str, Any]:
        history.resend(who.merchant_id, path.delivery_id, livemode=who.livemode)
        story = history.find_delivery(who.merchant_id, path.delivery_id, livemode=who.livemode)
        return delivery_json(story.delivery, story.attempts)

    return done_once_in_steps(header, work)


def _page(url: str, data: list[dict[str, Any]], *, has_more: bool) -> Response:
    return json_answer(dump({"object": "list", "url": url, "has_more": has_more, "data": data}))
