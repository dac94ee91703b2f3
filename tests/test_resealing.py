"""A change of keys: everything is sealed afresh, and then the old key can go."""

from __future__ import annotations

import json
from datetime import timedelta

import pyotp
import pytest
import sqlalchemy as sa

from app import checkup, clock, resealing
from app.db import Base, transaction
from app.epay import switch
from app.merchants import accounts, letters, people, second_factor, sessions
from app.merchants.letters import Letter, Topic
from app.merchants.models import ProviderAccount
from app.runtime import vault
from app.webhooks import endpoints
from tests.api.calls import Api
from tests.books import rows_of
from tests.conftest import KEYS, add_shop, running, settings_for

OLD = KEYS["encryption_keys"][0]
NEW = "another-vault-key-0123456789-abcdefghij"
MAIL = {"smtp_host": "127.0.0.1", "smtp_security": "none", "smtp_from": "mafu@example.com"}


def test_after_resealing_the_old_key_can_be_taken_away(database_url, tmp_path, monkeypatch, at):
    monkeypatch.setattr(resealing, "BATCH", 2)

    def under(*held: str):
        return running(settings_for(database_url, tmp_path, encryption_keys=held, **MAIL))

    with under(OLD) as app:
        shop = add_shop()
        credentials = accounts.settings_of(shop.account_id)
        switch.enable(shop.id, livemode=False)
        for _ in range(4):
            endpoint, secret = endpoints.create_endpoint(shop.id, livemode=False, url="http://127.0.0.1:9/")
        me = sessions.who_is(people.sign_in(shop.email, shop.password, address=""))
        totp = pyotp.parse_uri(second_factor.begin_totp(me))
        second_factor.confirm_totp(me, totp.now(), me.actor())
        with transaction() as tx:
            letters.write(tx, shop.id, Letter(Topic.RESET, "a@b.example"))
        first = Api(app.test_client(), shop.key).charge(once="k-1")
    with under(OLD, NEW) as app:
        assert _finding().level == "warning"
        result = app.test_cli_runner().invoke(args=["vault", "reseal", "--json"])
        assert result.exit_code == 0, result.output
        told = {each["column"]: each["sealed"] for each in json.loads(result.stdout)["columns"]}
        assert told["webhook_endpoints.sealed_secret"] == 4
        assert set(told) == {one.name for one in resealing.SEALED}
        assert all(told.values()), told
        assert [each.sealed for each in resealing.reseal_all(vault())] == [0] * len(told)
        assert _finding().level == "ok"
    with under(NEW) as app:
        assert accounts.settings_of(shop.account_id) == credentials
        [row] = [row for row in endpoints.list_endpoints(shop.id, livemode=False) if row.id == endpoint.id]
        assert secret in vault().unseal(row.sealed_secret, endpoints.secret_place(row.id))
        assert Api(app.test_client(), shop.key).charge(once="k-1").data == first.data
        half = people.sign_in(shop.email, shop.password, address="")
        at(timedelta(seconds=second_factor.STEP_S))  # a code opens once
        assert second_factor.finish_sign_in(half, totp.at(clock.now()), sessions.Browser())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_no_key_opens_is_named_and_left_alone(app, merchant):
    table = ProviderAccount.__table__
    with transaction() as tx:
        tx.execute(sa.update(table).values(sealed="v1.00000000.xxxx"))
    result = app.test_cli_runner().invoke(args=["vault", "reseal"])
    assert result.exit_code == 1
    assert "provider_accounts.sealed: 1 cannot be opened" in result.stderr
    assert [row.sealed for row in rows_of(ProviderAccount)] == ["v1.00000000.xxxx"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_sealed_column_is_forgotten(app):
    """They are named so, but for the answers to repeated requests."""
    named = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "seal" in column.name
    }
    assert {one.name for one in resealing.SEALED} == named | {"idempotency_keys.body"}


def _finding() -> checkup.Finding:
    return dict(checkup.examine(without=("web",)))["seals"]
