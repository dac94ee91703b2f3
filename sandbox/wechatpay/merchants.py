"""The merchants of WeChat Pay: registered over the control API, found by mchid at the gateway.

In the shared book a merchant's ``app_id`` is its mchid, because out_trade_no is unique per mchid, and
its ``seller_id`` is the appid that is bound to it.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sandbox import rsakeys, timing
from sandbox.wechatpay import keys
from sandbox.wechatpay.keys import Keyring

NETWORK = "wechatpay"

_MCHID = re.compile(r"\d{10}", re.ASCII)
_APPID = re.compile(r"wx[0-9a-f]{16}", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?", re.ASCII)
_SECRET = re.compile(r"[0-9A-Za-z]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Merchant:
    """One merchant.  ``public_key`` and ``cert`` are PEM; ``domain`` "" is never checked.

    ``mobile_appid`` is a second appid that is bound to it, or "".  ``subs`` are a service provider's
    sub-merchants: the appid of each, or "", by its mchid.
    """

    mchid: str
    appid: str
    mode: str
    name: str
    public_key: str
    cert: str
    serial: str
    app_secret: str
    apiv3_key: str
    created_ts: float
    domain: str = ""
    mobile_appid: str = ""
    subs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a merchant brings; "" leaves it to the sandbox."""

    public_key: str
    cert: str
    mode: str = ""
    mchid: str = ""
    appid: str = ""
    mobile_appid: str = ""
    apiv3_key: str = ""
    domain: str = ""
    name: str = ""


def register(db: sqlite3.Connection, ring: Keyring, wish: Wish) -> tuple[Merchant, bool]:
    """The merchant of this key, made if it is new; says whether it is.  A step.  Raises ValueError.

    A known merchant that names another mode is moved over to it: so a migration goes from "cert" to
    "both" to "public_key".  One that names another domain moves there.
    """
    _check(wish)
    given = rsakeys.key_in(wish.cert) if wish.cert else wish.public_key
    public_key = rsakeys.public_pem(rsakeys.load_public(given))
    row = db.execute(
        "SELECT * FROM apps WHERE network = ? AND public_key = ? AND (? = '' OR app_id = ?)"
        " AND (? = '' OR seller_id = ?) ORDER BY created_ts LIMIT 1",
        (NETWORK, public_key, wish.mchid, wish.mchid, wish.appid, wish.appid),
    ).fetchone()
    if row is not None:
        return _moved(db, _merchant(row), wish), False
    if wish.mchid and find(db, wish.mchid) is not None:
        raise ValueError("another key has this mchid")
    merchant = _made(db, ring, wish, public_key)
    db.execute(
        "INSERT INTO apps (network, app_id, mode, name, seller_id, public_key, app_cert, app_cert_sn,"
        " created_ts, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(NETWORK, merchant.mchid, merchant.mode, merchant.name, merchant.appid, public_key),
            *(merchant.cert, merchant.serial, merchant.created_ts, _details(merchant)),
        ),
    )
    return merchant, True


def find(db: sqlite3.Connection, mchid: str) -> Merchant | None:
    """The merchant, or None."""
    row = db.execute("SELECT * FROM apps WHERE network = ? AND app_id = ?", (NETWORK, mchid)).fetchone()
    return None if row is None else _merchant(row)


def of_appid(db: sqlite3.Connection, appid: str) -> Merchant | None:
    """The oldest merchant to whom this appid is bound, or None; they share its secret and its domain."""
    row = db.execute(
        "SELECT * FROM apps WHERE network = ? AND seller_id = ? ORDER BY created_ts LIMIT 1", (NETWORK, appid)
    ).fetchone()
    if row is not None:
        return _merchant(row)
    # A sub-merchant's: here its service provider knows its secret.
    provider = next((each for each in every(db) if appid and appid in each.subs.values()), None)
    return None if provider is None else replace(provider, appid=appid)


