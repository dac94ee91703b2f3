"""Members as their merchant knows them: added, found, listed, changed and blocked."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.db import insert_or_skip, moment, reading, table_of
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants import audit
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.keys import LINE_PATTERN
from app.merchants.roles import Permission
from app.money import EXPONENTS
from app.purses.models import Member, Movement

NAME_CHARS_MAX = 80
ACCOUNT_PATTERN = r"^[0-9A-Za-z._:@+-]{1,64}$"  # it stands in addresses
PHONE_PATTERN = r"^[0-9]{5,20}$"
SEARCH_CHARS_MAX = 64

_ACCOUNT, _PHONE = re.compile(ACCOUNT_PATTERN, re.ASCII), re.compile(PHONE_PATTERN, re.ASCII)
_LINE = re.compile(LINE_PATTERN)
_members, _movements = table_of(Member), table_of(Movement)


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member that may be added.  Building one checks it: raises InvalidRequest naming the field."""

    account: str
    name: str = ""
    phone: str | None = None
    currency: str = "CNY"

    def __post_init__(self) -> None:
        # An id of ours as an account would make one name mean two members.
        if not _ACCOUNT.fullmatch(self.account) or is_id(self.account, "mb"):
            raise InvalidRequest(
                "an account has 1 to 64 of the letters 0-9 A-Z a-z . _ : @ + -", param="account"
            )
        if self.currency not in EXPONENTS:
            raise InvalidRequest(
                f"{self.currency[:8]!r} is not a currency we can charge in", param="currency"
            )
        check_name(self.name)
        check_phone(self.phone)


@dataclass(frozen=True, slots=True)
class Changes:
    """What shall be different; None stays as it is.  An empty phone takes it away."""

    name: str | None = None
    phone: str | None = None
    blocked: bool | None = None


@dataclass(frozen=True, slots=True)
class MemberFilter:
    """What a list is narrowed to.  ``before`` and ``after`` are ids: a page's cursor."""

    text: str = ""
    account: str | None = None
    phone: str | None = None
    blocked: bool | None = None
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


def check_name(name: str) -> None:
    """Raises InvalidRequest."""
    if len(name.strip()) > NAME_CHARS_MAX or (name and not _LINE.fullmatch(name)):
        raise InvalidRequest(f"a name has at most {NAME_CHARS_MAX} characters on one line", param="name")


def check_phone(phone: str | None) -> None:
    """Raises InvalidRequest."""
    if phone is not None and not _PHONE.fullmatch(phone):
        raise InvalidRequest("a phone number has 5 to 20 digits and nothing else", param="phone")


def put(
    tx: Connection, merchant_id: str, new: NewMember, *, livemode: bool, by: Actor = SERVER
) -> tuple[sa.Row[Any], bool]:
    """Add a member, or bring the one of this account up to date; whether it is new.  A step.

    Raises Conflict: the account keeps another currency, or another member has this phone number.
    """
    by.require(Permission.MEMBERS_WRITE)
    now = moment(tx)
    values = {
        "merchant_id": merchant_id,
        "id": new_id("mb"),
        "livemode": livemode,
        "account": new.account,
        "name": new.name.strip(),
        "phone": new.phone,
        "currency": new.currency,
        "balance_minor": 0,
        "bonus_minor": 0,
        "sequence": 0,
        "created_at": now,
        "updated_at": now,
    }
    added = tx.execute(insert_or_skip(tx, _members, *_members.c), values).first()
    if added is not None:
        facts = {"account": added.account, "name": added.name, "currency": added.currency}
        _note(tx, by, Action.MEMBER_ADDED, added, after=facts)
        return added, True
    known = tx.execute(_own(merchant_id, livemode).where(_members.c.account == new.account)).first()
    if known is None:
        raise _phone_taken()
    if known.currency != new.currency:
        raise Conflict(f"this account keeps {known.currency}", code="member_currency")
    wanted = Changes(name=new.name.strip() or None, phone=new.phone)
    return change_member(tx, merchant_id, known.id, wanted, livemode=livemode, by=by), False


