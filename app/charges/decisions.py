"""What a person does with money that no charge has taken: accept it, match it, send it back, set it aside.

Each decision is one transaction that locks the attempt and looks again: of two people who press at
once one wins, and the other is told.  It is kept with who made it, and never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app.charges import bookings, incidents, refunds, unclaimed
from app.charges.models import Attempt, Charge, Decision, Refund
from app.charges.settle import announce, pay_charge
from app.charges.states import Deed, RefundState
from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.ledger import rates
from app.merchants import audit, policy
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import ProviderAccount
from app.merchants.roles import Permission

NOTE_CHARS_MAX = 200

log = structlog.get_logger(__name__)

_attempts, _charges, _refunds = table_of(Attempt), table_of(Charge), table_of(Refund)
_accounts, _decisions = table_of(ProviderAccount), table_of(Decision)


@dataclass(frozen=True, slots=True)
class Press:
    """A person decides about money of which they saw so much waiting."""

    merchant_id: str
    attempt_id: str
    seen_minor: int
    decided_by: str  # their e-mail address
    by: Actor = SERVER


def accept(press: Press, *, return_surplus: bool) -> None:
    """The money pays the charge that it came for, whatever its amount, and even if that was canceled.

    If more came than was asked, the rest goes back or goes on waiting.  Raises NotFound, Conflict.
    """
    _pay(press, None, Deed.ACCEPTED, return_surplus)


def match(press: Press, wanted: str, *, return_surplus: bool) -> None:
    """The same for another charge, named by its id or its order number.  Raises NotFound, Conflict."""
    _pay(press, wanted.strip()[:64], Deed.MATCHED, return_surplus)


@retried
def refund(press: Press) -> RefundState:
    """Send back all that waits of a payment, above the shop's limit after a second person's approval.

    The state of the refund.  Raises NotFound, Conflict.
    """
    with transaction() as tx:
        row = _take(tx, press)
        made = _send_back(tx, press, row, row.waiting_minor, reason="unclaimed")
        _record(tx, press, row, Deed.REFUNDED, row.waiting_minor)
        return made


@retried
def set_aside(press: Press, note: str) -> None:
    """It was settled elsewhere, as the note says.  Raises NotFound, Conflict, InvalidRequest."""
    with transaction() as tx:
        row = _take(tx, press)
        text = " ".join(note.split())
        if not 1 <= len(text) <= NOTE_CHARS_MAX or not text.isprintable():
            raise InvalidRequest(f"a note has 1 to {NOTE_CHARS_MAX} characters", param="note")
        tx.execute(_update(row).values(outside_minor=_attempts.c.outside_minor + row.waiting_minor))
        _record(tx, press, row, Deed.SET_ASIDE, row.waiting_minor, note=text)


def list_decisions(merchant_id: str, *, livemode: bool, limit: int = 20) -> list[sa.Row[Any]]:
    """The latest decisions in a mode, newest first, with ``provider`` of the payment."""
    query = (
        sa.select(*_decisions.c, _attempts.c.provider)
        .join(
            _attempts,
            sa.and_(
                _attempts.c.merchant_id == _decisions.c.merchant_id,
                _attempts.c.id == _decisions.c.attempt_id,
            ),
        )
        .join(
            _accounts,
            sa.and_(
                _accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id
            ),
        )
        .where(_decisions.c.merchant_id == merchant_id, _accounts.c.livemode == livemode)
        .order_by(_decisions.c.id.desc())
        .limit(limit)
    )
    with reading() as connection:
        return list(connection.execute(query))


def list_decisions_of_charge(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """What people decided about money that came for a charge or pays it, oldest first."""
    query = sa.select(*_decisions.c).where(
        _decisions.c.merchant_id == merchant_id,
        sa.or_(_decisions.c.charge_id == charge_id, _decisions.c.came_for_id == charge_id),
    )
    with reading() as connection:
        return list(connection.execute(query.order_by(_decisions.c.id).limit(50)))


def _take(tx: Connection, press: Press) -> sa.Row[Any]:
    """The attempt, locked, as it is now.  Raises NotFound, or Conflict if it is not as the person saw it."""
    press.by.require(Permission.UNCLAIMED_WRITE)
    own = sa.and_(_attempts.c.merchant_id == press.merchant_id, _attempts.c.id == press.attempt_id[:40])
    if tx.execute(sa.select(_attempts.c.id).where(own).with_for_update()).first() is None:
        raise NotFound("no such payment")
    # A statement of its own: it sees what was committed while the lock was waited for.
    row = unclaimed.read_one(tx, press.merchant_id, press.attempt_id)
    if row.waiting_minor != press.seen_minor or press.seen_minor <= 0:
        raise Conflict("somebody has decided about this money meanwhile", code="already_decided")
    return row


@retried
def _pay(press: Press, wanted: str | None, deed: Deed, return_surplus: bool) -> None:
    with transaction() as tx:
        row = _take(tx, press)
        if row.waiting_minor != row.received_minor:
            raise Conflict("a part of this payment has gone elsewhere", code="not_whole")
        charge = _find_charge(tx, row, wanted if wanted is not None else row.charge_id or "")
        if charge.currency != row.received_currency:
            raise Conflict("the charge asks for another currency", code="other_currency")
        credited_minor = min(row.received_minor, charge.amount_minor)
        paid = pay_charge(tx, row, charge.id, credited_minor, by_person=True)
        if paid is None:
            raise Conflict("the charge is paid already", code="charge_paid")
        received = (row.received_currency, row.received_minor)
        values = {
            "settles": True,
            "charge_id": charge.id,
            "credited_minor": credited_minor,
            "fee_minor": rates.foreseen(tx, row.merchant_id, row.account_id, *received),
        }
        settling = tx.execute(_update(row).values(values).returning(*_attempts.c)).one()
        announce(tx, paid, settling, accepted_by=press.decided_by)
        surplus_minor = row.received_minor - credited_minor
        if surplus_minor and return_surplus:
            _send_back(tx, press, settling, surplus_minor, reason="surplus")
        _record(tx, press, row, deed, credited_minor, charge=charge, settling=settling)


def _find_charge(tx: Connection, row: sa.Row[Any], wanted: str) -> sa.Row[Any]:
    """A charge of the payment's merchant and mode, locked.  Raises NotFound."""
    by_name = _charges.c.id if is_id(wanted, "ch") else _charges.c.merchant_order_no
    charge = tx.execute(
        sa.select(*_charges.c)
        .where(
            _charges.c.merchant_id == row.merchant_id,
            _charges.c.livemode == row.livemode,
            by_name == wanted,
        )
        .with_for_update()
    ).first()
    if charge is None:
        raise NotFound("no such charge of this merchant and mode", code="no_such_charge")
    return charge


