"""When a busy code goes quiet: somebody may have pasted their own over it, or it has fallen off the wall.

The rule knows nothing of opening hours; it reads them off the scans.  What is usual for an hour is what
the same hour of the same weekday had in the four weeks before, and an hour counts only if it had scans in
three of the four.  From the last scan on, what would have been usual is added up; when TOO_MANY scans
should have come and none has, the code is called quiet until it is scanned again.

Were scans independent, twelve would do; but they come in parties, and a rainy Tuesday is no sunny one.
Forty codes that lived five weeks each by such chances (tests/codes/test_quiet.py) made 32 false alarms at
12, seven at 15, one at 18 and none at 20, which finds a code of 100 scans a day covered for three hours.
A holiday on a working day is taken for an alarm, once: a person answers that faster than any table.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import queue
from app.codes.codes import JOINED, tell
from app.codes.models import QRCode, ScanHour
from app.codes.terms import Standing, standing_of
from app.db import moment, reading, table_of, transaction
from app.errors import Conflict, NotFound
from app.queue import Claim
from app.webhooks import types

WEEKS = 4
WEEKS_WITH_SCANS = 3
TOO_MANY = 20.0
LOOK_EVERY = timedelta(minutes=15)
# Beyond a week of silence the weeks before would be silent themselves.
LOOK_BACK = timedelta(days=7)
_HOUR, _WEEK = timedelta(hours=1), timedelta(days=7)

log = structlog.get_logger(__name__)
_codes, _hours = table_of(QRCode), table_of(ScanHour)


def missed_since(silent_since: datetime, now: datetime, scans: Mapping[datetime, int]) -> float:
    """How many scans would have been usual between these times.  Pure.

    ``scans`` are counts by the beginning of their hour, of the five weeks before ``now``.
    """
    since = max(silent_since, now - LOOK_BACK)
    hour, missed = since.replace(minute=0, second=0, microsecond=0), 0.0
    while hour < now:
        usual = [scans.get(hour - weeks * _WEEK, 0) for weeks in range(1, WEEKS + 1)]
        if sum(count > 0 for count in usual) >= WEEKS_WITH_SCANS:
            share = (min(now, hour + _HOUR) - max(since, hour)) / _HOUR
            missed += share * sum(usual) / WEEKS
        hour += _HOUR
    return missed


def watch(claim: Claim) -> None:
    """Look at all codes of a merchant that hang somewhere, and come again while there are any."""
    with reading() as connection:
        now = moment(connection)
        watched = _watched(connection, claim.merchant_id, now)
        quiet = [row for row in watched if _is_quiet(connection, row, now)]
    with transaction() as tx:
        for row in quiet:
            _call_quiet(tx, row)
        if watched:
            queue.put_back(tx, claim, moment(tx) + LOOK_EVERY)
        else:
            queue.finish(tx, claim)


def _watched(connection: Connection, merchant_id: str, now: datetime) -> list[sa.Row[Any]]:
    """Codes that were scanned in the last weeks and are not yet called quiet."""
    query: sa.Select[Any] = sa.select(
        _codes.c.merchant_id,
        _codes.c.id,
        _codes.c.disabled_at,
        _codes.c.valid_from,
        _codes.c.valid_until,
        _codes.c.updated_at,
        _codes.c.last_scan_at,
    ).where(
        _codes.c.merchant_id == merchant_id,
        _codes.c.quiet_since.is_(None),
        _codes.c.last_scan_at > now - LOOK_BACK - WEEKS * _WEEK,
    )
    rows = connection.execute(query)
    return [row for row in rows if standing_of(row, now) is Standing.ACTIVE]


def _is_quiet(connection: Connection, row: sa.Row[Any], now: datetime) -> bool:
    # Silence while a sign was taken down, or under another price, says nothing.
    since = max(row.last_scan_at, row.updated_at, row.valid_from or row.last_scan_at)
    if now - since < LOOK_EVERY:
        return False
    hours = connection.execute(
        sa.select(_hours.c.hour, _hours.c.scans).where(
            _hours.c.merchant_id == row.merchant_id,
            _hours.c.code_id == row.id,
            _hours.c.hour >= max(since, now - LOOK_BACK) - WEEKS * _WEEK - _HOUR,
        )
    )
    by_hour = {each.hour: each.scans for each in hours}
    return missed_since(since, now, by_hour) >= TOO_MANY


def go_quiet(tx: Connection, merchant_id: str, code_id: str) -> sa.Row[Any]:
    """Call a code of test mode quiet, as after a busy month; its row.  A step.  Raises NotFound, Conflict."""
    mine = (_codes.c.merchant_id == merchant_id, _codes.c.id == code_id[:64], _codes.c.livemode.is_(False))
    called = tx.execute(
        sa.update(_codes)
        .where(*mine, _codes.c.disabled_at.is_(None))
        .values(quiet_since=sa.func.coalesce(_codes.c.last_scan_at, _codes.c.created_at))
    )
    row = tx.execute(JOINED.where(*mine)).first()
    if row is None:
        raise NotFound("no such code")
    if called.rowcount == 0:
        raise Conflict("this code is disabled: nobody expects it to be scanned", code="code_disabled")
    tell(tx, row, types.QR_CODE_QUIET)
    return row


def _call_quiet(tx: Connection, row: sa.Row[Any]) -> None:
    """A step.  Not if it was scanned meanwhile."""
    called = tx.execute(
        sa.update(_codes)
        .where(
            _codes.c.merchant_id == row.merchant_id,
            _codes.c.id == row.id,
            _codes.c.last_scan_at == row.last_scan_at,
        )
        .values(quiet_since=row.last_scan_at)
    )
    if called.rowcount:
        mine = JOINED.where(_codes.c.merchant_id == row.merchant_id, _codes.c.id == row.id)
        tell(tx, tx.execute(mine).one(), types.QR_CODE_QUIET)
        log.warning("a code has gone quiet", code_id=row.id)
