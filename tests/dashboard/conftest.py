"""What the tests of the dashboard share: somebody signed in, and somebody who is not."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.conftest import Shop
from tests.dashboard.person import Person


@pytest.fixture
def passer_by(app: Flask) -> Person:
    """Nobody we know."""
    return Person(app)


@pytest.fixture
def owner(app: Flask, merchant: Shop) -> Person:
    """The merchant's owner, signed in, reading English."""
    person = Person(app)
    assert person.sign_in(merchant).status_code == 303
    person.get("/")
    return person
