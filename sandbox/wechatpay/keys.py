"""WeChat Pay's keys: public keys named ``PUB_KEY_ID_…``, and platform certificates.

Source: WeChat Pay API v3, 微信支付公钥 and 平台证书.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sandbox import rsakeys
from sandbox.rsakeys import Issuer, KeyFiles

MODES = ("public_key", "cert", "both")
_PLATFORM_LIFE = timedelta(days=5 * 365)
_KEY_ID = re.compile(r"PUB_KEY_ID_01(\d{10})2024(\d{12})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: the name in ``Wechatpay-Serial`` and the key behind it."""

    serial: str
    key: rsa.RSAPrivateKey


class Keyring:
    """The private side of the far side.  Nothing of it leaves but public keys, certificates, signatures.

    One key signs for every merchant: what is genuine for one is genuine for all, and only names,
    numbers and the APIv3 key keep them apart.
    """

    def __init__(self, folder: Path) -> None:
        self._files = KeyFiles(folder)

    @property
    def stranger_key(self) -> rsa.RSAPrivateKey:
        """A key that WeChat Pay does not own, for forgeries."""
        return self._files.rsa("stranger")

    @property
    def token_secret(self) -> bytes:
        """What signs the addresses of bills."""
        return self._files.token_secret

    def public_key(self, mchid: str) -> tuple[str, str]:
        """(PUB_KEY_ID_…, PEM) of the key in use, as this merchant sees it."""
        turn = self._turn()
        return key_id(mchid, turn), rsakeys.public_pem(self._files.rsa(f"public-{turn}").public_key())

    def platform(self) -> list[tuple[str, str]]:
        """(serial, PEM) of every platform certificate that can be downloaded, the one in use first."""
        with self._files.lock:
            current = self._serial()
            paths = sorted(self._files.folder.glob("platform-*.pem"), key=lambda path: path.stat().st_mtime)
            found = [(path.stem.removeprefix("platform-"), path.read_text()) for path in paths]
        return sorted(found, key=lambda item: item[0] != current)

    def signer(self, mchid: str, mode: str, wanted: str) -> Signer:
        """Who signs an answer.  ``wanted`` is the request's ``Wechatpay-Serial``, or "".

        A merchant on the move (mode "both") gets the public key only by asking for it by name.
        An older public key still signs for whoever names it.
        """
        named = _KEY_ID.fullmatch(wanted)
        if mode != "cert" and named and named[1] == mchid and 1 <= int(named[2]) <= self._turn():
            return Signer(wanted, self._files.rsa(f"public-{int(named[2])}"))
        return self.public_signer(mchid) if mode == "public_key" else self.platform_signer()

    def public_signer(self, mchid: str) -> Signer:
        """The public key in use."""
        turn = self._turn()
        return Signer(key_id(mchid, turn), self._files.rsa(f"public-{turn}"))

    def platform_signer(self) -> Signer:
        """The platform certificate in use."""
        with self._files.lock:
            serial = self._serial()
            return Signer(serial, self._files.rsa(f"platform-{serial}"))

    def rotate_public_key(self) -> int:
        """Put a new public key in use for everybody; answers which one it is."""
        with self._files.lock:
            turn = self._turn() + 1
            self._files.rsa(f"public-{turn}")
            self._files.write("public-current", str(turn).encode())
            return turn

    def announce_certificate(self) -> str:
        """Make a platform certificate that can be downloaded and does not sign yet; answers its serial."""
        with self._files.lock:
            serial = secrets.randbits(158) | 1 << 157  # Forty digits in hexadecimal, as the real ones.
            key, name = rsakeys.new_key(), _subject("Tenpay.com sign (sandbox)")
            pem = rsakeys.certificate(
                name, key.public_key(), self._root(), serial=serial, life=_PLATFORM_LIFE
            )
            self._files.write(f"platform-{serial:X}.key", rsakeys.private_pem(key))
            self._files.write(f"platform-{serial:X}.pem", pem.encode())
            return f"{serial:X}"

    def use_newest_certificate(self) -> str:
        """Sign with the newest platform certificate from now on; answers its serial."""
        with self._files.lock:
            paths = sorted(self._files.folder.glob("platform-*.pem"), key=lambda path: path.stat().st_mtime)
            serial = paths[-1].stem.removeprefix("platform-")
            self._files.write("platform-current", serial.encode())
            return serial

    def issue(self, mchid: str, public_key: str) -> str:
        """A merchant API certificate over a merchant's key.  Raises ValueError for a key that is none."""
        with self._files.lock:
            return rsakeys.certificate(_subject(mchid), rsakeys.load_public(public_key), self._root())

    def _turn(self) -> int:
        return int(self._files.file("public-current", lambda: b"1"))

    def _serial(self) -> str:
        def made() -> bytes:
            return self.announce_certificate().encode()

        with self._files.lock:
            return self._files.file("platform-current", made).decode()

    def _root(self) -> Issuer:
        return Issuer(_subject("Tenpay.com Root CA (sandbox)"), self._files.rsa("root"))


def key_id(mchid: str, turn: int) -> str:
    """``("1900000001", 1) -> "PUB_KEY_ID_0119000000012024000000000001"``.  Pure."""
    return f"PUB_KEY_ID_01{mchid}2024{turn:012d}"


def serial_of(cert_pem: str) -> str:
    """A certificate's serial in upper-case hexadecimal, whole bytes.  Pure.  Raises ValueError."""
    digits = f"{x509.load_pem_x509_certificate(cert_pem.strip().encode()).serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def _subject(common_name: str) -> x509.Name:
    parts = {
        NameOID.COUNTRY_NAME: "CN",
        NameOID.ORGANIZATION_NAME: "Sandbox Tenpay",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Sandbox",
        NameOID.COMMON_NAME: common_name,
    }
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts.items()])
