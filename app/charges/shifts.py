"""Shifts: one person's time at the till, opened with a float and closed with a count.

A charge belongs to the shift in which it was begun and a refund to that in which it was asked for,
whenever they are settled.  Whoever stores one holds the shift's row meanwhile, and whoever closes the
shift locks it, so a charge is either counted by the Z report or, begun a moment later, in no shift.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import cashup
from app.charges.cashup import Report
from app.charges.models import Attempt, Charge, Refund, Shift
from app.db import insert_or_skip, moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from app.ids import is_id, new_id
from app.merchants import audit
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.keys import LINE_PATTERN
from app.merchants.roles import Permission
from app.money import MINOR_MAX

NOTE_CHARS_MAX = 200
ENTRIES_MAX = 5_000  # of one shift: nobody takes a payment every five seconds all day

_LINE = re.compile(LINE_PATTERN)
_shifts, _charges, _refunds, _attempts = (
    table_of(Shift),
    table_of(Charge),
    table_of(Refund),
    table_of(Attempt),
)
_OPEN = (
    _shifts.c.merchant_id == sa.bindparam("merchant_id"),
    _shifts.c.livemode == sa.bindparam("livemode"),
    _shifts.c.user_id == sa.bindparam("user_id"),
    _shifts.c.closed_at.is_(None),
)
# Shared: two sales of one person do not wait for each other, and a closing waits for both.
_HOLD: sa.Select[Any] = sa.select(_shifts.c.id).where(*_OPEN).with_for_update(read=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """A shift with its sums.  ``z`` is None while it is open; ``after`` is what came since it was closed."""

    shift: sa.Row[Any]
    now: Report
    z: Report | None
    after: Report | None

    @property
    def difference_minor(self) -> int | None:
        """What was counted in the drawer less what was in it at the start: no cash is taken."""
        counted = self.shift.counted_minor
        return None if counted is None else int(counted - self.shift.float_minor)


@dataclass(frozen=True, slots=True)
class Entry:
    """One payment or refund of a shift, as it is now.  ``minor`` is negative where money goes back."""

    row: sa.Row[Any]
    is_refund: bool
    minor: int


@retried
def open_shift(merchant_id: str, *, livemode: bool, float_minor: int, by: Actor) -> sa.Row[Any]:
    """Begin to take payments.  Raises PermissionDenied, InvalidRequest, Conflict (one is open already)."""
    by.require(Permission.SHIFTS_OWN)
    if by.user_id is None:
        raise PermissionDenied("only a person has shifts", code="role_insufficient")
    _check_count(float_minor, "float")
    with transaction() as tx:
        values = {
            "merchant_id": merchant_id,
            "id": new_id("sh"),
            "livemode": livemode,
            "user_id": by.user_id,
            "person": by.name,
            "float_minor": float_minor,
            "opened_at": moment(tx),
            "note": "",
        }
        shift = tx.execute(insert_or_skip(tx, _shifts, *_shifts.c), values).first()
        if shift is None:
            raise Conflict("this person has an open shift", code="shift_open")
        facts = {"livemode": livemode, "float_minor": float_minor}
        audit.append(tx, merchant_id, by, Action.SHIFT_OPENED, shift.id, after=facts)
    return shift


@retried
def close_shift(
    merchant_id: str, shift_id: str, *, counted_minor: int | None, note: str, by: Actor
) -> sa.Row[Any]:
    """Count it up for good: its Z report is what the books say in this moment.

    One's own, or with ``shifts:all`` one that somebody forgot.  Raises NotFound, PermissionDenied,
    InvalidRequest, Conflict (it is closed already).
    """
    _check_count(counted_minor, "counted")
    if len(note.strip()) > NOTE_CHARS_MAX or (note.strip() and not _LINE.fullmatch(note.strip())):
        raise InvalidRequest(f"a note has at most {NOTE_CHARS_MAX} characters on one line", param="note")
    with transaction() as tx:
        mine = (_shifts.c.merchant_id == merchant_id, _shifts.c.id == shift_id[:64])
        shift = tx.execute(sa.select(*_shifts.c).where(*mine).with_for_update()).first()
        if shift is None or not _may_see(shift, by):
            raise NotFound("no such shift")
        by.require(Permission.SHIFTS_OWN if shift.user_id == by.user_id else Permission.SHIFTS_ALL)
        report = cashup.report_of(tx, merchant_id, shift.id)
        closed = tx.execute(
            sa.update(_shifts)
            .where(*mine, _shifts.c.closed_at.is_(None))
            .values(
                closed_at=moment(tx),
                closed_by=by.name,
                counted_minor=counted_minor,
                note=note.strip(),
                report=report.to_json(),
            )
            .returning(*_shifts.c)
        ).first()
        if closed is None:
            raise Conflict("this shift is closed, and stays as it is", code="shift_closed")
        facts = {"person": shift.person, "counted_minor": counted_minor, "note": closed.note, **closed.report}
        audit.append(tx, merchant_id, by, Action.SHIFT_CLOSED, shift.id, after=facts)
    return closed


def hold(tx: Connection, merchant_id: str, by: Actor, *, livemode: bool) -> str | None:
    """The open shift of whoever does something, held until the transaction ends.  A step.

    None outside any shift, and for a key or the server.
    """
    if by.user_id is None:
        return None
    mine = {"merchant_id": merchant_id, "livemode": livemode, "user_id": by.user_id}
    return tx.execute(_HOLD, mine).scalar()


def find_open(merchant_id: str, by: Actor, *, livemode: bool) -> str | None:
    """The id of this person's open shift."""
    mine = {"merchant_id": merchant_id, "livemode": livemode, "user_id": by.user_id}
    with reading() as connection:
        return connection.execute(sa.select(_shifts.c.id).where(*_OPEN), mine).scalar()


