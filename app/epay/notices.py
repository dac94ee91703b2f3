"""What a shop is told of a payment: owed in the transaction that makes it paid, sent until it says "success".

The parameters are frozen then; what is signed anew at each try is only their signature, because a key may
have been changed in between.  A notice whose money went back before anybody heard of it is not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, queue
from app.charges.dossier import Step, Turn
from app.charges.models import Charge
from app.charges.states import ChargeState
from app.db import insert_many, moment, reading, retried, table_of, transaction
from app.epay import wire
from app.epay.models import EpayFront, EpayOrder, EpayTry, NoticeState
from app.epay.switch import Front, front_of
from app.epay.wire import Asked
from app.errors import Conflict, NotFound
from app.http import Sent
from app.ids import is_id, new_id
from app.queue import Claim, Kind
from app.runtime import settings
from app.vault import SealBroken
from app.webhooks.delivery import gap_after
from app.webhooks.outbox import Fact

MARK = "epay_pid"  # in the metadata of a charge: which way it came, for whoever looks at it
LEASE = timedelta(seconds=60)  # 15 on the wire, and the rest to write it down
HEAD_CHARS_MAX = 500
TRIES_SHOWN = 60
_SLICE, _SLICES_MAX = 500, 200  # short transactions, so that no payment waits behind one
_LONGEST_TRADE_NO = "ch_" + 26 * "0"

_orders, _tries, _charges, _fronts = (
    table_of(EpayOrder),
    table_of(EpayTry),
    table_of(Charge),
    table_of(EpayFront),
)


@dataclass(frozen=True, slots=True)
class Errand:
    """A claimed notice with all that its journey needs.  ``number`` is that of the coming try."""

    claim: Claim
    number: int
    url: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try ended."""

    errand: Errand
    started_at: datetime
    sent: Sent

    @property
    def is_success(self) -> bool:
        return self.sent.error is None and wire.is_success(self.sent.status, self.sent.head)


def owe(tx: Connection, fact: Fact) -> None:
    """A charge is paid: if a shop asked for it in 易支付, it will be told.  A step.

    Others cost no statement: what is settled most often are charges of no such shop.
    """
    pid = fact.data.get("metadata", {}).get(MARK)
    if pid is None:
        return
    key = (_orders.c.merchant_id == fact.merchant_id, _orders.c.charge_id == fact.object_id)
    # Locked by the charge's own row, which has just moved: this comes once.
    order = tx.execute(sa.select(*_orders.c).where(*key)).first()
    if order is None:
        return
    now = moment(tx)
    fields = {
        "pid": pid,
        "trade_no": order.charge_id,
        "out_trade_no": order.out_trade_no,
        "type": wire.word_for(fact.data["provider"], order.method),
        "name": order.name,
        "money": order.money,
        "trade_status": wire.PAID,
        "param": order.param,
    }
    tx.execute(
        sa.update(_orders)
        .where(*key)
        .values(notice=wire.encoded(fields), notice_state=NoticeState.PENDING, next_try_at=now)
    )
    queue.put(tx, Kind.NOTICE, fact.merchant_id, fact.object_id, now)


def fits(front: Front, asked: Asked) -> bool:
    """Whether the notice of such an order could be sent at all.  Pure."""
    fields = {
        "pid": front.pid,
        "trade_no": _LONGEST_TRADE_NO,
        "out_trade_no": asked.out_trade_no,
        "type": "unionpay",
        "name": asked.name,
        "money": asked.money,
        "trade_status": wire.PAID,
        "param": asked.param,
    }
    address = wire.with_query(asked.notify_url, wire.with_signature(fields, front.key))
    return len(wire.for_a_header(address)) <= wire.NOTICE_CHARS_MAX


def return_address(order: sa.Row[Any], front: Front) -> str:
    """Where the shopper's browser goes, with the parameters of the notice.  Pure."""
    return wire.with_query(order.return_url, wire.with_signature(_frozen(order), front.key))


def claim_errands(limit: int) -> tuple[list[Errand], int]:
    """Take up to ``limit`` due notices for a time; what can be sent of them, and how many were taken."""
    with reading() as connection:
        if not queue.is_due(connection, Kind.NOTICE):
            return [], 0
    claims = _claim(limit)
    errands = [errand for claim in claims if (errand := _errand(claim)) is not None]
    return errands, len(claims)


