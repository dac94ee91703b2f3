"""Payment codes (付款码): what the wallet shows and a till scans, once and within a minute."""

from __future__ import annotations

import secrets
import sqlite3
from enum import StrEnum

from sandbox import tickets, timing
from sandbox.box import Network

LIFE_S = 60.0
UNUSED = "pay code"  # what a ticket is about until it has paid for a trade


class Standing(StrEnum):
    """What a network makes of a code."""

    GOOD = "good"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"


def issue(db: sqlite3.Connection, network: Network, *, expired: bool = False) -> str:
    """A fresh code of this network's wallet; ``expired`` makes one whose minute is over.  A step."""
    while True:
        head = secrets.choice(network.code_heads)
        rest = network.code_digits - len(head)
        code = head + str(secrets.randbelow(10**rest)).zfill(rest)
        if tickets.find(db, network.code, code) is None:
            break
    tickets.issue(db, network.code, code, UNUSED)
    if expired:
        db.execute(
            "UPDATE tickets SET made_ts = ? WHERE network = ? AND ticket = ?",
            (timing.now() - LIFE_S - 1, network.code, code),
        )
    return code


def standing(db: sqlite3.Connection, network: str, code: str) -> Standing:
    """How a code stands now."""
    ticket = tickets.find(db, network, code)
    if ticket is None:
        return Standing.UNKNOWN
    if ticket.used_ts is not None:
        return Standing.USED
    return Standing.EXPIRED if ticket.made_ts + LIFE_S < timing.now() else Standing.GOOD


def use(db: sqlite3.Connection, network: str, code: str, trade_code: str) -> None:
    """A good code pays for a trade: the shopper's phone finds it by this.  A step."""
    tickets.use(db, network, code)
    db.execute("UPDATE tickets SET about = ? WHERE network = ? AND ticket = ?", (trade_code, network, code))
