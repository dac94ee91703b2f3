"""Sending money back and asking after it.

Source: WeChat Pay API v3, 申请退款 and 查询单笔退款.
"""

from __future__ import annotations

import secrets

from sandbox import shopper, timing, trades
from sandbox.trades import Refund, State, Trade
from sandbox.wechatpay.calls import OUT_REFUND_NO, Call
from sandbox.wechatpay.merchants import NETWORK
from sandbox.wechatpay.orders import sellers
from sandbox.wechatpay.wire import Node, Refusal, bad_field

_PARTS_MAX = 50
_STATUS = {"pending": "PROCESSING", "done": "SUCCESS", "closed": "CLOSED", "abnormal": "ABNORMAL"}
_RECEIVED = "支付用户零钱"


def refund(call: Call) -> Node:
    """POST /v3/refund/domestic/refunds.  The same number with the same amount moves nothing twice.

    The first answer is always PROCESSING, as WeChat's own mostly is, even when the money is back at
    once.  Raises Refusal RESOURCE_NOT_EXISTS, INVALID_REQUEST, NOT_ENOUGH and those of a field.
    """
    wish = _wish(call)
    known = trades.refund_of_number(call.db, NETWORK, call.merchant.mchid, wish.out_refund_no)
    trade = call.trade(call.text("/out_trade_no", 32), call.text("/transaction_id", 32))
    if trade is None:
        raise Refusal("RESOURCE_NOT_EXISTS", "订单不存在")
    if known is not None:
        if known[0].out_trade_no != trade.out_trade_no or known[1].amount_minor != wish.amount_minor:
            raise Refusal("INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
        return _current(call, wish.out_refund_no)
    _check(trade, wish, trades.refunds_of(call.db, trade), call.whole("/amount/total"))
    code = call.lever("refund_fail")
    if code is not None:
        raise Refusal(code or "NOT_ENOUGH")
    ends = call.lever("refund_end")
    seconds = call.lever("refund_pending")
    due_ts = None if seconds is None else timing.now() + float(seconds)
    details = {**wish.details, **({} if ends is None else {"ends": ends})}
    made = Refund(
        wish.out_refund_no, wish.amount_minor, "pending", wish.reason, wish.created_ts, due_ts, None, details
    )
    trade = trades.note(call.db, trade, refunding="1")
    shopper.refund(call.box, call.db, trade, made)
    return shown(trade, made)


def query(call: Call) -> Node:
    """GET /v3/refund/domestic/refunds/{out_refund_no}.  Raises Refusal RESOURCE_NOT_EXISTS."""
    code = call.lever("query_error")
    if code is not None:
        raise Refusal(code or "SYSTEM_ERROR")
    return _current(call, call.path["out_refund_no"])


def shown(trade: Trade, item: Refund) -> Node:
    """A refund as WeChat answers it.  Pure."""
    node: Node = {
        "refund_id": item.details["refund_id"],
        "out_refund_no": item.out_refund_no,
        "transaction_id": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": _RECEIVED,
        "create_time": timing.beijing_rfc3339(item.created_ts),
        "status": _STATUS[item.state],
        "funds_account": "AVAILABLE",
        "amount": _amounts(trade, item)
        | {
            "from": [],
            "settlement_refund": item.amount_minor,
            "settlement_total": trade.paid_minor,
            "discount_refund": 0,
            "currency": "CNY",
        },
        "promotion_detail": [],
    }
    if item.done_ts is not None:
        node["success_time"] = timing.beijing_rfc3339(item.done_ts)
    return node


def notice(trade: Trade, item: Refund) -> Node:
    """A refund as a notification tells it: the word is ``refund_status``, and there is no channel.  Pure."""
    owners = {name: text for name, text in sellers(trade).items() if name.endswith("mchid")}
    node: Node = {
        **owners,
        "out_trade_no": trade.out_trade_no,
        "transaction_id": trade.trade_no,
        "out_refund_no": item.out_refund_no,
        "refund_id": item.details["refund_id"],
        "refund_status": _STATUS[item.state],
        "user_received_account": _RECEIVED,
        "amount": _amounts(trade, item),
    }
    if item.done_ts is not None:
        node["success_time"] = timing.beijing_rfc3339(item.done_ts)
    return node


def _amounts(trade: Trade, item: Refund) -> dict[str, int]:
    money = {"total": trade.paid_minor, "refund": item.amount_minor}
    return money | {"payer_total": trade.paid_minor, "payer_refund": item.amount_minor}


def _current(call: Call, out_refund_no: str) -> Node:
    pair = trades.refund_of_number(call.db, NETWORK, call.merchant.mchid, out_refund_no)
    if pair is None or not call.is_about(pair[0]):
        raise Refusal("RESOURCE_NOT_EXISTS", "退款单不存在")
    trade = shopper.progress(call.box, call.db, pair[0])
    items = {item.out_refund_no: item for item in trades.refunds_of(call.db, trade)}
    return shown(trade, items[out_refund_no])


def _wish(call: Call) -> Refund:
    out_refund_no = call.text("/out_refund_no", 64, required=True)
    if OUT_REFUND_NO.fullmatch(out_refund_no) is None:
        raise bad_field("/out_refund_no", out_refund_no, "只能是字母、数字和_-|*@")
    if not call.text("/out_trade_no", 32) and not call.text("/transaction_id", 32):
        raise bad_field("/transaction_id", "", "transaction_id和out_trade_no必须二选一")
    if call.text("/amount/currency", 16, required=True) != "CNY":
        raise bad_field("/amount/currency", call.at("/amount/currency"), "仅支持CNY")
    if call.text("/funds_account", 32) not in ("", "AVAILABLE"):
        raise bad_field("/funds_account", call.at("/funds_account"), "只能是AVAILABLE")
    now = timing.now()
    number = (
        f"5030{secrets.randbelow(10**6):06d}{timing.beijing(now, '%Y%m%d')}{secrets.randbelow(10**11):011d}"
    )
    details = {"refund_id": number, "notify_url": call.url("/notify_url")}
    amount_minor, reason = call.whole("/amount/refund"), call.text("/reason", 80)
    return Refund(out_refund_no, amount_minor, "pending", reason, now, None, None, details)


def _check(trade: Trade, wish: Refund, others: list[Refund], total_minor: int) -> None:
    """Raises Refusal when this order cannot give this much back.  Pure."""
    if trade.state is State.FINISHED:
        raise Refusal("INVALID_REQUEST", "订单已超过可退款的最大期限(365天)")
    if trade.state is not State.PAID:
        raise Refusal("INVALID_REQUEST", "订单未支付，不能退款")
    if total_minor != trade.paid_minor:
        raise Refusal("INVALID_REQUEST", "订单金额与原订单不一致")
    if len(others) >= _PARTS_MAX:
        raise Refusal("INVALID_REQUEST", "退款次数超过限制")
    held_minor = sum(item.amount_minor for item in others if item.state != "closed")
    if held_minor + wish.amount_minor > trade.paid_minor:
        raise Refusal("INVALID_REQUEST", "申请退款金额大于订单可退金额")
