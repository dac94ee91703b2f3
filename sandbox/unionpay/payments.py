"""Making payments and asking after transactions.

Source: UnionPay ACP 5.1.0: online gateway (frontTransReq), app (appTransReq), QR code (backTransReq), query.
"""

from __future__ import annotations

import re
import secrets
import sqlite3

from sandbox import levers, paycodes, shopper, tickets, timing, trades
from sandbox.paycodes import Standing
from sandbox.shopper import Outcome
from sandbox.trades import Offer, State, Trade
from sandbox.unionpay import codes, news
from sandbox.unionpay.calls import STAMP, Call
from sandbox.unionpay.codes import Refusal
from sandbox.unionpay.merchants import NETWORK

_LIFE_S = 2 * 3600.0
_COMMODITY = re.compile(r"commodityName=([^&}]{1,64})")

Fields = dict[str, str]


def qr(call: Call) -> Fields:
    """01/07: a code to scan; UnionPay knows no transaction before somebody scans it."""
    call.check_time()
    call.check_new()
    trade = _enter(call, "qr")
    return codes.result(codes.DONE) | {"qrCode": f"{call.box.public_url}/qr/{trade.code}"}


def app(call: Call) -> Fields:
    """01/01 at appTransReq: a number for the wallet's SDK."""
    call.check_time()
    call.check_new()
    trade = _enter(call, "app")
    number = timing.beijing(timing.now(), "%Y%m%d") + str(secrets.randbelow(10**13)).zfill(13)
    tickets.issue(call.db, NETWORK, number, trade.code)
    return codes.result(codes.DONE) | {"tn": number}


def front(call: Call) -> Trade:
    """01/01 at frontTransReq: the browser opens the cashier, and again with the same form until it is paid.

    Raises Refusal.
    """
    known = call.payment()
    unpaid = known is not None and known.state not in (State.PAID, State.FINISHED)
    if known is not None and unpaid and known.fingerprint == call.fingerprint():
        return known
    call.check_time()
    call.check_new()
    trade = _enter(call, "gateway")
    if trade.details.get("frontFailUrl"):
        trade = trades.note(call.db, trade, quit_url=f"/unionpay/return/{trade.code}")
    return shopper.open_trade(call.box, call.db, trade).trade


def by_code(call: Call) -> Fields:
    """01/06: a till has scanned the shopper's code.  00 means accepted: a query or the notification tells.

    Raises Refusal for a code that is none, over or used, and for the wallet's no.
    """
    call.check_time()
    call.check_new()
    code = call.word("qrNo")
    standing = paycodes.standing(call.db, NETWORK, code)
    if standing is not Standing.GOOD:
        raise Refusal(codes.NO_SUCH_CODE if standing is Standing.UNKNOWN else codes.CODE_IS_OVER, "qrNo")
    trade = _enter(call, "code")
    paycodes.use(call.db, NETWORK, code, trade.code)
    verdict = shopper.pay_by_code(call.box, call.db, trade)
    if verdict.outcome is Outcome.DECLINED:
        raise Refusal(codes.OF_FAILURE[verdict.trade.failure])
    return codes.result(codes.DONE)


def reverse(call: Call) -> Fields:
    """99/01: a payment by code is undone, by its own number and time.  Repeatable."""
    trade = call.payment()
    if trade is None or trade.details["txnTime"] != call.word("txnTime"):
        raise Refusal(codes.NOT_FOUND)
    if trade.product != "code" or trade.refunded_minor:
        raise Refusal(codes.BAD_ORIGINAL)
    if "reversed" in trade.details:
        raise Refusal(codes.REVERSED)
    shopper.reverse(call.box, call.db, trade)
    return codes.result(codes.DONE)


def query(call: Call) -> Fields:
    """00/00: ``respCode`` is the query's own, ``origRespCode`` the transaction's.  Raises Refusal.

    34 also for a payment that nobody has opened.
    """
    code = call.lever("query_error")
    if code is not None:
        raise Refusal(code or codes.BUSY)
    found = call.asked()
    if found is None:
        raise Refusal(codes.NOT_FOUND)
    trade, refund = found
    told = call.lever("orig_resp_code")
    if refund is not None:
        code = told or news.refund_code(refund)
        facts = news.refund_facts(trade, refund, code)
    else:
        code = told or payment_code(call.db, trade)
        facts = news.payment_facts(trade, code)
    if code == codes.NOT_FOUND:
        raise Refusal(codes.NOT_FOUND)
    return facts | codes.result(codes.DONE) | {"origRespCode": code, "origRespMsg": codes.words(code)}


def payment_code(db: sqlite3.Connection, trade: Trade) -> str:
    """The code of a payment, bent by the lever ``paid_code``."""
    code = news.payment_code(trade)
    return (levers.bound(db, "paid_code", trade.out_trade_no) or code) if code == codes.DONE else code


def fresh_query_id(db: sqlite3.Connection) -> str:
    """A number of UnionPay's that no payment and no refund has: the time, and seven digits.  A step."""
    while True:
        number = timing.beijing(timing.now(), STAMP) + str(secrets.randbelow(10**7)).zfill(7)
        taken = db.execute(
            "SELECT 1 FROM trades WHERE trade_no = ? UNION ALL"
            " SELECT 1 FROM refunds WHERE network = ? AND created_ts > ?"
            " AND json_extract(details, '$.queryId') = ?",
            (number, NETWORK, timing.now() - 60, number),
        ).fetchone()
        if taken is None:
            return number


def _enter(call: Call, product: str) -> Trade:
    now = timing.now()
    expires_ts = call.moment("payTimeout") or now + _LIFE_S
    if expires_ts <= now:
        raise Refusal(codes.BAD_FORM, "payTimeout")
    commodity = _COMMODITY.search(call.word("riskRateInfo"))
    kept = ("txnTime", "txnSubType", "bizType", "reqReserved", "frontFailUrl")
    return shopper.enter(
        call.box,
        call.db,
        Offer(
            network=NETWORK,
            app_id=call.merchant.mer_id,
            out_trade_no=call.word("orderId"),
            trade_no=fresh_query_id(call.db),
            product=product,
            amount_minor=int(call.word("txnAmt")),
            subject=call.word("orderDesc") or (commodity[1] if commodity else call.word("orderId")),
            payee=call.merchant.name,
            notify_url=call.word("backUrl"),
            return_url=call.word("frontUrl") if product == "gateway" else "",
            fingerprint=call.fingerprint(),
            details={name: call.word(name) for name in kept if call.word(name)},
            code_expires_ts=expires_ts,
            expires_ts=expires_ts,
        ),
    )
