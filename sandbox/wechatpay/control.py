"""WeChat Pay's part of the control API: merchants, the camera, the bridge, the mobile SDK, new keys."""

from __future__ import annotations

import sqlite3
from typing import Any

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import desk, rsakeys, shopper, tickets, trades
from sandbox.box import Box, here
from sandbox.desk import Answer, Fault
from sandbox.shopper import Outcome
from sandbox.trades import Trade
from sandbox.wechatpay import merchants
from sandbox.wechatpay.keys import Keyring
from sandbox.wechatpay.merchants import NETWORK, Merchant, Wish
from sandbox.wechatpay.orders import CODE_HEAD, openid_of
from sandbox.wechatpay.wallet import AUTHORIZE_PATH

_DONE = (Outcome.PAID, Outcome.ALREADY_PAID, Outcome.PROCESSING)
ROTATIONS = ("cert", "announce", "switch", "public_key")
_WISHES = ("public_key", "cert", "mode", "mchid", "appid", "mobile_appid", "apiv3_key", "domain", "name")


def blueprint(ring: Keyring) -> Blueprint:
    """``/control/wechatpay/...``."""
    bp = Blueprint("wechatpay_control", __name__, url_prefix="/control/wechatpay")

    @bp.get("/merchants")
    def list_merchants() -> Answer:
        with here().store.read() as db:
            return {"data": [shown(here(), ring, merchant) for merchant in merchants.every(db)]}, 200

    @bp.post("/merchants")
    def register() -> Answer:
        body = desk.body()
        wish = Wish(**{name: desk.text(body, name) for name in _WISHES})
        try:
            with here().store.write() as db:
                merchant, fresh = merchants.register(db, ring, wish)
        except ValueError as error:
            raise Fault(400, "invalid_merchant", str(error)) from None
        return shown(here(), ring, merchant), 201 if fresh else 200

    @bp.get("/merchants/<mchid>")
    def show(mchid: str) -> Answer:
        with here().store.read() as db:
            merchant = merchants.find(db, mchid)
        if merchant is None:
            raise Fault(404, "no_such_merchant", "no merchant has this mchid")
        return shown(here(), ring, merchant), 200

    @bp.post("/merchants/<mchid>/subs")
    def add_sub(mchid: str) -> Answer:
        body = desk.body()
        with here().store.write() as db:
            merchant = merchants.find(db, mchid)
            if merchant is None:
                raise Fault(404, "no_such_merchant", "no merchant has this mchid")
            sub_appid = desk.text(body, "sub_appid")
            try:
                sub_mchid = merchants.add_sub(db, merchant, desk.text(body, "sub_mchid"), sub_appid)
            except ValueError as error:
                raise Fault(400, "invalid_merchant", str(error)) from None
        openid = openid_of(sub_appid or merchant.appid)
        return {"sp_mchid": mchid, "sub_mchid": sub_mchid, "sub_appid": sub_appid, "openid": openid}, 201

    _add_acts(bp, ring)
    return bp


def _add_acts(bp: Blueprint, ring: Keyring) -> None:
    """New keys, and what the shopper's WeChat does."""

    @bp.post("/rotate")
    def rotate() -> Answer:
        what = desk.text(desk.body(), "what")
        if what not in ROTATIONS:
            raise Fault(400, "invalid_field", f"what is one of {', '.join(ROTATIONS)}")
        return rotated(ring, what), 200

    @bp.get("/scan")
    def scan() -> AnyResponse:
        code = request.args.get("code_url", "").removeprefix(CODE_HEAD)
        with here().store.read() as db:
            trade = trades.by_code(db, code)
        if trade is None or trade.network != NETWORK or trade.product != "native":
            raise Fault(404, "no_such_code", "no native order has this code_url")
        return redirect(f"/qr/{trade.code}", 303)

    @bp.post("/jsapi_pay")
    def jsapi_pay() -> Answer:
        return _jsapi_pay(here(), desk.body()), 200

    @bp.post("/sdk_pay")
    def sdk_pay() -> Answer:
        return _sdk_pay(here(), desk.body()), 200


def shown(box: Box, ring: Keyring, merchant: Merchant) -> dict[str, Any]:
    """What a merchant copies into its settings.  The network's private keys never leave."""
    facts: dict[str, Any] = {
        "mchid": merchant.mchid,
        "appid": merchant.appid,
        "app_secret": merchant.app_secret,
        "name": merchant.name,
        "mode": merchant.mode,
        "merchant_serial": merchant.serial,
        "merchant_cert": merchant.cert,
        "merchant_public_key": merchant.public_key,
        "apiv3_key": merchant.apiv3_key,
        "domain": merchant.domain,
        "mobile_appid": merchant.mobile_appid,
        "api_base": box.public_url,
        "oauth_base": box.public_url,
        "oauth_authorize_url": f"{box.public_url}{AUTHORIZE_PATH}",
        "openid": openid_of(merchant.appid),
        "subs": dict(merchant.subs),
    }
    if merchant.mode != "cert":
        facts["public_key_id"], facts["public_key"] = ring.public_key(merchant.mchid)
    if merchant.mode != "public_key":
        facts["platform_certs"] = [{"serial_no": serial, "cert": pem} for serial, pem in ring.platform()]
    return facts


