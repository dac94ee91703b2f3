"""``flask ledger check``: here, in one shop, and in a copy of the database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.db import db
from tests import full_books
from tests.cli.conftest import json_of
from tests.conftest import add_shop

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def run(app):
    """A command in a house whose wallets answer."""
    return lambda *words: app.test_cli_runner().invoke(args=list(words))


def test_a_row_that_was_changed_in_a_copy_is_named_there_and_ends_with_1(run, tmp_path):
    shop, copy = add_shop(), tmp_path / "restored.sqlite3"
    full_books.fill(shop)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql(f"VACUUM INTO '{copy}'")
    address = f"sqlite:///{copy}"
    assert json_of(run("ledger", "check", "--database", address, "--json"))["faults"] == []
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        statement = "UPDATE refunds SET amount_minor = 301 WHERE amount_minor = 300 RETURNING id"
        refund_id = connection.execute(sa.text(statement)).scalar_one()
    engine.dispose()
    broken = run("ledger", "check", "--database", address)
    assert broken.exit_code == 1
    assert refund_id in broken.output
    assert run("ledger", "check", "--merchant", shop.email).exit_code == 0  # ours is as it was


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("mysql://x/y", 2, "neither PostgreSQL's address nor SQLite's"),
        ("sqlite:////nowhere/at/all", 1, "cannot be read"),
        ("x", 2, "Invalid value"),
    ],
)
def test_what_is_no_database_of_ours_is_said_to_be_none(run, address, code, words):
    said = run("ledger", "check", "--database", address)
    assert (said.exit_code, words in said.output) == (code, True), said.output
