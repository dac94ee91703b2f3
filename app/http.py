"""The way out: every HTTP request of ours is made here, by libcurl, and none inside a transaction.

``Client`` makes one exchange and waits (providers, whose addresses the operator chose); ``Sender``
drives many at once from one thread (webhooks, whose addresses merchants chose, so a ``Guard``
judges each address at the moment of connecting).
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain

import certifi
import pycurl

from app.addresses import Guard, split_url
from app.db import refuse_in_transaction
from app.errors import InvalidRequest, ProviderUnreachable
from app.providers.base import HttpAnswer

CONNECT_TIMEOUT_S = 5.0
POST_TIMEOUT_S = 15.0  # Standard Webhooks asks for 15 to 30; the lower end frees slots sooner
POST_ANSWER_MAX_BYTES = 16 << 10  # only the first lines are kept, for people
HEADERS_MAX_BYTES = 64 << 10
SLOTS = 64
USER_AGENT = "Mafu"
_CHECKED_MAX = 1000

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

_E_TOO_LARGE = 100  # pycurl has no name for it.  Source: curl/curl.h

# What to tell people of a failed exchange: our words, because libcurl's may quote the address.
_REASONS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "the name does not resolve",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_OPERATION_TIMEDOUT: "timed out",
    pycurl.E_SSL_CONNECT_ERROR: "TLS failed",
    pycurl.E_PEER_FAILED_VERIFICATION: "the certificate is not trusted for this name",
    pycurl.E_GOT_NOTHING: "the connection was closed without an answer",
    pycurl.E_PARTIAL_FILE: "the answer broke off",
    pycurl.E_RECV_ERROR: "the connection broke while reading",
    pycurl.E_SEND_ERROR: "the connection broke while sending",
    pycurl.E_UNSUPPORTED_PROTOCOL: "not HTTP",
    _E_TOO_LARGE: "the answer is too long",
}
REFUSED = "the address is not public"
_SUPPRESS_CONNECT_HEADERS = 265  # pycurl has no name for it.  Source: curl/curl.h


class Client:
    """One exchange at a time, each thread with its own connection.  Implements ``Outbound``.

    The deadline is one for all: name, connection, TLS, headers and body.  Redirects are never
    followed, proxies in the environment never used.
    """

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard
        self._local = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        """One exchange, whatever the status.

        Raises ProviderUnreachable when there is no whole answer, InvalidRequest for an address or
        header that must not go on the wire, NestedTransaction inside a transaction.
        """
        refuse_in_transaction()
        _, host, _ = split_url(url)
        if self._guard is not None:
            self._guard.check_url(url)
        if method not in _METHODS:
            raise InvalidRequest(f"{method[:20]!r} is not a method that can be sent", param="method")
        exchange = self._exchange()
        exchange.load(method, url, _header_lines(headers or {}), body, timeout_s, answer_max_bytes)
        try:
            exchange.curl.perform()
        except pycurl.error as error:
            raise ProviderUnreachable(f"{host}: {exchange.reason(int(error.args[0]))}") from None
        return HttpAnswer(exchange.status() or 0, exchange.headers, bytes(exchange.answer))

    def _exchange(self) -> _Exchange:
        # A forked child must not speak on its parent's connection.
        if getattr(self._local, "pid", 0) != os.getpid():
            self._local.exchange = _Exchange(self._guard)
            self._local.pid = os.getpid()
        exchange: _Exchange = self._local.exchange
        return exchange


@dataclass(frozen=True, slots=True)
class Post:
    """A message on its way.  ``key`` is the caller's name for it, and comes back with the result.

    One that goes ``aside`` shares no queue for name lookups with those that do not.
    """

    key: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float = POST_TIMEOUT_S
    aside: bool = False
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Sent:
    """How a post ended: ``error`` is None if a whole answer came, or as much of one as we read."""

    key: str
    status: int | None
    error: str | None
    duration_ms: int
    head: bytes = b""
    retry_after_s: int | None = None  # what the answer asked for, 6 hours at most


class Sender:
    """Up to ``slots`` posts in flight at once, in the thread that calls.  Not shared among threads.

    Who goes next is the caller's business; this class only keeps every one of them within bounds.

    With a ``proxy`` (``http://[name:password@]host:port``, the operator's) every post goes through a
    tunnel that it opens.  The proxy then looks names up, so it is the proxy that must judge addresses;
    what ``Guard.check_url`` refuses is still refused here.  With ``pace_bytes_s`` it writes no faster, as
    over a bad line.
    """

    def __init__(self, guard: Guard, *, slots: int = SLOTS, proxy: str = "", pace_bytes_s: int = 0) -> None:
        self._guard = guard
        # Each has 20 threads for name lookups, and pycurl cannot set another number.  Ten names whose
        # servers are silent keep them all busy for ten seconds: so strangers have threads of their own.
        self._multis = {False: pycurl.CurlMulti(), True: pycurl.CurlMulti()}
        self._idle = [_Exchange(guard, proxy, pace_bytes_s, keeps_headers=False) for _ in range(slots)]
        self._busy: dict[pycurl.Curl, tuple[_Exchange, Post]] = {}
        self._refused: list[Sent] = []
        self._checked: set[str] = set()  # addresses that have passed

    @property
    def free(self) -> int:
        """How many more posts may be started now."""
        return len(self._idle)

    def start(self, post: Post) -> None:
        """Put a post on the wire; ``finished`` will tell of it.  Raises IndexError if none is free."""
        refuse_in_transaction()
        try:
            self._check_url(post.url)
            lines = _header_lines(post.headers)
        except InvalidRequest as error:
            self._refused.append(Sent(post.key, None, error.detail, 0))
            return
        exchange = self._idle.pop()
        exchange.load(post.method, post.url, lines, post.body, post.timeout_s, POST_ANSWER_MAX_BYTES)
        self._busy[exchange.curl] = exchange, post
        self._multis[post.aside].add_handle(exchange.curl)

    def finished(self, wait_s: float = 0.0) -> list[Sent]:
        """Move every post along; those that have ended.

        With none yet it waits up to ``wait_s`` for something to happen on the wire, which need not be
        an end.
        """
        sent, self._refused = self._refused + self._turn(), []
        if not sent and self._busy and wait_s > 0:
            self._wait(wait_s)
            sent = self._turn()
        return sent

    def close(self) -> None:
        """Drop what is in flight, and every connection.  Waits for name lookups to end by themselves."""
        for curl in list(self._busy):
            self._release(curl)
        for multi in self._multis.values():
            multi.close()

    def _check_url(self, url: str) -> None:
        if url in self._checked:
            return
        self._guard.check_url(url)
        if len(self._checked) >= _CHECKED_MAX:
            self._checked.clear()
        self._checked.add(url)

    def _turn(self) -> list[Sent]:
        sent: list[Sent] = []
        for multi in self._multis.values():
            multi.perform()
            left = 1
            while left:
                left, whole, failed = multi.info_read()
                sent += [self._result(curl, None) for curl in whole]
                sent += [self._result(curl, code) for curl, code, _ in failed]
        return sent

    def _wait(self, wait_s: float) -> None:
        reading, writing, failing = (
            list(chain(*lists))
            for lists in zip(*(multi.fdset() for multi in self._multis.values()), strict=True)
        )
        if reading or writing or failing:
            select.select(reading, writing, failing, wait_s)
        else:
            time.sleep(min(wait_s, 0.01))  # nothing to watch yet; do not spin

    def _result(self, curl: pycurl.Curl, code: int | None) -> Sent:
        exchange, post = self._release(curl)
        # An answer that was too long for us to read on is still an answer.
        error = None if code is None or exchange.is_cut else exchange.reason(code)
        return Sent(
            post.key,
            exchange.status(),
            error,
            round(curl.getinfo(pycurl.TOTAL_TIME) * 1000),
            bytes(exchange.answer),
            curl.getinfo(pycurl.RETRY_AFTER) or None,
        )

    def _release(self, curl: pycurl.Curl) -> tuple[_Exchange, Post]:
        exchange, post = self._busy.pop(curl)
        self._multis[post.aside].remove_handle(curl)
        self._idle.append(exchange)
        return exchange, post


_Target = tuple[int, int, int, tuple[str, int]]  # family, type, protocol, (address, port)


class _Exchange:
    """One libcurl handle, reused; its connections stay open between exchanges.

    Whose answers' headers nobody reads does not keep them: it is a twentieth of a webhook's work.  libcurl
    ends an answer with more than 300 kB of them.
    """

    def __init__(
        self, guard: Guard | None, proxy: str = "", pace_bytes_s: int = 0, *, keeps_headers: bool = True
    ) -> None:
        self._guard = guard
        self._has_proxy = bool(proxy)
        self.curl = pycurl.Curl()
        self.headers: dict[str, str] = {}
        self.answer = bytearray()
        self.is_cut = False
        self._is_refused = False
        self._headers_bytes = 0
        self._answer_max_bytes = 0
        for option, value in _FIXED_OPTIONS:
            self.curl.setopt(option, value)
        if keeps_headers:
            self.curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._on_body)
        if pace_bytes_s:
            self.curl.setopt(pycurl.MAX_SEND_SPEED_LARGE, pace_bytes_s)
        if proxy:
            self.curl.setopt(pycurl.PROXY, proxy)
            self.curl.setopt(pycurl.NOPROXY, "")  # no exceptions from the environment
            self.curl.setopt(pycurl.HTTPPROXYTUNNEL, 1)
            self.curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)  # the proxy's answer is not the receiver's
        elif guard is not None:  # the only address that is connected to through a proxy is the proxy's
            self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def load(
        self, method: str, url: str, lines: list[str], body: bytes, timeout_s: float, answer_max_bytes: int
    ) -> None:
        """Make ready for the next exchange."""
        self.headers, self.answer = {}, bytearray()
        self.is_cut = self._is_refused = False
        self._headers_bytes, self._answer_max_bytes = 0, answer_max_bytes
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.HTTPHEADER, lines)
        self.curl.setopt(pycurl.TIMEOUT_MS, round(timeout_s * 1000))
        if body or method == "POST":
            self.curl.setopt(pycurl.POSTFIELDS, body)
        else:
            self.curl.setopt(pycurl.HTTPGET, 1)
        self.curl.setopt(pycurl.CUSTOMREQUEST, method)

    def status(self) -> int | None:
        """The HTTP status, None if it never came to that."""
        return self.curl.getinfo(pycurl.RESPONSE_CODE) or None

    def reason(self, code: int) -> str:
        """Why there is no whole answer, for people."""
        if self._is_refused:
            return REFUSED
        if self._has_proxy:
            said = self.curl.getinfo(pycurl.HTTP_CONNECTCODE)  # 0 on a tunnel that was open already
            if said >= 300:
                return f"the webhook proxy answered {said}"
            if code in (pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_PROXY):
                return "no connection to the webhook proxy"
        if self.is_cut:
            return "the answer is too long"
        return _REASONS.get(code, f"the exchange failed (libcurl {code})")

    def _open_socket(
        self, _purpose: int, target: tuple[int, int, int, tuple[str, int]]
    ) -> socket.socket | int:
        family, kind, protocol, place = target
        if self._guard is None or not self._guard.permits(ip_address(place[0])):
            self._is_refused = True
            return int(pycurl.SOCKET_BAD)
        return socket.socket(family, kind, protocol).detach()  # libcurl's from here on, to close as well

    def _on_header(self, line: bytes) -> int:
        self._headers_bytes += len(line)
        if self._headers_bytes > HEADERS_MAX_BYTES:
            self.is_cut = True
            return 0
        if line.startswith(b"HTTP/"):
            self.headers.clear()  # an interim answer (100, 103) came before
            return len(line)
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            name, value = name.strip().lower(), value.strip()
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        return len(line)

    def _on_body(self, chunk: bytes) -> int:
        room = self._answer_max_bytes - len(self.answer)
        self.answer += chunk[:room]
        if len(chunk) > room:
            self.is_cut = True
            return 0
        return len(chunk)


_FIXED_OPTIONS: tuple[tuple[int, int | str], ...] = (
    (pycurl.NOSIGNAL, 1),
    (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    (pycurl.FOLLOWLOCATION, 0),
    (pycurl.PROXY, ""),
    (pycurl.CONNECTTIMEOUT_MS, round(CONNECT_TIMEOUT_S * 1000)),
    (pycurl.CAINFO, certifi.where()),
    (pycurl.SSL_VERIFYPEER, 1),
    (pycurl.SSL_VERIFYHOST, 2),
    (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
    # One request a connection at a time is all we need, and there is no flood of HTTP/2 frames to fend off.
    (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
    (pycurl.PATH_AS_IS, 1),  # the path that was signed is the path that is sent
    (pycurl.USERAGENT, USER_AGENT),
)


def _header_lines(headers: Mapping[str, str]) -> list[str]:
    """Raises InvalidRequest for a name or value that could begin another header."""
    # Without these two libcurl would wait for leave to send a long body, and call every body a form.
    lines = ["Expect:"]
    if not any(name.lower() == "content-type" for name in headers):
        lines.append("Content-Type:")
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or not (value.isascii() and value.isprintable()):
            raise InvalidRequest(f"{name[:40]!r} is not a header that can be sent", param="headers")
        lines.append(f"{name}: {value}" if value.strip() else f"{name};")
    return lines
