"""Money going back: reserved before it is sent, and booked when its provider has said what became of it.

A refund in state RESERVED counts against what was received, so no two refunds can together exceed
it.  Only a definite no from the provider gives the reservation back.  ``refund_sending.py`` speaks with
the provider in between.

Locks are taken in one order by everybody: shift, refund, attempt, charge, top-up, member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import queue
from app.charges import bookings, crediting, incidents, shifts
from app.charges.commands import NewRefund
from app.charges.models import Attempt, Charge, Refund
from app.charges.present import refund_fact
from app.charges.states import ChargeState, RefundState, move
from app.db import moment, table_of
from app.errors import Conflict, NotFound, UnknownPayment
from app.ids import new_id
from app.merchants import audit, policy
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import ProviderAccount
from app.merchants.roles import Permission
from app.money import Money
from app.providers.base import Outcome, RefundResult
from app.queue import Kind
from app.webhooks import types
from app.webhooks.outbox import emit

log = structlog.get_logger(__name__)

_refunds, _attempts, _charges = table_of(Refund), table_of(Attempt), table_of(Charge)
_accounts = table_of(ProviderAccount)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is to go back of an attempt's money.  Without an amount: all that is left.

    ``number`` is what the provider knows it by, 8 to 32 letters and digits; made up if left out.  A
    number that tells of the cause lets that cause make one refund and no second.
    """

    amount_minor: int | None
    reason: str
    number: str | None = None
    automatic: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    asked_by: str | None = None
    shift_id: str | None = None
    replaces: str | None = None
    # Above it, counted over all that goes back of the charge, or of what it did not need, it waits for a
    # second person.
    limit_minor: int | None = None
    member_may_owe: bool = False  # of a top-up that is spent already


def create_refund(
    tx: Connection,
    merchant_id: str,
    new: NewRefund,
    *,
    livemode: bool | None = None,
    by: Actor = SERVER,
) -> sa.Row[Any]:
    """Give back a paid charge, or part of it: reserved now, sent by the worker at once.  A step.

    Above the merchant's limit it is reserved, and sent when a second person has approved it.
    Raises NotFound, PermissionDenied, or Conflict with code ``charge_not_paid``,
    ``charge_already_refunded``, ``amount_too_large`` or, of a top-up, ``member_balance_too_low``.
    """
    by.require(Permission.REFUNDS_WRITE)
    charge = tx.execute(_FIND_CHARGE, {"merchant_id": merchant_id, "charge_id": new.charge_id[:64]}).first()
    if charge is None or (livemode is not None and charge.livemode != livemode):
        raise NotFound("no such charge")
    if charge.state != ChargeState.PAID:
        raise Conflict(f"the charge is {charge.state}: only a paid one is refunded", code="charge_not_paid")
    rules = policy.read_policy(tx, merchant_id)
    wanted = Reservation(
        new.amount_minor,
        new.reason.strip(),
        metadata=new.metadata,
        asked_by=_name(by),
        shift_id=shifts.hold(tx, merchant_id, by, livemode=charge.livemode),
        limit_minor=rules.limit_for(by),
        member_may_owe=rules.members_may_owe,
    )
    refund = reserve(tx, merchant_id, charge.paid_attempt_id, wanted)
    if refund is None:  # its number was made up just now
        raise RuntimeError(f"a refund of {charge.id} has a number that is taken")
    note(tx, by, Action.REFUND_ASKED, refund)
    return refund