def see(merchant_id: str, shift_id: str, *, by: Actor) -> Seen:
    """A shift with its sums.  Raises NotFound, for another's shift too where one may see one's own alone."""
    with reading() as connection:
        mine = (_shifts.c.merchant_id == merchant_id, _shifts.c.id == shift_id[:64])
        shift = connection.execute(sa.select(*_shifts.c).where(*mine)).first()
        if shift is None or not _may_see(shift, by):
            raise NotFound("no such shift")
        now = cashup.report_of(connection, merchant_id, shift.id)
    if shift.report is None:
        return Seen(shift, now, None, None)
    z = Report.from_json(shift.report)
    return Seen(shift, now, z, now.since(z))


def list_shifts(
    merchant_id: str, *, livemode: bool, by: Actor, older_than: str | None = None, limit: int
) -> tuple[list[sa.Row[Any]], bool]:
    """Newest first, one's own or everybody's, and whether there is more.  Raises InvalidRequest."""
    if older_than is not None and not is_id(older_than, "sh"):
        raise InvalidRequest("a cursor is the id of a shift", param="after")
    query = sa.select(*_shifts.c).where(_shifts.c.merchant_id == merchant_id, _shifts.c.livemode == livemode)
    if Permission.SHIFTS_READ not in by.permissions:
        query = query.where(_shifts.c.user_id == by.user_id)
    if older_than is not None:
        query = query.where(_shifts.c.id < older_than)
    with reading() as connection:
        rows = list(connection.execute(query.order_by(_shifts.c.id.desc()).limit(limit + 1)))
    return rows[:limit], len(rows) > limit


def entries_of(merchant_id: str, shift_id: str) -> Iterator[Entry]:
    """Every payment of a shift, then every refund, each in its order; the latest state of each."""
    of_charges = (_charges.c.merchant_id == merchant_id, _charges.c.shift_id == shift_id)
    same = sa.and_(_attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id)
    with reading() as connection:
        charges = connection.execute(
            sa.select(*_charges.c).where(*of_charges).order_by(_charges.c.id).limit(ENTRIES_MAX)
        ).all()
        refunds = connection.execute(
            sa.select(*_refunds.c, _attempts.c.provider)
            .join(_attempts, same)
            .where(_refunds.c.merchant_id == merchant_id, _refunds.c.shift_id == shift_id)
            .order_by(_refunds.c.id)
            .limit(ENTRIES_MAX)
        ).all()
    for row in charges:
        yield Entry(row, False, row.paid_minor or 0)
    for row in refunds:
        yield Entry(row, True, -row.amount_minor)


def _may_see(shift: sa.Row[Any], by: Actor) -> bool:
    is_own = shift.user_id == by.user_id and Permission.SHIFTS_OWN in by.permissions
    return is_own or Permission.SHIFTS_READ in by.permissions


def _check_count(minor: int | None, param: str) -> None:
    if minor is not None and not 0 <= minor <= MINOR_MAX:
        raise InvalidRequest(f"0 to {MINOR_MAX} minor units", param=param)
