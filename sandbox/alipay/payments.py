"""Making, asking, closing and cancelling trades: Alipay's payment methods.

Source: Alipay open platform, alipay.trade.precreate, wap.pay, page.pay, app.pay, create, query,
close and cancel.
"""

from __future__ import annotations

import hashlib
import json
import secrets

from sandbox import paycodes, shopper, timing, trades
from sandbox.alipay import buyer
from sandbox.alipay.apps import NETWORK
from sandbox.alipay.calls import NUMBER, Call, success
from sandbox.alipay.wire import Node, business
from sandbox.paycodes import Standing
from sandbox.shopper import Outcome
from sandbox.trades import Offer, State, Trade
from sandbox.yuan import yuan_of

# The product codes that each method takes; an absent one is always right.
PRODUCTS = {
    "alipay.trade.precreate": {"FACE_TO_FACE_PAYMENT", "QR_CODE_OFFLINE"},
    "alipay.trade.wap.pay": {"QUICK_WAP_WAY", "QUICK_WAP_PAY"},  # An SDK in wide use sends the second.
    "alipay.trade.page.pay": {"FAST_INSTANT_TRADE_PAY"},
    "alipay.trade.app.pay": {"QUICK_MSECURITY_PAY"},
    "alipay.trade.pay": {"FACE_TO_FACE_PAYMENT"},
    "alipay.trade.create": {"JSAPI_PAY", "FACE_TO_FACE_PAYMENT"},
}
_CODE_LIFE_S = 2 * 3600.0
_OF_FAILURE = {
    "balance": ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足"),
    "risk": ("ACQ.PAYMENT_REQUEST_HAS_RISK", "支付有风险"),
    "password": ("ACQ.PAYMENT_FAIL", "支付失败"),
}
_TRADE_LIFE_S = 15 * 86400.0

_STATUS = {
    State.OFFERED: "",
    State.WITHDRAWN: "",
    State.WAITING: "WAIT_BUYER_PAY",
    State.CLOSED: "TRADE_CLOSED",
    State.PAID: "TRADE_SUCCESS",
    State.FINISHED: "TRADE_FINISHED",
}


def status_of(trade: Trade) -> str:
    """Alipay's word: a trade refunded in full is TRADE_CLOSED, as one that was never paid.  Pure."""
    return "TRADE_CLOSED" if trade.fully_refunded else _STATUS[trade.state]


def precreate(call: Call) -> Node:
    """alipay.trade.precreate: a code to scan; the trade exists only when somebody scans it."""
    trade = offer(call)
    return success(out_trade_no=trade.out_trade_no, qr_code=f"{call.box.public_url}/qr/{trade.code}")


def create(call: Call) -> Node:
    """alipay.trade.create: a trade for a known buyer, paid through the app's JavaScript bridge."""
    _check_buyer(call)
    trade = shopper.open_trade(call.box, call.db, offer(call)).trade
    return success(out_trade_no=trade.out_trade_no, trade_no=trade.trade_no)


def pay(call: Call) -> Node:
    """alipay.trade.pay: 10000 is paid, 10003 means that the buyer must type the password.

    Raises Refusal for a code that is none, over or used, for the wallet's no, and what ``offer`` raises.
    """
    if call.word("scene", 32, required=True) != "bar_code":
        raise business("ACQ.INVALID_PARAMETER", "参数无效: scene")
    code = call.word("auth_code", 64, required=True)
    number = call.word("out_trade_no", 64)
    if trades.find(call.db, NETWORK, call.app.app_id, number) is not None:
        return _code_answer(call, shopper.progress(call.box, call.db, offer(call)))
    if paycodes.standing(call.db, NETWORK, code) is not Standing.GOOD:
        raise business("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，获取顾客账户信息失败，请顾客刷新付款码")
    trade = offer(call)
    paycodes.use(call.db, NETWORK, code, trade.code)
    verdict = shopper.pay_by_code(call.box, call.db, trade)
    if verdict.outcome is Outcome.DECLINED:
        raise business(*_OF_FAILURE[verdict.trade.failure])
    return _code_answer(call, verdict.trade)


