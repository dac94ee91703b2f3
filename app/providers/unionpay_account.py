"""What a merchant enters to be spoken for at UnionPay, read and checked once.

Our side signs with the merchant's certificate, given as the PFX file that CFCA issues or as a key and a
certificate.  Their side is known by an intermediate and a root certificate; UnionPay's own certificate
comes with every message and is believed under those two only.
Source: UnionPay ACP 5.1.0, certificates.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12

from app.errors import InvalidRequest
from app.providers import rsa
from app.providers.base import Credential
from app.providers.unionpay_certs import UNIONPAY, UNIONPAY_TEST, Trust


@dataclass(frozen=True, slots=True)
class System:
    """One of UnionPay's systems: where it is, what its app SDK calls it, who signs there."""

    gateway: str
    files: str
    app_mode: str
    names: frozenset[str]


SYSTEMS = {
    "production": System(
        "https://gateway.95516.com/gateway/api",
        "https://filedownload.95516.com/",
        "00",
        frozenset({UNIONPAY}),
    ),
    "test": System(
        "https://gateway.test.95516.com/gateway/api",
        "https://filedownload.test.95516.com/",
        "01",
        frozenset({UNIONPAY, UNIONPAY_TEST}),
    ),
}
DESKTOP_PRODUCTS = ("qr", "gateway")
SAME_DAY_REFUNDS = ("refund", "void")

CREDENTIALS = (
    Credential("mer_id", "Merchant ID", hint="merId, 15 digits", identifies=True),
    Credential(
        "pfx",
        "Signing certificate (PFX)",
        secret=True,
        required=False,
        multiline=True,
        hint="the .pfx file in base64; or give key and certificate below",
    ),
    Credential("pfx_password", "PFX password", secret=True, required=False),
    Credential(
        "private_key",
        "Signing key",
        secret=True,
        required=False,
        multiline=True,
        hint="instead of a PFX: PEM, PKCS#1 or PKCS#8",
    ),
    Credential(
        "sign_cert",
        "Signing certificate",
        required=False,
        multiline=True,
        hint="instead of a PFX: the certificate of the key, PEM",
    ),
    Credential(
        "middle_cert",
        "UnionPay intermediate certificate",
        multiline=True,
        hint="acp_prod_middle.cer (test: acp_test_middle.cer) from open.unionpay.com; PEM, or several",
    ),
    Credential(
        "root_cert",
        "UnionPay root certificate",
        multiline=True,
        hint="acp_prod_root.cer (test: acp_test_root.cer) from open.unionpay.com; PEM, or several",
    ),
    Credential(
        "environment",
        "System",
        required=False,
        default="production",
        hint="production or test; test also accepts what UnionPay's test system signs",
    ),
    Credential(
        "desktop_product",
        "Product on a desktop",
        required=False,
        default="qr",
        hint="qr shows a QR code here; gateway sends the browser to UnionPay's own page",
    ),
    Credential(
        "same_day_refund",
        "Full refund on the day of payment",
        required=False,
        default="refund",
        hint="void gives the money back at once where your contract has it; refund always works",
    ),
    Credential("gateway_url", "Gateway address", required=False, hint="empty: that of the system above"),
    Credential("file_url", "File address", required=False, hint="empty: that of the system above"),
)

_BROKEN = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """The credentials, parsed: no text of a key and no password is kept."""

    mer_id: str
    key: RSAPrivateKey
    cert_id: str
    trust: Trust
    gateway: str
    files: str
    app_mode: str
    desktop_product: str
    voids: bool


def read_account(settings: Mapping[str, str]) -> Account:
    """Parse a merchant's credentials.  Pure.  Raises InvalidRequest naming the one at fault."""
    given = {c.name: settings.get(c.name, "").strip() or c.default for c in CREDENTIALS}
    # Blanks may be part of a password.
    key, held = _signer({**given, "pfx_password": settings.get("pfx_password", "")})
    system = SYSTEMS[_choice(given, "environment", tuple(SYSTEMS))]
    return Account(
        mer_id=_required(given, "mer_id"),
        key=key,
        cert_id=str(held.serial_number),  # decimal, and of any length
        trust=Trust(_authorities(given, "middle_cert"), _authorities(given, "root_cert"), system.names),
        gateway=_address(given["gateway_url"] or system.gateway, "gateway_url").rstrip("/"),
        files=_address(given["file_url"] or system.files, "file_url"),
        app_mode=system.app_mode,
        desktop_product=_choice(given, "desktop_product", DESKTOP_PRODUCTS),
        voids=_choice(given, "same_day_refund", SAME_DAY_REFUNDS) == "void",
    )


def _signer(given: Mapping[str, str]) -> tuple[RSAPrivateKey, x509.Certificate]:
    """Our key and its certificate, from whichever form is given; a PFX wins.  Raises InvalidRequest."""
    if given["pfx"]:
        return _open_pfx(given["pfx"], given["pfx_password"])
    if not given["private_key"]:
        raise _bad("is missing: give it, or a signing key and certificate", "pfx")
    key = rsa.private_key(given["private_key"], "private_key")
    held = rsa.certificate(_required(given, "sign_cert"), "sign_cert")
    if not rsa.same_key(rsa.certificate_key(held, "sign_cert"), key.public_key()):
        raise _bad("is not the certificate of the signing key", "sign_cert")
    return key, held


def _open_pfx(text: str, password: str) -> tuple[RSAPrivateKey, x509.Certificate]:
    try:
        if len(text) > rsa.PASTE_CHARS_MAX:
            raise ValueError("too long to be a PFX file")
        packed = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _bad("is not a PFX file in base64", "pfx") from None
    if packed[:1] != b"\x30":  # an ASN.1 sequence, as every PFX file is
        raise _bad("is not a PFX file in base64", "pfx")
    try:
        key, held, _ = pkcs12.load_key_and_certificates(packed, password.encode() or None)
    except _BROKEN:
        # The file is sealed with the password, so a wrong one and a damaged file look alike.
        raise _bad("does not open the PFX file", "pfx_password") from None
    if not isinstance(key, RSAPrivateKey) or held is None:
        raise _bad("holds no RSA key with its certificate", "pfx")
    if key.key_size < rsa.KEY_BITS_MIN:
        raise _bad(f"holds a key shorter than {rsa.KEY_BITS_MIN} bits", "pfx")
    return key, held


def _authorities(given: Mapping[str, str], name: str) -> list[x509.Certificate]:
    """Every certificate of a PEM text, or one in bare base64."""
    text = _required(given, name)
    return rsa.certificates(text) or [rsa.certificate(text, name)]


def _required(given: Mapping[str, str], name: str) -> str:
    if not given[name]:
        raise _bad("is missing", name)
    return given[name]


def _address(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _bad("is not an http address", name) from None
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise _bad("is not an http address", name)
    return url


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    if given[name] not in choices:
        raise _bad(f"is not one of {', '.join(choices)}", name)
    return given[name]


def _bad(detail: str, param: str) -> InvalidRequest:
    return InvalidRequest(detail, code="bad_credential", param=param)
