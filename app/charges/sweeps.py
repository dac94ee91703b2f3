"""What the worker does when nobody calls: ask about open attempts, and end charges whose time is up.

A lost callback is made good here.  Every function handles one claimed job; a crash between its
steps leaves the job, which becomes due again when its lease ends.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import queue
from app.charges import attempts, lifecycle, reversal
from app.charges.settle import book
from app.charges.states import AttemptState, ChargeState
from app.db import moment, reading, transaction
from app.errors import Conflict, ProviderRejected, ProviderUnreachable
from app.providers.base import COUNTER, Outcome
from app.queue import Claim

log = structlog.get_logger(__name__)

# Fast while the shopper stands there, slow for the forgetful; the last gap repeats until the deadline.
QUERY_SCHEDULE = [timedelta(seconds=s) for s in (5, 5, 10, 20, 30, 60, 120, 300, 600)]
# After the deadline an attempt that was never closed is asked about this long, because late money is
# money: each time after as long again as has passed since, which makes about a dozen times.
WATCH_AFTER_END = timedelta(days=1)
FIRST_LATE_QUERY = timedelta(minutes=1)
RETRY_EXPIRY = timedelta(seconds=30)


def query_attempt(claim: Claim) -> None:
    """Ask the provider about one open attempt; put the job back while the answer is "not yet".

    An attempt whose charge has ended is closed at its provider as well, and so is one by a payment code that
    takes too long.  A day after the charge's
    deadline a provider that still says "not paid" is believed.
    """
    attempt = attempts.find_attempt(claim.merchant_id, claim.subject_id)
    charge = lifecycle.find(claim.merchant_id, attempt.charge_id)
    began_at = _now()
    given_up = charge.expires_at + WATCH_AFTER_END < began_at
    if attempt.state == AttemptState.STARTED:
        try:
            if charge.state == ChargeState.PENDING and not reversal.is_over(attempt, began_at):
                result = attempts.ask(attempt)
            else:
                result = attempts.retire(attempt)
        except (ProviderUnreachable, ProviderRejected) as error:
            log.warning("query failed", attempt_id=attempt.id, code=error.provider_code or error.code)
        else:
            if given_up and result.outcome == Outcome.PENDING:
                book(attempt.account_id, replace(result, outcome=Outcome.CLOSED))
    with transaction() as tx:
        if attempt.state == AttemptState.STARTED:
            now = moment(tx)
            # No effect if settling removed the job.
            queue.put_back(tx, claim, _next_look(tx, claim, charge, now))
        else:
            queue.finish(tx, claim)


def expire_charge(claim: Claim) -> None:
    """Close a charge past its deadline: close and ask at each provider first, then here.

    While a provider cannot be asked, the charge stays pending: "expired" is never a guess.  It is asked
    ever more seldom, each time after half as long again as has passed since the deadline: one that never
    answers again must not keep the worker from the others.
    """
    charge = lifecycle.find(claim.merchant_id, claim.subject_id)
    with transaction() as tx:
        if charge.state != ChargeState.PENDING:
            queue.finish(tx, claim)
            return
        if charge.expires_at > moment(tx):
            queue.put_back(tx, claim, charge.expires_at)
            return
    try:
        retired = attempts.retire_all(claim.merchant_id, claim.subject_id)
        with transaction() as tx:
            lifecycle.close_charge(
                tx, claim.merchant_id, claim.subject_id, ChargeState.EXPIRED, retired=retired
            )
            queue.finish(tx, claim)
    except (ProviderUnreachable, Conflict):
        log.warning("cannot expire yet", charge_id=charge.id)
        with transaction() as tx:
            now = moment(tx)
            queue.put_back(tx, claim, now + max((now - charge.expires_at) / 2, RETRY_EXPIRY))


def _now() -> datetime:
    # The database's clock: a worker whose own is fast must not give up on money that may still come.
    with reading() as connection:
        return moment(connection)


def _next_look(tx: Connection, claim: Claim, charge: sa.Row[Any], now: datetime) -> datetime:
    attempt = attempts.find_in(tx, claim.merchant_id, claim.subject_id)  # it may be given up since
    if attempt.scene == COUNTER:
        return reversal.next_look(attempt, now)
    return now + _gap(claim.tries, now - charge.expires_at)


def _gap(tries: int, since_deadline: timedelta) -> timedelta:
    if since_deadline > timedelta():
        return max(since_deadline, FIRST_LATE_QUERY)
    return QUERY_SCHEDULE[min(tries, len(QUERY_SCHEDULE)) - 1]
