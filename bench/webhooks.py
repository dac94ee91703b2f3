"""Webhooks by one worker, from the outbox to the record of each attempt, against libcurl in a bare loop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import pycurl
import sqlalchemy as sa

from app.charges import lifecycle
from app.charges.commands import NewCharge
from app.charges.present import charge_json
from app.db import reading, table_of, transaction
from app.http import SLOTS, Sender
from app.ids import new_id
from app.merchants import people
from app.money import Money
from app.queue import Job, Kind
from app.runtime import settings
from app.webhooks import endpoints, types
from app.webhooks.courier import Courier
from app.webhooks.models import Event
from app.webhooks.outbox import Fact, emit
from app.webhooks.signature import headers_for, new_secret
from app.worker import desk_for
from bench.crew import Hand, crew
from bench.house import House
from bench.rounds import Block, Contest, Target
from tests.conftest import ROOT

POSTS, FLOOR_POSTS = 1000, 4000
MERCHANTS = SLOTS // 4  # an endpoint is sent four at once, so these fill every slot
NAME = "webhook"
TARGET = Target(due=0.1, then=0.3)
TWO, CREW_POSTS = "webhook, two workers", 4000
CREW_TARGET = Target(due=1.0, then=1.5)

_jobs, _events = table_of(Job), table_of(Event)
_DELIVERIES_LEFT = sa.select(sa.func.count()).where(_jobs.c.kind == Kind.DELIVER)


@dataclass(frozen=True)
class Town:
    """Merchants who listen, and what there is to tell them."""

    house: House
    url: str  # of the receiver
    shops: list[str]
    charge_id: str
    data: dict[str, Any]

    def post(self, count: int) -> None:
        """Make so many deliveries due."""
        shop_of_each = islice(cycle(self.shops), count)
        facts = [Fact(shop, False, types.CHARGE_CREATED, new_id("ch"), 1, self.data) for shop in shop_of_each]
        with self.house.app.app_context(), transaction() as tx:
            # What failed before would still be due, later.
            assert tx.execute(_DELIVERIES_LEFT).scalar_one() == 0, "not everything was delivered"
            emit(tx, *facts)


@contextmanager
def town(house: House) -> Iterator[Town]:
    """Merchants with a receiver, which is a process of its own."""
    with _receiver() as url:
        with house.app.app_context():
            new = NewCharge(Money(1250, "CNY"), "一杯拿铁")
            charge = lifecycle.open_charge(house.shop.id, livemode=False, new=new)
            shops = [_listening_shop(number, url) for number in range(MERCHANTS)]
            built = Town(house, url, shops, charge.id, charge_json(charge))
        yield built


@contextmanager
def contest(town: Town) -> Iterator[Contest]:
    """One worker in this process against libcurl alone."""
    with town.house.app.app_context():
        sender = Sender(endpoints.guard_of(settings()))
        floor = _floor(town.url, _event_body(town.charge_id))
    with closing(sender), desk_for(town.house.app) as desk:
        yield Contest(NAME, floor, _mafu(town, Courier(sender, desk=desk)), TARGET)


@contextmanager
def crew_contest(town: Town) -> Iterator[Contest]:
    """Two workers against one, each a process: what is due is shared."""
    with town.house.app.app_context():
        environment = {
            "DATABASE_URL": town.house.url,
            "MAFU_DATA": str(settings().data),
            "MAFU_SECRET_KEYS": ",".join(settings().secret_keys),
            "MAFU_ENCRYPTION_KEYS": ",".join(settings().encryption_keys),
        }
    with crew(2, environment) as hands:
        yield Contest(TWO, _hands(town, hands[:1]), _hands(town, hands), CREW_TARGET)


def _hands(town: Town, hands: list[Hand]) -> Block:
    def prepare() -> Callable[[], int]:
        town.post(CREW_POSTS)
        return run

    def run() -> int:
        for hand in hands:
            hand.go()
        for hand in hands:
            hand.wait()
        return CREW_POSTS

    return prepare


def _floor(url: str, body: bytes) -> Block:
    headers = headers_for([new_secret()], new_id("evt"), 1768442400, body)
    lines = ["Expect:", *[f"{name}: {value}" for name, value in headers.items()]]
    multi = pycurl.CurlMulti()
    handles = [pycurl.Curl() for _ in range(SLOTS)]
    for handle in handles:
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.HTTPHEADER, lines)
        handle.setopt(pycurl.POSTFIELDS, body)
        handle.setopt(pycurl.WRITEFUNCTION, len)

    def run() -> int:
        started = done = 0
        for handle in handles:
            multi.add_handle(handle)
            started += 1
        while done < FLOOR_POSTS:
            multi.perform()
            left = 1
            while left:
                left, ended, failed = multi.info_read()
                if failed:
                    raise AssertionError(f"a post of the floor failed: {failed[0][1:]}")
                for handle in ended:
                    multi.remove_handle(handle)
                    done += 1
                    if started < FLOOR_POSTS:
                        multi.add_handle(handle)
                        started += 1
            multi.select(1.0)
        return done

    return lambda: run


def _mafu(town: Town, courier: Courier) -> Block:
    def prepare() -> Callable[[], int]:
        town.post(POSTS)
        return run

    def run() -> int:
        with town.house.app.app_context():
            courier.step()
            while not courier.is_idle:
                courier.step()
        return POSTS

    return prepare


def _listening_shop(number: int, url: str) -> str:
    """A merchant with one endpoint."""
    merchant_id, _ = people.add_merchant(f"店 {number}", email=f"shop{number}@cafe.example", password=None)
    endpoints.create_endpoint(merchant_id, livemode=False, url=f"{url}/{number}")
    return merchant_id


def _event_body(charge_id: str) -> bytes:
    with reading() as connection:
        body: str = connection.execute(
            sa.select(_events.c.body).where(_events.c.object_id == charge_id)
        ).scalar_one()
    return body.encode()


@contextmanager
def _receiver() -> Iterator[str]:
    command = [sys.executable, "-m", "bench.receiver"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
