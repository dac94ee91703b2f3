"""Idempotency-Key: the same request again gets the first answer, byte for byte, and does nothing.

Key row and work commit together, so a crash leaves both or neither.  Only successes are stored: a
refused request may be corrected and sent again under its key.  The answer is stored sealed, because
some answers hold a secret that is shown only once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_or_skip, moment, table_of, transaction
from app.errors import Conflict, IdempotencyMismatch, InvalidRequest
from app.merchants.keys import Caller
from app.merchants.models import IdempotencyKey
from app.runtime import vault
from app.vault import SealBroken

KEPT_FOR = timedelta(days=7)
_KEY = re.compile(r"[!-~]{1,128}", re.ASCII)

_rows = table_of(IdempotencyKey)
_MINE = (
    _rows.c.merchant_id == sa.bindparam("own_merchant_id"),
    _rows.c.livemode == sa.bindparam("own_livemode"),
    _rows.c.key == sa.bindparam("own_key"),
)
_FIND = sa.select(_rows.c.fingerprint, _rows.c.status, _rows.c.body).where(*_MINE)
_STORE = sa.update(_rows).where(*_MINE)


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

    ``request`` is method, path and body.  Two at the same time: one works, the other waits for its
    answer.  Raises InvalidRequest, IdempotencyMismatch, Conflict (what sealed the first answer is
    gone) and whatever work raises.
    """
    if key is None:
        with transaction() as tx:
            return work(tx)
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            "an Idempotency-Key has 1 to 128 visible ASCII characters", param="Idempotency-Key"
        )
    method, path, body = request
    fingerprint = hashlib.sha256(b"\0".join([method.encode(), path.encode(), body])).hexdigest()
    scope: dict[str, Any] = {"merchant_id": caller.merchant_id, "livemode": caller.livemode, "key": key}
    with transaction() as tx:
        # Claimed before the work: whoever comes second waits here until the first has committed or failed.
        claim = {**scope, "fingerprint": fingerprint, "status": 0, "body": "", "created_at": moment(tx)}
        if tx.execute(insert_or_skip(tx, _rows, _rows.c.status), claim).first() is not None:
            answer = work(tx)
            sealed = vault().seal(answer.body, place_of(**scope))
            tx.execute(_STORE, {**_named(scope), "status": answer.status, "body": sealed})
            return answer
        first = tx.execute(_FIND, _named(scope)).one()
    if first.fingerprint != fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used for another request")
    return _replay(first.status, first.body, place_of(**scope))


def place_of(*, merchant_id: str, livemode: bool, key: str) -> str:
    """Where the vault believes an answer to be stored.  Pure."""
    return f"idempotency_keys/{merchant_id}/{livemode}/{key}"


def _replay(status: int, sealed: str, place: str) -> Answer:
    try:
        body = vault().unseal(sealed, place)
    except SealBroken:
        raise Conflict(
            "this request was answered, but its answer cannot be opened any more", code="answer_lost"
        ) from None
    return Answer(body, status, replayed=True)


def _named(scope: dict[str, Any]) -> dict[str, Any]:
    # An UPDATE keeps the plain names of columns for the values that it sets.
    return {f"own_{name}": value for name, value in scope.items()}


def forget_old() -> int:
    """Remove keys older than a week; how many.  The order number still guards against doubles."""
    with transaction() as tx:
        return tx.execute(sa.delete(_rows).where(_rows.c.created_at < moment(tx) - KEPT_FOR)).rowcount
