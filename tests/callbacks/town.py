"""Where forgeries are tried: merchants with accounts at every network, in both modes, and their books.

A town is made once for a database and used by a thousand tests.  That works because most of what is
tried changes nothing, and what does gets an order of its own.  Its clock stands still at the moment of
the known-answer vectors; ``at`` moves it.
"""

from __future__ import annotations

import gc
import io
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from flask import Flask

from app import clock
from app.callbacks.models import Callback
from app.charges import attempts, lifecycle
from app.charges.attempts import Payer
from app.charges.commands import NewCharge
from app.charges.models import Attempt, Charge, Incident, Refund
from app.db import db, reading
from app.errors import ProviderUnreachable
from app.merchants import accounts, people
from app.money import Money
from app.providers.base import HttpAnswer, Inbound, Scene
from app.webhooks.models import Event
from tests.books import rows_of
from tests.providers import alipay_forge, unionpay_forge, wechatpay_forge
from tests.providers.contract import NOW

CPU_S_MAX = 0.1


@dataclass(frozen=True)
class Till:
    """An account at a network.  ``signer`` is what its network signs with: a key's name, or a serial's."""

    name: str
    provider: str
    settings: Mapping[str, str]
    signer: str
    livemode: bool = False
    tenant: str = "ours"


def _alipay(name: str, settings: Mapping[str, str], signer: str = "alipay.pkcs8.pem", **more: Any) -> Till:
    seller = {"seller_id": alipay_forge.SELLER_ID}
    return Till(name, "alipay", {**seller, **settings}, signer, **more)


_LIVE_KEY = {"alipay_public_key": alipay_forge.KEYS["alipay_sub.pub.pem"]}
_LIVE_WECHAT_KEY = {"public_key": wechatpay_forge.KEYS["wechat_ca.pub.pem"]}

# Where forgeries are sent.
TILLS = {
    till.name: till
    for till in (
        _alipay("alipay-key", alipay_forge.KEY_MODE),
        _alipay("alipay-certificate", alipay_forge.CERT_MODE),
        Till("wechatpay-public-key", "wechatpay", wechatpay_forge.PUBLIC_KEY_MODE, "wx_pubkey.pkcs8.pem"),
        Till("wechatpay-certificate", "wechatpay", wechatpay_forge.CERTIFICATE_MODE, "wx_platform.pkcs8.pem"),
        Till("unionpay", "unionpay", unionpay_forge.PAIR, "up_sign.pkcs8.pem"),
    )
}
# Whose genuine messages are sent to the wrong doors, besides.
NEIGHBOURS = {
    till.name: till
    for till in (
        _alipay("alipay-live", {**alipay_forge.KEY_MODE, **_LIVE_KEY}, "alipay_sub.pkcs8.pem", livemode=True),
        _alipay(
            "alipay-next-door", {**alipay_forge.KEY_MODE, "app_id": "2021000000000002"}, tenant="next door"
        ),
        Till(
            "wechatpay-live",
            "wechatpay",
            {**wechatpay_forge.PUBLIC_KEY_MODE, **_LIVE_WECHAT_KEY},
            "wechat_ca.pkcs8.pem",
            livemode=True,
        ),
        Till(
            "wechatpay-next-door",
            "wechatpay",
            {
                **wechatpay_forge.PUBLIC_KEY_MODE,
                "mchid": "1900000110",
                "appid": "wx0000000000000002",
                "api_v3_key": wechatpay_forge.API_KEY[::-1],
            },
            "wx_pubkey.pkcs8.pem",
            tenant="next door",
        ),
        Till(
            "unionpay-test",
            "unionpay",
            {**unionpay_forge.PAIR, "mer_id": "777290058110098", "environment": "test"},
            "up_sign.pkcs8.pem",
        ),
        Till(
            "unionpay-next-door",
            "unionpay",
            {**unionpay_forge.PAIR, "mer_id": unionpay_forge.STRANGER_ID},
            "up_sign.pkcs8.pem",
            tenant="next door",
        ),
    )
}
_SUB, _OTHER_SUB = wechatpay_forge.SUB_MCHID, "1600000110"
_ALIPAY_PARTNER = {**alipay_forge.KEY_MODE, **alipay_forge.AUTHORISED}
# Merchants whose service provider is one: the same keys, of the account of its own above, for all of them.
PARTNERS = {
    till.name: till
    for till in (
        Till("wechatpay-sub", "wechatpay", wechatpay_forge.SUB_MERCHANT, "wx_pubkey.pkcs8.pem"),
        Till(
            "wechatpay-other-sub",
            "wechatpay",
            {**wechatpay_forge.SUB_MERCHANT, "sub_mchid": _OTHER_SUB},
            "wx_pubkey.pkcs8.pem",
            tenant="next door",
        ),
        _alipay("alipay-authorised", _ALIPAY_PARTNER),
        _alipay(
            "alipay-other-authorised",
            {
                **_ALIPAY_PARTNER,
                "app_auth_token": alipay_forge.AUTHORISED["app_auth_token"][::-1],
                "seller_id": "2088000000000002",
            },
            tenant="next door",
        ),
    )
}
EVERYBODY = TILLS | NEIGHBOURS | PARTNERS