def change_member(
    tx: Connection, merchant_id: str, member: str, wanted: Changes, *, livemode: bool, by: Actor = SERVER
) -> sa.Row[Any]:
    """Change what is given.  A step.  Raises NotFound, InvalidRequest, Conflict (phone number taken)."""
    by.require(Permission.MEMBERS_WRITE)
    found = lock(tx, merchant_id, member, livemode=livemode)
    values: dict[str, Any] = {}
    if wanted.name is not None:
        check_name(wanted.name)
        values["name"] = wanted.name.strip()
    if wanted.phone is not None:
        check_phone(wanted.phone or None)
        values["phone"] = wanted.phone or None
        _check_free(tx, found, values["phone"])
    if wanted.blocked is not None:
        values["blocked_at"] = (found.blocked_at or moment(tx)) if wanted.blocked else None
    values = {name: value for name, value in values.items() if value != getattr(found, name)}
    if not values:
        return found
    before = {name: getattr(found, name) for name in values}
    own = (_members.c.merchant_id == merchant_id, _members.c.id == found.id)
    after = {**values, "updated_at": moment(tx)}
    try:
        row = tx.execute(sa.update(_members).where(*own).values(after).returning(*_members.c)).one()
    except IntegrityError:  # given to another since it was looked for
        raise _phone_taken() from None
    _note(tx, by, Action.MEMBER_CHANGED, found, before=before, after=values)
    return row


def find(merchant_id: str, member: str, *, livemode: bool) -> sa.Row[Any]:
    """By our id or the merchant's own account id.  Raises NotFound, for another mode's too."""
    with reading() as connection:
        return read(connection, merchant_id, member, livemode=livemode)


def read(connection: Connection, merchant_id: str, member: str, *, livemode: bool) -> sa.Row[Any]:
    """The same on a connection of the caller's."""
    row = connection.execute(named(merchant_id, member, livemode=livemode)).first()
    if row is None:
        raise NotFound("no such member")
    return row


def lock(tx: Connection, merchant_id: str, member: str, *, livemode: bool) -> sa.Row[Any]:
    """The same, and it stands still until the end of the transaction.  A step.

    Not against rows that point at it: they may be added meanwhile.
    """
    row = tx.execute(named(merchant_id, member, livemode=livemode).with_for_update(key_share=True)).first()
    if row is None:
        raise NotFound("no such member")
    return row


def find_typed(merchant_id: str, typed: str, *, livemode: bool) -> sa.Row[Any]:
    """What somebody typed at a printed sign: an account id or a phone number.  Raises NotFound."""
    text = unicodedata.normalize("NFKC", typed).strip()
    digits = re.sub(r"[\s()-]", "", text).removeprefix("+86")
    if not _ACCOUNT.fullmatch(text) and not _PHONE.fullmatch(digits):
        raise NotFound("no such member")
    query = _own(merchant_id, livemode)
    with reading() as connection:
        row = connection.execute(query.where(_members.c.account == text)).first()
        row = row or connection.execute(query.where(_members.c.phone == digits)).first()
    if row is None:
        raise NotFound("no such member")
    return row


def masked(member: Any) -> str:
    """Enough of a name to know oneself by, and too little to learn whose it is.  Pure.

    ``"王小明" -> "王**"``, ``"Jane" -> "J***"``; without a name the end of the account: ``"***0042"``.
    """
    name: str = member.name
    if name:
        return name[0] + "*" * min(max(len(name) - 1, 1), 5)
    account: str = member.account
    shown = min(4, len(account) // 2)
    return "***" + (account[-shown:] if shown else "")


def list_members(merchant_id: str, *, livemode: bool, wanted: MemberFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for cursor in (wanted.starting_after, wanted.ending_before):
        if cursor is not None and not is_id(cursor, "mb"):
            raise InvalidRequest("a cursor is the id of a member", param="starting_after")
    backwards = wanted.ending_before is not None
    query = _own(merchant_id, livemode).where(*_conditions(wanted))
    order = _members.c.id.asc() if backwards else _members.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(wanted.limit + 1)))
    page = rows[: wanted.limit]
    return (page[::-1] if backwards else page), len(rows) > wanted.limit


