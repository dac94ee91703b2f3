"""What happens to a trade: opened, paid, refused, closed, finished; with levers, and with time.

Every function is a step in the caller's transaction.  The cashier page, the control calls and the
networks' gateways all come through here, so a lever works whichever hand moves the shopper.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from sandbox import levers, notes, timing, trades
from sandbox.box import Box
from sandbox.trades import Refund, State, Trade
from sandbox.yuan import fen_of

# The networks ask for a password above 1,000 yuan.
PASSWORD_ABOVE_MINOR = 100_000
# What the networks call a payment by the shopper's code.
CODE_PRODUCTS = ("codepay", "pay", "code")
_SWEEP_LIMIT = 50


class Outcome(StrEnum):
    """How a shopper's act ended."""

    OPENED = "opened"
    PAID = "paid"
    PROCESSING = "processing"  # approved; the money moves a little later
    DECLINED = "declined"
    CLOSED = "closed"
    ALREADY_PAID = "already_paid"
    EXPIRED_CODE = "expired_code"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome and the trade as it is now."""

    outcome: Outcome
    trade: Trade


def enter(box: Box, db: sqlite3.Connection, wish: trades.Offer) -> Trade:
    """A merchant names a price; levers that wait for the next payment take hold of it."""
    trade = trades.offer(db, wish)
    if box.magic:
        levers.plant_magic(db, trade.out_trade_no, trade.amount_minor)
    levers.bind_next(db, trade.out_trade_no)
    return trade


def open_trade(box: Box, db: sqlite3.Connection, trade: Trade) -> Verdict:
    """A shopper scans the code or opens the cashier: from here on the network knows the trade."""
    trade = progress(box, db, trade)
    if trade.state is State.OFFERED:
        now = timing.now()
        if trade.code_expires_ts is not None and trade.code_expires_ts <= now:
            return Verdict(Outcome.EXPIRED_CODE, trade)
        ends = [trade.expires_ts, None if trade.lasts_s is None else now + trade.lasts_s]
        expires_ts = min((end for end in ends if end is not None), default=None)
        trade = trades.move(
            db, trade, (State.OFFERED,), state=State.WAITING.value, opened_ts=now, expires_ts=expires_ts
        )
        levers.bind_next(db, trade.out_trade_no)
        if levers.take(db, "approve", trade.out_trade_no) is not None:
            return pay(box, db, trade)
    return Verdict(_standing(trade), trade)


def pay(
    box: Box, db: sqlite3.Connection, trade: Trade, *, amount_minor: int | None = None, late: bool = False
) -> Verdict:
    """The shopper approves.  ``late`` takes the money even when the trade is closed."""
    verdict = open_trade(box, db, trade)
    trade = verdict.trade
    if verdict.outcome not in (Outcome.OPENED, Outcome.CLOSED):
        return verdict
    if trade.state is State.CLOSED and trade.opened_ts is not None:
        late = late or levers.take(db, "late", trade.out_trade_no) is not None
    if trade.state is not State.WAITING and not (late and trade.state is State.CLOSED):
        return verdict
    levers.bind_next(db, trade.out_trade_no)
    if levers.take(db, "close", trade.out_trade_no) is not None:
        return Verdict(Outcome.CLOSED, close(box, db, trade))
    reason = levers.take(db, "decline", trade.out_trade_no)
    if reason is not None:
        return decline(db, trade, reason)
    seconds = levers.take(db, "slow_payment", trade.out_trade_no)
    if seconds is not None:
        due = timing.now() + float(seconds)
        trade = trades.move(db, trade, (State.WAITING, State.CLOSED), pay_due_ts=due)
        return Verdict(Outcome.PROCESSING, trade)
    return Verdict(Outcome.PAID, _take_money(box, db, trade, amount_minor))


def pay_by_code(box: Box, db: sqlite3.Connection, trade: Trade) -> Verdict:
    """A till has scanned the shopper's code: money at once, or OPENED while the password is asked for."""
    verdict = open_trade(box, db, trade)
    if verdict.outcome is not Outcome.OPENED:
        return verdict
    if levers.take(db, "password", trade.out_trade_no) is not None:
        return verdict
    if trade.amount_minor > PASSWORD_ABOVE_MINOR:
        return verdict
    return pay(box, db, trade)


def decline(db: sqlite3.Connection, trade: Trade, reason: str) -> Verdict:
    """The wallet refuses; the trade stays open and the shopper may try again.

    Except with a payment code, which is one try: the trade is over.
    """
    trade = trades.move(db, trade, (State.WAITING,), failure=reason)
    if trade.product in CODE_PRODUCTS:
        trade = trades.move(db, trade, (State.WAITING,), state=State.CLOSED.value, closed_ts=timing.now())
    return Verdict(Outcome.DECLINED, trade)


def reverse(box: Box, db: sqlite3.Connection, trade: Trade) -> Trade:
    """The merchant gives a payment by code up: unpaid it ends, paid its money goes back as if it never came.

    The lever ``pay_first`` has the shopper pay the moment before.
    """
    if trade.state is State.WAITING and levers.take(db, "pay_first", trade.out_trade_no) is not None:
        trade = _take_money(box, db, trade, None)
    if trade.state is State.WAITING:
        trade = close(box, db, trade)
    now = timing.now()
    trade = trades.move(
        db, trade, (State.PAID,), state=State.CLOSED.value, paid_minor=0, paid_ts=None, closed_ts=now
    )
    return trades.note(db, trade, reversed="yes")


