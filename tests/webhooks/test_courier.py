"""Deliveries end to end: a real receiver, a real database, and everything that goes wrong between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from standardwebhooks.webhooks import Webhook

from app.config import Settings
from app.db import transaction
from app.http import POST_TIMEOUT_S, Post, Sender
from app.queue import Job, Kind
from app.webhooks import courier as courier_module
from app.webhooks import endpoints, history
from app.webhooks.courier import Courier
from app.webhooks.delivery import FAILING_MAX, GAPS, LEASE, TRIES_MAX
from app.webhooks.history import Page
from app.webhooks.lanes import CAP
from app.webhooks.models import Delivery, DeliveryAttempt, DeliveryState, WebhookEndpoint
from app.worker import desk_for
from tests.books import rows_of
from tests.webhooks.turns import deliver_due

ROOT = Path(__file__).parents[2]


def stories_of(shop_id: str, **narrowed):
    return history.list_deliveries(shop_id, livemode=False, page=Page(limit=100), **narrowed)[0]


def states_of(shop_id: str, **narrowed) -> list[str]:
    return [story.delivery.state for story in stories_of(shop_id, **narrowed)]


def start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": settings.database_url,
        "MAFU_DATA": str(settings.data),
        "MAFU_SECRET_KEYS": ",".join(settings.secret_keys),
        "MAFU_ENCRYPTION_KEYS": ",".join(settings.encryption_keys),
    }
    return subprocess.Popen([sys.executable, Path(__file__).with_name("worker_process.py")], env=environment)


class TestOneDelivery:
    def test_receiver_can_verify_it_with_the_standard_library(self, tell, listen, sender, receiver, shop_id):
        _, secret = listen()
        object_id = tell(description="拿铁")
        deliver_due(sender)
        [request] = receiver.requests
        payload = Webhook(secret).verify(request.body, request.headers)
        assert payload["data"]["object"] == {"id": object_id, "description": "拿铁"}
        assert payload["id"] == request.headers["webhook-id"]
        assert request.headers["content-type"] == "application/json"
        [story] = stories_of(shop_id)
        assert story.delivery.state == DeliveryState.DELIVERED
        assert (story.delivery.tries, story.delivery.next_try_at) == (1, None)
        [attempt] = story.attempts
        assert (attempt.number, attempt.status, attempt.error, attempt.response_head) == (
            1,
            200,
            None,
            "this is ok",
        )

    @pytest.mark.parametrize("path", ["/ok", "/empty", "/huge"])
    def test_any_2xx_is_success_however_long_the_answer(self, tell, listen, sender, shop_id, path):
        listen(path)
        tell()
        deliver_due(sender)
        assert states_of(shop_id) == [DeliveryState.DELIVERED]

    @pytest.mark.parametrize("path", ["/fail", "/teapot", "/to/inside", "/hang", "/nowhere"])
    def test_anything_else_is_failure_and_is_tried_again(self, tell, listen, sender, receiver, shop_id, path):
        receiver.slow_s = 0
        listen(path)
        tell()
        deliver_due(sender)
        assert states_of(shop_id) == [DeliveryState.PENDING]
        assert receiver.to("/inside") == []

    def test_every_try_has_the_same_id_and_bytes_and_a_new_signature(
        self, tell, listen, sender, receiver, at
    ):
        _, secret = listen()
        tell()
        receiver.answers = [500, 503, 200]
        for gap in (timedelta(), *GAPS[:2]):
            at(gap * 1.2)
            deliver_due(sender)
        assert len(receiver.requests) == 3
        assert len({request.body for request in receiver.requests}) == 1
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
        assert len({request.headers["webhook-signature"] for request in receiver.requests}) == 3
        assert Webhook(secret).verify(receiver.requests[-1].body, receiver.requests[-1].headers)

    def test_nothing_is_tried_before_its_time(self, tell, listen, sender, receiver, at):
        listen("/fail")
        tell()
        deliver_due(sender)
        at(GAPS[0] * 0.85)
        deliver_due(sender)
        assert len(receiver.requests) == 1

    def test_whole_schedule_ends_and_a_person_may_ask_for_one_more(
        self, tell, listen, sender, receiver, shop_id, at
    ):
        endpoint_id, _ = listen("/fail")
        tell()
        for gap in (timedelta(), *GAPS):
            self.forget_failing(endpoint_id)  # or it would be disabled before the end
            at(gap * 1.11)
            deliver_due(sender)
        [story] = stories_of(shop_id)
        assert (story.delivery.state, story.delivery.tries) == (DeliveryState.EXHAUSTED, TRIES_MAX)
        assert [attempt.number for attempt in story.attempts] == list(range(1, TRIES_MAX + 1))
        at(timedelta(days=30))
        assert deliver_due(sender) == 0
        self.forget_failing(endpoint_id)
        history.resend(shop_id, story.delivery.id)
        deliver_due(sender)
        assert states_of(shop_id) == [DeliveryState.EXHAUSTED]
        history.resend(shop_id, story.delivery.id)
        receiver.answers = [200]
        deliver_due(sender)
        assert states_of(shop_id) == [DeliveryState.DELIVERED]
        assert len(receiver.requests) == TRIES_MAX + 2

    def test_receiver_that_asks_for_time_gets_it(self, tell, listen, sender, receiver, at):
        listen("/busy/600")
        tell()
        deliver_due(sender)
        at(timedelta(seconds=590))
        deliver_due(sender)
        assert len(receiver.requests) == 1
        at(timedelta(seconds=80))
        deliver_due(sender)
        assert len(receiver.requests) == 2

    def test_address_that_is_no_longer_allowed_is_not_called(self, tell, listen, settings, receiver, shop_id):
        """Stored in demo mode, sent under live rules: the wall stands at the sender."""
        listen()
        tell()
        strict = Sender(endpoints.guard_of(settings.model_copy(update={"mode": "live"})))
        deliver_due(strict)
        strict.close()
        assert receiver.connections == 0
        [attempt] = stories_of(shop_id)[0].attempts
        assert (attempt.status, attempt.error) == (None, "must begin with https://")

    def test_secret_that_cannot_be_opened_fails_the_try_without_sending(
        self, tell, listen, sender, receiver, shop_id
    ):
        endpoint_id, _ = listen()
        tell()
        with transaction() as tx:
            tx.execute(
                sa.update(WebhookEndpoint)
                .where(WebhookEndpoint.id == endpoint_id)
                .values(sealed_secret="v1.x.AAAA")
            )
        deliver_due(sender)
        assert receiver.requests == []
        assert states_of(shop_id) == [DeliveryState.PENDING]

    def test_no_secret_is_in_what_is_kept_of_a_try(self, tell, listen, sender, shop_id):
        _, secret = listen("/fail")
        tell()
        deliver_due(sender)
        assert secret.removeprefix("whsec_") not in repr(stories_of(shop_id))

    def forget_failing(self, endpoint_id: str) -> None:
        with transaction() as tx:
            tx.execute(
                sa.update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(failing_since=None)
            )


class TestEndpointsHealth:
    def test_gone_disables_at_once_and_tells_the_others(self, tell, listen, sender, receiver, shop_id, at):
        gone, _ = listen("/gone")
        other, _ = listen("/ok", event_types=["webhook_endpoint.disabled"])
        tell()
        tell()
        deliver_due(sender)
        row = endpoints.find_endpoint(shop_id, gone)
        assert (row.disabled_at is not None, row.disabled_reason) == (True, "gone")
        assert set(states_of(shop_id, endpoint_id=gone)) == {DeliveryState.ABANDONED}
        at(timedelta(days=1))
        deliver_due(sender)
        assert len(receiver.to("/gone")) <= 2
        [request] = receiver.to("/ok")
        told = json.loads(request.body)
        assert (told["type"], told["data"]["object"]["id"]) == ("webhook_endpoint.disabled", gone)
        assert endpoints.find_endpoint(shop_id, other).disabled_at is None

    def test_three_days_of_nothing_but_failures_disable(self, tell, listen, sender, shop_id, at):
        endpoint_id, _ = listen("/fail")
        tell()
        deliver_due(sender)
        began = endpoints.find_endpoint(shop_id, endpoint_id).failing_since
        at(FAILING_MAX - timedelta(minutes=1))
        tell()
        deliver_due(sender)
        row = endpoints.find_endpoint(shop_id, endpoint_id)
        assert (row.failing_since, row.disabled_at) == (began, None)
        at(timedelta(minutes=2))
        tell()
        deliver_due(sender)
        assert endpoints.find_endpoint(shop_id, endpoint_id).disabled_reason == "failing"
        assert set(states_of(shop_id)) == {DeliveryState.ABANDONED}

    def test_one_success_ends_the_run_of_failures(self, tell, listen, sender, receiver, shop_id, at):
        endpoint_id, _ = listen("/fail")
        tell()
        deliver_due(sender)
        at(timedelta(days=2))
        receiver.answers = [200]
        deliver_due(sender)
        assert endpoints.find_endpoint(shop_id, endpoint_id).failing_since is None
        at(timedelta(days=2))
        tell()
        deliver_due(sender)
        row = endpoints.find_endpoint(shop_id, endpoint_id)
        assert row.disabled_at is None
        assert row.failing_since is not None

    def test_success_of_a_parcel_loaded_before_the_failure_still_ends_the_run(
        self, tell, listen, sender, receiver, shop_id
    ):
        """What a parcel knows of its endpoint is as old as its claim; the row is what counts."""
        endpoint_id, _ = listen()
        for _ in range(3):
            tell()
        receiver.answers = [500]
        deliver_due(sender, batch=3)
        assert endpoints.find_endpoint(shop_id, endpoint_id).failing_since is None


class TestIsolation:
    def test_slow_endpoint_holds_up_nobody_but_itself(self, tell, listen, sender, receiver, shop_id):
        receiver.slow_s = 3.0
        slow, _ = listen("/slow", event_types=["charge.expired"])
        listen("/ok", event_types=["charge.paid"])
        for _ in range(60):
            tell("charge.expired")
        courier = Courier(sender, batch=20)
        began = time.monotonic()
        courier.step()
        for _ in range(60):
            tell("charge.paid")
        while len(receiver.to("/ok")) < 60 and time.monotonic() - began < 10:
            courier.step()
        assert time.monotonic() - began < 2.5  # before even the first of the slow ones has answered
        assert len(receiver.to("/slow")) <= CAP
        courier.close()
        assert states_of(shop_id, endpoint_id=slow).count(DeliveryState.DELIVERED) <= CAP

    def test_many_dead_endpoints_leave_most_slots_to_the_living(
        self, tell, listen, settings, receiver, shop_id
    ):
        receiver.slow_s = 3.0
        for number in range(10):
            endpoint_id, _ = listen(f"/slow/{number}", event_types=["charge.expired"])
            with transaction() as tx:
                tx.execute(
                    sa.update(WebhookEndpoint)
                    .where(WebhookEndpoint.id == endpoint_id)
                    .values(failing_since=WebhookEndpoint.created_at)
                )
        listen("/ok", event_types=["charge.paid"])
        for _ in range(4):
            tell("charge.expired")
        sender = Sender(endpoints.guard_of(settings), slots=8)
        courier = Courier(sender)
        courier.step()
        courier.step()
        assert len(receiver.to("/slow")) <= 2
        assert sender.free >= 6
        sender.close()

    def test_only_proven_endpoints_share_the_way_of_the_quick(self, tell, listen, settings):
        """Ten names whose servers are silent would keep all of libcurl's lookup threads busy."""
        posts: list[Post] = []

        class Watched(Sender):
            def start(self, post: Post) -> None:
                posts.append(post)
                super().start(post)

        listen("/ok")
        sender = Watched(endpoints.guard_of(settings))
        courier = Courier(sender)
        for _ in range(2):
            tell()
            self.carry_all(courier)
        sender.close()
        assert [post.aside for post in posts] == [True, False]

    def carry_all(self, courier: Courier) -> None:
        courier.step()
        while not courier.is_idle:
            courier.step()

    def test_what_waits_is_put_back_when_the_worker_stops(self, tell, listen, sender, receiver, shop_id):
        receiver.slow_s = 0.3
        listen("/slow")
        for _ in range(10):
            tell()
        courier = Courier(sender)
        courier.step()
        courier.close()
        assert states_of(shop_id).count(DeliveryState.DELIVERED) == CAP
        deliver_due(sender)  # the rest is due at once, for whoever comes next
        assert set(states_of(shop_id)) == {DeliveryState.DELIVERED}
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 10

    def test_endpoint_deleted_while_its_deliveries_wait_hears_no_more(
        self, tell, listen, sender, receiver, shop_id
    ):
        receiver.slow_s = 0.3
        endpoint_id, _ = listen("/slow")
        for _ in range(40):
            tell()
        courier = Courier(sender)
        courier.step()
        endpoints.delete_endpoint(shop_id, endpoint_id)
        deadline = time.monotonic() + POST_TIMEOUT_S
        while not courier.is_idle and time.monotonic() < deadline:
            courier.step()
        assert len(receiver.requests) <= 3 * CAP  # on the wire, and begun until their fate was known
        assert set(states_of(shop_id)) == {DeliveryState.ABANDONED}


