"""A merchant's printed codes: made singly or as a series, found, changed while they hang, never deleted.

Every change is told to the merchant's systems, in the transaction that makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Charge
from app.charges.states import ChargeState
from app.codes.models import QRCode
from app.codes.present import Counts, code_json
from app.codes.terms import LINE, NAME_CHARS_MAX, Terms
from app.db import is_among, moment, reading, table_of, transaction
from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.merchants.models import Store
from app.merchants.stores import check_store
from app.qr.short_code import new_code
from app.webhooks import types
from app.webhooks.models import Event
from app.webhooks.outbox import Fact, emit

SERIES_MAX = 500  # as many as one call makes, in one transaction

_codes, _charges = table_of(QRCode), table_of(Charge)
_stores, _events = table_of(Store), table_of(Event)
JOINED: sa.Select[Any] = sa.select(
    *_codes.c, _stores.c.name.label("store_name"), _stores.c.address.label("store_address")
).outerjoin(
    _stores, sa.and_(_stores.c.merchant_id == _codes.c.merchant_id, _stores.c.id == _codes.c.store_id)
)


def create_code(tx: Connection, merchant_id: str, terms: Terms, *, livemode: bool) -> sa.Row[Any]:
    """Make one code, and tell of it.  A step.  Raises InvalidRequest (no such store)."""
    return _store(tx, merchant_id, [terms], livemode)[0]


def create_series(
    tx: Connection, merchant_id: str, terms: Terms, labels: Sequence[str], *, livemode: bool, series: str
) -> list[sa.Row[Any]]:
    """Make a code for each label, in their order; all or none.  A step.  Raises InvalidRequest."""
    if not 1 <= len(labels) <= SERIES_MAX or len(set(labels)) < len(labels):
        raise InvalidRequest(f"a series has 1 to {SERIES_MAX} different labels", param="last")
    if terms.label_kind is None:
        raise InvalidRequest("say what the codes of a series stand at", param="label_kind")
    if not 1 <= len(series.strip()) <= NAME_CHARS_MAX or not LINE.fullmatch(series):
        raise InvalidRequest(f"a series has a name of 1 to {NAME_CHARS_MAX} characters", param="series")
    each = [replace(terms, label_text=label) for label in labels]
    named = {"series_id": new_id("qs"), "series": series.strip()}
    return _store(tx, merchant_id, each, livemode, **named)


def change_code(
    tx: Connection,
    merchant_id: str,
    code_id: str,
    changes: Mapping[str, Any],
    *,
    livemode: bool,
    active: bool | None = None,
) -> sa.Row[Any]:
    """Change some of a code's terms, by their names, and whether it is open.  A step.

    What hangs on the wall asks for the new terms from the next scan on; payments begun go on under the old
    ones.  What has changed is told; nothing is when nothing has.  Raises NotFound, InvalidRequest.
    """
    mine = _own(merchant_id, code_id, livemode)
    row = tx.execute(sa.select(*_codes.c).where(*mine).with_for_update()).first()
    if row is None:
        raise NotFound("no such code")
    terms = replace(Terms.of(row), **changes)
    if terms.store_id is not None and terms.store_id != row.store_id:
        check_store(tx, merchant_id, terms.store_id, livemode=livemode)
    now = moment(tx)
    values = terms.values()
    told = [types.QR_CODE_UPDATED] if terms != Terms.of(row) else []
    if active is not None and active != (row.disabled_at is None):
        # A sign that is taken down or put up again is judged anew by how often it is scanned.
        values |= {"disabled_at": None if active else now, "quiet_since": None}
        told.append(types.QR_CODE_ENABLED if active else types.QR_CODE_DISABLED)
    tx.execute(sa.update(_codes).where(*mine).values(values | {"updated_at": now}))
    changed = tx.execute(JOINED.where(*mine)).one()
    tell(tx, changed, *told)
    return changed


def tell(tx: Connection, row: sa.Row[Any], *event_types: str) -> None:
    """Tell of a code whose row this transaction has locked, so that no number is used twice.  A step."""
    if not event_types:
        return
    shown = code_json(row, count_in(tx, row.merchant_id, [row.id]).get(row.id, Counts()))
    last = tx.execute(
        sa.select(sa.func.max(_events.c.sequence)).where(
            _events.c.merchant_id == row.merchant_id, _events.c.object_id == row.id
        )
    ).scalar()
    first = (last or 0) + 1
    emit(tx, *[_fact(row, name, number, shown) for number, name in enumerate(event_types, first)])


def set_active(merchant_id: str, code_id: str, *, livemode: bool, active: bool) -> None:
    """Disable a code, or enable it again; twice is harmless.  Raises NotFound."""
    with transaction() as tx:
        change_code(tx, merchant_id, code_id, {}, livemode=livemode, active=active)


def find(merchant_id: str, code_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """A merchant's code, with ``store_name`` and ``store_address``.

    Raises NotFound, for another merchant's or mode's code too.
    """
    with reading() as connection:
        row = connection.execute(
            JOINED.where(_codes.c.merchant_id == merchant_id, _codes.c.id == code_id[:64])
        ).first()
    if row is None or (livemode is not None and row.livemode != livemode):
        raise NotFound("no such code")
    return row


def in_series(merchant_id: str, series_id: str, *, livemode: bool | None = None) -> list[sa.Row[Any]]:
    """The codes of a series that are not disabled, in the order of their numbers."""
    query = JOINED.where(
        _codes.c.merchant_id == merchant_id,
        _codes.c.series_id == series_id[:64],
        _codes.c.disabled_at.is_(None),
    )
    with reading() as connection:
        rows = list(connection.execute(query.order_by(_codes.c.id).limit(SERIES_MAX)))
    return [row for row in rows if livemode is None or row.livemode == livemode]


def find_by_letters(merchant_id: str, letters: str) -> str | None:
    """The id of the merchant's code that has these letters below its symbol."""
    query = sa.select(_codes.c.id).where(_codes.c.code == letters, _codes.c.merchant_id == merchant_id)
    with reading() as connection:
        found: str | None = connection.execute(query).scalar()
    return found