@retried
def record(outcomes: Sequence[Outcome]) -> None:
    """Write down how tries ended.  Each is kept; one whose claim was lost moves nothing."""
    with transaction() as tx:
        now = moment(tx)
        insert_many(tx, _tries, [_row(outcome) for outcome in outcomes])
        for outcome in outcomes:
            _conclude(tx, outcome, now)


def put_back(claims: Sequence[tuple[Claim, float]]) -> None:
    """What cannot be sent now is due again after so many seconds."""
    with transaction() as tx:
        now = moment(tx)
        queue.put_back_many(tx, [(claim, now + timedelta(seconds=after_s)) for claim, after_s in claims])


@retried
def resend(merchant_id: str, charge_id: str) -> None:
    """Tell the shop again, now: the same parameters.

    Raises NotFound, or Conflict with code ``not_paid``, ``charge_already_refunded`` or ``epay_disabled``.
    """
    if not is_id(charge_id, "ch"):
        raise NotFound("no such order")
    with transaction() as tx:
        order = tx.execute(_LOAD, {"of_merchant_id": merchant_id, "of_charge_id": charge_id}).first()
        if order is None:
            raise NotFound("no such order")
        if order.notice is None:
            raise Conflict("it is not paid: there is nothing to tell", code="not_paid")
        if reason := _why_not(order):
            raise Conflict("nothing is sent of it any more", code=reason)
        now = moment(tx)
        moved = tx.execute(
            sa.update(_orders)
            .where(
                _orders.c.merchant_id == merchant_id,
                _orders.c.charge_id == charge_id,
                _orders.c.notice_state != NoticeState.PENDING,
            )
            .values(notice_state=NoticeState.PENDING, next_try_at=now, delivered_at=None)
        )
        if moved.rowcount == 1:
            queue.put(tx, Kind.NOTICE, merchant_id, charge_id, now)
        else:
            queue.hasten(tx, Kind.NOTICE, merchant_id, charge_id, now)


