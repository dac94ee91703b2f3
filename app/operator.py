"""``/operator``: the state of the whole installation on one page, for whoever runs it, and for nobody else.

No merchant's session opens it.  With MAFU_OPERATOR_TOKEN set, the token does, for a working day; without
one only a browser on this machine may look, as at ``/metrics``.
"""

from __future__ import annotations

import hashlib
import hmac
import platform
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from itsdangerous import BadSignature, TimestampSigner
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from app import checkup, heartbeat, telemetry, versions
from app.checkup import Finding, Level
from app.db import moment, reading
from app.errors import NotFound, TooManyRequests
from app.merchants import health
from app.queue import Kind
from app.rates import place_of
from app.runtime import runtime, settings
from app.telemetry import Backlog

COOKIE = "mafu_operator"
OPEN_FOR = timedelta(hours=8)
# Whoever makes backups touches this file when one is complete.
BACKUP_STAMP = "last-backup"
BACKUP_OLD = timedelta(hours=36)  # a nightly one, and a morning to notice that it failed

bp = Blueprint("operator", __name__)


@dataclass(frozen=True, slots=True)
class State:
    """The installation, now.  ``findings`` are of the checkup, but for whether this server answers."""

    at: datetime
    facts: dict[str, str]
    size_bytes: int
    backup_at: datetime | None
    backlog: dict[Kind, Backlog]
    workers: list[sa.Row[Any]]
    findings: list[tuple[str, Finding]]
    left: list[sa.Row[Any]]  # accounts that payments have left

    @property
    def backup_is_old(self) -> bool:
        return self.backup_at is None or self.at - self.backup_at > BACKUP_OLD


@bp.get("/operator")
def show() -> Response:
    """The page, or the door in front of it."""
    if not _may_look():
        if not settings().operator_token:
            raise NotFound("no such page")
        return make_response(render_template("operator/door.html", is_wrong=False))
    with reading() as connection:
        is_migrated = sa.inspect(connection).has_table(heartbeat.Worker.__tablename__)
    state = _look() if is_migrated else None
    findings = state.findings if state else checkup.examine(without=("web",))
    page = render_template(
        "operator/page.html",
        state=state,
        findings=findings,
        alive=heartbeat.ALIVE,
        levels=Level,
        has_token=bool(settings().operator_token),
    )
    return make_response(page, 200 if state else 503)


@bp.post("/operator")
def enter() -> Response | BaseResponse:
    """Open the door with the token.  Whoever guesses is slowed down by where they are."""
    token, failures = settings().operator_token, runtime().rates.failures
    if not token:
        raise NotFound("no such page")
    place = place_of(request.remote_addr or "")
    if failures is not None:
        verdict = failures.look(place)
        if not verdict.allowed:
            raise TooManyRequests("too many wrong tokens", retry_after_s=verdict.retry_after_s)
    if not hmac.compare_digest(request.form.get("token", "").strip().encode(), token.encode()):
        if failures is not None:
            failures.take(place)
        return make_response(render_template("operator/door.html", is_wrong=True), 401)
    response = redirect(url_for("operator.show"), 303)
    response.set_cookie(
        COOKIE,
        _signer().sign(_digest(token)).decode(),
        max_age=OPEN_FOR,
        path=url_for("operator.show"),
        secure=settings().origin.startswith("https://"),
        httponly=True,
        samesite="Strict",
    )
    return response


@bp.post("/operator/leave")
def leave() -> BaseResponse:
    """Close it again in this browser."""
    response = redirect(url_for("operator.show"), 303)
    response.delete_cookie(COOKIE, path=url_for("operator.show"))
    return response


@bp.after_request
def _say_where_from(response: Response) -> Response:
    # Over https the forms' guard wants to see that the browser comes from here.  Nobody else is told.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _may_look() -> bool:
    token = settings().operator_token
    if not token:
        return telemetry.is_this_machine()
    try:
        signed = _signer().unsign(request.cookies.get(COOKIE, ""), max_age=int(OPEN_FOR.total_seconds()))
    except BadSignature:
        return False
    return hmac.compare_digest(signed.decode(), _digest(token))


def _signer() -> TimestampSigner:
    return TimestampSigner(list(settings().secret_keys), salt="operator")


def _digest(token: str) -> str:
    """What a cookie knows of the token: it opens nothing once there is another one."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def _look() -> State:
    findings = checkup.examine(without=("web",))  # that this server answers is plain to see
    with reading() as connection:
        now = moment(connection)
        return State(
            at=now,
            facts=_facts(connection),
            size_bytes=_size_of(connection),
            backup_at=_backup_at(settings().data),
            backlog=telemetry.backlog(connection, now),
            workers=list(heartbeat.list_workers(connection)),
            findings=findings,
            left=health.list_left(connection),
        )


def _facts(connection: Connection) -> dict[str, str]:
    database = ".".join(map(str, connection.dialect.server_version_info or ()))
    return {
        "Mafu API": versions.CURRENT,
        "Python": platform.python_version(),
        "Flask": version("flask"),
        "SQLAlchemy": sa.__version__,
        connection.dialect.name: database,
        "MAFU_MODE": str(settings().mode),
        "MAFU_BASE_URL": settings().origin,
    }


def _size_of(connection: Connection) -> int:
    """Bytes on the disk of the database, as it says itself."""
    if connection.dialect.name == "sqlite":
        pages, page_bytes = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        ]
        return int(pages * page_bytes)
    return int(
        connection.execute(sa.select(sa.func.pg_database_size(sa.func.current_database()))).scalar_one()
    )


def _backup_at(folder: Path) -> datetime | None:
    """When a backup was last complete; None if nobody ever said so."""
    try:
        return datetime.fromtimestamp((folder / BACKUP_STAMP).stat().st_mtime, UTC)
    except OSError:
        return None
