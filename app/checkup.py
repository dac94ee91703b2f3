"""Whether everything is as it must be: a finding for each thing, and for each fault what mends it.

A check looks and changes nothing.  FAILED means that money or news may be lost or late; WARNING that
something will hurt one day.  ``flask doctor`` and the operator's page say the same.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app import clock, resealing, runtime
from app.config import Settings
from app.db import moment, reading, table_of
from app.errors import PlatformError, ProviderUnreachable
from app.http import Client
from app.merchants import accounts
from app.merchants.models import ProviderAccount
from app.queue import Job
from app.vault import SealBroken

ROOT = Path(__file__).resolve().parents[1]
LAG_MAX = timedelta(seconds=60)  # a running worker takes what is due within a second
SKEW_MAX = timedelta(seconds=5)  # signatures with a time are refused beyond minutes, leases rest on less
DISK_LOW_BYTES, DISK_FULL_BYTES = 1 << 30, 100 << 20
JOBS_MANY = 10_000

_jobs, _accounts = table_of(Job), table_of(ProviderAccount)


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what to do about it."""

    fact: str
    level: Level = Level.OK
    remedy: str = ""


def examine(*, without: tuple[str, ...] = ()) -> list[tuple[str, Finding]]:
    """Every check, in the order in which one rests on another, but for those ``without``.

    What only a missing database, or a missing table, could answer is left out.
    """
    settings = runtime.settings()
    found = [(name, check(settings)) for name, check in CHECKS if name not in without]
    try:
        with reading() as connection:
            found += [(name, check(connection)) for name, check in DATABASE_CHECKS]
            if sa.inspect(connection).has_table(_jobs.name):
                found += [(name, check(connection)) for name, check in TABLE_CHECKS]
    except SQLAlchemyError as error:
        remedy = "check DATABASE_URL, and that the database runs and lets this user in"
        found.append(("database", Finding(_first_line(error), Level.FAILED, remedy)))
    return found


def _settings(settings: Settings) -> Finding:
    url = make_url(settings.sqlalchemy_url).render_as_string(hide_password=True)
    return Finding(f"{settings.mode} mode, {settings.origin}, {url}")


def _secrets(settings: Settings) -> Finding:
    """Short and well-known keys were refused when the settings were loaded."""
    links, seals = settings.secret_keys, settings.encryption_keys
    fact = f"{len(links)} for links and sessions, {len(seals)} for credentials at rest"
    if set(links) & set(seals):
        return Finding("one key serves two ends", Level.WARNING, "give MAFU_ENCRYPTION_KEYS keys of its own")
    return Finding(fact)


def _data(settings: Settings) -> Finding:
    folder = settings.data
    if not folder.is_dir():
        return Finding(f"{folder} is not there", Level.FAILED, f"mkdir -m 700 {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            f"{folder} cannot be written to", Level.FAILED, f"give it to this user: chown -R $USER {folder}"
        )
    if folder.stat().st_mode & 0o007:
        return Finding(f"others on this machine can look into {folder}", Level.WARNING, f"chmod 700 {folder}")
    return Finding(str(folder))


