"""Whoever ran an earlier version loses nothing: rows as it wrote them, under the tables of today."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

from app import clock
from app.charges import proving
from app.charges.models import Charge
from app.db import db, snapshot
from app.ledger.accounts import balance_of
from app.ledger.models import Entry
from app.merchants import accounts, people
from app.providers.base import Outcome
from app.runtime import vault
from app.webhooks.endpoints import secret_place
from app.webhooks.models import WebhookEndpoint
from tests import books
from tests.conftest import Shop, add_shop
from tests.dashboard.person import Person
from tests.providers import alipay_forge
from tests.review.rounds import hear

FOLDER = str(Path(__file__).parents[1] / "migrations")
Rows = dict[str, list[dict[str, Any]]]


@pytest.mark.parametrize("revision", ["0001", "0005", "0008", "0012"])
def test_what_an_earlier_version_wrote_is_kept_and_goes_on(app: Flask, revision: str):
    shop = add_shop()
    written = fill(shop, revision)
    flask_migrate.upgrade(directory=FOLDER)
    for table, rows in written.items():
        assert kept(table, rows) == rows, table
    assert [fault for part in proving.check_all(snapshot) for fault in part.faults] == []
    assert balances(shop) == {
        f"clearing:{shop.account_id}": 3 * 1250 + 1000 - 300,
        "sales": 2 * 1250,
        "refunds": 300 + 400,
        "refunds_payable": 400 + 1250,
        "unclaimed": 1000,
    }

    owner = Person(app)
    assert owner.sign_in(shop).status_code == 303
    pages = ("/", "/charges", "/refunds", "/unclaimed", "/ledger", "/reconciliation", "/webhooks", "/codes")
    for page in (*pages, f"/charges/{named('ch', 'paid')}"):
        assert owner.get(page).status_code == 200, page
    endpoint = books.row_of(WebhookEndpoint, id="we_1")
    assert vault().unseal(endpoint.sealed_secret, secret_place("we_1")) == "a secret"
    listed = app.test_client().get("/v1/charges", headers=shop.headers).get_json()["data"]
    assert {each["id"]: each["status"] for each in listed} == {
        **{named("ch", name): "paid" for name in ("paid", "twice")},
        **{named("ch", name): "pending" for name in ("open", "tried", "wrong")},
    }

    books.end_refund(shop, named("re", "going"), Outcome.SUCCEEDED)
    books.refund(shop, named("ch", "paid"), 550)
    assert books.row_of(Charge, id=named("ch", "paid")).refunded_minor == 1250
    books.pay(named("ch", "open"))
    hear(shop.account_id, "NOtried")
    for name in ("open", "tried"):
        assert books.row_of(Charge, id=named("ch", name)).state == "paid"
    assert [fault for part in proving.check_all(snapshot) for fault in part.faults] == []


def fill(shop: Shop, revision: str) -> Rows:
    """A database of this revision, with what its version would have written: that."""
    rows = rows_of(shop)
    flask_migrate.downgrade(directory=FOLDER, revision="base")
    flask_migrate.upgrade(directory=FOLDER, revision=revision)
    written: Rows = {}
    tables = sa.MetaData()
    tables.reflect(db.engine)
    with db.engine.begin() as connection:
        for table in tables.sorted_tables:
            for row in rows.get(table.name, []):
                known = {name: value for name, value in row.items() if name in table.c}
                connection.execute(sa.insert(table), known)
                written.setdefault(table.name, []).append(known)
    assert written.keys() >= rows.keys() - {"stores", "qr_codes"}
    return written


def kept(table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each row what was written of it, as it is now."""
    now = sa.Table(table, sa.MetaData(), autoload_with=db.engine)
    with db.engine.connect() as connection:
        found = [
            {name: timed(value) for name, value in row._mapping.items()}
            for row in connection.execute(sa.select(now))
        ]
    return [next({name: each[name] for name in row} for each in found if is_same(each, row)) for row in rows]


