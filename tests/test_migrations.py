"""The migrations make the tables that the models describe."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import inspect

from app.charges import proving, refunds
from app.charges.commands import NewRefund
from app.charges.models import Attempt, Charge, Refund
from app.charges.settle import settle
from app.db import Base, db, snapshot, transaction
from app.ledger.events import Event as LedgerEvent
from app.ledger.models import Entry
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.queue import Job
from app.webhooks.models import Event
from tests import full_books
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


def test_a_ledger_is_made_of_the_books_of_an_earlier_version(app: Flask):
    """As if it had been there all along, but for refunds that failed before they succeeded."""
    shop = add_shop()
    full_books.fill(shop)
    posted = rows_of(Entry)
    contradicted = {row.cause_id for row in posted if row.event == LedgerEvent.REFUND_CONTRADICTED}
    flask_migrate.downgrade(directory=FOLDER, revision="0009")
    flask_migrate.upgrade(directory=FOLDER)
    filled = rows_of(Entry)
    assert [_untimed(row) for row in filled if row.cause_id not in contradicted] == [
        _untimed(row) for row in posted if row.cause_id not in contradicted
    ]
    assert {row.event for row in filled if row.cause_id in contradicted} == {
        LedgerEvent.REFUND_RESERVED,
        LedgerEvent.REFUND_SUCCEEDED,
    }
    assert [fault for part in proving.check_all(snapshot) for fault in part.faults] == []
    apart = {(row.cause_id, row.event): row.posted_at for row in posted}
    for row in filled:
        before = apart.get((row.cause_id, row.event), row.posted_at)
        assert abs(row.posted_at - before) < timedelta(seconds=2)
    with pytest.raises(sa.exc.DBAPIError), transaction() as tx:
        tx.execute(sa.delete(Entry.__table__))


def _untimed(row: sa.Row) -> dict[str, object]:
    return {name: value for name, value in row._mapping.items() if name != "posted_at"}


def _only(names: list[str], rows: list[sa.Row]) -> list[list[object]]:
    return [[row._mapping[name] for name in names] for row in rows]


def test_what_was_put_up_can_be_taken_down(app: Flask):
    flask_migrate.downgrade(directory=FOLDER, revision="base")
    assert set(inspect(db.engine).get_table_names()) <= {"alembic_version"}
    flask_migrate.upgrade(directory=FOLDER)
    assert set(Base.metadata.tables) <= set(inspect(db.engine).get_table_names())
