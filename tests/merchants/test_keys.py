"""API keys: shown once, stored as a digest, refused before the database is asked, and revoked at once."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app import clock, db
from app.errors import InvalidRequest, NotAuthenticated, NotFound
from app.merchants import keys
from app.merchants.models import ApiKey
from tests.books import row_of, rows_of

# What a scanner for leaked keys would look for.
SHAPE = re.compile(r"mafu_sk_(test|live)_[0-9A-Za-z]{43}[0-9A-Za-z]{6}")


def test_a_key_opens_its_merchant_in_its_mode(merchant):
    for livemode in (False, True):
        key_id, key = keys.create_key(merchant.id, livemode=livemode, name="till")
        assert keys.authenticate(key) == keys.Caller(merchant.id, key_id, livemode)
        assert SHAPE.fullmatch(key)
        assert key.startswith("mafu_sk_live_" if livemode else "mafu_sk_test_")


def test_no_key_can_be_read_from_the_table(merchant):
    key_id, key = keys.create_key(merchant.id, livemode=False, name="till")
    row = row_of(ApiKey, id=key_id)
    stored = " ".join(str(value) for value in row)
    assert key not in stored
    assert not any(key[at : at + 12] in stored for at in range(13, len(key) - 12))
    assert (row.last4, len(row.digest)) == (key[-4:], 64)


def test_keys_are_never_alike(merchant):
    made = {keys.create_key(merchant.id, livemode=False, name="till")[1] for _ in range(30)}
    assert len(made) == 30


def test_a_mistyped_key_costs_no_query(merchant):
    asked: list[str] = []
    sa.event.listen(db.db.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    for at in range(len(merchant.key)):
        wrong = merchant.key[:at] + ("A" if merchant.key[at] != "A" else "B") + merchant.key[at + 1 :]
        with pytest.raises(NotAuthenticated) as caught:
            keys.authenticate(wrong)
        assert caught.value.code == "invalid_api_key"
    assert asked == []
    keys.authenticate(merchant.key)
    assert asked


@pytest.mark.parametrize(
    "text",
    ["", "mafu_sk_test_", "x" * 10_000, "码付", "mafu_sk_test_" + "\x00" * 49, "\ud800", "mafu_pk_test_x"],
)
def test_what_is_no_key_is_refused(merchant, text):
    with pytest.raises(NotAuthenticated, match="not a key of ours"):
        keys.authenticate(text)


def test_a_revoked_key_says_so_and_only_to_its_holder(merchant):
    key_id, key = keys.create_key(merchant.id, livemode=False, name="till")
    keys.revoke_key(merchant.id, key_id)
    with pytest.raises(NotAuthenticated) as caught:
        keys.authenticate(key)
    assert caught.value.code == "api_key_revoked"
    with pytest.raises(NotFound):
        keys.revoke_key(merchant.id, key_id)
    assert keys.authenticate(merchant.key).merchant_id == merchant.id


def test_nobody_revokes_anothers_key(merchant, other_merchant):
    key_id, key = keys.create_key(merchant.id, livemode=False, name="till")
    with pytest.raises(NotFound):
        keys.revoke_key(other_merchant.id, key_id)
    with pytest.raises(NotFound):
        keys.revoke_key(merchant.id, "key_unknown")
    assert keys.authenticate(key)


def test_its_last_use_is_noted_once_a_minute(merchant, at):
    def used_at():
        return row_of(ApiKey, merchant_id=merchant.id).last_used_at

    assert used_at() is None
    keys.authenticate(merchant.key)
    first = used_at()
    assert clock.now() - first < timedelta(seconds=10)
    at(timedelta(seconds=50))
    keys.authenticate(merchant.key)
    assert used_at() == first
    at(timedelta(seconds=20))
    keys.authenticate(merchant.key)
    assert used_at() - first > timedelta(seconds=60)


def test_a_list_shows_the_newest_first_and_the_revoked_last(merchant, other_merchant):
    ids = [row_of(ApiKey, merchant_id=merchant.id).id]
    ids += [keys.create_key(merchant.id, livemode=False, name=name)[0] for name in ("a", "b")]
    keys.revoke_key(merchant.id, ids[2])
    assert [row.id for row in keys.list_keys(merchant.id)] == [ids[1], ids[0], ids[2]]
    assert len(keys.list_keys(other_merchant.id)) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b", "a\nb", "a\n"])
def test_a_key_has_a_name(merchant, name):
    with pytest.raises(InvalidRequest) as caught:
        keys.create_key(merchant.id, livemode=False, name=name)
    assert caught.value.param == "name"
    assert len(rows_of(ApiKey, merchant_id=merchant.id)) == 1