def _send_back(tx: Connection, press: Press, row: sa.Row[Any], minor: int, *, reason: str) -> RefundState:
    earlier = sa.select(sa.func.count()).where(
        _refunds.c.merchant_id == row.merchant_id, _refunds.c.attempt_id == row.id, _refunds.c.automatic
    )
    number = tx.execute(earlier).scalar_one() + 1
    made = refunds.reserve_unneeded(
        tx,
        row,
        reason=reason,
        minor=minor,
        number=number,
        asked_by=press.decided_by,
        limit_minor=policy.read_policy(tx, row.merchant_id).limit_for(press.by),
    )
    if made is None:  # counted up just now, under the attempt's lock
        raise RuntimeError(f"a refund of {row.id} has a number that is taken")
    return RefundState(made.state)


def _record(
    tx: Connection,
    press: Press,
    row: sa.Row[Any],
    deed: Deed,
    minor: int,
    *,
    charge: sa.Row[Any] | None = None,
    settling: sa.Row[Any] | None = None,
    note: str = "",
) -> None:
    """Keep who decided what, post it, and take what it was raised for off the list of incidents."""
    decision = tx.execute(
        sa.insert(_decisions).returning(*_decisions.c),
        {
            "merchant_id": row.merchant_id,
            "id": new_id("dec"),
            "attempt_id": row.id,
            "deed": deed,
            "came_for_id": row.charge_id,
            "charge_id": None if charge is None else charge.id,
            "found": None if charge is None else charge.state,
            "amount_minor": minor,
            "currency": row.received_currency,
            "note": note,
            "decided_by": press.decided_by,
            "created_at": moment(tx),
        },
    ).one()
    bookings.post_decision(tx, settling or row, decision, livemode=row.livemode)
    failed = sa.select(_refunds.c.id).where(
        _refunds.c.merchant_id == row.merchant_id, _refunds.c.attempt_id == row.id, _refunds.c.automatic
    )
    incidents.resolve_about(
        tx,
        row.merchant_id,
        kinds=("amount_mismatched", "unknown_payment", "refund_failed"),
        subject_ids=(row.id, f"{row.account_id}:{row.out_trade_no}", *tx.scalars(failed)),
    )
    facts = {"deed": deed, "amount_minor": minor, "currency": row.received_currency, "note": note}
    audit.append(tx, row.merchant_id, press.by, Action.UNCLAIMED_DECIDED, row.id, after=facts)
    log.info("unclaimed money decided", deed=deed, attempt_id=row.id, amount_minor=minor)


def _update(row: sa.Row[Any]) -> sa.Update:
    return sa.update(_attempts).where(_attempts.c.merchant_id == row.merchant_id, _attempts.c.id == row.id)
