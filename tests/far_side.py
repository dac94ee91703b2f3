"""Alipay's gateway in this process, for tests of the books: real signatures, no sockets, full control.

It stands where the HTTP client stands, reads the adapter's own signed requests, keeps trades and
answers as the manual says, signed with the keys of the known-answer vectors.  A test plays the shopper
(``pay``), the network's bad days (``is_down``) and the postman (``notice``).  The real wire is tested
against ``sandbox/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from app import clock
from app.errors import ProviderUnreachable
from app.money import Money
from app.providers.base import HttpAnswer, Inbound
from tests.providers import alipay_forge as forge


@dataclass
class Trade:
    """One order at the network.  ``state`` is None until the shopper opens it."""

    out_trade_no: str
    price: Money
    expires_at: datetime
    state: str | None = None
    trade_no: str = ""
    paid: Money | None = None
    refunds: dict[str, Money] = field(default_factory=dict)


class AlipayFarSide:
    """An ``Outbound``.  ``calls`` records the methods that came in, whether answered or not."""

    def __init__(self) -> None:
        self.trades: dict[str, Trade] = {}
        self.calls: list[str] = []
        self.is_down = False  # nothing gets through
        self.answers_lost = 0  # this many calls take effect without an answer
        self.refuses_refunds = False
        self._serial = 0

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        params = dict(parse_qsl(urlsplit(url).query)) | dict(parse_qsl(body.decode()))
        self.calls.append(params["method"])
        if self.is_down:
            raise ProviderUnreachable("no answer")
        answer = self._answer(params["method"], json.loads(params["biz_content"]))
        if self.answers_lost > 0:
            self.answers_lost -= 1
            raise ProviderUnreachable("no answer")
        return answer

    def open(self, url_or_number: str) -> Trade:
        """What the shopper's browser does with a cashier's address, or their camera with a code."""
        query = dict(parse_qsl(urlsplit(url_or_number).query))
        if "biz_content" in query:
            biz = json.loads(query["biz_content"])
            trade = self._order(biz)
        else:
            trade = self.trades[url_or_number.rpartition("/")[2]]
        self._expire(trade)
        if trade.state is None:
            trade.state = "WAIT_BUYER_PAY"
            trade.trade_no = self._next("2024")
        return trade

    def pay(self, url_or_number: str, amount: Money | None = None, *, late: bool = False) -> Trade:
        """The shopper pays.  ``late``: the network takes the money although the trade is closed."""
        trade = self.open(url_or_number)
        assert trade.state == "WAIT_BUYER_PAY" or (late and trade.state == "TRADE_CLOSED"), trade.state
        trade.state, trade.paid = "TRADE_SUCCESS", amount or trade.price
        return trade

    def notice(self, out_trade_no: str, **changes: str) -> Inbound:
        """The notification of a trade as it stands, genuinely signed; ``changes`` alter fields first."""
        trade = self.trades[out_trade_no]
        fields = forge.notice_fields(out_trade_no, trade.state or "WAIT_BUYER_PAY", trade.paid or trade.price)
        fields["trade_no"] = trade.trade_no
        if trade.paid:
            fields["gmt_payment"] = clock.to_beijing(clock.now())
        inbound = forge.notice(fields | changes)
        return Inbound(inbound.headers, inbound.body, clock.now())

    def _answer(self, method: str, biz: dict[str, str]) -> HttpAnswer:
        if method == "alipay.trade.precreate":
            trade = self._order(biz)
            return forge.accepted(
                method, out_trade_no=trade.out_trade_no, qr_code=f"https://qr.alipay.com/{trade.out_trade_no}"
            )
        trade = self.trades.get(biz["out_trade_no"])
        if trade is None or trade.state is None:
            return forge.refused(method, "ACQ.TRADE_NOT_EXIST")
        self._expire(trade)
        verb = {
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._query_refund,
        }[method]
        return verb(method, trade, biz)

    def _query(self, method: str, trade: Trade, _biz: dict[str, str]) -> HttpAnswer:
        more = {"send_pay_date": clock.to_beijing(clock.now())} if trade.paid else {}
        return forge.accepted(
            method,
            out_trade_no=trade.out_trade_no,
            trade_no=trade.trade_no,
            trade_status=trade.state,
            total_amount=(trade.paid or trade.price).major(),
            **more,
        )

    def _close(self, method: str, trade: Trade, _biz: dict[str, str]) -> HttpAnswer:
        if trade.state != "WAIT_BUYER_PAY":
            return forge.refused(method, "ACQ.TRADE_STATUS_ERROR")
        trade.state = "TRADE_CLOSED"
        return forge.accepted(method, out_trade_no=trade.out_trade_no, trade_no=trade.trade_no)

    def _refund(self, method: str, trade: Trade, biz: dict[str, str]) -> HttpAnswer:
        assert trade.paid is not None
        amount = Money.from_major(biz["refund_amount"], trade.paid.currency)
        if self.refuses_refunds:
            return forge.refused(method, "ACQ.TRADE_NOT_ALLOW_REFUND")
        number = biz["out_request_no"]
        is_new = number not in trade.refunds
        if is_new:
            given = sum(money.minor for money in trade.refunds.values())
            if given + amount.minor > trade.paid.minor:
                return forge.refused(method, "ACQ.REASON_TRADE_REFUND_FEE_ERR")
            trade.refunds[number] = amount
        total = Money(sum(money.minor for money in trade.refunds.values()), trade.paid.currency)
        if total == trade.paid:
            trade.state = "TRADE_CLOSED"
        return forge.accepted(
            method,
            out_trade_no=trade.out_trade_no,
            trade_no=trade.trade_no,
            fund_change="Y" if is_new else "N",
            refund_fee=total.major(),
        )

    def _query_refund(self, method: str, trade: Trade, biz: dict[str, str]) -> HttpAnswer:
        amount = trade.refunds.get(biz["out_request_no"])
        more = {"refund_status": "REFUND_SUCCESS", "refund_amount": amount.major()} if amount else {}
        return forge.accepted(
            method,
            out_trade_no=trade.out_trade_no,
            trade_no=trade.trade_no,
            out_request_no=biz["out_request_no"],
            **more,
        )

    def _order(self, biz: dict[str, str]) -> Trade:
        number = biz["out_trade_no"]
        if number not in self.trades:
            price = Money.from_major(biz["total_amount"], "CNY")
            self.trades[number] = Trade(number, price, clock.from_beijing(biz["time_expire"]))
        return self.trades[number]

    def _expire(self, trade: Trade) -> None:
        if trade.state in (None, "WAIT_BUYER_PAY") and trade.expires_at <= clock.now():
            trade.state = "TRADE_CLOSED"

    def _next(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}{self._serial:024d}"
