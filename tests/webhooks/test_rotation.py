"""Changing the keys: for a while both the old and the new ones verify, and no receiver refuses anything."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.db import transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.runtime import vault
from app.webhooks import endpoints
from app.webhooks.endpoints import OVERLAP_S_MAX, secret_place
from app.webhooks.models import Delivery, DeliveryAttempt, DeliveryState, WebhookEndpoint
from tests.books import row_of, rows_of
from tests.webhooks.receiver import Request
from tests.webhooks.turns import deliver_due


def accepts(secret: str, request: Request) -> bool:
    """Whether the stock library takes it, with the tolerance of its own clock."""
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


def accepts_a(public_key: str, request: Request) -> bool:
    """The same for v1a, by a library that is not ours either."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    content = b".".join(
        [request.headers[name].encode() for name in ("webhook-id", "webhook-timestamp")] + [request.body]
    )
    for entry in request.headers["webhook-signature"].split(" "):
        scheme, _, signature = entry.partition(",")
        if scheme == "v1a":
            try:
                key.verify(base64.b64decode(signature), content)
            except InvalidSignature:
                continue
            return True
    return False


@pytest.fixture
def hear(tell, sender, receiver):
    """Tell of something; what the receiver gets."""

    def hear() -> Request:
        tell()
        deliver_due(sender)
        return receiver.requests[-1]

    return hear


def test_both_secrets_sign_until_the_old_one_ends(listen, hear, shop_id, at):
    endpoint_id, old = listen()
    _, new = endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=3600)
    request = hear()
    assert accepts(old, request)
    assert accepts(new, request)
    assert request.headers["webhook-signature"].count("v1,") == 2
    assert rows_of(DeliveryAttempt)[-1].signed_with == "v1 v1"
    at(timedelta(seconds=3500))
    assert hear().headers["webhook-signature"].count("v1,") == 2
    at(timedelta(seconds=200))
    assert hear().headers["webhook-signature"].count("v1,") == 1
    assert rows_of(DeliveryAttempt)[-1].signed_with == "v1"


def test_a_secret_that_others_know_ends_at_once(listen, hear, shop_id):
    endpoint_id, old = listen()
    _, new = endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=0)
    request = hear()
    assert accepts(new, request)
    assert not accepts(old, request)


def test_at_most_two_old_secrets_sign(listen, hear, shop_id, at):
    endpoint_id, first = listen()
    secrets = [first, *[endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=60)[1] for _ in range(2)]]
    with pytest.raises(Conflict):
        endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=60)
    request = hear()
    assert [accepts(secret, request) for secret in secrets] == [True] * 3
    latest = endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=0)[1]  # that is always possible
    request = hear()
    assert [accepts(secret, request) for secret in [*secrets, latest]] == [True, True, False, True]
    at(timedelta(seconds=61))
    endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=60)
    assert len(row_of(WebhookEndpoint).old_secrets) == 1


def test_every_secret_is_sealed_to_its_row(listen, shop_id):
    endpoint_id, first = listen()
    row, second = endpoints.rotate_secret(shop_id, endpoint_id)
    for secret in (first, second):
        assert secret.removeprefix("whsec_") not in str(tuple(row))
    assert vault().unseal(row.old_secrets[0]["sealed"], secret_place(endpoint_id)) == first
    assert vault().unseal(row.sealed_secret, secret_place(endpoint_id)) == second


@pytest.mark.parametrize("overlap_s", [-1, OVERLAP_S_MAX + 1])
def test_an_overlap_has_bounds(listen, shop_id, overlap_s):
    endpoint_id, _ = listen()
    with pytest.raises(InvalidRequest) as refused:
        endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=overlap_s)
    assert refused.value.param == "expires_in_s"


def test_nobody_changes_anothers_secret(listen, shop_id, other_merchant):
    endpoint_id, _ = listen()
    for merchant_id, livemode in ((other_merchant.id, False), (shop_id, True)):
        with pytest.raises(NotFound):
            endpoints.rotate_secret(merchant_id, endpoint_id, livemode=livemode)


def test_an_asymmetric_signature_stands_beside_the_symmetric_one(listen, hear, shop_id):
    _, secret = listen(asymmetric=True)
    public_key = row_of(WebhookEndpoint).public_key
    request = hear()
    assert public_key.startswith("whpk_")
    assert accepts(secret, request)
    assert accepts_a(public_key, request)
    assert not accepts_a(public_key, Request(request.path, request.headers, request.body + b" ", 0))
    assert rows_of(DeliveryAttempt)[-1].signed_with == "v1 v1a"


def test_asymmetric_keys_change_with_an_overlap_too(listen, hear, shop_id):
    endpoint_id, _ = listen(asymmetric=True)
    old = row_of(WebhookEndpoint).public_key
    endpoints.rotate_secret(shop_id, endpoint_id)
    new = row_of(WebhookEndpoint).public_key
    request = hear()
    assert old != new
    assert accepts_a(old, request)
    assert accepts_a(new, request)
    endpoints.rotate_secret(shop_id, endpoint_id, overlap_s=0)
    request = hear()
    assert not accepts_a(new, request)
    assert accepts_a(row_of(WebhookEndpoint).public_key, request)


