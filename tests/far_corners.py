"""Receivers that nobody wants: counters, liars, tricklers, bombs, and a resolver that changes its mind."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Talk = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@dataclass
class Listener:
    """A port on loopback that counts who connects, and keeps the first bytes that each one sends."""

    host: str
    port: int
    connections: int = 0
    heard: list[bytes] = field(default_factory=list)


@contextmanager
def listening(
    talk: Talk, *, host: str = "127.0.0.1", port: int = 0, tls: str | None = None
) -> Iterator[Listener]:
    """Everybody who connects is heard once and then talked to, each in a thread of its own."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
    with socket.create_server((host, port), backlog=256) as server:
        found = Listener(host, server.getsockname()[1])

        def answer(plain: socket.socket) -> None:
            with contextlib.suppress(OSError), plain:
                plain.settimeout(10)
                if context is None:
                    talk(plain)
                    return
                with context.wrap_socket(plain, server_side=True) as secure:
                    talk(secure)

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:  # closed: the test is over
                    return
                found.connections += 1
                threading.Thread(target=answer, args=(plain,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield found
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # wakes accept()
        server.close()
        thread.join(5)


def says(answer: bytes) -> Talk:
    """One answer to whatever comes."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return talk


def goes_on(beginning: bytes, more: bytes, pause_s: float = 0.0) -> Talk:
    """An answer that never ends."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(beginning)
        while True:
            connection.sendall(more)
            time.sleep(pause_s)

    return talk


def is_silent(connection: socket.socket) -> None:
    """Reads nothing and says nothing, but keeps the connection."""
    time.sleep(3)


@dataclass
class Resolver:
    """Where names are looked up, by DNS over HTTPS.  ``answers`` come one after the other, for ever."""

    url: str
    asked: int = 0


@contextmanager
def resolving(
    answers: Sequence[Sequence[str]], certificate: str, *, pause_s: float = 0.0
) -> Iterator[Resolver]:
    """A resolver that gives another answer each time it is asked for a name, none of them to be kept."""
    found = Resolver("")

    def talk(connection: socket.socket) -> None:
        while True:
            head, _, question = _request(connection)
            if not head:
                return
            time.sleep(pause_s)
            addresses: Sequence[str] = ()
            if question[-4:-2] == b"\0\1":  # type A
                addresses = answers[found.asked % len(answers)]
                found.asked += 1
            body = _dns_answer(question, addresses)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    with listening(talk, tls=certificate) as server:
        found.url = f"https://127.0.0.1:{server.port}/dns-query"
        yield found


@dataclass
class Proxy:
    """A forward proxy for tunnels; ``asked`` are the heads of what it was asked."""

    url: str
    asked: list[bytes] = field(default_factory=list)


@contextmanager
def proxying(to_port: int, *, verdict: bytes = b"200 Connection established") -> Iterator[Proxy]:
    """Opens every tunnel to one port of this machine, whatever name it is asked for, or refuses."""
    found = Proxy("")

    def talk(connection: socket.socket) -> None:
        head, _, _ = _request(connection)
        found.asked.append(head)
        connection.sendall(b"HTTP/1.1 " + verdict + b"\r\nX-From: proxy\r\n\r\n")
        if not verdict.startswith(b"200"):
            return
        with socket.create_connection(("127.0.0.1", to_port), timeout=10) as inside:
            threading.Thread(target=_copy, args=(connection, inside), daemon=True).start()
            _copy(inside, connection)

    with listening(talk) as server:
        found.url = f"http://127.0.0.1:{server.port}"
        yield found


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


def _request(connection: socket.socket) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b"", b"", b""
        data += chunk
    head, end, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line]
    while len(body) < sum(lengths):
        body += connection.recv(65536)
    return head, end, body


def _dns_answer(question: bytes, addresses: Sequence[str]) -> bytes:
    """Source: RFC 1035, 4.1: header, the question again, and an A record with a TTL of 0 for each address."""
    header = question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0)
    records = b"".join(
        b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + ipaddress.IPv4Address(address).packed
        for address in addresses
    )
    return header + question[12:] + records
