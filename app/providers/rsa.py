"""RSA as every network here speaks it: SHA-256 with PKCS #1 v1.5, and the shapes in which keys are pasted.

Keys are read once, when an adapter is made: checking a private key costs about 35 ms, a signature 1 ms.
The hash is pinned here and never taken from a message, because some RSA libraries accept whatever
hash a signature carries.
"""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from app.errors import InvalidRequest, SignatureMismatch

# All three networks issue and demand 2048 bits; a shorter key can be factored or is a paste error.
KEY_BITS_MIN = 2048
# The longest honest paste is a bundle of certificates of about 10 kB.
PASTE_CHARS_MAX = 65_536

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BROKEN = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


def private_key(text: str, param: str) -> RSAPrivateKey:
    """Read our own key, as PEM or bare base64, PKCS #1 or PKCS #8.  Pure.

    ``param`` is the credential's name, for the settings form.  Raises InvalidRequest, which never
    shows a character of the key.  Source: Alipay key tool writes bare PKCS #1 or #8; WeChat Pay PEM.
    """
    try:
        key = serialization.load_der_private_key(_der(text), password=None)
    except _BROKEN:
        raise InvalidRequest("is not an RSA private key", code="bad_credential", param=param) from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidRequest("is not an RSA private key", code="bad_credential", param=param)
    if key.key_size < KEY_BITS_MIN:
        raise InvalidRequest(f"is shorter than {KEY_BITS_MIN} bits", code="bad_credential", param=param)
    return key


def public_key(text: str, param: str) -> RSAPublicKey:
    """Read another's key, as PEM or bare base64 of a key or of a certificate.  Pure.

    Raises InvalidRequest naming ``param``.
    """
    try:
        der = _der(text)
    except ValueError:
        raise InvalidRequest("is not an RSA public key", code="bad_credential", param=param) from None
    try:
        key = serialization.load_der_public_key(der)
    except _BROKEN:
        return certificate_key(certificate(text, param), param)
    return _checked(key, param)


def certificate(text: str, param: str) -> x509.Certificate:
    """Read the first certificate of a PEM text, or one in bare base64.  Pure.

    A certificate file may carry its chain; the holder's own comes first (RFC 8446 4.4.2 says so for
    TLS, and the providers' files follow it).  Raises InvalidRequest naming ``param``.
    """
    try:
        found = x509.load_der_x509_certificate(_der(text))
    except _BROKEN:
        found = None
    if found is None or found.serial_number <= 0:  # RFC 5280 4.1.2.2 forbids the latter
        raise InvalidRequest("is not a certificate", code="bad_credential", param=param)
    return found


def certificates(text: str) -> list[x509.Certificate]:
    """Read every certificate of a PEM bundle that can be read, in the order of the file.  Pure.

    A block that cannot be read (Alipay's bundle holds SM2 ones) is passed over: it can vouch for nobody.
    """
    found = []
    for _, body in _PEM.findall(text[:PASTE_CHARS_MAX]):
        try:
            found.append(x509.load_der_x509_certificate(_unbase64(body)))
        except _BROKEN:
            continue
    return found


def certificate_key(held: x509.Certificate, param: str) -> RSAPublicKey:
    """The RSA key a certificate speaks for.  Pure.  Raises InvalidRequest naming ``param``."""
    try:
        return _checked(held.public_key(), param)
    except _BROKEN:
        raise InvalidRequest("is not an RSA certificate", code="bad_credential", param=param) from None


def sign(key: RSAPrivateKey, message: bytes) -> str:
    """SHA256withRSA, PKCS #1 v1.5, as base64 without line breaks.  Pure, and the same every time."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode("ascii")


def verify(key: RSAPublicKey, message: bytes, signature: str) -> None:
    """Return if the holder of the key signed exactly these bytes.  Pure.  Raises SignatureMismatch."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise SignatureMismatch("the signature does not match") from None


def same_key(one: RSAPublicKey, other: RSAPublicKey) -> bool:
    """Whether two public keys are one: it catches a merchant's own key pasted as the provider's.  Pure."""
    return one.public_numbers() == other.public_numbers()


def _checked(key: object, param: str) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise InvalidRequest("is not an RSA public key", code="bad_credential", param=param)
    if key.key_size < KEY_BITS_MIN:
        raise InvalidRequest(f"is shorter than {KEY_BITS_MIN} bits", code="bad_credential", param=param)
    return key


def _der(text: str) -> bytes:
    """The bytes inside a PEM block or bare base64, however a paste has broken its lines."""
    if len(text) > PASTE_CHARS_MAX:
        raise ValueError("too long to be a key")
    block = _PEM.search(text)
    return _unbase64(block[2] if block else text)


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
