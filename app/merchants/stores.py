"""A merchant's stores: where its printed codes hang and its tills stand.  What shoppers read of them can be
corrected any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import is_among, moment, reading, table_of
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants.keys import LINE_PATTERN
from app.merchants.models import Store

NAME_CHARS_MAX, ADDRESS_CHARS_MAX = 80, 120
STORES_MAX = 1_000  # a form lists them all

_LINE = re.compile(LINE_PATTERN)
_stores = table_of(Store)


@dataclass(frozen=True, slots=True)
class StoreTerms:
    """A store as shoppers read of it.  Building one checks it: raises InvalidRequest naming the field."""

    name: str
    address: str = ""

    def __post_init__(self) -> None:
        limits = (("name", self.name, 1, NAME_CHARS_MAX), ("address", self.address, 0, ADDRESS_CHARS_MAX))
        for param, text, least, most in limits:
            if not least <= len(text.strip()) <= most or not _LINE.fullmatch(text):
                raise InvalidRequest(f"has {least} to {most} characters on one line", param=param)


def add_store(tx: Connection, merchant_id: str, new: StoreTerms, *, livemode: bool) -> sa.Row[Any]:
    """A step.  Raises Conflict if there are too many."""
    mine = sa.select(sa.func.count()).where(
        _stores.c.merchant_id == merchant_id, _stores.c.livemode == livemode
    )
    if tx.execute(mine).scalar_one() >= STORES_MAX:
        raise Conflict(f"a merchant has at most {STORES_MAX} stores in a mode", code="too_many_stores")
    values = {
        "merchant_id": merchant_id,
        "id": new_id("st"),
        "livemode": livemode,
        "name": new.name.strip(),
        "address": new.address.strip(),
        "created_at": moment(tx),
    }
    return tx.execute(sa.insert(_stores).returning(*_stores.c), values).one()


def change_store(
    tx: Connection,
    merchant_id: str,
    store_id: str,
    *,
    livemode: bool,
    name: str | None = None,
    address: str | None = None,
) -> sa.Row[Any]:
    """Change what is given.  A step.  Raises NotFound, InvalidRequest."""
    mine = _own(merchant_id, store_id, livemode)
    found = tx.execute(sa.select(*_stores.c).where(*mine).with_for_update()).first()
    if found is None:
        raise NotFound("no such store")
    terms = StoreTerms(found.name if name is None else name, found.address if address is None else address)
    values = {"name": terms.name.strip(), "address": terms.address.strip()}
    return tx.execute(sa.update(_stores).where(*mine).values(values).returning(*_stores.c)).one()


def find_store(merchant_id: str, store_id: str, *, livemode: bool) -> sa.Row[Any]:
    """Raises NotFound, for another merchant's or mode's store too."""
    with reading() as connection:
        store = connection.execute(
            sa.select(*_stores.c).where(*_own(merchant_id, store_id, livemode))
        ).first()
    if store is None:
        raise NotFound("no such store")
    return store


def check_store(tx: Connection, merchant_id: str, store_id: str, *, livemode: bool) -> None:
    """Whether something may point at this store.  A step.  Raises InvalidRequest."""
    mine = sa.select(_stores.c.id).where(*_own(merchant_id, store_id, livemode))
    if not is_id(store_id, "st") or tx.execute(mine).first() is None:
        raise InvalidRequest("there is no such store in this mode", code="no_such_store", param="store")


def page_of_stores(
    merchant_id: str,
    *,
    livemode: bool,
    older_than: str | None = None,
    newer_than: str | None = None,
    limit: int = STORES_MAX,
) -> tuple[list[sa.Row[Any]], bool]:
    """Newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for cursor in (older_than, newer_than):
        if cursor is not None and not is_id(cursor, "st"):
            raise InvalidRequest("a cursor is the id of a store", param="starting_after")
    backwards = newer_than is not None
    query = sa.select(*_stores.c).where(_stores.c.merchant_id == merchant_id, _stores.c.livemode == livemode)
    if older_than is not None:
        query = query.where(_stores.c.id < older_than)
    if newer_than is not None:
        query = query.where(_stores.c.id > newer_than)
    order = _stores.c.id.asc() if backwards else _stores.c.id.desc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(limit + 1)))
    page = rows[:limit]
    return (page[::-1] if backwards else page), len(rows) > limit


def find_many(merchant_id: str, store_ids: Sequence[str]) -> list[sa.Row[Any]]:
    """Those of these stores that are the merchant's."""
    query = sa.select(*_stores.c).where(
        _stores.c.merchant_id == merchant_id, is_among(_stores.c.id, "store_ids")
    )
    with reading() as connection:
        return list(connection.execute(query, {"store_ids": list(store_ids)}))


def names_of(merchant_id: str, *, livemode: bool) -> dict[str, str]:
    """The name of every store in one mode, by its id."""
    query = sa.select(_stores.c.id, _stores.c.name).where(
        _stores.c.merchant_id == merchant_id, _stores.c.livemode == livemode
    )
    with reading() as connection:
        return {row.id: row.name for row in connection.execute(query.order_by(_stores.c.id))}


def _own(merchant_id: str, store_id: str, livemode: bool) -> list[sa.ColumnElement[bool]]:
    return [
        _stores.c.merchant_id == merchant_id,
        _stores.c.id == store_id[:64],
        _stores.c.livemode == livemode,
    ]
