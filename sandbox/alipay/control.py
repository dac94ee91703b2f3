"""Alipay's part of the control API: merchants' apps, the wallet's SDK and bridge, certificates."""

from __future__ import annotations

import sqlite3
from typing import Any

from flask import Blueprint

from sandbox import desk, rsakeys, shopper, tickets, trades
from sandbox.alipay import apps, buyer, gateway, keys, news, wire
from sandbox.alipay.apps import NETWORK, App, Wish
from sandbox.alipay.keys import Keyring
from sandbox.alipay.payments import status_of
from sandbox.alipay.wire import Refusal
from sandbox.box import Box, here
from sandbox.desk import Answer, Fault
from sandbox.shopper import Outcome, Verdict
from sandbox.trades import Trade
from sandbox.yuan import yuan_of

# resultStatus of the mobile SDK and resultCode of the bridge.
_RESULTS = {Outcome.PAID: "9000", Outcome.ALREADY_PAID: "9000", Outcome.PROCESSING: "8000"}
_CANCELED = "6001"
_FAILED = "4000"


def blueprint(ring: Keyring) -> Blueprint:
    """``/control/alipay/...``."""
    bp = Blueprint("alipay_control", __name__, url_prefix="/control/alipay")

    @bp.get("/apps")
    def list_apps() -> Answer:
        with here().store.read() as db:
            return {"data": [shown(here(), ring, app) for app in apps.every(db)]}, 200

    @bp.post("/apps")
    def register() -> Answer:
        body = desk.body()
        wish = Wish(
            mode=desk.text(body, "mode", "key"),
            public_key=desk.text(body, "public_key"),
            app_cert=desk.text(body, "app_cert"),
            name=desk.text(body, "name"),
            seller_id=desk.text(body, "seller_id"),
            payer=desk.text(body, "payer"),
        )
        try:
            with here().store.write() as db:
                app, fresh = apps.register(db, ring, wish)
        except ValueError as error:
            raise Fault(400, "invalid_app", str(error)) from None
        return shown(here(), ring, app), 201 if fresh else 200

    @bp.get("/apps/<app_id>")
    def show(app_id: str) -> Answer:
        with here().store.read() as db:
            app = apps.find(db, app_id)
        if app is None:
            raise Fault(404, "no_such_app", "no app has this app_id")
        return shown(here(), ring, app), 200

    _add_tokens(bp)

    @bp.post("/sdk_pay")
    def sdk_pay() -> Answer:
        return _sdk_pay(here(), ring, desk.body()), 200

    @bp.post("/jsapi_pay")
    def jsapi_pay() -> Answer:
        body, box = desk.body(), here()
        with box.store.write() as db:
            trade_no = desk.text(body, "tradeNO") or desk.text(body, "trade_no")
            trade = _by_trade_no(db, trade_no)
            verdict, code = _act(box, db, trade, desk.text(body, "action", "approve"))
        return {"resultCode": code, "out_trade_no": verdict.trade.out_trade_no}, 200

    @bp.post("/rotate_cert")
    def rotate() -> Answer:
        return {"alipay_cert_sn": ring.rotate()}, 200

    return bp


def _add_tokens(bp: Blueprint) -> None:
    """Merchants that authorise an application, and take that back."""

    @bp.post("/apps/<app_id>/authorize")
    def authorize(app_id: str) -> Answer:
        body = desk.body()
        with here().store.write() as db:
            app = apps.find(db, app_id)
            if app is None:
                raise Fault(404, "no_such_app", "no app has this app_id")
            try:
                made = apps.authorize(db, app, desk.text(body, "seller_id"))
            except ValueError as error:
                raise Fault(400, "invalid_app", str(error)) from None
        return dict(zip(("app_auth_token", "auth_app_id", "seller_id"), made, strict=True)), 201

    @bp.post("/revoke")
    def revoke() -> Answer:
        with here().store.write() as db:
            if not tickets.use(db, apps.NETWORK, desk.text(desk.body(), "app_auth_token")):
                raise Fault(404, "no_such_token", "no such token, or it is revoked already")
        return {"revoked": True}, 200


