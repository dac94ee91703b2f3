"""The life of a charge as its merchant sees it: made, found, listed, canceled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import result_tuple

from app import queue
from app.charges import attempts
from app.charges.commands import NewCharge
from app.charges.models import Charge
from app.charges.present import charge_fact
from app.charges.states import ChargeState, move
from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.errors import BadLink, Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants.models import Merchant
from app.merchants.stores import check_store
from app.qr.links import LinkFacts, parse_token
from app.queue import Kind
from app.runtime import runtime
from app.webhooks import types
from app.webhooks.outbox import emit

LIST_LIMIT_MAX = 100
# A shopper may press Pay just as a charge is withdrawn; one who does so again and again is paying.
CANCEL_TRIES_MAX = 3

_charges, _merchants = table_of(Charge), table_of(Merchant)
_FIND = sa.select(*_charges.c).where(
    _charges.c.merchant_id == sa.bindparam("merchant_id"), _charges.c.id == sa.bindparam("charge_id")
)
_FIND_PUBLIC = (
    sa.select(
        *_charges.c,
        _merchants.c.name.label("merchant_name"),
        _merchants.c.language.label("merchant_language"),
    )
    .join(_merchants, _merchants.c.id == _charges.c.merchant_id)
    .where(_charges.c.id == sa.bindparam("charge_id"))
)
_NEXT_SEQUENCE = _charges.c.sequence + 1
_COLUMNS = _charges.c.keys()
_row = result_tuple(_COLUMNS)


@dataclass(frozen=True, slots=True)
class ChargeFilter:
    """What a list is narrowed to.  ``before`` and ``after`` are ids: a page's cursor."""

    status: ChargeState | None = None
    merchant_order_no: str | None = None
    qr_code_id: str | None = None
    store_id: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    starting_after: str | None = None  # older than this one
    ending_before: str | None = None  # newer than this one
    limit: int = 10


def open_charge(merchant_id: str, *, livemode: bool, new: NewCharge) -> sa.Row[Any]:
    """Make a charge in a transaction of its own: see ``create_charge``."""
    with transaction() as tx:
        return create_charge(tx, merchant_id, livemode=livemode, new=new)


def create_charge(tx: Connection, merchant_id: str, *, livemode: bool, new: NewCharge) -> sa.Row[Any]:
    """Make a charge, its deadline and its ``charge.created`` event.  A step.

    The same order number with the same content returns the charge made before; with other content
    it raises Conflict.  Raises InvalidRequest if there is no such store.
    """
    if new.store_id is not None and new.qr_code_id is None:  # a code's was checked when it was hung there
        check_store(tx, merchant_id, new.store_id, livemode=livemode)
    now = moment(tx)
    values = {
        "merchant_id": merchant_id,
        "id": new_id("ch"),
        "livemode": livemode,
        "state": ChargeState.PENDING,
        "amount_minor": new.amount.minor,
        "currency": new.amount.currency,
        "description": new.description.strip(),
        "merchant_order_no": new.merchant_order_no,
        "metadata": new.metadata,
        "return_url": new.return_url,
        "qr_code_id": new.qr_code_id,
        "amount_by_shopper": new.amount_by_shopper,
        "taken_by": new.taken_by,
        "shift_id": new.shift_id,
        "store_id": new.store_id,
        "topup_id": new.topup_id,
        "created_at": now,
        "expires_at": now + timedelta(seconds=new.expires_in_s),
        "paid_late": False,
        "refunded_minor": 0,
        "sequence": 1,
    }
    if tx.execute(insert_or_skip(tx, _charges), values).rowcount == 0:
        return _the_one_before(tx, merchant_id, livemode, new)
    # What is stored is known: reading it back would double the time of the INSERT.
    charge = _row([values.get(name) for name in _COLUMNS])
    queue.put(tx, Kind.EXPIRE, merchant_id, charge.id, charge.expires_at)
    emit(tx, charge_fact(types.CHARGE_CREATED, charge))
    return charge


