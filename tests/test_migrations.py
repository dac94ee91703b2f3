"""The migrations make the tables that the models describe."""

from __future__ import annotations

from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import inspect

from app.charges import refunds
from app.charges.commands import NewRefund
from app.charges.models import Attempt, Charge, Refund
from app.charges.settle import settle
from app.db import Base, db, transaction
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.queue import Job
from app.webhooks.models import Event
from tests.books import make_charge, rows_of, start
from tests.conftest import add_shop

FOLDER = str(Path(__file__).parents[1] / "migrations")


def test_nothing_is_in_the_models_that_is_not_in_the_migrations(app: Flask):
    try:
        flask_migrate.check(directory=FOLDER)
    except SystemExit:
        pytest.fail("run: flask db migrate")


def test_every_tenant_table_names_its_merchant(app: Flask):
    shared = {"merchants", "sign_in_failures", "passkey_challenges", "workers"}
    for table in Base.metadata.tables.values():
        assert table.name in shared or "merchant_id" in table.c, table.name


def test_books_that_are_kept_survive_every_migration(app: Flask):
    """SQLite makes a changed table anew: nothing that points at it may go with the old one."""
    shop = add_shop()
    charge = make_charge(shop)
    start(shop, charge.id)
    attempt = rows_of(Attempt)[0]
    news = PaymentResult(attempt.out_trade_no, Outcome.SUCCEEDED, Money(1250, "CNY"))
    with transaction() as tx:
        settle(tx, shop.account_id, news)
        refunds.create_refund(tx, shop.id, NewRefund(charge.id, 300))
    before = {model: rows_of(model) for model in (Charge, Attempt, Refund, Job, Event)}
    assert all(before.values())
    flask_migrate.downgrade(directory=FOLDER, revision="0001")
    first = inspect(db.engine)
    # What a later migration added goes with it; all else stays.
    kept = {model: [column["name"] for column in first.get_columns(model.__tablename__)] for model in before}
    flask_migrate.upgrade(directory=FOLDER)
    for model, rows in before.items():
        assert _only(kept[model], rows_of(model)) == _only(kept[model], rows), model
    with pytest.raises(sa.exc.IntegrityError), transaction() as tx:
        tx.execute(sa.delete(Attempt.__table__))


def _only(names: list[str], rows: list[sa.Row]) -> list[list[object]]:
    return [[row._mapping[name] for name in names] for row in rows]


def test_what_was_put_up_can_be_taken_down(app: Flask):
    flask_migrate.downgrade(directory=FOLDER, revision="base")
    assert set(inspect(db.engine).get_table_names()) <= {"alembic_version"}
    flask_migrate.upgrade(directory=FOLDER)
    assert set(Base.metadata.tables) <= set(inspect(db.engine).get_table_names())
