"""The one door through which money enters the books.

Callbacks, queries by the worker and queries for a waiting shopper all end here, with a result that
an adapter has verified.  Whatever their order, number and timing, a charge is settled at most once,
by the first verified success that commits.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import clock, queue
from app.charges import incidents, refunds
from app.charges.models import Attempt, Charge
from app.charges.present import charge_fact
from app.charges.states import AttemptState, ChargeState, move
from app.db import moment, table_of
from app.errors import UnknownPayment
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.queue import Kind
from app.webhooks import types
from app.webhooks.outbox import emit

log = structlog.get_logger(__name__)

_attempts, _charges = table_of(Attempt), table_of(Charge)
_others = _attempts.alias()
# A provider's number belongs to one payment: money that is in the books already is not counted again.
_REF_IS_TAKEN = sa.exists().where(
    _others.c.account_id == sa.bindparam("account_id"),
    _others.c.provider_ref == sa.bindparam("provider_ref"),
    _others.c.out_trade_no != sa.bindparam("out_trade_no"),
)
# Locked, so that what follows is decided on a state that stands still (SQLite has one writer anyway).
_FIND: sa.Select[Any] = (
    sa.select(*_attempts.c, _REF_IS_TAKEN.label("ref_is_taken"))
    .where(
        _attempts.c.account_id == sa.bindparam("account_id"),
        _attempts.c.out_trade_no == sa.bindparam("out_trade_no"),
    )
    .with_for_update()
)
_NEXT_SEQUENCE = _charges.c.sequence + 1
_WAS_EXPIRED = _charges.c.state == ChargeState.EXPIRED  # judged by the UPDATE that changes it


class Verdict(StrEnum):
    """What a result did to the books."""

    NO_NEWS = "no_news"  # pending, or already known
    PAID = "paid"
    NOT_PAID = "not_paid"  # the attempt failed or was closed
    UNNEEDED = "unneeded"  # real money, but the charge has or wants none: it goes back
    MISMATCHED = "mismatched"  # real money of the wrong amount or currency: a person decides


def settle(tx: Connection, account_id: str, result: PaymentResult) -> Verdict:
    """Write a verified result into the books.  A step.

    The attempt is looked up by account *and* number: a callback signed for one merchant's account
    can never settle an attempt made through another's.  Raises UnknownPayment.
    """
    attempt = tx.execute(
        _FIND,
        {
            "account_id": account_id,
            "out_trade_no": result.out_trade_no,
            "provider_ref": result.provider_ref,
        },
    ).first()
    if attempt is None:
        raise UnknownPayment("no attempt of this account has this number")
    match result.outcome:
        case Outcome.SUCCEEDED:
            return _take_money(tx, attempt, result)
        case Outcome.FAILED | Outcome.CLOSED:
            return _give_up(tx, attempt, result)
        case _:
            return Verdict.NO_NEWS


def _take_money(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> Verdict:
    received = result.amount
    fits = received == Money(attempt.amount_minor, attempt.currency) and not attempt.ref_is_taken
    if attempt.state in (AttemptState.SUCCEEDED, AttemptState.MISMATCHED):
        return _check_same_money(tx, attempt, result, fits)
    charge = _pay(tx, attempt) if fits else None
    taken = move(
        tx,
        _attempts,
        attempt.merchant_id,
        attempt.id,
        AttemptState.SUCCEEDED if fits else AttemptState.MISMATCHED,
        settles=charge is not None,
        provider_ref=None if attempt.ref_is_taken else result.provider_ref,
        received_minor=received.minor if received else None,
        finished_at=clock.now(),
    )
    if taken is None:  # The row is locked, so this cannot be; if it is, nothing of it may stay.
        raise RuntimeError(f"attempt {attempt.id} moved while it was locked")
    if charge is not None:
        queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id), (Kind.EXPIRE, attempt.charge_id))
        verdict = _announce(tx, charge)
    else:
        queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id))
        verdict = _send_back(tx, taken) if fits else _hold(tx, attempt, result)
    log.info(
        "settled", verdict=verdict, charge_id=attempt.charge_id, attempt_id=attempt.id, amount=str(received)
    )
    return verdict


def _pay(tx: Connection, attempt: sa.Row[Any]) -> sa.Row[Any] | None:
    """First wins, decided by the guard on the charge's row and by nothing that a provider says."""
    return move(
        tx,
        _charges,
        attempt.merchant_id,
        attempt.charge_id,
        ChargeState.PAID,
        paid_at=moment(tx),
        paid_late=_WAS_EXPIRED,
        paid_attempt_id=attempt.id,
        provider=attempt.provider,
        sequence=_NEXT_SEQUENCE,
    )


