"""Money going back: refunds and voids, each a transaction of its own.

Source: UnionPay ACP 5.1.0: refund (04/00), void (31/00).
"""

from __future__ import annotations

from sandbox import shopper, timing, trades
from sandbox.trades import Refund, State, Trade
from sandbox.unionpay import codes, news
from sandbox.unionpay.calls import Call
from sandbox.unionpay.codes import Refusal
from sandbox.unionpay.payments import Fields, fresh_query_id

VOID = "31"


def send_back(call: Call) -> Fields:
    """04/00 and 31/00.  00 means accepted: what became of it says a notification, or a query.

    Raises Refusal.
    """
    call.check_time()
    call.check_new()
    trade = call.original()
    if trade is None or trade.state is not State.PAID:
        raise Refusal(codes.BAD_ORIGINAL)
    amount_minor, void = int(call.word("txnAmt")), call.word("txnType") == VOID
    _check(call, trade, amount_minor, void)
    code = call.lever("refund_fail")
    if code is not None:
        raise Refusal(code or codes.FAILED)
    refund = _refund(call, amount_minor)
    shopper.refund(call.box, call.db, trade, refund)
    numbers = {"queryId": refund.details["queryId"], "origQryId": trade.trade_no, "txnAmt": str(amount_minor)}
    return codes.result(codes.DONE) | numbers


def _check(call: Call, trade: Trade, amount_minor: int, void: bool) -> None:
    """Raises Refusal when this payment cannot give this much back in this way."""
    if call.word("bizType") != trade.details["bizType"]:
        raise Refusal(codes.MISMATCH, "bizType")
    known = [item for item in trades.refunds_of(call.db, trade) if item.state != "closed"]
    left = trade.paid_minor - sum(item.amount_minor for item in known)
    if left == 0 or (void and known):
        raise Refusal(codes.GIVEN_BACK)
    if amount_minor > left or (void and amount_minor != trade.paid_minor):
        raise Refusal(codes.MISMATCH, "txnAmt")
    paid_on = news.settle_date(trade.paid_ts or 0.0, "%Y%m%d")
    if void and paid_on != news.settle_date(timing.now(), "%Y%m%d"):
        raise Refusal(codes.BAD_ORIGINAL)


def _refund(call: Call, amount_minor: int) -> Refund:
    """The row of the book; the levers say when and how it ends."""
    seconds, ends = call.lever("refund_pending"), call.lever("refund_end")
    now = timing.now()
    kept = ("txnType", "txnTime", "backUrl", "reqReserved")
    details = {name: call.word(name) for name in kept if call.word(name)}
    details["queryId"] = fresh_query_id(call.db)
    if ends is not None:
        details["ends"] = ends
    due_ts = None if seconds is None else now + float(seconds)
    return Refund(call.word("orderId"), amount_minor, "pending", "", now, due_ts, None, details)