def _disk(settings: Settings) -> Finding:
    place = next(path for path in (settings.data, *settings.data.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    fact = f"{free / 1e9:.1f} GB free"
    if free < DISK_FULL_BYTES:
        return Finding(fact, Level.FAILED, "make room: no payment can be written down on a full disk")
    if free < DISK_LOW_BYTES:
        return Finding(fact, Level.WARNING, "make room before it is full")
    return Finding(fact)


def _web(settings: Settings) -> Finding:
    try:
        answer = Client().send("GET", f"{settings.origin}/healthz", timeout_s=5.0)
    except (ProviderUnreachable, PlatformError) as error:
        return Finding(error.detail, Level.FAILED, f"start it: make run; or let {settings.origin} lead to it")
    if answer.status != 200:
        remedy = "something else answers there: check MAFU_BASE_URL and the reverse proxy"
        return Finding(f"{settings.origin}/healthz answered {answer.status}", Level.FAILED, remedy)
    return Finding(f"{settings.origin} answers")


def _database(connection: Connection) -> Finding:
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    connection.execute(sa.select(sa.literal(1)))
    return Finding(f"{connection.dialect.name} {version}")


def _migrations(connection: Connection) -> Finding:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it announces what it is about to look at
    config = current_app.extensions["migrate"].migrate.get_config(str(ROOT / "migrations"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    if current != newest:
        remedy = "flask db upgrade (make run does it by itself)"
        return Finding(f"the tables are at {current or 'nothing'}, not at {newest}", Level.FAILED, remedy)
    return Finding(f"the tables are at {newest}")


def _durability(connection: Connection) -> Finding:
    """Whether a commit that was reported outlives a power cut."""
    if connection.dialect.name == "sqlite":
        wanted = {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}
        asked = {name: str(connection.exec_driver_sql(f"PRAGMA {name}").scalar()) for name in wanted}
        remedy = "put the database on a local disk: network file systems refuse WAL"
    else:
        wanted = {"fsync": "on", "full_page_writes": "on"}
        asked = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in wanted}
        asked["synchronous_commit"] = str(connection.exec_driver_sql("SHOW synchronous_commit").scalar())
        wanted["synchronous_commit"] = (
            "on" if asked["synchronous_commit"] == "off" else asked["synchronous_commit"]
        )
        remedy = "set it in postgresql.conf: a power cut would take payments that were reported as made"
    wrong = [f"{name} is {asked[name]}" for name in wanted if asked[name] != wanted[name]]
    if wrong:
        return Finding(", ".join(wrong), Level.FAILED, remedy)
    return Finding(", ".join(f"{name}={value}" for name, value in asked.items()))


def _clock(connection: Connection) -> Finding:
    if connection.dialect.name == "sqlite":
        return Finding("one machine, one clock")
    skew = abs(connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one() - clock.now())
    fact = f"{skew.total_seconds():.2f} s from the database's"
    if skew > SKEW_MAX:
        return Finding(fact, Level.FAILED, "run NTP on both machines")
    return Finding(fact)


def _worker(connection: Connection) -> Finding:
    """A worker is known by its work: nothing that is due stays so for long."""
    oldest = connection.execute(sa.select(sa.func.min(_jobs.c.due_at))).scalar()
    lag = timedelta() if oldest is None else max(timedelta(), moment(connection) - oldest)
    if lag > LAG_MAX:
        fact = f"the oldest job has been due for {_span(lag)}"
        return Finding(fact, Level.FAILED, "no worker runs, or it cannot keep up: flask worker")
    return Finding("nothing is overdue" if lag < timedelta(seconds=2) else f"{_span(lag)} behind")


def _queue(connection: Connection) -> Finding:
    rows = connection.execute(
        sa.select(_jobs.c.kind, sa.func.count().label("jobs")).group_by(_jobs.c.kind)
    ).all()
    counts = {row.kind: row.jobs for row in rows}
    fact = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "empty"
    if sum(counts.values()) > JOBS_MANY:
        return Finding(fact, Level.WARNING, "start more workers, or see which endpoint does not answer")
    return Finding(fact)


def _providers(connection: Connection) -> Finding:
    """Whether every account can be opened with the keys we hold."""
    ids = connection.execute(sa.select(_accounts.c.id).where(_accounts.c.enabled.is_(True))).scalars().all()
    for account_id in ids:
        try:
            accounts.open_account(account_id)
        except SealBroken as error:
            remedy = "put the key that sealed it back into MAFU_ENCRYPTION_KEYS"
            return Finding(f"{account_id}: {error}", Level.FAILED, remedy)
        except PlatformError as error:
            return Finding(f"{account_id}: {error.detail}", Level.FAILED, "enter its credentials again")
    if not ids:
        return Finding("no account", Level.WARNING, "add one: without it nobody can pay")
    return Finding(f"{len(ids)} account{'s' if len(ids) > 1 else ''}, credentials in order")


def _seals(connection: Connection) -> Finding:
    """Whether an older key could be taken away."""
    old = resealing.find_old(connection, runtime.vault())
    if old:
        fact = f"sealed under an older key: {', '.join(old)}"
        return Finding(fact, Level.WARNING, "flask vault reseal, and then take the older keys away")
    return Finding("all of it by the newest key")


CHECKS: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
    ("settings", _settings),
    ("secrets", _secrets),
    ("data", _data),
    ("disk", _disk),
    ("web", _web),
)
DATABASE_CHECKS: tuple[tuple[str, Callable[[Connection], Finding]], ...] = (
    ("database", _database),
    ("migrations", _migrations),
    ("durability", _durability),
    ("clock", _clock),
)
TABLE_CHECKS: tuple[tuple[str, Callable[[Connection], Finding]], ...] = (
    ("worker", _worker),
    ("queue", _queue),
    ("providers", _providers),
    ("seals", _seals),
)


def _span(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s" if span < timedelta(minutes=3) else str(span).partition(".")[0]


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
