"""What a merchant enters to be spoken for at WeChat Pay, read and checked once.

Two ways to know WeChat Pay's signature, which may be set up side by side while a merchant moves from
one to the other: its public key (new merchants have nothing else), or platform certificates, entered
or downloaded.
Source: WeChat Pay merchant platform, API security; API v3, switching to the public key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from app.errors import InvalidRequest
from app.providers import rsa, wechatpay_keys
from app.providers.base import Credential
from app.providers.wechatpay_keys import Held
from app.providers.wechatpay_parties import Parties
from app.providers.wechatpay_wire import Signer

API = "https://api.mch.weixin.qq.com"
OPEN = "https://open.weixin.qq.com"
SNS = "https://api.weixin.qq.com"

CREDENTIALS = (
    Credential(
        "appid",
        "App ID",
        hint="wx…: the official account that is bound to the merchant number",
        identifies=True,
    ),
    Credential("mchid", "Merchant number", hint="about 10 digits", identifies=True),
    Credential(
        "private_key",
        "Merchant private key",
        secret=True,
        multiline=True,
        hint="apiclient_key.pem",
    ),
    Credential(
        "merchant_cert",
        "Merchant certificate",
        multiline=True,
        hint="apiclient_cert.pem, or its serial number of 40 hexadecimal digits",
    ),
    Credential("api_v3_key", "APIv3 key", secret=True, hint="32 letters and digits, set by you"),
    Credential(
        "public_key_id",
        "WeChat Pay public key ID",
        required=False,
        hint="PUB_KEY_ID_…; answers are then signed with this key",
    ),
    Credential(
        "public_key",
        "WeChat Pay public key",
        required=False,
        multiline=True,
        hint="pub_key.pem: WeChat Pay's key, not your own",
    ),
    Credential(
        "platform_certs",
        "WeChat Pay platform certificates",
        required=False,
        multiline=True,
        hint="wechatpay_….pem, one or more; only for merchants without a public key, or on the move",
    ),
    Credential(
        "app_secret",
        "App secret",
        secret=True,
        required=False,
        hint="of the official account; needed to be paid inside WeChat",
    ),
    Credential(
        "mobile_appid",
        "App ID of your mobile app",
        required=False,
        hint="when your own app takes payments under another app ID",
        identifies=True,
        told_late=True,
    ),
    Credential(
        "sub_mchid",
        "Sub-merchant number",
        required=False,
        hint="service providers only: who is paid; App ID, merchant number and keys are then your own",
        identifies=True,
    ),
    Credential(
        "sub_appid",
        "Sub-merchant's App ID",
        required=False,
        hint="service providers only, where payers are to be known to the sub-merchant's official account: "
        "the app secret is then of that account",
        identifies=True,
        told_late=True,
    ),
    Credential("api_url", "API address", required=False, default=API),
    Credential("open_url", "Authorisation address", required=False, default=OPEN),
    Credential("sns_url", "Address for openids", required=False, default=SNS),
)

_APPID = re.compile(r"[0-9A-Za-z_-]{1,32}", re.ASCII)
_MCHID = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
_SERIAL = re.compile(r"[0-9A-F]{8,40}", re.ASCII)
_KEY_ID = re.compile(r"PUB_KEY_ID_[0-9A-Za-z]{1,64}", re.ASCII)
_API_KEY = re.compile(r"[\x21-\x7e]{32}")
_APP_SECRET = re.compile(r"[0-9A-Za-z]{32}", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """The credentials, parsed.  ``keys`` are WeChat Pay's, by the name that messages give them."""

    parties: Parties
    signer: Signer
    api_key: bytes
    keys: Mapping[str, Held]
    public_key_id: str
    app_secret: str
    api_url: str
    open_url: str
    sns_url: str


