"""The merchants' apps at Alipay: registered over the control API, found by app_id at the gateway."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

from sandbox import rsakeys, timing
from sandbox.alipay import keys
from sandbox.alipay.keys import Keyring

NETWORK = "alipay"
MODES = ("key", "cert")


@dataclass(frozen=True, slots=True)
class App:
    """One app.  ``seller_id`` is the merchant's Alipay account; ``public_key`` is PEM."""

    app_id: str
    mode: str
    name: str
    seller_id: str
    public_key: str
    app_cert: str
    app_cert_sn: str
    created_ts: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What a merchant registers: a public key, or a certificate over it."""

    mode: str
    public_key: str
    app_cert: str
    name: str
    seller_id: str


def register(db: sqlite3.Connection, ring: Keyring, wish: Wish) -> tuple[App, bool]:
    """The app of this key, made if it is new; says whether it is.  A step.  Raises ValueError."""
    if wish.mode not in MODES:
        raise ValueError("mode is 'key' or 'cert'")
    if not wish.public_key and not (wish.app_cert and wish.mode == "cert"):
        raise ValueError("public_key is missing")
    if wish.seller_id and not (wish.seller_id.isdigit() and len(wish.seller_id) <= 28):
        raise ValueError("seller_id is up to 28 digits")
    given = rsakeys.key_in(wish.app_cert) if wish.app_cert else wish.public_key
    public_key = rsakeys.public_pem(rsakeys.load_public(given))
    row = db.execute(
        "SELECT * FROM apps WHERE network = ? AND mode = ? AND public_key = ? AND (? = '' OR seller_id = ?)",
        (NETWORK, wish.mode, public_key, wish.seller_id, wish.seller_id),
    ).fetchone()
    if row is not None:
        return _app(row), False
    app_id = "9021" + str(secrets.randbelow(10**12)).zfill(12)
    app_cert = ""
    if wish.mode == "cert":
        app_cert = wish.app_cert or ring.issue(app_id, public_key)
    app = App(
        app_id=app_id,
        mode=wish.mode,
        name=wish.name[:64] or f"Sandbox shop {app_id[-4:]}",
        seller_id=wish.seller_id or "2088" + str(secrets.randbelow(10**12)).zfill(12),
        public_key=public_key,
        app_cert=app_cert,
        app_cert_sn=keys.cert_sn(app_cert) if app_cert else "",
        created_ts=timing.now(),
    )
    columns = {name: getattr(app, name) for name in App.__dataclass_fields__}
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO apps (network, {names}) VALUES (?, {marks})", (NETWORK, *columns.values()))
    return app, True


def find(db: sqlite3.Connection, app_id: str) -> App | None:
    """The app, or None."""
    row = db.execute("SELECT * FROM apps WHERE network = ? AND app_id = ?", (NETWORK, app_id)).fetchone()
    return None if row is None else _app(row)


def every(db: sqlite3.Connection) -> list[App]:
    """All apps, oldest first."""
    rows = db.execute("SELECT * FROM apps WHERE network = ? ORDER BY created_ts", (NETWORK,))
    return [_app(row) for row in rows]


def _app(row: sqlite3.Row) -> App:
    return App(**{name: row[name] for name in App.__dataclass_fields__})
