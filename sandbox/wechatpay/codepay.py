"""Payments by the shopper's code: charged by the till, told by the answer and by queries alone, reversed.

Source: WeChat Pay API v3, 付款码支付 and 撤销订单.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets

from sandbox import paycodes, shopper, timing, trades
from sandbox.paycodes import Standing
from sandbox.shopper import Outcome
from sandbox.trades import Offer, Trade
from sandbox.wechatpay.calls import OUT_TRADE_NO, Call
from sandbox.wechatpay.merchants import NETWORK
from sandbox.wechatpay.orders import sellers, shown, status_of
from sandbox.wechatpay.wire import Node, Refusal, bad_field

REVERSE_AFTER_S = 15.0
_CODE = re.compile(r"1[0-5][0-9]{16}", re.ASCII)
_LIFE_S = 5 * 60.0
_NO = {
    Standing.UNKNOWN: ("AUTH_CODE_INVALID", "付款码无效"),
    Standing.EXPIRED: ("AUTHCODEEXPIRE", "付款码已过期，请刷新"),
    Standing.USED: ("AUTH_CODE_INVALID", "付款码已使用，请刷新"),
}
_OF_FAILURE = {
    "balance": ("NOT_ENOUGH", "余额不足"),
    "risk": ("RULE_LIMIT", "交易存在风险"),
    "password": ("TRADE_ERROR", "支付密码错误"),
}


def charge(call: Call) -> Node:
    """POST /v3/pay/transactions/codepay.  The same number again tells how it stands.

    Raises Refusal for a code that is none, over or used, for the wallet's no, and those of a field.
    """
    wish, code = _wish(call)
    trade = trades.find(call.db, NETWORK, call.merchant.mchid, wish.out_trade_no)
    if trade is not None:
        if trade.fingerprint != wish.fingerprint:
            raise Refusal("OUT_TRADE_NO_USED")
        trade = shopper.progress(call.box, call.db, trade)
        return shown(trade, status_of(trade))
    standing = paycodes.standing(call.db, NETWORK, code)
    if standing is not Standing.GOOD:
        raise Refusal(*_NO[standing])
    trade = shopper.enter(call.box, call.db, wish)
    paycodes.use(call.db, NETWORK, code, trade.code)
    verdict = shopper.pay_by_code(call.box, call.db, trade)
    if verdict.outcome is Outcome.DECLINED:
        raise Refusal(*_OF_FAILURE[verdict.trade.failure])
    return shown(verdict.trade, status_of(verdict.trade))


def reverse(call: Call) -> Node:
    """POST …/out-trade-no/{no}/reverse: unpaid it ends, paid the money goes back.  Repeatable."""
    call.check_owner("body")
    trade = call.trade(call.path["out_trade_no"])
    if trade is None:
        raise Refusal("ORDER_NOT_EXIST")
    if trade.product != "codepay":
        raise Refusal("INVALID_REQUEST", "非付款码支付订单不可撤销")
    if timing.now() < trade.created_ts + REVERSE_AFTER_S:
        raise Refusal("INVALID_REQUEST", "支付后15秒内不可撤销")
    if trade.refunded_minor:
        raise Refusal("TRADE_ERROR", "订单已有退款，不可撤销")
    _reversed(call, trade)
    return {**sellers(trade), "out_trade_no": trade.out_trade_no}


def _reversed(call: Call, trade: Trade) -> None:
    if "reversed" not in trade.details:
        shopper.reverse(call.box, call.db, trade)


def _wish(call: Call) -> tuple[Offer, str]:
    sold_by = call.sellers()
    number, code = (
        call.text("/out_trade_no", 32, required=True),
        call.text("/payer/auth_code", 128, required=True),
    )
    if OUT_TRADE_NO.fullmatch(number) is None:
        raise bad_field("/out_trade_no", number, "只能是6到32个字母、数字和_-|*")
    if _CODE.fullmatch(code) is None:
        raise bad_field("/payer/auth_code", "***", "付款码为18位数字，以10到15开头")
    for pointer in ("/scene_info/device_ip", "/scene_info/store_info/out_id"):
        call.text(pointer, 64, required=True)
    same = json.dumps(call.body, sort_keys=True, ensure_ascii=False)
    now = timing.now()
    details = {**sold_by, "attach": call.text("/attach", 128)}
    offer = Offer(
        network=NETWORK,
        app_id=call.merchant.mchid,
        out_trade_no=number,
        trade_no=f"420000{secrets.randbelow(10**4):04d}{timing.beijing(now, '%Y%m%d')}"
        + str(secrets.randbelow(10**10)).zfill(10),
        product="codepay",
        amount_minor=call.whole("/amount/total"),
        subject=call.text("/description", 127, required=True),
        payee=call.merchant.name,
        notify_url="",  # nobody is told
        return_url="",
        fingerprint=hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest(),
        details={name: text for name, text in details.items() if text},
        expires_ts=now + _LIFE_S,
    )
    return offer, code
