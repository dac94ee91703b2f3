"""What the tests of 易支付 share: a merchant that has switched it on, and a shop of its own on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.epay import carrier, switch
from app.epay.switch import Front
from app.http import Sender
from app.runtime import settings
from tests.conftest import Shop
from tests.epay.shops import Door, LibraryShop, listening


@pytest.fixture
def front(merchant: Shop) -> Front:
    """Switched on for test mode."""
    assert switch.enable(merchant.id, livemode=False) is not None
    row = switch.find_row(merchant.id, livemode=False)
    assert row is not None
    return switch.front_of(row)


@pytest.fixture
def door() -> Iterator[Door]:
    with listening() as found:
        yield found


@pytest.fixture
def shop(front: Front, door: Door) -> LibraryShop:
    """A program that speaks 易支付."""
    made = LibraryShop("http://pay.example.com/", front.pid, front.key, door.url)
    door.answer = made.hears
    return made


def carry() -> None:
    """What the worker's thread does when it looks: everything that is due now."""
    sender = Sender(carrier.guard_for_shops(settings()), slots=carrier.SLOTS)
    carrier.carry_due(sender)
    sender.close()