def rotated(ring: Keyring, what: str) -> dict[str, Any]:
    """New keys: ``cert`` at once; ``announce`` and ``switch`` the same in two steps; ``public_key``."""
    if what == "public_key":
        return {"turn": ring.rotate_public_key()}
    serial = ring.platform_signer().serial
    if what != "switch":
        serial = ring.announce_certificate()
    return {"serial_no": serial if what == "announce" else ring.use_newest_certificate()}


def _jsapi_pay(box: Box, body: dict[str, Any]) -> dict[str, Any]:
    """What ``WeixinJSBridge.invoke('getBrandWCPayRequest')`` does with its six parameters."""
    names = ("appId", "timeStamp", "nonceStr", "package", "signType", "paySign")
    given = {name: body.get(name) for name in names}
    for name, value in given.items():
        # The bridge of iPhones refuses a timeStamp that is a number.
        if not isinstance(value, str) or not value:
            return _bridge("fail", f"调用支付JSAPI缺少参数：{name}")
    text = {name: str(value) for name, value in given.items()}
    prepay_id = text["package"].removeprefix("prepay_id=")
    with box.store.write() as db:
        trade, merchant = _prepaid(db, prepay_id, "jsapi")
        if trade is None or merchant is None or text["signType"] != "RSA":
            return _bridge("fail", "支付验证签名失败")
        message = f"{text['appId']}\n{text['timeStamp']}\n{text['nonceStr']}\n{text['package']}\n"
        if text["appId"] != trade.details["appid"] or not rsakeys.verifies(
            merchant.public_key, message.encode(), text["paySign"]
        ):
            return _bridge("fail", "支付验证签名失败")
        done, trade = _act(box, db, trade, desk.text(body, "action", "approve"))
    return {**_bridge(done), "out_trade_no": trade.out_trade_no}


def _sdk_pay(box: Box, body: dict[str, Any]) -> dict[str, Any]:
    """What WeChat's mobile SDK does with a PayReq; answers errCode 0, -1 or -2."""
    names = ("appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign")
    text = {name: str(body.get(name, "")) for name in names}
    with box.store.write() as db:
        trade, merchant = _prepaid(db, text["prepayid"], "app")
        if trade is None or merchant is None:
            return {"errCode": -1, "errStr": "预支付交易会话不存在"}
        message = f"{text['appid']}\n{text['timestamp']}\n{text['noncestr']}\n{text['prepayid']}\n"
        number = trade.details.get("sub_mchid") or merchant.mchid
        expected = (trade.details["appid"], number, "Sign=WXPay")
        if (text["appid"], text["partnerid"], text["package"]) != expected or not rsakeys.verifies(
            merchant.public_key, message.encode(), text["sign"]
        ):
            return {"errCode": -1, "errStr": "支付验证签名失败"}
        done, trade = _act(box, db, trade, desk.text(body, "action", "approve"))
    code = {"ok": 0, "fail": -1, "cancel": -2}[done]
    return {"errCode": code, "errStr": "", "out_trade_no": trade.out_trade_no}


def _prepaid(db: sqlite3.Connection, prepay_id: str, product: str) -> tuple[Trade | None, Merchant | None]:
    ticket = tickets.find(db, NETWORK, prepay_id)
    trade = None if ticket is None else trades.by_code(db, ticket.about)
    if trade is None or trade.product != product:
        return None, None
    return trade, merchants.find(db, trade.app_id)


def _act(box: Box, db: sqlite3.Connection, trade: Trade, action: str) -> tuple[str, Trade]:
    """The shopper's hand on the sheet: "ok", "fail" or "cancel"."""
    if action == "approve":
        verdict = shopper.pay(box, db, trade)
        return "ok" if verdict.outcome in _DONE else "fail", verdict.trade
    if action not in ("decline", "cancel"):
        raise Fault(400, "invalid_action", "action is approve, decline or cancel")
    verdict = shopper.open_trade(box, db, trade)
    if action == "decline" and verdict.outcome is Outcome.OPENED:
        verdict = shopper.decline(db, verdict.trade, "balance")
    return "cancel" if action == "cancel" else "fail", verdict.trade


def _bridge(word: str, why: str = "") -> dict[str, Any]:
    answer = {"err_msg": f"get_brand_wcpay_request:{word}"}
    return {**answer, "err_desc": why} if why else answer
