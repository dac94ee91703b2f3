"""Whether a certificate that came inside a message speaks for UnionPay.

Every message carries the certificate it is signed with, so the certificate alone decides what is
believed.  Three things must hold: it was issued under a held root, it is valid now, and its name is
UnionPay's.  The name matters as much as the chain: the same authority (CFCA) issues every merchant's
certificate, and a verifier that skips the name believes them all.
Source: UnionPay ACP 5.1.0, verification with signPubKeyCert.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from app.errors import InvalidRequest, SignatureMismatch
from app.providers import rsa

UNIONPAY = "中国银联股份有限公司"
# UnionPay's test system signs with certificates of this name.
UNIONPAY_TEST = "00040000:SIGN"

# A hostile certificate may break while one of its parts is looked at, and in each of these ways.
_BROKEN = (
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Trust:
    """The authorities that a merchant pinned, and the names that their certificates may carry."""

    def __init__(
        self, middles: list[x509.Certificate], roots: list[x509.Certificate], names: frozenset[str]
    ) -> None:
        """Raises InvalidRequest naming the credential if the chain does not hang together.

        Several of each may be held, so that a renewal can be prepared before it comes.
        """
        for held, param in ((middles, "middle_cert"), (roots, "root_cert")):
            if any(_is_authority(one) is False for one in held):
                raise InvalidRequest("is not an authority's certificate", code="bad_credential", param=param)
        self._paths = [(middle, root) for middle in middles for root in roots if _issued(root, middle)]
        if {middle.serial_number for middle in middles} != {m.serial_number for m, _ in self._paths}:
            raise InvalidRequest(
                "is not issued by the root certificate", code="bad_credential", param="middle_cert"
            )
        self._names = names

    def key_in(self, pem: bytes, moment: datetime) -> RSAPublicKey:
        """The key that a message's ``signPubKeyCert`` vouches for.  Pure.  Raises SignatureMismatch."""
        try:
            leaf = rsa.certificate(pem.decode("ascii"), "signPubKeyCert")
            # The chain comes first: what is looked at after it was written by the authority.
            if not self._vouched(leaf, moment):
                raise SignatureMismatch("the certificate in the message is not issued under the held root")
            if _is_authority(leaf) is True:
                raise SignatureMismatch("the certificate in the message is an authority's")
            if _organisation(leaf) not in self._names:
                raise SignatureMismatch("the certificate in the message is not UnionPay's")
            return rsa.certificate_key(leaf, "signPubKeyCert")
        except (InvalidRequest, *_BROKEN):
            raise SignatureMismatch("the certificate in the message cannot be read") from None

    def _vouched(self, leaf: x509.Certificate, moment: datetime) -> bool:
        return any(
            _valid((leaf, middle, root), moment) and _issued(middle, leaf) for middle, root in self._paths
        )


def _valid(chain: Iterable[x509.Certificate], moment: datetime) -> bool:
    return all(one.not_valid_before_utc <= moment <= one.not_valid_after_utc for one in chain)


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except _BROKEN:
        return False
    return True


def _is_authority(held: x509.Certificate) -> bool | None:
    """Whether a certificate says that it may sign others; None if it says nothing, as old roots do."""
    try:
        return held.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return None


def _organisation(held: x509.Certificate) -> str:
    """The third part of ``CFCA@...@organisation@serial``; empty for any other form of name.

    Two common names in one certificate are one too many: verifiers disagree which of them counts.
    """
    names = held.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    parts = str(names[0].value).split("@") if len(names) == 1 else []
    return parts[2] if len(parts) > 2 else ""
