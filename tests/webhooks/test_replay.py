"""Events told again: to whom, which, how often, and never to anybody else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from app import clock
from app.errors import Conflict, InvalidRequest, NotFound
from app.queue import Job
from app.webhooks import endpoints, feed, history, replay
from app.webhooks.delivery import GAPS
from app.webhooks.history import Page
from app.webhooks.models import Delivery, DeliveryState, Event
from app.webhooks.replay import Span
from tests.books import rows_of
from tests.webhooks.turns import deliver_due


@pytest.fixture
def span(shop_id):
    """The last week of the shop's test mode."""

    def span(*event_types: str, livemode: bool = False, merchant_id: str = shop_id) -> Span:
        now = clock.now()
        return Span(merchant_id, livemode, now - timedelta(days=7), now + timedelta(seconds=1), event_types)

    return span


@pytest.fixture
def heard(sender, receiver):
    """What arrives when everything due is sent: the objects' ids in order."""

    def heard() -> list[str]:
        receiver.requests.clear()
        while deliver_due(sender):
            pass
        return [json.loads(request.body)["data"]["object"]["id"] for request in receiver.requests]

    return heard


def test_a_new_endpoint_hears_what_happened_before_it_was_made(tell, listen, span, heard):
    told = [tell() for _ in range(5)]
    listen()
    assert heard() == []
    [share] = replay.plan(span())
    assert (share.events, heard()) == (5, []), "a plan sends nothing"
    assert replay.replay(span()) == [share]
    assert sorted(heard()) == sorted(told)


def test_a_replay_sends_the_same_id_and_bytes_under_a_new_signature(tell, listen, span, sender, receiver, at):
    listen()
    tell()
    deliver_due(sender)
    at(timedelta(hours=1))
    replay.replay(span())
    deliver_due(sender)
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_a_replay_in_batches_leaves_no_gap_and_makes_no_double(tell, listen, span, heard, monkeypatch):
    monkeypatch.setattr(replay, "BATCH", 3)
    told = [tell() for _ in range(4)]
    listen()
    told += [tell() for _ in range(6)]
    assert replay.replay(span())[0].events == 10
    assert sorted(heard()) == sorted(told)
    replay.replay(span())
    replay.replay(span())
    assert sorted(heard()) == sorted(told)


def test_only_the_span_the_types_and_the_subscription_are_sent(tell, listen, span, heard, at, shop_id):
    tell("charge.created")
    at(timedelta(days=8))
    created, paid, expired = tell("charge.created"), tell("charge.paid"), tell("charge.expired")
    narrow, _ = listen(event_types=["charge.paid", "charge.created"])
    wide, _ = listen("/ok/2")
    counts = {share.endpoint_id: share.events for share in replay.plan(span())}
    assert counts == {narrow: 2, wide: 3}
    replay.replay(span(), endpoint_id=narrow)
    assert sorted(heard()) == sorted([created, paid])
    replay.replay(span("charge.paid", "charge.expired"), endpoint_id=wide)
    assert sorted(heard()) == sorted([paid, expired])


def test_one_that_waits_for_its_next_try_is_sent_now(tell, listen, span, heard, receiver):
    listen("/fail")
    told = tell()
    assert heard() == [told]
    receiver.answers = [200]
    assert replay.replay(span())[0].events == 1
    assert heard() == [told]
    assert heard() == []


def test_a_ping_is_not_replayed(listen, span, heard, shop_id):
    endpoint_id, _ = listen()
    endpoints.ping_endpoint(shop_id, endpoint_id)
    heard()
    assert replay.plan(span())[0].events == 0


def test_a_disabled_or_deleted_endpoint_hears_nothing(tell, listen, span, heard, shop_id):
    tell()
    off, _ = listen()
    gone, _ = listen("/ok/gone")
    on, _ = listen("/ok/on")
    endpoints.disable_endpoint(shop_id, off, endpoints.GONE)
    endpoints.delete_endpoint(shop_id, gone)
    heard()
    with pytest.raises(Conflict, match="enable it first"):
        replay.replay(span(), endpoint_id=off)
    with pytest.raises(NotFound):
        replay.replay(span(), endpoint_id=gone)
    assert [share.endpoint_id for share in replay.replay(span())] == [on]
    endpoints.delete_endpoint(shop_id, on)
    with pytest.raises(Conflict, match="no enabled endpoint"):
        replay.plan(span())


def test_an_endpoint_that_is_disabled_in_the_middle_is_left_alone(tell, listen, span, heard, monkeypatch):
    tell()
    listen()
    heard()
    [share] = replay.plan(span())
    endpoint = endpoints.find_endpoint(span().merchant_id, share.endpoint_id)
    endpoints.disable_endpoint(span().merchant_id, share.endpoint_id, endpoints.GONE)
    [event], _ = history.list_events(
        span().merchant_id, livemode=False, event_types=["charge.paid"], page=Page()
    )
    assert replay._send(endpoint, [event.id], 0, clock.now()) == 0
    assert heard() == []


def test_nobody_elses_events_and_no_other_mode_are_ever_sent(
    tell, listen, span, heard, other_merchant, shop_id
):
    mine, live = tell(), tell(livemode=True)
    theirs = tell(merchant_id=other_merchant.id)
    endpoint_id, _ = listen()
    theirs_id, _ = listen("/ok/theirs", merchant_id=other_merchant.id)
    live_id, _ = listen("/ok/live", livemode=True)
    for foreign in (theirs_id, live_id):
        with pytest.raises(NotFound):
            replay.replay(span(), endpoint_id=foreign)
    replay.replay(span())
    assert heard() == [mine]
    replay.replay(span(livemode=True))
    assert heard() == [live]
    [event], _ = history.list_events(other_merchant.id, livemode=False, page=Page())
    with pytest.raises(NotFound):
        replay.resend_event(shop_id, event.id)
    with pytest.raises(NotFound):
        replay.resend_event(other_merchant.id, event.id, endpoint_id=endpoint_id)
    assert [share.endpoint_id for share in replay.resend_event(other_merchant.id, event.id)] == [theirs_id]
    assert heard() == [theirs]


