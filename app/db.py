"""The two databases, made to behave alike: how to read, how to write, and what a time column is.

``transaction()`` writes, ``reading()`` reads; both hand out a SQLAlchemy Core connection, because
the ORM's unit of work costs twice as much and hides the guarded updates that money needs.

SQLite (the default): WAL, ``synchronous=FULL``, a real BEGIN IMMEDIATE, and a gate across threads
and processes at which waiting writers queue instead of spinning.  PostgreSQL: READ COMMITTED;
correctness rests on guards and unique keys, and reads run without BEGIN and ROLLBACK round trips.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from app import clock

P = ParamSpec("P")
T = TypeVar("T")

_RETRIABLE = ("40001", "40P01")  # serialization failure, deadlock: nothing was done, do it again
_TRIES_MAX = 5
_REREAD_S = 1.0
_CLOCK_READING = "mafu.clock_reading"


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: ``timestamptz`` on PostgreSQL, naive UTC text on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a time without a zone cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The root of every table; names of constraints are fixed so that migrations can find them."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UTCDateTime(), int: sa.BigInteger(), dict[str, Any]: sa.JSON()}


db = SQLAlchemy(metadata=Base.metadata)  # The extension gives engine and metadata; rows are our own Base.
_writing = threading.local()


class NestedTransaction(Exception):
    """A transaction was opened, or the network called, inside a transaction: mend the caller."""


def init_app(app: Flask, url: str) -> None:
    """Bind the extension to an application and set up its engine."""
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _engine_options(url)
    db.init_app(app)
    with app.app_context():
        engine = db.engine
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _sqlite_connect)
            event.listen(engine, "begin", _sqlite_begin)
            app.extensions["mafu.gate"] = _Gate(Path(str(engine.url.database) + ".gate"))
            app.extensions["mafu.reader"] = engine.execution_options(**{_READ_ONLY: True})
        else:
            app.extensions["mafu.gate"] = _NoGate()
            app.extensions["mafu.reader"] = engine.execution_options(isolation_level="AUTOCOMMIT")


def dispose() -> None:
    """Close every connection of the current application, for programs that end before their process."""
    db.engine.dispose()
    current_app.extensions["mafu.gate"].close()


@contextmanager
def transaction() -> Iterator[Connection]:
    """One unit of work: commits at the end, rolls back on any exception.  Never nested, never around I/O."""
    if is_writing():
        raise NestedTransaction("transactions do not nest")
    gate: _Gate | _NoGate = current_app.extensions["mafu.gate"]
    with gate:
        _writing.on = True
        try:
            with db.engine.begin() as tx:
                yield tx
        finally:
            _writing.on = False


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection for SELECTs outside any transaction; each statement sees the latest commit."""
    reader: Engine = current_app.extensions["mafu.reader"]
    with reader.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine | None = None) -> Iterator[Connection]:
    """A connection whose SELECTs all see one moment, for what compares tables with each other.

    Of this application's database, or of another one's: see ``elsewhere``.
    """
    engine = engine or current_app.extensions["mafu.reader"]
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()
        return
    repeatable = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with repeatable.connect() as connection:
        yield connection


def elsewhere(url: str) -> Engine:
    """The engine of another database, a restored backup say, for ``snapshot`` alone: nothing is written.

    ``sqlite:////srv/copy.sqlite3`` or ``postgresql+psycopg://…``.  Raises ValueError for anything else.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(str(error)) from None
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, poolclass=NullPool)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise ValueError("neither PostgreSQL's address nor SQLite's")
    read_only = f"file:{Path(parsed.database).resolve()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(read_only, uri=True, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)
    return engine.execution_options(**{_READ_ONLY: True})


class Prepared:
    """A SELECT compiled once and run on the driver's own cursor, inside ``reading()``.

    For the one statement that every page and poll of the checkout waits for: SQLAlchemy's bookkeeping of
    an execution took more than half of it (137 µs with, 62 without, on SQLite).
    """

    def __init__(self, statement: sa.Select[Any]) -> None:
        self._statement = statement
        self._plans: dict[str, tuple[str, list[str] | None, dict[str, Any], list[Any]]] = {}

    def rows(self, connection: Connection, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Rows as tuples, their values as the columns' types read them.  Raises OperationalError."""
        dialect = connection.dialect
        sql, order, known, readers = self._plans.get(dialect.name) or self._plan(dialect)
        values = {**known, **params}
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql, values if order is None else [values[name] for name in order])
            found = cursor.fetchall()
        except dialect.loaded_dbapi.Error as error:
            connection.invalidate(error)
            raise OperationalError(None, None, error) from error
        finally:
            cursor.close()
        return [
            tuple([read(value) if read else value for read, value in zip(readers, row, strict=True)])
            for row in found
        ]

    def _plan(self, dialect: sa.Dialect) -> tuple[str, list[str] | None, dict[str, Any], list[Any]]:
        compiled = self._statement.compile(dialect=dialect)
        readers = [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in self._statement.selected_columns
        ]
        plan = (str(compiled), compiled.positiontup, dict(compiled.params), readers)
        self._plans[dialect.name] = plan
        return plan


