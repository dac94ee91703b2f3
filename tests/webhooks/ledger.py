"""A receiver that keeps a ledger: how often each event came, with which bytes, and what it was answered.

One thread and an epoll, because it must be faster than the workers it judges.  It refuses at random.
"""

from __future__ import annotations

import hashlib
import random
import re
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([\w]+)", re.IGNORECASE)
_YES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_NO = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"


def digest_of(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:12]


@dataclass
class Ledger:
    """``failing`` is the share of requests that are refused."""

    port: int
    failing: float
    chance: random.Random
    came: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    digests: dict[str, bytes] = field(default_factory=dict)
    altered: list[str] = field(default_factory=list)
    count: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def repeated(self) -> int:
        """How often an event came again that had been accepted before."""
        return self.accepted.total() - len(self.accepted)

    def enter(self, head: bytes, body: bytes) -> bytes:
        """Write a request down; the answer."""
        found = _ID.search(head)
        event_id = found[1].decode() if found else "?"
        self.count += 1
        self.came[event_id] += 1
        if self.digests.setdefault(event_id, digest_of(body)) != digest_of(body):
            self.altered.append(event_id)
        if self.chance.random() < self.failing:
            return _NO
        self.accepted[event_id] += 1
        return _YES


@contextmanager
def keeping(failing: float, seed: int) -> Iterator[Ledger]:
    """A ledger on a free port of this machine, closed at the end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    over, wake = socket.socketpair()
    ledger = Ledger(listener.getsockname()[1], failing, random.Random(seed))
    thread = threading.Thread(target=_serve, args=(ledger, listener, over), daemon=True)
    thread.start()
    try:
        yield ledger
    finally:
        wake.close()
        thread.join()
        over.close()
        listener.close()


def _serve(ledger: Ledger, listener: socket.socket, over: socket.socket) -> None:
    peers: dict[int, tuple[socket.socket, bytearray]] = {}
    with select.epoll() as poll:
        for readable in (listener, over):
            poll.register(readable.fileno(), select.EPOLLIN)
        while True:
            for number, _ in poll.poll():
                if number == over.fileno():
                    for peer, _ in peers.values():
                        peer.close()
                    return
                if number == listener.fileno():
                    peer, _ = listener.accept()
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    peers[peer.fileno()] = peer, bytearray()
                    poll.register(peer.fileno(), select.EPOLLIN)
                elif not _answer(ledger, *peers[number]):
                    poll.unregister(number)
                    peers.pop(number)[0].close()


def _answer(ledger: Ledger, peer: socket.socket, unread: bytearray) -> bool:
    """Answer what has come in whole; whether the peer is still there."""
    try:
        chunk = peer.recv(1 << 16)
        unread += chunk
        while (end := unread.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(unread, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(unread) < whole:
                break
            answer = ledger.enter(bytes(unread[:end]), bytes(unread[end + 4 : whole]))
            del unread[:whole]
            peer.sendall(answer)
    except ConnectionError:  # its owner was killed
        return False
    return bool(chunk)
