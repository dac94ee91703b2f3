"""When to try again, and what a worker may still write after it has lost its lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from app import clock
from app.db import db, reading, transaction
from app.http import Sent
from app.queue import Job
from app.webhooks import delivery, endpoints, history
from app.webhooks.delivery import (
    GAPS,
    JITTER,
    LEASE,
    RETRY_AFTER_MAX,
    TRIES_MAX,
    Result,
    gap_after,
)
from app.webhooks.history import Page
from app.webhooks.models import DeliveryState
from tests.webhooks.turns import deliver_due

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def story_of(shop_id: str):
    [story], _ = history.list_deliveries(shop_id, livemode=False, page=Page())
    return story


def jobs() -> list:
    with reading() as connection:
        return list(connection.execute(sa.select(*Job.__table__.c)))


def result_of(parcel: delivery.Parcel, status: int) -> Result:
    return Result(parcel, clock.now(), Sent("k", status, None, 5, b"said"))


class TestSchedule:
    def test_fifteen_tries_in_about_three_days(self):
        assert TRIES_MAX == 15
        assert timedelta(hours=75) < sum(GAPS, timedelta()) < timedelta(hours=78)
        assert all(earlier <= later for earlier, later in pairwise(GAPS))

    @given(st.integers(1, TRIES_MAX - 1))
    def test_gap_is_the_schedules_with_a_little_jitter(self, number):
        gap = gap_after(number, 500, None)
        assert GAPS[number - 1] * (1 - JITTER) <= gap <= GAPS[number - 1] * (1 + JITTER)

    @pytest.mark.parametrize("number", [TRIES_MAX, TRIES_MAX + 1, 99])
    def test_after_the_last_try_there_is_no_other(self, number):
        assert gap_after(number, 503, 60) is None

    @given(st.integers(1, TRIES_MAX - 1), st.integers(-(10**9), 10**9), st.sampled_from([429, 503]))
    def test_receiver_may_ask_for_more_time_within_bounds(self, number, asked_s, status):
        gap, usual = gap_after(number, status, asked_s), GAPS[number - 1]
        assert usual * (1 - JITTER) <= gap <= max(2 * usual, RETRY_AFTER_MAX) * (1 + JITTER)
        if usual < timedelta(seconds=asked_s) <= RETRY_AFTER_MAX:
            assert gap >= timedelta(seconds=asked_s)

    @pytest.mark.parametrize("status", [None, 200, 404, 500, 502])
    def test_other_answers_have_no_say_in_it(self, status):
        assert gap_after(1, status, 3600) < timedelta(seconds=6)


class TestFencing:
    def test_claimed_delivery_is_nobody_elses_until_the_lease_ends(self, tell, listen, at):
        listen()
        tell()
        [first], _ = delivery.claim_parcels(10)
        assert delivery.claim_parcels(10) == ([], 0)
        at(LEASE + timedelta(seconds=1))
        [second], _ = delivery.claim_parcels(10)
        assert (second.event_id, second.body) == (first.event_id, first.body)
        assert second.claim.token != first.claim.token

    @pytest.mark.parametrize("late_status", [200, 500, 410])
    def test_late_workers_result_moves_nothing_but_is_kept_as_evidence(
        self, tell, listen, shop_id, at, late_status
    ):
        listen()
        tell()
        [late], _ = delivery.claim_parcels(10)
        at(LEASE + timedelta(seconds=1))
        [current], _ = delivery.claim_parcels(10)
        before = jobs()
        delivery.record([result_of(late, late_status)])
        assert jobs() == before
        story = story_of(shop_id)
        assert (story.delivery.state, story.delivery.tries) == (DeliveryState.PENDING, 0)
        delivery.record([result_of(current, 200)])
        story = story_of(shop_id)
        assert (story.delivery.state, story.delivery.tries) == (DeliveryState.DELIVERED, 1)
        assert [attempt.status for attempt in story.attempts] == [late_status, 200]
        assert jobs() == []

    def test_late_workers_put_back_moves_nothing(self, tell, listen, at):
        listen()
        tell()
        [late], _ = delivery.claim_parcels(10)
        at(LEASE + timedelta(seconds=1))
        delivery.claim_parcels(10)
        before = jobs()
        delivery.record([], [(late.claim, 5.0)])
        assert jobs() == before

    def test_result_that_comes_after_the_other_workers_success_changes_nothing(
        self, tell, listen, shop_id, at
    ):
        listen()
        tell()
        [late], _ = delivery.claim_parcels(10)
        at(LEASE + timedelta(seconds=1))
        [current], _ = delivery.claim_parcels(10)
        delivery.record([result_of(current, 200)])
        delivery.record([result_of(late, 500)])
        story = story_of(shop_id)
        assert story.delivery.state == DeliveryState.DELIVERED
        assert len(story.attempts) == 2
        assert jobs() == []

    def test_crash_between_claim_and_send_costs_only_time(self, tell, listen, shop_id, sender, receiver, at):
        listen()
        tell()
        delivery.claim_parcels(10)  # and the worker is gone
        deliver_due(sender)
        assert receiver.requests == []
        at(LEASE + timedelta(seconds=1))
        deliver_due(sender)
        assert len(receiver.requests) == 1
        assert story_of(shop_id).delivery.state == DeliveryState.DELIVERED

    def test_one_batch_mixes_ours_and_lost(self, tell, listen, shop_id, at):
        listen()
        for _ in range(3):
            tell()
        lost, _ = delivery.claim_parcels(2)
        at(LEASE + timedelta(seconds=1))
        again, _ = delivery.claim_parcels(3)
        by_id = {parcel.claim.subject_id: parcel for parcel in again}
        mine = by_id.pop(next(iter(set(by_id) - {parcel.claim.subject_id for parcel in lost})))
        delivery.record([*(result_of(parcel, 200) for parcel in lost), result_of(mine, 200)])
        stories, _ = history.list_deliveries(shop_id, livemode=False, page=Page())
        delivered = [
            story.delivery.id for story in stories if story.delivery.state == DeliveryState.DELIVERED
        ]
        assert delivered == [mine.claim.subject_id]
        assert len(jobs()) == 2


class TestClaims:
    def test_only_as_many_as_asked_for_are_taken(self, tell, listen):
        listen()
        for _ in range(5):
            tell()
        assert [delivery.claim_parcels(2)[1] for _ in range(4)] == [2, 2, 1, 0]

    def test_delivery_whose_endpoint_was_deleted_meanwhile_is_abandoned(self, tell, listen, shop_id):
        """The deletion may commit between the emitter's look at the endpoints and its own commit."""
        endpoint_id, _ = listen()
        tell()
        self.mark(endpoint_id, deleted_at=clock.now())
        assert delivery.claim_parcels(10) == ([], 1)
        assert story_of(shop_id).delivery.state == DeliveryState.ABANDONED
        assert jobs() == []

    def test_delivery_whose_endpoint_was_disabled_meanwhile_is_abandoned(self, tell, listen, shop_id):
        endpoint_id, _ = listen()
        tell()
        self.mark(endpoint_id, disabled_at=clock.now())
        assert delivery.claim_parcels(10) == ([], 1)
        assert story_of(shop_id).delivery.state == DeliveryState.ABANDONED

    def mark(self, endpoint_id: str, **columns) -> None:
        with endpoints.transaction() as tx:
            tx.execute(
                sa.update(endpoints.WebhookEndpoint)
                .where(endpoints.WebhookEndpoint.id == endpoint_id)
                .values(**columns)
            )