def shown(box: Box, ring: Keyring, app: App) -> dict[str, Any]:
    """What a merchant copies into its settings; nothing private."""
    facts: dict[str, Any] = {
        "app_id": app.app_id,
        "mode": app.mode,
        "name": app.name,
        "seller_id": app.seller_id,
        "gateway_url": f"{box.public_url}/gateway.do",
        "auth_url": box.public_url,
        "payer": app.payer,
        **buyer.named(app, "buyer_id", "buyer_open_id"),
        "app_public_key": app.public_key,
        "alipay_public_key": ring.public_pem,
    }
    if app.mode == "cert":
        found = ring.certificate()
        assert found is not None
        facts["alipay_cert_sn"], facts["alipay_cert"] = found
        facts["alipay_public_key"] = rsakeys.key_in(found[1])
        facts["alipay_root_cert"] = ring.roots()
        facts["alipay_root_cert_sn"] = keys.root_sn(facts["alipay_root_cert"])
        facts["app_cert"], facts["app_cert_sn"] = app.app_cert, app.app_cert_sn
    return facts


def _sdk_pay(box: Box, ring: Keyring, body: dict[str, Any]) -> dict[str, Any]:
    """What the wallet does with an order string, and what its SDK hands back to the merchant's app."""
    params = wire.read(desk.text(body, "order_string").encode(), b"")
    if params.raw.get("method") != "alipay.trade.app.pay":
        raise Fault(400, "invalid_order_string", "order_string is not of alipay.trade.app.pay")
    try:
        opened = gateway.browser_call(box, ring, params)
    except Refusal as refusal:
        node = refusal.node()
        return {"resultStatus": _FAILED, "result": wire.node_text(node), "memo": refusal.sub_code}
    with box.store.write() as db:
        trade = trades.find(db, NETWORK, opened.app_id, opened.out_trade_no)
        assert trade is not None
        verdict, code = _act(box, db, trade, desk.text(body, "action", "approve"))
        app = apps.find(db, trade.app_id)
    assert app is not None
    node = {
        "code": "10000" if code == "9000" else "40004",
        "msg": "Success" if code == "9000" else "Business Failed",
        "app_id": app.app_id,
        "out_trade_no": verdict.trade.out_trade_no,
        "seller_id": app.seller_id,
        "total_amount": yuan_of(verdict.trade.total_minor),
        "trade_no": verdict.trade.trade_no,
    }
    text = wire.node_text(node)
    sign = rsakeys.sign(news.signing_key(ring, app), text.encode())
    result = wire.answer("alipay_trade_app_pay_response", text, "", sign)[:-1] + ',"sign_type":"RSA2"}'
    return {"resultStatus": code, "result": result, "memo": "", "trade_status": status_of(verdict.trade)}


def _act(box: Box, db: sqlite3.Connection, trade: Trade, action: str) -> tuple[Verdict, str]:
    if action == "approve":
        verdict = shopper.pay(box, db, trade)
        return verdict, _RESULTS.get(verdict.outcome, _FAILED)
    verdict = shopper.open_trade(box, db, trade)
    if action == "cancel":
        return verdict, _CANCELED
    if action != "decline":
        raise Fault(400, "invalid_action", "action is approve, decline or cancel")
    if verdict.outcome is not Outcome.OPENED:
        return verdict, _RESULTS.get(verdict.outcome, _FAILED)
    return shopper.decline(db, verdict.trade, "balance"), _FAILED


def _by_trade_no(db: sqlite3.Connection, trade_no: str) -> Trade:
    for app in apps.every(db):
        trade = trades.by_trade_no(db, NETWORK, app.app_id, trade_no)
        if trade is not None:
            return trade
    raise Fault(404, "no_such_trade", "no trade has this trade_no")
