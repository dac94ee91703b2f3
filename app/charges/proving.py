"""Going through all payments and members for what is wrong: in slices by the worker, at once by the shell.

``proof.py`` and ``member_proof.py`` say what that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import queue
from app.charges import incidents
from app.charges.member_proof import Purse, faults_of_purse
from app.charges.models import Attempt, Charge, Decision, Refund
from app.charges.proof import Fault, Payment, faults_of
from app.charges.states import ChargeState
from app.db import insert_or_skip, is_among, moment, reading, snapshot, table_of, transaction
from app.ledger.models import Entry, LedgerCheck
from app.merchants.models import Merchant, ProviderAccount
from app.purses.models import Debit, Member, Movement, Topup
from app.queue import Claim, Kind

SLICE = 200  # payments: some milliseconds of reading, and a few hundred rows in memory
MEMBERS_SLICE = 50  # members, each with all that was written of them
AT_MEMBERS = "mb"  # below every member's id, and above every payment's: where a round goes on behind these
PAUSE = timedelta(seconds=2)  # between slices: a million payments are gone through in three hours
ROUND_EVERY = timedelta(hours=6)
TOLD_MAX = 20  # incidents of a slice: beyond them it is one fault with many rows, and the count says so
CHECK = "check"  # the only subject of this kind of job
FAULT = "ledger_differs"

_attempts, _charges, _refunds = table_of(Attempt), table_of(Charge), table_of(Refund)
_decisions, _entries, _checks = table_of(Decision), table_of(Entry), table_of(LedgerCheck)
_accounts, _merchants = table_of(ProviderAccount), table_of(Merchant)
_members, _movements = table_of(Member), table_of(Movement)
_topups, _debits = table_of(Topup), table_of(Debit)

Snapshots = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Slice:
    """What was found in some payments or members; ``last`` is where to go on, None if that was the end."""

    last: str | None
    payments: int
    faults: list[Fault]
    members: int = 0


def check_all(snapshots: Snapshots, merchant_id: str | None = None) -> Iterator[Slice]:
    """Go through one merchant's payments, or everybody's, slice by slice.

    ``snapshots`` opens the database that is meant: this application's, or a restored copy.
    """
    every = sa.select(_merchants.c.id).order_by(_merchants.c.id)
    if merchant_id is not None:
        every = every.where(_merchants.c.id == merchant_id)
    with snapshots() as connection:
        ids = list(connection.scalars(every))
    for each in ids:
        cursor: str | None = ""
        while cursor is not None:
            with snapshots() as connection:
                part = check_slice(connection, each, cursor)
            yield part
            cursor = part.last


def check_slice(connection: Connection, merchant_id: str, after: str) -> Slice:
    """Some payments of a snapshot, by id; behind them what belongs to no payment, and then the members."""
    if after.startswith(AT_MEMBERS):
        return _check_members(connection, merchant_id, after)
    attempts = connection.execute(_SLICE, {"merchant_id": merchant_id, "after": after, "count": SLICE}).all()
    if not attempts:
        return Slice(AT_MEMBERS, 0, list(_strays(connection, merchant_id)))
    which = {"merchant_id": merchant_id, "ids": [row.id for row in attempts]}
    refunds = _by(connection.execute(_REFUNDS_OF, which), "attempt_id")
    decisions = _by(connection.execute(_DECISIONS_OF, which), "attempt_id")
    entries = _by(connection.execute(_ENTRIES_OF, which), "attempt_id")
    charge_ids = sorted({row.charge_id for row in attempts if row.charge_id is not None})
    charges = {
        row.id: row
        for row in connection.execute(_CHARGES_OF, {"merchant_id": merchant_id, "ids": charge_ids})
    }
    faults: list[Fault] = []
    for row in attempts:
        mine = [index.get(row.id, []) for index in (refunds, decisions, entries)]
        faults += faults_of(Payment(row, charges.get(row.charge_id), *mine))
    return Slice(attempts[-1].id, len(attempts), faults)


def _check_members(connection: Connection, merchant_id: str, after: str) -> Slice:
    own = {"merchant_id": merchant_id}
    members = connection.execute(_MEMBERS_SLICE, {**own, "after": after, "count": MEMBERS_SLICE}).all()
    if not members:
        return Slice(None, 0, [])
    which = {**own, "ids": [row.id for row in members]}
    movements, entries, debits, topups = (
        _by(connection.execute(query, which), "member_id")
        for query in (_MOVEMENTS_OF, _MEMBER_ENTRIES_OF, _DEBITS_OF, _TOPUPS_OF)
    )
    charge_ids = sorted({row.charge_id for rows in topups.values() for row in rows})
    charges = {row.id: row for row in connection.execute(_CHARGES_OF, {**own, "ids": charge_ids})}
    refunds = _by(connection.execute(_REFUNDS_OF_CHARGES, {**own, "ids": charge_ids}), "charge_id")
    faults: list[Fault] = []
    for row in members:
        mine = topups.get(row.id, [])
        asked = [refund for topup in mine for refund in refunds.get(topup.charge_id, [])]
        purse = Purse(
            row,
            movements=movements.get(row.id, []),
            entries=entries.get(row.id, []),
            debits=debits.get(row.id, []),
            topups=mine,
            charges=charges,
            refunds=asked,
        )
        faults += faults_of_purse(purse)
    return Slice(members[-1].id, 0, faults, len(members))


def schedule() -> None:
    """Have every merchant's books gone through, again and again.  Called every hour."""
    with reading() as connection:
        ids = list(connection.scalars(sa.select(_merchants.c.id)))
    with transaction() as tx:
        for merchant_id in ids:
            queue.put_once(tx, Kind.LEDGER, merchant_id, CHECK, moment(tx))