def test_no_hot_statement_reads_a_whole_table(tell, listen, at):
    """SQLite would, for a list of pairs.  The planners can be asked without filling the tables."""
    listen()
    listen("/ok/2")
    for _ in range(3):
        tell()
    seen: list[tuple[str, tuple]] = []
    event.listen(
        db.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, _context, many: seen.append(
            (statement, parameters[0] if many else parameters)
        ),
    )
    parcels, _ = delivery.claim_parcels(10)
    results = [
        result_of(parcel, status) for parcel, status in zip(parcels, (200, 200, 500, 500), strict=False)
    ]
    delivery.record(results, [(parcels[4].claim, 1.0), (parcels[5].claim, 1.0)])
    hot = [(sql, given) for sql, given in seen if sql.split()[0] in ("SELECT", "UPDATE", "DELETE")]
    assert len(hot) >= 9
    is_sqlite = db.engine.dialect.name == "sqlite"
    with transaction() as tx:
        if not is_sqlite:
            tx.exec_driver_sql("SET LOCAL enable_seqscan = off")  # or it would read small tables whole
        for sql, given in hot:
            plan = tx.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{sql}", given)
            # A list of ours is no table, nor is what was found with it.
            steps = [step for step in map(str, plan) if "json_each" not in step and "SCAN mine" not in step]
            assert not [step for step in steps if "SCAN " in step or "Seq Scan" in step], sql


def test_zero_bytes_in_an_answer_can_be_stored(tell, listen, shop_id):
    listen()
    tell()
    [parcel], _ = delivery.claim_parcels(1)
    delivery.record([Result(parcel, clock.now(), Sent("k", 500, None, 1, b"a\x00b\xff" + b"x" * 16000))])
    [attempt] = story_of(shop_id).attempts
    assert attempt.response_head.startswith("a\ufffdb\ufffdxxx")
    assert len(attempt.response_head) == delivery.HEAD_MAX_CHARS
