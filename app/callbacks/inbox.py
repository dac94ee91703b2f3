"""A provider's callback: verified, kept as evidence and settled in one transaction."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, metrics
from app.callbacks.models import Callback
from app.charges import incidents
from app.charges.refunds import settle_refund
from app.charges.settle import settle, settle_unknown
from app.db import insert_or_skip, retried, table_of, transaction
from app.errors import UnknownPayment
from app.ids import new_id
from app.merchants.accounts import OpenAccount
from app.providers.base import Inbound, PaymentResult, RefundResult

_callbacks = table_of(Callback)


@retried
def receive(account: OpenAccount, inbound: Inbound) -> None:
    """Verify, keep, settle.  When this returns, it is durable, and the provider may be told so.

    The same message again changes nothing but a counter.  Of a genuine message about what was not
    started here an incident is raised; money is booked for a person to decide about, and anything else
    is kept and UnknownPayment raised.  Raises SignatureMismatch.
    """
    result = account.provider.read_callback(inbound)
    try:
        with transaction() as tx:
            _keep(tx, account, inbound, result)
            if isinstance(result, RefundResult):
                settle_refund(tx, account.id, result)
            else:
                settle(tx, account.id, result)
    except UnknownPayment:
        with transaction() as tx:
            _keep(tx, account, inbound, result)
            is_refund = isinstance(result, RefundResult)
            is_booked = isinstance(result, PaymentResult) and settle_unknown(tx, account, result)
            incidents.raise_incident(
                tx,
                account.merchant_id,
                kind="unknown_refund" if is_refund else "unknown_payment",
                subject_id=f"{account.id}:{_number(result)}",
                charge_id=None,
                detail=f"{account.provider.info.code}: {_number(result)} {result.outcome}, {result.amount}",
            )
        if not is_booked:
            raise
    if isinstance(result, PaymentResult) and result.paid_at is not None:
        lag_s = (clock.now() - result.paid_at).total_seconds()
        metrics.CALLBACK_LAG.labels(account.provider.info.code).observe(max(0.0, lag_s))


def _keep(
    tx: Connection, account: OpenAccount, inbound: Inbound, result: PaymentResult | RefundResult
) -> None:
    digest = hashlib.sha256(inbound.body).hexdigest()
    kept = tx.execute(
        insert_or_skip(tx, _callbacks),
        {
            "merchant_id": account.merchant_id,
            "id": new_id("cb"),
            "account_id": account.id,
            "digest": digest,
            "out_trade_no": result.out_trade_no[:64],
            "outcome": result.outcome,
            "body": inbound.body,
            "first_at": inbound.received_at,
            "last_at": inbound.received_at,
            "times": 1,
        },
    )
    if kept.rowcount == 0:
        tx.execute(
            sa.update(_callbacks)
            .where(
                _callbacks.c.merchant_id == account.merchant_id,
                _callbacks.c.account_id == account.id,
                _callbacks.c.digest == digest,
            )
            .values(times=_callbacks.c.times + 1, last_at=inbound.received_at)
        )


def _number(result: PaymentResult | RefundResult) -> str:
    return (result.out_refund_no if isinstance(result, RefundResult) else result.out_trade_no)[:64]