def _code_answer(call: Call, trade: Trade) -> Node:
    if trade.paid_ts is None:
        asked = {"code": "10003", "msg": "order success pay inprocess"}
        return asked | {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}
    money = yuan_of(trade.paid_minor)
    return success(
        buyer_logon_id=buyer.BUYER_LOGON_ID,
        **buyer.named(call.app, "buyer_user_id", "buyer_open_id"),
        buyer_pay_amount=money,
        fund_bill_list=[{"amount": money, "fund_channel": "ALIPAYACCOUNT"}],
        gmt_payment=timing.beijing(trade.paid_ts),
        invoice_amount=money,
        out_trade_no=trade.out_trade_no,
        receipt_amount=money,
        total_amount=yuan_of(trade.total_minor),
        trade_no=trade.trade_no,
    )


def offer(call: Call) -> Trade:
    """The trade of this number: entered now, or found again with the same parameters.

    Raises Refusal TRADE_HAS_SUCCESS, TRADE_HAS_CLOSE, CONTEXT_INCONSISTENT or INVALID_PARAMETER.
    """
    wish = _wish(call)
    known = trades.find(call.db, NETWORK, call.app.app_id, wish.out_trade_no)
    if known is None:
        return shopper.enter(call.box, call.db, wish)
    known = shopper.progress(call.box, call.db, known)
    if known.state in (State.PAID, State.FINISHED):
        raise business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
    if known.state in (State.CLOSED, State.WITHDRAWN):
        raise business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
    if known.fingerprint != wish.fingerprint:
        raise business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
    return known


def query(call: Call) -> Node:
    """alipay.trade.query."""
    code = call.lever("query_error")
    if code is not None:
        raise business(code or "ACQ.SYSTEM_ERROR", "系统异常")
    trade = call.existing_trade()
    paid = trade.paid_ts is not None
    money = yuan_of(trade.paid_minor)
    return success(
        buyer_logon_id=buyer.BUYER_LOGON_ID,
        buyer_pay_amount=money,
        **buyer.named(call.app, "buyer_user_id", "buyer_open_id"),
        fund_bill_list=[{"amount": money, "fund_channel": "ALIPAYACCOUNT"}] if paid else None,
        invoice_amount=money,
        out_trade_no=trade.out_trade_no,
        passback_params=trade.details.get("passback_params"),
        point_amount="0.00",
        receipt_amount=money,
        send_pay_date=timing.beijing(trade.paid_ts) if trade.paid_ts is not None else None,
        store_id=trade.details.get("store_id"),
        subject=trade.subject,
        body=trade.details.get("body"),
        terminal_id=trade.details.get("terminal_id"),
        total_amount=yuan_of(trade.total_minor),
        trade_no=trade.trade_no,
        trade_status=status_of(trade),
    )


def close(call: Call) -> Node:
    """alipay.trade.close: only from WAIT_BUYER_PAY."""
    trade = call.existing_trade()
    if trade.state is not State.WAITING:
        raise business("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态不合法")
    trade = shopper.close(call.box, call.db, trade)
    return success(trade_no=trade.trade_no, out_trade_no=trade.out_trade_no)


def cancel(call: Call) -> Node:
    """alipay.trade.cancel: closes an unpaid trade, refunds a paid one in full, revokes an unscanned code."""
    trade = call.named_trade()
    if trade is None:
        raise business("ACQ.TRADE_NOT_EXIST", "交易不存在")
    if trade.state in (State.OFFERED, State.WITHDRAWN):
        shopper.withdraw(call.db, trade)
        return success(out_trade_no=trade.out_trade_no, retry_flag="N")
    if trade.state is State.FINISHED:
        raise business("ACQ.TRADE_HAS_FINISHED", "交易已完结")
    if trade.state is State.WAITING and call.lever("pay_first") is not None:
        trade = shopper.pay(call.box, call.db, trade).trade
    numbers = {"trade_no": trade.trade_no, "out_trade_no": trade.out_trade_no, "retry_flag": "N"}
    if trade.state is not State.PAID:
        shopper.close(call.box, call.db, trade)
        return success(**numbers, action="close")
    left = trade.paid_minor - sum(item.amount_minor for item in trades.refunds_of(call.db, trade))
    if left:
        now = timing.now()
        wish = trades.Refund(f"cancel_{trade.out_trade_no}"[:64], left, "pending", "cancel", now, None, None)
        shopper.refund(call.box, call.db, trade, wish)
    return success(**numbers, action="refund", gmt_refund_pay=timing.beijing(timing.now()))


