"""How much one dead and one trickling endpoint cost the other forty-eight: ``python -m bench.neighbours``.

Fifty merchants with an endpoint each, a worker in a process of its own, events at an even pace.  Quiet
and noisy runs take turns; what counts is the time from the commit of an event to its arrival at a
healthy receiver.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from app.db import table_of, transaction
from app.ids import new_id
from app.merchants import people
from app.queue import Job
from app.runtime import settings
from app.webhooks import endpoints
from app.webhooks.outbox import Fact, emit_to
from bench.house import House, database, house
from tests.conftest import ROOT
from tests.postgres import HOW_TO_GET_ONE

ENDPOINTS = 50
PER_SECOND = 50  # of all together: one each
DEAD, TRICKLING = "/dead", "/trickle"
TARGET = 1.2

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *(\w+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@dataclass
class Receiver:
    """All fifty, by path; when each event came."""

    port: int
    came_s: dict[str, float] = field(default_factory=dict)
    trickling: list[socket.socket] = field(default_factory=list)

    def url(self, path: str) -> str:
        """Where one of them lives."""
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, peer: socket.socket, head: bytes) -> None:
        """Say what the path says."""
        path = head.split(b" ", 2)[1].decode()
        if path == TRICKLING:
            peer.sendall(_HEAD)
            self.trickling.append(peer)
        elif path != DEAD:
            found = _ID.search(head)
            assert found is not None
            self.came_s.setdefault(found[1].decode(), time.monotonic())
            peer.sendall(_OK)


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="pairs of runs; default: 3")
    parser.add_argument("--seconds", type=int, default=20, metavar="S", help="of a run; default: 20")
    chosen = parser.parse_args()
    for kind in ("sqlite", "postgresql") if chosen.database == "both" else (chosen.database,):
        with tempfile.TemporaryDirectory(prefix="mafu-bench-") as name, database(kind, Path(name)) as url:
            if url is None:
                print(HOW_TO_GET_ONE)
                continue
            with house(url, Path(name)) as built:
                _compare(built, kind, chosen.rounds, chosen.seconds)


def _compare(built: House, kind: str, rounds: int, seconds: int) -> None:
    ratios = []
    with _receiving() as receiver, built.app.app_context():
        shops = [_shop(receiver, number) for number in range(ENDPOINTS)]
        for number in range(rounds + 1):
            quiet = _run(receiver, shops, seconds, noisy=False)
            noisy = _run(receiver, shops, seconds, noisy=True)
            said = f"{kind}: quiet {_figures(quiet)}, noisy {_figures(noisy)}"
            if number:  # the first pair warms up
                ratios.append(_p99(noisy) / _p99(quiet))
                print(f"{said}, p99 ratio {ratios[-1]:.2f}", flush=True)
    verdict = "met" if median(ratios) <= TARGET else "missed"
    print(f"{kind}: median ratio {median(ratios):.2f}, target {TARGET} {verdict}", flush=True)


def _run(receiver: Receiver, shops: list[tuple[str, str]], seconds: int, *, noisy: bool) -> list[float]:
    """Seconds on the way of each event for a healthy endpoint."""
    for (merchant_id, endpoint_id), path in zip(shops[:2], (DEAD, TRICKLING), strict=True):
        address = receiver.url(path if noisy else "/ok")
        endpoints.update_endpoint(merchant_id, endpoint_id, {"url": address, "disabled": False})
    told_s: dict[str, float] = {}
    with _worker():
        first = _tell(shops[-1])
        _wait_for(receiver, {first})  # the worker has started
        began_s = time.monotonic()
        for number in range(seconds * PER_SECOND):
            time.sleep(max(0.0, began_s + number / PER_SECOND - time.monotonic()))
            place = number % ENDPOINTS
            event_id = _tell(shops[place])
            if place >= 2:
                told_s[event_id] = time.monotonic()
        _wait_for(receiver, told_s.keys())
    with transaction() as tx:  # what still waits for the two must not burden the next run
        tx.execute(sa.delete(table_of(Job)))
    return [receiver.came_s[event_id] - at_s for event_id, at_s in told_s.items()]


def _tell(shop: tuple[str, str]) -> str:
    """An event for one shop; its id."""
    object_id = new_id("ch")
    with transaction() as tx:
        return emit_to(tx, shop[1], Fact(shop[0], False, "charge.paid", object_id, 1, {"id": object_id}))


def _wait_for(receiver: Receiver, event_ids: Collection[str]) -> None:
    deadline_s = time.monotonic() + 60
    while missing := [event_id for event_id in event_ids if event_id not in receiver.came_s]:
        assert time.monotonic() < deadline_s, f"{len(missing)} events never arrived"
        time.sleep(0.05)


def _shop(receiver: Receiver, number: int) -> tuple[str, str]:
    merchant_id, _ = people.add_merchant(f"店 {number}", email=f"next{number}@cafe.example", password=None)
    row, _ = endpoints.create_endpoint(merchant_id, livemode=False, url=receiver.url(f"/{number}"))
    return merchant_id, row.id


@contextmanager
def _worker() -> Iterator[None]:
    chosen = settings()
    environment = {
        **os.environ,
        "DATABASE_URL": chosen.sqlalchemy_url,
        "MAFU_DATA": str(chosen.data),
        "MAFU_SECRET_KEYS": ",".join(chosen.secret_keys),
        "MAFU_ENCRYPTION_KEYS": ",".join(chosen.encryption_keys),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "worker"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _receiving() -> Iterator[Receiver]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    receiver = Receiver(listener.getsockname()[1])
    over, wake = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(receiver, listener, over), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        wake.close()
        thread.join()
        listener.close()


def _serve(receiver: Receiver, listener: socket.socket, over: socket.socket) -> None:
    peers: dict[int, tuple[socket.socket, bytearray]] = {}
    with select.epoll() as poll:
        for readable in (listener, over):
            poll.register(readable.fileno(), select.EPOLLIN)
        while True:
            for number, _ in poll.poll(0.2):
                if number == over.fileno():
                    return
                if number == listener.fileno():
                    peer, _ = listener.accept()
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    peers[peer.fileno()] = peer, bytearray()
                    poll.register(peer.fileno(), select.EPOLLIN)
                elif not _read(receiver, *peers[number]):
                    poll.unregister(number)
                    peers.pop(number)[0].close()
            for peer in list(receiver.trickling):
                try:
                    peer.send(b".")
                except OSError:
                    receiver.trickling.remove(peer)


def _read(receiver: Receiver, peer: socket.socket, unread: bytearray) -> bool:
    """Answer what has come in whole; whether the peer is still there."""
    try:
        chunk = peer.recv(1 << 16)
        unread += chunk
        while (end := unread.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(unread, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(unread) < whole:
                break
            head = bytes(unread[:end])
            del unread[:whole]
            receiver.answer(peer, head)
    except OSError:
        return False
    return bool(chunk)


def _p99(times_s: list[float]) -> float:
    return sorted(times_s)[int(len(times_s) * 0.99)]


def _figures(times_s: list[float]) -> str:
    return f"p50 {median(times_s) * 1000:.0f} ms, p99 {_p99(times_s) * 1000:.0f} ms"


if __name__ == "__main__":
    main()
