"""``flask listen``: a merchant's events, forwarded to a program on this machine while it is being written.

It follows the API as any merchant's system could, so it needs neither an endpoint nor an address that
Mafu can reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext

from app import clock, runtime
from app.addresses import NEARBY
from app.cli import output, remote, signals
from app.cli.feed import Feed
from app.cli.remote import Away, Remote
from app.http import Post, Sender, Sent
from app.ids import is_id
from app.webhooks import types
from app.webhooks.signature import headers_for, new_secret

LOOK_EVERY_S = 0.5
AGAIN_S = 1.0  # after no connection: somebody is restarting their program, or Mafu
END_S = 5.0  # for the program that was started with us
_FILE = "listen.json"

IsOver = Callable[[], bool]


@click.command("listen", context_settings={"allow_interspersed_args": False})
@click.option("--forward-to", "forward_to", metavar="URL", help="Where your program takes webhooks.")
@click.option(
    "--events", "wanted", default="", help="Only these types, with commas between; all if left out."
)
@click.option("--since", metavar="EVT", default="", help="Begin after this event instead of now.")
@click.option("--print-secret", is_flag=True, help="Print the secret that signs, and end.")
@remote.url_option
@remote.key_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
@output.told
def listen_command(
    *,
    forward_to: str | None,
    wanted: str,
    since: str,
    print_secret: bool,
    url: str,
    key: str,
    command: tuple[str, ...],
) -> None:
    """Forward events to URL as they happen, signed as webhooks are, one line each with the answer.

    After -- may stand a COMMAND that starts your program: it is run with MAFU_URL, MAFU_KEY and
    MAFU_WEBHOOK_SECRET in its environment, and both end together.

    An event is offered again while nobody listens at URL; any answer is an answer.  Ctrl-C ends it.
    """
    secret = stable_secret(runtime.settings().data)
    if print_secret:
        output.say(secret)
        return
    if forward_to is None:
        raise click.UsageError("say where your program listens: --forward-to http://127.0.0.1:3000/hook")
    NEARBY.check_url(forward_to)
    far = remote.remote_of(url, key)
    chosen = _chosen(wanted)
    if since and not is_id(since, "evt"):
        raise click.UsageError("--since takes the id of an event: evt_…")
    with signals.noticed() as is_over:
        feed = Feed(far, since) if since else Feed.from_now(far)
        output.say(f"signed with {secret} (stable; your program verifies with it)")
        output.say(f"{far.url} → {forward_to}   Ctrl-C ends")
        program = _start(command, far, secret) if command else None
        try:
            _forward(feed, Way(far, forward_to, secret, chosen), lambda: is_over() or _has_ended(program))
        finally:
            code = _stop(program)
        sys.exit(0 if is_over() else code)


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where, and what of it."""

    far: Remote
    to: str
    secret: str
    types: frozenset[str]  # empty: all


def stable_secret(folder: Path) -> str:
    """The secret of this data folder's forwarding: made on first use, and the same from then on."""
    path = folder / _FILE
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return str(json.loads(path.read_text())["secret"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = new_secret()
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"secret": secret}, file)
    draft.replace(path)
    return secret


def _chosen(wanted: str) -> frozenset[str]:
    names = frozenset(part.strip() for part in wanted.split(",") if part.strip())
    for name in sorted(names):
        if name not in types.ALL:
            raise click.UsageError(f"{name} is no event type; there are {', '.join(types.ALL)}")
    return names


def _forward(feed: Feed, way: Way, is_over: IsOver) -> None:
    sender = Sender(NEARBY, slots=1)
    was_away = False
    try:
        while not is_over():
            try:
                events = feed.look()
            except Away as error:
                if not was_away:
                    output.say(f"Mafu does not answer ({error.detail}); trying again", err=True)
                was_away, events = True, []
            else:
                was_away = False
            for event in events:
                if not way.types or event["type"] in way.types:
                    _hand_over(event, way, sender, is_over)
            _pause(LOOK_EVERY_S, is_over)
    finally:
        sender.close()


def _hand_over(event: dict[str, Any], way: Way, sender: Sender, is_over: IsOver) -> None:
    """One event, until somebody has answered, whatever it was."""
    body = _bytes_of(event["id"], way.far, is_over)
    has_complained = False
    while body is not None and not is_over():
        headers = headers_for([way.secret], event["id"], int(clock.now().timestamp()), body)
        sender.start(Post(event["id"], way.to, headers, body))
        sent = _outcome(sender, is_over)
        if sent is None:
            return
        if sent.status is not None or sent.error != "no connection":
            said = sent.error or f"{sent.status} in {sent.duration_ms} ms"
            about = event["data"]["object"].get("id", "")
            output.say(f"{clock.now():%H:%M:%S}  {event['type']}  {about}  {event['id']}  → {said}")
            return
        if not has_complained:
            output.say(f"nobody listens at {way.to} yet; trying again", err=True)
            has_complained = True
        _pause(AGAIN_S, is_over)


def _bytes_of(event_id: str, far: Remote, is_over: IsOver) -> bytes | None:
    """An event exactly as webhooks carry it; None if we were told to end before we had it."""
    while not is_over():
        try:
            return far.get(f"/events/{event_id}").body
        except Away:
            _pause(AGAIN_S, is_over)
    return None


def _outcome(sender: Sender, is_over: IsOver) -> Sent | None:
    while not is_over():
        for sent in sender.finished(0.1):
            return sent
    return None


def _pause(span_s: float, is_over: IsOver) -> None:
    deadline_s = time.monotonic() + span_s
    while not is_over() and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _start(command: tuple[str, ...], far: Remote, secret: str) -> subprocess.Popen[bytes]:
    told = {"MAFU_URL": far.url, "MAFU_KEY": far.key, "MAFU_WEBHOOK_SECRET": secret}
    # Flask's mark of its own command line would keep another Flask program from running its server.
    ours = {name: value for name, value in os.environ.items() if name != "FLASK_RUN_FROM_CLI"}
    try:
        # What runs is what the person in front of this shell has typed.
        return subprocess.Popen(command, env=ours | told)  # noqa: S603
    except OSError as error:
        raise click.ClickException(f"cannot start {command[0]}: {error.strerror}") from None


def _has_ended(program: subprocess.Popen[bytes] | None) -> bool:
    return program is not None and program.poll() is not None


def _stop(program: subprocess.Popen[bytes] | None) -> int:
    """End it; its exit code if it has ended by itself, else 0."""
    if program is None:
        return 0
    if program.poll() is not None:
        return program.returncode if program.returncode >= 0 else 128 - program.returncode
    program.terminate()
    try:
        program.wait(END_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
    return 0