def add_sub(db: sqlite3.Connection, merchant: Merchant, sub_mchid: str, sub_appid: str) -> str:
    """Let a merchant sell for another, as its service provider; the other's mchid.  A step.

    One that is known gets another appid, or none.  Raises ValueError.
    """
    for name, text, form in (("sub_mchid", sub_mchid, _MCHID), ("sub_appid", sub_appid, _APPID)):
        if text and form.fullmatch(text) is None:
            raise ValueError(f"{name} is not of the form {form.pattern}")
    if sub_mchid == merchant.mchid:
        raise ValueError("nobody is a sub-merchant of their own")
    sub_mchid = sub_mchid or "16" + str(secrets.randbelow(10**8)).zfill(8)
    grown = replace(merchant, subs={**merchant.subs, sub_mchid: sub_appid})
    db.execute(
        "UPDATE apps SET details = ? WHERE network = ? AND app_id = ?",
        (_details(grown), NETWORK, merchant.mchid),
    )
    return sub_mchid


def every(db: sqlite3.Connection) -> list[Merchant]:
    """All merchants, oldest first."""
    rows = db.execute("SELECT * FROM apps WHERE network = ? ORDER BY created_ts", (NETWORK,))
    return [_merchant(row) for row in rows]


def _check(wish: Wish) -> None:
    """Raises ValueError.  Pure."""
    if wish.mode and wish.mode not in keys.MODES:
        raise ValueError(f"mode is one of {', '.join(keys.MODES)}")
    if not wish.public_key and not wish.cert:
        raise ValueError("public_key or cert is missing")
    forms = {
        "mchid": _MCHID,
        "appid": _APPID,
        "mobile_appid": _APPID,
        "apiv3_key": _SECRET,
        "domain": _DOMAIN,
    }
    for name, form in forms.items():
        if getattr(wish, name) and form.fullmatch(getattr(wish, name)) is None:
            raise ValueError(f"{name} is not of the form {form.pattern}")


def _made(db: sqlite3.Connection, ring: Keyring, wish: Wish, public_key: str) -> Merchant:
    mchid = wish.mchid or "19" + str(secrets.randbelow(10**8)).zfill(8)
    appid = wish.appid or f"wx{secrets.token_hex(8)}"
    sibling = of_appid(db, appid)
    cert = wish.cert.strip() or ring.issue(mchid, public_key)
    return Merchant(
        mchid=mchid,
        appid=appid,
        mode=wish.mode or "public_key",
        name=wish.name[:64] or f"Sandbox shop {mchid[-4:]}",
        public_key=public_key,
        cert=cert,
        serial=keys.serial_of(cert),
        app_secret=sibling.app_secret if sibling else secrets.token_hex(16),
        apiv3_key=wish.apiv3_key or secrets.token_hex(16),
        domain=wish.domain,
        mobile_appid=wish.mobile_appid,
        created_ts=timing.now(),
    )


def _moved(db: sqlite3.Connection, merchant: Merchant, wish: Wish) -> Merchant:
    moved = replace(merchant, mode=wish.mode or merchant.mode, domain=wish.domain or merchant.domain)
    db.execute(
        "UPDATE apps SET mode = ?, details = ? WHERE network = ? AND app_id = ?",
        (moved.mode, _details(moved), NETWORK, merchant.mchid),
    )
    return moved


def _details(merchant: Merchant) -> str:
    names = ("app_secret", "apiv3_key", "domain", "mobile_appid")
    facts = {name: getattr(merchant, name) for name in names}
    return json.dumps({**facts, "subs": dict(merchant.subs)})


def _merchant(row: sqlite3.Row) -> Merchant:
    return Merchant(
        mchid=row["app_id"],
        appid=row["seller_id"],
        mode=row["mode"],
        name=row["name"],
        public_key=row["public_key"],
        cert=row["app_cert"],
        serial=row["app_cert_sn"],
        created_ts=row["created_ts"],
        **json.loads(row["details"]),
    )
