"""Whether a merchant takes 易支付 requests: switched on for each mode by itself, known by a pid, with a key.

The key signs and proves with MD5, which is no signature by today's measure: it opens these addresses and
nothing else, and only while the switch is on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import insert_or_skip, reading, table_of, transaction
from app.epay.models import EpayFront
from app.errors import NotAuthenticated, NotFound
from app.merchants import audit
from app.merchants.actor import ALL, SERVER, Actor
from app.merchants.audit import Action
from app.merchants.roles import Permission
from app.runtime import vault

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_CHARS = 32  # what shops' forms have room for; 190 bits
_PID_MIN, _PID_SPAN = 100_000_000, 900_000_000  # nine digits: some clients read it into 32 bits

_fronts = table_of(EpayFront)


@dataclass(frozen=True, slots=True)
class Front:
    """A merchant's switch in one mode, with the key in the clear."""

    merchant_id: str
    livemode: bool
    pid: str
    key: str = field(repr=False)
    enabled: bool
    refunds_enabled: bool

    @property
    def actor(self) -> Actor:
        """The shop's program, as services and the audit log know it: a key among others."""
        return Actor(f"key_epay_{self.pid}", ALL, "owner")


def open_front(pid: str) -> Front:
    """Whose pid this is.  Raises NotAuthenticated for an unknown one and for one that is switched off."""
    if not (pid.isascii() and pid.isdigit() and len(pid) <= 12):
        raise NotAuthenticated("no such pid", code="pid")
    with reading() as connection:
        row = connection.execute(_BY_PID, {"pid": pid}).first()
    if row is None or not row.enabled:
        raise NotAuthenticated("no such pid, or it is switched off", code="pid")
    return front_of(row)


def front_of(row: sa.Row[Any]) -> Front:
    """The row with its key opened.  Raises SealBroken."""
    key = vault().unseal(row.sealed_key, key_place(row.merchant_id, livemode=row.livemode))
    return Front(row.merchant_id, row.livemode, row.pid, key, row.enabled, row.refunds_enabled)


def find_row(merchant_id: str, *, livemode: bool) -> sa.Row[Any] | None:
    """The switch as it is stored; None: it was never on."""
    with reading() as connection:
        return connection.execute(_MINE, {"of_merchant_id": merchant_id, "of_livemode": livemode}).first()


def enable(merchant_id: str, *, livemode: bool, by: Actor = SERVER) -> str | None:
    """Take requests from now on.  The key if it was made just now: it is never seen again."""
    by.require(Permission.KEYS_WRITE)
    key, now = _new_key(), clock.now()
    values = {
        "merchant_id": merchant_id,
        "livemode": livemode,
        "pid": str(_PID_MIN + secrets.randbelow(_PID_SPAN)),
        "enabled": True,
        "refunds_enabled": False,
        "created_at": now,
        "rotated_at": now,
        **_sealed(merchant_id, livemode, key),
    }
    with transaction() as tx:
        is_new = _find(tx, merchant_id, livemode) is None
        if is_new and tx.execute(insert_or_skip(tx, _fronts), values).rowcount == 0:
            # Its pid is another's, once in many million times, or somebody has just pressed the same button.
            is_new = False
        if not is_new:
            _change(tx, merchant_id, livemode, enabled=True)
        _note(tx, by, Action.EPAY_ENABLED, _require(tx, merchant_id, livemode))
    return key if is_new else None


def disable(merchant_id: str, *, livemode: bool, by: Actor = SERVER) -> None:
    """Refuse requests from now on, and tell shops nothing more.  Raises NotFound."""
    by.require(Permission.KEYS_WRITE)
    with transaction() as tx:
        _change(tx, merchant_id, livemode, enabled=False)
        _note(tx, by, Action.EPAY_DISABLED, _require(tx, merchant_id, livemode))


def allow_refunds(merchant_id: str, allowed: bool, *, livemode: bool, by: Actor = SERVER) -> None:
    """Whether ``act=refund`` sends money back.  Raises NotFound."""
    by.require(Permission.KEYS_WRITE)
    with transaction() as tx:
        _change(tx, merchant_id, livemode, refunds_enabled=allowed)
        _note(tx, by, Action.EPAY_CHANGED, _require(tx, merchant_id, livemode))


def rotate(merchant_id: str, *, livemode: bool, by: Actor = SERVER) -> str:
    """A new key; the old one opens nothing from the commit on.  Raises NotFound.

    A shop has room for one key, so there is no time in which both work.  What is on its way to it is
    signed with the new one: until the shop has that, it refuses and hears again later.
    """
    by.require(Permission.KEYS_WRITE)
    key = _new_key()
    with transaction() as tx:
        _change(tx, merchant_id, livemode, rotated_at=clock.now(), **_sealed(merchant_id, livemode, key))
        _note(tx, by, Action.EPAY_ROTATED, _require(tx, merchant_id, livemode))
    return key


def key_place(merchant_id: str, *, livemode: bool) -> str:
    """Where the vault believes the key to be stored."""
    return f"epay_fronts/{merchant_id}/{'live' if livemode else 'test'}/key"


def _new_key() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_CHARS))


def _sealed(merchant_id: str, livemode: bool, key: str) -> dict[str, str]:
    return {
        "sealed_key": vault().seal(key, key_place(merchant_id, livemode=livemode)),
        "key_tail": key[-4:],
    }


def _find(connection: Connection, merchant_id: str, livemode: bool) -> sa.Row[Any] | None:
    return connection.execute(_MINE, {"of_merchant_id": merchant_id, "of_livemode": livemode}).first()


def _require(tx: Connection, merchant_id: str, livemode: bool) -> sa.Row[Any]:
    row = _find(tx, merchant_id, livemode)
    if row is None:
        raise NotFound("no such front")
    return row


def _change(tx: Connection, merchant_id: str, livemode: bool, **values: Any) -> None:
    changed = tx.execute(
        sa.update(_fronts)
        .where(_fronts.c.merchant_id == merchant_id, _fronts.c.livemode == livemode)
        .values(**values)
    )
    if changed.rowcount == 0:
        raise NotFound("no such front")


def _note(tx: Connection, by: Actor, action: Action, row: sa.Row[Any]) -> None:
    facts = {name: getattr(row, name) for name in ("livemode", "enabled", "refunds_enabled", "key_tail")}
    audit.append(tx, row.merchant_id, by, action, f"pid {row.pid}", after=facts)


_BY_PID = sa.select(*_fronts.c).where(_fronts.c.pid == sa.bindparam("pid"))
_MINE = sa.select(*_fronts.c).where(
    _fronts.c.merchant_id == sa.bindparam("of_merchant_id"),
    _fronts.c.livemode == sa.bindparam("of_livemode"),
)
