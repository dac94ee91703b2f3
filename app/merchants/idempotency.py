"""Idempotency-Key: the same request again gets the first answer, byte for byte, and does nothing.

Key row and work commit together, so a crash leaves both or neither.  Only successes are stored: a
refused request may be corrected and sent again under its key.  The answer is stored sealed, because
some answers hold a secret that is shown only once.

What takes more than one transaction, or a word with a provider, claims its key first (``once_in_steps``).
Such work is harmless to do twice, so a claim that a crash has left behind lapses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_or_skip, moment, table_of, transaction
from app.errors import Conflict, IdempotencyMismatch, InvalidRequest, RequestUnderWay
from app.merchants.keys import Caller
from app.merchants.models import IdempotencyKey
from app.runtime import vault
from app.vault import SealBroken

KEPT_FOR = timedelta(days=7)
# How long work in steps may hold its key: the longest, a replay of 20,000 events, takes some seconds, and a
# provider's slowest answer half a minute.
CLAIM_LASTS = timedelta(minutes=2)
_UNDER_WAY = 0  # the status of a key whose work goes on: never one that HTTP has
_KEY = re.compile(r"[!-~]{1,128}", re.ASCII)

_rows = table_of(IdempotencyKey)
_MINE = (
    _rows.c.merchant_id == sa.bindparam("own_merchant_id"),
    _rows.c.livemode == sa.bindparam("own_livemode"),
    _rows.c.key == sa.bindparam("own_key"),
)
_FIND = sa.select(_rows.c.fingerprint, _rows.c.status, _rows.c.body, _rows.c.created_at).where(*_MINE)
_Row = sa.Row[Any, Any, Any, Any]  # as _FIND finds it
_STORE = sa.update(_rows).where(*_MINE)
# A claim is known by its moment: one that has lapsed and was taken over is not its first holder's any more.
_CLAIMED = (*_MINE, _rows.c.status == _UNDER_WAY, _rows.c.created_at == sa.bindparam("own_claimed_at"))


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
    fingerprint, scope = _fingerprint_of(key, request), _scope_of(caller, key)
    with transaction() as tx:
        # Claimed before the work: whoever comes second waits here until the first has committed or failed.
        if _claim(tx, scope, fingerprint, moment(tx)):
            answer = work(tx)
            tx.execute(_STORE, {**_named(scope), **_kept(answer, scope)})
            return answer
        first = tx.execute(_FIND, _named(scope)).one()
    return _first_answer(first, fingerprint, scope)


def once_in_steps(
    caller: Caller, key: str | None, request: tuple[str, str, bytes], work: Callable[[], Answer]
) -> Answer:
    """The same for work that opens transactions of its own, and is harmless to do twice.

    While it goes on, a second request is told to come again.  What fails gives its key back.  Raises
    besides RequestUnderWay.
    """
    if key is None:
        return work()
    fingerprint, scope = _fingerprint_of(key, request), _scope_of(caller, key)
    with transaction() as tx:
        claimed_at = moment(tx)
        first = None
        if not _claim(tx, scope, fingerprint, claimed_at):
            first = tx.execute(_FIND, _named(scope)).one()
            if first.fingerprint == fingerprint and _take_over(tx, scope, first, claimed_at):
                first = None
    if first is not None:
        return _first_answer(first, fingerprint, scope)
    mine = {**_named(scope), "own_claimed_at": claimed_at}
    try:
        answer = work()
    except BaseException:
        with transaction() as tx:
            tx.execute(sa.delete(_rows).where(*_CLAIMED), mine)
        raise
    with transaction() as tx:
        tx.execute(sa.update(_rows).where(*_CLAIMED), {**mine, **_kept(answer, scope)})
    return answer


def place_of(*, merchant_id: str, livemode: bool, key: str) -> str:
    """Where the vault believes an answer to be stored.  Pure."""
    return f"idempotency_keys/{merchant_id}/{livemode}/{key}"


def _fingerprint_of(key: str, request: tuple[str, str, bytes]) -> str:
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            "an Idempotency-Key has 1 to 128 visible ASCII characters", param="Idempotency-Key"
        )
    method, path, body = request
    return hashlib.sha256(b"\0".join([method.encode(), path.encode(), body])).hexdigest()


def _scope_of(caller: Caller, key: str) -> dict[str, Any]:
    return {"merchant_id": caller.merchant_id, "livemode": caller.livemode, "key": key}


def _claim(tx: Connection, scope: dict[str, Any], fingerprint: str, now: datetime) -> bool:
    claim = {**scope, "fingerprint": fingerprint, "status": _UNDER_WAY, "body": "", "created_at": now}
    return tx.execute(insert_or_skip(tx, _rows, _rows.c.status), claim).first() is not None


def _take_over(tx: Connection, scope: dict[str, Any], first: _Row, now: datetime) -> bool:
    """Whether the work of this key was left behind and is now ours."""
    if first.status != _UNDER_WAY or first.created_at > now - CLAIM_LASTS:
        return False
    lapsed = {**_named(scope), "own_claimed_at": first.created_at}
    return tx.execute(sa.update(_rows).where(*_CLAIMED), {**lapsed, "created_at": now}).rowcount == 1


def _kept(answer: Answer, scope: dict[str, Any]) -> dict[str, Any]:
    return {"status": answer.status, "body": vault().seal(answer.body, place_of(**scope))}


def _first_answer(first: _Row, fingerprint: str, scope: dict[str, Any]) -> Answer:
    if first.fingerprint != fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used for another request")
    if first.status == _UNDER_WAY:
        raise RequestUnderWay("the first request with this Idempotency-Key still goes on: send it again")
    return _replay(first.status, first.body, place_of(**scope))


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
