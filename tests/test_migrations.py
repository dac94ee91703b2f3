"""The migrations make the tables that the models describe."""

from __future__ import annotations

from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import inspect

from app.db import Base, db

FOLDER = str(Path(__file__).parents[1] / "migrations")


def test_nothing_is_in_the_models_that_is_not_in_the_migrations(app: Flask):
    try:
        flask_migrate.check(directory=FOLDER)
    except SystemExit:
        pytest.fail("run: flask db migrate")


def test_every_tenant_table_names_its_merchant(app: Flask):
    shared = {"merchants", "sign_in_failures"}
    for table in Base.metadata.tables.values():
        assert table.name in shared or "merchant_id" in table.c, table.name


def test_what_was_put_up_can_be_taken_down(app: Flask):
    flask_migrate.downgrade(directory=FOLDER, revision="base")
    assert set(inspect(db.engine).get_table_names()) <= {"alembic_version"}
    flask_migrate.upgrade(directory=FOLDER)
    assert set(Base.metadata.tables) <= set(inspect(db.engine).get_table_names())