def list_tries(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """The latest, in order."""
    with reading() as connection:
        rows = connection.execute(
            sa.select(*_tries.c)
            .where(_tries.c.merchant_id == merchant_id, _tries.c.charge_id == charge_id)
            .order_by(_tries.c.id.desc())
            .limit(TRIES_SHOWN)
        ).all()
    return list(rows[::-1])


def steps_of(merchant_id: str, charge_id: str) -> list[Step]:
    """For the charge's story: when the shop had heard."""
    key = (_orders.c.merchant_id == merchant_id, _orders.c.charge_id == charge_id)
    with reading() as connection:
        at = connection.execute(sa.select(_orders.c.delivered_at).where(*key)).scalar()
    return [] if at is None else [Step(at, Turn.NOTIFIED)]


def forget_old() -> int:
    """What of the log of tries is older than MAFU_KEEP_TRIES_DAYS, a slice at a time; how many are gone."""
    days, count = settings().keep_tries_days, 0
    for _ in range(_SLICES_MAX if days else 0):
        gone = _forget_slice(timedelta(days=days))
        count += gone
        if gone < _SLICE:
            break
    return count


def _forget_slice(age: timedelta) -> int:
    with transaction() as tx:
        old = (
            sa.select(_tries.c.merchant_id, _tries.c.id)
            .where(_tries.c.started_at < moment(tx) - age)
            .limit(_SLICE)
        )
        mine = sa.tuple_(_tries.c.merchant_id, _tries.c.id)
        return tx.execute(sa.delete(_tries).where(mine.in_(old))).rowcount


@retried
def _claim(limit: int) -> list[Claim]:
    with transaction() as tx:
        return queue.claim(tx, Kind.NOTICE, limit=limit, lease=LEASE)


def _errand(claim: Claim) -> Errand | None:
    """What is to be sent; None if there is nothing to send any more, which is written down."""
    mine = {"of_merchant_id": claim.merchant_id, "of_charge_id": claim.subject_id}
    with reading() as connection:
        order = connection.execute(_LOAD, mine).first()
    if order is None or order.notice_state != NoticeState.PENDING or _why_not(order):
        _abandon(claim)
        return None
    try:
        key = front_of(order).key
    except SealBroken as error:
        unsigned = Errand(claim, order.tries + 1, "")
        record([Outcome(unsigned, clock.now(), Sent("", None, str(error), 0))])
        return None
    return Errand(
        claim,
        order.tries + 1,
        wire.for_a_header(wire.with_query(order.notify_url, wire.with_signature(_frozen(order), key))),
    )


def _why_not(order: sa.Row[Any]) -> str:
    """Why nothing is sent of an order that was paid; empty if something is.  Pure."""
    if order.state != ChargeState.PAID or order.refunded_minor >= order.paid_minor:
        return "charge_already_refunded"
    return "" if order.enabled else "epay_disabled"


def _frozen(order: sa.Row[Any]) -> dict[str, str]:
    return dict(parse_qsl(order.notice, keep_blank_values=True))


@retried
def _abandon(claim: Claim) -> None:
    with transaction() as tx:
        if queue.finish(tx, claim):
            tx.execute(
                _MOVE,
                {
                    **_key(claim),
                    "new_state": NoticeState.ABANDONED,
                    "new_next_try_at": None,
                    "new_delivered_at": None,
                    "more_tries": 0,
                },
            )


def _conclude(tx: Connection, outcome: Outcome, now: datetime) -> None:
    claim, sent = outcome.errand.claim, outcome.sent
    gap = None
    if not outcome.is_success:
        gap = gap_after(outcome.errand.number, sent.status, sent.retry_after_s)
    due_at = None if gap is None else now + gap
    is_ours = queue.finish(tx, claim) if due_at is None else queue.put_back(tx, claim, due_at)
    if not is_ours:
        return
    state = NoticeState.PENDING if due_at is not None else NoticeState.EXHAUSTED
    tx.execute(
        _MOVE,
        {
            **_key(claim),
            "new_state": NoticeState.DELIVERED if outcome.is_success else state,
            "new_next_try_at": due_at,
            "new_delivered_at": now if outcome.is_success else None,
            "more_tries": 1,
        },
    )


def _row(outcome: Outcome) -> dict[str, Any]:
    head = outcome.sent.head.decode(errors="replace")[:HEAD_CHARS_MAX]
    return {
        "merchant_id": outcome.errand.claim.merchant_id,
        "id": new_id("ept"),
        "charge_id": outcome.errand.claim.subject_id,
        "number": outcome.errand.number,
        "started_at": outcome.started_at,
        "duration_ms": outcome.sent.duration_ms,
        "status": outcome.sent.status,
        "error": outcome.sent.error,
        "response_head": head.replace("\x00", "\ufffd"),  # PostgreSQL has no text with a zero in it
    }


def _key(claim: Claim) -> dict[str, str]:
    return {"of_merchant_id": claim.merchant_id, "of_charge_id": claim.subject_id}


_OF = (
    _orders.c.merchant_id == sa.bindparam("of_merchant_id"),
    _orders.c.charge_id == sa.bindparam("of_charge_id"),
)
_LOAD: sa.Select[Any] = (
    sa.select(
        *_orders.c,
        _charges.c.state,
        _charges.c.paid_minor,
        _charges.c.refunded_minor,
        *[_fronts.c[name] for name in ("pid", "sealed_key", "enabled", "refunds_enabled")],
    )
    .join(
        _charges,
        sa.and_(_charges.c.merchant_id == _orders.c.merchant_id, _charges.c.id == _orders.c.charge_id),
    )
    .join(
        _fronts,
        sa.and_(_fronts.c.merchant_id == _orders.c.merchant_id, _fronts.c.livemode == _orders.c.livemode),
    )
    .where(*_OF)
)
_MOVE = (
    sa.update(EpayOrder)
    .where(*_OF, _orders.c.notice_state == NoticeState.PENDING)
    .values(
        notice_state=sa.bindparam("new_state"),
        next_try_at=sa.bindparam("new_next_try_at"),
        delivered_at=sa.bindparam("new_delivered_at"),
        tries=_orders.c.tries + sa.bindparam("more_tries"),
    )
)