def is_same(found: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    names = [name for name in ("id", "digest", "subject_id", "key") if name in row]
    return all(found[name] == row[name] for name in names)


def balances(shop: Shop) -> dict[str, int]:
    """What is on each account of the ledger, positive on the side on which it grows."""
    debits: Counter[str] = Counter()
    for entry in books.rows_of(Entry, merchant_id=shop.id):
        debits[entry.debit] += entry.amount_minor
        debits[entry.credit] -= entry.amount_minor
    return {name: balance_of(name, minor, 0) for name, minor in debits.items() if minor}


def rows_of(shop: Shop) -> Rows:
    """By table, everything that any version before the ledger knew to write; it left out what it had not."""
    begun = clock.now().replace(microsecond=0) - timedelta(hours=1)
    mine = {"merchant_id": shop.id}
    test = mine | {"livemode": False}
    made = {"created_at": begun}

    def charge(name: str, *, is_paid: bool = False, **more: Any) -> dict[str, Any]:
        facts = {"id": named("ch", name), "amount_minor": 1250, "currency": "CNY", "description": "拿铁"}
        facts |= {"metadata": {}, "paid_late": False, "refunded_minor": 0, "sequence": 1}
        facts |= {"expires_at": begun + timedelta(hours=9), "state": "pending"}
        paid = {"state": "paid", "paid_minor": 1250, "paid_at": begun, "closed_at": begun}
        paid |= {"provider": "alipay", "paid_attempt_id": named("at", name)}
        return test | made | facts | (paid if is_paid else {}) | more

    def attempt(name: str, of: str, received: int | None = None, **more: Any) -> dict[str, Any]:
        facts = {"id": named("at", name), "charge_id": named("ch", of), "out_trade_no": f"NO{name}"}
        money = {"amount_minor": 1250, "currency": "CNY", "received_minor": received, "refunded_minor": 0}
        later = {"received_currency": "CNY" if received else None, "outside_minor": 0}
        times = {"started_at": begun, "expires_at": begun + timedelta(hours=2)}
        ended = {"state": "succeeded", "finished_at": begun, "provider_ref": f"T{name}"}
        row = mine | facts | money | later | times | (ended if received else {"state": "started"})
        row |= {"account_id": shop.account_id, "provider": "alipay", "scene": "desktop"}
        row |= {"settles": False} | more
        return row | {"credited_minor": received if row["settles"] else 0}

    def refund(name: str, of: str, minor: int, state: str, **more: Any) -> dict[str, Any]:
        facts = {"id": named("re", name), "charge_id": named("ch", of), "attempt_id": named("at", of)}
        rest = {"out_refund_no": f"RE{name}", "amount_minor": minor, "currency": "CNY", "reason": "kalt"}
        rest |= {"automatic": False, "metadata": {}, "sequence": 1}
        ended = {"finished_at": begun if state == "succeeded" else None}
        return test | made | facts | rest | ended | {"state": state} | more

    terms = {"label_text": "", "currency": "CNY", "min_minor": 1, "max_minor": 10**6, "suggested": []}
    signs = {"inactive_zh": "", "inactive_en": "", "updated_at": begun, "scans": 3}
    return {
        "merchants": [{"id": shop.id, "name": "晨光", "language": "zh", **made}],
        "users": [
            mine
            | made
            | {"id": shop.user_id, "email": shop.email, "name": "王", "role": "owner"}
            | {"password_hash": people.hash_password(shop.password)}
        ],
        "api_keys": [
            test | made | {"id": "key_1", "name": "shop", "last4": shop.key[-4:], "digest": digest(shop.key)}
        ],
        "provider_accounts": [
            test
            | made
            | {"id": shop.account_id, "provider": "alipay", "name": "支付宝", "version": 1, "enabled": True}
            | {"sealed": vault().seal(json.dumps(alipay_forge.KEY_MODE), accounts.place_of(shop.account_id))}
        ],
        "stores": [test | made | {"id": "st_1", "name": "店", "address": "街"}],
        "qr_codes": [
            test | made | terms | signs | {"id": "qr_1", "code": "ABCDEFGH", "name": "桌", "store_id": "st_1"}
        ],
        "charges": [
            charge("paid", is_paid=True, refunded_minor=700, qr_code_id="qr_1"),
            charge("twice", is_paid=True),
            *(charge(name) for name in ("open", "tried", "wrong")),
        ],
        "attempts": [
            attempt("paid", "paid", 1250, settles=True, refunded_minor=700),
            attempt("twice", "twice", 1250, settles=True),
            attempt("again", "twice", 1250, refunded_minor=1250),
            attempt("wrong", "wrong", 1000, state="mismatched"),
            attempt("tried", "tried"),
        ],
        "refunds": [
            refund("gone", "paid", 300, "succeeded"),
            refund("going", "paid", 400, "reserved"),
            refund("again", "twice", 1250, "reserved", attempt_id=named("at", "again"), automatic=True),
        ],
        "webhook_endpoints": [
            test
            | made
            | {"id": "we_1", "url": "https://shop.example/hook", "description": "", "event_types": "*"}
            | {"sealed_secret": vault().seal("a secret", secret_place("we_1"))}
        ],
        "events": [
            test
            | made
            | {"id": "ev_1", "type": "charge.paid", "body": "{}"}
            | {"object_id": named("ch", "paid"), "sequence": 1}
        ],
        "deliveries": [
            mine
            | made
            | {"id": "dl_1", "event_id": "ev_1", "endpoint_id": "we_1", "state": "pending", "tries": 1}
        ],
        "delivery_attempts": [
            mine | {"id": "da_1", "delivery_id": "dl_1", "number": 1, "started_at": begun, "duration_ms": 9}
        ],
        "callbacks": [
            mine
            | {"id": "cb_1", "account_id": shop.account_id, "digest": "d", "out_trade_no": "NOpaid"}
            | {"outcome": "succeeded", "body": b"x", "first_at": begun, "last_at": begun, "times": 1}
        ],
        "incidents": [
            mine
            | made
            | {"id": "in_1", "kind": "amount_mismatched", "subject_id": named("at", "wrong"), "detail": "x"}
        ],
        "jobs": [
            mine | {"kind": kind, "subject_id": subject_id, "due_at": begun, "tries": 1}
            for kind, subject_id in (
                ("query", named("at", "tried")),
                ("expire", named("ch", "open")),
                ("refund", named("re", "going")),
                ("deliver", "dl_1"),
            )
        ],
    }


def named(kind: str, name: str) -> str:
    """An id that looks like one, always the same: ``("ch", "paid") -> "ch_01…"``."""
    return f"{kind}_01{digest(name)[:24]}"


def timed(value: Any) -> Any:
    """SQLite keeps a moment of UTC as text without its zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