def try_again(tx: Connection, merchant_id: str, refund_id: str, *, by: Actor = SERVER) -> sa.Row[Any]:
    """Repeat a failed refund under a new number; the second press finds what the first made.  A step.

    Raises NotFound, or Conflict: it has not failed, or so much is not left any more.
    """
    by.require(Permission.REFUNDS_WRITE)
    mine = {"merchant_id": merchant_id, "refund_id": refund_id[:64]}
    failed = tx.execute(_FIND_OWN, mine).first()
    if failed is None:
        raise NotFound("no such refund")
    if failed.state != RefundState.FAILED:
        raise Conflict(
            f"the refund is {failed.state}: only a failed one is repeated", code="refund_not_failed"
        )
    rules = policy.read_policy(tx, merchant_id)
    wanted = Reservation(
        failed.amount_minor,
        failed.reason,
        automatic=failed.automatic,
        metadata=failed.metadata,
        asked_by=_name(by),
        shift_id=shifts.hold(tx, merchant_id, by, livemode=failed.livemode),
        replaces=failed.id,
        limit_minor=rules.limit_for(by),
        member_may_owe=rules.members_may_owe,
    )
    refund = reserve(tx, merchant_id, failed.attempt_id, wanted)
    if refund is None:
        return tx.execute(_FIND_REPEAT, mine).one()
    note(tx, by, Action.REFUND_ASKED, refund)
    return refund


def reserve_unneeded(
    tx: Connection,
    attempt: sa.Row[Any],
    *,
    reason: str,
    minor: int | None = None,
    number: int = 1,
    asked_by: str | None = None,
    limit_minor: int | None = None,
) -> sa.Row[Any] | None:
    """Refund an attempt's money that its charge does not need: so much of it, or all.  A step.

    The number is made from the attempt's, so the refund can exist only once however often the news
    of the money arrives; a person who tries again after a failure counts ``number`` up.  Above
    ``limit_minor`` it waits for a second person.  None if that refund exists.
    """
    wanted = Reservation(
        attempt.received_minor if minor is None else minor,
        reason,
        number=unneeded_number(attempt.id, number),
        automatic=True,
        asked_by=asked_by,
        limit_minor=limit_minor,
    )
    return reserve(tx, attempt.merchant_id, attempt.id, wanted)


def unneeded_number(attempt_id: str, number: int = 1) -> str:
    """The number under which money of an attempt that its charge does not need goes back.  Pure."""
    return f"DUP{_body(attempt_id)}" + (f"R{number}" if number > 1 else "")


def reserve(tx: Connection, merchant_id: str, attempt_id: str, wanted: Reservation) -> sa.Row[Any] | None:
    """Set aside what is to go back of an attempt's money, and have it sent.  A step.

    Counted on the attempt, and on the charge that it settles unless it is money that this charge did
    not take, by guarded UPDATEs in the transaction of the refund itself.  None if a refund of this
    number, or in place of the same failed one, is there already.  Raises NotFound, or Conflict with
    code ``charge_already_refunded`` or ``amount_too_large``.
    """
    attempt = tx.execute(_LOCK_ATTEMPT, {"merchant_id": merchant_id, "attempt_id": attempt_id}).first()
    if attempt is None:
        raise NotFound("no such attempt")
    refund_id = new_id("re")
    number = wanted.number or _body(refund_id)
    same = {"merchant_id": merchant_id, "out_refund_no": number, "replaces": wanted.replaces}
    if tx.execute(_FIND_SAME, same).first() is not None:
        return None
    given_minor, amount_minor = _fitting(tx, attempt, wanted)
    is_held = wanted.limit_minor is not None and given_minor + amount_minor > wanted.limit_minor
    taking = {"own_merchant_id": merchant_id, "own_id": attempt_id, "taken_minor": amount_minor}
    if tx.execute(_TAKE_OF_ATTEMPT, taking).rowcount != 1:
        raise RuntimeError(f"attempt {attempt_id} changed while it was locked")
    charge = None
    if attempt.settles and not wanted.automatic:
        charge = tx.execute(_TAKE_OF_CHARGE, {**taking, "own_id": attempt.charge_id}).first()
        if charge is None:
            raise RuntimeError(f"charge {attempt.charge_id} does not agree with the attempt that settled it")
    refund = tx.execute(
        sa.insert(_refunds).returning(*_refunds.c),
        {
            "merchant_id": merchant_id,
            "id": refund_id,
            "charge_id": attempt.charge_id,
            "attempt_id": attempt_id,
            "livemode": attempt.livemode,
            "out_refund_no": number,
            "state": RefundState.AWAITING if is_held else RefundState.RESERVED,
            "amount_minor": amount_minor,
            "currency": attempt.received_currency,
            "reason": wanted.reason,
            "metadata": dict(wanted.metadata),
            "automatic": wanted.automatic,
            "asked_by": wanted.asked_by,
            "shift_id": wanted.shift_id,
            "replaces": wanted.replaces,
            "created_at": moment(tx),
            "sequence": 1,
        },
    ).one()
    bookings.post_reserved(tx, refund)
    if charge is not None and charge.topup_id is not None:
        crediting.take_back(tx, charge, refund, may_owe=wanted.member_may_owe)
    if not is_held:
        queue.put(tx, Kind.REFUND, merchant_id, refund_id, refund.created_at)
    emit(tx, refund_fact(types.REFUND_CREATED, refund))
    return refund


