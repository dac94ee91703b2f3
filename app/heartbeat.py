"""Whether anybody works: each worker leaves a row of its own, and says in it every few seconds that it lives.

A worker is judged by its work: whatever is due is done within a second.  But an empty queue says nothing,
and an operator wants to know before the first payment comes.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, moment, table_of, transaction

EVERY_S = 10.0
# Three beats missed in a row, and the worker is not slow but gone.
ALIVE = timedelta(seconds=3 * EVERY_S)
REMEMBERED = timedelta(days=1)


class Worker(Base):
    """One worker process.  Its row goes when it stops in order, or a day after its last sign of life."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    host: Mapped[str] = mapped_column(sa.String(80))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


_workers = table_of(Worker)


def beat(worker_id: str, started_at: datetime) -> None:
    """It lives.  Rows of those that died long ago are forgotten at the first beat."""
    with transaction() as tx:
        now = moment(tx)
        lives = sa.update(_workers).where(_workers.c.id == worker_id).values(seen_at=now)
        if tx.execute(lives).rowcount:
            return
        tx.execute(sa.delete(_workers).where(_workers.c.seen_at < now - REMEMBERED))
        values = {"host": socket.gethostname()[:80], "started_at": started_at, "seen_at": now}
        tx.execute(sa.insert(_workers), {"id": worker_id, **values})


def end(worker_id: str) -> None:
    """It stops, in order."""
    with transaction() as tx:
        tx.execute(sa.delete(_workers).where(_workers.c.id == worker_id))


def list_workers(connection: Connection) -> Sequence[sa.Row[Any]]:
    """Those that were seen within a day, whoever was seen last first."""
    return connection.execute(sa.select(*_workers.c).order_by(_workers.c.seen_at.desc()).limit(100)).all()


def last_seen(connection: Connection) -> datetime | None:
    """When any worker last said that it lives."""
    return connection.execute(
        sa.select(_workers.c.seen_at).order_by(_workers.c.seen_at.desc()).limit(1)
    ).scalar()
