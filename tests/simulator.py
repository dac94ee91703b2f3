"""A deterministic simulator of the whole platform: one integer is one schedule of everything that happens.

The product's own code runs, on a real database, against networks in this process (``far_side``).  Each
thing that it does (a press of Pay, a callback, a job of the worker) is a task that stops before and after
every transaction and on both ways of every call to a network.  At each stop the simulator, led by the
seed's random numbers, goes on with this task or another, lets the world act, or kills the process: all
that it was doing ends there, and what it held in memory is gone.  Nothing sleeps, time is a number, and
the same seed tells the same story again.

What happens is in ``simulator_world``, what must hold in ``simulator_rules``, many seeds at once in
``simulator_campaign``.  After TigerBeetle's VOPR.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import greenlet
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event

from app import clock
from app.db import db, transaction
from app.errors import PlatformError, ProviderUnreachable
from app.merchants import accounts, keys, people
from app.providers import rsa
from app.providers.base import HttpAnswer
from app.webhooks import endpoints
from app.webhooks.models import WebhookEndpoint
from tests.far_side import AlipayFarSide, Network
from tests.far_side_unionpay import UnionPayFarSide
from tests.far_side_wechatpay import WechatPayFarSide
from tests.providers import alipay_forge, unionpay_forge, wechatpay_forge

BEGINS = datetime(2026, 12, 31, 14, 40, tzinfo=UTC)  # 22:40 in Beijing: UnionPay's day ends, then the year
TICK = timedelta(microseconds=100)  # whenever somebody looks at the clock, so that no two moments are one
_AS_NEW = {"disabled_at": None, "failing_since": None, "failed_rounds": 0, "next_probe_at": None}
# What a story finds as the one before left it.  The audit log is never emptied, here neither.
STAYS = (
    *("merchants", "users", "api_keys", "provider_accounts", "webhook_endpoints", "alembic_version"),
    *("audit_entries", "audit_heads"),
)


class Death(BaseException):
    """This process is gone; nothing after this line of it runs."""


@dataclass(frozen=True)
class Shop:
    """A merchant with an account at each network, by the network's code, and a key of the API."""

    name: str
    merchant_id: str
    api_key: str
    accounts: Mapping[str, str]


@dataclass
class Task:
    """Something that a process is in the middle of."""

    label: str
    process: str
    life: greenlet.greenlet
    marks: dict[str, int]  # how much each network had said when it began
    is_dead: bool = False


class Stage:
    """An application on one database, in which story after story is told.

    Making one takes a second, so it is kept; what a story leaves behind is wiped.
    """

    def __init__(self, app: Flask) -> None:
        self.app = app
        if (
            db.engine.dialect.name == "sqlite"
        ):  # processes die here, machines do not: no need to wait for a disk
            event.listen(db.engine, "connect", lambda link, _: link.execute("PRAGMA synchronous=OFF"))
            db.engine.dispose()
        self.now: Callable[[], datetime] = clock.now
        self.simulation: Simulation | None = None
        app.extensions["mafu.gate"] = _Gate(self)
        if db.engine.dialect.name == "sqlite":
            with transaction() as tx:  # the ledger of a story is taken away with its payments
                for table in ("ledger_entries", "member_movements"):
                    tx.execute(sa.text(f"DROP TRIGGER {table}_no_delete"))
        self._outbound = _Wire(self)
        self.drop_memory()
        self.shops = [_move_in("A", _MINE), _move_in("B", _THEIRS)]
        # Somebody who entered the same credentials as A: genuine messages, but none of their payments.
        self.twin = _move_in("twin", _MINE)

    def drop_memory(self) -> None:
        """What a process knows besides the database is forgotten."""
        mine = self.app.extensions["mafu.runtime"]
        self.app.extensions["mafu.runtime"] = replace(mine, outbound=self._outbound, adapters={})

    def wipe(self) -> None:
        """An empty shop, as new."""
        self.drop_memory()
        with transaction() as tx:
            if tx.dialect.name == "postgresql":
                tx.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for table in reversed(db.metadata.sorted_tables):
                if table.name not in STAYS:
                    tx.execute(sa.delete(table))
            tx.execute(sa.text("UPDATE api_keys SET last_used_at = NULL"))
            tx.execute(sa.update(WebhookEndpoint).values(_AS_NEW))


