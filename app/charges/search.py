"""Which charges the dashboard's list shows: its filters, its one search box, and its pages.

The list is ordered by time, newest first, and every way of narrowing it is the beginning of an index that
ends in that order: so a page costs the same whether it is the first or the last of a million.  What was
typed into the box may mean several things, each with an index of its own (an order number is an amount,
too): each is asked for a page, and the pages are merged.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.forms import amount_of
from app.charges.models import Attempt, Charge, Refund
from app.charges.states import ChargeState
from app.clock import start_of
from app.db import reading, table_of
from app.errors import BadLink, InvalidRequest
from app.ids import is_id
from app.merchants.models import ProviderAccount
from app.money import EXPONENTS
from app.providers import REGISTRY
from app.qr.short_code import parse_code

TEXT_CHARS_MAX = 64
FOUND_MAX = 20  # charges under one number: several accounts may have used the same

_charges, _attempts, _refunds = table_of(Charge), table_of(Attempt), table_of(Refund)
_accounts = table_of(ProviderAccount)
_NEWEST_FIRST = (_charges.c.created_at.desc(), _charges.c.id.desc())
_OLDEST_FIRST = (_charges.c.created_at.asc(), _charges.c.id.asc())
# Currencies by their number of minor digits: what was typed is read once for each number.
_CURRENCIES = {
    exponent: [currency for currency, digits in EXPONENTS.items() if digits == exponent]
    for exponent in set(EXPONENTS.values())
}

# (merchant, the letters below a symbol) -> the id of that printed code, if it is this merchant's.
FindCode = Callable[[str, str], str | None]
_code_finders: list[FindCode] = []


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the list is narrowed to.  Days are the merchant's, in Beijing, both included."""

    text: str = ""
    state: ChargeState | None = None
    provider: str | None = None
    store_id: str | None = None
    qr_code_id: str | None = None
    first_day: date | None = None
    last_day: date | None = None

    @property
    def is_narrowed(self) -> bool:
        return self != Wanted()

    def query(self) -> dict[str, str]:
        """The parameters of an address that say the same, in one order: ``{"status": "paid"}``."""
        named = {
            "q": self.text,
            "status": self.state,
            "provider": self.provider,
            "store": self.store_id,
            "code": self.qr_code_id,
            "from": self.first_day,
            "to": self.last_day,
        }
        return {name: str(value) for name, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Turn:
    """Which page: the first, or the one that begins after or ends before a charge's id."""

    limit: int
    after: str | None = None  # older than this one
    before: str | None = None  # newer than this one


def teach(find_code: FindCode) -> None:
    """Let the wiring say who knows printed codes, which live on a floor above this one."""
    _code_finders[:] = [find_code]


def read_wanted(fields: Mapping[str, str]) -> Wanted:
    """The filters in an address.  What makes no sense narrows nothing.  Pure."""
    state, provider = fields.get("status", ""), fields.get("provider", "")
    first, last = _day_of(fields.get("from", "")), _day_of(fields.get("to", ""))
    return Wanted(
        text=_plain(fields.get("q", "")),
        state=ChargeState(state) if state in set(ChargeState) else None,
        provider=provider if provider in REGISTRY else None,
        store_id=_plain(fields.get("store", "")) or None,
        qr_code_id=_plain(fields.get("code", "")) or None,
        first_day=first,
        last_day=last,
    )


def page_of(
    merchant_id: str, *, livemode: bool, wanted: Wanted, turn: Turn
) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    backwards = turn.before is not None
    with reading() as connection:
        mine = [_charges.c.merchant_id == merchant_id, _charges.c.livemode == livemode, *_filters(wanted)]
        if turn.after is not None or turn.before is not None:
            mine.append(_beyond(connection, merchant_id, turn))
        pages = [
            connection.execute(
                sa.select(*_charges.c)
                .where(*mine, *meaning)
                .order_by(*(_OLDEST_FIRST if backwards else _NEWEST_FIRST))
                .limit(turn.limit + 1)
            ).all()
            for meaning in _meanings(connection, merchant_id, livemode, wanted.text)
        ]
    rows = _merged(pages, turn.limit + 1, backwards=backwards)
    page = rows[: turn.limit]
    return (page[::-1] if backwards else page), len(rows) > turn.limit


def walk(
    merchant_id: str, *, livemode: bool, wanted: Wanted, batch: int, limit: int
) -> Iterator[list[sa.Row[Any]]]:
    """All that is wanted, newest first, in batches; no statement lasts longer than one of them takes."""
    turn, has_more, count = Turn(batch), True, 0
    while has_more and count < limit:
        rows, has_more = page_of(merchant_id, livemode=livemode, wanted=wanted, turn=turn)
        if rows:
            yield rows[: limit - count]
            turn = replace(turn, after=rows[-1].id)
        count += len(rows)


def _filters(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    """Pure."""
    column = _charges.c
    named = {
        "state": wanted.state,
        "provider": wanted.provider,
        "store_id": wanted.store_id,
        "qr_code_id": wanted.qr_code_id,
    }
    conditions = [column[name] == value for name, value in named.items() if value is not None]
    if wanted.first_day is not None:
        conditions.append(column.created_at >= start_of(wanted.first_day))
    if wanted.last_day is not None:
        conditions.append(column.created_at < start_of(wanted.last_day + timedelta(days=1)))
    return conditions


def _beyond(connection: Connection, merchant_id: str, turn: Turn) -> sa.ColumnElement[bool]:
    """Raises InvalidRequest."""
    name, cursor = ("before", turn.before) if turn.before is not None else ("after", turn.after)
    found = None
    if cursor is not None and is_id(cursor, "ch"):
        found = connection.execute(
            sa.select(_charges.c.created_at, _charges.c.id).where(
                _charges.c.merchant_id == merchant_id, _charges.c.id == cursor
            )
        ).first()
    if found is None:
        raise InvalidRequest("a cursor is the id of a charge", param=name)
    here = sa.tuple_(_charges.c.created_at, _charges.c.id)
    there = sa.tuple_(
        sa.literal(found.created_at, _charges.c.created_at.type), sa.literal(found.id, _charges.c.id.type)
    )
    return here > there if turn.before is not None else here < there


def _meanings(
    connection: Connection, merchant_id: str, livemode: bool, text: str
) -> list[list[sa.ColumnElement[bool]]]:
    """What was typed, as conditions of which one is enough; without a text everything is meant."""
    if not text:
        return [[]]
    meanings: list[list[sa.ColumnElement[bool]]] = [[_charges.c.merchant_order_no == text]]
    ids = {text} if is_id(text, "ch") else _known_as(connection, merchant_id, livemode, text)
    if ids:
        meanings.append([_charges.c.id.in_(sorted(ids))])
    for currencies in _CURRENCIES.values():
        with suppress(InvalidRequest):
            minor = amount_of(text, currencies[0]).minor
            meanings.append([_charges.c.amount_minor == minor, _charges.c.currency.in_(currencies)])
    with suppress(BadLink):
        letters = parse_code(text)
        codes = [find_code(merchant_id, letters) for find_code in _code_finders]
        meanings += [[_charges.c.qr_code_id == code_id] for code_id in codes if code_id]
    return meanings


def _known_as(connection: Connection, merchant_id: str, livemode: bool, text: str) -> set[str]:
    """Charges of which a wallet, a bank or a refund speaks by this number."""
    params = {"merchant_id": merchant_id, "livemode": livemode, "text": text, "capitals": text.upper()}
    found: set[str] = set()
    for statement in (_BY_TRADE, _BY_PROVIDER_REF, _BY_REFUND, _BY_REFUND_NO):
        found.update(row.charge_id for row in connection.execute(statement, params) if row.charge_id)
    return found


_OWN_ACCOUNTS = sa.select(_accounts.c.id).where(
    _accounts.c.merchant_id == sa.bindparam("merchant_id"), _accounts.c.livemode == sa.bindparam("livemode")
)
# An attempt belongs to its account's merchant.  Said once more, it would lead SQLite to an index of that
# merchant's attempts, all of which it would then read.
_OF_ATTEMPT = (
    sa.select(_attempts.c.charge_id).where(_attempts.c.account_id.in_(_OWN_ACCOUNTS)).limit(FOUND_MAX)
)
_BY_TRADE = _OF_ATTEMPT.where(_attempts.c.out_trade_no == sa.bindparam("capitals"))
_BY_PROVIDER_REF = _OF_ATTEMPT.where(_attempts.c.provider_ref == sa.bindparam("text"))
_OF_REFUND = sa.select(_refunds.c.charge_id).where(_refunds.c.merchant_id == sa.bindparam("merchant_id"))
_BY_REFUND = _OF_REFUND.where(_refunds.c.id == sa.bindparam("text"))
_BY_REFUND_NO = _OF_REFUND.where(_refunds.c.out_refund_no == sa.bindparam("capitals"))


def _merged(pages: Sequence[Sequence[sa.Row[Any]]], limit: int, *, backwards: bool) -> list[sa.Row[Any]]:
    """The first rows of several ordered lists, each charge once.  Pure."""

    def place(row: sa.Row[Any]) -> tuple[Any, str]:
        return row.created_at, row.id

    if len(pages) == 1:
        return list(pages[0])
    seen: dict[str, sa.Row[Any]] = {}
    for row in heapq.merge(*pages, key=place, reverse=not backwards):
        seen.setdefault(row.id, row)
        if len(seen) == limit:
            break
    return list(islice(seen.values(), limit))


def _plain(text: str) -> str:
    """What can be looked for: one line, without what no keyboard types.  Pure."""
    return "".join([letter for letter in text if letter.isprintable()]).strip()[:TEXT_CHARS_MAX]


def _day_of(text: str) -> date | None:
    """``"2026-03-10"``; None for anything else, and for years no calendar of ours can count on from."""
    if len(text) != 10:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1970 <= day.year <= 9000 else None
