"""UnionPay's certificates: a root, a middle, and what it signs with; made on first need, kept in files.

``production`` certificates carry UnionPay's name, ``test`` ones that of its test system; a client decides
by the environment it is set to which names it believes.
Source: UnionPay ACP 5.1.0, signPubKeyCert.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

from sandbox import rsakeys
from sandbox.rsakeys import Issuer, KeyFiles

# The third part of the certificate's name, between "@".
ORGANISATIONS = {"production": "中国银联股份有限公司", "test": "00040000:SIGN"}
_OTHER_COMPANY = "某某科技有限公司"
_AUTHORITY = "Sandbox CFCA"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a message is signed with, and the certificate that goes along with it."""

    cert: str
    key: RSAPrivateKey

    @property
    def cert_id(self) -> str:
        """The certificate's serial number, in decimal."""
        return cert_id(self.cert)

    @property
    def sign_pub_key_cert(self) -> str:
        """The certificate as it stands in a message: lines end with CR LF, the last with nothing."""
        return self.cert.strip().replace("\r\n", "\n").replace("\n", "\r\n")


class Keyring:
    """The private side of the far side.  Nothing of it leaves but certificates and signatures."""

    def __init__(self, folder: Path) -> None:
        self._files = KeyFiles(folder)

    @property
    def root(self) -> str:
        """The root certificate, PEM."""
        key = self._files.rsa("root")
        issuer = Issuer(_authority("ROOT"), key)

        def made() -> bytes:
            return rsakeys.certificate(issuer.name, key.public_key(), issuer, ca=True, serial=1).encode()

        with self._files.lock:
            return self._files.file("root.pem", made).decode()

    @property
    def middle(self) -> str:
        """The certificate between root and the others, PEM."""
        with self._files.lock:
            _ = self.root
            issuer = Issuer(_authority("ROOT"), self._files.rsa("root"))
            public = self._files.rsa("middle").public_key()

            def made() -> bytes:
                return rsakeys.certificate(_authority("OCA1"), public, issuer, ca=True, serial=2).encode()

            return self._files.file("middle.pem", made).decode()

    def seal(self, mode: str) -> Seal:
        """What UnionPay signs with now."""
        with self._files.lock:
            path = self._files.folder / f"sign-{mode}-current"
            name = path.read_text() if path.exists() else self.rotate(mode)
            return Seal((self._files.folder / f"{name}.pem").read_text(), self._files.rsa(name))

    def rotate(self, mode: str) -> str:
        """Put a new certificate over a new key in use; answers the name of its files."""
        with self._files.lock:
            key, serial = rsakeys.new_key(), _serial()
            name = f"sign-{mode}-{serial}"
            pem = self._under_middle(_leaf(ORGANISATIONS[mode]), key, serial)
            self._files.write(f"{name}.key", rsakeys.private_pem(key))
            self._files.write(f"{name}.pem", pem.encode())
            self._files.write(f"sign-{mode}-current", name.encode())
            return name

    def forged(self, mode: str, kind: str) -> Seal:
        """A seal that a client must refuse: see the lever ``forge``.

        wrong_cn: issued by the true authority, to somebody else.  other_chain: UnionPay's name, issued by
        an authority that only calls itself the same.  expired_cert: UnionPay's, until an hour ago.
        """
        genuine = self.seal(mode)
        if kind == "other_key":
            return Seal(genuine.cert, self._files.rsa("stranger"))
        with self._files.lock:
            stem = genuine.cert_id

            def made() -> bytes:
                if kind == "other_chain":
                    stranger = Issuer(_authority("OCA1"), self._files.rsa("stranger"))
                    subject, serial = _leaf(ORGANISATIONS[mode]), _serial()
                    public = genuine.key.public_key()
                    return rsakeys.certificate(subject, public, stranger, serial=serial).encode()
                organisation = _OTHER_COMPANY if kind == "wrong_cn" else ORGANISATIONS[mode]
                life = timedelta(hours=-1) if kind == "expired_cert" else timedelta(days=3650)
                return self._under_middle(_leaf(organisation), genuine.key, _serial(), life).encode()

            return Seal(self._files.file(f"{kind}-{stem}.pem", made).decode(), genuine.key)

    def issue(self, mer_id: str, public_key: str) -> str:
        """A merchant's certificate, PEM.  Raises ValueError for a key that is none."""
        subject = _name(f"CFCA@Sandbox@merchant {mer_id}@Z{mer_id}")
        issuer = Issuer(_authority("OCA1"), self._files.rsa("middle"))
        return rsakeys.certificate(subject, rsakeys.load_public(public_key), issuer, serial=_serial())

    def _under_middle(
        self, subject: x509.Name, key: RSAPrivateKey, serial: int, life: timedelta = timedelta(days=3650)
    ) -> str:
        issuer = Issuer(_authority("OCA1"), self._files.rsa("middle"))
        return rsakeys.certificate(subject, key.public_key(), issuer, serial=serial, life=life)


@functools.lru_cache(maxsize=64)
def cert_id(cert_pem: str) -> str:
    """A certificate's serial number in decimal.  Pure.  Raises ValueError."""
    return str(x509.load_pem_x509_certificate(cert_pem.strip().encode()).serial_number)


def _serial() -> int:
    """Eleven digits, as the real ones have."""
    return 10**10 + secrets.randbelow(9 * 10**10)


def _authority(part: str) -> x509.Name:
    return _name(f"{_AUTHORITY} {part}")


def _leaf(organisation: str) -> x509.Name:
    return _name(f"CFCA@Sandbox@{organisation}@Z{_serial()}")


def _name(common_name: str) -> x509.Name:
    parts = {
        NameOID.COUNTRY_NAME: "CN",
        NameOID.ORGANIZATION_NAME: _AUTHORITY,
        NameOID.COMMON_NAME: common_name,
    }
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts.items()])
