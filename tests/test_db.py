"""The two databases behave alike; on SQLite, that a write begins at once and waits at the gate."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from app import clock, db
from app.db import NestedTransaction, insert_or_skip, moment, reading, retried, table_of, transaction
from app.merchants.models import Merchant, User
from tests.conftest import ROOT

ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ONLY_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
merchants = table_of(Merchant)


def add(tx: sa.Connection, name: str) -> None:
    tx.execute(sa.insert(merchants).values(id=name, name=name, language="zh", created_at=clock.now()))


def add_twice(tx: sa.Connection, name: str) -> None:
    """Work that fails half-way."""
    add(tx, name)
    add(tx, name)


def names() -> list[str]:
    with reading() as connection:
        return list(connection.execute(sa.select(merchants.c.name).order_by(merchants.c.name)).scalars())


@contextmanager
def trace() -> Iterator[list[str]]:
    """What SQLite itself was told, statement by statement, on every connection of the pool."""
    said: list[str] = []
    watched: list[object] = []

    def watch(connection: object, *_args: object) -> None:
        connection.driver_connection.set_trace_callback(said.append)  # type: ignore[attr-defined]
        watched.append(connection.driver_connection)  # type: ignore[attr-defined]

    def checkout(_connection: object, record: object, _proxy: object) -> None:
        record.driver_connection.set_trace_callback(said.append)  # type: ignore[attr-defined]
        watched.append(record.driver_connection)  # type: ignore[attr-defined]

    sa.event.listen(db.db.engine, "checkout", checkout)
    try:
        yield said
    finally:
        sa.event.remove(db.db.engine, "checkout", checkout)
        for connection in watched:
            connection.set_trace_callback(None)  # type: ignore[attr-defined]


def test_a_transaction_is_kept_whole_or_not_at_all(app):
    with transaction() as tx:
        add(tx, "a")
        add(tx, "b")
    with pytest.raises(IntegrityError), transaction() as tx:
        add_twice(tx, "c")
    assert names() == ["a", "b"]


@ONLY_SQLITE
def test_a_write_begins_immediately_and_before_any_read(app):
    """pysqlite by itself begins late and deferred: two readers could then both decide, and one would fail."""
    with trace() as said:
        with transaction() as tx:
            tx.execute(sa.select(merchants.c.id)).all()
            add(tx, "a")
        with pytest.raises(IntegrityError), transaction() as tx:
            add(tx, "a")
    words = [" ".join(statement.split()[:2]).upper() for statement in said]
    kept = ["BEGIN IMMEDIATE", "SELECT MERCHANTS.ID", "INSERT INTO", "COMMIT"]
    failed = ["BEGIN IMMEDIATE", "INSERT INTO", "ROLLBACK"]
    assert words == kept + failed


@ONLY_SQLITE
def test_a_read_begins_nothing(app):
    with trace() as said:
        assert names() == []
    assert [statement.split()[0].upper() for statement in said] == ["SELECT"]


@ONLY_SQLITE
def test_every_connection_is_durable_and_strict(app):
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    with reading() as first, reading() as second, transaction() as third:
        for connection in (first, second, third):
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
            assert found == wanted


def test_a_row_without_its_owner_is_refused(app):
    user = {
        "merchant_id": "mch_none",
        "id": "usr_1",
        "email": "a@b.c",
        "name": "x",
        "created_at": clock.now(),
    }
    with pytest.raises(IntegrityError), transaction() as tx:
        tx.execute(sa.insert(table_of(User)).values(**user))


def test_transactions_do_not_nest(app):
    with transaction() as tx:
        add(tx, "a")
        assert db.is_writing()
        with pytest.raises(NestedTransaction), transaction():
            pass
        assert db.is_writing()
    assert not db.is_writing()
    with pytest.raises(ZeroDivisionError), transaction():
        raise ZeroDivisionError
    assert not db.is_writing()
    assert names() == ["a"]


def test_writing_is_known_thread_by_thread(app):
    seen: list[bool] = []
    with transaction():
        thread = threading.Thread(target=lambda: seen.append(db.is_writing()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_each_statement_of_a_reader_sees_the_latest_commit(app):
    with reading() as connection:
        count = sa.select(sa.func.count()).select_from(merchants)
        assert connection.execute(count).scalar() == 0
        for number in range(3):
            _in_a_thread(app, f"m{number}")
            assert connection.execute(count).scalar() == number + 1


def test_what_is_not_committed_is_not_seen(app):
    with transaction() as tx:
        add(tx, "a")
        with reading() as connection:
            assert connection.execute(sa.select(merchants.c.id)).all() == []


@ONLY_POSTGRESQL
def test_readers_cost_no_round_trip_for_a_transaction(app):
    with reading() as connection:
        assert connection.connection.driver_connection.autocommit is True  # type: ignore[union-attr]
        begun = connection.exec_driver_sql("SELECT now()").scalar()
        time.sleep(0.002)
        assert connection.exec_driver_sql("SELECT now()").scalar() > begun
    with transaction() as tx:
        assert tx.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert tx.exec_driver_sql(f"SHOW {name}").scalar() == "15s"


def test_two_writers_of_one_row_take_turns(app):
    """Twenty increments at once are twenty; a read-then-write would lose some."""
    with transaction() as tx:
        add(tx, "0")

    def count_up() -> None:
        with app.app_context():
            for _ in range(5):
                with transaction() as tx:
                    number = sa.cast(merchants.c.name, sa.Integer) + 1
                    tx.execute(sa.update(merchants).values(name=sa.cast(number, sa.String)))

    threads = [threading.Thread(target=count_up) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert names() == ["100"]


# Another process on the same database: no pages, only the engine and its gate.
PROGRAM = """
import sys, time
import sqlalchemy as sa
from flask import Flask
from app import clock, db
from app.merchants.models import Merchant

