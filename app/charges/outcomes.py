"""What trying to pay says of the account: noted, and told when payments leave it or return to it.

Only failures write, and the first payment after one; see ``merchants/health.py`` for when that is enough.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import queue
from app.charges import incidents
from app.clock import to_rfc3339
from app.db import moment, retried, table_of, transaction
from app.errors import NotFound, NumberTaken, ProviderError, ProviderRejected
from app.merchants import accounts, audit, health, trial
from app.merchants.accounts import OpenAccount
from app.merchants.actor import SERVER
from app.merchants.audit import Action
from app.merchants.models import ProviderAccount
from app.merchants.trial import Finding
from app.providers.base import Info
from app.queue import Claim, Kind
from app.webhooks import types
from app.webhooks.outbox import Fact, emit, next_sequence

INCIDENT = "account_left"
LATELY = timedelta(hours=1)
# The shopper's own doing, which a network may say with an answer that proves nothing.
_OF_SHOPPERS = frozenset({"USERPAYING"})

log = structlog.get_logger(__name__)
_accounts = table_of(ProviderAccount)


def is_fault(info: Info, error: ProviderError) -> bool:
    """Whether a payment failed through its account or its network, and not through whoever pays.  Pure."""
    word = (error.provider_code or "").rpartition(".")[2]
    if isinstance(error, ProviderRejected):
        return word in info.account_faults
    return not isinstance(error, NumberTaken) and word not in _OF_SHOPPERS


def note_refusal(account: OpenAccount, error: ProviderError) -> None:
    """A payment could not begin.  What is a shopper's own changes nothing."""
    if is_fault(account.provider.info, error):
        _note_failure(account, error.provider_code or "")


def note_success(account: OpenAccount) -> None:
    """A payment began, and its provider has said so.  News only of an account that had failed."""
    if account.is_ailing:
        _note_success(account)


def follow(claim: Claim) -> None:
    """Ask an account that was left something harmless, and again, until payments have returned to it."""
    try:
        answers = trial.try_account(claim.merchant_id, claim.subject_id, by=SERVER).finding is Finding.WORKS
    except NotFound:
        answers = False
    _note_answer(claim, answers=answers)


@retried
def _note_failure(account: OpenAccount, reason: str) -> None:
    with transaction() as tx:
        row = health.note_failure(tx, account.merchant_id, account.id, reason)
        if row is None:
            return
        now = moment(tx)
        log.error("payments leave an account", account_id=account.id, reason=reason)
        # What fails for some payments alone answers the harmless question, and would come and go for ever.
        since, until = _subject(account.id, now - LATELY), _subject(account.id, now)
        often = incidents.count_between(tx, account.merchant_id, kind=INCIDENT, first=since, last=until)
        health.be_patient(tx, account.merchant_id, account.id, often)
        queue.put_once(tx, Kind.ACCOUNT, account.merchant_id, account.id, now + health.gap_after(often))
        _tell(tx, types.PROVIDER_ACCOUNT_UNHEALTHY, row)
        facts = {"failures": row.failures, "reason": reason}
        audit.append(tx, account.merchant_id, SERVER, Action.PROVIDER_LEFT, account.id, after=facts)


@retried
def _note_success(account: OpenAccount) -> None:
    with transaction() as tx:
        was = health.note_success(tx, account.merchant_id, account.id)
        if was is not None:
            _return(tx, was)


@retried
def _note_answer(claim: Claim, *, answers: bool) -> None:
    with transaction() as tx:
        row = health.health_in(tx, claim.merchant_id, claim.subject_id)
        if row is None or row.left_at is None:
            queue.finish(tx, claim)
            return
        is_sure = health.note_answer(tx, claim.merchant_id, claim.subject_id, answers=answers)
        was = health.note_success(tx, claim.merchant_id, claim.subject_id) if is_sure else None
        if was is None:
            queue.put_back(tx, claim, moment(tx) + health.gap_after(row.failed_probes + (not answers)))
            return
        _return(tx, was)


def _return(tx: Connection, was: sa.Row[Any]) -> None:
    """A step, and the last: it appends to the audit log."""
    log.info("payments return to an account", account_id=was.account_id)
    # Should it be left again, it is asked at once, and not when the question of now was due.
    queue.drop(tx, was.merchant_id, (Kind.ACCOUNT, was.account_id))
    _tell(tx, types.PROVIDER_ACCOUNT_RECOVERED, was)
    incidents.resolve_about(
        tx, was.merchant_id, kinds=[INCIDENT], subject_ids=[_subject(was.account_id, was.left_at)]
    )
    facts = {"left_at": to_rfc3339(was.left_at)}
    audit.append(tx, was.merchant_id, SERVER, Action.PROVIDER_RETURNED, was.account_id, after=facts)


def _tell(tx: Connection, event_type: str, row: sa.Row[Any]) -> None:
    """The event and, where payments leave, the incident.  A step."""
    account = accounts.facts_in(tx, row.merchant_id, row.account_id)
    is_left = event_type == types.PROVIDER_ACCOUNT_UNHEALTHY
    told = account_json(account, row if is_left else None)
    sequence = next_sequence(tx, row.merchant_id, row.account_id)
    emit(tx, Fact(row.merchant_id, account.livemode, event_type, row.account_id, sequence, told))
    if is_left:
        why = row.reason or "no answer"
        detail = f"{account.name}: {row.failures} payments in a row could not begin ({why})"
        incidents.raise_incident(
            tx,
            row.merchant_id,
            kind=INCIDENT,
            subject_id=_subject(row.account_id, row.left_at),
            charge_id=None,
            detail=detail,
        )


def _subject(account_id: str, left_at: datetime) -> str:
    """Each time that it is left is a thing of its own."""
    return f"{account_id}:{int(left_at.timestamp())}"


def account_json(account: sa.Row[Any], row: sa.Row[Any] | None) -> dict[str, Any]:
    """The provider account object, without its credentials.  Pure.

    ``row`` is of its health, if it has failed lately.
    """
    is_left = row is not None and row.left_at is not None
    return {
        "id": account.id,
        "object": "provider_account",
        "livemode": account.livemode,
        "provider": account.provider,
        "name": account.name,
        "enabled": account.enabled,
        "health": "unhealthy" if is_left else "healthy",
        "failures": 0 if row is None else row.failures,
        "reason": row.reason or "no_answer" if row is not None else None,
        "unhealthy_since": to_rfc3339(row.left_at) if row is not None and is_left else None,
    }
