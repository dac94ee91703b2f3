"""Whether a certificate is Alipay's: serial numbers as Alipay computes them, and chains to a held root.

Source: Alipay open platform, certificate mode; the numbers agree with two independent packages.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from app.errors import SignatureMismatch
from app.providers import rsa

# Signature algorithms of the RSA family.  The root bundle also holds SM2 and EC certificates, and
# Alipay leaves those out of alipay_root_cert_sn.
_RSA_FAMILY = "1.2.840.113549.1.1"
# Alipay's own chains have two links above the leaf; the limit stops a loop in a hostile answer.
_LINKS_MAX = 8


def serial_number(held: x509.Certificate) -> str:
    """Alipay's name for a certificate: md5 of the issuer's name and the decimal serial.  Pure.

    The issuer is written last attribute first, ``CN=..,OU=..,O=..,C=..``, only what is present and
    nothing escaped.  MD5 is a label here, not a protection.  -> 32 lower-case hex digits.
    """
    attributes = [attribute for rdn in reversed(list(held.issuer.rdns)) for attribute in rdn]
    issuer = ",".join(f"{a.rfc4514_attribute_name}={_text(a.value)}" for a in attributes)
    # Decimal, and of any length: PHP's hexdec and JavaScript's parseInt lose digits here.
    return hashlib.md5(f"{issuer}{held.serial_number}".encode(), usedforsecurity=False).hexdigest()


def root_serial_numbers(bundle: list[x509.Certificate]) -> str:
    """alipay_root_cert_sn: the numbers of the RSA certificates of the bundle, in its order.  Pure."""
    family = [held for held in bundle if held.signature_algorithm_oid.dotted_string.startswith(_RSA_FAMILY)]
    return "_".join(serial_number(held) for held in family)


def successor(
    content: str, held: x509.Certificate, number: str, roots: list[x509.Certificate], now: datetime
) -> x509.Certificate:
    """Read a downloaded certificate and accept it as the heir of the one we hold.  Pure.

    It must carry the announced number, chain to a held root, be valid today, and name the same
    organisation: every merchant's certificate hangs on the same root, so a chain alone would let any
    merchant speak for Alipay.  Raises SignatureMismatch.
    """
    chain = rsa.certificates(content)
    if not chain or serial_number(chain[0]) != number:
        raise SignatureMismatch("the downloaded certificate is not the one announced")
    if _organisation(chain[0]) != _organisation(held) or not _organisation(held):
        raise SignatureMismatch("the downloaded certificate names another organisation")
    if not _is_trusted(chain[0], chain[1:], roots, now):
        raise SignatureMismatch("the downloaded certificate does not chain to the held root")
    return chain[0]


def _is_trusted(
    leaf: x509.Certificate, between: list[x509.Certificate], roots: list[x509.Certificate], now: datetime
) -> bool:
    current = leaf
    for _ in range(_LINKS_MAX):
        if not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            return False
        if any(_issued(root, current) for root in roots):
            return True
        above = [other for other in between if _is_authority(other) and _issued(other, current)]
        if not above:
            return False
        current = above[0]
    return False


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_authority(held: x509.Certificate) -> bool:
    """Whether a certificate may sign others; a held root needs no leave, a downloaded link does."""
    try:
        return held.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _organisation(held: x509.Certificate) -> str:
    return ",".join(_text(a.value) for a in held.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()