# What a network hears when it is to send the message again.
REFUSALS = {
    "alipay": (200, b"failure"),
    "wechatpay": (401, '{"code":"FAIL","message":"失败"}'.encode()),
    "unionpay": (400, b"fail"),
}

# What must never stand in a log: who paid, and what our side keeps secret.
CANARIES = (
    "2088101117955611",
    "159****5620",
    "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    "6216***********0018",
    wechatpay_forge.API_KEY,
    wechatpay_forge.APP_SECRET,
    *(alipay_forge.KEYS[name].splitlines()[5] for name in ("app.pkcs8.pem", "app.pkcs1.pem")),
    wechatpay_forge.KEYS["wx_mch.pkcs8.pem"].splitlines()[5],
    unionpay_forge.KEYS["up_mer.pkcs8.pem"].splitlines()[5],
)


@dataclass(frozen=True)
class Order:
    """An open attempt of ``price``, made at ``till`` through the account in ``account_id``."""

    till: Till
    account_id: str
    charge_id: str
    number: str
    price: Money

    @property
    def ref(self) -> str:
        """The network's own number of the payment; another for each order."""
        return f"42{self.number[-26:]}"


class Corpus(Protocol):
    """What a network's module of forgeries offers; each table goes from a test's id to messages."""

    FORGED: Mapping[str, Any]  # believed by nobody: refused, and nothing moves
    MISMATCHED: Mapping[str, Any]  # genuine, about money that does not fit: never pays, is kept
    TRUE: Mapping[str, Any]  # genuine in odd clothes: pays what it says, once

    def genuine(self, order: Order) -> Inbound: ...


@dataclass(frozen=True)
class Heard:
    """What the network was answered, and what it cost."""

    status: int
    body: bytes
    cpu_s: float

    def accepted_by(self, provider: str) -> bool:
        """Whether this network takes the answer for "heard"."""
        if provider == "alipay":
            return self.status == 200 and self.body == b"success"
        return self.status == 200 or (provider == "wechatpay" and self.status == 204)


