"""kill -9 of web and worker at random moments under load: what was acknowledged is never lost.

The load keeps a ledger of what it was told; the merchant's receiver keeps what it heard.  Afterwards
both must agree with the books, to the last byte.  Invariants I-1, I-2, I-8, I-27, I-30, I-33, I-34,
I-36 and I-45 (``docs/invariants.md``).

    KILLS=200 SEED=7 pytest tests/test_kill.py -k postgresql    a campaign, or the same kills once more

The seed decides who is killed after how long; the operating system decides what that interrupts.
"""

from __future__ import annotations

import http.client
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from app import clock
from app.callbacks.models import Callback
from app.charges import proving
from app.charges.models import Attempt, Charge, Incident, Refund
from app.charges.states import AttemptState, ChargeState
from app.db import moment, reading, snapshot, table_of, transaction
from app.http import SLOTS
from app.merchants import accounts, keys, people
from app.providers.base import HttpAnswer, Inbound
from app.queue import Job, Kind
from app.webhooks import endpoints
from app.webhooks.courier import UNRECORDED_MAX
from app.webhooks.models import Delivery, DeliveryState, Event
from tests import live
from tests.books import rows_of
from tests.conftest import KEYS, running
from tests.far_side import AlipayFarSide
from tests.live import Answer, House, ask, wait_until
from tests.providers import alipay_forge
from tests.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.slow

WEB, WEB_CHILD, WORKER = "web", "a process of web", "worker"
VICTIMS = (WEB, WORKER, WEB, WORKER, WEB_CHILD, WEB, WORKER, WEB, WEB_CHILD, WORKER)
KILLS = int(os.environ.get("KILLS", "6"))  # on each of the two databases
CALM_S = (0.1, 1.0)  # from when all is well again to the next kill
SHOPPERS = 3  # at once; each waits for an answer before asking for more
PAUSE_S = 0.05  # of a shopper between purchases: what was killed needs the processor to start
PATIENCE_S = 45.0  # for one answer, through all the kills that it meets
QUIET_S = 75.0  # for everything due to be done; longer than a lease

_jobs = table_of(Job)


def test_no_kill_loses_what_was_acknowledged(database_url, tmp_path):
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    _say(f"KILLS={KILLS} SEED={seed}")
    with live.house(database_url, tmp_path) as mafu, running(mafu.settings), receiving() as till:
        with _alipay() as (alipay, gateway_url):
            shop = _move_in(mafu, alipay, gateway_url, till)
            mafu.start("web", "worker")
            with _shopping(shop) as load:
                held = _kill_at_random(mafu, load, shop.heard, random.Random(seed))
            wait_until(_is_quiet, QUIET_S, "what is due is not done")
        shop.heard.take_in()
        _say(f"{load.summary()}; {shop.heard.summary()}")
        _books_agree(load.sales)
        _receiver_agrees(shop.heard, held)
        _logs_are_clean(mafu, shop)


class Alipay(AlipayFarSide):
    """The forge for several threads: shoppers who pay, and the gateway that the worker asks."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def send(self, method: str, url: str, **more: Any) -> HttpAnswer:
        with self._lock:
            return super().send(method, url, **more)

    def approve(self, cashier: str) -> tuple[str, Inbound]:
        """The shopper pays: the payment's number, and the genuine callback about it."""
        with self._lock:
            number = self.pay(cashier).out_trade_no
            return number, self.notice(number)


@dataclass
class Heard:
    """The receiver's ledger: how often each event came.  Each one is verified, and the same every time."""

    till: Receiver
    webhook: Webhook
    bodies: dict[str, bytes] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    _taken: int = 0

    def take_in(self) -> None:
        """Verify what came since the last time; soon, because a signature is only good for minutes."""
        fresh = self.till.requests[self._taken :]
        self._taken += len(fresh)
        for request in fresh:
            event_id = request.headers["webhook-id"]
            self.webhook.verify(request.body, request.headers)  # I-38
            assert self.bodies.setdefault(event_id, request.body) == request.body, "I-34"
            self.times[event_id] += 1

    def summary(self) -> str:
        return f"{len(self.times)} events heard, {self.times.total() - len(self.times)} of them again"


@dataclass
class Shop:
    """The merchant under load."""

    url: str
    key: str
    secret: str
    alipay: Alipay
    heard: Heard


@dataclass
class Sale:
    """A line of the shoppers' ledger: what they were told of one purchase."""

    charge_id: str
    out_trade_no: str = ""
    is_acknowledged: bool = False  # the callback was answered with "success"


