"""The control API: levers, and a shopper's hand by HTTP.  For tests and demonstrations, never public."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from flask import Blueprint, request

from sandbox import desk, levers, notes, shopper, timing, trades
from sandbox.box import Box, here
from sandbox.desk import Answer, Fault
from sandbox.shopper import Outcome, Verdict
from sandbox.trades import State, Trade
from sandbox.yuan import fen_of, yuan_of

bp = Blueprint("control", __name__, url_prefix="/control")

_LIST_MAX = 200
_WIPED = ("trades", "refunds", "notes", "sends", "levers", "hooks", "tickets")


@bp.get("/levers")
def list_levers() -> Answer:
    """Every lever in place, oldest first."""
    with here().store.read() as db:
        rows = db.execute("SELECT * FROM levers ORDER BY id").fetchall()
    return {"data": [_lever(row) for row in rows]}, 200


@bp.post("/levers")
def pull_lever() -> Answer:
    """Put a lever in place: name, value?, scope?, out_trade_no?, method?, app_id?, times?."""
    body = desk.body()
    out_trade_no = desk.text(body, "out_trade_no")
    scope = desk.text(body, "scope", "trade" if out_trade_no else "next")
    try:
        wish = levers.Pull(
            name=desk.text(body, "name"),
            value=desk.text(body, "value"),
            scope=levers.Scope(scope),
            out_trade_no=out_trade_no,
            method=desk.text(body, "method"),
            app_id=desk.text(body, "app_id"),
            times=desk.whole(body, "times", levers.TIMES_MAX),
        )
        with here().store.write() as db:
            row_id = levers.pull(db, wish)
            row = db.execute("SELECT * FROM levers WHERE id = ?", (row_id,)).fetchone()
    except ValueError as error:
        raise Fault(400, "invalid_lever", str(error)) from None
    return _lever(row), 201


@bp.delete("/levers")
def release_levers() -> Answer:
    """Take every lever off."""
    with here().store.write() as db:
        count = db.execute("DELETE FROM levers").rowcount
    return {"released": count}, 200


@bp.delete("/levers/<int:lever_id>")
def release_lever(lever_id: int) -> Answer:
    """Take one lever off."""
    with here().store.write() as db:
        count = db.execute("DELETE FROM levers WHERE id = ?", (lever_id,)).rowcount
    if not count:
        raise Fault(404, "no_such_lever", "no lever has this id")
    return {"released": count}, 200


@bp.get("/trades")
def list_trades() -> Answer:
    """The newest trades; ``?app_id=`` and ``?limit=`` narrow them."""
    limit = min(max(request.args.get("limit", 50, int), 1), _LIST_MAX)
    shopper.sweep(here())
    with here().store.read() as db:
        found = trades.newest(db, limit, request.args.get("app_id", ""))
        return {"data": [shown(here(), db, trade) for trade in found]}, 200


@bp.get("/trades/<out_trade_no>")
def show_trade(out_trade_no: str) -> Answer:
    """One trade with its refunds, notifications and every send."""
    return _acting(out_trade_no, lambda box, db, trade: None)


@bp.post("/trades/<out_trade_no>/open")
def open_trade(out_trade_no: str) -> Answer:
    """The shopper scans the code, and does nothing more."""
    return _acting(out_trade_no, shopper.open_trade)


@bp.post("/trades/<out_trade_no>/pay")
def pay(out_trade_no: str) -> Answer:
    """The shopper scans and approves.  ``amount`` (yuan) pays another sum, ``late`` even a closed trade."""
    body = desk.body()
    amount_minor, late = _amount(body), desk.yes(body, "late")
    return _acting(
        out_trade_no,
        lambda box, db, trade: shopper.pay(box, db, trade, amount_minor=amount_minor, late=late),
        wanted=(Outcome.PAID, Outcome.PROCESSING, Outcome.DECLINED),
    )


@bp.post("/trades/<out_trade_no>/decline")
def decline(out_trade_no: str) -> Answer:
    """The shopper scans, and the wallet refuses."""

    def act(box: Box, db: sqlite3.Connection, trade: Trade) -> Verdict:
        verdict = shopper.open_trade(box, db, trade)
        if verdict.outcome is not Outcome.OPENED:
            return verdict
        return shopper.decline(db, verdict.trade, "balance")

    return _acting(out_trade_no, act, wanted=(Outcome.DECLINED,))


@bp.post("/trades/<out_trade_no>/close")
def close(out_trade_no: str) -> Answer:
    """The trade's time ends now; an unscanned code dies."""

    def act(box: Box, db: sqlite3.Connection, trade: Trade) -> Verdict:
        if trade.state is State.OFFERED:
            return Verdict(Outcome.CLOSED, shopper.withdraw(db, trade))
        if trade.state in (State.PAID, State.FINISHED):
            return Verdict(Outcome.ALREADY_PAID, trade)
        return Verdict(Outcome.CLOSED, shopper.close(box, db, trade))

    return _acting(out_trade_no, act, wanted=(Outcome.CLOSED,))


@bp.post("/trades/<out_trade_no>/finish")
def finish(out_trade_no: str) -> Answer:
    """The time for refunds ends now."""
    return _acting(out_trade_no, lambda box, db, trade: Verdict(Outcome.PAID, shopper.finish(box, db, trade)))


@bp.post("/trades/<out_trade_no>/notify")
def notify(out_trade_no: str) -> Answer:
    """Send the latest notification again, under its old notify_id."""

    def act(box: Box, db: sqlite3.Connection, trade: Trade) -> None:
        if not notes.send_again(db, trade):
            raise Fault(409, "nothing_to_send", "this trade has no notification")

    return _acting(out_trade_no, act)


