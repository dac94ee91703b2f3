"""A merchant's printed codes in lists: narrowed, paged, by series, and as the API has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.codes import codes
from app.codes.codes import JOINED
from app.codes.models import QRCode
from app.codes.present import Counts, code_json
from app.codes.terms import Standing
from app.db import reading, table_of
from app.errors import BadLink, InvalidRequest
from app.ids import is_id
from app.qr.short_code import parse_code

SEARCH_CHARS_MAX = 80

_codes = table_of(QRCode)


@dataclass(frozen=True, slots=True)
class CodeFilter:
    """What a list is narrowed to.  ``text`` is a part of a name or label, or a whole code."""

    text: str = ""
    standing: Standing | None = None  # ACTIVE: not disabled; DISABLED
    store_id: str | None = None
    series_id: str | None = None
    quiet: bool = False
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


def list_codes(merchant_id: str, wanted: CodeFilter, *, livemode: bool) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "qr"):
            raise InvalidRequest("a cursor is the id of a printed code", param=name)
    backwards = wanted.ending_before is not None
    query = (
        JOINED.where(_codes.c.merchant_id == merchant_id, _codes.c.livemode == livemode, *_conditions(wanted))
        .order_by(_codes.c.id.asc() if backwards else _codes.c.id.desc())
        .limit(wanted.limit + 1)
    )
    with reading() as connection:
        rows = list(connection.execute(query))
    page = rows[: wanted.limit]
    return (page[::-1] if backwards else page), len(rows) > wanted.limit


def list_series(merchant_id: str, *, livemode: bool, limit: int = 100) -> list[sa.Row[Any]]:
    """The latest series, newest first: ``series_id``, ``series`` and ``size``."""
    query = (
        sa.select(_codes.c.series_id, _codes.c.series, sa.func.count().label("size"))
        .where(
            _codes.c.merchant_id == merchant_id,
            _codes.c.livemode == livemode,
            _codes.c.series_id.is_not(None),
        )
        .group_by(_codes.c.series_id, _codes.c.series)
        .order_by(_codes.c.series_id.desc())
        .limit(limit)
    )
    with reading() as connection:
        return list(connection.execute(query))


def list_quiet(merchant_id: str, *, livemode: bool, limit: int = 20) -> list[sa.Row[Any]]:
    """Codes that are not scanned any more although it is their usual time."""
    query = JOINED.where(
        _codes.c.merchant_id == merchant_id,
        _codes.c.livemode == livemode,
        _codes.c.quiet_since.is_not(None),
        _codes.c.disabled_at.is_(None),
    )
    with reading() as connection:
        return list(connection.execute(query.order_by(_codes.c.id).limit(limit)))


def codes_json(rows: Sequence[sa.Row[Any]]) -> list[dict[str, Any]]:
    """One merchant's codes with what came of them, by one statement for all."""
    if not rows:
        return []
    counts = codes.counts_of(rows[0].merchant_id, [row.id for row in rows])
    return [code_json(row, counts.get(row.id, Counts())) for row in rows]


def unfolded(merchant_id: str, code_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """These codes as the API has them, by id: for charges that are asked to unfold theirs."""
    return {shown["id"]: shown for shown in codes_json(codes.find_many(merchant_id, code_ids))}


def _conditions(wanted: CodeFilter) -> list[sa.ColumnElement[bool]]:
    column = _codes.c
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.text:
        conditions.append(_named_like(wanted.text[:SEARCH_CHARS_MAX]))
    if wanted.standing is Standing.DISABLED:
        conditions.append(column.disabled_at.is_not(None))
    elif wanted.standing is not None:
        conditions.append(column.disabled_at.is_(None))
    if wanted.store_id is not None:
        conditions.append(column.store_id == wanted.store_id)
    if wanted.series_id is not None:
        conditions.append(column.series_id == wanted.series_id)
    if wanted.quiet:
        conditions.append(column.quiet_since.is_not(None))
    if wanted.starting_after is not None:
        conditions.append(column.id < wanted.starting_after)
    if wanted.ending_before is not None:
        conditions.append(column.id > wanted.ending_before)
    return conditions


def _named_like(text: str) -> sa.ColumnElement[bool]:
    """A whole code as it is printed, or a part of a name or label."""
    try:
        return _codes.c.code == parse_code(text)
    except BadLink:
        return sa.or_(
            _codes.c.name.icontains(text, autoescape=True),
            _codes.c.label_text.icontains(text, autoescape=True),
        )
