"""The ways of looking at the list of charges to which a person has given names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from app.charges.models import SavedView
from app.charges.search import Wanted
from app.db import moment, reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id

VIEWS_MAX = 20
NAME_CHARS_MAX = 40

_views = table_of(SavedView)


def list_views(merchant_id: str, user_id: str) -> Sequence[sa.Row[Any]]:
    """A person's views, by name."""
    query = sa.select(*_views.c).where(_views.c.merchant_id == merchant_id, _views.c.user_id == user_id)
    with reading() as connection:
        return connection.execute(query.order_by(_views.c.name).limit(VIEWS_MAX)).all()


def save_view(merchant_id: str, user_id: str, name: str, wanted: Wanted) -> None:
    """Keep these filters under a name; the same name again means the new filters.

    Raises InvalidRequest (no name, or nothing is narrowed) or Conflict (there are too many).
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidRequest(f"a name has 1 to {NAME_CHARS_MAX} characters", param="name")
    query = query_of(wanted)
    if not query:
        raise InvalidRequest("there is no filter to save", param="query")
    mine = [_views.c.merchant_id == merchant_id, _views.c.user_id == user_id]
    with transaction() as tx:
        changed = tx.execute(sa.update(_views).where(*mine, _views.c.name == name).values(query=query))
        if changed.rowcount:
            return
        if tx.execute(sa.select(sa.func.count()).where(*mine)).scalar_one() >= VIEWS_MAX:
            raise Conflict(f"a person has at most {VIEWS_MAX} views", code="too_many_views")
        row = {"merchant_id": merchant_id, "id": new_id("sv"), "user_id": user_id, "name": name}
        tx.execute(sa.insert(_views), {**row, "query": query, "created_at": moment(tx)})


def query_of(wanted: Wanted) -> str:
    """These filters as the query of an address, always in the same order.  Pure."""
    return urlencode(wanted.query())


def delete_view(merchant_id: str, user_id: str, view_id: str) -> None:
    """Raises NotFound, for a colleague's view, too."""
    gone = sa.delete(_views).where(
        _views.c.merchant_id == merchant_id, _views.c.user_id == user_id, _views.c.id == view_id[:64]
    )
    with transaction() as tx:
        if tx.execute(gone).rowcount == 0:
            raise NotFound("no such view")
