"""Tickets: words that a network hands out and knows again, such as prepay ids and OAuth codes."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sandbox import timing


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket.  ``about`` is the network's own: whatever the word stands for."""

    ticket: str
    about: str
    made_ts: float
    used_ts: float | None


def issue(db: sqlite3.Connection, network: str, ticket: str, about: str) -> None:
    """Hand a ticket out.  A step."""
    db.execute(
        "INSERT INTO tickets (network, ticket, about, made_ts) VALUES (?, ?, ?, ?)",
        (network, ticket, about, timing.now()),
    )


def find(db: sqlite3.Connection, network: str, ticket: str) -> Ticket | None:
    """A ticket that was handed out, or None."""
    row = db.execute(
        "SELECT ticket, about, made_ts, used_ts FROM tickets WHERE network = ? AND ticket = ?",
        (network, ticket),
    ).fetchone()
    return None if row is None else Ticket(**dict(row))


def use(db: sqlite3.Connection, network: str, ticket: str) -> bool:
    """Use a ticket up; False if it was used before.  A step."""
    cursor = db.execute(
        "UPDATE tickets SET used_ts = ? WHERE network = ? AND ticket = ? AND used_ts IS NULL",
        (timing.now(), network, ticket),
    )
    return cursor.rowcount == 1
