"""Idempotency-Key: the same request again gets the first answer, byte for byte, and does nothing.

Key row and work commit together, so a crash leaves both or neither.  Only successes are stored: a
refused request may be corrected and sent again under its key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app import clock
from app.db import reading, table_of, transaction
from app.errors import IdempotencyMismatch, InvalidRequest
from app.merchants.keys import Caller
from app.merchants.models import IdempotencyKey

KEPT_FOR = timedelta(days=7)
_KEY = re.compile(r"[!-~]{1,128}", re.ASCII)

_rows = table_of(IdempotencyKey)
_FIND = sa.select(_rows.c.fingerprint, _rows.c.status, _rows.c.body).where(
    _rows.c.merchant_id == sa.bindparam("merchant_id"),
    _rows.c.livemode == sa.bindparam("livemode"),
    _rows.c.key == sa.bindparam("key"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API says: JSON text and a status; ``replayed`` if it was said before."""

    body: str
    status: int = 200
    replayed: bool = False


def once(
    caller: Caller, key: str | None, request: tuple[str, str, bytes], work: Callable[[Connection], Answer]
) -> Answer:
    """Do ``work`` in one transaction, or repeat what was answered to ``request`` under this key before.

    ``request`` is method, path and body.  Two at the same time: the database lets one commit, and
    the other finds its answer.  Raises InvalidRequest, IdempotencyMismatch and whatever work raises.
    """
    if key is None:
        with transaction() as tx:
            return work(tx)
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            "an Idempotency-Key has 1 to 128 visible ASCII characters", param="Idempotency-Key"
        )
    fingerprint = hashlib.sha256(
        b"\0".join([request[0].encode(), request[1].encode(), request[2]])
    ).hexdigest()
    scope = {"merchant_id": caller.merchant_id, "livemode": caller.livemode, "key": key}
    try:
        with transaction() as tx:
            row = tx.execute(_FIND, scope).first()
            if row is None:
                answer = work(tx)
                stored = {"fingerprint": fingerprint, "status": answer.status, "body": answer.body}
                tx.execute(sa.insert(_rows), {**scope, **stored, "created_at": clock.now()})
                return answer
    except IntegrityError:
        with reading() as connection:
            row = connection.execute(_FIND, scope).first()
        if row is None:
            raise
    if row.fingerprint != fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used for another request")
    return Answer(row.body, row.status, replayed=True)


def forget_old() -> int:
    """Remove keys older than a week; how many.  The order number still guards against doubles."""
    with transaction() as tx:
        return tx.execute(sa.delete(_rows).where(_rows.c.created_at < clock.now() - KEPT_FOR)).rowcount
