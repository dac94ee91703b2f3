"""What the tests of the API share: callers with a test key, a live key and a stranger's key."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app.merchants import keys
from tests.api.calls import Api
from tests.conftest import Shop


@pytest.fixture
def api(client: FlaskClient, merchant: Shop) -> Api:
    """The merchant, in test mode."""
    return Api(client, merchant.key)


@pytest.fixture
def live_api(client: FlaskClient, merchant: Shop) -> Api:
    """The same merchant, in live mode."""
    return Api(client, keys.create_key(merchant.id, livemode=True, name="live")[1])


@pytest.fixture
def stranger(client: FlaskClient, other_merchant: Shop) -> Api:
    """Another merchant, in test mode."""
    return Api(client, other_merchant.key)
