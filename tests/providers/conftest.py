"""What the provider tests share: a clock that stands still, and one Alipay adapter on a recorded line."""

from __future__ import annotations

import pytest

from app import clock
from app.providers.alipay import Alipay
from tests.providers.alipay_forge import SETTINGS
from tests.providers.contract import NOW, Wire


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the moment of the known-answer vectors."""
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture(scope="module")
def alipay_line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def alipay(alipay_line: Wire) -> Alipay:
    """One adapter for a module: in key mode it is stateless, and reading its keys takes 35 ms."""
    return Alipay(SETTINGS, alipay_line)


@pytest.fixture(scope="module")
def in_app(alipay_line: Wire) -> Alipay:
    """The same line for an account that is paid on a pay sheet inside Alipay's app."""
    return Alipay({**SETTINGS, "in_app_product": "jsapi"}, alipay_line)


@pytest.fixture
def wire(alipay_line: Wire) -> Wire:
    """The line of ``alipay``, as new."""
    alipay_line.clear()
    return alipay_line


@pytest.fixture(scope="module")
def reader() -> Alipay:
    """An adapter that is only asked to read: any call out fails the test."""
    return Alipay(SETTINGS, Wire())
