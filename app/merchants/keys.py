"""API keys: made once, shown once, stored as a digest, checked before the database is asked.

A full key (``mafu_sk_…``) may do everything in its mode, a restricted one (``mafu_rk_…``) what its
scopes say.  Nobody makes, changes, rolls or revokes a key that may do more than they may themselves.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, versions
from app.db import reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, PermissionDenied
from app.ids import is_id, new_id
from app.merchants import audit, scopes
from app.merchants.actor import ALL, SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import ApiKey
from app.merchants.roles import Permission
from app.merchants.scopes import Scope

NAME_CHARS_MAX = 80
OVERLAP_S_MAX = 7 * 86400  # long enough for a release; a leaked key is rolled with 0
ACTIVE_MAX = 100  # of one merchant and mode: more is a loop gone wrong

# One line of text: no control characters, nothing that turns the direction of writing, not only spaces.
_PLAIN = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069"
NAME_PATTERN = rf"^[^{_PLAIN}]*[^{_PLAIN}\s][^{_PLAIN}]*$"
LINE_PATTERN = rf"^[^{_PLAIN}]*$"  # or nothing at all
_NAME = re.compile(NAME_PATTERN)

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARS = 43  # 62**43 > 2**256
_TAIL_CHARS = 6  # a CRC-32: scanners of leaked keys can be exact, and typing errors cost no query
# (restricted, live) -> how a key begins.
_PREFIXES = {
    (False, False): "mafu_sk_test_",
    (False, True): "mafu_sk_live_",
    (True, False): "mafu_rk_test_",
    (True, True): "mafu_rk_live_",
}
_NOTED_EVERY = timedelta(minutes=1)

_keys = table_of(ApiKey)
_FIND = sa.select(
    _keys.c.merchant_id,
    _keys.c.id,
    _keys.c.livemode,
    _keys.c.scopes,
    _keys.c.version,
    _keys.c.last_used_at,
    _keys.c.expires_at,
    _keys.c.revoked_at,
).where(_keys.c.digest == sa.bindparam("digest"))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling the API, in which mode, with which permissions, reading which version."""

    merchant_id: str
    key_id: str
    livemode: bool
    scopes: frozenset[Scope] = scopes.ALL
    version: str = versions.CURRENT

    def actor(self, address: str = "") -> Actor:
        """The key, as services and the audit log know it; its scopes said already what it may do."""
        return Actor(self.key_id, ALL, "owner", address=address)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that may be made; ``scopes`` None: a full key.  Building one checks it: raises InvalidRequest."""

    name: str
    scopes: frozenset[Scope] | None = None

    def __post_init__(self) -> None:
        check_name(self.name)


def check_name(name: str) -> None:
    """Raises InvalidRequest."""
    if len(name.strip()) > NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise InvalidRequest(f"a key's name has 1 to {NAME_CHARS_MAX} characters", param="name")


def create_key(
    merchant_id: str,
    *,
    livemode: bool,
    name: str,
    scopes: frozenset[Scope] | None = None,
    by: Actor = SERVER,
) -> tuple[str, str]:
    """A new key: its id, and the key itself, which is never seen again.

    Whoever calls this acts for the merchant as a whole.  Raises InvalidRequest, Conflict.
    """
    by.require(Permission.KEYS_WRITE)
    new = NewKey(name, scopes)
    with transaction() as tx:
        row, key = store_key(tx, Caller(merchant_id, "", livemode), new, by=by)
    return row.id, key


def store_key(
    tx: Connection, maker: Caller, new: NewKey, *, by: Actor | None = None
) -> tuple[sa.Row[Any], str]:
    """Make a key in its maker's mode: its row, and the key itself.  A step.

    Raises PermissionDenied if it could do more than its maker, Conflict if there are too many.
    """
    _refuse_more_than(maker, scopes.ALL if new.scopes is None else new.scopes)
    of_maker = {"of_merchant_id": maker.merchant_id, "of_livemode": maker.livemode, "now": clock.now()}
    active = tx.execute(_COUNT_ACTIVE, of_maker)
    if active.scalar_one() >= ACTIVE_MAX:
        raise Conflict(f"there are {ACTIVE_MAX} keys: revoke one first", code="too_many_api_keys")
    text = None if new.scopes is None else scopes.stored(new.scopes)
    row, key = _insert(tx, maker.merchant_id, maker.livemode, new.name.strip(), text, versions.CURRENT)
    _note(tx, by or maker.actor(), Action.KEY_CREATED, None, row)
    return row, key


def authenticate(key: str) -> Caller:
    """Whose key this is.  Raises NotAuthenticated, in the same words for every reason but its end."""
    if not _is_well_formed(key):
        raise NotAuthenticated("this is not a key of ours", code="invalid_api_key")
    with reading() as connection:
        row = connection.execute(_FIND, {"digest": _digest(key)}).first()
    if row is None:
        raise NotAuthenticated("this is not a key of ours", code="invalid_api_key")
    if row.revoked_at is not None:
        raise NotAuthenticated("this key was revoked", code="api_key_revoked")
    now = clock.now()
    if row.expires_at is not None and row.expires_at <= now:
        raise NotAuthenticated("this key was rolled, and its time is over", code="api_key_expired")
    if row.last_used_at is None or now - row.last_used_at > _NOTED_EVERY:
        _note_use(row.merchant_id, row.id)
    return Caller(row.merchant_id, row.id, row.livemode, scopes.read_stored(row.scopes), row.version)


def list_keys(merchant_id: str) -> list[sa.Row[Any]]:
    """A merchant's latest hundred keys, newest first, revoked ones last."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(_keys)
                .where(_keys.c.merchant_id == merchant_id)
                .order_by(_keys.c.revoked_at.is_not(None), _keys.c.id.desc())
                .limit(100)
            )
        )


