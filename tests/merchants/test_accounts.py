"""A merchant's accounts at the providers: sealed, opened into an adapter, and never mixed up."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.db import transaction
from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.merchants import accounts
from app.merchants.models import ProviderAccount
from app.providers.alipay import Alipay
from app.vault import SealBroken
from tests.books import row_of, rows_of
from tests.providers import alipay_forge


def test_an_account_opens_into_an_adapter_that_knows_its_credentials(merchant):
    opened = accounts.open_account(merchant.account_id)
    assert (opened.merchant_id, opened.livemode, opened.enabled) == (merchant.id, False, True)
    assert isinstance(opened.provider, Alipay)
    assert accounts.settings_of(merchant.account_id) == dict(alipay_forge.KEY_MODE)


def test_no_credential_is_readable_in_the_table(merchant):
    sealed = row_of(ProviderAccount).sealed
    for value in alipay_forge.KEY_MODE.values():
        assert value[:20] not in sealed


def test_credentials_copied_to_another_account_do_not_open(merchant, other_merchant):
    table = ProviderAccount.__table__
    theirs = row_of(ProviderAccount, id=other_merchant.account_id).sealed
    with transaction() as tx:
        tx.execute(sa.update(table).where(table.c.id == merchant.account_id).values(sealed=theirs, version=2))
    with pytest.raises(SealBroken):
        accounts.open_account(merchant.account_id)


def test_an_adapter_is_built_once_and_anew_after_a_change(merchant):
    first = accounts.open_account(merchant.account_id).provider
    assert accounts.open_account(merchant.account_id).provider is first
    accounts.change_account(merchant.account_id, alipay_forge.KEY_MODE)
    assert accounts.open_account(merchant.account_id).provider is not first


def test_a_list_shows_one_merchants_accounts_in_one_mode(merchant, other_merchant):
    live = accounts.add_account(
        merchant.id, "alipay", livemode=True, name=" live ", settings=alipay_forge.KEY_MODE
    )
    assert [row.id for row in accounts.list_accounts(merchant.id, livemode=False)] == [merchant.account_id]
    [row] = accounts.list_accounts(merchant.id, livemode=True)
    assert (row.id, row.name, row.provider) == (live, "live", "alipay")


def test_what_no_account_has_as_its_id_finds_none(merchant):
    for account_id in ("", "pa_", "\x00", "pa_\x00", "x" * 5000, "\ud800", new_id("pa"), merchant.id):
        with pytest.raises(NotFound):
            accounts.open_account(account_id)


@pytest.mark.parametrize(
    ("param", "change"),
    [
        ("provider", {"provider": "paypal"}),
        ("name", {"name": ""}),
        ("name", {"name": "x" * 81}),
        ("name", {"name": "a\x00b"}),
        ("colour", {"settings": {**alipay_forge.KEY_MODE, "colour": "red"}}),
        ("app_id", {"settings": {**alipay_forge.KEY_MODE, "app_id": ""}}),
    ],
)
def test_what_cannot_be_used_is_refused_by_field_and_not_stored(merchant, param, change):
    good = {"provider": "alipay", "livemode": False, "name": "till", "settings": alipay_forge.KEY_MODE}
    with pytest.raises(InvalidRequest) as caught:
        accounts.add_account(merchant.id, **{**good, **change})
    assert caught.value.param == param
    assert len(rows_of(ProviderAccount)) == 1


def test_there_are_never_more_open_adapters_than_memory_allows(merchant, app, monkeypatch):
    monkeypatch.setattr(accounts, "_ADAPTERS_MAX", 2)
    for version in range(5):
        accounts.change_account(merchant.account_id, {**alipay_forge.KEY_MODE})
        accounts.open_account(merchant.account_id)
        assert len(app.extensions["mafu.runtime"].adapters) <= 2, version
    assert accounts.open_account(merchant.account_id).provider
