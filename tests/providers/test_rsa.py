"""Keys as people paste them, and signatures that only the right key and bytes verify."""

from __future__ import annotations

import base64
import re

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest, SignatureMismatch
from app.providers import rsa
from tests.providers.alipay_forge import KEYS, VECTORS

PRIVATE = rsa.private_key(KEYS["app.pkcs8.pem"], "private_key")
PUBLIC = PRIVATE.public_key()
MESSAGE = "测试 message".encode()
SIGNATURE = rsa.sign(PRIVATE, MESSAGE)


def bare(pem: str) -> str:
    """The base64 of a PEM text without its frame, as key tools print it."""
    return re.sub(r"-----[^-]+-----|\s", "", pem)


def wrapped(text: str, width: int = 61) -> str:
    """A paste with lines broken anywhere, indented, ended as on Windows."""
    return "\r\n".join(f"  {text[at : at + width]}" for at in range(0, len(text), width)) + "\r\n\r\n"


def pem_of(key: object) -> str:
    assert hasattr(key, "private_bytes")
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize("name", ["app.pkcs1.pem", "app.pkcs8.pem"])
@pytest.mark.parametrize("shape", [str, bare, lambda pem: wrapped(bare(pem)), lambda pem: f"\n\n{pem}\n"])
def test_a_private_key_is_read_however_it_is_pasted(name: str, shape: object) -> None:
    assert callable(shape)
    assert rsa.sign(rsa.private_key(shape(KEYS[name]), "private_key"), MESSAGE) == SIGNATURE


@pytest.mark.parametrize("shape", [str, bare, lambda pem: wrapped(bare(pem))])
@pytest.mark.parametrize("name", ["app.pub.pem", "app_public.crt"])
def test_a_public_key_is_read_from_a_key_or_a_certificate(name: str, shape: object) -> None:
    assert callable(shape)
    assert rsa.same_key(rsa.public_key(shape(KEYS[name]), "key"), PUBLIC)


def test_a_public_key_in_the_older_form_is_read() -> None:
    der = PUBLIC.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    assert rsa.same_key(rsa.public_key(base64.b64encode(der).decode(), "key"), PUBLIC)


@pytest.mark.parametrize("text", ["", "not a key", "AAAA", "测试", "x" * 70_000, KEYS["app.pub.pem"], "\x00"])
def test_what_is_no_private_key_is_refused_by_name_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        rsa.private_key(text, "private_key")
    assert (refused.value.param, refused.value.code) == ("private_key", "bad_credential")
    assert refused.value.detail == "is not an RSA private key"
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "not a key", "AAAA", "测试", "x" * 70_000, KEYS["alipay_root_ec.crt"]])
def test_what_is_no_public_key_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        rsa.public_key(text, "key")
    assert refused.value.param == "key"


def test_a_private_key_is_never_taken_for_a_public_one() -> None:
    for name in ("app.pkcs1.pem", "app.pkcs8.pem"):
        with pytest.raises(InvalidRequest):
            rsa.public_key(KEYS[name], "key")


def test_a_password_or_another_kind_of_key_is_refused() -> None:
    locked = PRIVATE.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    ).decode()
    for text in (locked, pem_of(ec.generate_private_key(ec.SECP256R1()))):
        with pytest.raises(InvalidRequest, match="is not an RSA private key"):
            rsa.private_key(text, "private_key")


def test_a_short_key_is_refused() -> None:
    short = rsa_keys.generate_private_key(public_exponent=65537, key_size=1024)
    public = short.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(InvalidRequest, match="2048"):
        rsa.private_key(pem_of(short), "private_key")
    with pytest.raises(InvalidRequest, match="2048"):
        rsa.public_key(public.decode(), "key")


def test_a_bundle_is_read_in_order_past_what_cannot_be_read() -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = broken + KEYS["alipay_root_bundle.crt"] + broken
    names = [held.subject.rfc4514_string() for held in rsa.certificates(bundle)]
    assert len(names) == 3
    assert names == [
        held.subject.rfc4514_string() for held in rsa.certificates(KEYS["alipay_root_bundle.crt"])
    ]
    assert rsa.certificates("") == []


def test_signatures_are_those_of_the_independent_packages() -> None:
    for vector in VECTORS["alipay"]:
        if vector["kind"] == "request":
            key = rsa.private_key(KEYS[vector["sign_key"]], "key")
            assert rsa.sign(key, vector["canonical"].encode()) == vector["sign"]
            rsa.verify(
                rsa.public_key(KEYS[vector["verify_key"]], "key"),
                vector["canonical"].encode(),
                vector["sign"],
            )


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 255), bits=st.integers(1, 255))
def test_a_signature_with_any_changed_byte_is_refused(place: int, bits: int) -> None:
    raw = bytearray(base64.b64decode(SIGNATURE))
    raw[place] ^= bits
    with pytest.raises(SignatureMismatch):
        rsa.verify(PUBLIC, MESSAGE, base64.b64encode(raw).decode())


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=400))
def test_any_text_for_a_signature_is_refused_as_a_mismatch(text: str) -> None:
    with pytest.raises(SignatureMismatch):
        rsa.verify(PUBLIC, MESSAGE, text)


def test_another_key_message_or_line_break_is_refused() -> None:
    other = rsa.public_key(KEYS["alipay.pub.pem"], "key")
    for key, message, signature in (
        (other, MESSAGE, SIGNATURE),
        (PUBLIC, MESSAGE + b" ", SIGNATURE),
        (PUBLIC, MESSAGE, SIGNATURE[:-4]),
        (PUBLIC, MESSAGE, f"{SIGNATURE[:64]}\n{SIGNATURE[64:]}"),
    ):
        with pytest.raises(SignatureMismatch):
            rsa.verify(key, message, signature)


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA512(), hashes.MD5()])
def test_a_signature_over_another_hash_is_refused(algorithm: hashes.HashAlgorithm) -> None:
    """Some libraries take the hash from the signature itself; ours is pinned."""
    signature = PRIVATE.sign(MESSAGE, padding.PKCS1v15(), algorithm)
    with pytest.raises(SignatureMismatch):
        rsa.verify(PUBLIC, MESSAGE, base64.b64encode(signature).decode())


def test_a_certificate_without_a_proper_number_is_refused() -> None:
    der = base64.b64decode(bare(KEYS["alipay_public.crt"]))
    number = rsa.certificate(KEYS["alipay_public.crt"], "x").serial_number
    raw = number.to_bytes((number.bit_length() // 8) + 1)
    assert der.count(raw) == 1
    for spoilt in (bytes(len(raw)), b"\x80" + raw[1:]):
        text = base64.b64encode(der.replace(raw, spoilt)).decode()
        with pytest.raises(InvalidRequest, match="is not a certificate"):
            rsa.certificate(text, "x")
