"""Sending money back and asking after it.

Source: Alipay open platform, alipay.trade.refund and alipay.trade.fastpay.refund.query.
"""

from __future__ import annotations

from sandbox import shopper, timing, trades
from sandbox.alipay import buyer
from sandbox.alipay.apps import App
from sandbox.alipay.calls import NUMBER, Call, success
from sandbox.alipay.wire import Node, business
from sandbox.trades import Refund, State, Trade
from sandbox.yuan import yuan_of


def refund(call: Call) -> Node:
    """alipay.trade.refund.  The same out_request_no again moves nothing: fund_change is N.

    Without an out_request_no the order number is the refund number, so only a full refund works.
    """
    trade = call.existing_trade()
    amount_minor = call.amount("refund_amount")
    given = call.word("out_request_no", 64)
    number = given or trade.out_trade_no
    if NUMBER.fullmatch(number) is None:
        raise business("ACQ.INVALID_PARAMETER", "参数无效: out_request_no")
    known = {item.out_refund_no: item for item in trades.refunds_of(call.db, trade)}
    if number in known:
        if known[number].amount_minor != amount_minor:
            raise business("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
        return _answer(call.app, trade, known[number], moved=False)
    _check(trade, amount_minor, sum(item.amount_minor for item in known.values()), whole=not given)
    code = call.lever("refund_fail")
    if code is not None:
        raise business(code or "ACQ.SELLER_BALANCE_NOT_ENOUGH", "退款失败")
    seconds = call.lever("refund_pending")
    now = timing.now()
    due_ts = None if seconds is None else now + float(seconds)
    wish = Refund(number, amount_minor, "pending", call.word("refund_reason", 256), now, due_ts, None)
    trade = shopper.refund(call.box, call.db, trade, wish)
    made = next(item for item in trades.refunds_of(call.db, trade) if item.out_refund_no == number)
    return _answer(call.app, trade, made, moved=due_ts is None)


def refund_query(call: Call) -> Node:
    """alipay.trade.fastpay.refund.query: refund_status only once the money is back."""
    code = call.lever("query_error")
    if code is not None:
        raise business(code or "ACQ.SYSTEM_ERROR", "系统异常")
    number = call.word("out_request_no", 64, required=True)
    trade = call.existing_trade()
    for item in trades.refunds_of(call.db, trade):
        if item.out_refund_no == number and item.done_ts is not None:
            return success(
                out_request_no=number,
                out_trade_no=trade.out_trade_no,
                refund_amount=yuan_of(item.amount_minor),
                refund_reason=item.reason,
                refund_status="REFUND_SUCCESS",
                gmt_refund_pay=timing.beijing(item.done_ts),
                send_back_fee=yuan_of(item.amount_minor),
                total_amount=yuan_of(trade.total_minor),
                trade_no=trade.trade_no,
            )
    return success()  # Code 10000 and nothing else: not refunded, or not yet.


def _check(trade: Trade, amount_minor: int, refunded_minor: int, whole: bool) -> None:
    """Raises Refusal when this trade cannot give this much back.  Pure."""
    if trade.state is State.FINISHED:
        raise business("ACQ.TRADE_HAS_FINISHED", "交易已完结")
    if trade.state is not State.PAID:
        raise business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
    if whole and amount_minor != trade.paid_minor:
        raise business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额与订单金额不一致")
    if refunded_minor + amount_minor > trade.paid_minor:
        raise business("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效")


def _answer(app: App, trade: Trade, item: Refund, moved: bool) -> Node:
    return success(
        buyer_logon_id=buyer.BUYER_LOGON_ID,
        **buyer.named(app, "buyer_user_id", "buyer_open_id"),
        fund_change="Y" if moved else "N",
        gmt_refund_pay=timing.beijing(item.done_ts) if item.done_ts is not None else None,
        out_trade_no=trade.out_trade_no,
        refund_fee=yuan_of(trade.refunded_minor),
        send_back_fee=yuan_of(item.amount_minor) if moved else None,
        trade_no=trade.trade_no,
    )
