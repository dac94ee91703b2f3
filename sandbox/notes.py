"""The queue of notifications: written in the transaction of the change they tell of, read by the notifier."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox import levers, timing
from sandbox.box import Box
from sandbox.trades import Refund, Trade

_LEASE_S = 60.0  # Longer than a send with copies can take; a crash delays a retry by at most this.
_ANSWER_CHARS = 200


@dataclass(frozen=True, slots=True)
class Note:
    """One notification.  ``copies`` more of it go out with the first send."""

    id: int
    network: str
    app_id: str
    out_trade_no: str
    notify_id: str
    kind: str
    url: str
    fields: Mapping[str, str]
    charset: str
    forge: str
    state: str  # "pending" | "delivered" | "exhausted"
    tries: int
    copies: int
    created_ts: float
    due_ts: float


def enqueue(box: Box, db: sqlite3.Connection, trade: Trade, kind: str, refund: Refund | None = None) -> None:
    """Queue the news of a change, if the network tells anybody of it.  A step.

    The levers ``delay``, ``duplicate`` and ``reorder`` act here; ``drop`` and ``forge`` at the send.
    """
    network = box.network_of(trade)
    url = network.address(trade, kind, refund)
    if not url:
        return
    due_ts = timing.now() + float(levers.take(db, "delay", trade.out_trade_no) or 0)
    copies = int(levers.take(db, "duplicate", trade.out_trade_no) or 0)
    order = levers.take(db, "reorder", trade.out_trade_no) if kind == "paid" else None
    fields = network.notice(trade, kind, refund)
    if order is not None:
        other, when = order.split("_")
        # A second apart, so that the order on the wire is the order here.
        other_due, due_ts = (due_ts, due_ts + 1) if when == "before" else (due_ts + 1, due_ts)
        _insert(db, trade, other, network.notice(trade, other, None), url, other_due)
    _insert(db, trade, kind, fields, url, due_ts, copies=copies)


def enqueue_forged(box: Box, db: sqlite3.Connection, trade: Trade, kind: str, forge: str) -> None:
    """Queue a forged notification of something that never happened; it is sent once.  A step."""
    fields = box.network_of(trade).notice(trade, kind, None)
    _insert(db, trade, kind, fields, trade.notify_url, timing.now(), forge=forge)


def due(db: sqlite3.Connection, now: float, limit: int) -> list[Note]:
    """Notifications to send by now that nobody is sending."""
    rows = db.execute(
        "SELECT * FROM notes WHERE state = 'pending' AND due_ts <= ? AND leased_until_ts <= ?"
        " ORDER BY due_ts, id LIMIT ?",
        (now, now, limit),
    )
    return [_note(row) for row in rows]


def lease(db: sqlite3.Connection, note: Note, now: float) -> bool:
    """Take a notification for sending; False if another thread was faster.  A step."""
    cursor = db.execute(
        "UPDATE notes SET leased_until_ts = ? WHERE id = ? AND state = 'pending' AND leased_until_ts <= ?"
        " AND due_ts <= ?",
        (now + _LEASE_S, note.id, now, now),
    )
    return cursor.rowcount == 1


def release_all(db: sqlite3.Connection) -> None:
    """Forget the leases of a process that is gone: there is one notifier, and it starts now.  A step."""
    db.execute("UPDATE notes SET leased_until_ts = 0 WHERE state = 'pending' AND leased_until_ts > 0")


def record(db: sqlite3.Connection, note: Note, how: str, status: int | None, answer: str) -> None:
    """Keep what was sent and what came back.  A step."""
    db.execute(
        "INSERT INTO sends (note_id, sent_ts, how, status, answer) VALUES (?, ?, ?, ?, ?)",
        (note.id, timing.now(), how, status, answer[:_ANSWER_CHARS]),
    )


def settle(db: sqlite3.Connection, note: Note, heard: bool, gaps_s: tuple[float, ...]) -> None:
    """End one round of a notification: delivered, to be tried again, or given up.  A step."""
    if heard:
        state, due_ts = "delivered", note.due_ts
    elif note.forge or note.tries >= len(gaps_s):
        state, due_ts = "exhausted", note.due_ts
    else:
        state, due_ts = "pending", timing.now() + gaps_s[note.tries]
    db.execute(
        "UPDATE notes SET state = ?, due_ts = ?, tries = tries + 1, leased_until_ts = 0 WHERE id = ?",
        (state, due_ts, note.id),
    )


def send_again(db: sqlite3.Connection, trade: Trade) -> bool:
    """Make the latest genuine notification of a trade due now, with its old id; False if there is none.

    A step.
    """
    cursor = db.execute(
        "UPDATE notes SET state = 'pending', tries = 0, due_ts = ?, leased_until_ts = 0 WHERE id ="
        " (SELECT max(id) FROM notes WHERE network = ? AND app_id = ? AND out_trade_no = ? AND forge = '')",
        (timing.now(), trade.network, trade.app_id, trade.out_trade_no),
    )
    return cursor.rowcount == 1


def of_trade(db: sqlite3.Connection, trade: Trade) -> list[dict[str, object]]:
    """The notifications of a trade with every send, oldest first, as JSON values."""
    rows = db.execute(
        "SELECT * FROM notes WHERE network = ? AND app_id = ? AND out_trade_no = ? ORDER BY id",
        (trade.network, trade.app_id, trade.out_trade_no),
    ).fetchall()
    return [_shown(db, _note(row)) for row in rows]


def _shown(db: sqlite3.Connection, note: Note) -> dict[str, object]:
    sends = db.execute("SELECT * FROM sends WHERE note_id = ? ORDER BY id", (note.id,)).fetchall()
    return {
        "notify_id": note.notify_id,
        "kind": note.kind,
        "url": note.url,
        "forged": note.forge or None,
        "state": note.state,
        "tries": note.tries,
        "due_at": timing.rfc3339(note.due_ts) if note.state == "pending" else None,
        "fields": dict(note.fields),
        "sends": [
            {
                "sent_at": timing.rfc3339(send["sent_ts"]),
                "how": send["how"],
                "status": send["status"],
                "answer": send["answer"],
            }
            for send in sends
        ],
    }


def _insert(
    db: sqlite3.Connection,
    trade: Trade,
    kind: str,
    fields: Mapping[str, str],
    url: str,
    due_ts: float,
    *,
    copies: int = 0,
    forge: str = "",
) -> None:
    now = timing.now()
    made = timing.beijing(now, "%Y%m%d") + "00222" + str(secrets.randbelow(10**21)).zfill(21)
    notify_id = fields.get("notify_id", made)
    db.execute(
        "INSERT INTO notes (network, app_id, out_trade_no, notify_id, kind, url, fields, charset, forge,"
        " copies, created_ts, due_ts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(trade.network, trade.app_id, trade.out_trade_no, notify_id, kind, url),
            json.dumps({**fields, "notify_id": notify_id}, ensure_ascii=False),
            *(trade.details.get("charset", "utf-8"), forge, copies, now, due_ts),
        ),
    )


def _note(row: sqlite3.Row) -> Note:
    columns = {name: row[name] for name in Note.__dataclass_fields__}
    columns["fields"] = json.loads(columns["fields"])
    return Note(**columns)
