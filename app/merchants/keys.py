"""API keys: made once, shown once, stored as a digest, checked before the database is asked."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from app import clock
from app.db import reading, table_of, transaction
from app.errors import InvalidRequest, NotAuthenticated, NotFound
from app.ids import new_id
from app.merchants.models import ApiKey

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARS = 43  # 62**43 > 2**256
_TAIL_CHARS = 6  # a CRC-32: scanners of leaked keys can be exact, and typing errors cost no query
_PREFIXES = {False: "mafu_sk_test_", True: "mafu_sk_live_"}
_NOTED_EVERY = timedelta(minutes=1)

_keys = table_of(ApiKey)
_FIND = sa.select(
    _keys.c.merchant_id, _keys.c.id, _keys.c.livemode, _keys.c.last_used_at, _keys.c.revoked_at
).where(_keys.c.digest == sa.bindparam("digest"))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling the API, in which mode."""

    merchant_id: str
    key_id: str
    livemode: bool


def create_key(merchant_id: str, *, livemode: bool, name: str) -> tuple[str, str]:
    """A new secret key: its id, and the key itself, which is never seen again.  Raises InvalidRequest."""
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidRequest("a key's name has 1 to 80 characters", param="name")
    key_id = new_id("key")
    body = _PREFIXES[livemode] + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))
    key = body + _tail(body)
    with transaction() as tx:
        tx.execute(
            sa.insert(_keys).values(
                merchant_id=merchant_id,
                id=key_id,
                livemode=livemode,
                name=name,
                digest=_digest(key),
                last4=key[-4:],
                created_at=clock.now(),
            )
        )
    return key_id, key


def authenticate(key: str) -> Caller:
    """Whose key this is.  Raises NotAuthenticated, in the same words for every reason but revocation."""
    if not _is_well_formed(key):
        raise NotAuthenticated("this is not a key of ours", code="invalid_api_key")
    with reading() as connection:
        row = connection.execute(_FIND, {"digest": _digest(key)}).first()
    if row is None:
        raise NotAuthenticated("this is not a key of ours", code="invalid_api_key")
    if row.revoked_at is not None:
        raise NotAuthenticated("this key was revoked", code="api_key_revoked")
    if row.last_used_at is None or clock.now() - row.last_used_at > _NOTED_EVERY:
        _note_use(row.merchant_id, row.id)
    return Caller(row.merchant_id, row.id, row.livemode)


def list_keys(merchant_id: str) -> list[sa.Row]:
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


def revoke_key(merchant_id: str, key_id: str) -> None:
    """From the commit on the key opens nothing.  Raises NotFound."""
    with transaction() as tx:
        changed = tx.execute(
            sa.update(_keys)
            .where(_keys.c.merchant_id == merchant_id, _keys.c.id == key_id, _keys.c.revoked_at.is_(None))
            .values(revoked_at=clock.now())
        )
    if changed.rowcount != 1:
        raise NotFound("no such key, or it is revoked already")


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
