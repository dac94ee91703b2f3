"""Short ways for tests to hang up signs and to scan them."""

from __future__ import annotations

import re
from contextvars import Context
from typing import Any

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app.codes import codes
from app.codes.scan import begin_charge
from app.codes.terms import Terms
from app.db import transaction
from app.money import Money
from tests.conftest import Shop


def hang(shop: Shop, **terms: Any) -> sa.Row[Any]:
    """A printed code, in test mode."""
    with transaction() as tx:
        return codes.create_code(tx, shop.id, Terms(**{"name": "堂食", **terms}), livemode=False)


def begin(code: sa.Row[Any], minor: int = 1250) -> sa.Row[Any]:
    """A charge of so much, as a shopper begins it."""
    with transaction() as tx:
        return begin_charge(tx, code, Money(minor, code.currency))


def change(code: sa.Row[Any], *, active: bool | None = None, **changes: Any) -> None:
    with transaction() as tx:
        codes.change_code(tx, code.merchant_id, code.id, changes, livemode=code.livemode, active=active)


class Passer:
    """Somebody with a phone in front of signs.  Each request has a context of its own, as on a server."""

    def __init__(self, app: Flask, language: str = "en") -> None:
        self.client = app.test_client()
        self.language = language
        self.page = ""

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._open("GET", path, headers)

    def post(self, path: str, **fields: str) -> TestResponse:
        """Send the form of the page seen last, filled in."""
        token = re.search(r'name="token" value="(\w+)"', self.page)
        return self._open("POST", path, {}, data={"token": token[1] if token else "", **fields})

    def _open(self, method: str, path: str, headers: dict[str, str], **more: Any) -> TestResponse:
        mine = {"Accept-Language": self.language, **headers}
        response = Context().run(self.client.open, path, method=method, headers=mine, **more)
        self.page = response.text
        return response
