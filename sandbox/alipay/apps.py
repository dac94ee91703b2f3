"""The merchants' apps at Alipay: registered over the control API, found by app_id at the gateway."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass, fields, replace

from sandbox import rsakeys, tickets, timing
from sandbox.alipay import keys
from sandbox.alipay.keys import Keyring

NETWORK = "alipay"
MODES = ("key", "cert")
PAYERS = ("user_id", "open_id")


@dataclass(frozen=True, slots=True)
class App:
    """One app.  ``seller_id`` is the merchant's Alipay account; ``public_key`` is PEM.

    ``payer``: how it may know a shopper, by user_id or by open_id alone.  In a call with a token
    ``auth_app_id`` is the application of the merchant that has authorised this one, and ``seller_id`` theirs.
    """

    app_id: str
    mode: str
    name: str
    seller_id: str
    public_key: str
    app_cert: str
    app_cert_sn: str
    created_ts: float
    payer: str
    auth_app_id: str = ""


_COLUMNS = tuple(field.name for field in fields(App) if field.name not in ("payer", "auth_app_id"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a merchant registers: a public key, or a certificate over it.  ``payer`` "": as it is."""

    mode: str
    public_key: str
    app_cert: str
    name: str
    seller_id: str
    payer: str = ""


def register(db: sqlite3.Connection, ring: Keyring, wish: Wish) -> tuple[App, bool]:
    """The app of this key, made if it is new; says whether it is.  A step.  Raises ValueError."""
    if wish.mode not in MODES:
        raise ValueError("mode is 'key' or 'cert'")
    if not wish.public_key and not (wish.app_cert and wish.mode == "cert"):
        raise ValueError("public_key is missing")
    if wish.seller_id and not (wish.seller_id.isdigit() and len(wish.seller_id) <= 28):
        raise ValueError("seller_id is up to 28 digits")
    if wish.payer not in ("", *PAYERS):
        raise ValueError("payer is 'user_id' or 'open_id'")
    given = rsakeys.key_in(wish.app_cert) if wish.app_cert else wish.public_key
    public_key = rsakeys.public_pem(rsakeys.load_public(given))
    row = db.execute(
        "SELECT * FROM apps WHERE network = ? AND mode = ? AND public_key = ? AND (? = '' OR seller_id = ?)",
        (NETWORK, wish.mode, public_key, wish.seller_id, wish.seller_id),
    ).fetchone()
    if row is not None:
        return _known_by(db, _app(row), wish.payer), False
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
        payer=wish.payer or PAYERS[0],
    )
    columns = {name: getattr(app, name) for name in _COLUMNS} | {"details": _details(app.payer)}
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO apps (network, {names}) VALUES (?, {marks})", (NETWORK, *columns.values()))
    return app, True


def find(db: sqlite3.Connection, app_id: str) -> App | None:
    """The app, or None."""
    row = db.execute("SELECT * FROM apps WHERE network = ? AND app_id = ?", (NETWORK, app_id)).fetchone()
    return None if row is None else _app(row)


def authorize(db: sqlite3.Connection, app: App, seller_id: str) -> tuple[str, str, str]:
    """A merchant lets this app act for it: token, the merchant's own app, its seller_id.  A step.

    Raises ValueError.
    """
    if seller_id and not (seller_id.isdigit() and len(seller_id) <= 28):
        raise ValueError("seller_id is up to 28 digits")
    seller_id = seller_id or "2088" + str(secrets.randbelow(10**12)).zfill(12)
    auth_app_id = "2021" + str(secrets.randbelow(10**12)).zfill(12)
    token = f"{timing.beijing(timing.now(), '%Y%m')}BB{secrets.token_hex(12).upper()}"
    tickets.issue(db, NETWORK, token, f"auth {app.app_id} {auth_app_id} {seller_id}")
    return token, auth_app_id, seller_id


def acting(db: sqlite3.Connection, app: App, token: str) -> App | None:
    """The app as it acts for whoever gave it this token; None for a strange or a revoked one."""
    ticket = tickets.find(db, NETWORK, token)
    about = [] if ticket is None or ticket.used_ts is not None else ticket.about.split(" ")
    if about[:2] != ["auth", app.app_id]:
        return None
    return replace(app, auth_app_id=about[2], seller_id=about[3])


def every(db: sqlite3.Connection) -> list[App]:
    """All apps, oldest first."""
    rows = db.execute("SELECT * FROM apps WHERE network = ? ORDER BY created_ts", (NETWORK,))
    return [_app(row) for row in rows]


def _app(row: sqlite3.Row) -> App:
    payer = json.loads(row["details"]).get("payer", PAYERS[0])
    return App(**{name: row[name] for name in _COLUMNS}, payer=payer)


def _known_by(db: sqlite3.Connection, app: App, payer: str) -> App:
    """The app, switched over if it wishes so.  A step."""
    if payer in ("", app.payer):
        return app
    db.execute(
        "UPDATE apps SET details = ? WHERE network = ? AND app_id = ?", (_details(payer), NETWORK, app.app_id)
    )
    return replace(app, payer=payer)


def _details(payer: str) -> str:
    return json.dumps({"payer": payer})
