"""A merchant's system that says 200 as fast as one Python thread can: ``python -m bench.receiver``.

HTTP/1.1 with keep-alive on a free port of this machine, which it prints; it ends with its standard input.
"""

from __future__ import annotations

import re
import select
import socket
import sys

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    for readable in (listener.fileno(), sys.stdin.fileno()):
        poll.register(readable, select.EPOLLIN)
    peers: dict[int, tuple[socket.socket, bytearray]] = {}
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                return
            if number == listener.fileno():
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[peer.fileno()] = peer, bytearray()
                poll.register(peer.fileno(), select.EPOLLIN)
            elif not _serve(*peers[number]):
                poll.unregister(number)
                peers.pop(number)[0].close()


def _serve(peer: socket.socket, unread: bytearray) -> bool:
    """Answer what has come in whole; whether the peer is still there."""
    try:
        chunk = peer.recv(1 << 16)
    except ConnectionError:
        return False
    unread += chunk
    while (end := unread.find(b"\r\n\r\n")) >= 0:
        length = _LENGTH.search(unread, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(unread) < whole:
            break
        del unread[:whole]
        peer.sendall(_OK)
    return bool(chunk)


if __name__ == "__main__":
    main()