def settle_refund(tx: Connection, account_id: str, result: RefundResult) -> bool:
    """Write a verified result of a refund into the books.  A step.  True if it was news.

    A result that tells of another amount or payment under our number settles nothing: a person is told.
    Raises UnknownPayment for a refund that was not made here (in the provider's own console, say).
    """
    refund = tx.execute(_FIND, {"account_id": account_id, "out_refund_no": result.out_refund_no}).first()
    if refund is None:
        raise UnknownPayment("no refund of this account has this number")
    ours = Money(refund.amount_minor, refund.currency)
    if result.amount not in (None, ours) or result.out_trade_no not in ("", refund.out_trade_no):
        fact = f"is told by the provider as {result.amount} of payment {result.out_trade_no[:64]}"
        _tell(tx, refund, "refund_mismatched", fact)
        return False
    match result.outcome:
        case Outcome.SUCCEEDED:
            to, event_type = RefundState.SUCCEEDED, types.REFUND_SUCCEEDED
        case Outcome.FAILED | Outcome.CLOSED:
            to, event_type = RefundState.FAILED, types.REFUND_FAILED
        case _:
            if result.needs_person and refund.state == RefundState.RESERVED:
                _call_for_person(tx, refund, result)
            return False
    moved = move(
        tx,
        _refunds,
        refund.merchant_id,
        refund.id,
        to,
        provider_ref=result.provider_ref,
        pending_reason=None,
        failure_code=(result.provider_status[:64] or None) if to == RefundState.FAILED else None,
        finished_at=moment(tx),
        sequence=NEXT_SEQUENCE,
    )
    if moved is None:
        return False
    had_failed = refund.state == RefundState.FAILED
    bookings.post_refund_end(tx, moved, account_id, had_failed=had_failed)
    if to == RefundState.FAILED:
        give_up(tx, moved)
        _tell(tx, moved, "refund_failed", f"could not go back: {moved.failure_code}")
    elif had_failed:
        _take_after_all(tx, moved)
    queue.drop(tx, moved.merchant_id, (Kind.REFUND, moved.id))
    emit(tx, refund_fact(event_type, moved))
    if to == RefundState.SUCCEEDED and refund.topup_id is not None and not moved.automatic:
        crediting.announce_refund(tx, moved, refund.topup_id)
    log.info("refund settled", refund_id=moved.id, state=to, amount_minor=moved.amount_minor)
    return True