def read_account(settings: Mapping[str, str]) -> Account:
    """Parse a merchant's credentials.  Pure.  Raises InvalidRequest naming the one at fault."""
    given = {c.name: settings.get(c.name, "").strip() or c.default for c in CREDENTIALS}
    key = rsa.private_key(_required(given, "private_key"), "private_key")
    mchid = _shaped(_required(given, "mchid"), _MCHID, "mchid", "is not a merchant number")
    appid = _shaped(_required(given, "appid"), _APPID, "appid", "is not an app ID")
    api_key = _shaped(_required(given, "api_v3_key"), _API_KEY, "api_v3_key", "is not 32 characters long")
    return Account(
        parties=_parties(given, appid, mchid),
        signer=Signer(mchid, _serial(_required(given, "merchant_cert"), key), key),
        api_key=api_key.encode("ascii"),
        keys={**_public_key(given, key), **_platform_certificates(given, key)},
        public_key_id=given["public_key_id"],
        app_secret=_optional(given, "app_secret", _APP_SECRET, "is not 32 letters and digits"),
        api_url=_origin(given, "api_url"),
        open_url=_origin(given, "open_url"),
        sns_url=_origin(given, "sns_url"),
    )


def _parties(given: Mapping[str, str], appid: str, mchid: str) -> Parties:
    """Who sells.  Raises InvalidRequest."""
    parties = Parties(
        appid=appid,
        mchid=mchid,
        mobile_appid=_optional(given, "mobile_appid", _APPID, "is not an app ID"),
        sub_mchid=_optional(given, "sub_mchid", _MCHID, "is not a merchant number"),
        sub_appid=_optional(given, "sub_appid", _APPID, "is not an app ID"),
    )
    if parties.sub_mchid == mchid:
        raise _bad("is your own merchant number", "sub_mchid")
    if parties.sub_appid and not parties.is_partner:
        raise _bad("goes with a sub-merchant number", "sub_appid")
    return parties


def _serial(text: str, key: RSAPrivateKey) -> str:
    """The number of the merchant's API certificate, typed in or read from the certificate."""
    if "-----BEGIN" not in text:
        # Tools print numbers in lower case, with blanks or with colons.
        number = re.sub(r"[\s:]", "", text).upper()
        return _shaped(number, _SERIAL, "merchant_cert", "is neither a certificate nor its serial number")
    certificate = rsa.certificate(text, "merchant_cert")
    if not rsa.same_key(rsa.certificate_key(certificate, "merchant_cert"), key.public_key()):
        raise _bad("is not the certificate of the private key", "merchant_cert")
    return wechatpay_keys.number_of(certificate)


def _public_key(given: Mapping[str, str], own: RSAPrivateKey) -> dict[str, Held]:
    if not given["public_key_id"] and not given["public_key"]:
        return {}
    name = _shaped(_required(given, "public_key_id"), _KEY_ID, "public_key_id", "is not PUB_KEY_ID_…")
    key = rsa.public_key(_required(given, "public_key"), "public_key")
    return _not_own({name: Held(key)}, own, "public_key")


def _platform_certificates(given: Mapping[str, str], own: RSAPrivateKey) -> dict[str, Held]:
    text = given["platform_certs"]
    if not text:
        return {}
    certificates = rsa.certificates(text) or [rsa.certificate(text, "platform_certs")]
    held = wechatpay_keys.held_certificates(certificates, "platform_certs")
    return _not_own(held, own, "platform_certs")


def _not_own(held: dict[str, Held], own: RSAPrivateKey, param: str) -> dict[str, Held]:
    if any(rsa.same_key(each.key, own.public_key()) for each in held.values()):
        # With our own key here we would accept our own signature as WeChat Pay's.
        raise _bad("is your own key, not WeChat Pay's", param)
    return held


def _required(given: Mapping[str, str], name: str) -> str:
    if not given[name]:
        raise _bad("is missing", name)
    return given[name]


def _optional(given: Mapping[str, str], name: str, shape: re.Pattern[str], fault: str) -> str:
    return _shaped(given[name], shape, name, fault) if given[name] else ""


def _shaped(text: str, shape: re.Pattern[str], param: str, fault: str) -> str:
    if shape.fullmatch(text) is None:
        raise _bad(fault, param)
    return text


def _origin(given: Mapping[str, str], name: str) -> str:
    """An address without a path: the path is ours, and it is signed."""
    fault = "is not an address like https://api.mch.weixin.qq.com"
    try:
        parts = urlsplit(given[name])
        port = parts.port
    except ValueError:
        raise _bad(fault, name) from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise _bad(fault, name)
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise _bad(fault, name)
    return f"{parts.scheme}://{parts.netloc}"


def _bad(detail: str, param: str) -> InvalidRequest:
    return InvalidRequest(detail, code="bad_credential", param=param)
