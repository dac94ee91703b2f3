"""Secrets at rest open in their own place, with a key that is listed, and untouched; else not at all."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vault import SealBroken, Vault

OLD, NEW = "old-vault-key-0123456789-abcdefghij", "new-vault-key-0123456789-abcdefghij"
PLACE = "webhook_endpoints/we_1/secret"
VAULT = Vault([OLD])


@given(secret=st.text(max_size=300), place=st.text(max_size=60))
def test_what_is_sealed_opens_in_its_place(secret, place):
    sealed = VAULT.seal(secret, place)
    assert VAULT.unseal(sealed, place) == secret
    assert len(secret) < 6 or secret not in sealed


def test_the_same_secret_is_never_sealed_alike():
    assert len({VAULT.seal("whsec_x", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "place", ["webhook_endpoints/we_2/secret", "webhook_endpoints/we_1/other", "", PLACE + " "]
)
def test_a_value_copied_to_another_place_does_not_open(place):
    with pytest.raises(SealBroken):
        VAULT.unseal(VAULT.seal("whsec_x", PLACE), place)


def test_every_flipped_bit_is_noticed():
    sealed = VAULT.seal("whsec_x", PLACE)
    head, _, body = sealed.rpartition(".")
    raw = base64.b64decode(body)
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(SealBroken):
            VAULT.unseal(f"{head}.{base64.b64encode(changed).decode()}", PLACE)


@given(text=st.text(max_size=80) | st.text(max_size=60).map(lambda tail: VAULT.seal("x", PLACE)[:12] + tail))
def test_no_other_text_opens(text):
    with pytest.raises(SealBroken):
        VAULT.unseal(text, PLACE)


def test_a_value_cut_short_or_made_longer_does_not_open():
    sealed = VAULT.seal("whsec_x", PLACE)
    for changed in [sealed[:cut] for cut in range(len(sealed) - 3)] + [sealed + "AAAA", "v2" + sealed[2:]]:
        with pytest.raises(SealBroken):
            VAULT.unseal(changed, PLACE)


def test_rotation_opens_the_old_and_seals_with_the_new():
    sealed = VAULT.seal("whsec_x", PLACE)
    both = Vault([OLD, NEW])
    assert sealed.startswith(VAULT.current_prefix)
    assert not sealed.startswith(both.current_prefix)
    afresh = both.seal(both.unseal(sealed, PLACE), PLACE)
    assert afresh.startswith(both.current_prefix)
    assert Vault([NEW]).unseal(afresh, PLACE) == "whsec_x"
    with pytest.raises(SealBroken):
        Vault([NEW]).unseal(sealed, PLACE)
    with pytest.raises(SealBroken):
        VAULT.unseal(afresh, PLACE)


@pytest.mark.parametrize("keys", [[], (), [""], ["x" * 40, ""], "a-string-is-no-list-of-keys-0123456789"])
def test_a_vault_without_a_key_is_not_built(keys):
    with pytest.raises(ValueError, match="keys"):
        Vault(keys)


def test_a_vault_shows_no_key():
    assert OLD not in repr(VAULT)
    assert OLD not in str(vars(VAULT))
