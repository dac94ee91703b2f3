"""UnionPay's merchants: registered over the control API, found by merId at the gateway."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass, replace

from sandbox import rsakeys, timing
from sandbox.unionpay import keys
from sandbox.unionpay.keys import Keyring
from sandbox.unionpay.wire import FORMS

NETWORK = "unionpay"


@dataclass(frozen=True, slots=True)
class Merchant:
    """One merchant.  ``mode`` says whose name UnionPay's certificate carries towards it."""

    mer_id: str
    mode: str
    name: str
    public_key: str
    cert: str
    cert_id: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a merchant registers: its certificate, or a public key to get one for."""

    mode: str
    cert: str
    public_key: str
    name: str
    mer_id: str


def register(db: sqlite3.Connection, ring: Keyring, wish: Wish) -> tuple[Merchant, bool]:
    """The merchant of this key, made if it is new; says whether it is.  A step.  Raises ValueError.

    A known ``mer_id`` with another key or certificate renews the merchant's certificate.
    """
    if wish.mode not in keys.ORGANISATIONS:
        raise ValueError("mode is 'production' or 'test'")
    if bool(wish.cert) == bool(wish.public_key):
        raise ValueError("give either cert or public_key")
    if wish.mer_id and FORMS["merId"].fullmatch(wish.mer_id) is None:
        raise ValueError("mer_id is 15 letters and digits")
    given = rsakeys.key_in(wish.cert) if wish.cert else wish.public_key
    public_key = rsakeys.public_pem(rsakeys.load_public(given))
    known = find(db, wish.mer_id) if wish.mer_id else _of_key(db, wish.mode, public_key)
    if known is not None and known.public_key == public_key and wish.cert in ("", known.cert):
        return known, False
    mer_id = known.mer_id if known else wish.mer_id or "777290" + str(secrets.randbelow(10**9)).zfill(9)
    cert = wish.cert or ring.issue(mer_id, public_key)
    if known is not None:
        renewed = replace(known, public_key=public_key, cert=cert, cert_id=keys.cert_id(cert))
        _renew(db, renewed)
        return renewed, False
    name = wish.name[:32] or f"沙箱商户{mer_id[-4:]}"
    merchant = Merchant(mer_id, wish.mode, name, public_key, cert, keys.cert_id(cert))
    db.execute(
        "INSERT INTO apps (network, app_id, mode, name, seller_id, public_key, app_cert, app_cert_sn,"
        " created_ts) VALUES (?, ?, ?, ?, '', ?, ?, ?, ?)",
        (NETWORK, mer_id, wish.mode, name, public_key, cert, merchant.cert_id, timing.now()),
    )
    return merchant, True


def find(db: sqlite3.Connection, mer_id: str) -> Merchant | None:
    """The merchant, or None."""
    row = db.execute("SELECT * FROM apps WHERE network = ? AND app_id = ?", (NETWORK, mer_id)).fetchone()
    return None if row is None else _merchant(row)


def every(db: sqlite3.Connection) -> list[Merchant]:
    """All merchants, oldest first."""
    rows = db.execute("SELECT * FROM apps WHERE network = ? ORDER BY created_ts", (NETWORK,))
    return [_merchant(row) for row in rows]


def _of_key(db: sqlite3.Connection, mode: str, public_key: str) -> Merchant | None:
    row = db.execute(
        "SELECT * FROM apps WHERE network = ? AND mode = ? AND public_key = ?", (NETWORK, mode, public_key)
    ).fetchone()
    return None if row is None else _merchant(row)


def _renew(db: sqlite3.Connection, merchant: Merchant) -> None:
    db.execute(
        "UPDATE apps SET public_key = ?, app_cert = ?, app_cert_sn = ? WHERE network = ? AND app_id = ?",
        (merchant.public_key, merchant.cert, merchant.cert_id, NETWORK, merchant.mer_id),
    )


def _merchant(row: sqlite3.Row) -> Merchant:
    return Merchant(
        mer_id=row["app_id"],
        mode=row["mode"],
        name=row["name"],
        public_key=row["public_key"],
        cert=row["app_cert"],
        cert_id=row["app_cert_sn"],
    )
