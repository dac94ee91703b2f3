"""Levers: how a tester bends the next payment, one payment, or every payment, and magic amounts."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from sandbox import timing

SECONDS_MAX = 600  # Nobody waits longer than ten minutes for a test.
TIMES_MAX = 1000


class Scope(StrEnum):
    """Whom a lever moves."""

    NEXT = "next"  # the next payment that comes along; it then belongs to that payment
    TRADE = "trade"  # one out_trade_no
    ALWAYS = "always"  # everybody, until it is taken off


class Stage(StrEnum):
    """When a ``next`` lever finds its payment."""

    PAYMENT = "payment"  # when a trade is made, opened or paid
    CALL = "call"  # at the first call to which the lever could apply
    BILL = "bill"  # only read when a bill is made


@dataclass(frozen=True, slots=True)
class Kind:
    """One lever: what its value may be, and how often it works unless told (None: without end)."""

    name: str
    stage: Stage
    form: str  # a regular expression for the value; where "" fits, the network has a usual one
    default: str = ""
    times: int | None = 1

    @property
    def choices(self) -> tuple[str, ...]:
        """The values there are, if they can be listed."""
        return tuple(self.form.split("|")) if _LISTED.fullmatch(self.form) else ()


_LISTED = re.compile(r"\w+(\|\w+)*", re.ASCII)
_ORDERS = "waiting_after|waiting_before|closed_after|closed_before"
_SECONDS = r"\d{1,3}(\.\d{1,3})?"
_YUAN = r"[+-]?\d{1,9}(\.\d{1,2})?"
_WORD = r"[A-Za-z0-9_.\-]{1,64}"
_BAD_SIGNATURES = "bad_signature|other_key|unsigned|signtest|stale|unknown_serial"
_BAD_CERTIFICATES = "wrong_cn|other_chain|expired_cert"
_FORGERIES = f"{_BAD_SIGNATURES}|{_BAD_CERTIFICATES}|other_app|wrong_amount|other_secret"

KINDS = {
    kind.name: kind
    for kind in (
        Kind("approve", Stage.PAYMENT, ""),
        Kind("decline", Stage.PAYMENT, "balance|risk|password", "balance"),
        Kind("close", Stage.PAYMENT, ""),
        Kind("slow_payment", Stage.PAYMENT, _SECONDS, "10"),
        Kind("password", Stage.PAYMENT, ""),
        Kind("pay_first", Stage.PAYMENT, ""),
        Kind("wrong_amount", Stage.PAYMENT, _YUAN, "+0.01"),
        Kind("late", Stage.PAYMENT, f"({_SECONDS})?"),
        Kind("delay", Stage.PAYMENT, _SECONDS, "10", None),
        Kind("drop", Stage.PAYMENT, "", "", None),
        Kind("duplicate", Stage.PAYMENT, "[1-9]", "1"),
        Kind("reorder", Stage.PAYMENT, _ORDERS, "waiting_after"),
        Kind("forge", Stage.PAYMENT, _FORGERIES, "bad_signature"),
        Kind("rotate", Stage.PAYMENT, ""),
        Kind("hang", Stage.CALL, _SECONDS, "30"),
        Kind("server_error", Stage.CALL, "5[0-9][0-9]", "502"),
        Kind("outage", Stage.CALL, "5[0-9][0-9]", "503"),
        Kind("gateway_error", Stage.CALL, r"(\d{2,5}(:" + _WORD + ")?)?"),
        Kind("forge_answer", Stage.CALL, f"{_BAD_SIGNATURES}|{_BAD_CERTIFICATES}", "bad_signature"),
        Kind("paid_code", Stage.PAYMENT, "A6", "A6", None),
        Kind("resp_code", Stage.CALL, "[0-9A-Z]{2}", "03"),
        Kind("orig_resp_code", Stage.CALL, "[0-9A-Z]{2}", "05"),
        Kind("query_error", Stage.CALL, f"({_WORD})?"),
        Kind("refund_fail", Stage.CALL, f"({_WORD})?"),
        Kind("refund_pending", Stage.CALL, _SECONDS, "30"),
        Kind("refund_end", Stage.CALL, "closed|abnormal", "closed"),
        Kind("http_code", Stage.CALL, "", "", None),
        Kind("bill_now", Stage.BILL, "", "", None),
        Kind("bill_omit", Stage.BILL, "", "", None),
        Kind("bill_amount", Stage.BILL, _YUAN, "+0.01", None),
        Kind("bill_total", Stage.BILL, _YUAN, "+0.01", None),
        Kind("bill_adjust", Stage.BILL, _YUAN, "-1.00", None),
    )
}

# Amounts in fen that pull levers by themselves, so that a merchant's own test needs no second HTTP
# client: (lever, value, times).  All below one yuan; 0.01 and everything else behave.
MAGIC: dict[int, tuple[tuple[str, str, int | None], ...]] = {
    2: (("decline", "balance", None),),
    3: (("hang", "30", 1),),
    4: (("server_error", "502", 1),),
    5: (("duplicate", "3", 1),),
    6: (("drop", "", None),),
    7: (("delay", "10", None),),
    8: (("wrong_amount", "+0.01", 1),),
    9: (("forge", "bad_signature", 1),),
    10: (("forge", "other_app", 1),),
    11: (("reorder", "waiting_after", 1),),
    12: (("reorder", "closed_before", 1),),
    13: (("close", "", 1), ("late", "10", 1)),
    14: (("query_error", "", 3),),
    15: (("refund_fail", "", None),),
    16: (("refund_pending", "30", None),),
    17: (("slow_payment", "10", 1),),
    18: (("close", "", 1),),
    19: (("drop", "", 2),),
    21: (("refund_end", "closed", None),),
    22: (("refund_end", "abnormal", None),),
    23: (("forge", "signtest", 1),),
    24: (("forge_answer", "signtest", 1),),
    25: (("paid_code", "A6", None),),
    26: (("orig_resp_code", "04", 3),),
    27: (("resp_code", "03", 1),),
    28: (("forge", "wrong_cn", 1),),
    29: (("rotate", "", 1),),
}


@dataclass(frozen=True, slots=True)
class Pull:
    """A lever as a tester asks for it.  ``times`` None means the lever's own default."""

    name: str
    value: str = ""
    scope: Scope = Scope.NEXT
    out_trade_no: str = ""
    method: str = ""
    times: int | None = None
    app_id: str = ""  # one merchant's calls alone


