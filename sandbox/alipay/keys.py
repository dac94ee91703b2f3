"""Alipay's keys and certificates: made on first need, kept in files that only the owner may read."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA_FAMILY = "1.2.840.113549.1.1."
_LIFE = timedelta(days=3650)
_NAME_PARTS = (
    ("CN", NameOID.COMMON_NAME),
    ("OU", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("O", NameOID.ORGANIZATION_NAME),
    ("C", NameOID.COUNTRY_NAME),
)


class Keyring:
    """The private side of the far side.  Nothing of it leaves but public keys, certificates, signatures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.gateway_key = self._rsa("gateway")

    @property
    def public_pem(self) -> str:
        """The Alipay public key of key mode."""
        return public_pem(self.gateway_key.public_key())

    @property
    def stranger_key(self) -> rsa.RSAPrivateKey:
        """A key that Alipay does not own, for forgeries."""
        return self._rsa("stranger")

    @functools.cached_property
    def token_secret(self) -> bytes:
        """What signs the addresses of bills."""
        return self._file("token-secret", lambda: secrets.token_hex(32).encode())

    def roots(self) -> str:
        """The root bundle: an RSA root and, as in the real one, a root of another family to skip."""
        with self._lock:
            self._root()
            self._file("root-ec.pem", self._new_ec_root)
            parts = [(self._folder / name).read_text().strip() for name in ("root.pem", "root-ec.pem")]
        return "\n\n".join(parts) + "\n"

    def certificate(self, sn: str = "") -> tuple[str, str] | None:
        """(sn, PEM) of the Alipay certificate in use, or of an older one; None for a stranger's."""
        with self._lock:
            sn = sn or self._current_sn()
            if not all(letter in "0123456789abcdef" for letter in sn):
                return None
            path = self._folder / f"alipay-{sn}.pem"
            return (sn, path.read_text()) if path.exists() else None

    def certificate_key(self) -> tuple[str, rsa.RSAPrivateKey]:
        """(sn, key) that sign in certificate mode now."""
        with self._lock:
            sn = self._current_sn()
            return sn, _load_rsa((self._folder / f"alipay-{sn}.key").read_bytes())

    def rotate(self) -> str:
        """Put a new Alipay certificate over a new key in use; answers its sn.  Old ones stay known."""
        with self._lock:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            root_key, root = self._root()
            pem = _certificate("Sandbox Alipay", key.public_key(), root.subject, root_key)
            sn = cert_sn(pem)
            self._write(f"alipay-{sn}.key", _private_pem(key))
            self._write(f"alipay-{sn}.pem", pem.encode())
            self._write("alipay-current", sn.encode())
            return sn

    def issue(self, app_id: str, public_key: str) -> str:
        """A certificate for a merchant's app key.  Raises ValueError for a key that is none."""
        with self._lock:
            root_key, root = self._root()
            return _certificate(f"app {app_id}", load_public(public_key), root.subject, root_key)

    def _current_sn(self) -> str:
        path = self._folder / "alipay-current"
        return path.read_text() if path.exists() else self.rotate()

    def _root(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        key = self._rsa("root")
        name = _subject("Sandbox Alipay Root CA")
        pem = self._file(
            "root.pem", lambda: _certificate(name, key.public_key(), name, key, ca=True).encode()
        )
        return key, x509.load_pem_x509_certificate(pem)

    def _new_ec_root(self) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject("Sandbox Alipay EC Root CA")
        return _certificate(name, key.public_key(), name, key, ca=True).encode()

    def _rsa(self, name: str) -> rsa.RSAPrivateKey:
        pem = self._file(
            f"{name}.key",
            lambda: _private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        )
        return _load_rsa(pem)

    def _file(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self._folder / name
        with self._lock:
            if not path.exists():
                self._write(name, make())
            return path.read_bytes()

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, and never readable by others."""
        fresh = self._folder / f".{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        fresh.rename(self._folder / name)


@functools.lru_cache(maxsize=64)
def load_public(text: str) -> rsa.RSAPublicKey:
    """An RSA public key from PEM or, as Alipay's own pages show it, bare base64.  Raises ValueError."""
    if "-----BEGIN" in text:
        key = serialization.load_pem_public_key(text.strip().encode())
    else:
        key = serialization.load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise ValueError("not an RSA public key of 2048 bits or more")
    return key


def public_pem(key: rsa.RSAPublicKey) -> str:
    """The key as PEM (SubjectPublicKeyInfo).  Pure."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def key_in(cert_pem: str) -> str:
    """The RSA public key inside a certificate, as PEM.  Pure.  Raises ValueError."""
    key = x509.load_pem_x509_certificate(cert_pem.strip().encode()).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not a certificate over an RSA key")
    return public_pem(key)


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


def sign(key: rsa.RSAPrivateKey, message: bytes) -> str:
    """RSA2: SHA256withRSA, PKCS#1 v1.5, base64.  Pure."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def verifies(public_key: str, message: bytes, signature: str) -> bool:
    """Whether the signature is this key's over this message.  Pure."""
    try:
        raw = base64.b64decode(signature, validate=True)
        load_public(public_key).verify(raw, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=64)
def _load_rsa(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _subject(common_name: str) -> x509.Name:
    """Encoded C, O, OU, CN: the order that the reversed issuer string of ``cert_sn`` expects."""
    values = {"CN": common_name, "OU": "Sandbox", "O": "Sandbox Alipay", "C": "CN"}
    return x509.Name([x509.NameAttribute(oid, values[name]) for name, oid in reversed(_NAME_PARTS)])


def _certificate(
    subject: x509.Name | str,
    public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    ca: bool = False,
) -> str:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(subject) if isinstance(subject, str) else subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def base64_of(text: str) -> str:
    """The text's UTF-8 bytes in base64.  Pure."""
    return base64.b64encode(text.encode()).decode()
