"""An answer is believed only with Alipay's signature; certificate mode and its renewal."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

from app.errors import ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.providers import alipay_certs
from app.providers.alipay import Alipay
from app.providers.base import HttpAnswer, Outcome, Scene
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import (
    CERT_MODE,
    HELD,
    KEYS,
    method_of,
    paid_notice,
    query_answer,
    sent_params,
    verified_params,
)
from tests.providers.contract import NOW, PRICE, REF, REFUND, Verb, Wire, act

# What is not signed, or not by Alipay, is not believed


@pytest.mark.parametrize("verb", [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
@pytest.mark.parametrize("node", ["", "error_response"])
def test_an_unsigned_refusal_means_outcome_unknown_but_says_what_was_heard(
    verb: Verb, node: str, alipay: Alipay, wire: Wire
) -> None:
    fields = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-app-id"}
    wire.gives(far.envelope(method_of(verb), fields, node=node, signature=""))
    with pytest.raises(ProviderUnreachable) as refused:
        act(alipay, verb, Scene.DESKTOP)
    assert refused.value.provider_code == "isv.invalid-app-id"


def test_a_signed_error_response_is_a_definite_no(alipay: Alipay, wire: Wire) -> None:
    fields = {
        "code": "40006",
        "msg": "Insufficient Permissions",
        "sub_code": "isv.insufficient-isv-permissions",
    }
    wire.gives(far.envelope("alipay.trade.refund", fields, node="error_response"))
    with pytest.raises(ProviderRejected):
        alipay.refund(REFUND)


@pytest.mark.parametrize("verb", [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
def test_an_answer_signed_by_somebody_else_means_outcome_unknown(
    verb: Verb, alipay: Alipay, wire: Wire
) -> None:
    fields = {"code": "10000", "msg": "Success", "out_trade_no": REF.out_trade_no, "fund_change": "Y"}
    wire.gives(far.envelope(method_of(verb), fields, key=far.private_key("app.pkcs8.pem")))
    with pytest.raises(ProviderUnreachable):
        act(alipay, verb, Scene.DESKTOP)


@pytest.mark.parametrize(
    "body",
    [
        '{"alipay_trade_query_response":{},"alipay_trade_query_response":{},"sign":"a"}',
        '{"alipay_trade_query_response":"text","sign":"a"}',
        '{"alipay_trade_query_response":{"code":"10000"},"sign":7}',
        '{"alipay_trade_query_response":{"code":"10000"},"sign":"a"} and more',
        '{"alipay_trade_query_response":{"code":"10000"} "sign":"a"}',
        '{7:{"code":"10000"},"sign":"a"}',
        '{"alipay_trade_query_response":{"code":"10000","n":' + "9" * 5000 + '},"sign":"a"}',
        "null",
        '"text"',
    ],
)
def test_a_misshapen_answer_means_outcome_unknown(body: str, alipay: Alipay, wire: Wire) -> None:
    wire.gives(HttpAnswer(200, {}, body.encode()))
    with pytest.raises(ProviderUnreachable):
        alipay.query(REF)


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500, 503])
def test_a_signed_text_under_another_http_status_means_outcome_unknown(
    status: int, alipay: Alipay, wire: Wire
) -> None:
    wire.gives(replace(query_answer(), status=status))
    with pytest.raises(ProviderUnreachable):
        alipay.query(REF)


# Certificate mode


@pytest.fixture
def certified(wire: Wire) -> Alipay:
    return Alipay(CERT_MODE, wire)


def test_certificate_mode_sends_both_numbers_signed(certified: Alipay, wire: Wire) -> None:
    wire.gives(query_answer(cert_number=HELD["alipay_cert_sn"]))
    assert certified.query(REF).outcome is Outcome.SUCCEEDED
    params = verified_params(sent_params(wire))
    assert params["app_cert_sn"] == HELD["app_cert_sn"]
    assert params["alipay_root_cert_sn"] == HELD["alipay_root_cert_sn"]
    assert wire.sent[0].url.startswith("https://openapi.alipay.com/gateway.do?")


def test_an_answer_without_a_number_is_checked_with_the_held_certificate(
    certified: Alipay, wire: Wire
) -> None:
    wire.gives(query_answer())
    assert certified.query(REF).outcome is Outcome.SUCCEEDED


def test_notifications_verify_with_the_held_certificate(certified: Alipay) -> None:
    assert certified.read_callback(paid_notice()).outcome is Outcome.SUCCEEDED


class Successor:
    """A newer certificate for Alipay, made by whoever ``signer`` is."""

    def __init__(
        self,
        *,
        signer: str = "alipay_sub",
        organisation: str = "Sim Alipay",
        days: int = 365,
        between: str = "",
    ) -> None:
        self.key: RSAPrivateKey = rsa_keys.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = x509.load_pem_x509_certificate(KEYS[f"{signer}.crt"].encode())
        self.adopt(
            certify(self.key, issuer.subject, far.private_key(f"{signer}.pkcs8.pem"), organisation, days),
            between,
        )

    def adopt(self, certificate: x509.Certificate, between: str = "") -> None:
        """Take this certificate, and the chain that is sent along with it."""
        text = certificate.public_bytes(serialization.Encoding.PEM).decode() + between
        self.content = base64.b64encode(text.encode()).decode()
        self.number = alipay_certs.serial_number(certificate)

    def download(self) -> HttpAnswer:
        method = "alipay.open.app.alipaycert.download"
        fields = {"code": "10000", "msg": "Success", "alipay_cert_content": self.content}
        return far.envelope(method, fields, key=self.key, cert_number=self.number)


def certify(
    key: RSAPrivateKey, issuer: x509.Name, signer: RSAPrivateKey, organisation: str, days: int
) -> x509.Certificate:
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "CN")
    subject = x509.Name(
        [
            country,
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, "Sim Alipay Sign 2"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=730))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return builder.sign(signer, hashes.SHA256())


def test_a_new_certificate_is_fetched_once_checked_and_used(
    certified: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    heir = Successor()
    wire.gives(query_answer(key=heir.key, cert_number=heir.number), heir.download())
    wire.gives(query_answer(key=heir.key, cert_number=heir.number))
    with caplog.at_level(logging.CRITICAL):
        assert certified.query(REF).outcome is Outcome.SUCCEEDED
    assert certified.query(REF).outcome is Outcome.SUCCEEDED
    assert len(wire.sent) == 3
    asked = sent_params(wire, 1)
    assert asked["method"] == "alipay.open.app.alipaycert.download"
    assert json.loads(asked["biz_content"]) == {"alipay_cert_sn": heir.number}
    assert "new certificate" in caplog.text
    notified = far.notice(far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE), key=heir.key)
    assert certified.read_callback(notified).outcome is Outcome.SUCCEEDED
    assert certified.read_callback(paid_notice()).outcome is Outcome.SUCCEEDED


def test_a_new_certificate_may_bring_its_own_intermediate(wire: Wire) -> None:
    roots = KEYS["alipay_root_rsa.crt"]
    heir = Successor(between=KEYS["alipay_sub.crt"])
    alone = Successor()
    certified = Alipay({**CERT_MODE, "alipay_root_cert": roots}, wire)
    wire.gives(query_answer(key=heir.key, cert_number=heir.number), heir.download())
    assert certified.query(REF).outcome is Outcome.SUCCEEDED
    wire.gives(query_answer(key=alone.key, cert_number=alone.number), alone.download())
    with pytest.raises(ProviderUnreachable):
        certified.query(REF)


def test_a_certificate_from_another_root_is_not_trusted(certified: Alipay, wire: Wire) -> None:
    assert_untrusted(certified, wire, foreign())


def test_a_merchants_certificate_cannot_speak_for_alipay(certified: Alipay, wire: Wire) -> None:
    """Merchants' certificates hang on the same root; only the organisation tells them apart."""
    assert_untrusted(certified, wire, Successor(organisation="Sim Merchant"))