NEXT_SEQUENCE = _refunds.c.sequence + 1
_SAME_ATTEMPT = sa.and_(
    _attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id
)
_FIND: sa.Select[Any] = (
    sa.select(*_refunds.c, _attempts.c.out_trade_no, _charges.c.topup_id)
    .join(_attempts, _SAME_ATTEMPT)
    .outerjoin(
        _charges,
        sa.and_(_charges.c.merchant_id == _refunds.c.merchant_id, _charges.c.id == _refunds.c.charge_id),
    )
    .where(
        _attempts.c.account_id == sa.bindparam("account_id"),
        _refunds.c.out_refund_no == sa.bindparam("out_refund_no"),
    )
    .with_for_update(of=_refunds)  # which state it comes from decides what is reserved
)
_FIND_OWN = sa.select(*_refunds.c).where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"), _refunds.c.id == sa.bindparam("refund_id")
)
_FIND_REPEAT = sa.select(*_refunds.c).where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"), _refunds.c.replaces == sa.bindparam("refund_id")
)
_FIND_SAME = sa.select(_refunds.c.id).where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"),
    sa.or_(
        _refunds.c.out_refund_no == sa.bindparam("out_refund_no"),
        _refunds.c.replaces == sa.bindparam("replaces", type_=sa.String()),
    ),
)
_FIND_CHARGE = sa.select(
    _charges.c.id, _charges.c.livemode, _charges.c.state, _charges.c.paid_attempt_id
).where(_charges.c.merchant_id == sa.bindparam("merchant_id"), _charges.c.id == sa.bindparam("charge_id"))
_LOCK_ATTEMPT: sa.Select[Any] = (
    sa.select(*_attempts.c, _accounts.c.livemode)
    .join(
        _accounts,
        sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
    )
    .where(
        _attempts.c.merchant_id == sa.bindparam("merchant_id"), _attempts.c.id == sa.bindparam("attempt_id")
    )
    .with_for_update(of=_attempts)
)
_TAKEN_MINOR = sa.bindparam("taken_minor", type_=sa.BigInteger())
_TAKE_OF_ATTEMPT = (
    sa.update(_attempts)
    .where(
        _attempts.c.merchant_id == sa.bindparam("own_merchant_id"),
        _attempts.c.id == sa.bindparam("own_id"),
        _attempts.c.refunded_minor + _TAKEN_MINOR <= _attempts.c.received_minor,
    )
    .values(refunded_minor=_attempts.c.refunded_minor + _TAKEN_MINOR)
)
_TAKE_OF_CHARGE = (
    sa.update(_charges)
    .where(
        _charges.c.merchant_id == sa.bindparam("own_merchant_id"),
        _charges.c.id == sa.bindparam("own_id"),
        _charges.c.state == ChargeState.PAID,
        _charges.c.refunded_minor + _TAKEN_MINOR <= _charges.c.paid_minor,
    )
    .values(refunded_minor=_charges.c.refunded_minor + _TAKEN_MINOR)
    .returning(*_charges.c)
)
_SUMS = sa.select(
    *[
        sa.func.coalesce(
            sa.func.sum(sa.case((_refunds.c.automatic.is_(unneeded), _refunds.c.amount_minor), else_=0)), 0
        )
        for unneeded in (False, True)
    ]
).where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"),
    _refunds.c.attempt_id == sa.bindparam("attempt_id"),
    _refunds.c.state != RefundState.FAILED,
)


def _fitting(tx: Connection, attempt: sa.Row[Any], wanted: Reservation) -> tuple[int, int]:
    """How much went back before, and how much goes now: of what a charge took, or of the rest.

    The attempt is locked.  Raises Conflict.
    """
    of_charge_minor, unneeded_minor = _given(tx, attempt)
    if wanted.automatic:
        rest_minor = (attempt.received_minor or 0) - attempt.credited_minor - attempt.outside_minor
        given_minor, left_minor = unneeded_minor, rest_minor - unneeded_minor
    else:
        given_minor, left_minor = of_charge_minor, attempt.credited_minor - of_charge_minor
    left_minor = min(left_minor, (attempt.received_minor or 0) - attempt.refunded_minor)
    if left_minor <= 0:
        raise Conflict("all of it has gone back, or is on its way", code="charge_already_refunded")
    if wanted.amount_minor is not None and wanted.amount_minor > left_minor:
        left = Money(left_minor, attempt.received_currency)
        raise Conflict(f"{left_minor} minor units ({left}) are left to refund", code="amount_too_large")
    return given_minor, wanted.amount_minor or left_minor