def pull(db: sqlite3.Connection, wish: Pull) -> int:
    """Put a lever in place; answers its id.  A step.  Raises ValueError with the fault in words."""
    kind = KINDS.get(wish.name)
    if kind is None:
        raise ValueError(f"no lever is called {wish.name[:32]!r}")
    value = wish.value or kind.default
    if re.fullmatch(kind.form, value, re.ASCII) is None:
        raise ValueError(f"{value[:32]!r} is not a value for {kind.name}")
    if kind.form == _SECONDS and float(value) > SECONDS_MAX:
        raise ValueError(f"{value} seconds is longer than {SECONDS_MAX}")
    if (wish.scope is Scope.TRADE) != bool(wish.out_trade_no):
        raise ValueError("scope 'trade' goes with an out_trade_no, and only that one")
    if wish.app_id and kind.stage is not Stage.CALL:
        raise ValueError(f"an app_id narrows levers of the gateway, and {wish.name} is none")
    times = wish.times if wish.times is not None or wish.scope is Scope.ALWAYS else kind.times
    return _insert(db, wish, value, times)


def plant_magic(db: sqlite3.Connection, out_trade_no: str, amount_minor: int) -> None:
    """Pull the levers that an amount stands for on a trade just made.  A step."""
    for name, value, times in MAGIC.get(amount_minor, ()):
        _insert(db, Pull(name, scope=Scope.TRADE, out_trade_no=out_trade_no), value, times)


def bind_next(db: sqlite3.Connection, out_trade_no: str) -> None:
    """Give the waiting ``next`` levers of a payment to this one.  A step."""
    names = [kind.name for kind in KINDS.values() if kind.stage is Stage.PAYMENT]
    db.execute(
        "UPDATE levers SET scope = 'trade', out_trade_no = ? WHERE scope = 'next'"
        f" AND name IN ({','.join('?' * len(names))})",
        (out_trade_no, *names),
    )


def take(
    db: sqlite3.Connection, name: str, out_trade_no: str, method: str = "", app_id: str = ""
) -> str | None:
    """Use a lever once if one is in place: its value, or None.  A step.

    The narrowest lever wins: the trade's own, then ``next`` (at calls only), then ``always``.
    """
    at_call = KINDS[name].stage is Stage.CALL
    row = db.execute(
        "SELECT id, value, scope, times_left FROM levers WHERE name = ? AND (method = '' OR method = ?)"
        " AND (app_id = '' OR app_id = ?)"
        " AND (scope = 'always' OR (scope = 'trade' AND out_trade_no = ?) OR (scope = 'next' AND ?))"
        " ORDER BY scope = 'always', scope = 'next', id LIMIT 1",
        (name, method, app_id, out_trade_no, at_call),
    ).fetchone()
    if row is None:
        return None
    if row["times_left"] == 1:
        db.execute("DELETE FROM levers WHERE id = ?", (row["id"],))
    elif row["times_left"] is not None:
        db.execute("UPDATE levers SET times_left = times_left - 1 WHERE id = ?", (row["id"],))
    if row["scope"] == "next" and row["times_left"] != 1:
        db.execute(
            "UPDATE levers SET scope = 'trade', out_trade_no = ? WHERE id = ?", (out_trade_no, row["id"])
        )
    return str(row["value"])


def held(db: sqlite3.Connection, name: str, out_trade_no: str = "") -> str | None:
    """The value of a lever without using it up, or None."""
    row = db.execute(
        "SELECT value FROM levers WHERE name = ? AND (scope != 'trade' OR out_trade_no = ?)"
        " ORDER BY scope = 'trade' DESC, id LIMIT 1",
        (name, out_trade_no),
    ).fetchone()
    return None if row is None else str(row["value"])


def bound(db: sqlite3.Connection, name: str, out_trade_no: str) -> str | None:
    """The same of a lever that took hold of this payment, or holds every one; never of a waiting ``next``."""
    row = db.execute(
        "SELECT value FROM levers WHERE name = ? AND scope != 'next'"
        " AND (scope != 'trade' OR out_trade_no = ?) ORDER BY scope = 'trade' DESC, id LIMIT 1",
        (name, out_trade_no),
    ).fetchone()
    return None if row is None else str(row["value"])


def _insert(db: sqlite3.Connection, wish: Pull, value: str, times: int | None) -> int:
    cursor = db.execute(
        "INSERT INTO levers (name, value, scope, out_trade_no, method, times_left, created_ts, app_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            wish.name,
            value,
            wish.scope.value,
            wish.out_trade_no,
            wish.method,
            times,
            timing.now(),
            wish.app_id,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