def is_writing() -> bool:
    """Whether this thread is inside ``transaction()``."""
    return getattr(_writing, "on", False)


def refuse_in_transaction() -> None:
    """For whoever is about to call the network.  Raises NestedTransaction."""
    if is_writing():
        raise NestedTransaction("the network was called inside a transaction")


def retried(service: Callable[P, T]) -> Callable[P, T]:
    """Run a service again when the database says that nothing was done (SQLSTATE 40001, 40P01).

    Only for services whose whole effect is one transaction.
    """

    @functools.wraps(service)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, _TRIES_MAX + 1):
            try:
                return service(*args, **kwargs)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) not in _RETRIABLE or attempt == _TRIES_MAX:
                    raise
                time.sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable")

    return run


def moment(tx: Connection) -> datetime:
    """The time by which leases and deadlines are judged: the database's clock, shared by every machine.

    On SQLite there is one machine and so one clock.  PostgreSQL's is read once a second (a round trip, a
    tenth of settling) and carried on by a clock that nobody sets; a test that moves ``clock.now`` moves
    this too.
    """
    if tx.dialect.name == "sqlite":
        return clock.now()
    now_s = time.monotonic()
    reading: tuple[float, datetime] | None = current_app.extensions.get(_CLOCK_READING)
    if reading is None or now_s - reading[0] > _REREAD_S:
        reading = current_app.extensions[_CLOCK_READING] = now_s, tx.execute(_PG_CLOCK).scalar_one()
    read_at_s, read = reading
    return read + timedelta(seconds=now_s - read_at_s) + (clock.now() - datetime.now(UTC))


def table_of(model: type[Base]) -> sa.Table:
    """The Core table behind a mapped class, for statements."""
    return cast(sa.Table, model.__table__)


