"""Credentials come from a file, are checked before they are stored, and are never printed."""

from __future__ import annotations

import json

import pytest

from app import runtime
from app.merchants import accounts, trial
from app.merchants.actor import SERVER
from tests.cli.conftest import json_of
from tests.conftest import add_shop
from tests.providers import alipay_forge


@pytest.fixture
def credentials(tmp_path):
    def write(**changes):
        path = tmp_path / "alipay.json"
        path.write_text(json.dumps({**alipay_forge.KEY_MODE, **changes}), encoding="utf-8")
        return str(path)

    return write


def test_an_account_is_added_from_a_file_and_offered(run, house, credentials):
    shop = add_shop()
    made = json_of(run("account", "add", "alipay", "--live", "--credentials", credentials(), "--json"))
    assert accounts.open_account(made["id"]).provider.info.code == "alipay"
    assert [row.id for row in accounts.list_accounts(shop.id, livemode=True)] == [made["id"]]
    listed = run("account", "list", "--live")
    assert made["id"] in listed.output


def test_a_wrong_credential_is_named_and_not_quoted(run, house, credentials):
    shop = add_shop()
    result = run(
        "account", "add", "alipay", "--live", "--credentials", credentials(private_key="hunter2hunter2")
    )
    assert result.exit_code == 1
    assert "hunter2" not in result.output + result.stderr
    assert accounts.list_accounts(shop.id, livemode=True) == []


@pytest.mark.parametrize(
    "text", ["", "[]", '{"app_id": 1}', '{"app_id": "1", "app_id": "2"}', '{"no_such": "1"}']
)
def test_a_file_that_is_not_an_object_of_texts_is_refused(run, house, tmp_path, text):
    add_shop()
    path = tmp_path / "x.json"
    path.write_text(text)
    assert run("account", "add", "alipay", "--credentials", str(path)).exit_code == 1


def test_credentials_are_replaced_and_an_account_is_disabled(run, house, credentials):
    shop = add_shop()
    assert (
        run(
            "account", "change", shop.account_id, "--credentials", credentials(seller_id="2088000000000009")
        ).exit_code
        == 0
    )
    assert accounts.settings_of(shop.account_id)["seller_id"] == "2088000000000009"
    assert run("account", "disable", shop.account_id).exit_code == 0
    assert accounts.list_accounts(shop.id, livemode=False) == []


def test_the_fields_of_a_provider_are_told(run, house):
    assert "private_key" in run("account", "fields", "alipay").output
    assert "app_id" in json_of(run("account", "fields", "alipay", "--json"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "own"),
    [
        ("alipay --service-provider", {"app_auth_token", "seller_id"}),
        ("wechatpay --service-provider", {"sub_mchid"}),
        ("unionpay", {"mer_id"}),
    ],
)
def test_a_sample_of_the_sandboxs_is_added_and_its_connection_works(run, house, far, tmp_path, words, own):
    """What a service provider enters for a merchant is to be had where payments can be tried."""
    shop = add_shop()
    moved = house.extensions["mafu.runtime"].settings.model_copy(update={"sandbox_url": far})
    runtime.init_app(house, moved)
    sample = json_of(run(f"account sample {words}"))
    assert own <= sample.keys()
    path = tmp_path / "sample.json"
    path.write_text(json.dumps(sample))
    made = json_of(run("account", "add", words.split()[0], "--credentials", str(path), "--json"))
    assert trial.try_account(shop.id, made["id"], by=SERVER) == trial.Trial(trial.Finding.WORKS)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_where_there_are_no_service_providers_no_sample_of_one_is_made(run, house, far):
    result = run("account sample unionpay --service-provider")
    assert result.exit_code == 1
    assert "no service providers" in result.output + result.stderr