class TestSeveralWorkers:
    def test_two_workers_deliver_each_event_once(self, app, tell, listen, settings, receiver, shop_id):
        for number in range(5):
            listen(f"/ok/{number}")
        for _ in range(40):
            tell()

        def work() -> None:
            sender = Sender(endpoints.guard_of(settings))
            with app.app_context():
                deliver_due(sender, batch=15)
            sender.close()

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        sent = [(request.path, request.headers["webhook-id"]) for request in receiver.requests]
        assert len(sent) == len(set(sent)) == 200
        assert set(states_of(shop_id)) == {DeliveryState.DELIVERED}

    def test_worker_killed_at_work_loses_nothing_and_repeats_only_what_was_in_its_hands(  # noqa: PLR0917
        self, tell, listen, sender, receiver, settings, shop_id, at
    ):
        receiver.slow_s = 0.05
        for number in range(4):
            listen(f"/slow/{number}")
        for _ in range(30):
            tell()
        worker = start_worker(settings)
        deadline = time.monotonic() + 20
        while len(receiver.requests) < 30 and time.monotonic() < deadline:
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        time.sleep(0.2)  # what had reached the wire arrives
        before = len(receiver.requests)
        assert 30 <= before < 120
        at(LEASE + timedelta(seconds=1))
        deliver_due(sender)
        bodies: dict[tuple[str, str], set[bytes]] = {}
        for request in receiver.requests:
            bodies.setdefault((request.path, request.headers["webhook-id"]), set()).add(request.body)
        assert len(bodies) == 120
        assert all(len(same) == 1 for same in bodies.values())
        # Sent but not written down when it died: at most what was in flight, and one write's worth.
        assert len(receiver.requests) - 120 <= 64 + 50
        assert set(states_of(shop_id)) == {DeliveryState.DELIVERED}

    def test_database_that_is_away_at_the_wrong_moment_loses_no_result(
        self, tell, listen, sender, receiver, shop_id
    ):
        listen()
        tell()
        courier = Courier(sender)
        courier.step()
        self.rename("delivery_attempts", "elsewhere")
        with pytest.raises(sa.exc.SQLAlchemyError):
            self.go_on(courier)
        self.rename("elsewhere", "delivery_attempts")
        self.go_on(courier)
        assert len(receiver.requests) == 1
        assert states_of(shop_id) == [DeliveryState.DELIVERED]

    def go_on(self, courier: Courier) -> None:
        while not courier.is_idle:
            courier.step()

    def rename(self, old: str, new: str) -> None:
        with transaction() as tx:
            tx.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))


