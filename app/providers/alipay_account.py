"""What a merchant enters to be spoken for at Alipay, read and checked once.

Two ways to know Alipay's signature: its public key (key mode), or three certificates (certificate
mode, which wins when both are given).
Source: Alipay open platform, configuring keys and certificates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from app.errors import InvalidRequest
from app.providers import alipay_certs, rsa
from app.providers.base import Credential

GATEWAY = "https://openapi.alipay.com/gateway.do"
OPENAUTH = "https://openauth.alipay.com"
DESKTOP_PRODUCTS = ("precreate", "page")
IN_APP_PRODUCTS = ("wap", "jsapi")

_TOKEN = re.compile(r"[0-9A-Za-z_.\-]{1,40}", re.ASCII)

CREDENTIALS = (
    Credential("app_id", "Application ID", hint="16 digits, from the open platform console", identifies=True),
    Credential(
        "private_key",
        "Application private key",
        secret=True,
        multiline=True,
        hint="PEM or bare base64, PKCS#1 or PKCS#8",
    ),
    Credential(
        "alipay_public_key",
        "Alipay public key",
        required=False,
        multiline=True,
        hint="key mode: Alipay's key, not your application's own",
    ),
    Credential(
        "app_cert",
        "Application certificate",
        required=False,
        multiline=True,
        hint="certificate mode: appCertPublicKey_….crt; needs all three certificates",
    ),
    Credential(
        "alipay_cert",
        "Alipay certificate",
        required=False,
        multiline=True,
        hint="certificate mode: alipayCertPublicKey_RSA2.crt",
    ),
    Credential(
        "alipay_root_cert",
        "Alipay root certificates",
        required=False,
        multiline=True,
        hint="certificate mode: alipayRootCert.crt",
    ),
    Credential(
        "seller_id",
        "Seller ID (PID)",
        required=False,
        hint="2088…; when given, notifications for another seller are refused",
        identifies=True,
        told_late=True,
    ),
    Credential(
        "app_auth_token",
        "App authorisation token",
        secret=True,
        required=False,
        hint="service providers only: the merchant's, who is paid; the seller ID is then the merchant's, "
        "application and keys are your own",
        chooses=True,
    ),
    Credential(
        "desktop_product",
        "Product on a desktop",
        required=False,
        default="precreate",
        hint="precreate shows a QR code here; page sends the browser to Alipay's own page",
    ),
    Credential(
        "in_app_product",
        "Product inside the Alipay app",
        required=False,
        default="wap",
        hint="wap opens Alipay's cashier; jsapi the pay sheet on the page, where your contract has JSAPI",
    ),
    Credential("gateway_url", "Gateway address", required=False, default=GATEWAY),
    Credential("auth_url", "Authorisation address", required=False, default=OPENAUTH),
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificate mode: what we hold, and the numbers that requests carry."""

    alipay: x509.Certificate
    roots: list[x509.Certificate]
    app_number: str
    alipay_number: str
    root_number: str


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """The credentials, parsed: no text of a key is kept."""

    app_id: str
    seller_id: str
    app_auth_token: str  # of the merchant that a service provider acts for; "": it acts for itself
    gateway: str
    openauth: str
    desktop_product: str
    in_app_product: str
    key: RSAPrivateKey
    alipay_key: RSAPublicKey
    certificates: Certificates | None

    @property
    def held_number(self) -> str:
        """The number of the Alipay certificate that we hold; empty in key mode."""
        return self.certificates.alipay_number if self.certificates else ""


def read_account(settings: Mapping[str, str]) -> Account:
    """Parse a merchant's credentials.  Pure.  Raises InvalidRequest naming the one at fault."""
    given = {c.name: settings.get(c.name, "").strip() or c.default for c in CREDENTIALS}
    key = rsa.private_key(_required(given, "private_key"), "private_key")
    certificates = _certificates(given, key)
    return Account(
        app_id=_required(given, "app_id"),
        seller_id=given["seller_id"],
        app_auth_token=_token(given),
        gateway=_address(given, "gateway_url"),
        openauth=_address(given, "auth_url").rstrip("/"),
        desktop_product=_choice(given, "desktop_product", DESKTOP_PRODUCTS),
        in_app_product=_choice(given, "in_app_product", IN_APP_PRODUCTS),
        key=key,
        alipay_key=_alipay_key(given, certificates, key),
        certificates=certificates,
    )


def _token(given: Mapping[str, str]) -> str:
    """A service provider's notifications tell its merchants apart by their seller alone: it must be known.

    Raises InvalidRequest.  Source: Alipay open platform, third-party applications, app_auth_token.
    """
    token = given["app_auth_token"]
    if token and _TOKEN.fullmatch(token) is None:
        raise _bad("is not an app authorisation token", "app_auth_token")
    if token and not given["seller_id"]:
        raise _bad("is needed beside an app authorisation token", "seller_id")
    return token


def _certificates(given: Mapping[str, str], key: RSAPrivateKey) -> Certificates | None:
    """Read the three certificates, or None in key mode.  Raises InvalidRequest."""
    names = ("app_cert", "alipay_cert", "alipay_root_cert")
    if not any(given[name] for name in names):
        return None
    app_cert = rsa.certificate(_required(given, "app_cert"), "app_cert")
    if not rsa.same_key(rsa.certificate_key(app_cert, "app_cert"), key.public_key()):
        raise _bad("is not the certificate of the private key", "app_cert")
    alipay = rsa.certificate(_required(given, "alipay_cert"), "alipay_cert")
    roots = rsa.certificates(_required(given, "alipay_root_cert"))
    root_number = alipay_certs.root_serial_numbers(roots)
    if not root_number:
        raise _bad("holds no RSA certificate", "alipay_root_cert")
    return Certificates(
        alipay=alipay,
        roots=roots,
        app_number=alipay_certs.serial_number(app_cert),
        alipay_number=alipay_certs.serial_number(alipay),
        root_number=root_number,
    )


def _alipay_key(given: Mapping[str, str], held: Certificates | None, own: RSAPrivateKey) -> RSAPublicKey:
    """Alipay's key from whichever mode is set up.  Raises InvalidRequest."""
    name = "alipay_cert" if held else "alipay_public_key"
    text = _required(given, name)
    key = rsa.certificate_key(held.alipay, name) if held else rsa.public_key(text, name)
    if rsa.same_key(key, own.public_key()):
        # The console shows both keys side by side; with our own here, we would accept our own
        # signature as Alipay's.
        raise _bad("is your application's own key, not Alipay's", name)
    return key


def _required(given: Mapping[str, str], name: str) -> str:
    if not given[name]:
        raise _bad("is missing", name)
    return given[name]


def _address(given: Mapping[str, str], name: str) -> str:
    url = given[name]
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
