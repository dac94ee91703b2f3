"""What slows a guesser down: each wrong try counts against what was tried and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import insert_or_skip, reading, table_of
from app.errors import TooManyRequests
from app.merchants.models import SignInFailure

# After the fifth wrong try each further one doubles the wait, up to a quarter of an hour.
FREE_TRIES = 5
WAIT_S_MAX = 900
KEPT = timedelta(days=1)  # after the wait; then it is as if nothing had been tried
_SWEPT_MAX = 1000

_failures = table_of(SignInFailure)


def subject(kind: str, text: str) -> str:
    """What is counted, as a digest: the table names neither a person nor an address.  Pure."""
    return digest(f"{kind}:{text}")


def refuse_if_guessing(subjects: Sequence[str]) -> None:
    """Raises TooManyRequests while one of them has to wait."""
    now = clock.now()
    with reading() as connection:
        until = connection.execute(
            sa.select(sa.func.max(_failures.c.until)).where(_failures.c.subject.in_(subjects))
        ).scalar()
    if until is not None and until > now:
        wait_s = int((until - now).total_seconds()) + 1
        raise TooManyRequests("too many wrong tries", retry_after_s=wait_s)


def note_failure(tx: Connection, subjects: Sequence[str]) -> None:
    """Count one wrong try against each.  A step.

    Rows are waited for in one order, and none while any that are too old are held: two at once never wait
    for each other.
    """
    now = clock.now()
    for each in sorted(subjects):
        # Inserted or not, the row is counted up where it stands: guesses at the same time all count.
        tx.execute(insert_or_skip(tx, _failures), {"subject": each, "count": 0, "until": now})
        mine = _failures.c.subject == each
        more = sa.case((_failures.c.until < now - KEPT, 1), else_=_failures.c.count + 1)
        counted = sa.update(_failures).where(mine).values(count=more)
        count = tx.execute(counted.returning(_failures.c.count)).scalar_one()
        tx.execute(sa.update(_failures).where(mine).values(until=now + timedelta(seconds=_wait_s(count))))
    old = sa.select(_failures.c.subject).where(_failures.c.until < now - KEPT).limit(_SWEPT_MAX)
    swept = _failures.c.subject.in_(old.with_for_update(skip_locked=True))
    tx.execute(sa.delete(_failures).where(swept))


def forgive(tx: Connection, one: str) -> None:
    """Forget the wrong tries of one subject.  A step."""
    tx.execute(sa.delete(_failures).where(_failures.c.subject == one))


def digest(token: str) -> str:
    """How a token is stored.  Pure."""
    # What a browser sends may hold anything; it only has to be looked for.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _wait_s(count: int) -> int:
    """How long to wait after so many wrong tries: none before the fifth, then 1, 2, 4 … 900 s.  Pure."""
    return 0 if count < FREE_TRIES else min(2 ** min(count - FREE_TRIES, 10), WAIT_S_MAX)
