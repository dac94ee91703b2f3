"""The request log: every call of a key, found again by its ``req_…``.

Lines wait in memory and are written by a thread of this process a few times a second, many in one
transaction, so that a payment never waits for its log line.  A crash loses the last of them; so does a
database that stays away while more come than there is room for.  Secrets are masked before anything is
stored: the log answers "what did I send, and what did you say", and opens nothing.
"""

from __future__ import annotations

import atexit
import json
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.db import reading, table_of, transaction
from app.errors import InvalidRequest, NotFound
from app.ids import is_id
from app.logs import mask
from app.merchants.models import RequestLog
from app.runtime import settings

BODY_CHARS_MAX = 8_000  # of each body; a charge with all its metadata is 12,000, an ordinary one 400
_WAITING_MAX = 5_000
_LINES_A_TURN = 500
_PAUSE_S = 0.3
_FORGOTTEN_AT_ONCE = 2_000  # rows: a writer on SQLite waits for as long as this takes

log = structlog.get_logger(__name__)
_rows = table_of(RequestLog)


@dataclass(frozen=True, slots=True)
class Line:
    """One call, as it came and was answered; not yet masked."""

    merchant_id: str
    id: str
    livemode: bool
    key_id: str
    address: str
    method: str
    route: str
    path: str
    status: int
    error_code: str | None
    duration_ms: int
    request_body: bytes
    answer_body: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What a list is narrowed to."""

    request_id: str | None = None
    key_id: str | None = None
    method: str | None = None
    statuses: tuple[int, int] | None = None  # from, to: included
    object_id: str | None = None  # named in the path
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


class Journal:
    """What one process has yet to write."""

    def __init__(self, enter: Callable[[], AbstractContextManager[object]]) -> None:
        self._enter = enter  # the application, whose database this thread writes to
        self._lines: deque[Line] = deque(maxlen=_WAITING_MAX)  # the oldest gives way
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, line: Line) -> None:
        """Have a line written soon."""
        self._lines.append(line)
        # Started by the first line and not by create_app: threads do not survive a server's fork.
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if (self._thread is None or not self._thread.is_alive()) and not self._stop.is_set():
                    self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                    self._thread.start()
                    atexit.register(self.close)

    def write(self) -> int:
        """Write what waits, at most one turn of it; how many lines."""
        with self._writing, self._enter():
            lines = [self._lines.popleft() for _ in range(min(len(self._lines), _LINES_A_TURN))]
            if lines:
                with transaction() as tx:
                    tx.execute(sa.insert(_rows), [masked(line) for line in lines])
        return len(lines)

    def close(self) -> None:
        """Write the rest and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        while self._lines:
            self.write()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            try:
                while self.write() == _LINES_A_TURN:
                    pass
            except SQLAlchemyError as error:  # the database is away: these lines are lost, the next are not
                log.warning("request log not written", error=type(error).__name__)


def masked(line: Line) -> dict[str, Any]:
    """The row of a line: bodies and path without secrets, and not too long.  Pure."""
    row = asdict(line)
    for name in ("request_body", "answer_body"):
        row[name] = _masked_body(row[name])
    row["path"] = mask(line.path.replace("\x00", "\ufffd"))[:500]
    return row


def find(merchant_id: str, request_id: str, *, livemode: bool) -> sa.Row[Any]:
    """One call.  Raises NotFound."""
    with reading() as connection:
        row = connection.execute(
            sa.select(_rows).where(
                _rows.c.merchant_id == merchant_id,
                _rows.c.id == request_id[:64],
                _rows.c.livemode == livemode,
            )
        ).first()
    if row is None:
        raise NotFound("no such request, or its log line is not kept any more")
    return row


def search(merchant_id: str, *, livemode: bool, wanted: LogFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "req"):
            raise InvalidRequest("a cursor is the id of a request", param=name)
    backwards = wanted.ending_before is not None
    query = (
        sa.select(_rows)
        .where(_rows.c.merchant_id == merchant_id, _rows.c.livemode == livemode, *_conditions(wanted))
        .order_by(_rows.c.id.asc() if backwards else _rows.c.id.desc())
        .limit(wanted.limit + 1)
    )
    with reading() as connection:
        rows = list(connection.execute(query))
    page = rows[: wanted.limit]
    return (page[::-1] if backwards else page), len(rows) > wanted.limit


def forget_old() -> int:
    """Remove lines older than the operator wants to keep them; how many."""
    before = clock.now() - timedelta(days=settings().request_log_days)
    key = sa.tuple_(_rows.c.merchant_id, _rows.c.id)
    old = (
        sa.select(_rows.c.merchant_id, _rows.c.id)
        .where(_rows.c.created_at < before)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    gone = 0
    while True:
        with transaction() as tx:
            count = tx.execute(sa.delete(_rows).where(key.in_(old))).rowcount
        gone += count
        if count < _FORGOTTEN_AT_ONCE:
            return gone


def _conditions(wanted: LogFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.request_id is not None:
        conditions.append(_rows.c.id == wanted.request_id)
    if wanted.key_id is not None:
        conditions.append(_rows.c.key_id == wanted.key_id)
    if wanted.method is not None:
        conditions.append(_rows.c.method == wanted.method)
    if wanted.statuses is not None:
        conditions.append(_rows.c.status.between(*wanted.statuses))
    if wanted.object_id is not None:
        conditions.append(_rows.c.path.contains(wanted.object_id, autoescape=True))
    if wanted.starting_after is not None:
        conditions.append(_rows.c.id < wanted.starting_after)
    if wanted.ending_before is not None:
        conditions.append(_rows.c.id > wanted.ending_before)
    return conditions


def _masked_body(body: bytes) -> str:
    text = body.decode(errors="replace").replace("\x00", "\ufffd")
    try:
        # What is named like a secret is masked, too, which needs the names.
        text = json.dumps(mask(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        text = mask(text[: 2 * BODY_CHARS_MAX])
    text = text.encode(errors="replace").decode()  # JSON can spell half a character, no database can hold it
    return text if len(text) <= BODY_CHARS_MAX else text[:BODY_CHARS_MAX] + "…"
