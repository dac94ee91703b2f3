"""A merchant's system on loopback: the path of the address says how well it behaves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass(frozen=True)
class Request:
    """What came in; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float


@dataclass
class Receiver:
    """``answers`` overrules the path: statuses to give, in order, before the path decides again."""

    port: int
    requests: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    slow_s: float = 2.0
    connections: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path.startswith(path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    receiver: Receiver

    def setup(self) -> None:
        super().setup()
        self.receiver.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.requests.append(Request(self.path, headers, body, time.monotonic()))
        try:
            self._answer()
        except OSError:  # the other side has hung up, as it should
            self.close_connection = True

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

    def _answer(self) -> None:
        if self.receiver.answers:
            self._say(self.receiver.answers.pop(0), b"as told")
            return
        kind = self.path.split("/")[1].partition("?")[0]
        if kind in ("slow", "trickle", "huge", "hang", "headers", "early"):
            getattr(self, f"_{kind}")()
        elif kind == "busy":
            self._say(429, b"later", {"Retry-After": unquote(self.path.rpartition("/")[2], "latin-1")})
        elif kind == "to":
            self._say(302, b"", {"Location": f"http://127.0.0.1:{self.receiver.port}/inside"})
        else:
            statuses = {"ok": 200, "fail": 500, "gone": 410, "empty": 204, "teapot": 418}
            self._say(statuses.get(kind, 404), b"" if kind == "empty" else f"this is {kind}".encode())

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _slow(self) -> None:
        time.sleep(self.receiver.slow_s)
        self._say(200, b"at last")

    def _hang(self) -> None:
        time.sleep(self.receiver.slow_s)
        self.close_connection = True

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.05)

    def _huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 65536)

    def _headers(self) -> None:
        self.send_response(200)
        self.flush_headers()
        while True:
            self.wfile.write(b"X-Long: " + b"x" * 1000 + b"\r\n")

    def _early(self) -> None:
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nX-Early: yes\r\n\r\n")
        self._say(200, b"late", {"X-Twice": "a", "x-twice": "b"})

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        pass  # a client that cut us off is what some of these tests are about


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of this machine, gone at the end."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    handler.receiver = receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
