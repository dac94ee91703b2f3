"""The one door through which money enters the books.

Callbacks, queries by the worker and queries for a waiting shopper all end here, with a result that
an adapter has verified.  Whatever their order, number and timing, a charge is settled at most once,
by the first verified success that commits.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import clock, queue
from app.charges import bookings, crediting, incidents, refunds
from app.charges.models import Attempt, Charge
from app.charges.present import charge_fact, payment_json
from app.charges.states import AttemptState, ChargeState, move
from app.db import insert_or_skip, moment, retried, table_of, transaction
from app.errors import UnknownPayment
from app.ids import new_id
from app.ledger import rates
from app.merchants.accounts import OpenAccount
from app.merchants.models import ProviderAccount
from app.money import Money
from app.providers.base import Outcome, PaymentResult, RefundResult
from app.queue import Kind
from app.webhooks import types
from app.webhooks.outbox import emit

NUMBER_CHARS_MAX = 64  # the longest that any of the networks allows

log = structlog.get_logger(__name__)

_attempts, _charges, _accounts = table_of(Attempt), table_of(Charge), table_of(ProviderAccount)
_others = _attempts.alias()
# A provider's number belongs to one payment: money that is in the books already is not counted again.
_REF_IS_TAKEN = sa.exists().where(
    _others.c.account_id == sa.bindparam("account_id"),
    _others.c.provider_ref == sa.bindparam("provider_ref"),
    _others.c.out_trade_no != sa.bindparam("out_trade_no"),
)
# Locked, so that what follows is decided on a state that stands still (SQLite has one writer anyway).
_FIND: sa.Select[Any] = (
    sa.select(
        *_attempts.c,
        _accounts.c.livemode,
        _REF_IS_TAKEN.label("ref_is_taken"),
        rates.current_rate(_attempts.c.merchant_id, _attempts.c.account_id, _attempts.c.currency).label(
            "fee_rate_id"
        ),
    )
    .join(
        _accounts,
        sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
    )
    .where(
        _attempts.c.account_id == sa.bindparam("account_id"),
        _attempts.c.out_trade_no == sa.bindparam("out_trade_no"),
    )
    .with_for_update(of=_attempts)
)
# Two accounts may share their credentials: a message for one must not book its money at the other, too.
_GIVEN_OUT = sa.select(_attempts.c.id).where(
    _attempts.c.account_id.in_(
        sa.select(_accounts.c.id).where(_accounts.c.merchant_id == sa.bindparam("merchant_id"))
    ),
    _attempts.c.out_trade_no == sa.bindparam("out_trade_no"),
    _attempts.c.charge_id.is_not(None),
)
_NEXT_SEQUENCE = _charges.c.sequence + 1
_WAS_CLOSED = _charges.c.state != ChargeState.PENDING  # judged by the UPDATE that changes it


class Verdict(StrEnum):
    """What a result did to the books."""

    NO_NEWS = "no_news"  # pending, or already known
    PAID = "paid"
    NOT_PAID = "not_paid"  # the attempt failed or was closed
    UNNEEDED = "unneeded"  # real money, but the charge has or wants none of it: it goes back
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
            "now": moment(tx),
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


@retried
def book(account_id: str, result: PaymentResult) -> Verdict:
    """``settle``, in a transaction of its own."""
    with transaction() as tx:
        return settle(tx, account_id, result)


def settle_unknown(tx: Connection, account: OpenAccount, result: PaymentResult) -> bool:
    """Book verified money whose number was not given out here, for a person to decide about.  A step.

    True once it is in the books, whoever booked it.  False if there is nothing to book: no money, no
    amount, a number that no provider gives, one that stands for a payment booked before, or one that
    another account of the merchant gave out, which hears of its money by itself.
    """
    received = result.amount
    numbers = (result.out_trade_no, result.provider_ref or "")
    if result.outcome != Outcome.SUCCEEDED or received is None or received.minor <= 0:
        return False
    if max(len(number) for number in numbers) > NUMBER_CHARS_MAX:
        return False
    if tx.execute(_GIVEN_OUT, {"merchant_id": account.merchant_id, "out_trade_no": numbers[0]}).first():
        return False
    now = clock.now()
    booked = tx.execute(
        insert_or_skip(tx, _attempts, *_attempts.c),
        {
            "merchant_id": account.merchant_id,
            "id": new_id("at"),
            "charge_id": None,
            "account_id": account.id,
            "provider": account.provider.info.code,
            "scene": "unknown",
            "out_trade_no": result.out_trade_no,
            "provider_ref": result.provider_ref,
            "state": AttemptState.SUCCEEDED,
            "amount_minor": received.minor,
            "currency": received.currency,
            "received_minor": received.minor,
            "received_currency": received.currency,
            "started_at": result.paid_at or now,
            "expires_at": result.paid_at or now,
            "finished_at": now,
        },
    ).first()
    if booked is not None:
        bookings.post_payment(tx, booked, livemode=account.livemode)
        log.info("unknown money booked", out_trade_no=result.out_trade_no, amount=str(received))
        return True
    with suppress(UnknownPayment):  # The number is new, and the provider's own number is not.
        settle(tx, account.id, result)
        return True
    return False


def pay_charge(
    tx: Connection, attempt: sa.Row[Any], charge_id: str, minor: int, *, by_person: bool = False
) -> sa.Row[Any] | None:
    """Make a charge paid with so much of an attempt's money; None if it was paid already.  A step.

    First wins, decided by the guard on the charge's row and by nothing that a provider says.  Only a
    person takes money for a charge that was canceled.  If it is a top-up, its member has the money now.
    """
    charge = move(
        tx,
        _charges,
        attempt.merchant_id,
        charge_id,
        ChargeState.PAID,
        by_person=by_person,
        paid_at=moment(tx),
        paid_late=_WAS_CLOSED,
        paid_attempt_id=attempt.id,
        paid_minor=minor,
        provider=attempt.provider,
        sequence=_NEXT_SEQUENCE,
    )
    if charge is None:
        return None
    queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id), (Kind.EXPIRE, charge_id))
    if charge.topup_id is not None:
        crediting.credit(tx, charge)
    return charge


def announce(
    tx: Connection, charge: sa.Row[Any], attempt: sa.Row[Any], *, accepted_by: str | None = None
) -> None:
    """Say that a charge is paid, and if so that it was late.  A step."""
    payment = payment_json(attempt, accepted_by=accepted_by)
    emit(tx, charge_fact(types.CHARGE_PAID, charge, payment))
    if charge.paid_late:
        late = _next(tx, charge.merchant_id, charge.id)
        emit(tx, charge_fact(types.CHARGE_PAID_LATE, late, payment))


def _take_money(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> Verdict:
    if attempt.state in (AttemptState.SUCCEEDED, AttemptState.MISMATCHED):
        return _check_same_money(tx, attempt, result)
    received = None if attempt.ref_is_taken else result.amount
    fits = received == Money(attempt.amount_minor, attempt.currency)
    is_wanted = fits and attempt.given_up_at is None
    # Of what has gone back by a reversal nobody needs to decide, whatever the amount was.
    is_gone = received is not None and attempt.given_up_at is not None and result.is_undone
    goes_back = fits or is_gone
    charge = pay_charge(tx, attempt, attempt.charge_id, attempt.amount_minor) if is_wanted else None
    taken = move(
        tx,
        _attempts,
        attempt.merchant_id,
        attempt.id,
        AttemptState.SUCCEEDED if goes_back else AttemptState.MISMATCHED,
        settles=charge is not None,
        provider_ref=None if attempt.ref_is_taken else result.provider_ref,
        received_minor=received.minor if received else None,
        received_currency=received.currency if received else None,
        credited_minor=attempt.amount_minor if charge is not None else 0,
        fee_minor=_foreseen_fee(tx, attempt) if charge is not None else None,
        finished_at=clock.now(),
    )
    if taken is None:  # The row is locked, so this cannot be; if it is, nothing of it may stay.
        raise RuntimeError(f"attempt {attempt.id} moved while it was locked")
    if received is not None:
        bookings.post_payment(tx, taken, livemode=attempt.livemode)
    if charge is not None:
        announce(tx, charge, taken)
        verdict = Verdict.PAID
    else:
        queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id))
        verdict = _send_back(tx, taken, result) if goes_back else _hold(tx, attempt, taken, result)
    log.info(
        "settled", verdict=verdict, charge_id=attempt.charge_id, attempt_id=attempt.id, amount=str(received)
    )
    return verdict


def _foreseen_fee(tx: Connection, attempt: sa.Row[Any]) -> int | None:
    if attempt.fee_rate_id is None:
        return None
    return rates.fee_by(tx, attempt.merchant_id, attempt.fee_rate_id, attempt.amount_minor)


def _send_back(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> Verdict:
    """The charge is paid, or it or this attempt was withdrawn: refund it in full, once, and say so."""
    charge = tx.execute(
        sa.select(*_charges.c).where(
            _charges.c.merchant_id == attempt.merchant_id, _charges.c.id == attempt.charge_id
        )
    ).one()
    if charge.state in (ChargeState.PENDING, ChargeState.EXPIRED):
        reason = "given_up"  # the charge itself goes on: of it there is nothing to say
    else:
        paid_twice = charge.state == ChargeState.PAID
        reason = "double_payment" if paid_twice else "paid_after_cancel"
        event_type = types.CHARGE_DOUBLE_PAID if paid_twice else types.CHARGE_PAID_LATE
        charge = _next(tx, attempt.merchant_id, attempt.charge_id)
        emit(tx, charge_fact(event_type, charge, payment_json(attempt)))
    refund = refunds.reserve_unneeded(tx, attempt, reason=reason)
    if refund is not None and attempt.given_up_at is not None and result.is_undone:
        _book_reversal(tx, attempt, refund)
    return Verdict.UNNEEDED


def _book_reversal(tx: Connection, attempt: sa.Row[Any], refund: sa.Row[Any]) -> None:
    """The network has sent it back by reversing the payment: nothing is left to send."""
    back = Money(refund.amount_minor, refund.currency)
    told = RefundResult(
        attempt.out_trade_no, refund.out_refund_no, Outcome.SUCCEEDED, back, provider_status="reversed"
    )
    refunds.settle_refund(tx, attempt.account_id, told)


def _hold(tx: Connection, attempt: sa.Row[Any], taken: sa.Row[Any], result: PaymentResult) -> Verdict:
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
    emit(tx, charge_fact(types.CHARGE_AMOUNT_MISMATCHED, charge, payment_json(taken)))
    return Verdict.MISMATCHED


def _check_same_money(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> Verdict:
    """News of money already in the books changes nothing; a person is told if it contradicts them."""
    if attempt.received_minor is None:
        _learn_amount(tx, attempt, result)
        return Verdict.NO_NEWS
    booked = Money(attempt.received_minor, attempt.received_currency)
    if result.amount != booked or attempt.ref_is_taken:
        incidents.raise_incident(
            tx,
            attempt.merchant_id,
            kind="amount_contradicted",
            subject_id=attempt.id,
            charge_id=attempt.charge_id,
            detail=f"now {result.amount}; booked as {booked}",
        )
    return Verdict.NO_NEWS


def _learn_amount(tx: Connection, attempt: sa.Row[Any], result: PaymentResult) -> None:
    """What was held without an amount, or under another payment's number, is known to be money now."""
    if result.amount is None or attempt.ref_is_taken:
        return
    known = tx.execute(
        sa.update(_attempts)
        .where(_attempts.c.merchant_id == attempt.merchant_id, _attempts.c.id == attempt.id)
        .values(
            received_minor=result.amount.minor,
            received_currency=result.amount.currency,
            provider_ref=result.provider_ref,
        )
        .returning(*_attempts.c)
    ).one()
    bookings.post_payment(tx, known, livemode=attempt.livemode)


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
