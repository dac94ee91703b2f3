"""One day of one account, from its bill to its proof.  Everything here may be cut short and begun again.

Slices of some hundred rows, each in a transaction of its own; the day's row knows how far it is.  Going
through a day again looks at what is not settled, and adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.ids import new_id
from app.merchants import accounts
from app.merchants.accounts import OpenAccount
from app.reconciliation import alone, days, files, items, lines, matching, news, proof
from app.reconciliation.matching import Tally
from app.reconciliation.models import BillRow, Discrepancy, Reconciliation
from app.reconciliation.states import DONE, DayState, ItemState

log = structlog.get_logger(__name__)

_days, _lines, _items = table_of(Reconciliation), table_of(BillRow), table_of(Discrepancy)


@dataclass(frozen=True, slots=True)
class Result:
    """How a day stands, and what this going through was good for."""

    state: DayState
    lines: int
    tally: Tally


def reconcile(account_id: str, day: date, *, hold: Callable[[], None] = lambda: None) -> Result:
    """Fetch a day's bill if none is stored, and hold it against our books.

    ``hold`` is called before each slice and raises where somebody else has the day.  Raises NotFound,
    ProviderRejected if there is no such bill (yet), ProviderUnreachable if it cannot be had or read, or
    Conflict (somebody else goes through it).
    """
    account = accounts.open_account(account_id)
    file = files.latest(account.merchant_id, account.id, day)
    if file is None:
        hold()
        content = account.provider.fetch_bill(day)
        stored = files.store(account, day, content)
        file = files.find(account.merchant_id, account.id, day, stored.sha256)
    run = _take(open_day(account, day), file, hold)
    count = lines.load(account, run, file, hold)
    tally = matching.match_lines(account, run, hold)
    alone.look_for_missing(account, run, hold)
    alone.cross_out_gone(run, hold)
    touched = _age(run) | _days_of(run)
    state = conclude(account, run)
    for each in sorted(touched - {day}):
        neighbour = find_day(account.merchant_id, account.id, each)
        if neighbour is not None and neighbour.state in DONE and neighbour.summary is not None:
            conclude(account, neighbour)
    log.info("reconciled", account_id=account.id, day=day.isoformat(), state=state, lines=count)
    return Result(state, count, tally)


def give_up(account_id: str, day: date) -> DayState:
    """There is no bill, and there will be none by itself: a day without trades, or one for a person."""
    account = accounts.open_account(account_id)
    run = open_day(account, day)
    if files.latest(account.merchant_id, account.id, day) is not None:
        return DayState(run.state)
    to = DayState.MISSING if alone.has_moves(account, day) else DayState.EMPTY
    _age(run)
    with transaction() as tx:
        _end(tx, run, to, None)
    return to


def open_day(account: OpenAccount, day: date) -> sa.Row[Any]:
    """The row of a day, made if there is none."""
    with transaction() as tx:
        tx.execute(
            insert_or_skip(tx, _days),
            {
                "merchant_id": account.merchant_id,
                "id": new_id("rec"),
                "account_id": account.id,
                "provider": account.provider.info.code,
                "livemode": account.livemode,
                "day": day,
                "state": DayState.WAITING,
                "lines_read": 0,
                "opened": 0,
                "asked": 0,
                "created_at": moment(tx),
                "sequence": 0,
            },
        )
    row = find_day(account.merchant_id, account.id, day)
    if row is None:
        raise RuntimeError(f"the day {day} of {account.id} is gone")
    return row


def find_day(merchant_id: str, account_id: str, day: date) -> sa.Row[Any] | None:
    """The row of a day, if there is one."""
    query = sa.select(*_days.c).where(
        _days.c.merchant_id == merchant_id, _days.c.account_id == account_id, _days.c.day == day
    )
    with reading() as connection:
        return connection.execute(query).first()


def conclude(account: OpenAccount, run: Any) -> DayState:
    """Sum a day up as it is now; its event goes out if that is news."""
    with reading() as connection:
        summary = proof.summary_of(connection, account, run.day)
        waiting = connection.execute(_waiting(run)).scalar_one()
    state = DayState.MATCHED if summary.is_proven and not waiting else DayState.DIFFERS
    with transaction() as tx:
        _end(tx, run, state, proof.stored(summary))
    return state


def _end(tx: Connection, run: Any, state: DayState, summary: dict[str, Any] | None) -> None:
    own = (_days.c.merchant_id == run.merchant_id, _days.c.id == run.id)
    before = tx.execute(sa.select(*_days.c).where(*own).with_for_update()).one()
    if before.finished_at is not None and (before.state, before.summary) == (state, summary):
        return
    row = tx.execute(
        sa.update(_days)
        .where(*own)
        .values(state=state, summary=summary, finished_at=moment(tx), sequence=_days.c.sequence + 1)
        .returning(*_days.c)
    ).one()
    news.tell_completed(tx, row)


def _take(run: Any, file: Any, hold: Callable[[], None]) -> sa.Row[Any]:
    """Make a file the day's own: the lines of another one go first, and nothing of it is counted twice."""
    own = (_days.c.merchant_id == run.merchant_id, _days.c.id == run.id)
    if run.file_id != file.id:
        with transaction() as tx:
            tx.execute(sa.update(_days).where(*own).values(file_id=None, lines_read=0))
        lines.clear(run, hold)
        with transaction() as tx:
            tx.execute(
                sa.update(_days)
                .where(*own, _days.c.file_id.is_(None))
                .values(file_id=file.id, lines_read=0, state=DayState.READING)
            )
    with reading() as connection:
        return connection.execute(sa.select(*_days.c).where(*own)).one()


def _age(run: Any) -> set[date]:
    """What has waited long enough for a neighbour's bill; the days that it is of."""
    until = run.day - timedelta(days=days.POOL_DAYS)
    with transaction() as tx:
        return items.age_pool(tx, run, until)


def _days_of(run: Any) -> set[date]:
    """Days of our books that a day's lines are about, besides its own."""
    query = (
        sa.select(_lines.c.here_day)
        .where(
            _lines.c.merchant_id == run.merchant_id,
            _lines.c.account_id == run.account_id,
            _lines.c.day == run.day,
            _lines.c.here_day != run.day,
        )
        .distinct()
    )
    mine = (_lines.c.merchant_id == run.merchant_id, _lines.c.account_id == run.account_id)
    # And days whose bill has what we booked on this one.
    other = sa.select(_lines.c.day).where(
        *mine, _lines.c.here_day == run.day, _lines.c.here_day != _lines.c.day
    )
    with reading() as connection:
        return set(connection.scalars(query)) | set(connection.scalars(other.distinct()))


def _waiting(run: Any) -> sa.Select[Any]:
    return sa.select(sa.func.count()).where(
        _items.c.merchant_id == run.merchant_id,
        _items.c.account_id == run.account_id,
        _items.c.day == run.day,
        _items.c.state == ItemState.OPEN,
    )