def list_movements(
    merchant_id: str, member_id: str, *, before: int | None = None, limit: int = 10
) -> tuple[list[sa.Row[Any]], bool]:
    """A member's statement, newest first: those with a number below ``before``; whether there is more."""
    query = sa.select(*_movements.c).where(
        _movements.c.merchant_id == merchant_id, _movements.c.member_id == member_id
    )
    if before is not None:
        query = query.where(_movements.c.number < before)
    with reading() as connection:
        rows = list(connection.execute(query.order_by(_movements.c.number.desc()).limit(limit + 1)))
    return rows[:limit], len(rows) > limit


def walk_movements(merchant_id: str, member_id: str, *, after: int, limit: int) -> list[sa.Row[Any]]:
    """The same from the beginning: those with a number above ``after``, oldest first."""
    query = sa.select(*_movements.c).where(
        _movements.c.merchant_id == merchant_id,
        _movements.c.member_id == member_id,
        _movements.c.number > after,
    )
    with reading() as connection:
        return list(connection.execute(query.order_by(_movements.c.number).limit(limit)))


def number_of(merchant_id: str, member_id: str, movement_id: str) -> int:
    """The number of one of a member's movements: where a page of the statement goes on.  Raises NotFound."""
    query = sa.select(_movements.c.number).where(
        _movements.c.merchant_id == merchant_id,
        _movements.c.member_id == member_id,
        _movements.c.id == movement_id,
    )
    with reading() as connection:
        number = connection.execute(query).scalar()
    if number is None:
        raise NotFound("no such movement")
    return int(number)


def _note(tx: Connection, by: Actor, action: Action, member: sa.Row[Any], **facts: Any) -> None:
    """What people do.  An app adds members by the thousand, and the log is one chain for all of them."""
    if not by.is_key:
        audit.append(tx, member.merchant_id, by, action, member.id, **facts)


def _own(merchant_id: str, livemode: bool) -> sa.Select[Any]:
    return sa.select(*_members.c).where(
        _members.c.merchant_id == merchant_id, _members.c.livemode == livemode
    )


def named(merchant_id: str, member: str, *, livemode: bool) -> sa.Select[Any]:
    """The member of this id of ours, or of this account, as a SELECT."""
    query = _own(merchant_id, livemode)
    if is_id(member, "mb"):
        return query.where(_members.c.id == member)
    # Whole: cut to the length of an account, a longer name would be somebody else's.  And what can be none
    # is not looked for: PostgreSQL refuses a zero in a text.
    return query.where(_members.c.account == member if _ACCOUNT.fullmatch(member) else sa.false())


def _check_free(tx: Connection, member: sa.Row[Any], phone: str | None) -> None:
    """Raises Conflict.  Of two at once the unique index stops the second."""
    if phone is None or phone == member.phone:
        return
    query = _own(member.merchant_id, member.livemode).where(_members.c.phone == phone)
    if tx.execute(query).first() is not None:
        raise _phone_taken()


def _phone_taken() -> Conflict:
    return Conflict("another member has this phone number", code="phone_taken")


def _conditions(wanted: MemberFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    text = wanted.text.strip()[:SEARCH_CHARS_MAX]
    if "\x00" in text:  # is in no name, and PostgreSQL has no text with it
        conditions.append(sa.false())
    elif text:
        column = _members.c
        conditions.append(
            sa.or_(
                column.id == text,
                column.account == text,
                column.phone == text,
                column.account.startswith(text, autoescape=True),
                column.name.contains(text, autoescape=True),
            )
        )
    if wanted.account is not None:
        conditions.append(_members.c.account == wanted.account)
    if wanted.phone is not None:
        conditions.append(_members.c.phone == wanted.phone)
    if wanted.blocked is not None:
        conditions.append(
            _members.c.blocked_at.is_not(None) if wanted.blocked else _members.c.blocked_at.is_(None)
        )
    if wanted.starting_after is not None:
        conditions.append(_members.c.id < wanted.starting_after)
    if wanted.ending_before is not None:
        conditions.append(_members.c.id > wanted.ending_before)
    return conditions