@dataclass
class Load:
    """Shoppers at work.  An exchange that breaks off is repeated, word for word, until it is answered."""

    shop: Shop
    sales: list[Sale] = field(default_factory=list)
    broken: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def shopper(self, number: int) -> None:
        """Buy until it is over.  Raises AssertionError at the first answer that should not be."""
        rng = random.Random(number)
        while not self.is_over.is_set():
            self.sales.append(self._buy(rng))
            time.sleep(PAUSE_S)

    def summary(self) -> str:
        paid = sum(sale.is_acknowledged for sale in self.sales)
        return f"{len(self.sales)} charges, {paid} paid, {self.broken} exchanges broken off"

    def _buy(self, rng: random.Random) -> Sale:
        once = {"Idempotency-Key": uuid4().hex}
        wish = {"amount": rng.randint(1, 99_999), "currency": "cny", "description": "一杯拿铁"}
        told = [
            self._insist("POST", "/v1/charges", key=self.shop.key, json_body=wish, headers=once)
            for _ in range(rng.choice((1, 1, 1, 2)))
        ]
        assert {answer.status for answer in told} == {201}, told
        assert len({answer.body for answer in told}) == 1, "I-27"
        charge = told[0].json
        sale = Sale(charge["id"])
        if rng.random() < 0.8:
            self._pay(sale, urlsplit(charge["url"]).path, rng)
        return sale

    def _pay(self, sale: Sale, link: str, rng: random.Random) -> None:
        phone = {"User-Agent": live.PHONE}
        step = self._insist("POST", link, form={"provider": "alipay"}, headers=phone)
        assert step.status == 303, step
        cashier = step.headers["location"]
        sale.out_trade_no, notice = self.shop.alipay.approve(cashier)
        [notify_url] = parse_qs(urlsplit(cashier).query)["notify_url"]
        for _ in range(rng.choice((1, 1, 2))):  # networks send some of them again
            told = self._insist("POST", urlsplit(notify_url).path, body=notice.body, headers=notice.headers)
            assert (told.status, told.body) == (200, b"success"), told
            sale.is_acknowledged = True

    def _insist(self, method: str, path: str, **more: Any) -> Answer:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask(method, self.shop.url + path, **more)
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline_s, "no answer for too long"
                self.broken += 1
                time.sleep(0.05)