url, name = sys.argv[1:]
app = Flask("writer")
db.init_app(app, url)
with app.app_context():
    sys.stdin.read(1)
    for number in range(20):
        with db.transaction() as tx:
            row = {"id": f"{name}-{number}", "name": name, "language": "zh", "created_at": clock.now()}
            tx.execute(sa.insert(Merchant), row)
            time.sleep(0.002)
    db.dispose()
"""


@ONLY_SQLITE
def test_processes_queue_at_the_gate(app, database_url):
    """Each keeps its transaction open a while: writers that did not queue would find the database locked."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, database_url, f"w{number}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        process.stdin.write("go")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(names()) == 60


@ONLY_SQLITE
def test_a_gate_held_by_another_process_holds_writers_and_not_readers(app, database_url):
    """Nobody is in a transaction here: it is the gate itself that holds, not the database's own lock."""
    with Path(database_url.removeprefix("sqlite:///") + ".gate").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # it belongs to the open file, so this is somebody else's
        writer = threading.Thread(target=_in_context, args=(app, "late"))
        writer.start()
        writer.join(timeout=0.3)
        assert writer.is_alive()
        assert names() == []
    writer.join(timeout=30)
    assert names() == ["late"]


@ONLY_SQLITE
def test_a_writer_that_fails_lets_the_next_one_in(app):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), transaction():
            raise ZeroDivisionError
    _in_a_thread(app, "next")
    assert names() == ["next"]


def test_times_are_stored_in_utc_and_come_back_aware(app):
    moments = [
        datetime(2024, 1, 15, 10, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]
    for number, when in enumerate(moments):
        with transaction() as tx:
            tx.execute(sa.insert(merchants).values(id=str(number), name="x", language="zh", created_at=when))
        with reading() as connection:
            query = sa.select(merchants.c.created_at).where(merchants.c.id == str(number))
            stored = connection.execute(query).scalar_one()
        assert (stored, stored.utcoffset()) == (when, timedelta())


def test_a_time_without_a_zone_is_refused(app):
    row = {"id": "a", "name": "a", "language": "zh", "created_at": datetime(2024, 1, 1)}  # noqa: DTZ001
    with pytest.raises(StatementError, match="without a zone"), transaction() as tx:
        tx.execute(sa.insert(merchants).values(row))


def test_an_insert_that_is_skipped_says_so(app):
    row = {"id": "a", "name": "first", "language": "zh", "created_at": clock.now()}
    with transaction() as tx:
        assert tx.execute(insert_or_skip(tx, merchants), row).rowcount == 1
        assert tx.execute(insert_or_skip(tx, merchants), {**row, "name": "second"}).rowcount == 0
    assert names() == ["first"]


def test_the_moment_follows_the_clock_that_a_test_moves(app, at):
    with transaction() as tx:
        assert abs(moment(tx) - clock.now()) < timedelta(seconds=1)
    at(timedelta(days=3))
    with transaction() as tx:
        assert abs(moment(tx) - clock.now()) < timedelta(seconds=1)


@ONLY_POSTGRESQL
def test_the_moment_is_the_databases_and_not_this_machines(app, monkeypatch):
    """Two web machines whose clocks differ by a day judge leases alike."""
    true = clock.now()
    day = timedelta(days=1)

    class Late(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + day

    monkeypatch.setattr(db, "datetime", Late)
    monkeypatch.setattr(clock, "datetime", Late)
    assert clock.now() - true > timedelta(hours=23)
    with transaction() as tx:
        assert abs(moment(tx) - true) < timedelta(minutes=1)


class _Refused(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(("sqlstate", "calls"), [("40001", 3), ("40P01", 3), ("57014", 1), (None, 1)])
def test_only_what_did_nothing_is_done_again(sqlstate, calls, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    made: list[int] = []

    @retried
    def service(value: int) -> int:
        made.append(value)
        if len(made) < 3:
            raise OperationalError("UPDATE …", {}, _Refused(sqlstate))
        return value

    if calls == 1:
        with pytest.raises(OperationalError):
            service(7)
    else:
        assert service(7) == 7
    assert made == [7] * calls


def test_a_service_is_not_done_again_for_ever(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    made: list[int] = []

    @retried
    def service() -> None:
        made.append(1)
        raise OperationalError("UPDATE …", {}, _Refused("40001"))

    with pytest.raises(OperationalError):
        service()
    assert len(made) == 5


def test_an_error_of_the_database_quotes_no_row(app):
    with pytest.raises(IntegrityError) as caught, transaction() as tx:
        add_twice(tx, "canary")
    # PostgreSQL names the key that is taken, which is an id; nothing else of the row is there.
    assert "canary" not in str(caught.value).replace("Key (id)=(canary) already exists", "")
    assert "created_at" in str(caught.value)


def _in_a_thread(app: object, name: str) -> None:
    thread = threading.Thread(target=_in_context, args=(app, name))
    thread.start()
    thread.join(timeout=30)


def _in_context(app: object, name: str) -> None:
    with app.app_context(), transaction() as tx:  # type: ignore[attr-defined]
        assert current_app
        add(tx, name)
