"""The way out: one POST, no redirects, a few seconds, by the standard library."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
_ANSWER_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, or ``status`` None and the reason why there is none."""

    status: int | None
    body: bytes


def post(url: str, headers: Mapping[str, str], body: bytes) -> Heard:
    """Send a body; whatever goes wrong is told in the answer, since the sender only retries."""
    try:
        return _exchange(url, headers, body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Heard(None, type(error).__name__.encode())


def _exchange(url: str, headers: Mapping[str, str], body: bytes) -> Heard:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http address")
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {**headers, "Connection": "close"})
        response = connection.getresponse()
        return Heard(response.status, _read(response))
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body's beginning; a dripping server cannot hold the sender past the deadline."""
    deadline = time.monotonic() + TIMEOUT_S
    body = b""
    while len(body) < _ANSWER_BYTES_MAX:
        if time.monotonic() > deadline:
            raise TimeoutError
        piece = response.read1(_ANSWER_BYTES_MAX - len(body))
        if not piece:
            break
        body += piece
    return body
