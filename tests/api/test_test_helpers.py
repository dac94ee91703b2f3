"""/v1/test_helpers: a merchant's tests play the shopper at the real sandbox, over its own door."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask

from app.charges.models import Attempt
from app.cli import demo
from app.cli.places import places_of
from app.merchants import accounts, keys, people
from tests.api.calls import Api, refusal
from tests.books import event_types, rows_of
from tests.conftest import add_shop, running, settings_for

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WALLETS = ("alipay", "wechatpay", "unionpay")


@pytest.fixture
def house(database_url, tmp_path, far) -> Iterator[Flask]:
    """The demo shop, with an account at each network of the sandbox."""
    more = {"sandbox_port": urlsplit(far).port, "base_url": "http://127.0.0.1:1"}
    with running(settings_for(database_url, tmp_path, **more)) as app:
        yield app


@pytest.fixture
def api(house) -> Api:
    seeded = demo.seed(places_of(house.extensions["mafu.runtime"].settings))
    return Api(house.test_client(), seeded.api_key)


def act(api: Api, charge_id: str, verb: str, **body):
    return api.post(f"/v1/test_helpers/charges/{charge_id}/{verb}", None if verb == "expire" else body)


def merchant_id() -> str:
    return people.find_user(demo.EMAIL).merchant_id


def account_of(wallet: str) -> str:
    mine = accounts.list_accounts(merchant_id(), livemode=False)
    return next(row.id for row in mine if row.provider == wallet)


@pytest.mark.parametrize("wallet", WALLETS)
def test_a_charge_is_paid_with_each_wallet(api, wallet):
    charge = api.charge().get_json()
    paid = act(api, charge["id"], "pay", provider=wallet)
    assert paid.status_code == 200, paid.data
    assert (paid.get_json()["status"], paid.get_json()["provider"]) == ("paid", wallet)
    assert event_types(charge["id"]) == ["charge.created", "charge.paid"]


@pytest.mark.parametrize(("wallet", "product"), [("alipay", "page"), ("unionpay", "gateway")])
def test_a_cashier_that_hears_of_a_payment_from_the_browser_hears_of_it(api, wallet, product):
    account_id = account_of(wallet)
    accounts.change_account(account_id, accounts.settings_of(account_id) | {"desktop_product": product})
    charge = api.charge().get_json()
    assert act(api, charge["id"], "pay", provider=wallet).get_json()["status"] == "paid"


def test_the_oldest_account_pays_if_no_wallet_is_named(api):
    charge = api.charge().get_json()
    assert act(api, charge["id"], "pay").get_json()["provider"] == "alipay"


def test_another_amount_than_was_asked_is_no_payment(api):
    charge = api.charge().get_json()
    after = act(api, charge["id"], "pay", provider="wechatpay", amount=1249)
    assert (after.status_code, after.get_json()["status"]) == (200, "pending")
    assert "charge.amount_mismatched" in event_types(charge["id"])


def test_who_is_declined_may_try_again(api):
    charge = api.charge().get_json()
    assert act(api, charge["id"], "decline", provider="alipay").get_json()["status"] == "pending"
    assert act(api, charge["id"], "pay", provider="alipay").get_json()["status"] == "paid"
    assert len(rows_of(Attempt, charge_id=charge["id"])) == 1


def test_a_charge_expires_at_once_and_twice_is_harmless(api):
    charge = api.charge().get_json()
    first, second = act(api, charge["id"], "expire"), act(api, charge["id"], "expire")
    assert (first.get_json()["status"], second.data) == ("expired", first.data)
    assert refusal(act(api, charge["id"], "pay")) == (409, "charge_not_payable", None)
    paid = act(api, api.charge().get_json()["id"], "pay").get_json()
    assert refusal(act(api, paid["id"], "expire")) == (409, "charge_paid", None)


def test_money_can_come_late(api):
    charge = api.charge().get_json()
    assert act(api, charge["id"], "begin", provider="wechatpay").get_json()["status"] == "pending"
    act(api, charge["id"], "expire")
    late = act(api, charge["id"], "pay").get_json()
    assert (late["status"], late["paid_late"]) == ("paid", True)
    assert "charge.paid_late" in event_types(charge["id"])


def test_money_can_come_twice(api):
    charge = api.charge().get_json()
    act(api, charge["id"], "begin", provider="unionpay")
    assert act(api, charge["id"], "pay", provider="alipay").get_json()["provider"] == "alipay"
    assert act(api, charge["id"], "pay", provider="unionpay").get_json()["provider"] == "alipay"
    assert "charge.double_paid" in event_types(charge["id"])


def test_a_lever_bends_this_payment_and_no_other(api):
    charge, other = api.charge().get_json(), api.charge().get_json()
    lever = act(api, charge["id"], "levers", name="wrong_amount", value="+1.00", provider="alipay")
    assert lever.status_code == 201
    assert lever.get_json() == {
        "object": "lever",
        "charge": charge["id"],
        "name": "wrong_amount",
        "value": "+1.00",
        "times": 1,
    }
    assert act(api, other["id"], "pay", provider="alipay").get_json()["status"] == "paid"
    assert act(api, charge["id"], "pay", provider="alipay").get_json()["status"] == "pending"
    unknown = act(api, api.charge().get_json()["id"], "levers", name="gravity")
    assert refusal(unknown) == (400, "sandbox_invalid_lever", None)


def test_a_live_key_finds_nothing_here(api, house):
    charge = api.charge().get_json()
    live = Api(api.client, keys.create_key(merchant_id(), livemode=True, name="live")[1])
    for verb in ("begin", "pay", "decline", "expire", "levers"):
        assert refusal(act(live, charge["id"], verb))[:2] == (404, "not_found")


def test_nobody_plays_with_anothers_charge(api):
    stranger = add_shop("other@shop.example", "别家")
    charge = api.charge().get_json()
    for verb in ("begin", "pay", "decline", "expire"):
        assert refusal(act(Api(api.client, stranger.key), charge["id"], verb))[:2] == (404, "not_found")
    assert rows_of(Attempt, charge_id=charge["id"]) == []


def test_a_wallet_without_an_account_is_named(api):
    accounts.disable_account(merchant_id(), account_of("unionpay"))
    refused = act(api, api.charge().get_json()["id"], "pay", provider="unionpay")
    assert refusal(refused) == (409, "provider_not_set_up", None)


def test_a_payment_that_is_not_at_the_sandbox_is_not_steered(api, far):
    charge = api.charge().get_json()
    act(api, charge["id"], "begin", provider="wechatpay")
    requests.post(f"{far}/control/reset", json={}, timeout=5).raise_for_status()
    assert refusal(act(api, charge["id"], "pay", provider="wechatpay")) == (409, "no_sandbox", None)


def test_without_a_sandbox_the_answer_says_which_setting_is_missing(house, api, monkeypatch):
    monkeypatch.setattr("app.config.Settings.sandbox_origin", "")
    charge = api.charge().get_json()
    refused = act(api, charge["id"], "pay")
    assert refusal(refused)[:2] == (409, "no_sandbox")
    assert "MAFU_SANDBOX_URL" in refused.get_json()["error"]["message"]
