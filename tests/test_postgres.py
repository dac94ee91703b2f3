"""The throw-away PostgreSQL starts, copies, and leaves nothing behind, even when the tests are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.postgres import Cluster

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def found() -> Iterator[Cluster]:
    with postgres.cluster() as cluster:
        if cluster is None:
            pytest.skip(postgres.HOW_TO_GET_ONE)
        yield cluster


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def folder_of(cluster: Cluster) -> Path:
    return Path(str(ask(cluster.admin_url, "SHOW unix_socket_directories")[0][0]))


def test_each_new_database_is_empty_and_speaks_utf8(found):
    one, two = found.new_database(), found.new_database()
    ask(one, "CREATE TABLE only_here (name text)")
    assert ask(two, "SELECT to_regclass('only_here')") == [(None,)]
    assert ask(two, "SHOW server_encoding") == [("UTF8",)]


def test_a_copy_holds_what_its_template_held_and_no_more(found):
    template = found.new_database()
    ask(template, "CREATE TABLE shops (name text)")
    ask(template, "INSERT INTO shops VALUES ('囍')")
    copy = found.new_database(template)
    ask(copy, "INSERT INTO shops VALUES ('second')")
    assert ask(copy, "SELECT count(*) FROM shops") == [(2,)]
    assert ask(template, "SELECT name FROM shops") == [("囍",)]


def test_a_database_is_dropped_while_somebody_is_connected(found):
    url = found.new_database()
    with psycopg.connect(url):
        found.drop(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        ask(url, "SELECT 1")


def test_sqlalchemy_takes_the_address_as_it_is(found):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(found.new_database())
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT 1")) == 1
    engine.dispose()


@pytest.mark.skipif(postgres.find_programs() is None, reason=postgres.HOW_TO_GET_ONE)
def test_the_server_and_its_folder_are_gone_after_the_block(monkeypatch):
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    with postgres.cluster() as cluster:
        assert cluster is not None
        folder = folder_of(cluster)
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(psycopg.OperationalError):
        ask(cluster.admin_url, "SELECT 1")


@pytest.mark.skipif(postgres.find_programs() is None, reason=postgres.HOW_TO_GET_ONE)
def test_the_server_and_its_folder_are_gone_after_a_kill():
    script = (
        "import sys, time\n"
        "from tests import postgres\n"
        "with postgres.cluster() as cluster:\n"
        "    print(cluster.admin_url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
    tests = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    )
    with tests:
        assert tests.stdout is not None
        url = tests.stdout.readline().strip()
        server = int(str(ask(url, "SELECT pg_read_file('postmaster.pid')")[0][0]).splitlines()[0])
        folder = folder_of(Cluster(url))
        tests.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10
    while (folder.exists() or is_running(server)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert not is_running(server)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def test_a_lent_server_gets_back_what_it_lent(found, monkeypatch):
    monkeypatch.setenv("TEST_DATABASE_URL", found.admin_url)
    with postgres.cluster() as lent:
        assert lent is not None
        ours = lent.new_database()
        theirs = found.new_database()
    assert ask(theirs, "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        ask(ours, "SELECT 1")


def test_without_any_postgresql_there_is_none(monkeypatch):
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    monkeypatch.setattr(postgres, "find_programs", lambda: None)
    with postgres.cluster() as cluster:
        assert cluster is None


@pytest.mark.skipif(postgres.find_programs() is None, reason=postgres.HOW_TO_GET_ONE)
def test_a_server_that_cannot_start_says_why(monkeypatch):
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    monkeypatch.setitem(postgres._SETTINGS, "max_connections", "-1")
    with pytest.raises(postgres.NoStart, match="max_connections"), postgres.cluster():
        pass