def test_an_asymmetric_key_comes_and_goes_and_the_secret_stays(listen, hear, shop_id):
    endpoint_id, secret = listen()
    endpoints.update_endpoint(shop_id, endpoint_id, {"asymmetric": True})
    public_key = row_of(WebhookEndpoint).public_key
    endpoints.update_endpoint(shop_id, endpoint_id, {"asymmetric": True})
    assert row_of(WebhookEndpoint).public_key == public_key
    request = hear()
    assert accepts(secret, request)
    assert accepts_a(public_key, request)
    endpoints.update_endpoint(shop_id, endpoint_id, {"asymmetric": False})
    request = hear()
    assert accepts(secret, request)
    assert "v1a," not in request.headers["webhook-signature"]
    assert row_of(WebhookEndpoint).public_key is None


@pytest.mark.parametrize("sealed", ["v1.x.AAAA", "nonsense"])
def test_an_old_secret_that_cannot_be_opened_stops_nothing(listen, hear, shop_id, sealed):
    endpoint_id, _ = listen()
    row, new = endpoints.rotate_secret(shop_id, endpoint_id)
    broken = [{**row.old_secrets[0], "sealed": sealed}]
    with transaction() as tx:
        tx.execute(sa.update(WebhookEndpoint).values(old_secrets=broken))
    assert accepts(new, hear())


def test_a_key_that_cannot_sign_fails_the_try_and_holds_up_nobody(
    tell, listen, sender, receiver, shop_id, at
):
    """A poisoned row is pushed away ever longer; left in hand it would keep its slot."""
    bad, _ = listen("/ok/bad")
    listen("/ok/good")
    with transaction() as tx:
        tx.execute(
            sa.update(WebhookEndpoint)
            .where(WebhookEndpoint.id == bad)
            .values(sealed_secret=vault().seal("whsec_not base64", secret_place(bad)))
        )
    tell()
    deliver_due(sender)
    assert [request.path for request in receiver.requests] == ["/ok/good"]
    [attempt] = [row for row in rows_of(DeliveryAttempt) if row.error]
    assert (attempt.error, attempt.signed_with) == ("it cannot be signed", None)
    at(timedelta(seconds=4))
    assert deliver_due(sender) == 0
    assert endpoints.find_endpoint(shop_id, bad).failing_since is not None


def test_whatever_is_changed_waits_for_nobody(tell, listen, sender, receiver, shop_id):
    """What was on its way when the address changed goes to the new one."""
    endpoint_id, _ = listen("/fail")
    tell()
    endpoints.update_endpoint(shop_id, endpoint_id, {"url": receiver.url("/ok"), "description": "till 2"})
    deliver_due(sender)
    assert [request.path for request in receiver.requests] == ["/ok"]
    assert row_of(WebhookEndpoint).description == "till 2"


def test_a_changed_filter_holds_for_what_happens_from_now_on(tell, listen, sender, receiver, shop_id):
    endpoint_id, _ = listen(event_types=["charge.paid"])
    tell("charge.expired")
    endpoints.update_endpoint(shop_id, endpoint_id, {"event_types": ["charge.expired"]})
    tell("charge.expired"), tell("charge.paid")
    deliver_due(sender)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"event_types": ["charge.payed"]}, "event_types"),
        ({"description": "a\nb"}, "description"),
    ],
)
def test_a_faulty_change_changes_nothing(listen, shop_id, changes, param):
    endpoint_id, _ = listen()
    before = row_of(WebhookEndpoint)
    with pytest.raises(InvalidRequest) as refused:
        endpoints.update_endpoint(shop_id, endpoint_id, {"disabled": True, **changes})
    assert refused.value.param == param
    assert row_of(WebhookEndpoint) == before


def test_an_endpoint_is_disabled_and_enabled_on_request(tell, listen, sender, receiver, shop_id):
    endpoint_id, _ = listen("/ok/1")
    listen("/ok/2", event_types=["webhook_endpoint.disabled"])
    tell()
    row = endpoints.update_endpoint(shop_id, endpoint_id, {"disabled": True})
    assert row.disabled_reason == "asked"
    again = endpoints.update_endpoint(shop_id, endpoint_id, {"disabled": True})
    assert again == row
    deliver_due(sender)
    assert [request.path for request in receiver.requests] == ["/ok/2"]
    assert endpoints.update_endpoint(shop_id, endpoint_id, {"disabled": False}).disabled_at is None
    tell()
    deliver_due(sender)
    assert receiver.requests[-1].path == "/ok/1"
    states = [row.state for row in rows_of(Delivery, endpoint_id=endpoint_id)]
    assert states == [DeliveryState.ABANDONED, DeliveryState.DELIVERED]
