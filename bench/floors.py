"""The floors of the web paths: the barest Flask and SQLAlchemy Core that leave the same rows behind.

Same tables, same engine options and durability as Mafu, each statement built once.  What is left out is
what makes Mafu Mafu: reading requests strictly, signing and checking links, guards, logs, templates.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flask import Flask, Response, request
from sqlalchemy import Engine

from app import db
from app.callbacks.models import Callback
from app.charges.models import Attempt, Charge
from app.db import insert_or_skip, table_of
from app.ids import new_id
from app.merchants.models import ApiKey, Merchant, ProviderAccount
from app.queue import Job
from app.webhooks.models import Event
from tests.providers import alipay_forge

KEYS, MERCHANTS, ACCOUNTS = table_of(ApiKey), table_of(Merchant), table_of(ProviderAccount)
CHARGES, ATTEMPTS, CALLBACKS = table_of(Charge), table_of(Attempt), table_of(Callback)
EVENTS, JOBS = table_of(Event), table_of(Job)

FIND_KEY = sa.select(KEYS.c.merchant_id, KEYS.c.livemode).where(KEYS.c.digest == sa.bindparam("digest"))
FIND_CHARGE = sa.select(
    CHARGES.c.id, CHARGES.c.state, CHARGES.c.amount_minor, CHARGES.c.currency, CHARGES.c.expires_at
).where(CHARGES.c.merchant_id == sa.bindparam("merchant_id"), CHARGES.c.id == sa.bindparam("charge_id"))
OPEN_CHARGE = (
    sa.select(*CHARGES.c, MERCHANTS.c.name)
    .join(MERCHANTS, MERCHANTS.c.id == CHARGES.c.merchant_id)
    .where(CHARGES.c.id == sa.bindparam("charge_id"))
)
INSERT_CHARGE, INSERT_EVENT = sa.insert(CHARGES), sa.insert(EVENTS)

FIND_ACCOUNT = sa.select(ACCOUNTS.c.merchant_id).where(ACCOUNTS.c.id == sa.bindparam("account_id"))
FIND_ATTEMPT = (
    sa.select(*ATTEMPTS.c)
    .where(
        ATTEMPTS.c.account_id == sa.bindparam("account_id"),
        ATTEMPTS.c.out_trade_no == sa.bindparam("out_trade_no"),
    )
    .with_for_update()
)
PAY_CHARGE = (
    sa.update(CHARGES)
    .where(
        CHARGES.c.merchant_id == sa.bindparam("of_merchant"),
        CHARGES.c.id == sa.bindparam("of_charge"),
        CHARGES.c.state.in_(["pending", "expired"]),
    )
    .values(
        state="paid",
        paid_at=sa.bindparam("now"),
        paid_attempt_id=sa.bindparam("attempt"),
        provider="alipay",
        sequence=CHARGES.c.sequence + 1,
    )
    .returning(*CHARGES.c)
)
FINISH_ATTEMPT = (
    sa.update(ATTEMPTS)
    .where(
        ATTEMPTS.c.merchant_id == sa.bindparam("of_merchant"),
        ATTEMPTS.c.id == sa.bindparam("of_attempt"),
        ATTEMPTS.c.state.in_(["started", "failed", "closed"]),
    )
    .values(
        state="succeeded",
        settles=True,
        provider_ref=sa.bindparam("ref"),
        received_minor=sa.bindparam("received"),
        finished_at=sa.bindparam("now"),
    )
)
DROP_JOBS = sa.delete(JOBS).where(
    JOBS.c.merchant_id == sa.bindparam("of_merchant"),
    JOBS.c.kind.in_(["query", "expire"]),
    JOBS.c.subject_id.in_(sa.bindparam("subjects", expanding=True)),
)


def floor_app(url: str, merchant_id: str, page: Callable[[], bytes], folder: Path) -> Flask:
    """An application with the four floors.  ``page`` gives the bytes of the checkout's page."""
    app = Flask("floor", root_path=str(folder))
    db.init_app(app, url)
    with app.app_context():
        engine = db.db.engine
    reader = app.extensions["mafu.reader"]
    app.post("/v1/charges")(_create(engine, reader))
    app.get("/C/<charge_id>")(_open(reader, page))
    app.get("/C/<charge_id>/status")(_poll(reader, merchant_id))
    app.post("/callbacks/<account_id>")(_settle(engine, reader))
    return app


