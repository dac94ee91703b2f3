"""The grader finds what each kind of careless receiver gets wrong, and nothing at a careful one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.cli import grade as grading
from app.cli.grade import CHECKS
from app.webhooks.signature import new_secret

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SECRET = new_secret()
Receive = Callable[[bytes, dict[str, str]], int]


@contextmanager
def receiver(receive: Receive, *, reads: int | None = None) -> Iterator[str]:
    """A receiver that answers what ``receive`` says of body and headers; ``reads`` so many bytes at most."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length if reads is None else min(length, reads))
            try:
                status = receive(body, {name.lower(): value for name, value in self.headers.items()})
            except Exception:  # noqa: BLE001  # a receiver that falls over is one of the kinds
                status = 500
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()
    thread.join()


def careful(body: bytes, headers: dict[str, str]) -> int:
    try:
        Webhook(SECRET).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return 401
    return 204


def trusting(_body: bytes, _headers: dict[str, str]) -> int:
    return 200


def mac(secret: str, *parts: str | bytes) -> str:
    content = b".".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def timeless(body: bytes, headers: dict[str, str]) -> int:
    """Verifies, and takes any time."""
    expected = mac(SECRET, headers["webhook-id"], headers["webhook-timestamp"], body)
    return 204 if expected in headers.get("webhook-signature", "").split(" ") else 401


def rewriting(body: bytes, headers: dict[str, str]) -> int:
    """Verifies what its JSON parser makes of the body."""
    return careful(json.dumps(json.loads(body), separators=(",", ":")).encode(), headers)


def choosy(body: bytes, headers: dict[str, str]) -> int:
    status = careful(body, headers)
    return (
        400 if status == 204 and json.loads(body)["type"] not in ("charge.paid", "charge.created") else status
    )


def impatient(body: bytes, headers: dict[str, str]) -> int:
    """Takes one signature alone."""
    return 401 if " " in headers.get("webhook-signature", "") else careful(body, headers)


def forgetful_of_ids() -> Receive:
    """Falls over when its table has the id already."""
    seen: set[str] = set()

    def receive(body: bytes, headers: dict[str, str]) -> int:
        status = careful(body, headers)
        if status == 204 and headers["webhook-id"] in seen:
            raise ValueError("UNIQUE constraint failed")
        seen.add(headers["webhook-id"])
        return status

    return receive


def brittle(body: bytes, headers: dict[str, str]) -> int:
    int(headers["webhook-timestamp"])
    return careful(body, headers)


@pytest.fixture
def failing(run, monkeypatch):
    """The names of the checks that a receiver fails."""
    monkeypatch.setattr(grading, "PROMPT_MS", 60_000)  # a busy machine is no fault of the receiver's

    def failing(receive: Receive, *, in_a_hurry: bool = True, **how) -> set[str]:
        pace = {"pace_bytes_s": 0} if in_a_hurry else {}
        monkeypatch.setattr(grading, "CHECKS", [replace(check, **pace) for check in CHECKS])
        with receiver(receive, **how) as url:
            result = run("webhooks", "grade", url, "--secret", SECRET, "--json")
        told = json.loads(result.stdout)
        names = {check["name"] for check in told["checks"] if not check["passed"]}
        assert result.exit_code == (1 if names else 0)
        assert told["passed"] is not bool(names)
        return names

    return failing


FORGED = {check.name for check in CHECKS if not check.takes}


def test_a_careful_receiver_passes_all(failing):
    assert failing(careful, in_a_hurry=False) == set()


@pytest.mark.parametrize(
    ("receive", "names"),
    [
        (trusting, FORGED),
        (timeless, {"a delivery ten minutes old", "a delivery from the future", "no timestamp"}),
        (rewriting, {"another layout of the JSON"}),
        (choosy, {"a ping", "an event type from the future"}),
        (impatient, {"two signatures, the second one yours"}),
        (brittle, {"no timestamp", "a timestamp that is no number"}),
    ],
)
def test_a_careless_receiver_fails_where_it_is_careless(failing, receive, names):
    assert failing(receive) == names


def test_a_receiver_that_stumbles_over_a_double_fails(failing):
    assert failing(forgetful_of_ids()) == {"the same delivery three times"}


def test_a_receiver_that_stops_reading_fails(failing):
    assert failing(careful, reads=20_000) == {"a big delivery", "a slowly written delivery"}


def test_a_receiver_that_works_before_it_answers_is_told(run, monkeypatch):
    monkeypatch.setattr(grading, "CHECKS", CHECKS[:1])
    monkeypatch.setattr(grading, "PROMPT_MS", 100)

    def dawdling(_body, _headers):
        time.sleep(0.3)
        return 204

    with receiver(dawdling) as url:
        result = run("webhooks", "grade", url, "--secret", SECRET)
    assert result.exit_code == 1
    assert "s to answer" in result.stdout


def test_nothing_more_is_sent_when_a_genuine_delivery_is_not_taken(run):
    calls = []
    with receiver(lambda body, _: calls.append(body) or 302) as url:
        result = run("webhooks", "grade", url, "--secret", SECRET)
    assert (result.exit_code, len(calls)) == (1, 1)
    assert "redirects are not followed" in result.stdout


def test_the_secret_of_listen_is_used_if_none_is_said(run, monkeypatch):
    monkeypatch.setattr(grading, "CHECKS", CHECKS[:1])
    secret = run("listen --print-secret").stdout.strip()

    def receive(body, headers):
        Webhook(secret).verify(body, headers)
        return 204

    with receiver(receive) as url:
        assert run("webhooks", "grade", url).stdout.splitlines()[-1] == "1 of 1 passed"


@pytest.mark.parametrize("url", ["http://8.8.8.8/hook", "http://169.254.169.254/", "http://[2606:4700::1]/"])
def test_strangers_are_not_tried_out(run, url):
    result = run("webhooks", "grade", url, "--secret", SECRET)
    assert (result.exit_code, result.stderr) == (1, "Error: must be an address nearby\n")


@pytest.mark.parametrize("secret", ["hunter2", "whsec_!", "c2VjcmV0"])
def test_a_secret_that_is_none_exits_2(run, secret):
    assert run("webhooks", "grade", "http://127.0.0.1:1/", "--secret", secret).exit_code == 2
