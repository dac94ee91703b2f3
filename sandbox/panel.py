"""The control panel: apps, trades and what their notifications came to, levers; for a tester's browser."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import control, levers, shopper, trades
from sandbox.box import here
from sandbox.desk import Answer, Fault

bp = Blueprint("panel", __name__)

_SHOWN = 40


@bp.get("/")
def page() -> str:
    """Everything at a glance."""
    box = here()
    shopper.sweep(box)
    with box.store.read() as db:
        found = [control.shown(box, db, trade) for trade in trades.newest(db, _SHOWN)]
        pulled = db.execute("SELECT * FROM levers ORDER BY id").fetchall()
        apps = db.execute("SELECT network, app_id, mode, name, seller_id FROM apps ORDER BY created_ts")
        return render_template(
            "sandbox/panel.html",
            box=box,
            apps=apps.fetchall(),
            trades=found,
            pulled=pulled,
            kinds=list(levers.KINDS.values()),
            choices=[(choice, kind.name) for kind in levers.KINDS.values() for choice in kind.choices],
            magic=levers.MAGIC,
        )


def refused(fault: Fault) -> str:
    """The page for a click that comes to nothing."""
    return render_template("sandbox/note.html", key="cannot", code=fault.code, words=fault.message)


@bp.post("/panel/levers")
def pull() -> AnyResponse:
    """Put a lever in place by click."""
    form = request.form
    number = form.get("out_trade_no", "").strip()
    times = form.get("times", "").strip()
    try:
        scope = levers.Scope.TRADE if number else levers.Scope(form.get("scope", "next"))
        wish = levers.Pull(
            name=form.get("name", ""),
            value=form.get("value", "").strip(),
            scope=scope,
            out_trade_no=number,
            method=form.get("method", "").strip(),
            times=_times(times) if times else None,
        )
        with here().store.write() as db:
            levers.pull(db, wish)
    except ValueError as error:
        raise Fault(400, "invalid_lever", str(error)) from None
    return redirect("/#levers", 303)


@bp.post("/panel/levers/release")
def release() -> AnyResponse:
    """Take a lever off, or all of them."""
    lever_id = request.form.get("id", type=int)
    with here().store.write() as db:
        db.execute("DELETE FROM levers WHERE ? IS NULL OR id = ?", (lever_id, lever_id))
    return redirect("/#levers", 303)


@bp.post("/panel/keys/<network>")
def renew(network: str) -> AnyResponse:
    """Renew a network's key by click: ``what`` is one of its ``rotations``."""
    control.renewed(here(), network, request.form.get("what", ""))
    return redirect("/#keys", 303)


@bp.post("/panel/trades/<out_trade_no>/<act>")
def act(out_trade_no: str, act: str) -> AnyResponse:
    """A shopper's act by click; an act that cannot be done leaves the trade as it is."""
    acts: dict[str, Callable[[str], Answer]] = {
        "open": control.open_trade,
        "pay": control.pay,
        "decline": control.decline,
        "close": control.close,
        "finish": control.finish,
        "notify": control.notify,
        "forge": control.forge,
    }
    if act not in acts:
        raise Fault(404, "no_such_act", "there is no such act")
    acts[act](out_trade_no)
    return redirect("/#trades", 303)


def _times(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= levers.TIMES_MAX:
        raise ValueError(f"times is a whole number from 1 to {levers.TIMES_MAX}")
    return int(text)