def page_of_keys(
    merchant_id: str, *, livemode: bool, older_than: str | None, newer_than: str | None, limit: int
) -> tuple[list[sa.Row[Any]], bool]:
    """One page of one mode's keys, newest first, and whether there is more.  Raises InvalidRequest."""
    query = sa.select(_keys).where(_keys.c.merchant_id == merchant_id, _keys.c.livemode == livemode)
    for name, cursor in (("starting_after", older_than), ("ending_before", newer_than)):
        if cursor is not None and not is_id(cursor, "key"):
            raise InvalidRequest("a cursor is the id of a key", param=name)
    if older_than is not None:
        query = query.where(_keys.c.id < older_than)
    if newer_than is not None:
        query = query.where(_keys.c.id > newer_than)
    order = _keys.c.id.asc() if newer_than is not None else _keys.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(limit + 1)))
    page = rows[:limit]
    return (page[::-1] if newer_than is not None else page), len(rows) > limit


def find_key(merchant_id: str, key_id: str, *, livemode: bool) -> sa.Row[Any]:
    """One key of this mode.  Raises NotFound."""
    with reading() as connection:
        return _find(connection, merchant_id, key_id, livemode=livemode)


def change_key(
    tx: Connection,
    caller: Caller,
    key_id: str,
    *,
    name: str | None = None,
    new_scopes: frozenset[Scope] | None = None,
    by: Actor | None = None,
) -> sa.Row[Any]:
    """Rename a key, or give a restricted one other scopes.  A step.

    Raises NotFound, PermissionDenied, Conflict (it is over, or a full key, which has no scopes).
    """
    row = _managed(tx, caller, key_id)
    values: dict[str, Any] = {}
    if name is not None:
        check_name(name)
        values["name"] = name.strip()
    if new_scopes is not None:
        if row.scopes is None:
            raise Conflict("a full key has no scopes: make a restricted one", code="api_key_not_restricted")
        _refuse_more_than(caller, new_scopes)
        values["scopes"] = scopes.stored(new_scopes)
    if not values:
        return row
    changed = _update(tx, row, values)
    _note(tx, by or caller.actor(), Action.KEY_CHANGED, row, changed)
    return changed


def roll_key(
    tx: Connection, caller: Caller, key_id: str, *, overlap_s: int, by: Actor | None = None
) -> tuple[sa.Row[Any], str]:
    """A new key that may do the same; the old one opens for ``overlap_s`` seconds more.  A step.

    Raises NotFound, PermissionDenied, InvalidRequest, Conflict (the old one is over, or ends already).
    """
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise InvalidRequest(f"an old key lives on for 0 to {OVERLAP_S_MAX} seconds", param="expires_in_s")
    by = by or caller.actor()
    by.require(Permission.KEYS_WRITE)
    row = _managed(tx, caller, key_id)
    if row.expires_at is not None:
        raise Conflict("this key was rolled before: roll the one that came of it", code="api_key_rolled")
    now = clock.now()
    # No overlap: over at once for every process, whatever its clock says.
    end = {"revoked_at": now} if overlap_s == 0 else {"expires_at": now + timedelta(seconds=overlap_s)}
    _update(tx, row, end)
    fresh, key = _insert(tx, row.merchant_id, row.livemode, row.name, row.scopes, row.version)
    _note(tx, by, Action.KEY_ROLLED, row, fresh)
    return fresh, key


def revoke_key(merchant_id: str, key_id: str, *, by: Actor = SERVER) -> None:
    """From the commit on the key opens nothing.  Raises NotFound, PermissionDenied."""
    by.require(Permission.KEYS_WRITE)
    with transaction() as tx:
        changed = tx.execute(
            sa.update(_keys)
            .where(_keys.c.merchant_id == merchant_id, _keys.c.id == key_id, _keys.c.revoked_at.is_(None))
            .values(revoked_at=clock.now())
            .returning(_keys)
        ).first()
        if changed is None:
            raise NotFound("no such key, or it is revoked already")
        _note(tx, by, Action.KEY_REVOKED, changed, None)


