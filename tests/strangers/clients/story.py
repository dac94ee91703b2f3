"""The frame of a stranger's story in Python: a case comes in, each step is told as a line of JSON.

Nothing but the standard library, because each client brings an environment of its own.  Whatever the
client does, it reaches the loopback address and nothing else: Python itself refuses the rest.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

HERE = "127.0.0.1"
PATIENCE_S = 20.0


class StrayCallError(Exception):
    """The client tried to reach somebody else than the sandbox."""


@dataclass(frozen=True)
class Mail:
    """A notification as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """What the form says."""
        return fields_of(self.body.decode("ascii"))


class Story:
    """The case as ``case.py`` puts it, a merchant's callback address, and the far side's controls."""

    def __init__(self, answer: tuple[int, bytes]) -> None:
        self.case: dict[str, Any] = json.load(sys.stdin)
        self._far = urlsplit(self.case["far"])
        self._met: set[tuple[str, int]] = set()
        self._heard: list[tuple[str, Mail]] = []
        self._shop = self._listen(*answer)
        sys.addaudithook(self._guard)

    def step(self, name: str) -> Callable[[Callable[[], None]], None]:
        """Take a step now and tell how it went."""

        def take(act: Callable[[], None]) -> None:
            told: dict[str, Any] = {"step": name, "error": None}
            try:
                act()
            except Exception:  # noqa: BLE001  # whatever a client raises is for the test to show
                told["error"] = traceback.format_exc()
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()

        return take

    def end(self) -> None:
        """The last step of every story: the client spoke to the sandbox, and could not to others."""

        @self.step("reaches nobody but the sandbox")
        def _() -> None:
            strayed = refused(lambda: http.client.HTTPConnection("192.0.2.1", timeout=0.5).connect())
            assert isinstance(strayed, StrayCallError), strayed
            assert self._met == {(HERE, self._far.port)}, self._met

        self._shop.shutdown()

    def number(self, name: str) -> str:
        """A number of an order or refund that no other story uses."""
        return f"{self.case['prefix']}{name}"

    def address(self, name: str) -> str:
        """Where the merchant wants to hear of something."""
        return f"http://{HERE}:{self._shop.server_port}/{name}"

    def heard(self, name: str, count: int = 1) -> list[Mail]:
        """What arrived at an address, once it is so many."""
        deadline = time.monotonic() + PATIENCE_S
        while len(found := [mail for where, mail in self._heard if where == name]) < count:
            assert time.monotonic() < deadline, f"heard {len(found)} of {count} at {name}"
            time.sleep(0.01)
        return found

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The sandbox's control API: the shopper's hand, the network's levers."""
        kind = {"Content-Type": "application/json"}
        status, _, answer = self.visit(f"/control/{path}", json.dumps(body or {}).encode(), kind)
        assert status < 300, answer
        said: dict[str, Any] = json.loads(answer)
        return said

    def visit(
        self, address: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, bytes]:
        """A browser's request, redirects not followed: (status, location, body)."""
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(HERE, self._far.port or 0, timeout=PATIENCE_S)
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request("POST" if body is not None else "GET", path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.getheader("Location", ""), response.read()
        finally:
            connection.close()

    def approve(self, address: str) -> str:
        """Open a cashier's address, approve, and say where the browser is sent then."""
        status, cashier, page = self.visit(address)
        assert status == 303, page
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.visit(cashier, urlencode({"action": "approve"}).encode(), form)[1]

    def _listen(self, status: int, words: bytes) -> ThreadingHTTPServer:
        heard = self._heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append((self.path.strip("/"), Mail(dict(self.headers.items()), body)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer((HERE, 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def _guard(self, event: str, args: tuple[Any, ...]) -> None:
        """Hears of every socket before it connects, whichever library opens it."""
        if event == "socket.connect":
            address = args[1]
            if not isinstance(address, tuple) or address[0] != HERE:
                raise StrayCallError(f"a call to {address}")
            self._met.add(address[:2])
        elif event in ("socket.getaddrinfo", "socket.gethostbyname") and args[0] != HERE:
            raise StrayCallError(f"a look-up of {args[0]}")
        elif event in ("socket.sendto", "socket.sendmsg"):
            raise StrayCallError("a datagram")


def refused(act: Callable[[], object]) -> Exception:
    """The exception that an act must end in."""
    try:
        given = act()
    except Exception as error:  # noqa: BLE001  # the caller looks at its kind
        return error
    raise AssertionError(f"it was not refused, but gave {given!r}")


def fields_of(text: str) -> dict[str, str]:
    """A query or form, decoded once."""
    return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
