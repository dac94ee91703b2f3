"""What the tests of webhooks share: a receiver, a sender that may reach it, endpoints and facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from flask import Flask

from app.config import Settings
from app.db import transaction
from app.http import Sender
from app.webhooks import endpoints
from app.webhooks.outbox import Fact, emit
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def sender(settings: Settings) -> Iterator[Sender]:
    sender = Sender(endpoints.guard_of(settings))
    yield sender
    sender.close()


@pytest.fixture
def shop_id(merchant) -> str:
    """The merchant's id, which is all that webhooks know of it."""
    return merchant.id


@pytest.fixture
def tell(app: Flask, shop_id: str) -> Callable[..., str]:
    """Emit one fact in a transaction of its own; the id of the object it is about."""
    numbers = count(1)

    def tell(
        type_: str = "charge.paid", *, merchant_id: str = shop_id, livemode: bool = False, **data
    ) -> str:
        object_id = f"ch_{next(numbers)}"
        with transaction() as tx:
            emit(tx, Fact(merchant_id, livemode, type_, object_id, 1, {"id": object_id, **data}))
        return object_id

    return tell


@pytest.fixture
def listen(app: Flask, shop_id: str, receiver: Receiver) -> Callable[..., tuple[str, str]]:
    """Make an endpoint at a path of the receiver; its id and its secret."""

    def listen(
        path: str = "/ok", *, merchant_id: str = shop_id, livemode: bool = False, **more
    ) -> tuple[str, str]:
        row, secret = endpoints.create_endpoint(
            merchant_id, livemode=livemode, url=receiver.url(path), **more
        )
        return row.id, secret

    return listen
