"""What the tests of this folder share: the API as the merchant's server calls it."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.api.calls import Api
from tests.conftest import Shop


@pytest.fixture
def api(client: FlaskClient, merchant: Shop) -> Api:
    """The merchant, in test mode."""
    return Api(client, merchant.key)
