"""A busy month of one shop, and trials of risk rules on it: a person waits for what they say.

Nobody's address and no wallet's name for a payer is in it, only digests as the books keep them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from flask import Flask

from app import clock
from app.charges.models import Attempt, Charge
from app.charges.rehearsal import DAYS, rehearse
from app.db import db, insert_many, table_of, transaction
from app.merchants.risk import Action, On, Rule, RuleKind, Terms
from tests.conftest import Shop
from tests.many import pair

CHUNK = 2000
PAYERS, ADDRESSES, CODES = 30_000, 4_000, 200
# Of 100,000 attempts most of them stop some, and each lets by far most of them go.
RULES = {
    "day total": Rule(RuleKind.DAY_TOTAL, Action.BLOCK, Terms(max_sum_minor=70_000_000)),
    "a code's day total": Rule(RuleKind.CODE_DAY_TOTAL, Action.BLOCK, Terms(max_count=15)),
    "a payer's day total": Rule(RuleKind.PAYER_DAY_TOTAL, Action.BLOCK, Terms(max_count=2)),
    "pace of an address": Rule(RuleKind.ADDRESS_PACE, Action.BLOCK, Terms(max_count=3, window_s=86400)),
    "list of orders": Rule(
        RuleKind.BLOCK_LIST, Action.BLOCK, Terms(on=On.ORDER, entries=("NO-*77", "TEST-*"))
    ),
}


def live_through_a_month(shop: Shop, count: int) -> None:
    """Make ``count`` attempts, each of its own charge and nine in ten paid, in the last DAYS days."""
    dice, end, step = Random(7), clock.now(), timedelta(days=DAYS) / count
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        pairs = [_pair(shop, number, end - step * (count - number), dice) for number in numbers]
        with transaction() as tx:
            insert_many(tx, table_of(Charge), [charge for charge, _ in pairs])
            insert_many(tx, table_of(Attempt), [attempt for _, attempt in pairs])
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if db.engine.dialect.name == "sqlite" else "VACUUM ANALYZE")


def trials(app: Flask, shop: Shop) -> Iterator[tuple[str, Callable[[], float]]]:
    """Name of a trial, and what makes it and says how many milliseconds that took."""
    for name, rule in RULES.items():
        yield f"trial: {name}", partial(_time, app, shop, rule)


def _time(app: Flask, shop: Shop, rule: Rule) -> float:
    with app.app_context():
        start = time.perf_counter()
        found = rehearse(shop.id, rule, livemode=False)
        took_ms = (time.perf_counter() - start) * 1000
    assert found.judged
    assert found.is_whole
    return took_ms


def _pair(shop: Shop, number: int, at: Any, dice: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    charge, attempt = pair(shop, 0, at, None)
    assert attempt is not None
    amount_minor = 100 + number * 37 % 50_000
    charge |= {
        "merchant_order_no": f"NO-{number:07}",
        "amount_minor": amount_minor,
        "paid_minor": amount_minor,
        "amount_by_shopper": True,
        "qr_code_id": f"qr_{number % CODES}",
    }
    attempt |= {
        "provider_ref": f"2026000022001{number:015}",
        "amount_minor": amount_minor,
        "received_minor": amount_minor,
        "credited_minor": amount_minor,
        "payer_key": f"{dice.randrange(PAYERS):064x}",
        "address_key": f"{dice.randrange(ADDRESSES):032x}",
    }
    if number % 10 == 0:
        charge |= dict.fromkeys(("paid_at", "paid_minor", "paid_attempt_id", "provider")) | {
            "state": "expired"
        }
        attempt |= dict.fromkeys(("received_minor", "received_currency", "provider_ref"))
        attempt |= {
            "state": "closed",
            "settles": False,
            "credited_minor": 0,
            "finished_at": at + timedelta(hours=2),
        }
    return charge, attempt
