"""Writing down what differs, and crossing it out when later evidence agrees: the machine's side of the list.

Every function is a step.  A discrepancy is written once for each subject, day and sort; what a person has
resolved stays resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import insert_many, is_among, moment, table_of
from app.ids import new_id
from app.reconciliation.models import Discrepancy
from app.reconciliation.states import OURS_ALONE, ItemState, Resolution, Sort

_items = table_of(Discrepancy)
_OF_SUBJECTS: sa.Select[Any] = sa.select(*_items.c).where(
    _items.c.merchant_id == sa.bindparam("merchant_id"),
    _items.c.account_id == sa.bindparam("account_id"),
    is_among(_items.c.subject, "subjects"),
)
_END = (
    sa.update(Discrepancy)
    .where(
        _items.c.merchant_id == sa.bindparam("of_merchant_id"),
        _items.c.id == sa.bindparam("of_id"),
        _items.c.state != ItemState.RESOLVED,
    )
    .values(state=ItemState.RESOLVED, resolution=sa.bindparam("how"), resolved_at=sa.bindparam("now"))
)
_REOPEN = (
    sa.update(Discrepancy)
    .where(
        _items.c.merchant_id == sa.bindparam("of_merchant_id"),
        _items.c.id == sa.bindparam("of_id"),
        _items.c.state == ItemState.RESOLVED,
        _items.c.resolution == Resolution.HEALED,
    )
    .values(state=sa.bindparam("to"), resolution=None, resolved_at=None)
)
_RENEW = (
    sa.update(Discrepancy)
    .where(_items.c.merchant_id == sa.bindparam("of_merchant_id"), _items.c.id == sa.bindparam("of_id"))
    .values(
        here_minor=sa.bindparam("new_here_minor"),
        there_minor=sa.bindparam("new_there_minor"),
        detail=sa.bindparam("new_detail"),
        line=sa.bindparam("new_line"),
    )
)


@dataclass(frozen=True, slots=True)
class Item:
    """A discrepancy as it is found.  Amounts are signed as on a bill; None: that side has nothing."""

    sort: Sort
    subject: str
    currency: str
    detail: str
    here_minor: int | None = None
    there_minor: int | None = None
    line: int | None = None
    out_trade_no: str = ""
    provider_ref: str = ""
    attempt_id: str | None = None
    refund_id: str | None = None
    charge_id: str | None = None
    state: ItemState = ItemState.OPEN
    resolution: Resolution | None = None  # it has ended already, and is written down all the same


def known_of(connection: Connection, run: Any, subjects: Iterable[str]) -> list[sa.Row[Any]]:
    """What was ever written down about these subjects, on any day."""
    names = sorted(set(subjects))
    which = {"merchant_id": run.merchant_id, "account_id": run.account_id, "subjects": names}
    return list(connection.execute(_OF_SUBJECTS, which)) if names else []


def write(tx: Connection, run: Any, found: Sequence[Item], known: Sequence[Any]) -> list[dict[str, Any]]:
    """Write down what is found on a day, ``known`` being what was.  The rows that are new."""
    mine = {(row.subject, row.sort): row for row in known if row.day == run.day}
    new, again, changed = [], [], []
    now = moment(tx)
    for item in found:
        row = mine.get((item.subject, item.sort))
        if row is None:
            new.append(_row_of(run, item, now))
        elif row.resolution == Resolution.HEALED and item.resolution is None:
            again.append({**_key(row), "to": item.state})
        if row is not None and _facts(row) != _facts(item):
            changed.append(
                {
                    **_key(row),
                    "new_here_minor": item.here_minor,
                    "new_there_minor": item.there_minor,
                    "new_detail": item.detail[:300],
                    "new_line": item.line,
                }
            )
    insert_many(tx, _items, new)
    for statement, rows in ((_REOPEN, again), (_RENEW, changed)):
        if rows:
            tx.execute(statement, rows)
    return new


def end(tx: Connection, ended: Sequence[tuple[Any, Resolution]]) -> None:
    """Cross out what has come right by itself."""
    rows = [
        {**_key(row), "how": how, "now": moment(tx)} for row, how in ended if row.state != ItemState.RESOLVED
    ]
    if rows:
        tx.execute(_END, rows)


def outdated(
    known: Sequence[Any], day: date, wanted: set[tuple[str, str]], booked: set[str]
) -> list[sa.Row[Any]]:
    """Of what was written down: what a look at a day's lines does not find any more.  Pure.

    ``wanted`` are subjects with their sort that were found; ``booked`` are subjects of which bill and books
    both know now, so that no day misses them.
    """
    return [
        row
        for row in known
        if row.state != ItemState.RESOLVED
        and (row.subject, row.sort) not in wanted
        and (row.subject in booked if row.sort in OURS_ALONE else row.day == day)
    ]


def age_pool(tx: Connection, run: Any, until: date) -> set[date]:
    """What has waited in the pool since this day or longer is on no bill: now a person looks.  Its days."""
    waiting = (
        _items.c.merchant_id == run.merchant_id,
        _items.c.account_id == run.account_id,
        _items.c.day <= until,
        _items.c.state == ItemState.POOLED,
        _items.c.sort == Sort.DAY_EDGE,
    )
    is_refund = _items.c.subject.startswith("refund:")
    aged = tx.execute(
        sa.update(_items)
        .where(*waiting)
        .values(
            state=ItemState.OPEN,
            sort=sa.case((is_refund, Sort.REFUND_MISSING.value), else_=Sort.MISSING_THERE.value),
            opened_at=moment(tx),
        )
        .returning(_items.c.day)
    )
    return set(aged.scalars())


def with_end(item: Item, how: Resolution | None) -> Item:
    """The same, written down as ended.  Pure."""
    return item if how is None else replace(item, state=ItemState.RESOLVED, resolution=how)


def _row_of(run: Any, item: Item, now: Any) -> dict[str, Any]:
    return {
        "merchant_id": run.merchant_id,
        "id": new_id("dis"),
        "livemode": run.livemode,
        "account_id": run.account_id,
        "provider": run.provider,
        "day": run.day,
        "sort": item.sort,
        "subject": item.subject,
        "line": item.line,
        "out_trade_no": item.out_trade_no,
        "provider_ref": item.provider_ref,
        "attempt_id": item.attempt_id,
        "refund_id": item.refund_id,
        "charge_id": item.charge_id,
        "currency": item.currency,
        "here_minor": item.here_minor,
        "there_minor": item.there_minor,
        "detail": item.detail[:300],
        "state": item.state,
        "owner": None,
        "note": "",
        "resolution": item.resolution,
        "resolved_by": None,
        "opened_at": now,
        "resolved_at": None if item.resolution is None else now,
    }


def _facts(each: Any) -> tuple[Any, ...]:
    return each.here_minor, each.there_minor, each.detail[:300], each.line


def _key(row: Any) -> dict[str, Any]:
    return {"of_merchant_id": row.merchant_id, "of_id": row.id}