def _announce(tx: Connection, charge: sa.Row[Any]) -> Verdict:
    emit(tx, charge_fact(types.CHARGE_PAID, charge))
    if charge.paid_late:
        emit(tx, charge_fact(types.CHARGE_PAID_LATE, _next(tx, charge.merchant_id, charge.id)))
    return Verdict.PAID


def _send_back(tx: Connection, attempt: sa.Row[Any]) -> Verdict:
    """The charge is paid already, or was canceled: refund this attempt in full, once, and say so."""
    charge = _next(tx, attempt.merchant_id, attempt.charge_id)
    paid_twice = charge.state == ChargeState.PAID
    emit(tx, charge_fact(types.CHARGE_DOUBLE_PAID if paid_twice else types.CHARGE_PAID_LATE, charge))
    reason = "double_payment" if paid_twice else "paid_after_cancel"
    refunds.reserve_unneeded(tx, attempt, livemode=charge.livemode, reason=reason)
    return Verdict.UNNEEDED


def _hold(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> Verdict:
    """Wrong amount or currency, or another's money: it never pays; a person is told, once."""
    asked = Money(attempt.amount_minor, attempt.currency)
    kind, detail = "amount_mismatched", f"{attempt.provider} took {result.amount} for an attempt of {asked}"
    if attempt.ref_is_taken:
        kind = "provider_ref_reused"
        detail = f"{attempt.provider} gave {result.provider_ref} to another payment before"
    incidents.raise_incident(
        tx,
        attempt.merchant_id,
        kind=kind,
        subject_id=attempt.id,
        charge_id=attempt.charge_id,
        detail=detail,
    )
    charge = _next(tx, attempt.merchant_id, attempt.charge_id)
    emit(tx, charge_fact(types.CHARGE_AMOUNT_MISMATCHED, charge))
    return Verdict.MISMATCHED


def _check_same_money(tx: Connection, attempt: sa.Row[Any], result: PaymentResult, fits: bool) -> Verdict:
    """News of money already in the books changes nothing; a person is told if it contradicts them."""
    minor = result.amount.minor if result.amount else None
    if fits != (attempt.state == AttemptState.SUCCEEDED) or attempt.received_minor != minor:
        incidents.raise_incident(
            tx,
            attempt.merchant_id,
            kind="amount_contradicted",
            subject_id=attempt.id,
            charge_id=attempt.charge_id,
            detail=f"now {result.amount}; booked as {Money(attempt.received_minor or 0, attempt.currency)}",
        )
    return Verdict.NO_NEWS


def _give_up(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> Verdict:
    to = AttemptState.FAILED if result.outcome == Outcome.FAILED else AttemptState.CLOSED
    moved = move(
        tx,
        _attempts,
        attempt.merchant_id,
        attempt.id,
        to,
        failure_code=result.provider_status[:64] or None,
        finished_at=clock.now(),
    )
    if moved is None:
        return Verdict.NO_NEWS
    queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id))
    return Verdict.NOT_PAID


def _next(tx: Connection, merchant_id: str, charge_id: str) -> sa.Row[Any]:
    """The charge with the next sequence number, for an event that is not a move."""
    return tx.execute(
        sa.update(_charges)
        .where(_charges.c.merchant_id == merchant_id, _charges.c.id == charge_id)
        .values(sequence=_NEXT_SEQUENCE)
        .returning(*_charges.c)
    ).one()
