"""How often codes are scanned: counted in memory, written a few times a second by a thread of this process.

A scan must cost a shopper nothing and a database little, and opening a page should not wait for a writer.
A crash loses the last second's count, which decides nothing but when a merchant is told that a code has
gone quiet.
"""

from __future__ import annotations

import atexit
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app import clock, queue
from app.codes.models import QRCode, ScanHour
from app.codes.quiet import LOOK_EVERY
from app.db import insert_or_skip, moment, table_of, transaction
from app.queue import Kind

KEPT_FOR = timedelta(days=100)  # a quarter, for the merchant's eyes; the rule looks back five weeks
_PAUSE_S = 0.5
_WAITING_MAX = 10_000  # codes; with the database away for long, further ones are not counted

log = structlog.get_logger(__name__)
_codes, _hours = table_of(QRCode), table_of(ScanHour)

_Scan = tuple[str, str, datetime]  # merchant, code, hour


class Tally:
    """What one process has counted and not yet written."""

    def __init__(self, enter: Callable[[], AbstractContextManager[object]]) -> None:
        self._enter = enter  # the application, whose database this thread writes to
        self._scans: Counter[_Scan] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, merchant_id: str, code_id: str) -> None:
        """Count a scan."""
        hour = clock.now().replace(minute=0, second=0, microsecond=0)
        with self._lock:
            scan = (merchant_id, code_id, hour)
            if scan in self._scans or len(self._scans) < _WAITING_MAX:
                self._scans[scan] += 1
            # Started by the first scan: threads do not survive a server's fork.
            if (self._thread is None or not self._thread.is_alive()) and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="tally", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def write(self) -> int:
        """Write what was counted; how many scans."""
        with self._lock:
            scans, self._scans = self._scans, Counter()
        if scans:
            with self._enter(), transaction() as tx:
                _store(tx, scans)
        return scans.total()

    def close(self) -> None:
        """End the thread and write the rest."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._write_or_say()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            self._write_or_say()

    def _write_or_say(self) -> None:
        try:
            self.write()
        except SQLAlchemyError as error:  # the database is away: these are lost, the next are not
            log.warning("scans not written", error=type(error).__name__)


def _store(tx: Connection, scans: Counter[_Scan]) -> None:
    """A step.  Codes in the order of their ids, so that two processes never wait for each other."""
    now = moment(tx)
    for (merchant_id, code_id, hour), count in sorted(scans.items(), key=lambda item: item[0][1:]):
        key = {"merchant_id": merchant_id, "code_id": code_id, "hour": hour}
        own = {f"own_{name}": value for name, value in key.items()}
        if tx.execute(insert_or_skip(tx, _hours), {**key, "scans": count}).rowcount == 0:
            tx.execute(_ADD, {**own, "count": count})
        seen = {"own_merchant_id": merchant_id, "own_code_id": code_id, "count": count, "now": now}
        tx.execute(_SEEN, seen)
    for merchant_id in sorted({scan[0] for scan in scans}):
        queue.put_once(tx, Kind.QUIET, merchant_id, merchant_id, now + LOOK_EVERY)


def forget_old() -> int:
    """Remove hours that no rule looks at any more; how many."""
    with transaction() as tx:
        return tx.execute(sa.delete(_hours).where(_hours.c.hour < moment(tx) - KEPT_FOR)).rowcount


_ADD = (
    sa.update(_hours)
    .where(
        _hours.c.merchant_id == sa.bindparam("own_merchant_id"),
        _hours.c.code_id == sa.bindparam("own_code_id"),
        _hours.c.hour == sa.bindparam("own_hour"),
    )
    .values(scans=_hours.c.scans + sa.bindparam("count"))
)
_SEEN = (
    sa.update(_codes)
    .where(
        _codes.c.merchant_id == sa.bindparam("own_merchant_id"),
        _codes.c.id == sa.bindparam("own_code_id"),
    )
    .values(
        scans=_codes.c.scans + sa.bindparam("count"),
        last_scan_at=sa.bindparam("now", type_=_codes.c.last_scan_at.type),
        quiet_since=None,
    )
)
