"""The same request of a shop, many times in the same moment: a double click, a retry, a crowd."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from app.charges.models import Charge, Refund
from app.epay import orders, refunds, switch, wire
from app.epay.models import EpayOrder
from app.epay.switch import Front
from app.errors import Conflict
from app.money import Money
from tests import books
from tests.conftest import Shop

CROWD = 8


def at_once(app: Flask, work: Any, *arguments: Any) -> list[Any]:
    """What came of it, in each of so many threads: an answer, or an error of ours."""

    def run(number: int) -> Any:
        with app.app_context():
            try:
                return work(*[each(number) if callable(each) else each for each in arguments])
            except Conflict as error:
                return error.code

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(run, range(CROWD)))


def asked(**more: str) -> wire.Asked:
    fields = {"out_trade_no": "A1", "money": "12.50", "name": "月卡", "notify_url": "http://127.0.0.1:9/n"}
    return wire.read_order({**fields, "return_url": "https://shop.example.com/", **more})


def test_one_order_asked_for_at_once_is_one_charge(app: Flask, front: Front) -> None:
    made = at_once(app, orders.place, front, asked())
    assert len({charge.id for charge in made}) == 1
    assert len(books.rows_of(Charge)) == len(books.rows_of(EpayOrder)) == 1


def test_of_two_contents_at_once_one_is_taken_and_the_other_refused(app: Flask, front: Front) -> None:
    made = at_once(app, orders.place, front, lambda number: asked(param=f"user-{number % 2}"))
    charges = {one.id for one in made if not isinstance(one, str)}
    assert len(charges) == 1
    assert made.count("order_no_taken") == CROWD // 2


def test_one_refund_asked_for_at_once_is_one_refund(app: Flask, front: Front, merchant: Shop) -> None:
    switch.allow_refunds(merchant.id, True, livemode=False)
    row = switch.find_row(merchant.id, livemode=False)
    assert row is not None
    open_front = switch.front_of(row)
    charge = orders.place(front, asked())
    books.pay(charge.id)
    made = at_once(app, refunds.ask, open_front, charge.id, Money(200, "CNY"), "")
    assert len({refund.id for refund in made}) == 1
    assert [refund.amount_minor for refund in books.rows_of(Refund)] == [200]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_switch_pressed_at_once_has_one_key(app: Flask, merchant: Shop) -> None:
    keys = at_once(app, lambda: switch.enable(merchant.id, livemode=False))
    assert len([key for key in keys if key is not None]) == 1