def has_code(merchant_id: str, *, livemode: bool) -> bool:
    """Whether any code was ever made in this mode."""
    query = sa.select(_codes.c.id).where(_codes.c.merchant_id == merchant_id, _codes.c.livemode == livemode)
    with reading() as connection:
        return connection.execute(query.limit(1)).first() is not None


def find_many(merchant_id: str, code_ids: Sequence[str]) -> list[sa.Row[Any]]:
    """Those of these codes that are the merchant's."""
    query = JOINED.where(_codes.c.merchant_id == merchant_id, is_among(_codes.c.id, "code_ids"))
    with reading() as connection:
        return list(connection.execute(query, {"code_ids": list(code_ids)}))


def counts_of(merchant_id: str, code_ids: Sequence[str]) -> dict[str, Counts]:
    """What came of each code so far; codes at which nothing was begun are missing."""
    with reading() as connection:
        return count_in(connection, merchant_id, code_ids)


def count_in(connection: Connection, merchant_id: str, code_ids: Sequence[str]) -> dict[str, Counts]:
    """The same by a connection that is open already."""
    rows = connection.execute(_COUNT, {"merchant_id": merchant_id, "code_ids": list(code_ids)})
    return {row[0]: Counts(row[1], int(row[2]), int(row[3])) for row in rows}


def _store(
    tx: Connection, merchant_id: str, many: Sequence[Terms], livemode: bool, **more: Any
) -> list[sa.Row[Any]]:
    if many[0].store_id is not None:
        check_store(tx, merchant_id, many[0].store_id, livemode=livemode)
    now = moment(tx)
    always = {"merchant_id": merchant_id, "livemode": livemode, "series_id": None, "series": None, **more}
    always |= {"created_at": now, "updated_at": now, "scans": 0}
    rows = [{**terms.values(), **always, "id": new_id("qr"), "code": new_code()} for terms in many]
    tx.execute(sa.insert(_codes), rows)
    ids = {"code_ids": [row["id"] for row in rows]}
    mine = JOINED.where(_codes.c.merchant_id == merchant_id, is_among(_codes.c.id, "code_ids"))
    made = list(tx.execute(mine.order_by(_codes.c.id), ids))
    emit(tx, *[_fact(row, types.QR_CODE_CREATED, 1, code_json(row, Counts())) for row in made])
    return made


def _fact(row: sa.Row[Any], event_type: str, sequence: int, shown: Mapping[str, Any]) -> Fact:
    return Fact(row.merchant_id, row.livemode, event_type, row.id, sequence, shown)


def _own(merchant_id: str, code_id: str, livemode: bool) -> list[sa.ColumnElement[bool]]:
    return [
        _codes.c.merchant_id == merchant_id,
        _codes.c.id == code_id[:64],
        _codes.c.livemode == livemode,
    ]


_COUNT = (
    sa.select(
        _charges.c.qr_code_id,
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(sa.case((_charges.c.state == ChargeState.PAID, 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(_charges.c.paid_minor), 0),
    )
    .where(_charges.c.merchant_id == sa.bindparam("merchant_id"), is_among(_charges.c.qr_code_id, "code_ids"))
    .group_by(_charges.c.qr_code_id)
)
