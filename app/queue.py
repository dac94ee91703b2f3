"""A table as a queue: due work, claimed with a lease and a fencing token, finished or put back.

The row is written in the transaction that makes the work necessary, so work is neither lost nor
invented by a crash.  A claim moves ``due_at`` to the end of the lease: a worker that dies simply
lets its rows become due again.  ``token`` fences the worker that only seemed dead: its finish
touches no row, and it must discard what it did not commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, are_among, insert_or_skip, moment, table_of


class Kind(StrEnum):
    """What is to be done with ``subject_id``."""

    DELIVER = "deliver"  # a webhook delivery
    QUERY = "query"  # ask the provider about an attempt
    EXPIRE = "expire"  # close a charge whose time is up
    REFUND = "refund"  # send a reserved refund, or ask about it
    BILL = "bill"  # go through an account's bill of a day
    LEDGER = "ledger"  # prove some more of a merchant's payments
    NOTICE = "notice"  # tell a shop that speaks 易支付 of a payment
    ACCOUNT = "account"  # ask an account that payments have left whether it answers again
    MAIL = "mail"  # send a letter
    QUIET = "quiet"  # look whether a merchant's printed codes have gone quiet


class Job(Base):
    """One piece of due work.  Only unsettled work is here: the table stays small and hot."""

    __tablename__ = "jobs"
    __table_args__ = (sa.Index("ix_jobs_due", "kind", "due_at"),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    subject_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    due_at: Mapped[datetime]
    token: Mapped[str | None] = mapped_column(sa.String(32))
    tries: Mapped[int] = mapped_column(sa.Integer, default=0)


_jobs = table_of(Job)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in this worker's hands until the lease ends.  ``tries`` counts this one."""

    merchant_id: str
    kind: str
    subject_id: str
    token: str
    tries: int


def put(tx: Connection, kind: Kind, merchant_id: str, subject_id: str, due_at: datetime) -> None:
    """Add a job.  A step.  The same job twice violates the primary key: callers know whose it is."""
    put_many(tx, [(kind, merchant_id, subject_id, due_at)])


def put_once(tx: Connection, kind: Kind, merchant_id: str, subject_id: str, due_at: datetime) -> bool:
    """Add a job unless it is there.  A step.  Whether it was added."""
    job = {"kind": kind, "merchant_id": merchant_id, "subject_id": subject_id, "due_at": due_at, "tries": 0}
    return bool(tx.execute(insert_or_skip(tx, _jobs), job).rowcount)


def put_many(tx: Connection, jobs: Sequence[tuple[Kind, str, str, datetime]]) -> None:
    """Add several jobs in one statement.  A step."""
    tx.execute(
        _INSERT,
        [
            {"kind": kind, "merchant_id": merchant_id, "subject_id": subject_id, "due_at": due_at, "tries": 0}
            for kind, merchant_id, subject_id, due_at in jobs
        ],
    )