def close(box: Box, db: sqlite3.Connection, trade: Trade) -> Trade:
    """End a trade that nobody paid.  A ``late`` lever with seconds pays it all the same, later."""
    if trade.state is not State.WAITING:
        return trade
    now = timing.now()
    trade = trades.move(db, trade, (State.WAITING,), state=State.CLOSED.value, closed_ts=now, pay_due_ts=None)
    notes.enqueue(box, db, trade, "closed")
    if levers.held(db, "late", trade.out_trade_no):
        seconds = levers.take(db, "late", trade.out_trade_no) or "0"
        trade = trades.move(db, trade, (State.CLOSED,), pay_due_ts=now + float(seconds))
    return trade


def withdraw(db: sqlite3.Connection, trade: Trade) -> Trade:
    """Take back an offer that nobody opened: its code is dead."""
    return trades.move(db, trade, (State.OFFERED,), state=State.WITHDRAWN.value, closed_ts=timing.now())


def finish(box: Box, db: sqlite3.Connection, trade: Trade) -> Trade:
    """The time for refunds is over."""
    if trade.state is not State.PAID or trade.fully_refunded:
        return trade
    trade = trades.move(db, trade, (State.PAID,), state=State.FINISHED.value)
    notes.enqueue(box, db, trade, "finished")
    return trade


def progress(box: Box, db: sqlite3.Connection, trade: Trade) -> Trade:
    """Bring a trade up to the present: delayed money, the end of its time, refunds on their way."""
    now = timing.now()
    if trade.pay_due_ts is not None and trade.pay_due_ts <= now:
        trade = _take_money(box, db, trade, None)
    elif _is_overdue(trade, now):
        trade = close(box, db, trade) if trade.state is State.WAITING else withdraw(db, trade)
    for refund in trades.refunds_of(db, trade):
        if refund.state == "pending" and refund.due_ts is not None and refund.due_ts <= now:
            trade = arrive(box, db, trade, refund)
    return trade


def arrive(box: Box, db: sqlite3.Connection, trade: Trade, refund: Refund) -> Trade:
    """A refund reaches the shopper, or fails to, and the merchant hears of it."""
    state = refund.details.get("ends", "done")
    trade = trades.end_refund(db, trade, refund, state, timing.now())
    number = refund.out_refund_no
    ended = next(item for item in trades.refunds_of(db, trade) if item.out_refund_no == number)
    notes.enqueue(box, db, trade, "refunded" if state == "done" else f"refund_{state}", ended)
    return trade


def refund(box: Box, db: sqlite3.Connection, trade: Trade, wish: Refund) -> Trade:
    """Send money back, now or at ``wish.due_ts``.  The caller has checked the amount."""
    trades.add_refund(db, trade, wish)
    if wish.due_ts is None:
        return arrive(box, db, trade, wish)
    return trade


def sweep(box: Box) -> bool:
    """Let time pass for everybody; says whether anything moved.  Opens its own transaction."""
    now = timing.now()
    with box.store.read() as db:
        due = bool(trades.overdue(db, now, 1)) or bool(trades.overdue_refunds(db, now, 1))
    if not due:
        return False
    with box.store.write() as db:
        late = trades.overdue(db, now, _SWEEP_LIMIT)
        late += [trade for trade, _ in trades.overdue_refunds(db, now, _SWEEP_LIMIT)]
        for code in {trade.code for trade in late}:
            trade = trades.by_code(db, code)
            if trade is not None:
                progress(box, db, trade)
    return True


def _is_overdue(trade: Trade, now: float) -> bool:
    """Money that is on its way outruns the deadline."""
    on_its_way = trade.pay_due_ts is not None
    return (
        trade.state in (State.OFFERED, State.WAITING)
        and trade.expires_ts is not None
        and trade.expires_ts <= now
        and not on_its_way
    )


def _take_money(box: Box, db: sqlite3.Connection, trade: Trade, amount_minor: int | None) -> Trade:
    wrong = levers.take(db, "wrong_amount", trade.out_trade_no)
    if amount_minor is None:
        amount_minor = trade.amount_minor if wrong is None else bent(trade.amount_minor, wrong)
    columns: dict[str, str | float | int | None] = {
        "state": State.PAID.value,
        "paid_minor": amount_minor,
        "paid_ts": timing.now(),
        "closed_ts": None,
        "pay_due_ts": None,
        "failure": "",
    }
    trade = trades.move(db, trade, (State.WAITING, State.CLOSED), **columns)
    if levers.take(db, "rotate", trade.out_trade_no) is not None:
        network = box.network_of(trade)
        what = network.rotation_of(trade)
        if what:
            network.rotate(what)
    notes.enqueue(box, db, trade, "paid")
    return trade


def bent(amount_minor: int, value: str) -> int:
    """``(1250, "+0.01") -> 1251``, ``(1250, "-1") -> 1150``, ``(1250, "9.99") -> 999``; at least 1.  Pure."""
    if value[0] == "+":
        return amount_minor + fen_of(value[1:])
    if value[0] == "-":
        return max(1, amount_minor - fen_of(value[1:]))
    return max(1, fen_of(value))


def _standing(trade: Trade) -> Outcome:
    if trade.state in (State.PAID, State.FINISHED):
        return Outcome.ALREADY_PAID
    if trade.state in (State.CLOSED, State.WITHDRAWN):
        return Outcome.CLOSED
    return Outcome.PROCESSING if trade.pay_due_ts is not None else Outcome.OPENED
