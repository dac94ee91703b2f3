"""What rules about payments count, read from the books as they stand: one statement for each question.

Of a day counts what was paid since its beginning and what may still be paid: a charge with an open attempt.
Of a window counts what was begun in it.  A charge counts once, and the one that is asked for not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.commands import AT_CODE_S, EXPIRES_IN_S_MAX
from app.charges.models import Attempt, Charge
from app.db import UTCDateTime, table_of
from app.merchants.risk import Ask, Count, Counter, Tally

# What is paid today was made, and begun, at most so long ago.  Nobody asks about an attempt for longer.
LOOK_BACK = timedelta(seconds=EXPIRES_IN_S_MAX, days=1)
# The same of amounts that shoppers type, which they do at printed codes alone.
TYPED_LOOK_BACK = timedelta(seconds=AT_CODE_S)

_charges, _attempts = table_of(Charge), table_of(Attempt)
_of_charge = sa.and_(
    _attempts.c.merchant_id == _charges.c.merchant_id, _attempts.c.charge_id == _charges.c.id
)
# Literals, because a partial index serves a condition only if it is seen to be the index's own.
_IS_OPEN = _attempts.c.state == sa.literal_column("'started'")
_IS_PAID = _charges.c.state == sa.literal_column("'paid'")
_SINCE = sa.bindparam("since", type_=UTCDateTime())
_BEFORE = sa.bindparam("before", type_=UTCDateTime())
_MINE = (
    _charges.c.merchant_id == sa.bindparam("merchant_id"),
    _charges.c.livemode == sa.bindparam("livemode"),
    _charges.c.currency == sa.bindparam("currency"),
    _charges.c.id != sa.bindparam("charge_id"),
)
_NOTHING: sa.ColumnElement[Any] = sa.literal_column("0")
_KEY: sa.BindParameter[str] = sa.bindparam("key")


def counter(tx: Connection, merchant_id: str, charge_id: str, *, livemode: bool) -> Counter:
    """Answers what a rule asks about everything but this charge.  Each question is a step."""
    own = {"merchant_id": merchant_id, "livemode": livemode, "charge_id": charge_id}

    def count(ask: Ask) -> Tally:
        params: dict[str, Any] = {**own, "since": ask.since, "currency": ask.currency}
        if ask.of is Count.AMOUNTS:
            params |= {"low": ask.low_minor, "high": ask.high_minor, "step": ask.step_minor}
            params["before"] = ask.since - TYPED_LOOK_BACK
        elif ask.of is not Count.DAY:
            params["key"] = ask.key
        if ask.of in (Count.CODE_DAY, Count.PAYER_DAY):
            params["before"] = ask.since - LOOK_BACK
        row = tx.execute(_STATEMENTS[ask.of], params).one()
        return Tally(int(row[0]), int(row[1]))

    return count


def _of_day(
    paid: sa.Select[Any],
    *,
    of_charge: Sequence[sa.ColumnElement[bool]] = (),
    of_attempt: Sequence[sa.ColumnElement[bool]] = (),
) -> sa.Select[Any]:
    """Paid since then, or open now: in one statement, so that what is just being paid is not missed."""
    amount = (_charges.c.id, _charges.c.amount_minor)
    paid = paid.with_only_columns(*amount).where(*_MINE, _charges.c.paid_at >= _SINCE)
    tried = sa.select(_attempts.c.charge_id).where(
        _attempts.c.merchant_id == sa.bindparam("merchant_id"), _IS_OPEN, *of_attempt
    )
    is_open = sa.select(*amount).where(
        _charges.c.id.in_(tried), *_MINE, _charges.c.paid_at.is_(None), *of_charge
    )
    both = sa.union_all(paid, is_open).subquery()
    return sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(both.c.amount_minor), 0)).select_from(both)


def _of_window(name: str) -> sa.Select[Any]:
    query: sa.Select[Any] = sa.select(sa.func.count(sa.distinct(_charges.c.id)), _NOTHING)
    return query.join(_attempts, _of_charge).where(
        _attempts.c.merchant_id == sa.bindparam("merchant_id"),
        _attempts.c[name] == _KEY,
        _attempts.c.started_at > _SINCE,
        _charges.c.amount_by_shopper,
        *_MINE,
    )


_STATEMENTS = {
    Count.DAY: _of_day(sa.select(_charges)),
    Count.CODE_DAY: _of_day(
        sa.select(_charges).where(_charges.c.qr_code_id == _KEY, _IS_PAID, _charges.c.created_at >= _BEFORE),
        of_charge=[_charges.c.qr_code_id == _KEY],
    ),
    Count.PAYER_DAY: _of_day(
        sa.select(_charges)
        .join(_attempts, _of_charge)
        .where(
            _attempts.c.merchant_id == sa.bindparam("merchant_id"),
            _attempts.c.payer_key == _KEY,
            _attempts.c.started_at >= _BEFORE,
            _attempts.c.settles,
        ),
        of_attempt=[_attempts.c.payer_key == _KEY],
    ),
    Count.ADDRESS: _of_window("address_key"),
    Count.DEVICE: _of_window("device_key"),
    Count.AMOUNTS: sa.select(sa.func.count(), sa.literal_column("0")).where(
        _charges.c.amount_by_shopper,
        _charges.c.created_at > _BEFORE,
        # Not the bare column, whose index has all the amounts there ever were.
        (_charges.c.amount_minor + sa.literal_column("0")).between(sa.bindparam("low"), sa.bindparam("high")),
        _charges.c.amount_minor % sa.bindparam("step", type_=sa.BigInteger()) == 0,
        *_MINE,
        sa.exists().where(_of_charge, _attempts.c.started_at > _SINCE),
    ),
}
