"""The shopper's phone: what a wallet opens on scanning, and the sheet where it asks for approval."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import shopper, trades
from sandbox.box import Box, here
from sandbox.shopper import Outcome, Verdict
from sandbox.trades import State, Trade
from sandbox.yuan import yuan_of

bp = Blueprint("cashier", __name__)

_NO_STORE = {"Cache-Control": "no-store"}


@bp.get("/qr/<code>")
def scan(code: str) -> AnyResponse:
    """A wallet has read the code: the trade comes into being, and the sheet opens."""
    box = here()
    with box.store.write() as db:
        trade = trades.by_code(db, code)
        verdict = None if trade is None else shopper.open_trade(box, db, trade)
    if verdict is None:
        return _note("unknown_code", 404)
    if verdict.outcome is Outcome.EXPIRED_CODE or verdict.trade.state is State.WITHDRAWN:
        return _note("expired_code", 410)
    return redirect(f"/cashier/{code}", 303)


@bp.get("/cashier/<code>")
def show(code: str) -> AnyResponse:
    """The pay sheet, or what became of the payment."""
    box = here()
    with box.store.write() as db:
        trade = trades.by_code(db, code)
        verdict = None if trade is None else shopper.open_trade(box, db, trade)
    if verdict is None:
        return _note("unknown_code", 404)
    if verdict.outcome is Outcome.EXPIRED_CODE or verdict.trade.state is State.WITHDRAWN:
        return _note("expired_code", 410)
    return _sheet(box, verdict.trade)


@bp.post("/cashier/<code>")
def act(code: str) -> AnyResponse:
    """The shopper presses a button; ``action`` is approve, decline or cancel."""
    box, action = here(), request.form.get("action", "")
    if action not in ("approve", "decline", "cancel"):
        return _note("unknown_action", 400)
    with box.store.write() as db:
        trade = trades.by_code(db, code)
        verdict = None if trade is None else _do(box, db, trade, action)
    if verdict is None:
        return _note("unknown_code", 404)
    trade = verdict.trade
    if verdict.outcome in (Outcome.PAID, Outcome.ALREADY_PAID) and action == "approve":
        back = box.network_of(trade).return_address(trade)
        return redirect(back or f"/cashier/{code}", 303)
    return redirect(f"/cashier/{code}?left=1" if action == "cancel" else f"/cashier/{code}", 303)


class Unfit(Exception):
    """A page that a wallet will not open, in its own words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(code)
        self.code = code
        self.words = words


def opened(page: Callable[[], AnyResponse]) -> AnyResponse:
    """A page that a wallet opens, or its words for why it does not."""
    try:
        return page()
    except Unfit as unfit:
        return refused(unfit.code, unfit.words)


def refused(code: str, words: str) -> Response:
    """The page for a request that the network would not turn into a trade."""
    page = render_template("sandbox/note.html", key="refused", code=code, words=words)
    return Response(page, 200, headers=_NO_STORE)


def _do(box: Box, db: sqlite3.Connection, trade: Trade, action: str) -> Verdict:
    if action == "approve":
        return shopper.pay(box, db, trade)
    verdict = shopper.open_trade(box, db, trade)
    if action == "decline" and verdict.outcome is Outcome.OPENED:
        return shopper.decline(db, verdict.trade, "balance")
    return verdict


def _sheet(box: Box, trade: Trade) -> Response:
    network = box.network_of(trade)
    paid = trade.state in (State.PAID, State.FINISHED)
    page = render_template(
        "sandbox/cashier.html",
        trade=trade,
        network=network,
        amount=yuan_of(trade.total_minor),
        phase="paid" if paid else "closed" if trade.state is State.CLOSED else _open_phase(trade),
        back=network.return_address(trade) if paid else trade.details.get("quit_url", ""),
        left="left" in request.args,
    )
    return Response(page, headers=_NO_STORE)


def _open_phase(trade: Trade) -> str:
    return "processing" if trade.pay_due_ts is not None else "ready"


def _note(key: str, status: int) -> Response:
    page = render_template("sandbox/note.html", key=key, code="", words="")
    return Response(page, status, headers=_NO_STORE)
