"""What whoever runs the server does about people: a way back in, and a proof that the log is whole."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.db import db
from app.merchants import people
from tests.cli.conftest import json_of
from tests.conftest import add_shop

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_forgotten_password_is_replaced_with_the_printed_link(run):
    shop = add_shop()
    made = json_of(run("user", "reset", shop.email, "--json"))
    assert made["user"] == shop.user_id
    place, _, token = made["reset_url"].rpartition("/")
    assert place.endswith("/reset")
    people.use_reset_link(token, "another good password", address="x")
    assert people.sign_in(shop.email, "another good password", address="x")
    unknown = run("user", "reset", "nobody@x.example")
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "Error: nobody has the e-mail address nobody@x.example\n",
    )


def test_the_first_row_that_was_changed_is_named_and_ends_with_1(run):
    shop = add_shop()
    whole = run("audit", "verify", "--json")
    assert (whole.exit_code, json_of(whole)["faults"]) == (0, [])
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_entries_no_update"))
        connection.execute(sa.text("UPDATE audit_entries SET actor = 'x' WHERE number = 2"))
    broken = run("audit", "verify", "--merchant", shop.email)
    assert broken.exit_code == 1
    assert f"{shop.id}: row 2 was changed" in broken.output