def _check_buyer(call: Call) -> None:
    """The buyer is somebody, by whichever of three names, and not the seller.  Raises Refusal."""
    op_app_id = call.word("op_app_id", 32)
    if op_app_id not in ("", call.app.app_id):  # of an app that the merchant never bound
        raise business("ACQ.INVALID_PARAMETER", "参数无效: op_app_id")
    ours = buyer.open_id_of(call.app.app_id)
    names = {"buyer_id": (28, buyer.BUYER_ID), "buyer_open_id": (128, ours)}
    if op_app_id:
        names["op_buyer_open_id"] = (128, ours)
    said = {name: call.word(name, longest) for name, (longest, _) in names.items()}
    if said["buyer_id"] == call.app.seller_id:
        raise business("ACQ.BUYER_SELLER_EQUAL", "买卖家不能相同")
    if not any(said.values()):
        raise business("ACQ.INVALID_PARAMETER", "参数无效: buyer_id")
    for name, text in said.items():
        if text not in ("", names[name][1]):
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}")


def _wish(call: Call) -> Offer:
    out_trade_no = call.word("out_trade_no", 64, required=True)
    if NUMBER.fullmatch(out_trade_no) is None:
        raise business("ACQ.INVALID_PARAMETER", "参数无效: out_trade_no")
    if call.word("product_code", 64) not in PRODUCTS[call.method] | {""}:
        raise business("ACQ.INVALID_PARAMETER", "参数无效: product_code")
    if call.word("seller_id", 28) not in ("", call.app.seller_id):
        raise business("ACQ.INVALID_PARAMETER", "参数无效: seller_id")
    now = timing.now()
    amount_minor, subject = call.amount("total_amount"), call.word("subject", 256, required=True)
    expires_ts = call.moment("time_expire")
    if expires_ts is not None and expires_ts <= now:
        raise business("ACQ.INVALID_PARAMETER", "参数无效: time_expire")
    code_life_s = None
    if call.method == "alipay.trade.precreate":
        code_life_s = call.span_s("qr_code_timeout_express") or _CODE_LIFE_S
    code_ends = [expires_ts, None if code_life_s is None else now + code_life_s]
    details = {
        "body": call.word("body", 400),
        "passback_params": call.word("passback_params", 512),
        "quit_url": call.word("quit_url", 400),
        "store_id": call.word("store_id", 32),
        "terminal_id": call.word("terminal_id", 32),
        "operator_id": call.word("operator_id", 28),
        "charset": call.params.charset,
        "method": call.method,
        # Of the merchant that an application acts for.
        "auth_app_id": call.app.auth_app_id,
        "seller_id": call.app.seller_id if call.app.auth_app_id else "",
    }
    same = json.dumps([amount_minor, subject, details["body"], details["passback_params"]])
    return Offer(
        network=NETWORK,
        app_id=call.app.app_id,
        out_trade_no=out_trade_no,
        trade_no=timing.beijing(now, "%Y%m%d") + "220014" + str(secrets.randbelow(10**14)).zfill(14),
        product=call.method.removeprefix("alipay.trade."),
        amount_minor=amount_minor,
        subject=subject,
        payee=call.app.name,
        notify_url=call.url("notify_url"),
        return_url=call.url("return_url"),
        fingerprint=hashlib.sha256(same.encode()).hexdigest(),
        details={name: value for name, value in details.items() if value},
        code_expires_ts=min((end for end in code_ends if end is not None), default=None),
        expires_ts=expires_ts,
        lasts_s=call.span_s("timeout_express") or (None if expires_ts else _TRADE_LIFE_S),
    )