def find(merchant_id: str, charge_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """A merchant's charge.  Raises NotFound, for another merchant's or mode's charge too."""
    with reading() as connection:
        charge = connection.execute(_FIND, {"merchant_id": merchant_id, "charge_id": charge_id[:64]}).first()
    if charge is None or (livemode is not None and charge.livemode != livemode):
        raise NotFound("no such charge")
    return charge


def find_public(token: str) -> Any:
    """The charge that a payment link opens, with ``merchant_name`` and ``merchant_language``.

    Raises BadLink, in the same words for an unknown charge and for a signature that does not fit
    the charge, its merchant, its amount or its currency.
    """
    claimed = parse_token(token)
    with reading() as connection:
        charge = connection.execute(_FIND_PUBLIC, {"charge_id": claimed.charge_id}).first()
    if charge is None or not runtime().charge_links.is_genuine(
        claimed, LinkFacts(charge.id, charge.merchant_id, charge.amount_minor, charge.currency)
    ):
        raise BadLink("this link does not open a charge")
    return charge


def list_charges(merchant_id: str, *, livemode: bool, wanted: ChargeFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more.  Raises InvalidRequest for a bad cursor."""
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "ch"):
            raise InvalidRequest("a cursor is the id of a charge", param=name)
    backwards = wanted.ending_before is not None
    query = (
        sa.select(*_charges.c)
        .where(_charges.c.merchant_id == merchant_id, _charges.c.livemode == livemode, *_conditions(wanted))
        .order_by(_charges.c.id.asc() if backwards else _charges.c.id.desc())
        .limit(wanted.limit + 1)
    )
    with reading() as connection:
        rows = list(connection.execute(query))
    page = rows[: wanted.limit]
    return (page[::-1] if backwards else page), len(rows) > wanted.limit


def cancel_charge(merchant_id: str, charge_id: str, *, livemode: bool | None = None) -> sa.Row[Any]:
    """Withdraw an unpaid charge; canceling twice is harmless.

    Each open attempt is closed at its provider and asked about first, so that "canceled" is never
    said of a charge that can still be paid there unnoticed.  Raises NotFound, Conflict (it is paid
    or expired, or shoppers keep beginning to pay it), ProviderUnreachable (try again: nothing is known).
    """
    charge = find(merchant_id, charge_id, livemode=livemode)
    if charge.state == ChargeState.PENDING:
        charge = _withdraw(merchant_id, charge_id) or find(merchant_id, charge_id)
    if charge.state != ChargeState.CANCELED:
        raise Conflict(f"the charge is {charge.state} and cannot be canceled", code=f"charge_{charge.state}")
    return charge


def close_charge(
    tx: Connection,
    merchant_id: str,
    charge_id: str,
    to: ChargeState,
    *,
    retired: frozenset[str] = frozenset(),
) -> sa.Row[Any] | None:
    """PENDING -> EXPIRED or CANCELED, with its event.  A step.  None if it was not pending any more.

    ``retired`` are the attempts that were closed at their providers just now.  Raises Conflict if another
    has begun meanwhile, of which nobody has asked.
    """
    charge = move(tx, _charges, merchant_id, charge_id, to, closed_at=moment(tx), sequence=_NEXT_SEQUENCE)
    if charge is None:
        return None
    # Whoever begins an attempt locks the charge first, and it is locked here: none is overlooked.
    if attempts.is_open_besides(tx, merchant_id, charge_id, retired):
        raise Conflict("somebody has just begun to pay: try again", code="charge_in_payment")
    queue.drop(tx, merchant_id, (Kind.EXPIRE, charge_id))
    emit(
        tx, charge_fact(types.CHARGE_EXPIRED if to == ChargeState.EXPIRED else types.CHARGE_CANCELED, charge)
    )
    return charge


def _withdraw(merchant_id: str, charge_id: str) -> sa.Row[Any] | None:
    """PENDING -> CANCELED, once every attempt is retired.  None if it was not pending any more."""
    for tries in range(1, CANCEL_TRIES_MAX + 1):
        retired = attempts.retire_all(merchant_id, charge_id)
        try:
            with transaction() as tx:
                return close_charge(tx, merchant_id, charge_id, ChargeState.CANCELED, retired=retired)
        except Conflict:
            if tries == CANCEL_TRIES_MAX:
                raise
    raise AssertionError("unreachable")


def _the_one_before(tx: Connection, merchant_id: str, livemode: bool, new: NewCharge) -> sa.Row[Any]:
    charge = tx.execute(
        sa.select(*_charges.c).where(
            _charges.c.merchant_id == merchant_id,
            _charges.c.livemode == livemode,
            _charges.c.merchant_order_no == new.merchant_order_no,
        )
    ).one()
    same = (
        charge.amount_minor == new.amount.minor
        and charge.currency == new.amount.currency
        and charge.description == new.description.strip()
        and charge.metadata == new.metadata
        and charge.return_url == new.return_url
        and charge.expires_at - charge.created_at == timedelta(seconds=new.expires_in_s)
        and charge.store_id == new.store_id
        and (charge.topup_id is None) == (new.topup_id is None)
    )
    if not same:
        raise Conflict(
            f"order number {new.merchant_order_no} belongs to {charge.id}, which has other content",
            code="merchant_order_no_taken",
        )
    return charge


def _conditions(wanted: ChargeFilter) -> list[sa.ColumnElement[bool]]:
    column = _charges.c
    conditions = []
    if wanted.status is not None:
        conditions.append(column.state == wanted.status)
    if wanted.merchant_order_no is not None:
        conditions.append(column.merchant_order_no == wanted.merchant_order_no)
    if wanted.qr_code_id is not None:
        conditions.append(column.qr_code_id == wanted.qr_code_id)
    if wanted.store_id is not None:
        conditions.append(column.store_id == wanted.store_id)
    if wanted.created_from is not None:
        conditions.append(column.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        conditions.append(column.created_at < wanted.created_before)
    if wanted.starting_after is not None:
        conditions.append(column.id < wanted.starting_after)
    if wanted.ending_before is not None:
        conditions.append(column.id > wanted.ending_before)
    return conditions
