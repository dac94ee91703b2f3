"""Signatures that other people's verifiers accept."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.webhooks.signature import headers_for, new_secret, sign


def test_signature_is_the_one_of_the_standard():
    """The vector that the Standard Webhooks libraries are tested with."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.dictionaries(st.text(), st.integers() | st.text()))
def test_standard_library_accepts_old_and_new_secret_during_a_change(body):
    old, new, stranger = new_secret(), new_secret(), new_secret()
    raw = str(body).encode()
    headers = headers_for([old, new], "evt_1", int(datetime.now(UTC).timestamp()), raw)
    for secret in (old, new):
        assert verifies(secret, raw, headers)
    assert not verifies(stranger, raw, headers)
    assert not verifies(new, raw + b" ", headers)
    assert not verifies(new, raw, {**headers, "webhook-id": "evt_2"})


def test_old_message_is_refused_by_the_standard_library():
    secret = new_secret()
    headers = headers_for([secret], "evt_1", int(datetime.now(UTC).timestamp()) - 3600, b"{}")
    assert not verifies(secret, b"{}", headers)


def test_secret_is_32_random_bytes():
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_secret_makes_one_entry(count):
    entries = sign([new_secret() for _ in range(count)], "evt_1", 1, b"{}").split(" ")
    assert len(entries) == count
    assert all(entry.startswith("v1,") for entry in entries)


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    except ValueError:  # the body is not JSON, which it finds out after the signature was right
        return True
    return True
