"""What every test stands on: a fresh database of each kind, an application, a merchant, a clock.

Tables are made once per session by the migrations themselves and copied for each test (a file on
SQLite, CREATE DATABASE … TEMPLATE on PostgreSQL).
"""

from __future__ import annotations

import functools
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import flask_migrate
import hypothesis
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule

from app import clock, db
from app.config import Settings, load_settings
from app.factory import create_app
from app.merchants import accounts, keys, people
from app.providers import rsa
from tests import postgres
from tests.far_side import AlipayFarSide
from tests.providers import alipay_forge

pytest_plugins = ["tests.strict", "tests.networks"]

# A shell starts what runs in its background deaf to Ctrl-C, and a child inherits that: tests that
# press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("mafu", deadline=None)
hypothesis.settings.load_profile("mafu")


class _Compiled(BytecodeCache):
    """Templates compiled once in this process, whichever application asks for them."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.known:
            bucket.bytecode_from_string(self.known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.known[bucket.key] = bucket.bytecode_to_string()


_compile = Rule.compile
_compiled: dict[str, dict[str, Any]] = {}


def _compile_once(rule: Rule) -> None:
    """An address's pattern and what writes it, of all applications: four fifths of making one."""
    text = f"{rule.subdomain} {rule.rule} {rule.defaults}"
    if text not in _compiled:
        _compile(rule)
        names = ("_parts", "_trace", "_converters", "_build", "_build_unknown", "arguments")
        _compiled[text] = {name: getattr(rule, name) for name in names}
    vars(rule).update(_compiled[text])


# What would be done anew for each of some thousand applications, with the same end.
Rule.compile = _compile_once
_TEMPLATES = _Compiled()
rsa.serialization.load_der_private_key = functools.cache(rsa.serialization.load_der_private_key)
people._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

ROOT = Path(__file__).parents[1]
KEYS = {
    "secret_keys": ("tests-link-key-0123456789-abcdefghijk",),
    "encryption_keys": ("tests-vault-key-0123456789-abcdefghij",),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow ones first: begun last, they would leave the other processes with nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@dataclass(frozen=True)
class Shop:
    """A merchant with everything it needs to be paid in test mode."""

    id: str
    user_id: str
    email: str
    password: str
    key: str
    account_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="session")
def pg_cluster() -> Iterator[postgres.Cluster | None]:
    with postgres.cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Migrated databases by kind, filled in when first asked for; "emptied" is one that can be used again."""
    return {"folder": str(tmp_path_factory.mktemp("templates"))}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, templates: dict[str, str]) -> Iterator[str]:
    """The address of an empty, migrated database that nobody else uses."""
    with fresh_database(request, tmp_path, templates) as url:
        yield url


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_for(database_url, tmp_path)


@pytest.fixture
def far_side() -> AlipayFarSide:
    """Alipay, in this process."""
    return AlipayFarSide()


@pytest.fixture
def app(settings: Settings, far_side: AlipayFarSide) -> Iterator[Flask]:
    """The whole application on an empty database, its context pushed, Alipay played by ``far_side``."""
    with running(settings, far_side) as application:
        yield application


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def merchant(app: Flask) -> Shop:
    return add_shop()


@pytest.fixture
def other_merchant(app: Flask) -> Shop:
    """Somebody whose data must never be seen by ``merchant``."""
    return add_shop("other@shop.example", name="隔壁老王")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime | timedelta], None]:
    """Move the clock: to a moment, or by a span.  It goes on running from there."""

    def move(to: datetime | timedelta) -> None:
        real = _REAL_NOW
        offset = to if isinstance(to, timedelta) else to - real()
        base = clock.now() - real() if isinstance(to, timedelta) else timedelta()
        monkeypatch.setattr(clock, "now", lambda: real() + base + offset)

    return move


_REAL_NOW = clock.now


def settings_for(database_url: str, folder: Path, **more: Any) -> Settings:
    """Settings of a demo instance with fixed keys."""
    return load_settings(
        **{
            "data": folder,
            "database_url": database_url,
            "base_url": "http://pay.example.com",
            "log_level": "WARNING",
            # Counted as always, and never reached; calls are logged where a test is about that.
            **dict.fromkeys(("rate_reads", "rate_writes", "rate_failures", "rate_payments"), 10**6),
            "request_log_days": 0,
            **KEYS,
            **more,
        }
    )


@contextmanager
def fresh_database(request: pytest.FixtureRequest, folder: Path, templates: dict[str, str]) -> Iterator[str]:
    """An empty, migrated database of the kind that a fixture's ``request.param`` names."""
    if request.param == "sqlite":
        if "sqlite" not in templates:
            templates["sqlite"] = f"{templates['folder']}/empty.sqlite3"
            _migrate(f"sqlite:///{templates['sqlite']}", folder)
        shutil.copy(templates["sqlite"], folder / "mafu.sqlite3")
        yield f"sqlite:///{folder / 'mafu.sqlite3'}"
        return
    cluster: postgres.Cluster | None = request.getfixturevalue("pg_cluster")
    if cluster is None:
        pytest.skip("no PostgreSQL can be started here")
    if "postgresql" not in templates:
        templates["postgresql"] = cluster.new_database()
        _migrate(templates["postgresql"], folder)
    url = templates.pop("emptied", None) or cluster.new_database(template=templates["postgresql"])
    yield url
    if "emptied" not in templates and cluster.empty(url, templates["postgresql"]):
        templates["emptied"] = url
    else:
        cluster.drop(url)


@contextmanager
def running(settings: Settings, far_side: AlipayFarSide | None = None) -> Iterator[Flask]:
    """An application with its context pushed; its connections are closed at the end."""
    application = create_app(settings)
    application.jinja_env.bytecode_cache = _TEMPLATES
    if far_side is not None:
        mine = application.extensions["mafu.runtime"]
        application.extensions["mafu.runtime"] = replace(mine, outbound=far_side)
    with application.app_context():
        try:
            yield application
        finally:
            if "mafu.journal" in application.extensions:
                application.extensions["mafu.journal"].close()
            application.extensions["mafu.tally"].close()
            db.dispose()


def add_shop(
    email: str = "owner@cafe.example",
    name: str = "晨光咖啡馆",
    password: str | None = "correct horse battery",
) -> Shop:
    """A merchant with an owner, a test key and an Alipay account whose far side is the forge."""
    merchant_id, user_id = people.add_merchant(name, email=email, password=password)
    _, key = keys.create_key(merchant_id, livemode=False, name="tests")
    account_id = accounts.add_account(
        merchant_id, "alipay", livemode=False, name="支付宝", settings=alipay_forge.KEY_MODE
    )
    return Shop(merchant_id, user_id, email, password or "", key, account_id)


def _migrate(url: str, folder: Path) -> None:
    with running(settings_for(url, folder)):
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
