"""The demo shop is made once, found again, and follows a sandbox that has moved or forgotten."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

import pytest
import requests

from app.charges import attempts, lifecycle
from app.charges.attempts import Payer
from app.cli import demo
from app.cli.places import Places
from app.http import Client
from app.merchants import accounts, keys, people
from app.providers import REGISTRY
from app.providers.base import Scene
from app.queue import Job
from app.webhooks import endpoints, signature
from tests.books import rows_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

KEYS = {"base_url", "sandbox_url", "api_key", "webhook_secret", "sign_in_url", "charge_url", "charge_id"}


@pytest.fixture
def places(site, far) -> Places:
    return Places(site.url, far, site.url, far, (), ())


@pytest.fixture
def shop(house, places) -> demo.Demo:
    return demo.seed(places)


@pytest.fixture
def folder(house):
    return house.extensions["mafu.runtime"].settings.data


def owner():
    return people.find_user(demo.EMAIL)


def test_what_is_written_down_is_complete_and_private(shop, folder):
    path = folder / "demo.json"
    assert json.loads(path.read_text()) == asdict(shop)
    assert set(asdict(shop)) == KEYS
    assert path.stat().st_mode & 0o777 == 0o600
    assert [left.name for left in folder.iterdir() if left.suffix == ".tmp"] == []


def test_everything_in_it_works(shop, far):
    caller = keys.authenticate(shop.api_key)
    assert (caller.merchant_id, caller.livemode) == (owner().merchant_id, False)
    assert people.use_sign_in_link(shop.sign_in_url.rpartition("/")[2])
    charge = lifecycle.find(caller.merchant_id, shop.charge_id, livemode=False)
    assert lifecycle.find_public(shop.charge_url.rpartition("/")[2]).id == charge.id
    [endpoint] = endpoints.list_endpoints(caller.merchant_id, livemode=False)
    assert endpoint.url == f"{far}/receiver/hook"


def test_the_receiver_knows_the_secret(shop, far):
    body, now = b'{"type":"charge.paid"}', demo.clock.now()
    headers = signature.headers_for([shop.webhook_secret], "evt_1", int(now.timestamp()), body)
    assert Client().send("POST", f"{far}/receiver/hook", headers=headers, body=body).status == 204


def account_of(provider: str):
    [row] = [row for row in our_accounts() if row.provider == provider]
    return row


def our_accounts():
    return accounts.list_accounts(owner().merchant_id, livemode=False)


@pytest.mark.parametrize("provider", sorted(REGISTRY))
def test_every_network_can_be_spoken_to_and_a_phones_camera_reads_its_code(shop, provider):
    payer = Payer(Scene.DESKTOP, "http://127.0.0.1/C/x")
    account = accounts.open_account(account_of(provider).id)
    step = attempts.start_attempt(shop.charge_id, account, payer).step
    assert step.content.startswith(f"{shop.sandbox_url}/qr/")


def test_a_second_start_keeps_everything_but_the_way_in(shop, house, places, far):
    before = rows_of(Job)
    again = demo.seed(places)
    assert asdict(again) | {"sign_in_url": ""} == asdict(shop) | {"sign_in_url": ""}
    assert again.sign_in_url != shop.sign_in_url
    assert sorted(row.provider for row in our_accounts()) == sorted(REGISTRY)
    assert len(requests.get(f"{far}/control/levers", timeout=5).json()["data"]) == 1
    assert len(endpoints.list_endpoints(owner().merchant_id, livemode=False)) == 1
    assert len(keys.list_keys(owner().merchant_id)) == 1
    assert len(rows_of(Job)) == len(before)


def test_a_charge_that_can_no_longer_be_paid_is_replaced(shop, house, places, at):
    lifecycle.cancel_charge(owner().merchant_id, shop.charge_id)
    second = demo.seed(places)
    assert second.charge_id != shop.charge_id
    at(demo.LIFE - timedelta(minutes=30))
    assert demo.seed(places).charge_id != second.charge_id, "it would end in half an hour"


def test_a_revoked_key_is_replaced(shop, house, places):
    caller = keys.authenticate(shop.api_key)
    keys.revoke_key(caller.merchant_id, caller.key_id)
    assert keys.authenticate(demo.seed(places).api_key).key_id != caller.key_id


@pytest.mark.parametrize("text", ["", "{", "[]", '{"api_key": "x"}', '{"sandbox": 1}'])
def test_a_file_that_makes_no_sense_is_written_anew(shop, house, places, folder, text):
    (folder / "demo.json").write_text(text)
    assert demo.load(house.extensions["mafu.runtime"].settings) is None
    assert keys.authenticate(demo.seed(places).api_key)


@pytest.mark.parametrize(
    ("provider", "number"), [("alipay", "app_id"), ("wechatpay", "mchid"), ("unionpay", "mer_id")]
)
def test_a_sandbox_that_forgot_the_shop_is_told_again(shop, house, places, far, provider, number):
    before = accounts.settings_of(account_of(provider).id)
    requests.post(f"{far}/control/reset", json={"apps": True}, timeout=5).raise_for_status()
    demo.seed(places)
    after = accounts.settings_of(account_of(provider).id)
    assert after["private_key"] == before["private_key"]
    assert after[number] != before[number]


def test_a_shop_of_one_network_gets_the_others(house, places, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(demo, "_HOMES", demo._HOMES[:1])
        first = demo.seed(places)
    [alone] = our_accounts()
    again = demo.seed(places)
    assert (again.api_key, again.charge_id) == (first.api_key, first.charge_id)
    assert alone.id == account_of("alipay").id
    assert {row.provider for row in our_accounts()} == set(REGISTRY)


def test_a_sandbox_that_moved_is_followed(shop, house, site, far):
    moved = far.replace("127.0.0.1", "localhost")
    demo.seed(Places(site.url, moved, site.url, moved, (), ()))
    assert [row.url for row in endpoints.list_endpoints(owner().merchant_id, livemode=False)] == [
        f"{moved}/receiver/hook"
    ]


def test_accounts_follow_the_addresses_that_the_sandbox_gives_itself(shop, house, places, house_of_networks):
    house_of_networks.public_url = "http://192.168.1.7:9000"
    demo.seed(places)
    said = {row.provider: accounts.settings_of(row.id) for row in our_accounts()}
    for provider, name in (("alipay", "auth_url"), ("wechatpay", "open_url"), ("unionpay", "file_url")):
        assert said[provider][name].startswith("http://192.168.1.7:9000"), provider


def test_a_disabled_endpoint_is_enabled_again(shop, house, places):
    [row] = endpoints.list_endpoints(owner().merchant_id, livemode=False)
    endpoints.disable_endpoint(row.merchant_id, row.id, endpoints.FAILING)
    demo.seed(places)
    [row] = endpoints.list_endpoints(owner().merchant_id, livemode=False)
    assert row.disabled_at is None


def test_nothing_secret_is_in_a_repr(shop):
    assert shop.api_key not in repr(shop)


def test_commands_in_a_second_terminal_write_the_running_demos_links(shop, house, folder):
    (folder / "demo.json").write_text(json.dumps(asdict(shop) | {"base_url": "http://192.168.1.7:8000"}))
    runtime = house.extensions["mafu.runtime"]
    assert runtime.settings.base_url, "these tests say where the house is, so the file is not asked"
    demo.adopt()
    assert house.extensions["mafu.runtime"] is runtime
    demo.settle_in("")
    demo.adopt()
    assert house.extensions["mafu.runtime"].settings.origin == "http://192.168.1.7:8000"