def test_one_event_is_sent_to_each_that_wants_it_or_to_the_one_that_is_named(
    tell, listen, heard, receiver, shop_id
):
    told = tell("charge.expired")
    wide, _ = listen("/ok/wide")
    narrow, _ = listen("/ok/narrow", event_types=["charge.paid"])
    [event], _ = history.list_events(shop_id, livemode=False, page=Page())
    assert [share.endpoint_id for share in replay.resend_event(shop_id, event.id)] == [wide]
    assert heard() == [told]
    replay.resend_event(shop_id, event.id, endpoint_id=narrow)
    assert (heard(), receiver.requests[0].path) == ([told], "/ok/narrow")
    endpoints.delete_endpoint(shop_id, wide)
    with pytest.raises(Conflict, match=r"wants charge\.expired"):
        replay.resend_event(shop_id, event.id)


def test_a_span_that_ends_before_it_begins_and_an_unknown_type_are_refused(listen, span, shop_id):
    listen()
    now = clock.now()
    with pytest.raises(InvalidRequest) as caught:
        replay.plan(Span(shop_id, False, now, now))
    assert caught.value.param == "until"
    for name in ("charge.stolen", "endpoint.ping", "*"):
        with pytest.raises(InvalidRequest) as caught:
            replay.replay(span(name))
        assert caught.value.param == "types"


def test_a_span_keeps_its_pace(tell, listen, span, heard, monkeypatch):
    monkeypatch.setattr(replay, "PER_SECOND", 2)
    monkeypatch.setattr(replay, "BATCH", 3)
    listen("/ok/1"), listen("/ok/2")
    for _ in range(7):
        tell()
    heard()
    shares = replay.replay(span())
    assert replay.seconds_for(shares) == 3
    due = sorted(row.due_at for row in rows_of(Job, kind="deliver"))
    assert [round((moment - due[0]).total_seconds()) for moment in due] == sorted([0, 0, 1, 1, 2, 2, 3] * 2)


def test_what_was_received_can_be_left_out(tell, listen, span, heard, receiver, shop_id):
    endpoint_id, _ = listen()
    tell()
    heard()
    missed = [tell()]
    receiver.answers = [500]
    heard()
    missed.append(tell())
    endpoints.disable_endpoint(shop_id, endpoint_id, endpoints.FAILING)
    endpoints.enable_endpoint(shop_id, endpoint_id)
    only_missed = replace(span("charge.paid"), only_missed=True)
    assert replay.plan(only_missed)[0].events == 2
    assert replay.replay(only_missed)[0].events == 2
    assert sorted(heard()) == sorted(missed)
    assert replay.plan(only_missed)[0].events == 0


def test_a_delivery_that_was_given_up_has_the_whole_schedule_before_it(
    tell, listen, span, sender, at, shop_id
):
    endpoint_id, _ = listen("/fail")
    tell()
    for gap in (timedelta(), *GAPS[:3]):
        at(gap * 1.2)
        deliver_due(sender)
    endpoints.disable_endpoint(shop_id, endpoint_id, endpoints.GONE)
    endpoints.enable_endpoint(shop_id, endpoint_id)
    replay.replay(span("charge.paid"))
    [delivery] = rows_of(Delivery)
    assert (delivery.state, delivery.tries) == (DeliveryState.PENDING, 0)


def test_a_request_may_set_a_bound(tell, listen, span):
    listen()
    tell(), tell()
    for work in (replay.plan, replay.replay):
        with pytest.raises(InvalidRequest) as caught:
            work(span(), events_max=1)
        assert caught.value.param == "until"
    assert replay.replay(span(), events_max=2)[0].events == 2


def test_a_week_of_silence_is_made_up_for_by_reading_and_by_replay(
    tell, listen, sender, receiver, shop_id, at
):
    """The receiver is down from Monday on; on the next Monday it misses nothing, whichever way it takes."""
    endpoint_id, _ = listen("/fail/week")
    told = [tell()]
    receiver.answers = [200]
    deliver_due(sender)
    known = rows_of(Event)[0].id
    for _ in range(7 * 4):
        told.append(tell())
        deliver_due(sender)
        at(timedelta(hours=6))
    assert endpoints.find_endpoint(shop_id, endpoint_id).disabled_reason == "failing"

    rows, has_more = feed.read_on(shop_id, livemode=False, after=known, limit=100)
    charges = [row.object_id for row in rows if row.type == "charge.paid"]
    assert (charges, has_more) == (told[1:], False)

    endpoints.update_endpoint(shop_id, endpoint_id, {"url": receiver.url("/ok/again"), "disabled": False})
    now = clock.now()
    span = Span(shop_id, False, now - timedelta(days=8), now, only_missed=True)
    shares = replay.replay(span, endpoint_id=endpoint_id)
    assert shares[0].events == len(told)  # one of them told that the endpoint had been disabled
    at(timedelta(seconds=replay.seconds_for(shares) + 1))
    deliver_due(sender)
    bodies = {row.id: row.body.encode() for row in rows_of(Event) if row.id != known}
    heard = {request.headers["webhook-id"]: request.body for request in receiver.to("/ok/again")}
    assert heard == bodies
    stories, _ = history.list_deliveries(shop_id, livemode=False, page=Page(limit=100))
    assert {story.delivery.state for story in stories} == {DeliveryState.DELIVERED}
