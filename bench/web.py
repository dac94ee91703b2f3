"""The paths of the web: create, open, poll, settle.  In process, through WSGI, on either database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import count, cycle
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from app.charges import attempts, lifecycle
from app.charges.attempts import Payer
from app.charges.commands import NewCharge
from app.charges.present import link_of
from app.merchants import accounts
from app.money import Money
from app.providers.base import Scene
from bench.floors import floor_app
from bench.house import PHONE, Environ, House, answer, request
from bench.rounds import Block, Contest, Target
from tests.providers import alipay_forge

CALLS = 10  # a round: short, so that both sides see the same neighbours
PRICE = Money(1250, "CNY")
TARGET = Target(due=0.5, then=0.8)


def contests(house: House, folder: Path) -> list[Contest]:
    """The four paths of one house."""
    tokens = _tokens(house)
    _, page = answer(house.app, _page(tokens[0][1]))
    floor = floor_app(house.url, house.shop.id, lambda: page, folder)
    ids, links = cycle([charge_id for charge_id, _ in tokens]), cycle([token for _, token in tokens])
    orders = count(1)
    return [
        Contest(
            "create charge",
            _block(floor, 201, lambda: _create(house, next(orders))),
            _block(house.app, 201, lambda: _create(house, next(orders))),
            TARGET,
        ),
        Contest(
            "open checkout",
            _block(floor, 200, lambda: _page(next(ids))),
            _block(house.app, 200, lambda: _page(next(links))),
            TARGET,
        ),
        Contest(
            "status poll",
            _block(floor, 200, lambda: _poll(next(ids))),
            _block(house.app, 200, lambda: _poll(next(links))),
            TARGET,
        ),
        Contest(
            "callback to settled",
            _block(floor, 200, lambda: _callback(house)),
            _block(house.app, 200, lambda: _callback(house)),
            TARGET,
        ),
    ]


def _block(app: Flask, status: int, make: Callable[[], Environ]) -> Block:
    """Requests made beforehand, sent one after the other, each answered as it should be."""

    def prepare() -> Callable[[], int]:
        environs = [make() for _ in range(CALLS)]
        return lambda: _send(app, status, environs)

    return prepare


def _send(app: Flask, status: int, environs: Sequence[Environ]) -> int:
    for environ in environs:
        said, body = answer(app, environ)
        if said != status or body == b"failure":
            raise AssertionError(f"{environ['PATH_INFO']} answers {said}: {body[:200]!r}")
    return len(environs)


def _create(house: House, number: int) -> Environ:
    body = {
        "amount": PRICE.minor,
        "currency": "cny",
        "description": "一杯拿铁",
        "merchant_order_no": f"20260115-{number}",
        "metadata": {"table": "7"},
        "return_url": "https://shop.example.com/thanks",
    }
    return request(
        "POST",
        "/v1/charges",
        body=json.dumps(body).encode(),
        Content_Type="application/json",
        Authorization=f"Bearer {house.shop.key}",
    )


def _page(name: str) -> Environ:
    return request("GET", f"/C/{name}", User_Agent=PHONE, Accept_Language="zh-CN,zh-Hans;q=0.9")


def _poll(name: str) -> Environ:
    return request("GET", f"/C/{name}/status", User_Agent=PHONE, Accept_Language="zh-CN,zh-Hans;q=0.9")


def _callback(house: House) -> Environ:
    """A genuine notification of a payment that was started and is not yet known to be paid."""
    with house.app.app_context():
        charge = lifecycle.open_charge(house.shop.id, livemode=False, new=NewCharge(PRICE, "一杯拿铁"))
        payer = Payer(Scene.MOBILE, "https://pay.example.com/C/X")  # a phone is sent on without a call
        attempts.start_attempt(charge.id, accounts.open_account(house.shop.account_id), payer)
        [attempt] = attempts.list_attempts(house.shop.id, charge.id)
    fields = alipay_forge.notice_fields(
        attempt.out_trade_no, "TRADE_SUCCESS", PRICE, trade_no=f"2024{attempt.out_trade_no}"
    )
    inbound = alipay_forge.notice(fields)
    return request(
        "POST",
        f"/callbacks/{house.shop.account_id}",
        body=inbound.body,
        Content_Type=inbound.headers["content-type"],
    )


def _tokens(house: House) -> list[tuple[str, str]]:
    """Charges that wait to be paid: id and token of each."""
    with house.app.app_context():
        charges = [
            lifecycle.open_charge(house.shop.id, livemode=False, new=NewCharge(PRICE, "一杯拿铁"))
            for _ in range(CALLS)
        ]
        return [(charge.id, urlsplit(link_of(charge)).path.rpartition("/")[2]) for charge in charges]
