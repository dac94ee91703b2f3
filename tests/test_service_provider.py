"""Two merchants of one house under one service provider: their payments, news and bills never cross.

The house answers on a socket of this machine and the networks' far side (``sandbox/``) on another; both
merchants' accounts hold the very same keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from app import clock
from app.charges import attempts, lifecycle
from app.charges.attempts import Payer
from app.charges.commands import NewCharge
from app.charges.models import Attempt, Charge
from app.charges.states import ChargeState
from app.merchants import accounts, people
from app.money import Money
from app.providers.base import Scene
from app.reconciliation.models import BillRow, Discrepancy
from app.reconciliation.reconcile import reconcile
from tests.books import row_of, rows_of
from tests.conftest import running, settings_for
from tests.live import free_port, wait_until
from tests.providers import alipay_forge, wechatpay_forge
from tests.sandbox.conftest import Far

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TENANTS = ("晨光咖啡馆", "暮色书店")
PRICES = dict(zip(TENANTS, (Money(1250, "CNY"), Money(990, "CNY")), strict=True))
Post = tuple[str, dict[str, str], bytes]


@dataclass
class House:
    """The application on a socket; ``post`` is what networks sent it, with the account in the address."""

    app: Flask
    far: Far
    post: list[Post] = field(default_factory=list)

    def hear(self, environ: dict[str, Any], start_response: Any) -> Any:
        """A WSGI application in front of ours, which reads along."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {k[5:].replace("_", "-"): v for k, v in environ.items() if k.startswith("HTTP_")}
        headers["Content-Type"] = environ.get("CONTENT_TYPE", "")
        self.post.append((environ["PATH_INFO"].rpartition("/")[2], headers, body))
        environ["wsgi.input"] = BytesIO(body)
        return self.app.wsgi_app(environ, start_response)


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    far = Far(tmp_path / "far")
    try:
        with listening(database_url, tmp_path, far) as found:
            yield found
    finally:
        far.stop()


@contextmanager
def listening(database_url: str, folder: Path, far: Far) -> Iterator[House]:
    port = free_port()
    with running(settings_for(database_url, folder, base_url=f"http://127.0.0.1:{port}")) as app:
        found = House(app, far)
        server = make_server("127.0.0.1", port, found.hear, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def wechatpay_accounts(far: Far) -> Iterator[dict[str, str]]:
    """What each sub-merchant of one service provider enters."""
    facts = far.post("/control/wechatpay/merchants", {"cert": wechatpay_forge.KEYS["wx_mch.crt"]}).json
    names = ("appid", "mchid", "merchant_cert", "public_key_id", "public_key", "app_secret")
    for _ in TENANTS:
        yield {name: facts[name] for name in names} | {
            "private_key": wechatpay_forge.KEYS["wx_mch.pkcs8.pem"],
            "api_v3_key": facts["apiv3_key"],
            "sub_mchid": far.post(f"/control/wechatpay/merchants/{facts['mchid']}/subs").json["sub_mchid"],
            **dict.fromkeys(("api_url", "open_url", "sns_url"), far.url),
        }


def alipay_accounts(far: Far) -> Iterator[dict[str, str]]:
    """What each merchant that authorised one application enters."""
    app = far.post("/control/alipay/apps", {"public_key": alipay_forge.KEYS["app.pub.pem"]}).json
    for _ in TENANTS:
        token = far.post(f"/control/alipay/apps/{app['app_id']}/authorize").json
        yield {
            **{name: app[name] for name in ("app_id", "gateway_url", "alipay_public_key")},
            **{name: token[name] for name in ("app_auth_token", "seller_id")},
            "private_key": alipay_forge.KEYS["app.pkcs8.pem"],
        }


def sell(merchant_id: str, account_id: str, price: Money) -> tuple[str, str]:
    """A charge that waits for its money: its id, and the number that the network knows."""
    charge = lifecycle.open_charge(merchant_id, livemode=False, new=NewCharge(price, "拿铁"))
    account = accounts.open_account(account_id)
    attempts.start_attempt(charge.id, account, Payer(Scene.DESKTOP, "http://pay.example.com/C/x"))
    return charge.id, row_of(Attempt, charge_id=charge.id).out_trade_no


@pytest.mark.parametrize(
    ("provider", "enter"), [("wechatpay", wechatpay_accounts), ("alipay", alipay_accounts)]
)
def test_two_merchants_of_one_service_provider_never_meet(
    house: House, provider: str, enter: Callable[[Far], Iterator[dict[str, str]]]
) -> None:
    doors, sold = {}, {}
    for name, settings in zip(TENANTS, list(enter(house.far)), strict=True):
        merchant_id, _ = people.add_merchant(name, email=f"owner{len(doors)}@shop.example")
        account_id = accounts.add_account(
            merchant_id, provider, livemode=False, name=provider, settings=settings
        )
        doors[name] = account_id
        sold[name] = sell(merchant_id, account_id, PRICES[name])
    one, other = TENANTS

    # One is paid: its own news say so, and at the other's door the very same message is nobody's.
    house.far.act(sold[one][1], "pay")
    wait_until(lambda: row_of(Charge, id=sold[one][0]).state == ChargeState.PAID)
    [(door, headers, body)] = house.post
    assert door == doors[one]
    client = house.app.test_client()
    own, wrong = [
        client.post(f"/callbacks/{doors[name]}", data=body, headers=headers) for name in (one, other)
    ]
    assert (own.status_code, own.data) in ((200, b"success"), (204, b""))
    assert (wrong.status_code, wrong.data) not in ((200, b"success"), (204, b""))
    assert row_of(Charge, id=sold[other][0]).state == ChargeState.PENDING

    # Nor does the network tell one of the other's.
    adapters = {name: accounts.open_account(door).provider for name, door in doors.items()}
    asked = {name: attempts.ref_of(row_of(Attempt, charge_id=sold[name][0])) for name in TENANTS}
    assert adapters[other].query(asked[one]).is_absent
    house.far.act(sold[other][1], "pay")
    wait_until(lambda: row_of(Charge, id=sold[other][0]).state == ChargeState.PAID)

    # Each bill has its own payment, whole, and the books differ from neither.
    house.far.pull("bill_now", scope="always")
    today = clock.day_of(clock.now())
    for name in TENANTS:
        tally = reconcile(doors[name], today).tally
        assert tally.lines == 1
        [line] = rows_of(BillRow, account_id=doors[name])
        assert (line.out_trade_no, line.amount_minor) == (sold[name][1], PRICES[name].minor)
        assert not line.is_foreign
    assert rows_of(Discrepancy) == []
    assert [row.received_minor for row in rows_of(Attempt)] == [price.minor for price in PRICES.values()]
