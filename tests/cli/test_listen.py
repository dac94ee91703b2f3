"""Events forwarded to a program under development: signed, in order, as they were, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

import pytest
from standardwebhooks import Webhook
from werkzeug.serving import make_server

from app.cli import listen
from app.db import transaction
from app.webhooks.outbox import Fact, emit
from tests.conftest import add_shop
from tests.live import wait_until
from tests.networks import served
from tests.webhooks.receiver import receiving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MARK = "import os, sys; open(sys.argv[1], 'w').write(' '.join(os.environ[n] for n in sys.argv[2:]))"


@pytest.fixture
def shop(house):
    return add_shop()


@pytest.fixture
def api(house, shop):
    """The application at an address of its own."""
    server = make_server("127.0.0.1", 0, house, threaded=True)
    yield from served(server, f"http://127.0.0.1:{server.port}")


@pytest.fixture
def program():
    """What the merchant is writing."""
    with receiving() as found:
        yield found


@pytest.fixture
def say(house, shop):
    """Something happens to the shop."""

    def say(type_: str = "charge.paid", name: str = "ch_1", **data) -> None:
        with house.app_context(), transaction() as tx:
            emit(tx, Fact(shop.id, False, type_, name, say.sequence, {"id": name, **data}))
        say.sequence += 1

    say.sequence = 1
    return say


@pytest.fixture
def listening(run, api, shop, program):
    """Listen while ``meanwhile`` runs beside, then press Ctrl-C; what was printed."""

    def listening(meanwhile, *words, to="/ok"):
        faults = []

        def beside():
            try:
                wait_until(lambda: signal.getsignal(signal.SIGINT).__name__ == "note")
                time.sleep(0.3)  # it takes note of what is there
                meanwhile()
            except BaseException as fault:  # noqa: BLE001  # told by the test's own thread
                faults.append(fault)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=beside)
        thread.start()
        given = ["listen", "--forward-to", program.url(to), "--url", api, "--key", shop.key, *words]
        result = run(*given)
        thread.join()
        assert faults == []
        return result

    return listening


def test_events_arrive_in_order_with_the_bytes_of_a_webhook_and_verify(
    listening, program, say, run, house, shop
):
    def meanwhile():
        for number, type_ in enumerate(["charge.created", "charge.paid", "charge.canceled"]):
            say(type_, f"ch_{number}", description="一杯拿铁")
        wait_until(lambda: len(program.requests) == 3)

    result = listening(meanwhile)
    assert result.exit_code == 0
    secret = run("listen --print-secret").stdout.strip()
    assert secret in result.stdout
    for request in program.requests:
        event = Webhook(secret).verify(request.body, request.headers)
        stored = house.test_client().get(f"/v1/events/{event['id']}", headers=shop.headers)
        assert request.body == stored.data
    lines = [line for line in result.stdout.splitlines() if "→ 200" in line]
    assert [line.split()[1] for line in lines] == [
        "charge.created",
        "charge.paid",
        "charge.canceled",
    ]


def test_only_the_chosen_types_are_forwarded(listening, program, say):
    def meanwhile():
        say("charge.created", "ch_1")
        say("charge.expired", "ch_2")
        wait_until(lambda: len(program.requests) == 1)

    result = listening(meanwhile, "--events", "charge.expired,charge.paid")
    assert [json.loads(request.body)["type"] for request in program.requests] == ["charge.expired"]
    assert "charge.created" not in result.stdout


def test_any_answer_is_an_answer_and_is_said(listening, program, say):
    def meanwhile():
        say()
        wait_until(lambda: len(program.requests) == 1)
        time.sleep(0.2)

    result = listening(meanwhile, to="/fail")
    assert "→ 500" in result.stdout
    assert len(program.requests) == 1


def test_an_event_waits_for_a_program_that_is_not_up_yet(run, api, shop, say, monkeypatch):
    monkeypatch.setattr(listen, "AGAIN_S", 0.1)
    with receiving() as early:
        port = early.port
    got = []

    def beside():
        wait_until(lambda: signal.getsignal(signal.SIGINT).__name__ == "note")
        time.sleep(0.3)
        say()
        time.sleep(0.5)
        from_port = make_server("127.0.0.1", port, lambda e, s: (got.append(e), s("204 OK", []), [b""])[2])
        thread = threading.Thread(target=from_port.serve_forever)
        thread.start()
        wait_until(lambda: got)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        from_port.shutdown()
        thread.join()
        from_port.server_close()

    thread = threading.Thread(target=beside)
    thread.start()
    result = run("listen", "--forward-to", f"http://127.0.0.1:{port}/hook", "--url", api, "--key", shop.key)
    thread.join()
    assert (result.exit_code, len(got)) == (0, 1)
    assert "nobody listens" in result.stderr
    assert "→ 204" in result.stdout


def test_since_an_event_what_came_after_it_is_told_first(listening, program, say, house, shop):
    for number in range(3):
        say("charge.paid", f"ch_{number}")
    listed = house.test_client().get("/v1/events", headers=shop.headers).get_json()["data"]
    oldest = listed[-1]["id"]
    listening(lambda: wait_until(lambda: len(program.requests) == 2), "--since", oldest)
    names = [json.loads(request.body)["data"]["object"]["id"] for request in program.requests]
    assert names == ["ch_1", "ch_2"]


def test_the_secret_is_made_once_and_private(run, house):
    first, second = (run("listen --print-secret").stdout for _ in range(2))
    assert first == second
    assert first.startswith("whsec_")
    path = house.extensions["mafu.runtime"].settings.data / "listen.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{")
    assert run("listen --print-secret").stdout != first


def test_a_program_given_after_two_dashes_learns_all_it_needs_and_ends_the_listening(
    run, api, shop, program, tmp_path
):
    names = ["MAFU_URL", "MAFU_KEY", "MAFU_WEBHOOK_SECRET"]
    told = tmp_path / "told"
    words = ["--url", api, "--key", shop.key, "--", sys.executable, "-c", MARK + "; sys.exit(7)", str(told)]
    result = run("listen", "--forward-to", program.url("/ok"), *words, *names)
    assert result.exit_code == 7
    secret = run("listen --print-secret").stdout.strip()
    assert told.read_text() == f"{api} {shop.key} {secret}"


def test_a_program_that_is_running_is_ended_with_ctrl_c(listening, tmp_path):
    ready = tmp_path / "ready"
    code = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
    began_s = time.monotonic()
    result = listening(lambda: wait_until(ready.exists), "--", sys.executable, "-c", code, str(ready))
    assert result.exit_code == 0
    assert time.monotonic() - began_s < 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--forward-to"),
        (["--forward-to", "http://127.0.0.1:1/", "--events", "charge.stolen", "--key", "k"], "no event type"),
        (["--forward-to", "http://127.0.0.1:1/", "--since", "ch_1", "--key", "k"], "evt_"),
        (["--forward-to", "http://127.0.0.1:1/"], "there is no demo"),
    ],
)
def test_a_command_typed_wrongly_exits_2(run, words, said):
    result = run("listen", *words)
    assert (result.exit_code, said in result.stderr) == (2, True)


@pytest.mark.parametrize("url", ["http://8.8.8.8/hook", "http://169.254.169.254/x", "ftp://127.0.0.1/"])
def test_events_do_not_leave_the_neighbourhood(run, url):
    result = run("listen", "--forward-to", url, "--key", "k")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: must be")


def test_a_wrong_key_and_a_mafu_that_is_away_are_said(run, api, program):
    refused = run("listen", "--forward-to", program.url("/ok"), "--url", api, "--key", "mafu_sk_test_x")
    assert (refused.exit_code, "answered 401" in refused.stderr) == (1, True)
    away = run("listen", "--forward-to", program.url("/ok"), "--url", "http://127.0.0.1:1", "--key", "k")
    assert (away.exit_code, away.stderr) == (1, "Error: 127.0.0.1: no connection\n")
