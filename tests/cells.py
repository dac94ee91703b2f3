"""The table of scenes: who can pay where, and a house with its sandbox in which every cell can be walked.

The house takes all three wallets, as the demo does, and is told to WeChat Pay by its domain, as a real
shop is.  It is made once for all cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from app.callbacks.models import Callback
from app.charges import attempts, lifecycle
from app.charges.commands import NewCharge
from app.charges.present import link_of
from app.cli import demo, places
from app.merchants import accounts, keys
from app.money import Money
from tests.books import rows_of
from tests.conftest import ROOT, running
from tests.live import House, ask, house

# Where a shopper stands (as ``simulate pay --as`` calls it), and the wallets that they can pay with there.
PAYABLE = {
    "wechat": ("wechatpay",),
    "alipay": ("alipay",),
    "unionpay": ("unionpay",),
    "browser": ("alipay", "wechatpay", "unionpay"),
    "desktop": ("alipay", "wechatpay", "unionpay"),
}
WALLETS = ("alipay", "wechatpay", "unionpay")
CELLS = [(place, wallet) for place, wallets in PAYABLE.items() for wallet in wallets]
BLOCKED = [(place, wallet) for place in PAYABLE for wallet in WALLETS if (place, wallet) not in CELLS]


@dataclass
class Table:
    """The house at work, and its application in this process, to look into the books."""

    house: House
    app: Flask
    shop: demo.Demo
    merchant_id: str

    def charge(self, minor: int = 1250) -> sa.Row[Any]:
        """A pending charge."""
        return lifecycle.open_charge(
            self.merchant_id, livemode=False, new=NewCharge(Money(minor, "CNY"), "一杯拿铁")
        )

    def link(self, charge: sa.Row[Any]) -> str:
        return link_of(charge)

    def state(self, charge: sa.Row[Any]) -> str:
        return str(lifecycle.find(self.merchant_id, charge.id).state)

    def account(self, wallet: str) -> accounts.OpenAccount:
        rows = accounts.list_accounts(self.merchant_id, livemode=False)
        return accounts.open_account(next(row.id for row in rows if row.provider == wallet))

    @contextmanager
    def account_saying(self, wallet: str, **settings: str) -> Iterator[None]:
        """For a while the shop's account at this wallet says this, too."""
        account_id = self.account(wallet).id
        before = accounts.settings_of(account_id)
        accounts.change_account(account_id, {**before, **settings})
        try:
            yield
        finally:
            accounts.change_account(account_id, before)

    def numbers(self, charge: sa.Row[Any]) -> list[str]:
        """The out_trade_no of every attempt."""
        return [each.out_trade_no for each in attempts.list_attempts(self.merchant_id, charge.id)]

    def news_of(self, charge: sa.Row[Any]) -> list[str]:
        """The outcomes that verified callbacks told us of this charge."""
        found = [rows_of(Callback, out_trade_no=number) for number in self.numbers(charge)]
        return [row.outcome for rows in found for row in rows]

    def trade(self, number: str) -> dict[str, Any]:
        """A payment as the network keeps it."""
        found: dict[str, Any] = ask("GET", f"{self.house.sandbox_url}/control/trades/{number}").json
        return found

    def copy_keys_again(self) -> None:
        """What a merchant does when a network announces a new key; here the demo's next start does it."""
        demo.seed(places.places_of(self.house.settings))

    def tell_sandbox(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = ask(method, f"{self.house.sandbox_url}/control/{path}", json_body=body)
        assert answer.status in (200, 201), answer.body
        return answer.json


@contextmanager
def table(folder: Path) -> Iterator[Table]:
    """Web and sandbox in processes of their own; no worker, so that callbacks have to do it."""
    with house(f"sqlite:///{folder / 'mafu.sqlite3'}", folder) as mafu, running(mafu.settings) as app:
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        mafu.start("sandbox", "web")
        shop = demo.seed(places.places_of(mafu.settings))
        merchant_id = keys.authenticate(shop.api_key).merchant_id
        found = Table(mafu, app, shop, merchant_id)
        _name_the_domain(found)
        yield found


def _name_the_domain(found: Table) -> None:
    """From here on WeChat Pay opens nothing for another shop."""
    [merchant] = found.tell_sandbox("GET", "wechatpay/merchants")["data"]
    wish = {"public_key": merchant["merchant_public_key"], "domain": urlsplit(found.house.url).netloc}
    found.tell_sandbox("POST", "wechatpay/merchants", wish)