def claim(tx: Connection, kind: Kind, *, limit: int, lease: timedelta) -> list[Claim]:
    """Take up to ``limit`` due jobs, oldest first, for the length of ``lease``.  A step.

    PostgreSQL skips rows that another worker is claiming (SKIP LOCKED); on SQLite the write gate
    lets one worker in at a time.
    """
    now, token = moment(tx), uuid4().hex
    key = sa.tuple_(_jobs.c.merchant_id, _jobs.c.kind, _jobs.c.subject_id)
    # WITH, because a plain subquery in IN may be run once for each row of the table (a nested loop), and
    # each run locks the next few: then one worker would take everything that is due.
    due = (
        sa.select(_jobs.c.merchant_id, _jobs.c.kind, _jobs.c.subject_id)
        .where(_jobs.c.kind == kind, _jobs.c.due_at <= now)
        .order_by(_jobs.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = tx.execute(
        sa.update(_jobs)
        .where(key.in_(sa.select(due)))
        .values(due_at=now + lease, token=token, tries=_jobs.c.tries + 1)
        .returning(_jobs.c.merchant_id, _jobs.c.kind, _jobs.c.subject_id, _jobs.c.tries)
    )
    return [Claim(row.merchant_id, row.kind, row.subject_id, token, row.tries) for row in rows]


def finish(tx: Connection, claim: Claim) -> bool:
    """Remove a job that is done.  A step.  False: the lease was lost, and another worker has it."""
    return tx.execute(sa.delete(_jobs).where(*_held(claim))).rowcount == 1


def put_back(tx: Connection, claim: Claim, due_at: datetime) -> bool:
    """Make a claimed job due later.  A step.  False: the lease was lost."""
    return tx.execute(sa.update(_jobs).where(*_held(claim)).values(due_at=due_at, token=None)).rowcount == 1


def extend(tx: Connection, claim: Claim, until: datetime) -> bool:
    """Hold a job longer than its lease was, before that ends.  A step.  False: the lease was lost."""
    return tx.execute(sa.update(_jobs).where(*_held(claim)).values(due_at=until)).rowcount == 1


def holds(tx: Connection, claim: Claim) -> bool:
    """Whether this claim is still ours; on PostgreSQL the row stays locked until the commit.  A step."""
    return tx.execute(sa.select(_jobs.c.token).where(*_held(claim)).with_for_update()).first() is not None


def finish_many(tx: Connection, claims: Sequence[Claim]) -> set[Claim]:
    """Remove jobs that are done; those of them that were still ours, the others are left alone.  A step."""
    return _select_ours(tx, _FINISH, claims)


def held(tx: Connection, claims: Sequence[Claim]) -> set[Claim]:
    """Those of these claims that are still ours: ``holds`` for many.  A step."""
    return _select_ours(tx, _HELD, claims)


def put_back_many(tx: Connection, claims: Sequence[tuple[Claim, datetime]]) -> None:
    """Make claimed jobs due later, each at its own time; one whose lease was lost is left alone.  A step."""
    tx.execute(
        _PUT_BACK,
        [
            {
                "claim_merchant_id": claim.merchant_id,
                "claim_kind": claim.kind,
                "claim_subject_id": claim.subject_id,
                "claim_token": claim.token,
                "new_due_at": due_at,
            }
            for claim, due_at in claims
        ],
    )


def is_due(connection: Connection, kind: Kind) -> bool:
    """Whether ``claim`` would find something: a look that takes no lock."""
    now = moment(connection)
    return connection.execute(_IS_DUE, {"due_kind": kind, "now": now}).first() is not None


def drop(tx: Connection, merchant_id: str, *jobs: tuple[Kind, str]) -> None:
    """Forget jobs that have become pointless, claimed or not.  A step."""
    tx.execute(
        _DROP,
        [
            {"of_merchant_id": merchant_id, "of_kind": kind, "of_subject_id": subject_id}
            for kind, subject_id in jobs
        ],
    )


def hasten(tx: Connection, kind: Kind, merchant_id: str, subject_id: str, due_at: datetime) -> bool:
    """Make a waiting job due earlier; one in a worker's hands is left alone.  A step."""
    changed = tx.execute(
        sa.update(_jobs)
        .where(
            _jobs.c.merchant_id == merchant_id,
            _jobs.c.kind == kind,
            _jobs.c.subject_id == subject_id,
            _jobs.c.due_at > due_at,
            _jobs.c.token.is_(None),
        )
        .values(due_at=due_at)
    )
    return changed.rowcount == 1


def _held(claim: Claim) -> list[sa.ColumnElement[bool]]:
    return [
        _jobs.c.merchant_id == claim.merchant_id,
        _jobs.c.kind == claim.kind,
        _jobs.c.subject_id == claim.subject_id,
        _jobs.c.token == claim.token,
    ]


def _select_ours(tx: Connection, statement: sa.Executable, claims: Sequence[Claim]) -> set[Claim]:
    """Run a statement for the claims of each token; those for which it found the row."""
    groups: dict[tuple[str, str], dict[tuple[str, str], Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.kind, claim.token), {})[claim.merchant_id, claim.subject_id] = claim
    ours: set[Claim] = set()
    for (kind, token), group in groups.items():
        rows = tx.execute(statement, {"pairs": list(group), "claim_kind": kind, "claim_token": token})
        ours.update(group[row.merchant_id, row.subject_id] for row in rows)
    return ours


# Each statement is built once: building costs as much as running it.
_INSERT = sa.insert(_jobs)
_DROP = sa.delete(_jobs).where(
    _jobs.c.merchant_id == sa.bindparam("of_merchant_id"),
    _jobs.c.kind == sa.bindparam("of_kind"),
    _jobs.c.subject_id == sa.bindparam("of_subject_id"),
)
_OURS = (
    are_among(_jobs.c.merchant_id, _jobs.c.subject_id, "pairs", _jobs.c.kind == sa.bindparam("claim_kind")),
    _jobs.c.token == sa.bindparam("claim_token"),
)
_FINISH = sa.delete(Job).where(*_OURS).returning(_jobs.c.merchant_id, _jobs.c.subject_id)
_HELD = sa.select(_jobs.c.merchant_id, _jobs.c.subject_id).where(*_OURS).with_for_update()
_PUT_BACK = (
    sa.update(Job)
    .where(
        _jobs.c.merchant_id == sa.bindparam("claim_merchant_id"),
        _jobs.c.kind == sa.bindparam("claim_kind"),
        _jobs.c.subject_id == sa.bindparam("claim_subject_id"),
        _jobs.c.token == sa.bindparam("claim_token"),
    )
    .values(due_at=sa.bindparam("new_due_at"), token=None)
)
_IS_DUE = (
    sa.select(_jobs.c.kind)
    .where(_jobs.c.kind == sa.bindparam("due_kind"), _jobs.c.due_at <= sa.bindparam("now"))
    .limit(1)
)
