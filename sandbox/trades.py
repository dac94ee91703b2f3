"""The trade book that every network shares: rows of payments and refunds, and their guarded moves.

offered    the merchant named a price, but no shopper has opened it: the network knows no trade yet
 |- withdrawn   taken back before anybody opened it
 `- waiting     the shopper sees the cashier
     |- closed  by the merchant, by time; with a lever, money can still come in
     `- paid    refunds count against it; a full refund is arithmetic, each network words it
         `- finished  the time for refunds is over
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sandbox import timing

# Letters and digits that cannot be mistaken for another on a screen; 24 of them are 118 bits.
_CODE_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_CODE_CHARS = 24


class State(StrEnum):
    """Where a trade is; see the module's drawing."""

    OFFERED = "offered"
    WITHDRAWN = "withdrawn"
    WAITING = "waiting"
    CLOSED = "closed"
    PAID = "paid"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a merchant asks for.  ``lasts_s`` counts from the moment the trade exists."""

    network: str
    app_id: str
    out_trade_no: str
    trade_no: str
    product: str
    amount_minor: int
    subject: str
    payee: str
    notify_url: str
    return_url: str
    fingerprint: str  # the parameters that may not change under one out_trade_no
    details: Mapping[str, str] = field(default_factory=dict)  # the network's own: body, charset, ...
    code_expires_ts: float | None = None
    expires_ts: float | None = None
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """One row of the book."""

    network: str
    app_id: str
    out_trade_no: str
    trade_no: str
    code: str
    state: State
    product: str
    amount_minor: int
    paid_minor: int
    refunded_minor: int
    subject: str
    payee: str
    notify_url: str
    return_url: str
    details: Mapping[str, str]
    fingerprint: str
    failure: str
    created_ts: float
    opened_ts: float | None
    code_expires_ts: float | None
    expires_ts: float | None
    lasts_s: float | None
    paid_ts: float | None
    closed_ts: float | None
    pay_due_ts: float | None

    @property
    def total_minor(self) -> int:
        """What the network says the trade is about: the money taken, once it is taken."""
        return self.paid_minor or self.amount_minor

    @property
    def fully_refunded(self) -> bool:
        """Whether everything that was paid went back."""
        return 0 < self.paid_minor == self.refunded_minor


@dataclass(frozen=True, slots=True)
class Refund:
    """Money going back.  It counts in the trade's ``refunded_minor`` once it is done.

    Only a closed one gives its part of the trade's money free for another refund.
    """

    out_refund_no: str
    amount_minor: int
    state: str  # "pending" | "done" | "closed" (it failed) | "abnormal" (it is stuck)
    reason: str
    created_ts: float
    due_ts: float | None
    done_ts: float | None
    # The network's own facts; ``ends`` says which state a pending one will reach, if it is not "done".
    details: Mapping[str, str] = field(default_factory=dict)


def offer(db: sqlite3.Connection, wish: Offer) -> Trade:
    """Enter a payment that nobody has opened yet.  A step.  The number must be new."""
    code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_CHARS))
    columns = {name: getattr(wish, name) for name in Offer.__dataclass_fields__}
    columns |= {
        "details": json.dumps(dict(wish.details), ensure_ascii=False),
        "code": code,
        "state": State.OFFERED.value,
        "created_ts": timing.now(),
    }
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO trades ({names}) VALUES ({marks})", tuple(columns.values()))
    found = by_code(db, code)
    assert found is not None
    return found


def find(db: sqlite3.Connection, network: str, app_id: str, out_trade_no: str) -> Trade | None:
    """The trade of one app under its own number."""
    return _one(db, "network = ? AND app_id = ? AND out_trade_no = ?", (network, app_id, out_trade_no))


def by_trade_no(db: sqlite3.Connection, network: str, app_id: str, trade_no: str) -> Trade | None:
    """The trade of one app under the network's number."""
    return _one(db, "network = ? AND app_id = ? AND trade_no = ?", (network, app_id, trade_no))


def by_code(db: sqlite3.Connection, code: str) -> Trade | None:
    """The trade behind a QR code or a cashier address."""
    return _one(db, "code = ?", (code,))


def of_number(db: sqlite3.Connection, out_trade_no: str) -> list[Trade]:
    """Every trade with this number: two merchants may have had the same idea."""
    return _many(db, "out_trade_no = ?", (out_trade_no,), "created_ts DESC", 20)


def newest(db: sqlite3.Connection, limit: int, app_id: str = "") -> list[Trade]:
    """The latest trades, of one app or of all."""
    return _many(db, "(? = '' OR app_id = ?)", (app_id, app_id), "created_ts DESC", limit)


def overdue(db: sqlite3.Connection, now: float, limit: int) -> list[Trade]:
    """Trades with something to happen by now: a delayed payment or the end of their time."""
    late = _many(db, "pay_due_ts IS NOT NULL AND pay_due_ts <= ?", (now,), "pay_due_ts", limit)
    return late + _many(db, "state = 'waiting' AND expires_ts <= ?", (now,), "expires_ts", limit)


def move(
    db: sqlite3.Connection, trade: Trade, sources: tuple[State, ...], **columns: str | float | None
) -> Trade:
    """Change a trade if it is still in one of the states; answers it as it is now.  A step."""
    sets = ", ".join(f"{name} = ?" for name in columns)
    db.execute(
        f"UPDATE trades SET {sets} WHERE code = ? AND state IN ({','.join('?' * len(sources))})",
        (*columns.values(), trade.code, *(state.value for state in sources)),
    )
    found = by_code(db, trade.code)
    assert found is not None
    return found


