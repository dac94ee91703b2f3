"""Spending: a debit takes first what was paid in, then the bonus, and never more than there is.

It can be reversed once, in whole or in part, which gives back in the opposite order: what is left taken is
what a smaller debit would have taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_or_skip, moment, reading, table_of
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants.keys import LINE_PATTERN
from app.money import MINOR_MAX, Money
from app.purses import members
from app.purses.change import TOO_LOW, Move, change
from app.purses.models import Debit, MoveKind

DESCRIPTION_CHARS_MAX = 127
_DEBIT_NO = re.compile(r"[!-~]{1,64}", re.ASCII)

_LINE = re.compile(LINE_PATTERN)
_debits = table_of(Debit)


@dataclass(frozen=True, slots=True)
class NewDebit:
    """A debit that may be made.  Building one checks it: raises InvalidRequest naming the field."""

    member: str  # our id or the merchant's own account id
    debit_no: str
    amount_minor: int
    description: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.amount_minor <= MINOR_MAX:
            raise InvalidRequest(
                f"an amount is 1 to {MINOR_MAX} minor units", code="amount_out_of_range", param="amount"
            )
        if not _DEBIT_NO.fullmatch(self.debit_no):
            raise InvalidRequest("a debit number has 1 to 64 visible ASCII characters", param="debit_no")
        if len(self.description) > DESCRIPTION_CHARS_MAX or not _LINE.fullmatch(self.description):
            raise InvalidRequest(
                f"a description has at most {DESCRIPTION_CHARS_MAX} characters", param="description"
            )


def parts_of(balance_minor: int, bonus_minor: int, amount_minor: int) -> tuple[int, int] | None:
    """How much of which a debit takes; None if that is not there.  Pure.

    What is owed of one counts against the other.  ``(10000, 1000, 10500) -> (10000, 500)``.
    """
    if balance_minor + bonus_minor < amount_minor:
        return None
    of_balance_minor = min(max(balance_minor, 0), amount_minor)
    return of_balance_minor, amount_minor - of_balance_minor


def reversal_of(debit: Any, amount_minor: int) -> tuple[int, int]:
    """How much of which so much of a debit gives back: what was taken last comes back first.  Pure."""
    of_bonus_minor = min(debit.bonus_minor, amount_minor)
    return amount_minor - of_bonus_minor, of_bonus_minor


def take(tx: Connection, merchant_id: str, new: NewDebit, *, livemode: bool) -> sa.Row[Any]:
    """Spend from a purse.  A step.

    The same number with the same content returns the debit made before.  Raises NotFound, or Conflict with
    code ``member_balance_too_low``, ``member_blocked`` or ``debit_no_taken``.
    """
    member = members.lock(tx, merchant_id, new.member, livemode=livemode)
    before = _numbered(tx, merchant_id, new.debit_no, livemode)
    if before is not None:
        return _the_same(before, member, new)
    if member.blocked_at is not None:
        raise Conflict("this member is blocked", code="member_blocked")
    parts = parts_of(member.balance_minor, member.bonus_minor, new.amount_minor)
    if parts is None:
        left = Money(max(member.balance_minor + member.bonus_minor, 0), member.currency)
        raise Conflict(f"{left.minor} minor units ({left}) are left to spend", code=TOO_LOW)
    values = {
        "merchant_id": merchant_id,
        "id": new_id("db"),
        "member_id": member.id,
        "livemode": livemode,
        "debit_no": new.debit_no,
        "amount_minor": new.amount_minor,
        "balance_minor": parts[0],
        "bonus_minor": parts[1],
        "currency": member.currency,
        "description": new.description.strip(),
        "reversed_minor": 0,
        "created_at": moment(tx),
    }
    debit = tx.execute(insert_or_skip(tx, _debits, *_debits.c), values).first()
    if debit is None:  # another member's, begun at the same moment
        return _the_same(_numbered(tx, merchant_id, new.debit_no, livemode), member, new)
    wanted = Move(MoveKind.DEBIT, debit.id, -parts[0], -parts[1], note=debit.description)
    change(tx, merchant_id, member.id, wanted)
    return debit


def reverse(
    tx: Connection, merchant_id: str, member: str, debit_id: str, minor: int | None, *, livemode: bool
) -> sa.Row[Any]:
    """Give back a debit, all of it or so much, once.  A step.

    Raises NotFound, InvalidRequest (more than it took), Conflict with code ``debit_reversed``.
    """
    owner = members.lock(tx, merchant_id, member, livemode=livemode)
    own = _own(merchant_id, owner.id, debit_id)
    debit = tx.execute(sa.select(*_debits.c).where(*own)).first()
    if debit is None:
        raise NotFound("no such debit of this member")
    amount_minor = debit.amount_minor if minor is None else minor
    if not 1 <= amount_minor <= debit.amount_minor:
        raise InvalidRequest(f"this debit took {debit.amount_minor} minor units", param="amount")
    reversed_ = tx.execute(
        sa.update(_debits)
        .where(*own, _debits.c.reversed_at.is_(None))
        .values(reversed_minor=amount_minor, reversed_at=moment(tx))
        .returning(*_debits.c)
    ).first()
    if reversed_ is None:
        raise Conflict(
            f"{debit.reversed_minor} minor units of it were given back before", code="debit_reversed"
        )
    change(tx, merchant_id, owner.id, Move(MoveKind.REVERSAL, debit.id, *reversal_of(debit, amount_minor)))
    return reversed_


def find(merchant_id: str, member: str, debit_id: str, *, livemode: bool) -> sa.Row[Any]:
    """Raises NotFound."""
    with reading() as connection:
        owner = members.read(connection, merchant_id, member, livemode=livemode)
        debit = connection.execute(
            sa.select(*_debits.c).where(*_own(merchant_id, owner.id, debit_id))
        ).first()
    if debit is None:
        raise NotFound("no such debit of this member")
    return debit


def list_debits(
    merchant_id: str,
    member_id: str,
    *,
    debit_no: str | None = None,
    older_than: str | None = None,
    newer_than: str | None = None,
    limit: int = 10,
) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for cursor in (older_than, newer_than):
        if cursor is not None and not is_id(cursor, "db"):
            raise InvalidRequest("a cursor is the id of a debit", param="starting_after")
    query = sa.select(*_debits.c).where(
        _debits.c.merchant_id == merchant_id, _debits.c.member_id == member_id
    )
    if debit_no is not None:
        query = query.where(_debits.c.debit_no == debit_no)
    if older_than is not None:
        query = query.where(_debits.c.id < older_than)
    if newer_than is not None:
        query = query.where(_debits.c.id > newer_than)
    backwards = newer_than is not None
    order = _debits.c.id.asc() if backwards else _debits.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(limit + 1)))
    page = rows[:limit]
    return (page[::-1] if backwards else page), len(rows) > limit


def _own(merchant_id: str, member_id: str, debit_id: str) -> list[sa.ColumnElement[bool]]:
    return [
        _debits.c.merchant_id == merchant_id,
        _debits.c.member_id == member_id,
        _debits.c.id == debit_id[:64],
    ]


def _numbered(tx: Connection, merchant_id: str, debit_no: str, livemode: bool) -> sa.Row[Any] | None:
    mine = (
        _debits.c.merchant_id == merchant_id,
        _debits.c.livemode == livemode,
        _debits.c.debit_no == debit_no,
    )
    return tx.execute(sa.select(*_debits.c).where(*mine)).first()


def _the_same(debit: Any, member: sa.Row[Any], new: NewDebit) -> sa.Row[Any]:
    same = (
        debit.member_id == member.id
        and debit.amount_minor == new.amount_minor
        and debit.description == new.description.strip()
    )
    if not same:
        raise Conflict(
            f"debit number {new.debit_no} belongs to {debit.id}, which has other content",
            code="debit_no_taken",
        )
    found: sa.Row[Any] = debit
    return found
