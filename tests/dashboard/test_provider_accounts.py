"""The room for payment methods: secrets go in and never come out, and a test says what is wrong."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest

from app.callbacks.account_states import states_of
from app.charges import attempts, rekeying
from app.charges.attempts import Payer
from app.db import transaction
from app.errors import Conflict, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.merchants import accounts, sessions
from app.merchants.models import AuditEntry, ProviderAccount
from app.providers import REGISTRY
from app.providers.alipay import Alipay
from app.providers.base import Outcome, Scene
from app.providers.expiry import endings_of
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.providers import alipay_forge, unionpay_forge, wechatpay_forge

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ROOM = "/settings/providers"
FORM = {name: text for name, text in alipay_forge.KEY_MODE.items() if name != "private_key"}
KEY = alipay_forge.KEY_MODE["private_key"]


def test_an_account_is_added_from_a_form_with_its_key_as_a_file(owner: Person, merchant: Shop) -> None:
    owner.get(f"{ROOM}/new?provider=alipay")
    key = (io.BytesIO(KEY.encode()), "app.pem")
    form = {**FORM, "account_name": "正式", "mode": "live", "private_key": key}
    answer = owner.post(f"{ROOM}/new?provider=alipay", form, content_type="multipart/form-data")
    assert answer.status_code == 303, answer.text
    [row] = accounts.list_accounts(merchant.id, livemode=True)
    stored = accounts.settings_of(row.id)
    assert {name: text.strip() for name, text in stored.items()} == {
        name: text.strip() for name, text in alipay_forge.KEY_MODE.items()
    }
    assert [each.action for each in books.rows_of(AuditEntry, object_id=row.id)] == ["provider_account.added"]


def test_a_secret_is_on_no_page_and_stays_if_its_field_is_empty(owner: Person, merchant: Shop) -> None:
    path = f"{ROOM}/{merchant.account_id}"
    secret = KEY.replace("-----BEGIN PRIVATE KEY-----", "").strip()[:40]
    page = owner.get(path).text
    assert secret not in page
    assert FORM["app_id"] in page
    assert "Stored. Leave it empty to keep it." in page
    refused = owner.post(path, {**FORM, "private_key": KEY, "alipay_public_key": "nonsense", "mode": "test"})
    assert refused.status_code == 400
    assert "This is no certificate and no key" in refused.text
    assert secret not in refused.text
    assert owner.post(path, {**FORM, "seller_id": "2088000000000009", "mode": "test"}).status_code == 303
    stored = accounts.settings_of(merchant.account_id)
    assert (stored["private_key"], stored["seller_id"]) == (KEY, "2088000000000009")
    owner.get(ROOM)
    owner.post(f"{path}/disable", {"mode": "test"})
    assert not books.row_of(ProviderAccount).enabled
    assert "Disabled" in owner.get(ROOM).text
    owner.post(f"{path}/enable", {"mode": "test"})
    assert books.row_of(ProviderAccount).enabled


def test_a_proof_is_asked_for_and_a_file_is_not_lost_by_that(owner: Person, merchant: Shop, at) -> None:
    owner.get(f"{ROOM}/new?provider=alipay")
    at(sessions.PROOF_LIFE + timedelta(seconds=1))
    key = (io.BytesIO(KEY.encode()), "app.pem")
    form = {**FORM, "account_name": "二", "mode": "test", "private_key": key}
    asked = owner.post(f"{ROOM}/new?provider=alipay", form, content_type="multipart/form-data")
    assert asked.status_code == 401
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.text))
    done = owner.post(f"{ROOM}/new?provider=alipay", {**hidden, "proof_password": merchant.password})
    assert done.status_code == 303, done.text
    assert len(accounts.list_accounts(merchant.id, livemode=False)) == 2


def test_another_app_id_is_refused_while_something_is_under_way(owner: Person, merchant: Shop) -> None:
    other = {**alipay_forge.KEY_MODE, "app_id": "2021000000000042"}
    charge = books.make_charge(merchant)
    books.make_attempt(merchant, charge.id)
    rekeying.change_account(merchant.account_id, alipay_forge.KEY_MODE)  # a key may be renewed all the same
    with pytest.raises(Conflict, match="1 payments and 0 refunds are under way"):
        rekeying.change_account(merchant.account_id, other)
    path = f"{ROOM}/{merchant.account_id}"
    owner.get(path)
    page = owner.post(path, {**FORM, "app_id": other["app_id"], "mode": "test"})
    assert page.status_code == 409
    assert "would never be found under another" in page.text
    books.pay(charge.id)
    refund = books.refund(merchant, charge.id)
    with pytest.raises(Conflict, match="0 payments and 1 refunds"):
        rekeying.change_account(merchant.account_id, other)
    books.end_refund(merchant, refund.id, Outcome.SUCCEEDED)
    rekeying.change_account(merchant.account_id, other)
    assert accounts.settings_of(merchant.account_id)["app_id"] == other["app_id"]


OWN, MERCHANTS = alipay_forge.SETTINGS, {**alipay_forge.KEY_MODE, "app_auth_token": "202601BB1"}
WECHAT = wechatpay_forge.PUBLIC_KEY_MODE
SUB = {**WECHAT, "sub_mchid": "1900000208", "sub_appid": "wxsub1"}


@pytest.mark.parametrize(
    ("provider", "before", "after", "is_another"),
    [
        ("alipay", OWN, alipay_forge.KEY_MODE, False),  # who it was is only told now
        ("alipay", OWN, MERCHANTS, True),  # paid to its own, now to a merchant of its
        ("alipay", MERCHANTS, {**MERCHANTS, "app_auth_token": ""}, True),
        ("alipay", MERCHANTS, {**MERCHANTS, "app_auth_token": "202612BB2"}, False),  # renewed
        ("wechatpay", WECHAT, {**WECHAT, "mobile_appid": "wxapp1"}, False),
        ("wechatpay", {**WECHAT, "mobile_appid": "wxapp1"}, {**WECHAT, "mobile_appid": "wxapp2"}, True),
        ("wechatpay", SUB, {**SUB, "sub_appid": "wxsub2"}, True),
        ("wechatpay", SUB, {**SUB, "app_secret": "0" * 32}, False),
    ],
)
def test_who_would_not_be_found_again_is_another_merchant(
    merchant: Shop, provider, before, after, is_another
):
    account_id = accounts.add_account(merchant.id, provider, livemode=False, name="x", settings=before)
    account, charge = accounts.open_account(account_id), books.make_charge(merchant)
    with transaction() as tx:
        charge, _ = attempts.lock_payable(tx, charge.id, account)
        attempts.record(tx, charge, account, scene=Scene.APP, expires_at=charge.expires_at)
    if is_another:
        with pytest.raises(Conflict, match="1 payments and 0 refunds"):
            rekeying.change_account(account_id, after)
    else:
        rekeying.change_account(account_id, after)


def test_nothing_is_started_with_credentials_that_have_just_changed(merchant: Shop) -> None:
    charge, opened = books.make_charge(merchant), accounts.open_account(merchant.account_id)
    rekeying.change_account(merchant.account_id, {**alipay_forge.KEY_MODE, "app_id": "2021000000000042"})
    payer = Payer(Scene.DESKTOP, "https://pay.example.com/C/x?back=1")
    with pytest.raises(Conflict, match="have just changed"):
        attempts.start_attempt(charge.id, opened, payer)
    assert attempts.list_attempts(merchant.id, charge.id) == []
    assert attempts.start_attempt(charge.id, accounts.open_account(merchant.account_id), payer)


def test_nothing_is_started_through_an_account_that_has_just_been_disabled(merchant: Shop) -> None:
    charge, opened = books.make_charge(merchant), accounts.open_account(merchant.account_id)
    accounts.disable_account(merchant.id, merchant.account_id)
    with pytest.raises(Conflict, match="have just changed"):
        attempts.start_attempt(charge.id, opened, Payer(Scene.DESKTOP, "https://pay.example.com/C/x?back=1"))
    assert attempts.list_attempts(merchant.id, charge.id) == []


def _forged() -> ProviderUnreachable:
    silence = ProviderUnreachable("a wrong signature")
    silence.__cause__ = SignatureMismatch("the signature does not match")
    return silence


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "It works: Alipay knows this account"),
        (ProviderRejected("no", provider_code="isv.invalid-app-id"), "does not know this application"),
        (ProviderRejected("no", provider_code="aop.invalid-app-auth-token"), "ask for another token"),
        (ProviderRejected("no", provider_code="aop.app-auth-token-time-out"), "ask for another token"),
        (ProviderRejected("no", provider_code="aop.invalid-app-auth-token-no-api"), "does not cover this"),
        (ProviderRejected("no", provider_code="ACQ.NEW_WORD"), "Look the code up"),
        (ProviderUnreachable("no", provider_code="isv.invalid-signature"), "does not know this private key"),
        (_forged(), "perhaps your own key stands there"),
        (ProviderUnreachable("gateway.example: timed out"), "name lookups, a firewall"),
    ],
)
def test_a_connection_is_tested_and_explained(
    owner: Person, merchant: Shop, monkeypatch, answer: Exception | None, words: str
) -> None:
    if answer is not None:

        def fail(self, ref):
            raise answer

        monkeypatch.setattr(Alipay, "query", fail)
    owner.get(ROOM)
    page = owner.post(f"{ROOM}/{merchant.account_id}/try", {"mode": "test"})
    assert page.status_code == 200
    assert words in page.text


def test_nobody_tries_or_changes_anothers_account(owner: Person, other_merchant: Shop) -> None:
    owner.get(ROOM)
    for deed in ("", "/try", "/enable", "/disable"):
        assert owner.post(f"{ROOM}/{other_merchant.account_id}{deed}", {**FORM}).status_code == 404
    assert owner.get(f"{ROOM}/{other_merchant.account_id}").status_code == 404


def test_the_page_knows_what_was_heard_and_what_ends(merchant: Shop) -> None:
    books.make_paid(merchant)
    [state] = states_of(merchant.id, livemode=False)
    assert state.paid_at is not None
    assert state.is_deaf
    assert state.callback_url.endswith(f"/callbacks/{merchant.account_id}")
    ends = endings_of(REGISTRY["unionpay"].credentials, unionpay_forge.PFX)
    assert len(ends) >= 2
    assert ends == sorted(ends, key=lambda each: each.at)
