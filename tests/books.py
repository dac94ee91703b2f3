"""Short ways for tests to put things into the books and to read them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app import clock
from app.charges import attempts, lifecycle, refunds
from app.charges.attempts import Payer
from app.charges.commands import NewCharge, NewRefund
from app.charges.models import Charge, Refund
from app.charges.settle import settle
from app.db import reading, transaction
from app.ids import new_id
from app.merchants import accounts, people
from app.merchants.actor import SERVER, Actor
from app.merchants.models import RequestLog
from app.money import Money
from app.providers.base import NextStep, Outcome, PaymentResult, RefundResult, Scene
from app.webhooks.models import Event
from tests.conftest import Shop
from tests.far_side import AlipayFarSide
from tests.providers import alipay_forge

PRICE = Money(1250, "CNY")


def make_charge(
    shop: Shop, *, minor: int = 1250, life: timedelta = timedelta(hours=2), **more: Any
) -> sa.Row[Any]:
    """A pending charge."""
    new = NewCharge(Money(minor, "CNY"), "一杯拿铁", expires_in_s=int(life.total_seconds()), **more)
    return lifecycle.open_charge(shop.id, livemode=False, new=new)


def start(shop: Shop, charge_id: str, scene: str = "desktop") -> NextStep:
    """What the checkout does when the shopper presses Pay."""
    payer = Payer(Scene(scene), "https://pay.example.com/C/x?back=1")
    return attempts.start_attempt(charge_id, accounts.open_account(shop.account_id), payer).step


def make_attempt(shop: Shop, charge_id: str, scene: str = "desktop") -> str:
    """An open attempt's out_trade_no."""
    start(shop, charge_id, scene)
    return attempts.list_attempts(shop.id, charge_id)[-1].out_trade_no


def pay(charge_id: str, far_side: AlipayFarSide | None = None) -> sa.Row[Any]:
    """Pay a charge of anybody's, in either mode: at the far side too, if there is one, and in the books."""
    charge = row_of(Charge, id=charge_id)
    mine = accounts.list_accounts(charge.merchant_id, livemode=charge.livemode)
    account_id = mine[0].id if mine else _add_account(charge)
    account = accounts.open_account(account_id)
    attempts.start_attempt(charge.id, account, Payer(Scene.DESKTOP, "https://pay.example.com/C/x?back=1"))
    number = attempts.list_attempts(charge.merchant_id, charge.id)[-1].out_trade_no
    if far_side is not None:
        far_side.pay(number)
    received = Money(charge.amount_minor, charge.currency)
    with transaction() as tx:
        settle(tx, account_id, PaymentResult(number, Outcome.SUCCEEDED, received, f"T{number}"))
    return row_of(Charge, id=charge_id)


def make_paid(shop: Shop, far_side: AlipayFarSide | None = None, *, minor: int = 1250) -> sa.Row[Any]:
    """A charge that is paid."""
    return pay(make_charge(shop, minor=minor).id, far_side)


def refund(shop: Shop, charge_id: str, minor: int | None = None, **more: Any) -> sa.Row[Any]:
    """A refund that the merchant asked for, not sent yet."""
    with transaction() as tx:
        return refunds.create_refund(tx, shop.id, NewRefund(charge_id, minor, **more))


def end_refund(shop: Shop, refund_id: str, outcome: Outcome, word: str = "WORD", **more: bool) -> None:
    """The provider says what became of a refund."""
    number = row_of(Refund, id=refund_id).out_refund_no
    with transaction() as tx:
        refunds.settle_refund(
            tx, shop.account_id, RefundResult("", number, outcome, provider_status=word, **more)
        )


def _add_account(charge: sa.Row[Any]) -> str:
    return accounts.add_account(
        charge.merchant_id, "alipay", livemode=charge.livemode, name="支付宝", settings=alipay_forge.KEY_MODE
    )


def charge_of(shop: Shop, charge_id: str) -> sa.Row[Any]:
    return lifecycle.find(shop.id, charge_id)


def rows_of(model: type, **conditions: Any) -> list[sa.Row[Any]]:
    """Rows of a table with these values, by key order."""
    table = model.__table__
    query = sa.select(*table.c).where(*[table.c[name] == value for name, value in conditions.items()])
    with reading() as connection:
        return list(connection.execute(query.order_by(*table.primary_key.columns)))


def row_of(model: type, **conditions: Any) -> sa.Row[Any]:
    """The only such row."""
    [row] = rows_of(model, **conditions)
    return row


def event_types(object_id: str) -> list[str]:
    """What was said of an object, in order of its sequence, which must have no gap."""
    rows = sorted(rows_of(Event, object_id=object_id), key=lambda row: row.sequence)
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    return [row.type for row in rows]


def later(**span: float) -> timedelta:
    """``later(hours=3)`` from now, as a moment."""
    return clock.now() + timedelta(**span)


def log_call(merchant_id: str, key_id: str, text: str = "", *, livemode: bool = False) -> str:
    """A line of the request log, without a call; its id."""
    row = {
        **dict.fromkeys(("address", "method", "route", "answer_body"), ""),
        "merchant_id": merchant_id,
        "id": new_id("req"),
        "livemode": livemode,
        "key_id": key_id,
        "path": f"/v1/{text}",
        "status": 400,
        "duration_ms": 1,
        "request_body": text,
        "created_at": clock.now(),
    }
    with transaction() as tx:
        tx.execute(sa.insert(RequestLog.__table__), row)
    return str(row["id"])


def set_password(shop: Shop, password: str, *, by: Actor = SERVER) -> None:
    """The owner's new password, as whoever has a link sets it."""
    password_hash = people.hash_password(password)
    with transaction() as tx:
        people.store_password(tx, shop.id, shop.user_id, password_hash, by)