@contextmanager
def _alipay() -> Iterator[tuple[Alipay, str]]:
    """Alipay, and the address of its gateway."""
    alipay = Alipay()

    @Request.application
    def gateway(request: Request) -> Response:
        answer = alipay.send("POST", request.url, body=request.get_data())
        return Response(answer.body, answer.status, answer.headers)

    server = make_server("127.0.0.1", 0, gateway, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield alipay, f"http://127.0.0.1:{server.port}/gateway.do"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Silent(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


def _move_in(mafu: House, alipay: Alipay, gateway_url: str, till: Receiver) -> Shop:
    merchant_id, _ = people.add_merchant("晨光咖啡馆", email="owner@cafe.example")
    _, key = keys.create_key(merchant_id, livemode=False, name="till")
    credentials = alipay_forge.KEY_MODE | {"gateway_url": gateway_url}
    accounts.add_account(merchant_id, "alipay", livemode=False, name="支付宝", settings=credentials)
    _, secret = endpoints.create_endpoint(merchant_id, livemode=False, url=till.url("/ok"))
    return Shop(mafu.url, key, secret, alipay, Heard(till, Webhook(secret)))


@contextmanager
def _shopping(shop: Shop) -> Iterator[Load]:
    """Shoppers buy while the block lasts; each finishes what they have begun."""
    load = Load(shop)
    with ThreadPoolExecutor(SHOPPERS) as pool:
        shoppers = [pool.submit(load.shopper, number) for number in range(SHOPPERS)]
        try:
            yield load
        finally:
            load.is_over.set()
            for shopper in shoppers:
                shopper.result()


def _kill_at_random(mafu: House, load: Load, heard: Heard, rng: random.Random) -> Counter[str]:
    """Kill, start again, see it work again; for each delivery, how many workers died holding it."""
    web, worker, held = mafu.programs["web"], mafu.programs["worker"], Counter[str]()
    victims = list(islice(cycle(VICTIMS), KILLS))
    rng.shuffle(victims)
    for victim in victims:
        time.sleep(rng.uniform(*CALM_S))
        if victim == WORKER:
            worker.kill()
            held.update(_end_leases())
            worker.start()
            before = len(heard.till.requests)
            wait_until(lambda before=before: len(heard.till.requests) > before, PATIENCE_S, "nothing is sent")
        else:
            if victim == WEB:
                web.kill()
                web.start()
            else:
                web.kill_a_child(rng)
            before = len(load.sales)
            wait_until(lambda before=before: len(load.sales) > before, PATIENCE_S, "nothing is sold")
        heard.take_in()
    return held


def _end_leases() -> list[str]:
    """As if a minute had gone by: what the dead worker held is due.  The deliveries among it."""
    with transaction() as tx:
        rows = tx.execute(
            sa.update(_jobs)
            .where(_jobs.c.token.is_not(None))
            .values(due_at=moment(tx))
            .returning(_jobs.c.kind, _jobs.c.subject_id)
        ).all()
    return [row.subject_id for row in rows if row.kind == Kind.DELIVER]


def _is_quiet() -> bool:
    """Whether nothing is left but to end unpaid charges one day, and to check the ledger again.  I-45."""
    is_later = sa.and_(_jobs.c.kind.in_((Kind.EXPIRE, Kind.LEDGER)), _jobs.c.token.is_(None))
    left = sa.select(_jobs.c.kind).where(sa.not_(is_later))
    with reading() as connection:
        return connection.execute(left.limit(1)).first() is None


def _books_agree(sales: list[Sale]) -> None:
    """Every charge and callback that was acknowledged is there, once, and nothing besides."""
    charges = {row.id: row for row in rows_of(Charge)}
    assert sorted(charges) == sorted(sale.charge_id for sale in sales), "I-30"
    attempts, types = defaultdict(list), defaultdict(list)
    for row in rows_of(Attempt):
        attempts[row.charge_id].append((row.out_trade_no, row.state, row.settles))
    for row in rows_of(Event):
        types[row.object_id].append((row.sequence, row.type))
    for sale in sales:
        state, tries, told = charges[sale.charge_id].state, attempts[sale.charge_id], types[sale.charge_id]
        if sale.is_acknowledged:
            assert state == ChargeState.PAID, "I-8"
            assert tries == [(sale.out_trade_no, AttemptState.SUCCEEDED, True)], "I-1"
            assert sorted(told) == [(1, "charge.created"), (2, "charge.paid")], "I-2, I-32"
        else:
            assert (state, tries, told) == (ChargeState.PENDING, [], [(1, "charge.created")])
    acknowledged = sorted(sale.out_trade_no for sale in sales if sale.is_acknowledged)
    assert sorted(row.out_trade_no for row in rows_of(Callback)) == acknowledged, "evidence is kept"
    unpaid = sorted(sale.charge_id for sale in sales if not sale.is_acknowledged)
    left = [row for row in rows_of(Job) if row.kind != Kind.LEDGER]
    assert sorted(row.subject_id for row in left) == unpaid
    assert all(row.due_at > clock.now() for row in left)
    assert not rows_of(Incident)
    assert not rows_of(Refund)
    assert not [fault for part in proving.check_all(snapshot) for fault in part.faults], "I-25"


def _receiver_agrees(heard: Heard, held: Counter[str]) -> None:
    """Every event was heard as it stands in the books; again only if a worker died with it in hand."""
    assert heard.bodies == {row.id: row.body.encode() for row in rows_of(Event)}, "I-33, I-34"
    deliveries = rows_of(Delivery)
    assert {row.state for row in deliveries} == {DeliveryState.DELIVERED}
    excuses = {row.event_id: held[row.id] for row in deliveries}
    assert [event for event, times in heard.times.items() if times > 1 + excuses[event]] == [], "I-36"
    again = heard.times.total() - len(heard.times)
    assert again <= (SLOTS + UNRECORDED_MAX) * KILLS, "no more than were on the wire or not yet written down"


def _logs_are_clean(mafu: House, shop: Shop) -> None:
    """Being killed is no reason to stumble, nor to tell a secret."""
    secrets = [shop.key, shop.secret, *alipay_forge.AlipayForge.secrets, *_flat(KEYS.values())]
    for name in ("web", "worker"):
        said = mafu.programs[name].said()
        assert "Traceback" not in said, said[-5000:]
        assert not [secret for secret in secrets if secret in said], f"{name} tells a secret"


def _flat(keys: Iterable[Iterable[str]]) -> list[str]:
    return [key for some in keys for key in some]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