@bp.post("/trades/<out_trade_no>/forge")
def forge(out_trade_no: str) -> Answer:
    """Send news of a payment that never happened: ``kind`` is a value of the lever ``forge``."""
    body = desk.body()
    kind, news = desk.text(body, "kind", "bad_signature"), desk.text(body, "news", "paid")
    if news not in ("paid", "closed", "waiting", "finished"):
        raise Fault(400, "invalid_forgery", "news is paid, closed, waiting or finished")

    def act(box: Box, db: sqlite3.Connection, trade: Trade) -> None:
        forgeries = box.network_of(trade).forgeries
        if kind not in forgeries:
            raise Fault(400, "invalid_forgery", f"kind is one of {', '.join(forgeries)}")
        if not trade.notify_url:
            raise Fault(409, "nothing_to_send", "this trade has no notify_url")
        notes.enqueue_forged(box, db, trade, news, kind)

    return _acting(out_trade_no, act)


@bp.post("/rotate")
def rotate() -> Answer:
    """Renew a key of a network: ``network``, and ``what`` of its keys (the first it has if left out)."""
    body = desk.body()
    return renewed(here(), desk.text(body, "network"), desk.text(body, "what")), 200


@bp.post("/reset")
def reset() -> Answer:
    """Forget all trades, notifications and levers; with ``apps`` true, the merchants' apps too."""
    body = desk.body()
    tables = (*_WIPED, "apps") if desk.yes(body, "apps") else _WIPED
    with here().store.write() as db:
        for table in tables:
            db.execute(f"DELETE FROM {table}")
    return {"reset": list(tables)}, 200


def renewed(box: Box, code: str, what: str) -> dict[str, Any]:
    """Renew a network's key; what merchants can see of the new one.  Raises Fault."""
    network = box.networks.get(code)
    if network is None:
        raise Fault(404, "no_such_network", f"network is one of {', '.join(box.networks)}")
    what = what or network.rotations[0]
    if what not in network.rotations:
        raise Fault(400, "invalid_field", f"what is one of {', '.join(network.rotations)}")
    return network.rotate(what)


def shown(box: Box, db: sqlite3.Connection, trade: Trade) -> dict[str, Any]:
    """A trade as JSON: the book's words and the network's."""
    return {
        "network": trade.network,
        "app_id": trade.app_id,
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "state": trade.state.value,
        "status": box.network_of(trade).status_of(trade) or None,
        "product": trade.product,
        "subject": trade.subject,
        "total_amount": yuan_of(trade.total_minor),
        "amount_minor": trade.amount_minor,
        "paid_minor": trade.paid_minor,
        "refunded_minor": trade.refunded_minor,
        "failure": trade.failure or None,
        "qr_code": f"{box.public_url}/qr/{trade.code}",
        "cashier_url": f"{box.public_url}/cashier/{trade.code}",
        "notify_url": trade.notify_url or None,
        "return_url": trade.return_url or None,
        "created_at": timing.rfc3339(trade.created_ts),
        "opened_at": timing.rfc3339(trade.opened_ts),
        "expires_at": timing.rfc3339(trade.expires_ts),
        "paid_at": timing.rfc3339(trade.paid_ts),
        "closed_at": timing.rfc3339(trade.closed_ts),
        "refunds": [
            {
                "out_refund_no": refund.out_refund_no,
                "amount_minor": refund.amount_minor,
                "state": refund.state,
                "reason": refund.reason,
                "done_at": timing.rfc3339(refund.done_ts),
            }
            for refund in trades.refunds_of(db, trade)
        ],
        "notifications": notes.of_trade(db, trade),
    }


def _acting(
    out_trade_no: str,
    act: Callable[[Box, sqlite3.Connection, Trade], Verdict | None],
    wanted: tuple[Outcome, ...] | None = None,
) -> Answer:
    """Find the trade, act, answer it as it is now; 409 when the act did not come to a wanted end."""
    box = here()
    with box.store.write() as db:
        trade = shopper.progress(box, db, _the_trade(db, out_trade_no))
        verdict = act(box, db, trade)
        trade = trades.by_code(db, trade.code) or trade
        facts = shown(box, db, trade)
    if verdict is None:
        return facts, 200
    facts["outcome"] = verdict.outcome.value
    if wanted is not None and verdict.outcome not in wanted:
        fault = Fault(409, verdict.outcome.value, f"the trade is {trade.state.value}")
        return fault.answer()[0] | {"trade": facts}, 409
    return facts, 200


def _the_trade(db: sqlite3.Connection, out_trade_no: str) -> Trade:
    app_id = request.args.get("app_id", "")
    found = [trade for trade in trades.of_number(db, out_trade_no) if app_id in ("", trade.app_id)]
    if not found:
        raise Fault(404, "no_such_trade", "no trade has this out_trade_no")
    if len(found) > 1:
        raise Fault(409, "ambiguous", "several apps used this number: add ?app_id=")
    return found[0]


def _amount(body: dict[str, Any]) -> int | None:
    text = desk.text(body, "amount")
    if not text:
        return None
    try:
        fen = fen_of(text)
    except ValueError as error:
        raise Fault(400, "invalid_amount", str(error)) from None
    if fen < 1:
        raise Fault(400, "invalid_amount", "the amount is less than 0.01")
    return fen


def _lever(row: sqlite3.Row) -> dict[str, Any]:
    return {name: row[name] for name in row.keys() if name != "created_ts"}  # noqa: SIM118
