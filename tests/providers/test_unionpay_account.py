"""Credentials that cannot work are refused by name, and both forms of the merchant's key sign alike."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from app.errors import InvalidRequest
from app.providers import unionpay_account
from app.providers.base import Scene
from app.providers.unionpay import UnionPay
from tests.providers import unionpay_forge as far
from tests.providers.contract import NOW, Wire, order
from tests.providers.unionpay_forge import KEYS, PAIR, PFX, VECTORS


def packed(key: object, cert: str | None = None, password: str = "000000") -> str:
    """A PFX file in base64."""
    held = x509.load_pem_x509_certificate(cert.encode()) if cert else None
    seal = serialization.BestAvailableEncryption(password.encode())
    return base64.b64encode(pkcs12.serialize_key_and_certificates(b"x", key, held, None, seal)).decode()  # type: ignore[arg-type]


def test_a_pfx_and_a_pair_of_pem_texts_sign_the_same() -> None:
    forms = [UnionPay(settings, Wire()).start(order(Scene.MOBILE)) for settings in (PAIR, PFX)]
    assert forms[0] == forms[1]


def test_a_pfx_wins_over_a_pair_beside_it() -> None:
    both = {**PFX, "private_key": "nonsense", "sign_cert": "nonsense"}
    assert UnionPay(both, Wire()).start(order(Scene.MOBILE)) == far.connected()[0].start(order(Scene.MOBILE))


def test_a_pfx_pasted_with_broken_lines_is_read() -> None:
    text = PFX["pfx"]
    wrapped = "\r\n".join(f"  {text[at : at + 76]}" for at in range(0, len(text), 76)) + "\r\n"
    assert unionpay_account.read_account({**PFX, "pfx": wrapped}).cert_id == far.CERT_ID


def test_the_number_of_the_certificate_is_decimal_and_whole() -> None:
    assert unionpay_account.read_account(PAIR).cert_id == far.CERT_ID
    held = x509.load_pem_x509_certificate(KEYS["up_mer.cer"].encode())
    assert f"{held.serial_number:x}" == "1002653215"  # in hexadecimal it looks decimal, too


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        ({"mer_id": ""}, "mer_id"),
        ({"mer_id": "   "}, "mer_id"),
        ({"private_key": ""}, "pfx"),
        ({"private_key": "nonsense"}, "private_key"),
        ({"private_key": KEYS["up_sign.pkcs8.pem"]}, "sign_cert"),
        ({"sign_cert": ""}, "sign_cert"),
        ({"sign_cert": "nonsense"}, "sign_cert"),
        ({"sign_cert": KEYS["up_sign.cer"]}, "sign_cert"),
        ({"middle_cert": ""}, "middle_cert"),
        ({"middle_cert": "nonsense"}, "middle_cert"),
        ({"middle_cert": KEYS["up_sign.cer"]}, "middle_cert"),
        ({"middle_cert": KEYS["wx_ca.crt"]}, "middle_cert"),
        ({"middle_cert": KEYS["up_middle.cer"] + KEYS["wx_ca.crt"]}, "middle_cert"),
        ({"root_cert": ""}, "root_cert"),
        ({"root_cert": "nonsense"}, "root_cert"),
        ({"root_cert": KEYS["up_mer.cer"]}, "root_cert"),
        ({"root_cert": KEYS["wx_ca.crt"]}, "middle_cert"),
        ({"environment": "prod"}, "environment"),
        ({"desktop_product": "pigeon"}, "desktop_product"),
        ({"same_day_refund": "yes"}, "same_day_refund"),
        ({"gateway_url": "ftp://unionpay.example/"}, "gateway_url"),
        ({"gateway_url": "https://unionpay.example/?a=b"}, "gateway_url"),
        ({"gateway_url": "https://["}, "gateway_url"),
        ({"file_url": "javascript:alert(1)"}, "file_url"),
    ],
)
def test_a_credential_that_cannot_work_is_named(broken: Mapping[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        UnionPay({**PAIR, **broken}, Wire())
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        ({"pfx": "not base64!"}, "pfx"),
        ({"pfx": "AAAA"}, "pfx"),
        ({"pfx": "MIIJ" + "A" * 70_000}, "pfx"),
        ({"pfx": "MIIJ"}, "pfx_password"),
        ({"pfx": PFX["pfx"][:400]}, "pfx_password"),
        ({"pfx_password": ""}, "pfx_password"),
        ({"pfx_password": "000001"}, "pfx_password"),
        ({"pfx_password": "000000 "}, "pfx_password"),
        ({"pfx_password": "密码"}, "pfx_password"),
        ({"pfx": packed(far.private_key("up_mer.pkcs8.pem"))}, "pfx"),
        ({"pfx": packed(ec.generate_private_key(ec.SECP256R1()))}, "pfx"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_pfx_that_cannot_work_is_named(broken: Mapping[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        UnionPay({**PFX, **broken}, Wire())
    assert refused.value.param == param
    assert "000" not in str(refused.value)


def test_a_pfx_with_a_short_key_is_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    name = x509.Name([])
    held = (
        x509.CertificateBuilder(name, name, weak.public_key(), 7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(weak, hashes.SHA256())
    )
    pem = held.public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(InvalidRequest, match="2048"):
        UnionPay({**PFX, "pfx": packed(weak, pem)}, Wire())


@pytest.mark.parametrize(("environment", "part"), [("production", "95516.com"), ("test", "test.95516.com")])
def test_each_system_has_addresses_of_its_own(environment: str, part: str) -> None:
    settings = {k: v for k, v in PAIR.items() if not k.endswith("_url")} | {"environment": environment}
    account = unionpay_account.read_account(settings)
    assert account.gateway == f"https://gateway.{part}/gateway/api"
    assert account.files == f"https://filedownload.{part}/"


def test_the_vectors_pfx_is_the_one_of_the_merchant() -> None:
    key, held = unionpay_account._open_pfx(VECTORS["pfx_base64"]["up_mer.pfx"], VECTORS["pfx_password"])
    assert held == x509.load_pem_x509_certificate(KEYS["up_mer.cer"].encode())
    assert key.private_numbers() == far.private_key("up_mer.pkcs8.pem").private_numbers()
