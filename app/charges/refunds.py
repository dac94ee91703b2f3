"""Money going back: reserved before it is sent, sent with one number, asked about until it is known.

A refund in state RESERVED counts against what was received, so no two refunds can together exceed
it.  Only a definite no from the provider gives the reservation back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import clock, queue
from app.charges import incidents
from app.charges.models import Attempt, Refund
from app.charges.present import refund_fact
from app.charges.states import RefundState, move
from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.errors import ProviderRejected, ProviderUnreachable, UnknownPayment
from app.ids import new_id
from app.merchants import accounts
from app.merchants.models import ProviderAccount
from app.money import Money
from app.providers.base import Outcome, PaymentRef, RefundOrder, RefundResult
from app.queue import Claim, Kind
from app.runtime import runtime
from app.webhooks import types
from app.webhooks.outbox import emit

log = structlog.get_logger(__name__)

# Providers take seconds to days; the first gaps catch the usual case, the last one repeats.
SCHEDULE = [timedelta(seconds=s) for s in (10, 30, 60, 300, 900, 3600, 6 * 3600)]

_refunds, _attempts, _accounts = table_of(Refund), table_of(Attempt), table_of(ProviderAccount)


def reserve_unneeded(
    tx: Connection,
    attempt: sa.Row[Any],
    *,
    livemode: bool,
    reason: str,
    minor: int | None = None,
    number: int = 1,
) -> sa.Row[Any] | None:
    """Refund an attempt's money that its charge does not need: so much of it, or all.  A step.

    The number is made from the attempt's, so the refund can exist only once however often the news
    of the money arrives; a person who tries again after a failure counts ``number`` up.  None if
    that refund exists.
    """
    minor = attempt.received_minor if minor is None else minor
    body = attempt.id.partition("_")[2].upper()  # The attempt's own number, if that is from here.
    created = tx.execute(
        insert_or_skip(tx, _refunds).returning(*_refunds.c),
        {
            "merchant_id": attempt.merchant_id,
            "id": new_id("re"),
            "charge_id": attempt.charge_id,
            "attempt_id": attempt.id,
            "out_refund_no": f"DUP{body}" if number == 1 else f"DUP{body}R{number}",
            "state": RefundState.RESERVED,
            "amount_minor": minor,
            "currency": attempt.received_currency,
            "reason": reason,
            "automatic": True,
            "created_at": clock.now(),
            "sequence": 1,
        },
    ).first()
    if created is None:
        return None
    _reserve(tx, created, minor)
    queue.put(tx, Kind.REFUND, attempt.merchant_id, created.id, moment(tx))
    emit(tx, refund_fact(types.REFUND_CREATED, created, livemode=livemode))
    return created


def pursue(claim: Claim) -> None:
    """Send a reserved refund, or learn what became of it; put the job back while nothing is known."""
    with reading() as connection:
        row = connection.execute(
            _FOR_SENDING, {"merchant_id": claim.merchant_id, "refund_id": claim.subject_id}
        ).first()
    if row is None or row.state != RefundState.RESERVED:
        with transaction() as tx:
            queue.finish(tx, claim)
        return
    account = accounts.open_account(row.account_id)
    try:
        result = account.provider.refund(_order(row))
    except ProviderRejected as refusal:
        result = RefundResult(
            row.out_trade_no,
            row.out_refund_no,
            Outcome.FAILED,
            provider_status=refusal.provider_code or refusal.code,
        )
    except ProviderUnreachable as silence:
        result = RefundResult(
            row.out_trade_no,
            row.out_refund_no,
            Outcome.PENDING,
            provider_status=silence.provider_code or silence.code,
            needs_person=claim.tries > len(SCHEDULE),  # such as one to top up the balance it is paid from
        )
    with transaction() as tx:
        settle_refund(tx, account.id, result)
        gap = SCHEDULE[min(claim.tries, len(SCHEDULE)) - 1]
        queue.put_back(tx, claim, moment(tx) + gap)  # no effect if settling removed the job


def settle_refund(tx: Connection, account_id: str, result: RefundResult) -> bool:
    """Write a verified result of a refund into the books.  A step.  True if it was news.

    Raises UnknownPayment for a refund that was not made here (in the provider's own console, say).
    """
    refund = tx.execute(_FIND, {"account_id": account_id, "out_refund_no": result.out_refund_no}).first()
    if refund is None:
        raise UnknownPayment("no refund of this account has this number")
    match result.outcome:
        case Outcome.SUCCEEDED:
            to, event_type = RefundState.SUCCEEDED, types.REFUND_SUCCEEDED
        case Outcome.FAILED | Outcome.CLOSED:
            to, event_type = RefundState.FAILED, types.REFUND_FAILED
        case _:
            if result.needs_person:
                _tell(tx, refund, "refund_stuck", f"has not gone back yet: {result.provider_status}")
            return False
    moved = move(
        tx,
        _refunds,
        refund.merchant_id,
        refund.id,
        to,
        provider_ref=result.provider_ref,
        failure_code=(result.provider_status[:64] or None) if to == RefundState.FAILED else None,
        finished_at=clock.now(),
        sequence=_refunds.c.sequence + 1,
    )
    if moved is None:
        return False
    if to == RefundState.FAILED:
        _reserve(tx, moved, -moved.amount_minor)
        _tell(tx, moved, "refund_failed", f"could not go back: {moved.failure_code}")
    elif refund.state == RefundState.FAILED:
        _reserve(tx, moved, moved.amount_minor)
        _tell(tx, moved, "refund_contradicted", "went back after all, although it was said to have failed")
    queue.drop(tx, moved.merchant_id, (Kind.REFUND, moved.id))
    emit(tx, refund_fact(event_type, moved, livemode=refund.livemode))
    log.info("refund settled", refund_id=moved.id, state=to, amount_minor=moved.amount_minor)
    return True


def list_refunds(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """All refunds of a charge, oldest first."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(*_refunds.c)
                .where(_refunds.c.merchant_id == merchant_id, _refunds.c.charge_id == charge_id)
                .order_by(_refunds.c.id)
                .limit(100)
            )
        )


