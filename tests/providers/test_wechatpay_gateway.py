"""An answer is believed only with WeChat Pay's signature; how platform certificates are learnt."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

from app import clock
from app.errors import ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.providers import rsa, wechatpay_keys
from app.providers.base import HttpAnswer, Outcome, PaymentRef, Scene
from app.providers.wechatpay import WechatPay
from app.providers.wechatpay_keys import Held, Keyring
from tests.providers import wechatpay_forge as far
from tests.providers.contract import NOW, PRICE, REF, REFUND, Verb, Wire, act, flipped, order
from tests.providers.wechatpay_forge import (
    BASE,
    BOTH_MODES,
    CERTIFICATE_MODE,
    KEYS,
    PLATFORM_SERIAL,
    PUBLIC_KEY_MODE,
    WechatPayForge,
    certificates_answer,
)

VERBS = [Verb.START, Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND]
UNASKED = PaymentRef(REF.out_trade_no, NOW)
CERTIFICATES_URL = f"{far.API}/v3/certificates"
PLATFORM = (PLATFORM_SERIAL, KEYS["wx_platform.crt"])


@pytest.fixture(scope="module")
def line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def wechatpay(line: Wire) -> WechatPay:
    return WechatPay(BOTH_MODES, line)


@pytest.fixture
def wire(line: Wire) -> Wire:
    line.clear()
    return line


def paid(serial: str = far.PUBLIC_KEY_ID, **signing: object) -> HttpAnswer:
    return far.answer(far.transaction(REF.out_trade_no, "SUCCESS", PRICE), 200, serial, **signing)


def genuine(verb: Verb) -> HttpAnswer:
    forge = WechatPayForge()
    return {
        Verb.START: forge.started(order(Scene.DESKTOP)),
        Verb.QUERY: forge.queried(REF, Outcome.SUCCEEDED, PRICE),
        Verb.CLOSE: forge.closed(REF),
        Verb.REFUND: forge.refunded(REFUND, Outcome.SUCCEEDED),
        Verb.QUERY_REFUND: forge.refund_queried(REFUND, Outcome.SUCCEEDED),
    }[verb][0]


def asked_after(verb: Verb) -> list[Exception]:
    """What follows a refusal that proves nothing: a new order is asked about, and here nobody answers."""
    return [ProviderUnreachable("timed out")] if verb is Verb.START else []


# What is not signed, or not by WeChat Pay, is not believed


@pytest.mark.parametrize("verb", VERBS)
def test_a_success_without_a_signature_means_outcome_unknown(
    verb: Verb, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(replace(genuine(verb), headers={"content-type": "application/json"}))
    with pytest.raises(ProviderUnreachable):
        act(wechatpay, verb, Scene.DESKTOP)


@pytest.mark.parametrize("verb", VERBS)
def test_a_success_signed_by_somebody_else_means_outcome_unknown(
    verb: Verb, wechatpay: WechatPay, wire: Wire
) -> None:
    body = genuine(verb)
    forged = far.signed_headers(body.body, far.PUBLIC_KEY_ID, key=far.private_key("wx_mch.pkcs8.pem"))
    wire.gives(replace(body, headers=forged))
    with pytest.raises(ProviderUnreachable):
        act(wechatpay, verb, Scene.DESKTOP)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("age_s", [300, -300, 86_400])
def test_an_old_success_means_outcome_unknown(
    verb: Verb, age_s: int, wechatpay: WechatPay, wire: Wire
) -> None:
    answer = genuine(verb)
    wire.gives(replace(answer, headers=far.signed_headers(answer.body, far.PUBLIC_KEY_ID, age_s=age_s)))
    with pytest.raises(ProviderUnreachable):
        act(wechatpay, verb, Scene.DESKTOP)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", [401, 403])
def test_an_unsigned_refusal_means_outcome_unknown_but_says_what_was_heard(
    verb: Verb, status: int, wechatpay: WechatPay, wire: Wire
) -> None:
    no = far.unsigned({"code": "NO_AUTH", "message": "商户无权限"}, status)
    wire.gives(no, *asked_after(verb))
    with pytest.raises(ProviderUnreachable) as refused:
        act(wechatpay, verb, Scene.DESKTOP)
    assert refused.value.provider_code == "NO_AUTH"
    assert refused.value.detail.isascii()


@pytest.mark.parametrize("verb", [Verb.START, Verb.REFUND])
def test_a_refusal_with_a_changed_byte_is_no_definite_no(
    verb: Verb, wechatpay: WechatPay, wire: Wire
) -> None:
    no = WechatPayForge().declined(verb)[0]
    wire.gives(replace(no, body=flipped(no.body, len(no.body) - 4, 1)), *asked_after(verb))
    with pytest.raises(ProviderUnreachable):
        act(wechatpay, verb, Scene.DESKTOP)


@pytest.mark.parametrize("verb", [Verb.START, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND])
def test_accepted_but_unfinished_means_outcome_unknown(verb: Verb, wechatpay: WechatPay, wire: Wire) -> None:
    answer = genuine(verb)
    wire.gives(replace(answer, status=202))
    with pytest.raises(ProviderUnreachable):
        act(wechatpay, verb, Scene.DESKTOP)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", [100, 301, 302, 500, 503])
def test_a_signed_text_under_a_status_that_says_nothing_means_outcome_unknown(
    verb: Verb, status: int, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(replace(genuine(verb), status=status))
    with pytest.raises(ProviderUnreachable):
        act(wechatpay, verb, Scene.DESKTOP)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"a":1,"a":2}', b"\xff", b'"text"'])
def test_a_misshapen_answer_means_outcome_unknown_however_well_signed(
    body: bytes, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(HttpAnswer(200, far.signed_headers(body, far.PUBLIC_KEY_ID), body))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)


# Probes


def test_after_a_probe_the_same_request_is_made_once_more(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(probe(genuine(Verb.REFUND)), genuine(Verb.REFUND))
    assert wechatpay.refund(REFUND).outcome is Outcome.SUCCEEDED
    first, second = wire.sent
    assert (first.method, first.url, first.body) == (second.method, second.url, second.body)
    assert first.headers["authorization"] != second.headers["authorization"]


def test_probe_after_probe_means_outcome_unknown(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(probe(paid()), probe(paid()))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert len(wire.sent) == 2


def probe(answer: HttpAnswer) -> HttpAnswer:
    signature = "WECHATPAY/SIGNTEST/" + answer.headers["wechatpay-signature"][19:]
    return replace(answer, headers={**answer.headers, "wechatpay-signature": signature})


# Keys


@pytest.mark.parametrize("serial", [far.PUBLIC_KEY_ID, PLATFORM_SERIAL])
def test_on_the_move_both_kinds_of_key_count(serial: str, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(paid(serial))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    inbound = far.payment_notice(far.transaction(REF.out_trade_no, "SUCCESS", PRICE), serial)
    assert wechatpay.read_callback(inbound).outcome is Outcome.SUCCEEDED


def test_without_any_key_the_certificates_are_downloaded_first(wire: Wire) -> None:
    wechatpay = WechatPay(BASE, wire)
    wire.gives(paid(PLATFORM_SERIAL), certificates_answer(PLATFORM))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    assert [sent.url for sent in wire.sent][1] == CERTIFICATES_URL
    far.checked(wire.sent[1])
    inbound = far.payment_notice(far.transaction(REF.out_trade_no, "SUCCESS", PRICE), PLATFORM_SERIAL)
    assert wechatpay.read_callback(inbound).outcome is Outcome.SUCCEEDED


def test_a_callback_by_a_key_that_is_not_held_is_refused_without_a_call(wire: Wire) -> None:
    """Made-up numbers are free: a flood of them costs no download."""
    wechatpay = WechatPay(BASE, wire)
    inbound = far.payment_notice(far.transaction(REF.out_trade_no, "SUCCESS", PRICE), PLATFORM_SERIAL)
    for number in range(1000):
        strange = replace(inbound, headers={**inbound.headers, "wechatpay-serial": f"{number:040X}"})
        with pytest.raises(SignatureMismatch):
            wechatpay.read_callback(strange)
    assert not wire.sent


def test_a_merchant_with_a_public_key_alone_learns_certificates_when_they_appear(wire: Wire) -> None:
    wechatpay = WechatPay(PUBLIC_KEY_MODE, wire)
    wire.gives(paid(PLATFORM_SERIAL), certificates_answer(PLATFORM, serial=far.PUBLIC_KEY_ID))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    wire.gives(paid(far.PUBLIC_KEY_ID))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED


def test_many_unknown_numbers_cost_one_download_in_five_minutes(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechatpay = WechatPay(CERTIFICATE_MODE, wire)
    for number in range(1, 200):
        wire.gives(strangely_signed(number), *([certificates_answer(PLATFORM)] if number == 1 else []))
        with pytest.raises(ProviderUnreachable):
            wechatpay.query(UNASKED)
    assert downloads(wire) == 1
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(minutes=5))
    # The first one was not brought by the download, so it is not worth another; the second may be.
    wire.gives(strangely_signed(1))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert downloads(wire) == 1
    wire.gives(strangely_signed(2), certificates_answer(PLATFORM))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert downloads(wire) == 2
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(minutes=61))
    wire.gives(strangely_signed(1), certificates_answer(PLATFORM))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert downloads(wire) == 3


@pytest.mark.parametrize(
    "serial", ["PUB_KEY_ID_0119000001099999999999999999999999", "", "x y", "G" * 40, "A" * 41]
)
def test_a_name_that_is_no_certificates_number_costs_no_download(serial: str, wire: Wire) -> None:
    wechatpay = WechatPay(BOTH_MODES, wire)
    wire.gives(replace(paid(), headers={**paid().headers, "wechatpay-serial": serial}))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert len(wire.sent) == 1


def test_a_merchant_without_certificates_is_not_asked_again_for_half_a_day(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechatpay = WechatPay(PUBLIC_KEY_MODE, wire)
    for number, hours, expected in ((1, 0, 1), (2, 11, 1), (3, 12, 2)):
        monkeypatch.setattr(clock, "now", lambda hours=hours: NOW + timedelta(hours=hours))
        wire.answers.clear()
        wire.gives(strangely_signed(number), far.refused(404, "RESOURCE_NOT_EXISTS"))
        with pytest.raises(ProviderUnreachable):
            wechatpay.query(UNASKED)
        assert downloads(wire) == expected


@pytest.mark.parametrize(
    "answer", ["silence", "500", "unsigned", "forged", "stale", "other key", "renamed", "garbage"]
)
def test_certificates_that_cannot_be_trusted_are_not_learnt(
    answer: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wechatpay = WechatPay(BASE, wire)
    good = certificates_answer(PLATFORM)
    bad: HttpAnswer | Exception = {
        "silence": ProviderUnreachable("timed out"),
        "500": replace(good, status=500),
        "unsigned": replace(good, headers={}),
        "forged": certificates_answer(PLATFORM, key=far.private_key("wx_mch.pkcs8.pem")),
        "stale": certificates_answer(PLATFORM, age_s=400),
        "other key": certificates_answer(PLATFORM, api_key="F" * 32),
        "renamed": certificates_answer(("0123456789ABCDEF", PLATFORM[1])),
        "garbage": certificates_answer((PLATFORM_SERIAL, "not a certificate")),
    }[answer]
    wire.gives(paid(PLATFORM_SERIAL), bad)
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert not wire.answers
    inbound = far.payment_notice(far.transaction(REF.out_trade_no, "SUCCESS", PRICE), PLATFORM_SERIAL)
    with pytest.raises(SignatureMismatch):
        wechatpay.read_callback(inbound)
    assert far.API_KEY not in str([vars(record) for record in caplog.records])


def test_a_certificates_answer_signed_by_a_certificate_outside_it_is_not_trusted(wire: Wire) -> None:
    """Whoever held the APIv3 key alone could else bring a certificate of their own."""
    key, own = made_certificate()
    wechatpay = WechatPay(BASE, wire)
    inside = (wechatpay_keys.number_of(own), pem(own))
    wire.gives(strangely_signed(7), certificates_answer(inside, serial=PLATFORM_SERIAL))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    assert wechatpay._gateway.keys.key(inside[0], NOW) is None
    assert key.key_size == 2048


def test_certificates_are_renewed_twice_a_day_and_silence_is_borne(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechatpay = WechatPay(CERTIFICATE_MODE, wire)
    key, successor = made_certificate()
    number = wechatpay_keys.number_of(successor)
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(hours=12))
    wire.gives(ProviderUnreachable("timed out"), paid(PLATFORM_SERIAL))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    wire.gives(paid(PLATFORM_SERIAL))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(hours=12, minutes=5))
    wire.gives(certificates_answer(PLATFORM, (number, pem(successor))), paid(number, key=key))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    assert downloads(wire) == 2
    # The successor now counts for callbacks too, beside the one it follows.
    for serial, signer in ((number, key), (PLATFORM_SERIAL, None)):
        resource = far.sealed(far.json_bytes(far.transaction(REF.out_trade_no, "SUCCESS", PRICE)))
        inbound = far.notice("TRANSACTION.SUCCESS", resource, serial, key=signer)
        assert wechatpay.read_callback(inbound).outcome is Outcome.SUCCEEDED


def test_a_merchant_with_a_public_key_alone_downloads_nothing_by_routine(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechatpay = WechatPay(PUBLIC_KEY_MODE, wire)
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(days=9))
    wire.gives(paid())
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    assert downloads(wire) == 0


def test_an_expired_certificate_counts_no_more() -> None:
    ring = Keyring({PLATFORM_SERIAL: Held(public(), NOW)}, NOW)
    assert ring.key(PLATFORM_SERIAL, NOW) is not None
    assert ring.key(PLATFORM_SERIAL, NOW + timedelta(seconds=1)) is None
    assert ring.may_fetch(PLATFORM_SERIAL, NOW)


def test_certificates_that_are_over_or_to_come_are_left_out(wire: Wire) -> None:
    _, over = made_certificate(NOW - timedelta(days=9), NOW - timedelta(days=1))
    _, to_come = made_certificate(NOW + timedelta(days=1), NOW + timedelta(days=9))
    wechatpay = WechatPay(BASE, wire)
    entries = [(wechatpay_keys.number_of(each), pem(each)) for each in (over, to_come)]
    wire.gives(paid(PLATFORM_SERIAL), certificates_answer(PLATFORM, *entries))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED
    ring = wechatpay._gateway.keys
    assert ring.key(PLATFORM_SERIAL, NOW) is not None
    assert [ring.key(number, NOW) for number, _ in entries] == [None, None]


def test_a_certificate_without_an_rsa_key_is_not_trusted(wire: Wire) -> None:
    _, curved = made_certificate(key=ec.generate_private_key(ec.SECP256R1()))
    wechatpay = WechatPay(BASE, wire)
    entry = (wechatpay_keys.number_of(curved), pem(curved))
    wire.gives(paid(PLATFORM_SERIAL), certificates_answer(PLATFORM, entry))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)


def test_a_number_is_the_same_with_and_without_its_leading_zeros() -> None:
    ring = Keyring({"00A1B2": Held(public())}, NOW)
    for name in ("00A1B2", "A1B2", "a1b2", "0" * 36 + "A1B2"):
        assert ring.key(name, NOW) is not None
    assert ring.key("A1B20", NOW) is None
    assert Keyring({far.PUBLIC_KEY_ID: Held(public())}, NOW).key(far.PUBLIC_KEY_ID.lower(), NOW) is None


def test_a_ring_survives_a_clock_that_was_put_back() -> None:
    ring = Keyring({}, NOW)
    assert ring.may_fetch("A1", NOW)
    assert not ring.may_fetch("A2", NOW + timedelta(minutes=4))
    assert ring.may_fetch("A1", NOW - timedelta(days=30))


def test_of_many_threads_one_takes_the_turn() -> None:
    ring = Keyring({}, NOW)
    start, taken = threading.Barrier(8), []

    def take(name: str) -> None:
        start.wait()
        taken.append(ring.may_fetch(name, NOW))

    threads = [threading.Thread(target=take, args=(f"{number:X}",)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]


def test_the_request_is_signed_anew_for_each_call(wechatpay: WechatPay, wire: Wire) -> None:
    for _ in range(2):
        wire.gives(paid())
        wechatpay.query(UNASKED)
        far.checked(wire.sent[-1])
    assert wire.sent[0].headers["authorization"] != wire.sent[1].headers["authorization"]


def test_a_definite_no_needs_a_signature_of_now(wechatpay: WechatPay, wire: Wire) -> None:
    body = {"code": "NO_AUTH", "message": "x"}
    wire.gives(far.answer(body, 403, age_s=400), *asked_after(Verb.START))
    with pytest.raises(ProviderUnreachable):
        wechatpay.start(order(Scene.DESKTOP))
    wire.gives(far.answer(body, 403, age_s=200))
    with pytest.raises(ProviderRejected):
        wechatpay.start(order(Scene.DESKTOP))


def strangely_signed(number: int) -> HttpAnswer:
    return replace(paid(), headers={**paid().headers, "wechatpay-serial": f"{number:040X}"})


def downloads(wire: Wire) -> int:
    return sum(sent.url == CERTIFICATES_URL for sent in wire.sent)


def public() -> rsa_keys.RSAPublicKey:
    return rsa.public_key(KEYS["wx_platform.pub.pem"], "x")


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def made_certificate(
    since: datetime = datetime(2024, 1, 1, tzinfo=UTC),
    until: datetime = datetime(2029, 1, 1, tzinfo=UTC),
    key: RSAPrivateKey | EllipticCurvePrivateKey | None = None,
) -> tuple[RSAPrivateKey, x509.Certificate]:
    """A platform certificate of our own making, as a successor would be."""
    rsa_key = rsa_keys.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sign")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key((key or rsa_key).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .sign(key or rsa_key, hashes.SHA256())
    )
    return rsa_key, certificate


def test_bodies_are_json_without_blanks(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*WechatPayForge().started(order(Scene.DESKTOP)))
    wechatpay.start(order(Scene.DESKTOP))
    body = wire.sent[0].body.decode()
    assert body == json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"))