def test_an_expired_certificate_is_not_trusted(certified: Alipay, wire: Wire) -> None:
    assert_untrusted(certified, wire, Successor(days=-1))


def test_a_merchants_certificate_cannot_issue_another(certified: Alipay, wire: Wire) -> None:
    """app_public.crt hangs on the root, but is no authority."""
    merchant = x509.load_pem_x509_certificate(KEYS["app_public.crt"].encode())
    heir = Successor()
    forged = certify(heir.key, merchant.subject, far.private_key("app.pkcs8.pem"), "Sim Alipay", 365)
    heir.adopt(forged, KEYS["app_public.crt"])
    assert_untrusted(certified, wire, heir)


def test_a_certificate_with_another_number_than_announced_is_not_trusted(
    certified: Alipay, wire: Wire
) -> None:
    heir = Successor()
    heir.number = "0" * 32
    assert_untrusted(certified, wire, heir)


@pytest.mark.parametrize("content", ["", "!!!", "测", base64.b64encode(b"\xff\xfe").decode(), "bm90aGluZw=="])
def test_a_download_that_holds_no_certificate_means_outcome_unknown(
    content: str, certified: Alipay, wire: Wire
) -> None:
    heir = Successor()
    heir.content = content
    assert_untrusted(certified, wire, heir)


def assert_untrusted(certified: Alipay, wire: Wire, heir: Successor) -> None:
    wire.gives(query_answer(key=heir.key, cert_number=heir.number), heir.download())
    with pytest.raises(ProviderUnreachable):
        certified.query(REF)
    assert len(wire.sent) == 2
    notified = far.notice(far.notice_fields(REF.out_trade_no, "TRADE_SUCCESS", PRICE), key=heir.key)
    with pytest.raises(SignatureMismatch):
        certified.read_callback(notified)


def foreign() -> Successor:
    """Issued by UnionPay's root under the very name of Alipay's intermediate."""
    heir = Successor()
    issuer = x509.load_pem_x509_certificate(KEYS["alipay_sub.crt"].encode()).subject
    heir.adopt(certify(heir.key, issuer, far.private_key("up_root.pkcs8.pem"), "Sim Alipay", 365))
    return heir
