"""Alipay's keys and certificates: made on first need, kept in files that only the owner may read."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sandbox import rsakeys
from sandbox.rsakeys import Issuer, KeyFiles

_RSA_FAMILY = "1.2.840.113549.1.1."
_NAME_PARTS = (
    ("CN", NameOID.COMMON_NAME),
    ("OU", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("O", NameOID.ORGANIZATION_NAME),
    ("C", NameOID.COUNTRY_NAME),
)


class Keyring:
    """The private side of the far side.  Nothing of it leaves but public keys, certificates, signatures."""

    def __init__(self, folder: Path) -> None:
        self._files = KeyFiles(folder)
        self.gateway_key = self._files.rsa("gateway")

    @property
    def public_pem(self) -> str:
        """The Alipay public key of key mode."""
        return rsakeys.public_pem(self.gateway_key.public_key())

    @property
    def stranger_key(self) -> rsa.RSAPrivateKey:
        """A key that Alipay does not own, for forgeries."""
        return self._files.rsa("stranger")

    @property
    def token_secret(self) -> bytes:
        """What signs the addresses of bills."""
        return self._files.token_secret

    def roots(self) -> str:
        """The root bundle: an RSA root and, as in the real one, a root of another family to skip."""
        with self._files.lock:
            self._root()
            self._files.file("root-ec.pem", self._new_ec_root)
            parts = [(self._files.folder / name).read_text().strip() for name in ("root.pem", "root-ec.pem")]
        return "\n\n".join(parts) + "\n"

    def certificate(self, sn: str = "") -> tuple[str, str] | None:
        """(sn, PEM) of the Alipay certificate in use, or of an older one; None for a stranger's."""
        with self._files.lock:
            sn = sn or self._current_sn()
            if not all(letter in "0123456789abcdef" for letter in sn):
                return None
            path = self._files.folder / f"alipay-{sn}.pem"
            return (sn, path.read_text()) if path.exists() else None

    def certificate_key(self) -> tuple[str, rsa.RSAPrivateKey]:
        """(sn, key) that sign in certificate mode now."""
        with self._files.lock:
            sn = self._current_sn()
            return sn, self._files.rsa(f"alipay-{sn}")

    def rotate(self) -> str:
        """Put a new Alipay certificate over a new key in use; answers its sn.  Old ones stay known."""
        with self._files.lock:
            key = rsakeys.new_key()
            pem = rsakeys.certificate(_subject("Sandbox Alipay"), key.public_key(), self._root())
            sn = cert_sn(pem)
            self._files.write(f"alipay-{sn}.key", rsakeys.private_pem(key))
            self._files.write(f"alipay-{sn}.pem", pem.encode())
            self._files.write("alipay-current", sn.encode())
            return sn

    def issue(self, app_id: str, public_key: str) -> str:
        """A certificate for a merchant's app key.  Raises ValueError for a key that is none."""
        with self._files.lock:
            return rsakeys.certificate(
                _subject(f"app {app_id}"), rsakeys.load_public(public_key), self._root()
            )

    def _current_sn(self) -> str:
        path = self._files.folder / "alipay-current"
        return path.read_text() if path.exists() else self.rotate()

    def _root(self) -> Issuer:
        root = Issuer(_subject("Sandbox Alipay Root CA"), self._files.rsa("root"))

        def made() -> bytes:
            return rsakeys.certificate(
                root.name, self._files.rsa("root").public_key(), root, ca=True
            ).encode()

        pem = self._files.file("root.pem", made)
        return Issuer(x509.load_pem_x509_certificate(pem).subject, root.key)

    def _new_ec_root(self) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        root = Issuer(_subject("Sandbox Alipay EC Root CA"), key)
        return rsakeys.certificate(root.name, key.public_key(), root, ca=True).encode()


def cert_sn(cert_pem: str) -> str:
    """``md5hex(issuer + serial in decimal)``.  Pure.

    The issuer reads CN, OU, O, C, the reverse of the order in which it is encoded.
    """
    cert = x509.load_pem_x509_certificate(cert_pem.strip().encode())
    short = {oid: name for name, oid in _NAME_PARTS}
    issuer = ",".join(
        f"{short.get(part.oid, part.oid.dotted_string)}={part.value!s}"
        for part in reversed(list(cert.issuer))
    )
    return hashlib.md5(f"{issuer}{cert.serial_number}".encode(), usedforsecurity=False).hexdigest()


def root_sn(bundle: str) -> str:
    """The SNs of the RSA-signed certificates of a bundle, joined by ``_``.  Pure."""
    blocks = [
        block + "-----END CERTIFICATE-----\n" for block in bundle.split("-----END CERTIFICATE-----")[:-1]
    ]
    certs = [(block, x509.load_pem_x509_certificate(block.strip().encode())) for block in blocks]
    family = [
        block for block, cert in certs if cert.signature_algorithm_oid.dotted_string.startswith(_RSA_FAMILY)
    ]
    return "_".join(cert_sn(block) for block in family)


def base64_of(text: str) -> str:
    """The text's UTF-8 bytes in base64.  Pure."""
    return base64.b64encode(text.encode()).decode()


def _subject(common_name: str) -> x509.Name:
    """Encoded C, O, OU, CN: the order that the reversed issuer string of ``cert_sn`` expects."""
    values = {"CN": common_name, "OU": "Sandbox", "O": "Sandbox Alipay", "C": "CN"}
    return x509.Name([x509.NameAttribute(oid, values[name]) for name, oid in reversed(_NAME_PARTS)])