def is_among(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """``column IN (…)`` for a list of any length, bound to ``name``.

    SQLAlchemy writes a placeholder for each value, so that every length is a statement of its own, parsed
    and planned anew: a tenth of delivering webhooks on PostgreSQL.
    """
    return _IsAmong(column, sa.bindparam(name, type_=_Texts()))


def are_among(
    first: sa.Column[Any], second: sa.Column[Any], name: str, *also: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """``(first, second) IN (…)`` for pairs of texts, ``[[a, b], …]`` bound to ``name``: ``is_among`` for two.

    ``also`` are conditions that the index to be used needs besides.  A list for each column would be tried
    in all combinations: with 16 merchants in a batch that took six times as long, and PostgreSQL soon read
    the whole table instead.
    """
    return _AreAmong(first, second, sa.bindparam(name, type_=sa.JSON()), *also)


def insert_many(tx: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name the same columns, in one statement on PostgreSQL.  A step.

    An array for each column: a statement for each row took a third of a delivery's time there, and a
    VALUES list of every length would be parsed anew.  SQLite has no way to wait for, and takes row by row.
    """
    if not rows:
        return
    names = tuple(rows[0])
    if tx.dialect.name == "sqlite":
        tx.execute(_insert_rows(table, names), rows)
    else:
        tx.execute(_insert_arrays(table, names), {name: [row[name] for row in rows] for name in names})


def insert_or_skip(tx: Connection, table: sa.Table, *returning: sa.Column[Any]) -> Any:
    """An INSERT that does nothing where a unique key is taken: look at what it returns.

    Without ``returning`` look at its ``rowcount``.
    """
    return _insert_or_skip(tx.dialect.name, table, returning)


# Building the statement costs as much as running it.
@functools.lru_cache(maxsize=64)
def _insert_rows(table: sa.Table, names: tuple[str, ...]) -> sa.Insert:
    return sa.insert(table).values({name: sa.bindparam(name) for name in names})


@functools.lru_cache(maxsize=64)
def _insert_arrays(table: sa.Table, names: tuple[str, ...]) -> sa.Insert:
    arrays = [
        sa.func.unnest(sa.bindparam(name, type_=postgresql.ARRAY(table.c[name].type))) for name in names
    ]
    return sa.insert(table).from_select(list(names), sa.select(*arrays))


@functools.lru_cache(maxsize=64)
def _insert_or_skip(dialect: str, table: sa.Table, returning: tuple[sa.Column[Any], ...]) -> Any:
    """Each dialect has its own construct for the same ``ON CONFLICT DO NOTHING``."""
    insert = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table).on_conflict_do_nothing()
    return insert.returning(*returning) if returning else insert.execution_options(preserve_rowcount=True)


class _Texts(TypeDecorator[list[str]]):
    """A list of texts as one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = sa.JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return sa.JSON() if dialect.name == "sqlite" else postgresql.ARRAY(sa.String())


class _IsAmong(FunctionElement[Any]):
    # It has no type: one of sa.Boolean is compared with 1 on SQLite, which then looks at no index.
    inherit_cache = True


@compiles(_IsAmong, "sqlite")
def _in_json(element: _IsAmong, compiler: SQLCompiler, **more: Any) -> str:
    column, texts = [compiler.process(clause, **more) for clause in element.clauses]
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 - both are our own SQL


@compiles(_IsAmong, "postgresql")
def _in_array(element: _IsAmong, compiler: SQLCompiler, **more: Any) -> str:
    column, texts = [compiler.process(clause, **more) for clause in element.clauses]
    return f"{column} = ANY ({texts})"


class _AreAmong(FunctionElement[Any]):
    inherit_cache = True


@compiles(_AreAmong, "sqlite")
def _pairs_in_json(element: _AreAmong, compiler: SQLCompiler, **more: Any) -> str:
    first, second, pairs, *also = [compiler.process(clause, **more) for clause in element.clauses]
    found = f"SELECT value ->> 0, value ->> 1 FROM json_each({pairs})"  # noqa: S608 - both are our own SQL
    return " AND ".join([f"({first}, {second}) IN ({found})", *also])


@compiles(_AreAmong, "postgresql")
def _pairs_in_elements(element: _AreAmong, compiler: SQLCompiler, **more: Any) -> str:
    """Each row by its place, and each place by the index: OFFSET leaves no other way.

    A plain IN is planned by how many rows the table seemed to have: in a queue that was empty then, it
    compares all with all.  What must still hold when a row was waited for is said beside this.
    """
    first, second, pairs, *also = [compiler.process(clause, **more) for clause in element.clauses]
    table = compiler.preparer.format_table(next(iter(element.clauses)).table)
    same = " AND ".join([f"{first} = pair ->> 0", f"{second} = pair ->> 1", *also])
    one = f"SELECT {table}.ctid FROM {table} WHERE {same} OFFSET 0"  # noqa: S608 - all of it is our own SQL
    every = f"SELECT found.ctid FROM json_array_elements({pairs}) AS pair, LATERAL ({one}) AS found"  # noqa: S608
    return f"{table}.ctid = ANY (ARRAY({every}))"


_PG_CLOCK = sa.select(sa.func.clock_timestamp())


class _Gate:
    """One writer at a time on this machine: a lock among threads, then ``flock`` among processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: IO[str] | None = None
        self._pid = 0

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            fcntl.flock(self._handle(), fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *exc: object) -> None:
        try:
            fcntl.flock(self._handle(), fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _handle(self) -> IO[str]:
        # A forked child must not share its parent's open file: flock belongs to the open file.
        if self._file is None or self._pid != os.getpid():
            self._file = self._path.open("a")
            self._pid = os.getpid()
        return self._file


class _NoGate:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...

    def close(self) -> None: ...


def _engine_options(url: str) -> dict[str, Any]:
    if make_url(url).get_backend_name() == "sqlite":
        # Every thread may wait at the gate with a connection in hand, so the pool has room for all.
        return {
            "connect_args": {"timeout": 5.0, "check_same_thread": False},
            "hide_parameters": True,  # an error in a log must not quote what a row holds
            "pool_size": 20,
            "max_overflow": 80,
        }
    return {
        "hide_parameters": True,
        "pool_size": 10,
        "max_overflow": 30,
        "pool_recycle": 1800,
        "connect_args": {"options": _PG_OPTIONS},
    }


# A forgotten transaction holds locks and blocks vacuum; a runaway statement holds a worker.
_PG_OPTIONS = "-c idle_in_transaction_session_timeout=15s -c statement_timeout=15s -c timezone=UTC"
_READ_ONLY = "mafu_read_only"

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL is four times faster, and a power cut takes the last commits
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
)


def _sqlite_connect(connection: DBAPIConnection, _record: object) -> None:
    # pysqlite by itself begins late (only before a write) and deferred: a read in front of it would
    # see another snapshot.  Its own transaction handling is switched off, and _sqlite_begin says BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    if not connection.get_execution_options().get(_READ_ONLY):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
