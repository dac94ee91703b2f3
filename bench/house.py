"""Throw-away databases, a shop that takes Alipay, and requests that go straight into WSGI."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask_migrate
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from app import db, logs
from app.factory import create_app
from tests import postgres
from tests.conftest import ROOT, Shop, add_shop, settings_for

Environ = dict[str, Any]
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


@dataclass(frozen=True)
class House:
    """Mafu on an empty database, with one merchant."""

    app: Flask
    url: str
    shop: Shop


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str | None]:
    """The address of a new database; None where there is no PostgreSQL to be had."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'mafu.sqlite3'}"
        return
    with postgres.cluster() as cluster:
        yield None if cluster is None else cluster.new_database()


@contextmanager
def house(url: str, folder: Path) -> Iterator[House]:
    """Mafu as it runs in production, logs included; they are read if something fails."""
    path = folder / "log"
    with path.open("w") as log, redirect_stderr(log):
        app = create_app(settings_for(url, folder, request_log_days=30))
        logs.configure(level="INFO", json=True)
        with app.app_context():
            flask_migrate.upgrade(directory=str(ROOT / "migrations"))
            shop = add_shop()
        try:
            yield House(app, url, shop)
        except AssertionError:
            print(path.read_text()[-1500:])
            raise
        app.extensions["mafu.journal"].close()
        with app.app_context():
            db.dispose()


def request(method: str, path: str, *, body: bytes = b"", **headers: str) -> Environ:
    """A WSGI environment for one request; names of headers with underscores."""
    builder = EnvironBuilder(
        path=path,
        method=method,
        base_url="http://pay.example.com",
        input_stream=io.BytesIO(body),
        content_length=len(body) if body else None,
        headers=Headers([(name.replace("_", "-"), value) for name, value in headers.items()]),
    )
    return builder.get_environ()


def answer(app: Flask, environ: Environ) -> tuple[int, bytes]:
    """What an application says: status and body.  No client in between, whose time would count as work."""
    status = ""

    def start_response(line: str, _headers: object, _error: object = None) -> None:
        nonlocal status
        status = line

    chunks: Iterable[bytes] = app.wsgi_app(environ, start_response)  # type: ignore[arg-type]
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return int(status[:3]), body