def refunds_of(db: sqlite3.Connection, trade: Trade) -> list[Refund]:
    """The refunds of a trade, oldest first."""
    rows = db.execute(
        "SELECT * FROM refunds WHERE network = ? AND app_id = ? AND out_trade_no = ? ORDER BY id",
        (trade.network, trade.app_id, trade.out_trade_no),
    )
    return [_refund(row) for row in rows]


def add_refund(db: sqlite3.Connection, trade: Trade, refund: Refund) -> None:
    """Enter a refund.  A step."""
    db.execute(
        "INSERT INTO refunds (network, app_id, out_trade_no, out_refund_no, amount_minor, state, reason,"
        " created_ts, due_ts, done_ts, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(trade.network, trade.app_id, trade.out_trade_no),
            *(refund.out_refund_no, refund.amount_minor, refund.state, refund.reason),
            *(refund.created_ts, refund.due_ts, refund.done_ts),
            json.dumps(dict(refund.details), ensure_ascii=False),
        ),
    )


def end_refund(db: sqlite3.Connection, trade: Trade, refund: Refund, state: str, now: float) -> Trade:
    """A pending refund ends: "done" counts on the trade, once.  A step."""
    moved = db.execute(
        "UPDATE refunds SET state = ?, done_ts = ? WHERE network = ? AND app_id = ?"
        " AND out_trade_no = ? AND out_refund_no = ? AND state = 'pending' RETURNING amount_minor",
        (
            *(state, now if state == "done" else None),
            *(trade.network, trade.app_id, trade.out_trade_no, refund.out_refund_no),
        ),
    ).fetchone()
    if moved is None or state != "done":
        return trade
    total = trade.refunded_minor + moved["amount_minor"]
    closed_ts = now if total == trade.paid_minor else trade.closed_ts
    return move(db, trade, (State.PAID,), refunded_minor=total, closed_ts=closed_ts)


def note(db: sqlite3.Connection, trade: Trade, **facts: str) -> Trade:
    """Remember more of the network's own facts about a trade, whatever its state.  A step."""
    details = json.dumps({**trade.details, **facts}, ensure_ascii=False)
    return move(db, trade, tuple(State), details=details)


def refund_of_number(
    db: sqlite3.Connection, network: str, app_id: str, out_refund_no: str
) -> tuple[Trade, Refund] | None:
    """A refund by its own number alone, with its trade."""
    row = db.execute(
        "SELECT * FROM refunds WHERE network = ? AND app_id = ? AND out_refund_no = ? ORDER BY id LIMIT 1",
        (network, app_id, out_refund_no),
    ).fetchone()
    trade = None if row is None else find(db, network, app_id, row["out_trade_no"])
    return None if trade is None else (trade, _refund(row))


def overdue_refunds(db: sqlite3.Connection, now: float, limit: int) -> list[tuple[Trade, str]]:
    """Pending refunds whose time has come, each with its trade."""
    rows = db.execute(
        "SELECT network, app_id, out_trade_no, out_refund_no FROM refunds"
        " WHERE state = 'pending' AND due_ts <= ? ORDER BY due_ts LIMIT ?",
        (now, limit),
    ).fetchall()
    pairs = []
    for row in rows:
        trade = find(db, row["network"], row["app_id"], row["out_trade_no"])
        if trade is not None:
            pairs.append((trade, str(row["out_refund_no"])))
    return pairs


def paid_between(db: sqlite3.Connection, network: str, app_id: str, start: float, end: float) -> list[Trade]:
    """The payments of one app in a span of time, for its bill."""
    where = "network = ? AND app_id = ? AND paid_ts >= ? AND paid_ts < ?"
    return _many(db, where, (network, app_id, start, end), "paid_ts", 100_000)


def refunded_between(
    db: sqlite3.Connection, network: str, app_id: str, start: float, end: float, by: str = "done_ts"
) -> list[tuple[Trade, Refund]]:
    """The refunds of one app that arrived in a span of time, for its bill; ``by`` "created_ts": asked for."""
    assert by in ("done_ts", "created_ts")
    rows = db.execute(
        f"SELECT * FROM refunds WHERE network = ? AND app_id = ? AND {by} >= ? AND {by} < ?"
        f" ORDER BY {by} LIMIT 100000",
        (network, app_id, start, end),
    ).fetchall()
    pairs = []
    for row in rows:
        trade = find(db, network, app_id, row["out_trade_no"])
        if trade is not None:
            pairs.append((trade, _refund(row)))
    return pairs


def _one(db: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> Trade | None:
    row = db.execute(f"SELECT * FROM trades WHERE {where}", values).fetchone()
    return None if row is None else _trade(row)


def _many(db: sqlite3.Connection, where: str, values: tuple[Any, ...], order: str, limit: int) -> list[Trade]:
    rows = db.execute(f"SELECT * FROM trades WHERE {where} ORDER BY {order} LIMIT ?", (*values, limit))
    return [_trade(row) for row in rows]


def _trade(row: sqlite3.Row) -> Trade:
    columns = dict(row)
    columns["state"] = State(columns["state"])
    columns["details"] = json.loads(columns["details"])
    return Trade(**columns)


def _refund(row: sqlite3.Row) -> Refund:
    columns = {name: row[name] for name in Refund.__dataclass_fields__}
    columns["details"] = json.loads(columns["details"])
    return Refund(**columns)
