"""Refunds on their way: sent with one number, and asked about until it is known what became of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app import queue
from app.charges import refunds
from app.charges.models import Attempt, Refund
from app.charges.states import RefundState
from app.db import moment, reading, table_of, transaction
from app.errors import ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.money import Money
from app.providers.base import Outcome, PaymentRef, Provider, RefundOrder, RefundResult
from app.queue import Claim
from app.runtime import runtime

# Providers take seconds to days; the first gaps catch the usual case, the last one repeats.
SCHEDULE = [timedelta(seconds=s) for s in (10, 30, 60, 300, 900, 3600, 6 * 3600)]

_refunds, _attempts = table_of(Refund), table_of(Attempt)
_siblings = _refunds.alias()
# Those of the same payment that were asked for before, and are not known to have gone back.
_AHEAD = (
    sa.select(sa.func.count())
    .where(
        _siblings.c.merchant_id == _refunds.c.merchant_id,
        _siblings.c.attempt_id == _refunds.c.attempt_id,
        _siblings.c.state == RefundState.RESERVED,
        _siblings.c.id < _refunds.c.id,
    )
    .scalar_subquery()
)
WITH_ATTEMPT = sa.select(
    *_refunds.c,
    _attempts.c.account_id,
    _attempts.c.out_trade_no,
    _attempts.c.started_at,
    _attempts.c.received_minor,
    _attempts.c.provider_ref.label("payment_ref"),
    _attempts.c.given_up_at,
).join(
    _attempts,
    sa.and_(_attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id),
)
_FOR_SENDING = WITH_ATTEMPT.add_columns(_AHEAD.label("ahead")).where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"), _refunds.c.id == sa.bindparam("refund_id")
)


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
    provider, order = accounts.open_account(row.account_id).provider, order_of(row)
    gap = SCHEDULE[min(claim.tries, len(SCHEDULE)) - 1]
    try:
        result = _send_or_ask(provider, order, is_first=claim.tries == 1)
        if row.given_up_at is not None and result.outcome is Outcome.FAILED:
            result = _after_reversal(provider, order, result)
    except ProviderUnreachable as silence:
        is_long = claim.tries > len(SCHEDULE)
        result = _heard(order, Outcome.PENDING, silence, needs_person=silence.needs_person or is_long)
        if silence.retry_after_s is not None:  # those before it have their turn first
            gap = timedelta(seconds=silence.retry_after_s) * (1 + row.ahead)
    with transaction() as tx:
        refunds.settle_refund(tx, row.account_id, result)
        queue.put_back(tx, claim, moment(tx) + gap)  # no effect if settling removed the job


def order_of(row: Any) -> RefundOrder:
    """What its provider must know of a refund, from a row of it with its attempt's columns.  Pure."""
    return RefundOrder(
        payment=PaymentRef(row.out_trade_no, row.started_at, row.payment_ref),
        out_refund_no=row.out_refund_no,
        amount=Money(row.amount_minor, row.currency),
        paid=Money(row.received_minor, row.currency),
        reason=row.reason,
        started_at=row.created_at,
        notify_url=f"{runtime().settings.origin}/callbacks/{row.account_id}",
    )


def _send_or_ask(provider: Provider, order: RefundOrder, *, is_first: bool) -> RefundResult:
    """What the provider makes of a refund.  Raises ProviderUnreachable.

    One that may have been sent before is asked about first: a refusal of the second call (another key,
    another contract) would say nothing of the first, and must not give its reservation back.
    """
    if not is_first:
        try:
            known = provider.query_refund(order)
        except ProviderRejected as refusal:
            raise ProviderUnreachable(refusal.detail, provider_code=refusal.provider_code) from refusal
        if not known.is_absent:
            return known
    try:
        return provider.refund(order)
    except ProviderRejected as refusal:
        return _heard(order, Outcome.FAILED, refusal)


def _after_reversal(provider: Provider, order: RefundOrder, refused: RefundResult) -> RefundResult:
    """A payment that was reversed cannot be refunded: then its money has gone back by that.

    Raises ProviderUnreachable.
    """
    try:
        payment = provider.query(order.payment)
    except ProviderRejected as refusal:
        raise ProviderUnreachable(refusal.detail, provider_code=refusal.provider_code) from refusal
    if not payment.is_undone:
        return refused
    return replace(refused, outcome=Outcome.SUCCEEDED, amount=order.amount, provider_status="reversed")


def _heard(
    order: RefundOrder,
    outcome: Outcome,
    error: ProviderRejected | ProviderUnreachable,
    *,
    needs_person: bool = False,
) -> RefundResult:
    """An answer that came as an exception, as a result."""
    status = error.provider_code or error.code
    return RefundResult(
        order.payment.out_trade_no,
        order.out_refund_no,
        outcome,
        provider_status=status,
        needs_person=needs_person,
    )
