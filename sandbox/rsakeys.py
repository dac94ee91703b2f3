"""RSA keys and certificates for every network's far side: kept in files, read, signed with, checked."""

from __future__ import annotations

import base64
import functools
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class KeyFiles:
    """A directory that only its owner may read.  What is missing is made on first need.

    ``lock`` guards steps of several files; it may be taken again by the thread that holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def rsa(self, name: str) -> rsa.RSAPrivateKey:
        """The private key in ``<name>.key``."""
        return load_private(self.file(f"{name}.key", lambda: private_pem(new_key())))

    def file(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A file's bytes, made if it is not there."""
        path = self.folder / name
        with self.lock:
            if not path.exists():
                self.write(name, make())
            return path.read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all, and never readable by others."""
        fresh = self.folder / f".{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        fresh.rename(self.folder / name)

    @functools.cached_property
    def token_secret(self) -> bytes:
        """What signs the addresses of bills."""
        return self.file("token-secret", lambda: secrets.token_hex(32).encode())


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs certificates."""

    name: x509.Name
    key: PrivateKey


def certificate(
    subject: x509.Name,
    public_key: PublicKey,
    issuer: Issuer,
    *,
    ca: bool = False,
    serial: int | None = None,
    life: timedelta = timedelta(days=3650),
) -> str:
    """A certificate as PEM, valid since yesterday."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def new_key() -> rsa.RSAPrivateKey:
    """A fresh key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.lru_cache(maxsize=64)
def load_public(text: str) -> rsa.RSAPublicKey:
    """An RSA public key from PEM or, as the networks' own pages show it, bare base64.  Raises ValueError."""
    if "-----BEGIN" in text:
        key = serialization.load_pem_public_key(text.strip().encode())
    else:
        key = serialization.load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise ValueError("not an RSA public key of 2048 bits or more")
    return key


@functools.lru_cache(maxsize=64)
def load_private(pem: bytes) -> rsa.RSAPrivateKey:
    """One of our own private keys.  Pure."""
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def public_pem(key: rsa.RSAPublicKey) -> str:
    """The key as PEM (SubjectPublicKeyInfo).  Pure."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """The key as unencrypted PKCS#8 PEM.  Pure."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def key_in(cert_pem: str) -> str:
    """The RSA public key inside a certificate, as PEM.  Pure.  Raises ValueError."""
    key = x509.load_pem_x509_certificate(cert_pem.strip().encode()).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not a certificate over an RSA key")
    return public_pem(key)


def sign(key: rsa.RSAPrivateKey, message: bytes) -> str:
    """SHA256withRSA, PKCS#1 v1.5, base64.  Pure."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def verifies(public_key: str, message: bytes, signature: str) -> bool:
    """Whether the signature is this key's over this message.  Pure."""
    try:
        raw = base64.b64decode(signature, validate=True)
        load_public(public_key).verify(raw, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