def _given(tx: Connection, attempt: sa.Row[Any]) -> tuple[int, int]:
    """What went back, or is on its way, of what a charge took, and of what no charge needed."""
    which = {"merchant_id": attempt.merchant_id, "attempt_id": attempt.id}
    of_charge_minor, unneeded_minor = tx.execute(_SUMS, which).one()
    return int(of_charge_minor), int(unneeded_minor)


def _call_for_person(tx: Connection, refund: sa.Row[Any], result: RefundResult) -> None:
    """It stays reserved, and says why."""
    tx.execute(
        sa.update(_refunds)
        .where(_refunds.c.merchant_id == refund.merchant_id, _refunds.c.id == refund.id)
        .values(pending_reason=result.provider_status[:64] or None)
    )
    _tell(tx, refund, "refund_stuck", f"has not gone back yet: {result.provider_status}")


def give_up(tx: Connection, refund: sa.Row[Any]) -> None:
    """What a refund had reserved is free again, and a member has it back.  A step."""
    _, charge = _recount(tx, refund)
    if charge is not None and charge.topup_id is not None and not refund.automatic:
        crediting.give_back(tx, charge, refund)


def _take_after_all(tx: Connection, refund: sa.Row[Any]) -> None:
    """It went back although it had failed: what was free again is not, and a person hears of it."""
    _tell(tx, refund, "refund_contradicted", "went back after all, although it was said to have failed")
    is_too_much, charge = _recount(tx, refund)
    if is_too_much:
        _tell(tx, refund, "refund_exceeds", "went back beyond what was received")
    if charge is not None and charge.topup_id is not None and not refund.automatic:
        crediting.take_again(tx, charge, refund)


def _recount(tx: Connection, refund: sa.Row[Any]) -> tuple[bool, sa.Row[Any] | None]:
    """Count anew what went back, or is on its way, of an attempt and its charge.  Whether it is too much,
    and the charge if the attempt settles one.

    The sum and not a difference: so a reservation is released once however often its end is told, and
    one that is taken again cannot push the count beyond what came in.
    """
    which = {"merchant_id": refund.merchant_id, "attempt_id": refund.attempt_id}
    attempt = tx.execute(_LOCK_ATTEMPT, which).one()
    of_charge_minor, unneeded_minor = _given(tx, attempt)
    given_minor = of_charge_minor + unneeded_minor
    _count(tx, _attempts, attempt, attempt.id, min(given_minor, attempt.received_minor))
    charge = None
    if attempt.settles:
        counted_minor = min(of_charge_minor, attempt.credited_minor)
        charge = _count(tx, _charges, attempt, attempt.charge_id, counted_minor)
    return given_minor > attempt.received_minor, charge


def _count(tx: Connection, table: sa.Table, attempt: sa.Row[Any], row_id: str, minor: int) -> sa.Row[Any]:
    return tx.execute(
        sa.update(table)
        .where(table.c.merchant_id == attempt.merchant_id, table.c.id == row_id)
        .values(refunded_minor=minor)
        .returning(*table.c)
    ).one()


def _tell(tx: Connection, refund: sa.Row[Any], kind: str, fact: str) -> None:
    incidents.raise_incident(
        tx,
        refund.merchant_id,
        kind=kind,
        subject_id=refund.id,
        charge_id=refund.charge_id,
        detail=f"{Money(refund.amount_minor, refund.currency)} {fact}",
    )


def _name(by: Actor) -> str | None:
    return None if by == SERVER else by.name


def note(tx: Connection, by: Actor, action: Action, refund: sa.Row[Any]) -> None:
    """What was done about a refund, into the audit log.  A step, and the last one."""
    facts = {
        "charge": refund.charge_id,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "state": refund.state,
        "asked_by": refund.asked_by,
    }
    audit.append(tx, refund.merchant_id, by, action, refund.id, after=facts)


def _body(public_id: str) -> str:
    """``"re_01jd…" -> "01JD…"``: 26 letters and digits, as every network takes them.  Pure."""
    return public_id.partition("_")[2].upper()