def go_on(claim: Claim) -> None:
    """One slice of a merchant's payments; what is wrong becomes an incident, once for each row."""
    with snapshot() as connection:
        known = connection.execute(_CHECK_OF, {"merchant_id": claim.merchant_id}).first()
        part = check_slice(connection, claim.merchant_id, "" if known is None else known.cursor)
    with transaction() as tx:
        if not queue.holds(tx, claim):
            return
        for fault in part.faults[:TOLD_MAX]:
            incidents.raise_incident(
                tx,
                claim.merchant_id,
                kind=FAULT,
                subject_id=f"{fault.table} {fault.row_id}"[:110],
                charge_id=None,
                detail=str(fault)[:300],
            )
        _note(tx, claim.merchant_id, part)
        queue.put_back(tx, claim, moment(tx) + (PAUSE if part.last is not None else ROUND_EVERY))


def last_check(merchant_id: str) -> sa.Row[Any] | None:
    """How the last rounds ended: ``last_faults``, ``finished_at``."""
    with reading() as connection:
        return connection.execute(_CHECK_OF, {"merchant_id": merchant_id}).first()


def _note(tx: Connection, merchant_id: str, part: Slice) -> None:
    new = {"merchant_id": merchant_id, "cursor": "", "faults": 0, "last_faults": 0}
    tx.execute(insert_or_skip(tx, _checks), new)
    faults = _checks.c.faults + len(part.faults)
    values: dict[str, Any] = {"cursor": part.last, "faults": faults}
    if part.last is None:
        values = {"cursor": "", "faults": 0, "last_faults": faults, "finished_at": moment(tx)}
    tx.execute(sa.update(_checks).where(_checks.c.merchant_id == merchant_id).values(values))


