"""What UnionPay says of a payment or refund: in a query, in a notification, on the shopper's way back.

Source: UnionPay ACP 5.1.0, queryTrans, backUrl and frontUrl.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox import timing
from sandbox.box import Letter
from sandbox.shopper import bent
from sandbox.trades import Refund, State, Trade
from sandbox.unionpay import codes, wire
from sandbox.unionpay.keys import Keyring

FORGERIES = (
    *("bad_signature", "other_key", "other_app", "wrong_amount", "unsigned"),
    *("wrong_cn", "other_chain", "expired_cert"),
)
_MARK = {"version": "5.1.0", "encoding": "UTF-8", "signMethod": "01"}
_STRANGER = "777290999999999"
CARD = {"accNo": "6216***********0018", "payCardType": "01"}
_PAID = frozenset({codes.DONE, codes.DONE_WITH_DEFECTS})
# The settlement day ends at 23:00, Beijing time.
_SETTLEMENT_AHEAD_S = 3600.0


def payment_code(trade: Trade) -> str:
    """The code of the transaction itself: what a query calls ``origRespCode``.  Pure.

    A payment that the wallet refused can be tried again until its payTimeout, and says so with the
    reason.  One that ended under the shopper's hand was taken too late; one that time ended was not entered.
    """
    if trade.state in (State.PAID, State.FINISHED):
        return codes.DONE
    if trade.state in (State.OFFERED, State.WITHDRAWN):
        return codes.NOT_FOUND
    if "reversed" in trade.details:
        return codes.REVERSED
    if trade.failure and trade.pay_due_ts is None:
        return codes.OF_FAILURE[trade.failure]
    if trade.state is State.WAITING:
        return codes.ACCEPTED
    early = (
        trade.closed_ts is not None and trade.expires_ts is not None and trade.closed_ts < trade.expires_ts
    )
    return codes.TOO_LATE if early else codes.NOT_ENTERED


def refund_code(refund: Refund) -> str:
    """The same of a refund or void.  Pure."""
    words = {"done": codes.DONE, "closed": codes.FAILED, "abnormal": codes.UNKNOWN}
    return words.get(refund.state, codes.ACCEPTED)


def payment_facts(trade: Trade, code: str) -> dict[str, str]:
    """The fields of a payment; those of the money only when it moved.  Pure.  No field is empty."""
    facts = {
        "txnType": "01",
        "txnSubType": trade.details["txnSubType"],
        "bizType": trade.details["bizType"],
        "accessType": "0",
        "merId": trade.app_id,
        "orderId": trade.out_trade_no,
        "txnTime": trade.details["txnTime"],
        "txnAmt": str(trade.total_minor),
        "currencyCode": "156",
        "reqReserved": trade.details.get("reqReserved", ""),
    }
    if code in _PAID:
        facts |= CARD | _money(trade.trade_no, trade.total_minor, trade.paid_ts or timing.now())
    return {name: value for name, value in facts.items() if value}


def refund_facts(trade: Trade, refund: Refund, code: str) -> dict[str, str]:
    """The fields of a refund or void.  Pure.  No field is empty."""
    own = refund.details
    facts = {
        "txnType": own["txnType"],
        "txnSubType": "00",
        "bizType": trade.details["bizType"],
        "accessType": "0",
        "merId": trade.app_id,
        "orderId": refund.out_refund_no,
        "txnTime": own["txnTime"],
        "txnAmt": str(refund.amount_minor),
        "currencyCode": "156",
        "origQryId": trade.trade_no,
        "reqReserved": own.get("reqReserved", ""),
        "queryId": own["queryId"],
    }
    if code in _PAID:
        facts |= _money(own["queryId"], refund.amount_minor, refund.done_ts or timing.now())
    return {name: value for name, value in facts.items() if value}


def notice(trade: Trade, kind: str, refund: Refund | None) -> dict[str, str]:
    """The fields of a notification before its signature.  Pure."""
    if refund is not None:
        code = refund_code(refund)
        return refund_facts(trade, refund, code) | codes.result(code)
    forced = {
        "paid": codes.DONE,
        "finished": codes.DONE,
        "waiting": codes.ACCEPTED,
        "closed": codes.NOT_ENTERED,
    }
    code = forced[kind]
    return payment_facts(trade, code) | codes.result(code)


def address(trade: Trade, kind: str, refund: Refund | None) -> str:
    """Where news goes: of a payment only when it succeeded, of a refund or void however it ended.  Pure."""
    if refund is None:
        return trade.notify_url if kind == "paid" else ""
    return refund.details["backUrl"] if refund.state in ("done", "closed") else ""


def letter(ring: Keyring, mode: str, fields: Mapping[str, str], forge: str) -> Letter:
    """Sign a notification as it goes out now, or forge it: see the lever ``forge``."""
    news = {name: value for name, value in fields.items() if name != "notify_id"}
    if forge == "other_app":  # Genuinely signed, but the news of somebody else's payment.
        news["merId"] = _STRANGER
    if forge == "wrong_amount":  # Genuinely signed: only a comparison with the order finds it.
        more = str(bent(int(news["txnAmt"]), "+0.01"))
        news |= {name: more for name in ("txnAmt", "settleAmt") if name in news}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8",
        "User-Agent": "Mafu-Sandbox-UnionPay/1.0",
        "Accept": "*/*",
    }
    return Letter(headers, wire.form(sealed(ring, mode, news, forge)))


def sealed(ring: Keyring, mode: str, fields: Mapping[str, str], forge: str = "") -> dict[str, str]:
    """The fields as they leave: marked, with UnionPay's certificate and signature, or with a forged one."""
    if forge == "unsigned":
        return {**_MARK, **fields}
    by_certificate = forge in ("other_key", "wrong_cn", "other_chain", "expired_cert")
    seal = ring.forged(mode, forge) if by_certificate else ring.seal(mode)
    message = {**_MARK, **fields, "certId": seal.cert_id, "signPubKeyCert": seal.sign_pub_key_cert}
    # A true signature, but of another message: one that came a second later.
    signed = {**message, "traceTime": "0101000000"} if forge == "bad_signature" else message
    return message | {"signature": wire.sign(seal.key, signed)}


def settle_date(ts: float, form: str = "%m%d") -> str:
    """The settlement day that a moment belongs to.  Pure."""
    return timing.beijing(ts + _SETTLEMENT_AHEAD_S, form)


def _money(query_id: str, amount_minor: int, moved_ts: float) -> dict[str, str]:
    return {
        "queryId": query_id,
        "traceNo": query_id[-6:],
        "traceTime": timing.beijing(moved_ts, "%m%d%H%M%S"),
        "settleAmt": str(amount_minor),
        "settleCurrencyCode": "156",
        "settleDate": settle_date(moved_ts),
    }
