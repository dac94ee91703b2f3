"""What people do about discrepancies: find them, take one on, note what is known, say how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id
from app.merchants import audit, team
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.roles import Permission, permissions_of
from app.reconciliation.models import Discrepancy
from app.reconciliation.states import BY_PERSON, ItemState, Resolution, Sort

NOTE_CHARS_MAX = 500
LIMIT_MAX = 100
AT_ONCE_MAX = 1000
OVERDUE = timedelta(days=3)  # a wallet corrects what it has done wrong only if it hears of it soon

_items = table_of(Discrepancy)


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """What a list is narrowed to.  ``starting_after`` and ``ending_before`` are ids: a page's cursor."""

    state: ItemState | None = None
    sort: Sort | None = None
    account_id: str | None = None
    day: date | None = None
    owner: str | None = None
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 20


def find(merchant_id: str, item_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """A merchant's discrepancy.  Raises NotFound, for another merchant's or mode's, too."""
    with reading() as connection:
        row = connection.execute(sa.select(*_items.c).where(*_own(merchant_id, item_id))).first()
    if row is None or (livemode is not None and row.livemode != livemode):
        raise NotFound("no such discrepancy")
    return row


def search(merchant_id: str, *, livemode: bool, wanted: ItemFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more in its direction.  Raises InvalidRequest."""
    query = sa.select(*_items.c).where(*_wanted(merchant_id, livemode, wanted))
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "dis"):
            raise InvalidRequest("a cursor is the id of a discrepancy", param=name)
    if not 1 <= wanted.limit <= LIMIT_MAX:
        raise InvalidRequest(f"must be between 1 and {LIMIT_MAX}", param="limit")
    if wanted.starting_after is not None:
        query = query.where(_items.c.id < wanted.starting_after)
    if wanted.ending_before is not None:
        query = query.where(_items.c.id > wanted.ending_before)
    is_backwards = wanted.ending_before is not None and wanted.starting_after is None
    order = _items.c.id.asc() if is_backwards else _items.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(wanted.limit + 1)))
    shown = rows[: wanted.limit]
    return (shown[::-1] if is_backwards else shown), len(rows) > wanted.limit


def counts_of_day(merchant_id: str, *, livemode: bool, day: date) -> list[sa.Row[Any]]:
    """How many of a day by ``account_id``, ``sort`` and ``state``: ``items``."""
    keys = (_items.c.account_id, _items.c.sort, _items.c.state)
    query = (
        sa.select(*keys, sa.func.count().label("items"))
        .where(_items.c.merchant_id == merchant_id, _items.c.livemode == livemode, _items.c.day == day)
        .group_by(*keys)
        .order_by(*keys)
    )
    with reading() as connection:
        return list(connection.execute(query))


def open_count(merchant_id: str, *, livemode: bool, at_most: int = AT_ONCE_MAX) -> int:
    """How many wait for a person; ``at_most`` says as many or more."""
    some = (
        sa.select(_items.c.id)
        .where(
            _items.c.merchant_id == merchant_id,
            _items.c.livemode == livemode,
            _items.c.state == ItemState.OPEN,
        )
        .limit(at_most)
    )
    with reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()


@retried
def change(merchant_id: str, item_id: str, *, owner: str, note: str, by: Actor) -> None:
    """Say who looks into it, and what is known.  Raises NotFound, InvalidRequest naming the field."""
    by.require(Permission.RECONCILIATION_WRITE)
    note = _note(note)
    if owner and owner not in owners_of(merchant_id):
        raise InvalidRequest("nobody of this shop has this address", param="owner")
    with transaction() as tx:
        before = _locked(tx, merchant_id, item_id)
        new = {"owner": owner or None, "note": note}
        tx.execute(sa.update(_items).where(*_own(merchant_id, item_id)).values(**new))
        old = {"owner": before.owner, "note": before.note}
        audit.append(tx, merchant_id, by, Action.DISCREPANCY_CHANGED, item_id, before=old, after=new)


@retried
def resolve(merchant_id: str, item_id: str, *, resolution: str, note: str, by: Actor) -> None:
    """Say how it ended.  Raises NotFound, Conflict (it has ended), InvalidRequest naming the field."""
    by.require(Permission.RECONCILIATION_WRITE)
    how, note = _how(resolution), _note(note)
    with transaction() as tx:
        before = _locked(tx, merchant_id, item_id)
        if before.state == ItemState.RESOLVED:
            raise Conflict("it is resolved already", code="discrepancy_resolved")
        new = {"state": ItemState.RESOLVED, "resolution": how, "note": note or before.note}
        tx.execute(
            sa.update(_items)
            .where(*_own(merchant_id, item_id))
            .values(**new, resolved_by=by.name[:254], resolved_at=moment(tx))
        )
        old = {"state": before.state, "note": before.note}
        audit.append(tx, merchant_id, by, Action.DISCREPANCY_RESOLVED, item_id, before=old, after=new)


@retried
def resolve_all(
    merchant_id: str, wanted: ItemFilter, *, livemode: bool, resolution: str, note: str, by: Actor
) -> int:
    """Say the same of all open ones of a filter, AT_ONCE_MAX at most.  How many.

    A wrong rate makes a discrepancy of every payment of a day: nobody resolves them one by one.  Raises
    InvalidRequest naming the field, also where neither day nor type narrows it.
    """
    by.require(Permission.RECONCILIATION_WRITE)
    how, note = _how(resolution), _note(note)
    if wanted.day is None or wanted.sort is None:
        raise InvalidRequest("all at once are those of one day and type", param="type")
    conditions = [*_wanted(merchant_id, livemode, wanted), _items.c.state == ItemState.OPEN]
    some = sa.select(_items.c.id).where(*conditions).order_by(_items.c.id).limit(AT_ONCE_MAX)
    with transaction() as tx:
        ids = list(tx.scalars(some))
        if not ids:
            return 0
        new = {"state": ItemState.RESOLVED, "resolution": how, "note": note}
        tx.execute(
            sa.update(_items)
            .where(_items.c.merchant_id == merchant_id, _items.c.id.in_(ids))
            .values(**new, resolved_by=by.name[:254], resolved_at=moment(tx))
        )
        facts = {**new, "day": wanted.day, "type": wanted.sort, "count": len(ids), "last": ids[-1]}
        audit.append(tx, merchant_id, by, Action.DISCREPANCY_RESOLVED, ids[0], after=facts)
    return len(ids)


@retried
def reopen(merchant_id: str, item_id: str, *, by: Actor) -> None:
    """A person's resolution was wrong.  Raises NotFound, Conflict (it is open, or ended by itself)."""
    by.require(Permission.RECONCILIATION_WRITE)
    with transaction() as tx:
        before = _locked(tx, merchant_id, item_id)
        if before.state != ItemState.RESOLVED or before.resolution not in BY_PERSON:
            raise Conflict("no person has resolved it", code="discrepancy_open")
        tx.execute(
            sa.update(_items)
            .where(*_own(merchant_id, item_id))
            .values(state=ItemState.OPEN, resolution=None, resolved_by=None, resolved_at=None)
        )
        old = {"resolution": before.resolution, "resolved_by": before.resolved_by}
        audit.append(tx, merchant_id, by, Action.DISCREPANCY_REOPENED, item_id, before=old)


def owners_of(merchant_id: str) -> list[str]:
    """Who can look into one: the e-mail addresses of people who may."""
    return [
        person.email
        for person in team.list_people(merchant_id)
        if person.deactivated_at is None and Permission.RECONCILIATION_WRITE in permissions_of(person.role)
    ]


def _locked(tx: Connection, merchant_id: str, item_id: str) -> sa.Row[Any]:
    row = tx.execute(sa.select(*_items.c).where(*_own(merchant_id, item_id)).with_for_update()).first()
    if row is None:
        raise NotFound("no such discrepancy")
    return row


def _own(merchant_id: str, item_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _items.c.merchant_id == merchant_id, _items.c.id == item_id[:40]


def _wanted(merchant_id: str, livemode: bool, wanted: ItemFilter) -> list[sa.ColumnElement[bool]]:
    conditions = [_items.c.merchant_id == merchant_id, _items.c.livemode == livemode]
    for column, value in (
        (_items.c.state, wanted.state),
        (_items.c.sort, wanted.sort),
        (_items.c.account_id, wanted.account_id),
        (_items.c.day, wanted.day),
        (_items.c.owner, wanted.owner),
    ):
        if value is not None:
            conditions.append(column == value)
    return conditions


def _how(resolution: str) -> Resolution:
    if resolution not in BY_PERSON:
        raise InvalidRequest("this is no way to resolve it", param="resolution")
    return Resolution(resolution)


def _note(note: str) -> str:
    text = " ".join(note.split())
    if len(text) > NOTE_CHARS_MAX or not text.isprintable():
        raise InvalidRequest(f"a note has {NOTE_CHARS_MAX} characters at most", param="note")
    return text
