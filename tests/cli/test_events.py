"""Events sent again from the shell: one, or a span, looked at first."""

from __future__ import annotations

from datetime import datetime, timedelta

import click
import pytest

from app import clock
from app.cli.events import Moment
from app.db import transaction
from app.queue import Job
from app.webhooks import endpoints, history
from app.webhooks.history import Page
from app.webhooks.outbox import Fact, emit
from tests.books import rows_of
from tests.cli.conftest import json_of
from tests.conftest import add_shop

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def shop(house):
    found = add_shop()
    for number, type_ in enumerate(["charge.created", "charge.paid", "charge.expired"]):
        with transaction() as tx:
            emit(tx, Fact(found.id, False, type_, f"ch_{number}", 1, {"id": f"ch_{number}"}))
    return found


@pytest.fixture
def endpoint_id(shop) -> str:
    return endpoints.create_endpoint(shop.id, livemode=False, url="http://127.0.0.1:9/hook")[0].id


def test_a_dry_run_counts_and_sends_nothing(run, endpoint_id):
    result = run("events replay --from 1h --dry-run")
    assert result.stdout == f"{endpoint_id}  3 events would be sent to http://127.0.0.1:9/hook\n"
    assert rows_of(Job) == []


def test_a_replay_makes_its_events_due(run, endpoint_id):
    made = json_of(run("events replay --from 1h --types charge.paid,charge.expired --json"))
    assert made["endpoints"] == [{"endpoint_id": endpoint_id, "url": "http://127.0.0.1:9/hook", "events": 2}]
    assert len(rows_of(Job)) == 2


def test_a_replay_knows_when_it_ends(run, endpoint_id, shop):
    result = run("events", "replay", "--from", "2h", "--to", "1h", "--endpoint", endpoint_id)
    assert result.stdout.split("  ")[1] == "0 events sent to http://127.0.0.1:9/hook\n"
    assert run("events replay --from 1h --to 2h").stderr == "Error: must be later than the beginning\n"


def test_one_event_is_sent_again(run, endpoint_id, shop):
    events, _ = history.list_events(shop.id, livemode=False, page=Page())
    result = run(f"events resend {events[0].id} --endpoint {endpoint_id}")
    assert result.stdout == f"{endpoint_id}  1 event sent to http://127.0.0.1:9/hook\n"
    assert len(rows_of(Job)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("events resend evt_x", "no such event"),
        ("events replay --from 1h --endpoint we_x", "no such webhook endpoint"),
        ("events replay --from 1h --types charge.stolen", "is not an event type"),
        ("events replay --from 1h --live", "there is no enabled endpoint"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_1(run, endpoint_id, words, said):
    result = run(words)
    assert result.exit_code == 1
    assert said in result.stderr


def test_times_are_spans_before_now_or_moments_with_a_zone(house):
    read = lambda text: Moment().convert(text, None, None)  # noqa: E731
    assert abs(clock.now() - timedelta(hours=36) - read("36h")) < timedelta(seconds=5)
    assert abs(clock.now() - timedelta(days=7) - read("7d")) < timedelta(seconds=5)
    assert read("2026-11-21T16:30:00+08:00") == read("2026-11-21T08:30:00Z")
    assert read("2026-11-21T08:30:00Z") == datetime.fromisoformat("2026-11-21T08:30:00+00:00")
    for text in ("yesterday", "2026-11-21T08:30:00", "-1h", "１h", "1w", ""):
        with pytest.raises(click.BadParameter):
            read(text)