def revoke_as(tx: Connection, caller: Caller, key_id: str, *, by: Actor | None = None) -> sa.Row[Any]:
    """The same asked for by a key; revoking twice is harmless.  A step.

    Raises NotFound, PermissionDenied.
    """
    row = _find(tx, caller.merchant_id, key_id, livemode=caller.livemode)
    _refuse_more_than(caller, scopes.read_stored(row.scopes))
    if row.revoked_at is not None:
        return row
    revoked = _update(tx, row, {"revoked_at": clock.now()})
    _note(tx, by or caller.actor(), Action.KEY_REVOKED, revoked, None)
    return revoked


def prefix_of(row: sa.Row[Any]) -> str:
    """How this key begins: ``mafu_rk_live_``.  Pure."""
    return _PREFIXES[row.scopes is not None, row.livemode]


def _managed(tx: Connection, caller: Caller, key_id: str) -> sa.Row[Any]:
    """A key that is in force and may do no more than the caller."""
    row = _find(tx, caller.merchant_id, key_id, livemode=caller.livemode)
    _refuse_more_than(caller, scopes.read_stored(row.scopes))
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= clock.now()):
        raise Conflict("this key opens nothing any more", code="api_key_over")
    return row


def _refuse_more_than(caller: Caller, wanted: frozenset[Scope]) -> None:
    more = [scope for scope in Scope if scope in wanted - caller.scopes]
    if more:
        raise PermissionDenied(
            f"a key cannot grant or manage what it may not do itself: {more[0]}", code="scope_exceeded"
        )


def _find(connection: Connection, merchant_id: str, key_id: str, *, livemode: bool) -> sa.Row[Any]:
    row = connection.execute(
        sa.select(_keys).where(
            _keys.c.merchant_id == merchant_id, _keys.c.id == key_id[:64], _keys.c.livemode == livemode
        )
    ).first()
    if row is None:
        raise NotFound("no such key")
    return row


def _insert(
    tx: Connection, merchant_id: str, livemode: bool, name: str, scopes_text: str | None, version: str
) -> tuple[sa.Row[Any], str]:
    body = _PREFIXES[scopes_text is not None, livemode]
    body += "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))
    key = body + _tail(body)
    values = {
        "merchant_id": merchant_id,
        "id": new_id("key"),
        "livemode": livemode,
        "name": name,
        "scopes": scopes_text,
        "version": version,
        "digest": _digest(key),
        "last4": key[-4:],
        "created_at": clock.now(),
    }
    return tx.execute(sa.insert(_keys).returning(_keys), values).one(), key


def _update(tx: Connection, row: sa.Row[Any], values: dict[str, Any]) -> sa.Row[Any]:
    changed = tx.execute(
        sa.update(_keys)
        .where(_keys.c.merchant_id == row.merchant_id, _keys.c.id == row.id, _keys.c.revoked_at.is_(None))
        .values(values)
        .returning(_keys)
    ).first()
    if changed is None:
        raise Conflict("this key opens nothing any more", code="api_key_over")
    return changed


def _note(
    tx: Connection, by: Actor, action: Action, before: sa.Row[Any] | None, after: sa.Row[Any] | None
) -> None:
    """Into the audit log, with what of a key is no secret."""

    def facts(row: sa.Row[Any] | None) -> dict[str, Any] | None:
        names = ("id", "name", "livemode", "scopes", "last4")
        return None if row is None else {name: getattr(row, name) for name in names}

    row = after if after is not None else before
    if row is None:
        raise ValueError("a deed is about a key")
    audit.append(tx, row.merchant_id, by, action, row.id, before=facts(before), after=facts(after))


def _note_use(merchant_id: str, key_id: str) -> None:
    with transaction() as tx:
        tx.execute(
            sa.update(_keys)
            .where(_keys.c.merchant_id == merchant_id, _keys.c.id == key_id)
            .values(last_used_at=clock.now())
        )


def _is_well_formed(key: str) -> bool:
    body, tail = key[:-_TAIL_CHARS], key[-_TAIL_CHARS:]
    return (
        key.isascii() and body.startswith(tuple(_PREFIXES.values())) and len(key) < 80 and _tail(body) == tail
    )


def _tail(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(_TAIL_CHARS):
        number, digit = divmod(number, 62)
        text = _ALPHABET[digit] + text
    return text


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


_COUNT_ACTIVE = (
    sa.select(sa.func.count())
    .select_from(_keys)
    .where(
        _keys.c.merchant_id == sa.bindparam("of_merchant_id"),
        _keys.c.livemode == sa.bindparam("of_livemode"),
        _keys.c.revoked_at.is_(None),
        sa.or_(_keys.c.expires_at.is_(None), _keys.c.expires_at > sa.bindparam("now")),
    )
)