@contextmanager
def stage(app: Flask) -> Iterator[Stage]:
    """A stage for as long as the block lasts; the application's context is pushed."""
    # Reading a private key takes 35 ms, and every process that starts anew reads three: it is pure.
    with (
        mock.patch.object(rsa, "private_key", lru_cache(rsa.private_key)),
        mock.patch.object(rsa, "public_key", lru_cache(rsa.public_key)),
        mock.patch.object(clock, "now", clock.now),
        app.app_context(),
    ):
        yield Stage(app)


@dataclass
class Simulation:
    """One story: the clock, the tasks under way, the bad days, and what has happened so far.

    ``step`` of ``simulator_world`` is called again and again; ``after_commit`` may look at the books.
    """

    stage: Stage
    seed: int
    after_commit: Callable[[], None] = lambda: None
    rng: random.Random = field(init=False)
    at: datetime = BEGINS
    tasks: list[Task] = field(default_factory=list)
    running: Task | None = None
    networks: dict[str, Network] = field(init=False)
    bad_days: dict[str, list[str]] = field(default_factory=dict)  # of the next answers, by network
    story: list[str] = field(default_factory=list)
    deaths: int = 0
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        random.seed(self.seed)
        self.networks = {each.code: each for each in (AlipayFarSide(), WechatPayFarSide(), UnionPayFarSide())}

    @contextmanager
    def running_on_stage(self) -> Iterator[None]:
        """The product's clock, gate and wire are this story's while the block lasts."""
        self.stage.wipe()
        clock.now = self.now
        self.stage.simulation = self
        try:
            yield
        finally:
            self.after_commit, self.failure = (lambda: None), None
            for task in list(self.tasks):
                self.kill_task(task)
            self.stage.simulation = None
            clock.now = self.stage.now

    def now(self) -> datetime:
        """The time in the story; it moves on a little whenever somebody asks."""
        self.at += TICK
        return self.at

    def say(self, line: str) -> None:
        self.story.append(line)

    def begin(self, process: str, label: str, work: Callable[[], object]) -> None:
        """A process begins to do something; it goes as far as its first stop."""

        def live() -> None:
            with self.stage.app.app_context():
                try:
                    work()
                    self.say(f"  {label}: done")
                except Death:
                    self.say(f"  {label}: died")
                except PlatformError as error:
                    self.say(f"  {label}: {type(error).__name__} {error.code}")

        marks = {code: len(network.unpaid_answers) for code, network in self.networks.items()}
        task = Task(label, process, greenlet.greenlet(live), marks)
        self.tasks.append(task)
        self.say(f"{process} begins: {label}")
        self.go_on(task)

    def go_on(self, task: Task) -> None:
        """Let a task run to its next stop, or to its end."""
        self._switch(task, task.life.switch)

    def kill(self, process: str) -> None:
        """kill -9: every task of the process ends where it stands, and its memory is gone."""
        self.deaths += 1
        self.say(f"{process} is killed")
        for task in [each for each in self.tasks if each.process == process]:
            self.kill_task(task)
        self.stage.drop_memory()

    def kill_task(self, task: Task) -> None:
        task.is_dead = True
        self._switch(task, lambda: task.life.throw(Death))

    def stop(self, where: str) -> None:
        """Called in a task: others may run now.  Raises Death if there is no going on."""
        task = self.running
        if task is None:
            return
        if not task.is_dead:
            self.say(f"  {task.label}: {where}")
            task.life.parent.switch()
        if task.is_dead:
            raise Death

    def committed(self) -> None:
        """Called after each commit of whoever.  What it finds is kept: a page would turn it into a 500."""
        try:
            self.after_commit()
        except AssertionError as error:
            self.failure = error
            raise

    def exchange(self, method: str, url: str, **more: Any) -> HttpAnswer:
        """One call to a network, with all that can befall it on the way."""
        network = self.networks[_HOSTS[urlsplit(url).hostname or ""]]
        began_at = self.at
        self.stop(f"request to {network.code}")
        bad_days = self.bad_days.get(network.code, [])
        fate = bad_days.pop(0) if bad_days else ""
        if fate == "lost":
            raise ProviderUnreachable("no connection")
        answer = network.send(method, url, **more)
        self.stop(f"answer of {network.code}{fate and ' will be ' + fate}")
        if self.at - began_at > timedelta(seconds=more.get("timeout_s", 10.0)) or fate == "unheard":
            raise ProviderUnreachable("timed out")
        match fate:
            case "an error page":
                return HttpAnswer(502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>")
            case "cut short":
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "garbled":
                place, bits = self.rng.randrange(max(1, len(answer.body))), self.rng.randrange(1, 256)
                body = bytearray(answer.body or b" ")
                body[place] ^= bits
                return replace(answer, body=bytes(body))
        return answer

    def _switch(self, task: Task, to: Callable[[], object]) -> None:
        before, self.running = self.running, task
        try:
            to()
        finally:
            self.running = before
            if task.life.dead:
                self.tasks.remove(task)
        if self.failure is not None:
            raise self.failure


FATES = ("lost", "unheard", "an error page", "cut short", "garbled")
_HOSTS = {"alipay.example": "alipay", "wechatpay.example": "wechatpay", "unionpay.example": "unionpay"}


class _Gate:
    """Stands where the gate of the writers stands: before each transaction, and after its commit."""

    def __init__(self, owner: Stage) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        if self._owner.simulation is not None:
            self._owner.simulation.stop("about to write")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._owner.simulation is not None and kind is None:
            self._owner.simulation.committed()
            self._owner.simulation.stop("has committed")

    def close(self) -> None:
        """There is nothing to close."""


class _Wire:
    """Stands where the HTTP client stands."""

    def __init__(self, owner: Stage) -> None:
        self._owner = owner

    def send(self, method: str, url: str, **more: Any) -> HttpAnswer:
        assert self._owner.simulation is not None, "a call outside any story"
        return self._owner.simulation.exchange(method, url, **more)


OTHER_APP_ID, OTHER_MCHID = "2021000000000002", "1900000110"
_MINE = {
    "alipay": alipay_forge.KEY_MODE,
    "wechatpay": wechatpay_forge.PUBLIC_KEY_MODE,
    "unionpay": unionpay_forge.PAIR | {"desktop_product": "qr"},
}
_THEIRS = {
    "alipay": alipay_forge.KEY_MODE | {"app_id": OTHER_APP_ID, "desktop_product": "page"},
    "wechatpay": wechatpay_forge.BOTH_MODES | {"mchid": OTHER_MCHID},
    "unionpay": unionpay_forge.PAIR | {"mer_id": unionpay_forge.STRANGER_ID, "desktop_product": "gateway"},
}


def _move_in(name: str, credentials: Mapping[str, Mapping[str, str]]) -> Shop:
    merchant_id, _ = people.add_merchant(f"店铺{name}", email=f"{name.lower()}@cafe.example")
    _, key = keys.create_key(merchant_id, livemode=False, name="tests")
    endpoints.create_endpoint(merchant_id, livemode=False, url="http://127.0.0.1:9/hook")
    opened = {
        code: accounts.add_account(merchant_id, code, livemode=False, name=code, settings=settings)
        for code, settings in credentials.items()
    }
    return Shop(name, merchant_id, key, opened)