def _by(rows: Any, name: str) -> dict[str, list[Any]]:
    """Rows by the value of a column."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(getattr(row, name), []).append(row)
    return found


def _strays(connection: Connection, merchant_id: str) -> Iterator[Fault]:
    """Entries of no payment and no member, and charges that say they were paid by none, or by no top-up."""
    mine = {"merchant_id": merchant_id}
    for row in connection.execute(_ENTRIES_ASTRAY, mine):
        whose = f"member {row.member_id}" if row.member_id else f"attempt {row.attempt_id}"
        reason = f"belongs to {whose}, which is not there"
        yield Fault(merchant_id, "ledger_entries", f"{row.cause_id}/{row.event}", reason)
    for row in connection.execute(_CHARGES_ASTRAY, mine):
        reason = f"is {row.state} with paid_minor {row.paid_minor}, and no attempt settles it"
        yield Fault(merchant_id, "charges", row.id, reason)
    for row in connection.execute(_TOPUPS_ASTRAY, mine):
        reason = f"pays for top-up {row.topup_id}, which is not there or has another charge"
        yield Fault(merchant_id, "charges", row.id, reason)


def _own(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.merchant_id == sa.bindparam("merchant_id")


_CHECK_OF: sa.Select[Any] = sa.select(*_checks.c).where(_own(_checks))
_SLICE: sa.Select[Any] = (
    sa.select(*_attempts.c, _accounts.c.livemode)
    .join(
        _accounts,
        sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
    )
    .where(_own(_attempts), _attempts.c.id > sa.bindparam("after"))
    .order_by(_attempts.c.id)
    .limit(sa.bindparam("count"))
)
_REFUNDS_OF: sa.Select[Any] = sa.select(*_refunds.c).where(
    _own(_refunds), is_among(_refunds.c.attempt_id, "ids")
)
_DECISIONS_OF: sa.Select[Any] = sa.select(*_decisions.c).where(
    _own(_decisions), is_among(_decisions.c.attempt_id, "ids")
)
_ENTRIES_OF: sa.Select[Any] = sa.select(*_entries.c).where(
    _own(_entries), is_among(_entries.c.attempt_id, "ids")
)
_CHARGES_OF: sa.Select[Any] = sa.select(*_charges.c).where(_own(_charges), is_among(_charges.c.id, "ids"))
_ENTRIES_ASTRAY: sa.Select[Any] = (
    sa.select(_entries.c.cause_id, _entries.c.event, _entries.c.attempt_id, _entries.c.member_id)
    .outerjoin(
        _attempts,
        sa.and_(_attempts.c.merchant_id == _entries.c.merchant_id, _attempts.c.id == _entries.c.attempt_id),
    )
    .outerjoin(
        _members,
        sa.and_(_members.c.merchant_id == _entries.c.merchant_id, _members.c.id == _entries.c.member_id),
    )
    .where(_own(_entries), _attempts.c.id.is_(None), _members.c.id.is_(None))
    .limit(100)
)
_TOPUPS_ASTRAY: sa.Select[Any] = (
    sa.select(_charges.c.id, _charges.c.topup_id)
    .outerjoin(
        _topups,
        sa.and_(
            _topups.c.merchant_id == _charges.c.merchant_id,
            _topups.c.id == _charges.c.topup_id,
            _topups.c.charge_id == _charges.c.id,
        ),
    )
    .where(_own(_charges), _charges.c.topup_id.is_not(None), _topups.c.id.is_(None))
    .limit(100)
)
_MEMBERS_SLICE: sa.Select[Any] = (
    sa.select(*_members.c)
    .where(_own(_members), _members.c.id > sa.bindparam("after"))
    .order_by(_members.c.id)
    .limit(sa.bindparam("count"))
)
_MOVEMENTS_OF: sa.Select[Any] = (
    sa.select(*_movements.c)
    .where(_own(_movements), is_among(_movements.c.member_id, "ids"))
    .order_by(_movements.c.member_id, _movements.c.number)
)
_MEMBER_ENTRIES_OF: sa.Select[Any] = sa.select(*_entries.c).where(
    _own(_entries), is_among(_entries.c.member_id, "ids")
)
_DEBITS_OF: sa.Select[Any] = sa.select(*_debits.c).where(_own(_debits), is_among(_debits.c.member_id, "ids"))
_TOPUPS_OF: sa.Select[Any] = sa.select(*_topups.c).where(_own(_topups), is_among(_topups.c.member_id, "ids"))
_REFUNDS_OF_CHARGES: sa.Select[Any] = sa.select(*_refunds.c).where(
    _own(_refunds), is_among(_refunds.c.charge_id, "ids"), _refunds.c.automatic.is_(False)
)
_SETTLING = sa.and_(
    _attempts.c.merchant_id == _charges.c.merchant_id,
    _attempts.c.charge_id == _charges.c.id,
    _attempts.c.settles,
)
_CHARGES_ASTRAY: sa.Select[Any] = (
    sa.select(_charges.c.id, _charges.c.state, _charges.c.paid_minor)
    .outerjoin(_attempts, _SETTLING)
    .where(
        _own(_charges),
        _attempts.c.id.is_(None),
        sa.or_(
            _charges.c.state == ChargeState.PAID,
            _charges.c.paid_minor.is_not(None),
            _charges.c.paid_attempt_id.is_not(None),
            _charges.c.refunded_minor != 0,
        ),
    )
    .limit(100)
)
