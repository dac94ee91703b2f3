"""A shop with very many charges, as years of trade would leave them: written straight into the tables.

They are spread evenly over DAYS days up to now.  Of twenty charges fifteen are paid (with an attempt),
three expired, one canceled, one waiting; every fourth was begun at a printed code, in one of three stores.
One in ten is a neighbour's, so that no index may forget whose they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app import clock
from app.charges.models import Attempt, Charge
from app.codes import codes
from app.codes.terms import Terms
from app.db import db, insert_many, table_of, transaction
from app.ids import new_id
from app.merchants import stores
from app.merchants.stores import StoreTerms
from tests.conftest import Shop

DAYS = 90
CHUNK = 2000
CODES = 20
_STATES = ["paid"] * 15 + ["expired"] * 3 + ["canceled", "pending"]
_PROVIDERS = ("alipay", "alipay", "wechatpay", "unionpay", "wechatpay")


@dataclass(frozen=True)
class Many:
    """What to look for: a paid charge from the middle, its numbers, and the code where it was begun."""

    charge_id: str
    order_no: str
    out_trade_no: str
    provider_ref: str
    code_id: str
    letters: str
    store_id: str


def fill(shop: Shop, neighbour: Shop, count: int) -> Many:
    """Make ``count`` charges in test mode, and let the database look at what it has."""
    with transaction() as tx:
        places = [
            stores.add_store(tx, shop.id, StoreTerms(f"门店 {number}"), livemode=False).id
            for number in range(3)
        ]
        signs = [
            codes.create_code(tx, shop.id, Terms(f"桌 {number}", store_id=places[number % 3]), livemode=False)
            for number in range(CODES)
        ]
    found: Many | None = None
    end, step = clock.now(), timedelta(days=DAYS) / count
    for first in range(0, count, CHUNK):
        charges: list[dict[str, Any]] = []
        attempts: list[dict[str, Any]] = []
        for number in range(first, min(first + CHUNK, count)):
            owner = neighbour if number % 10 == 9 else shop
            sign = signs[number % CODES] if number % 4 == 0 and owner is shop else None
            charge, attempt = pair(owner, number, end - step * (count - number), sign)
            charges.append(charge)
            attempts += [attempt] if attempt else []
            if sign is not None and attempt and number >= count // 2 and found is None:
                found = Many(
                    *(charge["id"], charge["merchant_order_no"], attempt["out_trade_no"]),
                    *(attempt["provider_ref"], sign.id, sign.code, sign.store_id),
                )
        with transaction() as tx:
            insert_many(tx, table_of(Charge), charges)
            insert_many(tx, table_of(Attempt), attempts)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # As PostgreSQL does by itself once a table has grown; an index alone then tells what is settled.
        connection.exec_driver_sql("ANALYZE" if db.engine.dialect.name == "sqlite" else "VACUUM ANALYZE")
    assert found is not None
    return found


def pair(owner: Shop, number: int, at: Any, sign: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A charge, and the attempt that paid it, if it is paid."""
    charge_id, attempt_id, state = new_id("ch"), new_id("at"), _STATES[number * 7 % 20]
    amount_minor = 100 + number * 37 % 5000 * 10
    is_paid = state == "paid"
    charge = {
        "merchant_id": owner.id,
        "id": charge_id,
        "livemode": False,
        "state": state,
        "amount_minor": amount_minor,
        "currency": "CNY",
        "description": f"一杯拿铁 {number}",
        "merchant_order_no": f"NO-{number:07}",
        "metadata": {},
        "qr_code_id": sign.id if sign else None,
        "store_id": sign.store_id if sign else None,
        "created_at": at,
        "expires_at": at + timedelta(hours=2),
        "paid_at": at + timedelta(seconds=40) if is_paid else None,
        "closed_at": at + timedelta(hours=2) if state in ("expired", "canceled") else None,
        "paid_late": False,
        "paid_attempt_id": attempt_id if is_paid else None,
        "provider": _PROVIDERS[number % 5] if is_paid else None,
        "paid_minor": amount_minor if is_paid else None,
        "refunded_minor": 0,
        "sequence": 2,
    }
    if not is_paid:
        return charge, None
    return charge, {
        "merchant_id": owner.id,
        "id": attempt_id,
        "charge_id": charge_id,
        "account_id": owner.account_id,
        "provider": charge["provider"],
        "scene": "mobile",
        "out_trade_no": attempt_id.partition("_")[2].upper(),
        "provider_ref": f"20260000220014{number:014}",
        "state": "succeeded",
        "settles": True,
        "amount_minor": amount_minor,
        "currency": "CNY",
        "received_minor": amount_minor,
        "received_currency": "CNY",
        "credited_minor": amount_minor,
        "outside_minor": 0,
        "refunded_minor": 0,
        "next_step": None,
        "started_at": at,
        "expires_at": at + timedelta(hours=2),
        "finished_at": at + timedelta(seconds=40),
    }
