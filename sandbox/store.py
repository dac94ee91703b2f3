"""The sandbox's one SQLite file: what survives a restart, and how it is locked."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_BUSY_TIMEOUT_MS = 10_000

# Note ids are never used twice: a send that outlives a reset must not be booked on somebody else's note.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS apps (
    network TEXT NOT NULL, app_id TEXT NOT NULL, mode TEXT NOT NULL, name TEXT NOT NULL,
    seller_id TEXT NOT NULL, public_key TEXT NOT NULL, app_cert TEXT NOT NULL, app_cert_sn TEXT NOT NULL,
    created_ts REAL NOT NULL, details TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (network, app_id));
CREATE TABLE IF NOT EXISTS trades (
    network TEXT NOT NULL, app_id TEXT NOT NULL, out_trade_no TEXT NOT NULL,
    trade_no TEXT NOT NULL UNIQUE, code TEXT NOT NULL UNIQUE, state TEXT NOT NULL, product TEXT NOT NULL,
    amount_minor INTEGER NOT NULL, paid_minor INTEGER NOT NULL DEFAULT 0,
    refunded_minor INTEGER NOT NULL DEFAULT 0, subject TEXT NOT NULL, payee TEXT NOT NULL,
    notify_url TEXT NOT NULL, return_url TEXT NOT NULL, details TEXT NOT NULL, fingerprint TEXT NOT NULL,
    failure TEXT NOT NULL DEFAULT '', created_ts REAL NOT NULL, opened_ts REAL,
    code_expires_ts REAL, expires_ts REAL, lasts_s REAL, paid_ts REAL, closed_ts REAL, pay_due_ts REAL,
    PRIMARY KEY (network, app_id, out_trade_no));
CREATE INDEX IF NOT EXISTS trades_number ON trades (out_trade_no);
CREATE INDEX IF NOT EXISTS trades_created ON trades (created_ts);
CREATE INDEX IF NOT EXISTS trades_due ON trades (pay_due_ts) WHERE pay_due_ts IS NOT NULL;
CREATE INDEX IF NOT EXISTS trades_open ON trades (expires_ts) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS trades_paid ON trades (network, app_id, paid_ts);
CREATE TABLE IF NOT EXISTS refunds (
    id INTEGER PRIMARY KEY, network TEXT NOT NULL, app_id TEXT NOT NULL, out_trade_no TEXT NOT NULL,
    out_refund_no TEXT NOT NULL, amount_minor INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    created_ts REAL NOT NULL, due_ts REAL, done_ts REAL, details TEXT NOT NULL DEFAULT '{}',
    UNIQUE (network, app_id, out_trade_no, out_refund_no));
CREATE INDEX IF NOT EXISTS refunds_due ON refunds (due_ts) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS refunds_number ON refunds (network, app_id, out_refund_no);
CREATE INDEX IF NOT EXISTS refunds_created ON refunds (network, app_id, created_ts);
CREATE INDEX IF NOT EXISTS refunds_done ON refunds (network, app_id, done_ts);
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL, app_id TEXT NOT NULL, out_trade_no TEXT NOT NULL,
    notify_id TEXT NOT NULL, kind TEXT NOT NULL, url TEXT NOT NULL, fields TEXT NOT NULL,
    charset TEXT NOT NULL, forge TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT 'pending',
    tries INTEGER NOT NULL DEFAULT 0, copies INTEGER NOT NULL DEFAULT 0, created_ts REAL NOT NULL,
    due_ts REAL NOT NULL, leased_until_ts REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS notes_due ON notes (due_ts) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS notes_trade ON notes (out_trade_no);
CREATE TABLE IF NOT EXISTS sends (
    id INTEGER PRIMARY KEY, note_id INTEGER NOT NULL, sent_ts REAL NOT NULL, how TEXT NOT NULL,
    status INTEGER, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sends_note ON sends (note_id);
CREATE TABLE IF NOT EXISTS levers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL, scope TEXT NOT NULL,
    out_trade_no TEXT NOT NULL, method TEXT NOT NULL, times_left INTEGER, created_ts REAL NOT NULL,
    app_id TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS hooks (
    id INTEGER PRIMARY KEY, received_ts REAL NOT NULL, verified INTEGER NOT NULL, status INTEGER NOT NULL,
    headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tickets (
    network TEXT NOT NULL, ticket TEXT NOT NULL, about TEXT NOT NULL, made_ts REAL NOT NULL, used_ts REAL,
    PRIMARY KEY (network, ticket));
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

# Columns that a file of an earlier sandbox may lack.
_ADDED = (("apps", "details", "{}"), ("refunds", "details", "{}"), ("levers", "app_id", ""))


class Store:
    """A pool of connections to one file.  ``write()`` is one transaction; ``read()`` is none.

    Writers queue on a lock of this process before they queue in SQLite: there is one process, and
    a queue that wakes in order is kinder than a busy loop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._pool_lock = threading.Lock()
        self._write_lock = threading.Lock()
        path.touch(mode=0o600)  # Its companions, -wal and -shm, get the same permissions.
        self.after_commit: Callable[[], None] = lambda: None
        with self.read() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_SCHEMA)
            for table, column, default in _ADDED:
                if column not in {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}:
                    db.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT '{default}'")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs."""
        with self._pool_lock:
            db = self._idle.pop() if self._idle else self._connect()
        try:
            yield db
        finally:
            with self._pool_lock:
                self._idle.append(db)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end of the block, undone when an exception leaves it."""
        with self._write_lock, self.read() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        self.after_commit()

    def close(self) -> None:
        """Close every idle connection; the store can be used again, and opens new ones."""
        with self._pool_lock:
            while self._idle:
                self._idle.pop().close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        db.execute("PRAGMA synchronous=NORMAL")
        return db
