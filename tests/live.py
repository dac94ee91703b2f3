"""The house as it really runs: web, worker and sandbox in processes of their own, on loopback.

    with house(database_url, folder) as mafu:
        mafu.start("sandbox", "web", "worker")
        answer = ask("GET", f"{mafu.url}/healthz")

The programs are those that ``flask serve`` runs, word for word; only it is the test that starts them,
so the test may kill them.  Whatever is still alive at the end of the block is ended.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from app.cli import pages, places, serve
from app.config import Settings
from tests.conftest import settings_for

ROOT = Path(__file__).parents[1]
START_S = 60.0  # two seconds on a free machine
HOPS_MAX = 8

_PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko)"
PHONE = f"{_PHONE} Chrome/130.0.0.0 Mobile Safari/537.36"
WALLET = f"{_PHONE} Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36 AlipayClient/10.6.0"
DESKTOP = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)

# Becomes the program after asking Linux to end it when we die, however we die.  Not a preexec_fn: that
# runs in a fork of a process with threads, which may hang and which newer Pythons warn of.
_TIED_TO_US = (
    "import ctypes, os, signal, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass
class Program:
    """One of the house's programs.  ``health`` is an address that answers 200 once it is ready, if any."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    health: str = ""
    _running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None, "not started"
        return self._running.pid

    def start(self) -> None:
        """Start it in a session of its own; what it says is appended to ``log``."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-c", _TIED_TO_US, *self.command],
                env=dict(self.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it is ready."""
        assert self._running is not None, "not started"
        running = self._running

        def is_ready() -> bool:
            assert running.poll() is None, f"it ended at once:\n{self.said()}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                return ask("GET", self.health, timeout_s=2.0).status == 200
            return False

        if self.health:
            wait_until(is_ready, START_S)

    def kill(self) -> None:
        """``kill -9`` of the program with all its children, in one blow."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def kill_a_child(self, rng: random.Random) -> None:
        """``kill -9`` of one child, which its parent is to notice and replace."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(rng.choice(children)), signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, as a service manager would; its exit code."""
        assert self._running is not None, "not started"
        self._running.send_signal(signal.SIGTERM)
        return self._running.wait(START_S)

    def said(self) -> str:
        """The whole log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@dataclass
class House:
    """Where everything is, and its programs by name: sandbox, web, worker."""

    settings: Settings
    url: str
    sandbox_url: str
    programs: dict[str, Program]

    def start(self, *names: str) -> None:
        """Start these, and wait until they answer."""
        for name in names:
            self.programs[name].start()
        for name in names:
            self.programs[name].wait()


@contextmanager
def house(database_url: str, folder: Path, **more: Any) -> Iterator[House]:
    """The house over a migrated database, nothing started yet.  ``more`` are settings."""
    port, sandbox_port = free_port(), free_port()
    chosen = settings_for(
        database_url,
        folder,
        base_url=f"http://127.0.0.1:{port}",
        port=port,
        sandbox_port=sandbox_port,
        **more,
    )
    here = places.places_of(chosen)
    told = {
        "DATABASE_URL": database_url,
        "MAFU_SECRET_KEYS": ",".join(chosen.secret_keys),
        "MAFU_ENCRYPTION_KEYS": ",".join(chosen.encryption_keys),
        "MAFU_LOG_LEVEL": chosen.log_level,
    }
    health = {"web": f"{here.base_url}/healthz", "sandbox": f"{here.sandbox_url}/healthz"}
    programs = {
        name: Program(
            child.command, {**child.environment, **told}, folder / f"{name}.log", health.get(name, "")
        )
        for name, child in serve._family(chosen, here, verbose=False).items()
    }
    try:
        yield House(chosen, here.base_url, here.sandbox_url, programs)
    finally:
        for program in programs.values():
            program.kill()


@dataclass
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    method: str,
    url: str,
    *,
    key: str = "",
    json_body: Any = None,
    form: Mapping[str, str] | None = None,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 20.0,
) -> Answer:
    """What ``curl`` does: one exchange on a connection of its own; no redirect is followed."""
    sent = dict(headers or {})
    if key:
        sent["Authorization"] = f"Bearer {key}"
    if json_body is not None:
        body, sent["Content-Type"] = json.dumps(json_body).encode(), "application/json"
    elif form is not None:
        body, sent["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request(method, parts._replace(scheme="", netloc="", fragment="").geturl(), body, sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


@dataclass
class Browser:
    """A shopper's browser without scripts: follows redirects, keeps cookies, presses buttons.

    ``address`` and ``html`` are the page it shows.
    """

    user_agent: str
    address: str = ""
    html: str = ""
    _cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def open(self, address: str) -> str:
        """Type an address, follow a link, or scan a code; the page's HTML."""
        return self._go("GET", address, None)

    def press(self, name: str, value: str) -> str:
        """Press the button that sends this; the HTML of the page it leads to."""
        form = pages.read_page(self.address, self.html).form_offering(name, value)
        assert form is not None, f"there is no button for {name}={value} at {self.address}"
        return self._go(form.method, form.address, form.fields | {name: value})

    def poll(self) -> dict[str, Any]:
        """What the page's script asks for every few seconds."""
        status: dict[str, Any] = ask("GET", self.address.partition("?")[0] + "/status").json
        return status

    def _go(self, method: str, address: str, form: Mapping[str, str] | None) -> str:
        for _ in range(HOPS_MAX):
            jar = self._cookies.setdefault(urlsplit(address).netloc, {})
            headers = {"User-Agent": self.user_agent, "Accept": "text/html", "Accept-Language": "en"}
            if jar:
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
            answer = ask(method, address, form=form, headers=headers)
            for cookie in SimpleCookie(answer.headers.get("set-cookie", "")).values():
                jar[cookie.key] = cookie.value
            if answer.status not in (302, 303):
                assert answer.status == 200, f"{address.partition('?')[0]} answered {answer.status}"
                self.address, self.html = address, answer.body.decode()
                return self.html
            method, address, form = "GET", urljoin(address, answer.headers["location"]), None
        raise AssertionError(f"more than {HOPS_MAX} redirects")


def wait_until(is_done: Callable[[], object], within_s: float = 30.0, why: str = "it never happened") -> None:
    """Look every few milliseconds.  Raises AssertionError."""
    deadline_s = time.monotonic() + within_s
    while not is_done():
        assert time.monotonic() < deadline_s, why
        time.sleep(0.02)


def free_port() -> int:
    """A port to listen on now and again after a kill.

    Not one of those that connections are given (32768 and up): a client that knocks while nobody
    listens could be given that very port, and would keep us from it.
    """
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
