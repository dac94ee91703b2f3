"""The sandbox signs and verifies as UnionPay's own Java SDK does: vectors of that SDK, both ways."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sandbox import rsakeys
from sandbox.unionpay import codes, files, keys, wire
from sandbox.unionpay.codes import Refusal
from sandbox.unionpay.keys import Keyring
from tests.sandbox.unionpay_hand import verify

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "providers.json").read_text())
KEYS = VECTORS["keys"]
UNIONPAY = {vector["id"]: vector for vector in VECTORS["unionpay"]}
REQUESTS = [vector for vector in UNIONPAY.values() if vector["kind"] == "request"]
SIGNED = [vector for vector in UNIONPAY.values() if "sign_key" in vector and "fields" in vector]


def merchant_key() -> str:
    return rsakeys.key_in(KEYS["up_mer.cer"])


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector["id"])
def test_a_request_of_unionpays_own_sdk_is_read_and_verified(vector: dict[str, Any]) -> None:
    fields = wire.read(vector["form_body"].encode())
    assert fields == vector["signed"]
    wire.check(fields)
    assert fields["certId"] == keys.cert_id(KEYS["up_mer.cer"])
    assert wire.signed_text(fields) == vector["canonical"].encode()
    assert wire.digest(wire.signed_text(fields)).decode() == vector["sha256_hex"]
    assert wire.verifies(merchant_key(), fields)


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector["id"])
def test_one_changed_letter_of_any_field_is_noticed(vector: dict[str, Any]) -> None:
    fields = vector["signed"]
    for name in fields.keys() - {"signature"}:
        assert not wire.verifies(merchant_key(), fields | {name: f"{fields[name]}0"}), name
    assert not wire.verifies(rsakeys.key_in(KEYS["up_sign.cer"]), fields)


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["id"])
def test_what_unionpays_own_sdk_signed_is_signed_alike_byte_for_byte(vector: dict[str, Any]) -> None:
    key = rsakeys.load_private(KEYS[vector["sign_key"]].encode())
    fields = {name: value for name, value in vector["fields"].items() if name != "signature"}
    signature = wire.sign(key, fields)
    assert signature == vector["fields"]["signature"]
    signed = fields | {"signature": signature}
    if "raw_body" in vector:
        assert wire.answer(signed) == vector["raw_body"].encode()
    if "form_body" in vector:
        assert wire.form(signed).decode() == vector["form_body"]


def test_a_certificate_stands_in_a_message_as_the_sdk_writes_it() -> None:
    key = rsakeys.load_private(KEYS["up_sign.pkcs8.pem"].encode())
    seal = keys.Seal(KEYS["up_sign.cer"], key)
    assert seal.sign_pub_key_cert == UNIONPAY["up-resp-qr"]["fields"]["signPubKeyCert"]
    assert seal.cert_id == UNIONPAY["up-resp-qr"]["fields"]["certId"]


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["id"])
def test_the_client_by_hand_judges_the_vectors_as_the_sdk_does(vector: dict[str, Any]) -> None:
    found = verify(vector["fields"], KEYS["up_middle.cer"], KEYS["up_root.cer"])
    assert found is vector["expected_valid"]


def test_a_file_is_packed_as_the_sdk_packs_it() -> None:
    vector = UNIONPAY["up-filecontent"]
    assert files.packed(base64.b64decode(vector["file_base64"])) == vector["fileContent"]


def test_the_widths_of_the_tables_are_the_manuals() -> None:
    assert (len(files.ZM_WIDTHS), sum(files.ZM_WIDTHS) + 40) == (41, 607)
    assert len(files.ZME_WIDTHS) == 22


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a=%FF", b"a", "a=é".encode(), b"&".join(b"a%d=1" % n for n in range(101))]
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        wire.read(body)
    assert refusal.value.code == codes.BAD_FORM


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("orderDesc", ""),
        ("orderDesc", "  "),
        ("orderDesc", "x" * 33),
        ("version", "5.0.0"),
        ("encoding", "GBK"),
        ("signMethod", "11"),
        ("certId", "0x1f"),
        ("signature", "not base64!"),
        ("merId", "77729005811004"),
        ("orderId", "short"),
        ("orderId", "with-hyphen-1"),
        ("orderId", "x" * 41),
        ("txnTime", "2024-01-15"),
        ("txnAmt", "0"),
        ("txnAmt", "12.50"),
        ("txnAmt", "-1"),
        ("txnAmt", "1234567890123"),
        ("currencyCode", "840"),
        ("channelType", "09"),
        ("accessType", "1"),
        ("backUrl", "https://shop.example/notify?merchant=1"),
        ("backUrl", "ftp://shop.example/notify"),
        ("backUrl", "https://shop.example/" + "x" * 256),
        ("reqReserved", "a&txnAmt=1"),
        ("reqReserved", "{a}"),
        ("bad name", "x"),
    ],
)
def test_a_field_that_the_manual_forbids_is_refused(name: str, value: str) -> None:
    with pytest.raises(Refusal) as refusal:
        wire.check(UNIONPAY["up-req-qr"]["signed"] | {name: value})
    assert refusal.value.code == codes.BAD_FORM


@pytest.mark.parametrize("name", wire.COMMON)
def test_a_missing_common_field_is_named(name: str) -> None:
    fields = {k: v for k, v in UNIONPAY["up-req-qr"]["signed"].items() if k != name}
    with pytest.raises(Refusal) as refusal:
        wire.check(fields)
    assert (refusal.value.code, refusal.value.about) == (codes.MISSING, name)


def test_the_chain_hangs_together_and_bears_unionpays_name(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    middle, root = (x509.load_pem_x509_certificate(pem.encode()) for pem in (ring.middle, ring.root))
    middle.verify_directly_issued_by(root)
    for mode, organisation in keys.ORGANISATIONS.items():
        held = x509.load_pem_x509_certificate(ring.seal(mode).cert.encode())
        held.verify_directly_issued_by(middle)
        assert f"@{organisation}@" in held.subject.rfc4514_string()
        assert ring.seal(mode).cert_id == str(held.serial_number)
    again = Keyring(tmp_path)
    assert (again.root, again.middle) == (ring.root, ring.middle)
    assert again.seal("test").cert == ring.seal("test").cert
    assert (tmp_path / "root.key").stat().st_mode & 0o077 == 0
