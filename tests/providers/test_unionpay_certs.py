"""A certificate that came in the message speaks for UnionPay only if everything about it is right."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest, SignatureMismatch
from app.providers import rsa
from app.providers.base import Inbound, Outcome
from app.providers.unionpay import UnionPay
from app.providers.unionpay_certs import UNIONPAY_TEST
from tests.providers import unionpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, Wire
from tests.providers.unionpay_forge import KEYS, PAIR, Signer, certificate

READER, _ = far.connected()
TEST = UnionPay({**PAIR, "environment": "test"}, Wire())
FIELDS = far.payment_fields(REF.out_trade_no, "00", PRICE)
TEST_NAME = f"CFCA@SIM@{UNIONPAY_TEST}@1"


def told(cert: str, key: str = "up_sign.pkcs8.pem", *, at: datetime = NOW) -> Inbound:
    """A paid notification, well signed, with this certificate in it."""
    return replace(far.notice(FIELDS, Signer(key, cert)), received_at=at)


def refused(inbound: Inbound, reason: str, reader: UnionPay = READER) -> None:
    with pytest.raises(SignatureMismatch, match=reason):
        reader.read_callback(inbound)


def test_unionpays_next_certificate_is_believed_without_a_setting() -> None:
    assert READER.read_callback(told(certificate())).outcome is Outcome.SUCCEEDED


def test_a_certificate_that_vouches_for_itself_is_refused() -> None:
    own = certificate(issuer="", subject_key="up_mer.pkcs8.pem", authority=True)
    refused(told(own, "up_mer.pkcs8.pem"), "not issued under the held root")


def test_a_certificate_of_another_authority_is_refused() -> None:
    """The first names the held intermediate as its issuer, and only its signature tells."""
    refused(told(KEYS["up_forged.cer"]), "not issued under the held root")
    refused(told(KEYS["wx_platform.crt"], "wx_platform.pkcs8.pem"), "not issued under the held root")


def test_a_certificate_straight_from_the_root_is_refused() -> None:
    refused(told(certificate(issuer="up_root")), "not issued under the held root")


@pytest.mark.parametrize(
    "name",
    [
        "中国银联股份有限公司",
        "CFCA@中国银联股份有限公司@SIM@Z1",
        "CFCA@SIM@中国银联股份有限公司 @Z1",
        "CFCA@SIM@ 中国银联股份有限公司@Z1",
        "CFCA@SIM@中国银联股份有限公司分公司@Z1",
        "CFCA@SIM@Some Other Company@Z3",
        "CFCA@SIM@Some@中国银联股份有限公司",
        "CFCA@SIM@@Z1",
        "CFCA@SIM",
        "@@",
        "CFCA@SIM@00040000:sign@1",
        TEST_NAME,
        ["CFCA@SIM@中国银联股份有限公司@Z1", "CFCA@SIM@Some Other Company@Z3"],
        ["CFCA@SIM@Some Other Company@Z3", "CFCA@SIM@中国银联股份有限公司@Z1"],
        [],
    ],
    ids=str,
)
def test_a_certificate_of_any_other_name_is_refused(name: str | list[str]) -> None:
    """The authority issues one to every merchant: the name alone tells UnionPay from them."""
    refused(told(certificate(name)), "not UnionPay's")


def test_the_merchants_own_certificate_is_not_unionpays() -> None:
    refused(told(KEYS["up_mer.cer"], "up_mer.pkcs8.pem"), "not UnionPay's")


def test_only_the_test_system_is_signed_for_by_the_test_name() -> None:
    inbound = told(certificate(TEST_NAME))
    refused(inbound, "not UnionPay's")
    assert TEST.read_callback(inbound).outcome is Outcome.SUCCEEDED
    assert TEST.read_callback(told(certificate())).outcome is Outcome.SUCCEEDED
    refused(told(certificate("CFCA@SIM@Some Other Company@Z3")), "not UnionPay's", TEST)


@pytest.mark.parametrize(
    ("seconds", "good"), [(-1, False), (0, True), (1, True), (3599, True), (3600, True), (3601, False)]
)
def test_a_certificate_counts_from_its_first_second_to_its_last(seconds: int, good: bool) -> None:
    begins = datetime(2024, 1, 15, 1, 0, tzinfo=UTC)
    cert = certificate(begins=begins, lasts=timedelta(hours=1))
    inbound = told(cert, at=begins + timedelta(seconds=seconds))
    if good:
        assert READER.read_callback(inbound).outcome is Outcome.SUCCEEDED
    else:
        refused(inbound, "not issued under the held root")


def test_when_the_authoritys_time_is_over_nobody_is_believed() -> None:
    for year in (2023, 2044):
        cert = certificate(begins=datetime(2020, 1, 1, tzinfo=UTC), lasts=timedelta(days=365 * 40))
        refused(told(cert, at=datetime(year, 6, 1, tzinfo=UTC)), "not issued under the held root")


def test_an_authoritys_certificate_signs_no_messages() -> None:
    refused(told(certificate(authority=True)), "an authority's")
    assert READER.read_callback(told(certificate(authority=None))).outcome is Outcome.SUCCEEDED


def test_the_signature_must_be_of_the_certificates_key() -> None:
    refused(told(KEYS["up_sign.cer"], "up_mer.pkcs8.pem"), "does not match")


@pytest.mark.parametrize(
    "cert",
    [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        KEYS["up_sign.pub.pem"],
        KEYS["alipay_root_ec.crt"],
        "银联" * 100,
        "A" * 30_000,
    ],
)
def test_what_is_no_certificate_is_refused(cert: str) -> None:
    refused(told(cert), "certificate in the message")


def test_of_several_certificates_in_a_message_only_the_first_counts() -> None:
    own = certificate(issuer="", subject_key="up_mer.pkcs8.pem")
    both = own + KEYS["up_sign.cer"]
    refused(told(both, "up_mer.pkcs8.pem"), "not issued under the held root")
    refused(told(KEYS["up_sign.cer"] + own, "up_mer.pkcs8.pem"), "does not match")


def test_a_renewal_can_be_prepared_by_holding_both() -> None:
    middles = KEYS["up_middle.cer"] + KEYS["wx_ca.crt"]
    roots = KEYS["up_root.cer"] + KEYS["wx_ca.crt"]
    ready = UnionPay({**PAIR, "middle_cert": middles, "root_cert": roots}, Wire())
    assert ready.read_callback(told(KEYS["up_sign.cer"])).outcome is Outcome.SUCCEEDED


der = base64.b64decode("".join(KEYS["up_sign.cer"].strip().splitlines()[1:-1]))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_spoilt_certificate_is_refused_and_breaks_nothing(data: st.DataObject) -> None:
    """It is read before its sender is known, so whatever it holds must end as a refusal."""
    spoilt = bytearray(der)
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    del spoilt[data.draw(st.integers(1, len(der))) :]
    if bytes(spoilt) == der:
        return
    text = base64.encodebytes(bytes(spoilt)).decode()
    refused(
        told(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----"), "certificate in the message"
    )


def test_a_certificate_of_an_unknown_version_is_refused_everywhere() -> None:
    at = der.index(bytes.fromhex("a003020102")) + 4
    text = base64.b64encode(der[:at] + b"\x07" + der[at + 1 :]).decode()
    refused(told(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"), "cannot be read")
    with pytest.raises(InvalidRequest):
        rsa.certificate(text, "x")
    with pytest.raises(InvalidRequest):
        UnionPay({**PAIR, "middle_cert": text}, Wire())
