"""UnionPay's part of the control API: merchants, certificates, the wallet's SDK."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from sandbox import desk, shopper, tickets, trades
from sandbox.box import Box, here
from sandbox.desk import Answer, Fault
from sandbox.shopper import Outcome
from sandbox.unionpay import keys, merchants
from sandbox.unionpay.gateway import FILES
from sandbox.unionpay.keys import Keyring
from sandbox.unionpay.merchants import NETWORK, Merchant, Wish

# What the mobile SDK tells the merchant's app.
_RESULTS = {Outcome.PAID: "success", Outcome.ALREADY_PAID: "success"}
_ACTIONS = ("approve", "decline", "cancel")


def blueprint(ring: Keyring) -> Blueprint:
    """``/control/unionpay/...``."""
    bp = Blueprint("unionpay_control", __name__, url_prefix="/control/unionpay")

    @bp.get("/merchants")
    def list_merchants() -> Answer:
        with here().store.read() as db:
            return {"data": [shown(here(), ring, one) for one in merchants.every(db)]}, 200

    @bp.post("/merchants")
    def register() -> Answer:
        body = desk.body()
        wish = Wish(
            mode=desk.text(body, "mode", "production"),
            cert=desk.text(body, "cert"),
            public_key=desk.text(body, "public_key"),
            name=desk.text(body, "name"),
            mer_id=desk.text(body, "mer_id"),
        )
        try:
            with here().store.write() as db:
                merchant, fresh = merchants.register(db, ring, wish)
        except ValueError as error:
            raise Fault(400, "invalid_merchant", str(error)) from None
        return shown(here(), ring, merchant), 201 if fresh else 200

    @bp.get("/merchants/<mer_id>")
    def show(mer_id: str) -> Answer:
        with here().store.read() as db:
            merchant = merchants.find(db, mer_id)
        if merchant is None:
            raise Fault(404, "no_such_merchant", "no merchant has this mer_id")
        return shown(here(), ring, merchant), 200

    @bp.post("/rotate_cert")
    def rotate() -> Answer:
        mode = desk.text(desk.body(), "mode", "production")
        if mode not in keys.ORGANISATIONS:
            raise Fault(400, "invalid_mode", "mode is 'production' or 'test'")
        return rotated(ring, mode), 200

    @bp.post("/sdk_pay")
    def sdk_pay() -> Answer:
        body = desk.body()
        return _sdk_pay(here(), desk.text(body, "tn"), desk.text(body, "action", "approve")), 200

    return bp


def shown(box: Box, ring: Keyring, merchant: Merchant) -> dict[str, Any]:
    """What a merchant copies into its settings; nothing private."""
    seal = ring.seal(merchant.mode)
    return {
        "mer_id": merchant.mer_id,
        "mode": merchant.mode,
        "name": merchant.name,
        "merchant_cert": merchant.cert,
        "cert_id": merchant.cert_id,
        "middle_cert": ring.middle,
        "root_cert": ring.root,
        "unionpay_cert": seal.cert,
        "unionpay_cert_id": seal.cert_id,
        "gateway_url": f"{box.public_url}/gateway/api",
        "file_url": f"{box.public_url}{FILES}",
    }


def rotated(ring: Keyring, mode: str) -> dict[str, Any]:
    """A new certificate for one of UnionPay's systems."""
    ring.rotate(mode)
    seal = ring.seal(mode)
    return {"unionpay_cert": seal.cert, "unionpay_cert_id": seal.cert_id}


def _sdk_pay(box: Box, tn: str, action: str) -> dict[str, Any]:
    """What the wallet's SDK does with a ``tn``, and the word that it hands back to the merchant's app."""
    if action not in _ACTIONS:
        raise Fault(400, "invalid_action", "action is approve, decline or cancel")
    with box.store.write() as db:
        ticket = tickets.find(db, NETWORK, tn)
        trade = None if ticket is None else trades.by_code(db, ticket.about)
        if trade is None:
            raise Fault(404, "no_such_tn", "no payment has this tn")
        verdict = shopper.pay(box, db, trade) if action == "approve" else shopper.open_trade(box, db, trade)
        if action == "decline" and verdict.outcome is Outcome.OPENED:
            verdict = shopper.decline(db, verdict.trade, "balance")
    # The real one does not tell "on its way" from failure either: only a query does.
    word = "cancel" if action == "cancel" else _RESULTS.get(verdict.outcome, "fail")
    return {"pay_result": word, "tn": tn, "out_trade_no": verdict.trade.out_trade_no}