class Line:
    """The way out: WeChat Pay answers an order while the shop is open, then nobody answers anything."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: list[HttpAnswer] = []

    def send(self, method: str, url: str, **_: Any) -> HttpAnswer:
        self.calls.append(f"{method} {url}")
        if not self.answers:
            raise ProviderUnreachable("no answer")
        return self.answers.pop()


@dataclass
class Town:
    """The application, everybody's accounts and an open order at each till."""

    app: Flask
    line: Line
    said: io.StringIO
    now: datetime = NOW
    account_ids: dict[str, str] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    merchant_ids: dict[str, str] = field(default_factory=dict)
    _read: int = 0
    writes: list[str] = field(default_factory=list)  # every statement that changes something

    def settle_in(self) -> None:
        for tenant in ("ours", "next door"):
            self.merchant_ids[tenant], _ = people.add_merchant(tenant, email=f"{tenant[:4]}@shop.example")
        for till in EVERYBODY.values():
            self.account_ids[till.name] = accounts.add_account(
                self.merchant_ids[till.tenant],
                till.provider,
                livemode=till.livemode,
                name=till.name,
                settings=till.settings,
            )
            self.orders[till.name] = self.open_order(till)

    def open_order(self, till: Till, minor: int = 1250) -> Order:
        """A fresh charge with an attempt that waits for its money."""
        account = accounts.open_account(self.account_ids[till.name])
        new = NewCharge(Money(minor, "CNY"), "一杯拿铁", expires_in_s=7200)
        charge = lifecycle.open_charge(account.merchant_id, livemode=till.livemode, new=new)
        if till.provider == "wechatpay":
            key = wechatpay_forge.private_key(till.signer)
            serial = serial_of(till)
            self.line.answers = [
                wechatpay_forge.answer({"code_url": wechatpay_forge.CODE_URL}, 200, serial, key=key)
            ]
        scene = Scene.DESKTOP if till.provider == "wechatpay" else Scene.MOBILE
        attempts.start_attempt(charge.id, account, Payer(scene, "https://pay.example.com/C/x?back=1"))
        self.line.calls.clear()
        [attempt] = rows_of(Attempt, charge_id=charge.id)
        return Order(till, account.id, charge.id, attempt.out_trade_no, Money(minor, "CNY"))

    def post(self, account_id: str, sent: Inbound, method: str = "POST") -> Heard:
        """Send a message as a network would, and take the time that this thread works on it."""
        client = self.app.test_client()
        gc.disable()  # the tests' own garbage is not what is measured
        began_s = time.thread_time()
        answer = client.open(
            f"/callbacks/{account_id}",
            method=method,
            query_string=sent.query,
            data=sent.body,
            headers=list(sent.headers.items()),
        )
        cpu_s = time.thread_time() - began_s
        gc.enable()
        return Heard(answer.status_code, answer.data, cpu_s)

    def books(self) -> dict[str, Sequence[Any]]:
        """Everything that a message could have changed."""
        found = {}
        with reading() as connection:
            for model in (Charge, Attempt, Refund, Event, Incident, Callback):
                table = model.__table__
                rows = connection.execute(sa.select(*table.c).order_by(*table.primary_key.columns))
                found[model.__name__] = [tuple(row) for row in rows]
        return found

    def charge(self, order: Order) -> Any:
        [row] = rows_of(Charge, id=order.charge_id)
        return row

    def attempt(self, order: Order) -> Any:
        [row] = rows_of(Attempt, account_id=order.account_id, out_trade_no=order.number)
        return row

    def leaks(self) -> list[str]:
        """The canaries in what was logged since the last look."""
        fresh = self.said.getvalue()[self._read :]
        self._read += len(fresh)
        return [canary for canary in CANARIES if canary in fresh]

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        self.now = moment
        try:
            yield
        finally:
            self.now = NOW


def serial_of(till: Till) -> str:
    """The name under which WeChat Pay signs for an account."""
    if "public_key_id" in till.settings:
        return wechatpay_forge.PUBLIC_KEY_ID
    return wechatpay_forge.PLATFORM_SERIAL


@contextmanager
def town_in(app: Flask, monkeypatch: Any) -> Iterator[Town]:
    """Settle the town in a running application; its log goes into ``said``."""
    line, said = Line(), io.StringIO()
    app.extensions["mafu.runtime"] = replace(app.extensions["mafu.runtime"], outbound=line)
    [handler] = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    spoke_to = handler.setStream(said)
    town = Town(app, line, said)

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "BEGIN", "PRAGMA")):
            town.writes.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        monkeypatch.setattr(clock, "now", lambda: town.now)
        town.settle_in()
        yield town
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
        handler.setStream(spoke_to)