_SAME_ATTEMPT = sa.and_(
    _attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id
)
_FIND: sa.Select[Any] = (
    sa.select(*_refunds.c, _accounts.c.livemode)
    .join(_attempts, _SAME_ATTEMPT)
    .join(
        _accounts,
        sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
    )
    .where(
        _attempts.c.account_id == sa.bindparam("account_id"),
        _refunds.c.out_refund_no == sa.bindparam("out_refund_no"),
    )
    .with_for_update(of=_refunds)  # which state it comes from decides what is reserved
)
_FOR_SENDING = (
    sa.select(
        *_refunds.c,
        _attempts.c.account_id,
        _attempts.c.out_trade_no,
        _attempts.c.started_at,
        _attempts.c.received_minor,
        _attempts.c.provider_ref.label("payment_ref"),
    )
    .join(_attempts, _SAME_ATTEMPT)
    .where(_refunds.c.merchant_id == sa.bindparam("merchant_id"), _refunds.c.id == sa.bindparam("refund_id"))
)


def _reserve(tx: Connection, refund: sa.Row[Any], minor: int) -> None:
    """Count so much more of the payment as gone back, or less."""
    tx.execute(
        sa.update(_attempts)
        .where(_attempts.c.merchant_id == refund.merchant_id, _attempts.c.id == refund.attempt_id)
        .values(refunded_minor=_attempts.c.refunded_minor + minor)
    )


def _tell(tx: Connection, refund: sa.Row[Any], kind: str, fact: str) -> None:
    incidents.raise_incident(
        tx,
        refund.merchant_id,
        kind=kind,
        subject_id=refund.id,
        charge_id=refund.charge_id,
        detail=f"{Money(refund.amount_minor, refund.currency)} {fact}",
    )


def _order(row: Any) -> RefundOrder:
    return RefundOrder(
        payment=PaymentRef(row.out_trade_no, row.started_at, row.payment_ref),
        out_refund_no=row.out_refund_no,
        amount=Money(row.amount_minor, row.currency),
        paid=Money(row.received_minor, row.currency),
        reason=row.reason,
        started_at=row.created_at,
        notify_url=f"{runtime().settings.origin}/callbacks/{row.account_id}",
    )
