"""``flask trade``: two weeks of business for the demo's shop, so that every page has something to show.

What happened is written through the services that write it in earnest, each deed at its time; the networks
hear nothing of it, so nothing waits for them.  The same day always brings the same trade.
"""

from __future__ import annotations

import io
import logging
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import with_appcontext
from PIL import Image, ImageDraw

from app import clock, runtime
from app.charges import attempts, lifecycle, refunds
from app.charges.commands import NewCharge, NewRefund
from app.charges.settle import settle
from app.cli import demo, output
from app.clock import BEIJING
from app.codes import codes, scan, search
from app.codes.search import CodeFilter
from app.codes.terms import LabelKind, Terms
from app.db import transaction
from app.errors import Conflict
from app.merchants import accounts, brand, people, stores, team
from app.merchants.accounts import OpenAccount
from app.merchants.actor import SERVER
from app.merchants.sessions import Browser
from app.merchants.stores import StoreTerms
from app.merchants.team import NewPerson
from app.money import Money
from app.providers.base import Outcome, PaymentResult, RefundResult, Scene

DAYS = 14
ACCENT = "#7a3b12"  # coffee
TABLES = 12
_PLACE = StoreTerms("武康路店", "上海市武康路 378 号")
_TEAM = (("li@demo.example", "李晓晨", "cashier"), ("wang@demo.example", "王敏", "manager"))
# In fen, as a coffee shop asks.
_MENU = {
    "拿铁": 2200,
    "美式": 1800,
    "卡布奇诺": 2400,
    "手冲 · 耶加雪菲": 3800,
    "可颂": 1600,
    "巴斯克蛋糕": 3200,
    "气泡美式": 2600,
}
# Sales of an ordinary day by the hour at which they begin, in Beijing.
_HOURS = {8: 4, 9: 5, 10: 3, 11: 2, 12: 4, 13: 4, 14: 3, 15: 4, 16: 3, 17: 2, 18: 1, 19: 1}
_SHARES = {"alipay": 44, "wechatpay": 46, "unionpay": 10}


@dataclass(frozen=True, slots=True)
class _Shop:
    merchant_id: str
    signs: tuple[sa.Row[Any], ...]
    wallets: dict[str, OpenAccount]


@click.command("trade")
@click.option("--days", default=DAYS, show_default=True, type=click.IntRange(1, 60), help="How far back.")
@with_appcontext
def trade_command(days: int) -> None:
    """Fill the demo's shop with a store, printed codes, people and days of payments.

    In demo mode only, once: start the demo first, with `make run`.
    """
    if not runtime.settings().is_demo:
        raise click.ClickException("this is for the demo: here are real books")
    owner = people.find_user(demo.EMAIL)
    if owner is None:
        raise click.ClickException("there is no demo in this data folder: start it with make run")
    if "MAFU_LOG_LEVEL" not in os.environ:
        logging.getLogger().setLevel(logging.WARNING)  # five hundred lines that nobody reads
    try:
        count = fill(owner.merchant_id, days)
    except Conflict as refusal:
        raise click.ClickException(refusal.detail) from None
    output.say(f"{count} payments in {days} days. Sign in and look around.")


def fill(merchant_id: str, days: int = DAYS) -> int:
    """Move in, then trade until now; how many payments there were.

    Raises Conflict if the shop has printed codes already.
    """
    now = clock.now()
    if search.list_codes(merchant_id, CodeFilter(limit=1), livemode=False)[0]:
        raise Conflict("the shop has printed codes, so it has been filled already")
    first = now.astimezone(BEIJING).date() - timedelta(days=days - 1)
    with _at(_moment(first, 7, 0)):
        shop = _move_in(merchant_id)
    count = 0
    for ago in reversed(range(days)):
        day = now.astimezone(BEIJING).date() - timedelta(days=ago)
        for at, dice in _sales(day):
            if at < now - timedelta(minutes=2):
                with _at(at):
                    _sell(shop, dice)
                count += 1
    current_app.extensions["mafu.tally"].write()
    return count


