"""When which bill is gone through: each account's days in their turn, the morning after.

A bill that is not there yet is asked for again; one that leaves questions open is gone through again.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from app import clock, queue
from app.charges import incidents
from app.charges.outcomes import is_fault
from app.db import moment, reading, table_of, transaction
from app.errors import Conflict, ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.merchants.models import ProviderAccount
from app.providers import REGISTRY
from app.providers.base import Ability
from app.queue import Claim, Kind
from app.reconciliation import days
from app.reconciliation.reconcile import give_up, open_day, reconcile
from app.reconciliation.states import DayState

log = structlog.get_logger(__name__)

RETRY = timedelta(minutes=30)
# A day without trades has no bill at all, which no provider tells apart from one that is not there yet.
WAIT_FOR_BILL = timedelta(days=1)
WAIT_FOR_ANSWERS = timedelta(days=3)
# A slice takes seconds, but for a provider that is slow to answer some hundred questions.
LEASE = timedelta(hours=1)

_accounts = table_of(ProviderAccount)


class LeaseLost(Exception):
    """Another worker has the day now."""


def schedule() -> None:
    """Have the next bill of every account gone through that is over and was not.

    Called every hour: one bill at a time, each day's in its turn, also after a week's rest.
    """
    with reading() as connection:
        rows = connection.execute(
            sa.select(
                _accounts.c.merchant_id,
                _accounts.c.id,
                _accounts.c.provider,
                _accounts.c.created_at,
                _accounts.c.bills_read_to,
            ).where(_accounts.c.enabled.is_(True))
        ).all()
        today = clock.day_of(moment(connection))
    for row in rows:
        day = _next_day(row)
        if day < today and Ability.STATEMENT in REGISTRY[row.provider].info.abilities:
            with transaction() as tx:
                queue.put_once(tx, Kind.BILL, row.merchant_id, subject_of(row.id, day), days.ready_at(day))


def hasten(merchant_id: str, account_id: str, day: date) -> None:
    """Have a day gone through now: somebody has brought its bill, or wants it read again."""
    open_day(accounts.open_account(account_id), day)
    with transaction() as tx:
        now, subject = moment(tx), subject_of(account_id, day)
        if not queue.put_once(tx, Kind.BILL, merchant_id, subject, now):
            queue.hasten(tx, Kind.BILL, merchant_id, subject, now)


def follow(claim: Claim) -> None:
    """Go through one bill; put the job back while it is not there yet, or leaves questions open."""
    account_id, _, digits = claim.subject_id.partition(":")
    day = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    patience, is_missing = WAIT_FOR_ANSWERS, False
    try:
        _hold(claim)
        is_done = reconcile(account_id, day, hold=lambda: _hold(claim)).tally.unanswered == 0
    except LeaseLost:
        return
    except ProviderRejected as refusal:
        log.info("no bill", account_id=account_id, day=digits, code=refusal.provider_code)
        is_done, is_missing = False, is_fault(accounts.open_account(account_id).provider.info, refusal)
        if not is_missing:  # then it says nothing of the day: of a lapsed token, a key, a right
            patience = WAIT_FOR_BILL
    except (ProviderUnreachable, Conflict) as trouble:
        log.warning("bill not read", account_id=account_id, day=digits, detail=trouble.detail)
        is_done, is_missing = False, True
    with transaction() as tx:
        now = moment(tx)
        if not is_done and now < days.ready_at(day) + patience:
            queue.put_back(tx, claim, now + RETRY)
            return
    is_missing |= not is_done and give_up(account_id, day) is DayState.MISSING
    _finish(claim, account_id, day, is_missing=is_missing)


def subject_of(account_id: str, day: date) -> str:
    """What the job of a bill is called, so that there is one.  Pure."""
    return f"{account_id}:{day:%Y%m%d}"


def _hold(claim: Claim) -> None:
    with transaction() as tx:
        if not queue.extend(tx, claim, moment(tx) + LEASE):
            raise LeaseLost


def _finish(claim: Claim, account_id: str, day: date, *, is_missing: bool) -> None:
    with transaction() as tx:
        if not queue.finish(tx, claim):
            return
        # A day of long ago that somebody had gone through again is no reason to go back.
        later = sa.or_(_accounts.c.bills_read_to.is_(None), _accounts.c.bills_read_to < day)
        tx.execute(
            sa.update(_accounts)
            .where(_accounts.c.merchant_id == claim.merchant_id, _accounts.c.id == account_id, later)
            .values(bills_read_to=day)
        )
        if is_missing:
            incidents.raise_incident(
                tx,
                claim.merchant_id,
                kind="bill_unread",
                subject_id=claim.subject_id,
                charge_id=None,
                detail=f"the bill of {day} could not be fetched or read: upload it by hand",
            )


def _next_day(row: Any) -> date:
    if row.bills_read_to is not None:
        return date.fromordinal(row.bills_read_to.toordinal() + 1)
    return clock.day_of(row.created_at)