def _create(engine: Engine, reader: Engine) -> Callable[[], Response]:
    def create() -> Response:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        with reader.connect() as connection:
            digest = hashlib.sha256(key.encode()).hexdigest()
            caller = connection.execute(FIND_KEY, {"digest": digest}).one()
        asked, now = request.get_json(), datetime.now(UTC)
        charge = {
            "merchant_id": caller.merchant_id,
            "id": new_id("ch"),
            "livemode": caller.livemode,
            "state": "pending",
            "amount_minor": asked["amount"],
            "currency": asked["currency"].upper(),
            "description": asked["description"],
            "merchant_order_no": asked["merchant_order_no"],
            "metadata": asked["metadata"],
            "return_url": asked["return_url"],
            "created_at": now,
            "expires_at": now + timedelta(hours=2),
            "paid_late": False,
            "refunded_minor": 0,
            "sequence": 1,
        }
        text = json.dumps(charge, default=str)
        with engine.begin() as tx:
            tx.execute(INSERT_CHARGE, charge)
            tx.execute(INSERT_EVENT, _event(charge["merchant_id"], "charge.created", charge["id"], 1, text))
        return Response(text, 201, content_type="application/json")

    return create


def _open(reader: Engine, page: Callable[[], bytes]) -> Callable[[str], Response]:
    def open_(charge_id: str) -> Response:
        with reader.connect() as connection:
            connection.execute(OPEN_CHARGE, {"charge_id": charge_id}).one()
        return Response(page(), content_type="text/html; charset=utf-8")

    return open_


def _poll(reader: Engine, merchant_id: str) -> Callable[[str], Response]:
    def poll(charge_id: str) -> Response:
        with reader.connect() as connection:
            charge = connection.execute(
                FIND_CHARGE, {"merchant_id": merchant_id, "charge_id": charge_id}
            ).one()
        news = json.dumps({"status": charge.state, "expires_at": charge.expires_at.isoformat()})
        return Response(news, content_type="application/json")

    return poll


def _settle(engine: Engine, reader: Engine) -> Callable[[str], Response]:
    public_key = load_pem_public_key(alipay_forge.KEYS["alipay.pub.pem"].encode())
    assert isinstance(public_key, RSAPublicKey)
    keep = None

    def settle(account_id: str) -> Response:
        nonlocal keep
        body, now = request.get_data(), datetime.now(UTC)
        fields = dict(parse_qsl(body.decode()))
        signature, _ = fields.pop("sign"), fields.pop("sign_type")
        message = "&".join([f"{name}={fields[name]}" for name in sorted(fields)]).encode()
        public_key.verify(base64.b64decode(signature), message, padding.PKCS1v15(), hashes.SHA256())
        with reader.connect() as connection:
            merchant_id = connection.execute(FIND_ACCOUNT, {"account_id": account_id}).one().merchant_id
        with engine.begin() as tx:
            if keep is None:
                keep = insert_or_skip(tx, CALLBACKS).returning(CALLBACKS.c.id)
            tx.execute(keep, _callback(merchant_id, account_id, fields["out_trade_no"], body, now)).one()
            attempt = tx.execute(
                FIND_ATTEMPT, {"account_id": account_id, "out_trade_no": fields["out_trade_no"]}
            ).one()
            of = {"of_merchant": merchant_id, "now": now}
            charge = tx.execute(
                PAY_CHARGE, of | {"of_charge": attempt.charge_id, "attempt": attempt.id}
            ).one()
            paid = {"of_attempt": attempt.id, "ref": fields["trade_no"], "received": attempt.amount_minor}
            tx.execute(FINISH_ATTEMPT, of | paid)
            tx.execute(DROP_JOBS, {"of_merchant": merchant_id, "subjects": [attempt.id, charge.id]})
            text = json.dumps(charge._asdict(), default=str)
            tx.execute(INSERT_EVENT, _event(merchant_id, "charge.paid", charge.id, charge.sequence, text))
        return Response(b"success", content_type="text/plain; charset=utf-8")

    return settle


def _event(merchant_id: str, kind: str, charge_id: str, sequence: int, text: str) -> dict[str, Any]:
    return {
        "merchant_id": merchant_id,
        "id": new_id("evt"),
        "livemode": False,
        "type": kind,
        "object_id": charge_id,
        "sequence": sequence,
        "body": text,
        "created_at": datetime.now(UTC),
    }


def _callback(merchant_id: str, account_id: str, number: str, body: bytes, now: datetime) -> dict[str, Any]:
    return {
        "merchant_id": merchant_id,
        "id": new_id("cb"),
        "account_id": account_id,
        "digest": hashlib.sha256(body).hexdigest(),
        "out_trade_no": number,
        "outcome": "succeeded",
        "body": body,
        "first_at": now,
        "last_at": now,
        "times": 1,
    }
