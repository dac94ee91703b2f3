"""/metrics: who may read it, and that it says what is so, whichever process is asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import clock, metrics
from app.queue import Job
from app.telemetry import Books
from app.webhooks import endpoints
from tests.books import make_attempt, make_charge, rows_of
from tests.conftest import ROOT, running, settings_for
from tests.webhooks.conftest import receiver, sender  # noqa: F401
from tests.webhooks.turns import deliver_due

TOKEN = "m3tr1cs-0123456789-abcdefghijklmnop"


def read(text: str) -> dict[tuple[str, ...], float]:
    """Samples by name and values of labels; Prometheus' own parser must like every line."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def now() -> dict[tuple[str, ...], float]:
    return read(metrics.exposition(Books()).decode())


def grown(before: dict[tuple[str, ...], float], *name: str) -> float:
    return now().get(name, 0.0) - before.get(name, 0.0)


def test_this_machine_may_look_and_nobody_else(client):
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics").content_type.startswith("text/plain; version=")
    for address in ("203.0.113.9", "10.0.0.5", "2001:db8::1", ""):
        assert client.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == 404, address
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):  # a proxy on this machine asks for a stranger
        assert client.get("/metrics", headers={name: "203.0.113.9"}).status_code == 404, name


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_with_a_token_only_who_brings_it_may_look(database_url, tmp_path):
    with running(settings_for(database_url, tmp_path, metrics_token=TOKEN)) as app:
        client = app.test_client()
        far = {"REMOTE_ADDR": "203.0.113.9"}

        def status(authorization: str | None) -> int:
            headers = {} if authorization is None else {"Authorization": authorization}
            return client.get("/metrics", headers=headers, environ_base=far).status_code

        assert status(f"Bearer {TOKEN}") == 200
        for wrong in (None, "", TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ü"):
            assert status(wrong) == 404, wrong
        assert client.get("/metrics").status_code == 404
    assert TOKEN not in repr(settings_for(database_url, tmp_path, metrics_token=TOKEN))


def test_requests_are_timed_by_route_and_never_by_address(client, merchant):
    before = now()
    charge = make_charge(merchant)
    client.get(f"/v1/charges/{charge.id}", headers=merchant.headers)
    client.get("/v1/charges/ch_unknown", headers=merchant.headers)
    client.get("/wp-login.php")
    name, route = "mafu_request_seconds_count", "/v1/charges/<charge_id>"
    assert grown(before, name, "GET", route, "200") == 1
    assert grown(before, name, "GET", route, "404") == 1
    assert grown(before, name, "any", "none", "404") == 1
    text = metrics.exposition().decode()
    assert charge.id not in text
    assert "wp-login" not in text


def test_the_queue_is_asked_when_somebody_looks(app, merchant, at):
    make_attempt(merchant, make_charge(merchant).id)
    [query, *_] = rows_of(Job, kind="query")
    fresh = now()
    assert fresh["mafu_jobs", "query"] == fresh["mafu_jobs", "expire"] == 1
    assert (fresh["mafu_jobs_due", "query"], fresh["mafu_job_lag_seconds", "query"]) == (0, 0)
    assert fresh["mafu_attempts_open",] == 1
    at(query.due_at - clock.now() + timedelta(seconds=100))
    later = now()
    assert later["mafu_jobs_due", "query"] == 1
    assert later["mafu_job_lag_seconds", "query"] == pytest.approx(100, abs=5)
    assert later["mafu_attempt_oldest_seconds",] >= 100
    assert later["mafu_jobs", "deliver"] == 0


def test_tries_are_counted_by_their_outcome(app, merchant, receiver, sender):  # noqa: F811
    for path in ("/ok", "/fail"):
        endpoints.create_endpoint(merchant.id, livemode=False, url=receiver.url(path))
    make_charge(merchant)
    before = now()
    deliver_due(sender)
    assert grown(before, "mafu_webhook_tries_total", "delivered") == 1
    assert grown(before, "mafu_webhook_tries_total", "failed") == 1
    assert grown(before, "mafu_webhook_try_seconds_count") == 2
    assert (now()["mafu_endpoints_failing",], now()["mafu_endpoints_cut_off",]) == (1, 0)


def test_a_callback_is_timed_from_the_payment(client, merchant, far_side):
    number = make_attempt(merchant, make_charge(merchant).id)
    far_side.pay(number)
    before = now()
    client.post(f"/callbacks/{merchant.account_id}", data=far_side.notice(number).body)
    assert grown(before, "mafu_callback_lag_seconds_count", "alipay") == 1


def test_processes_count_into_one_folder(tmp_path):
    """What one of them has counted, and what one that is over had, is in the answer of any other."""
    script = (
        "from app import metrics as m; m.TRIES.labels('delivered').inc(3); print(m.exposition().decode())"
    )
    said = ""
    for _ in range(2):
        said = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, metrics.FOLDER: str(tmp_path), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    assert re.search(r'mafu_webhook_tries_total\{outcome="delivered"\} 6\.0', said)
