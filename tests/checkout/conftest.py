"""A shopper's browser, and the Chinese texts compiled from their source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from babel.messages import mofile, pofile
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import get_babel
from werkzeug.test import TestResponse

from app.charges.models import Attempt
from app.charges.present import link_of
from app.db import Prepared
from tests.books import rows_of
from tests.checkout.networks import Networks, open_wallets
from tests.conftest import Shop
from tests.far_side import AlipayFarSide

ROOT = Path(__file__).parents[2]
CHINESE = ROOT / "translations/zh/LC_MESSAGES/messages.po"

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
DESKTOP = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    "Safari/537.36"
)
WECHAT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN"
)
ALIPAY = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/21F90 AliApp(AP/10.6.30.6000) AlipayClient/10.6.30.6000 Language/zh-Hans"
)
UNIONPAY = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/15E148/sa-sdk-ios (com.unionpay.chsp) (version 1007) (UnionPay/1.0 CloudPay)"
)


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("translations")
    compiled = folder / "zh/LC_MESSAGES/messages.mo"
    compiled.parent.mkdir(parents=True)
    with CHINESE.open("rb") as source, compiled.open("wb") as target:
        mofile.write_mo(target, pofile.read_po(source))
    return str(folder)


@pytest.fixture
def app(app: Flask, catalogue: str) -> Flask:
    get_babel(app).translation_directories[:] = [catalogue]
    return app


@dataclass
class Shopper:
    """A browser at one payment link."""

    client: FlaskClient
    path: str
    user_agent: str = IPHONE
    language: str = "zh-CN,zh;q=0.9"

    def get(self, query: str = "", **headers: str) -> TestResponse:
        return self._send("GET", self.path + query, headers)

    def post(self, provider: str = "alipay", **form: str) -> TestResponse:
        return self._send("POST", self.path, {}, data={"provider": provider, **form})

    def status(self, **headers: str) -> TestResponse:
        return self._send("GET", f"{self.path}/status", headers)

    def _send(self, method: str, path: str, headers: dict[str, str], **more: Any) -> TestResponse:
        mine = {"User-Agent": self.user_agent, "Accept-Language": self.language}
        # A context of its own: under the fixture's, requests would share g, and with it the language.
        with self.client.application.app_context():
            return self.client.open(path, method=method, headers=mine | headers, **more)


@pytest.fixture
def shopper(client: FlaskClient, merchant: Shop) -> Any:
    """Makes a shopper who has scanned a charge: ``shopper(charge, user_agent=DESKTOP)``."""

    def scan(charge: sa.Row[Any], **more: str) -> Shopper:
        return Shopper(client, path_of(charge), **more)  # type: ignore[arg-type]

    return scan


def path_of(charge: sa.Row[Any]) -> str:
    return "/C/" + link_of(charge).rpartition("/")[2]


def attempts_of(charge: sa.Row[Any]) -> list[sa.Row[Any]]:
    return rows_of(Attempt, charge_id=charge.id)


@pytest.fixture
def networks(app: Flask, merchant: Shop, far_side: AlipayFarSide) -> Networks:
    """All three networks, and the merchant's accounts at them."""
    mine = app.extensions["mafu.runtime"]
    networks = Networks(far_side)
    app.extensions["mafu.runtime"] = replace(mine, outbound=networks, adapters={})
    open_wallets(merchant)
    return networks


@pytest.fixture
def statements(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that reaches the database, from here on."""
    engine = app.extensions["sqlalchemy"].engine
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    rows = Prepared.rows

    def noted(self, connection, params):
        seen.append("prepared")  # it goes by the driver's own cursor, which tells no listener
        return rows(self, connection, params)

    monkeypatch.setattr(Prepared, "rows", noted)
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)