class TestTheDesk:
    """Claims and records made by other threads than the one that sends."""

    @pytest.fixture
    def courier(self, app, sender) -> Iterator[Courier]:
        with desk_for(app) as desk:
            yield Courier(sender, batch=20, desk=desk)

    @staticmethod
    def finish(courier: Courier) -> None:
        courier.step()
        while not courier.is_idle:
            courier.step()

    def test_everything_arrives_once_and_is_recorded(self, courier, tell, listen, receiver, shop_id):
        listen()
        told = {tell() for _ in range(150)}
        self.finish(courier)
        assert len(receiver.requests) == len(told)
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == len(told)
        assert len(rows_of(Delivery, merchant_id=shop_id, state=DeliveryState.DELIVERED)) == len(told)
        assert len(rows_of(DeliveryAttempt, merchant_id=shop_id)) == len(told)

    def test_a_database_that_is_away_loses_no_result(
        self, courier, tell, listen, receiver, shop_id, monkeypatch
    ):
        """What was sent is written down later, not sent again."""
        listen()
        for _ in range(5):
            tell()
        record, refusals = courier_module.record, [OperationalError("", {}, Exception("away"))] * 2

        def sometimes(*what: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return record(*what)

        monkeypatch.setattr(courier_module, "record", sometimes)
        heard = 0
        while not courier.is_idle:
            try:
                courier.step()
            except OperationalError:
                heard += 1
        assert heard == 2
        assert len(receiver.requests) == 5
        assert states_of(shop_id) == [DeliveryState.DELIVERED] * 5

    def test_told_to_stop_it_records_what_it_sent_and_puts_back_the_rest(
        self, courier, tell, listen, receiver, shop_id
    ):
        listen()
        told = {tell() for _ in range(60)}
        while not receiver.requests:
            courier.step()
        courier.close()
        delivered = rows_of(Delivery, merchant_id=shop_id, state=DeliveryState.DELIVERED)
        assert len(delivered) == len(receiver.requests)
        due = rows_of(Job, merchant_id=shop_id, kind=Kind.DELIVER)
        assert len(due) == len(told) - len(delivered)
        assert all(job.token is None for job in due)