def _move_in(merchant_id: str) -> _Shop:
    brand.choose_accent(merchant_id, ACCENT)
    brand.choose_logo(merchant_id, _sunrise())
    for email, name, role in _TEAM:
        token = team.invite(merchant_id, NewPerson.of(email, name, role), by=SERVER)
        team.join(token, secrets.token_urlsafe(16), Browser("127.0.0.1", "Chrome"))
    with transaction() as tx:
        store = stores.add_store(tx, merchant_id, _PLACE, livemode=False).id
        counter = Terms(
            "前台收款",
            suggested=(1800, 2200, 3800),
            store_id=store,
            label_kind=LabelKind.TERMINAL,
            label_text="1",
        )
        latte = Terms("拿铁 Latte", amount_minor=_MENU["拿铁"], store_id=store)
        window = Terms("外卖窗口", store_id=store, inactive_zh="冬季暂停，请到店内付款")
        signs = [
            codes.create_code(tx, merchant_id, terms, livemode=False) for terms in (counter, window, latte)
        ]
        labels = [str(number) for number in range(1, TABLES + 1)]
        table = Terms("堂食", store_id=store, label_kind=LabelKind.TABLE, label_text=labels[0])
        signs += codes.create_series(
            tx, merchant_id, table, labels, livemode=False, series=f"1–{TABLES} 号桌"
        )
    codes.set_active(merchant_id, signs.pop(1).id, livemode=False, active=False)
    rows = accounts.list_accounts(merchant_id, livemode=False)
    return _Shop(merchant_id, tuple(signs), {row.provider: accounts.open_account(row.id) for row in rows})


def _sales(day: date) -> Iterator[tuple[datetime, random.Random]]:
    """The day's moments in their order, each with dice of its own.  Pure."""
    dice = random.Random(day.toordinal())
    busy = 1.5 if day.weekday() >= 5 else dice.uniform(0.8, 1.15)
    moments = [
        _moment(day, hour, dice.randrange(3600))
        for hour, usual in _HOURS.items()
        for _ in range(round(usual * busy))
    ]
    for at in sorted(moments):
        yield at, random.Random(at.timestamp())


def _sell(shop: _Shop, dice: random.Random) -> None:
    """Somebody scans a sign, or is asked at the till; nearly everybody pays, and few want it back."""
    items = dice.choices(list(_MENU), k=dice.choice((1, 1, 1, 2, 2, 3)))
    amount = Money(sum([_MENU[item] for item in items]), "CNY")
    sign = dice.choices((*shop.signs, None), weights=(30, 12, *[4] * TABLES, 20))[0]
    wallets = {code: share for code, share in _SHARES.items() if code in shop.wallets}
    account = shop.wallets[dice.choices(list(wallets), weights=list(wallets.values()))[0]]
    if sign is not None:
        current_app.extensions["mafu.tally"].add(sign.merchant_id, sign.id)
        if sign.amount_minor is not None:
            amount = Money(sign.amount_minor, "CNY")
    with transaction() as tx:
        if sign is not None:
            charge = scan.begin_charge(tx, sign, amount)
        else:
            new = NewCharge(amount, "、".join(items))
            charge = lifecycle.create_charge(tx, shop.merchant_id, livemode=False, new=new)
        _pay(tx, charge, account, amount)
        if dice.random() < 0.02:
            _give_back(tx, shop.merchant_id, charge.id, account)


def _pay(tx: sa.Connection, charge: sa.Row[Any], account: OpenAccount, amount: Money) -> None:
    locked, _ = attempts.lock_payable(tx, charge.id, account)
    attempt = attempts.record(tx, locked, account, scene=Scene.MOBILE, expires_at=locked.expires_at)
    if attempt is not None:
        number = attempt.out_trade_no
        settle(tx, account.id, PaymentResult(number, Outcome.SUCCEEDED, amount, f"demo{number}"))


def _give_back(tx: sa.Connection, merchant_id: str, charge_id: str, account: OpenAccount) -> None:
    refund = refunds.create_refund(tx, merchant_id, NewRefund(charge_id, reason="做错了"))
    refunds.settle_refund(
        tx, account.id, RefundResult("", refund.out_refund_no, Outcome.SUCCEEDED, provider_status="SUCCESS")
    )


def _moment(day: date, hour: int, second: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=BEIJING).astimezone(
        clock.now().tzinfo
    ) + timedelta(seconds=second)


@contextmanager
def _at(moment: datetime) -> Iterator[None]:
    """Let it be that time in this process, which does nothing else meanwhile."""
    real = clock.now
    clock.now = lambda: moment
    try:
        yield
    finally:
        clock.now = real


def _sunrise() -> bytes:
    """The shop's logo, a sun over the rim of a cup: drawn here, so that it is nobody's."""
    side = 480
    picture = Image.new("RGB", (side, side), "#fff6ea")
    draw = ImageDraw.Draw(picture)
    for turn in range(9):
        angle = 180 + turn * 22.5
        draw.arc((40, 60, 440, 460), angle - 3, angle + 3, "#e8912d", width=46)
    draw.pieslice((120, 140, 360, 380), 180, 360, "#e8912d")
    draw.pieslice((90, 110, 390, 450), 0, 180, ACCENT)
    draw.rectangle((70, 272, 410, 296), ACCENT)
    draw.arc((350, 270, 450, 370), 270, 90, ACCENT, width=24)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
