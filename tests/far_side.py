"""The networks in this process, for tests of the books: real signatures, no sockets, full control.

Each stands where the HTTP client stands, reads the adapter's own signed requests, keeps trades and
answers as the manual says, signed with the keys of the known-answer vectors.  A test plays the shopper
(``visit``, ``pay``), the network's bad days (``is_down``) and the postman (``notice``).  Here is what the
three have in common, and Alipay; the others are ``far_side_wechatpay`` and ``far_side_unionpay``.  The
real wire is tested against ``sandbox/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

from app import clock
from app.errors import ProviderUnreachable
from app.money import Money
from app.providers.base import AppParams, HttpAnswer, Inbound, NextStep, Redirect, ShowQR
from tests.providers import alipay_forge as forge

REVERSED = "reversed"  # the number of what a network gave back by reversing a payment: it has none of ours


class Way(StrEnum):
    """How far a refund has come at its network."""

    WAITING = "waiting"  # accepted; the money has not gone yet
    DONE = "done"
    CLOSED = "closed"  # nothing went back, for good
    STUCK = "stuck"  # it left the merchant and did not arrive: WeChat Pay's ABNORMAL, for a person


@dataclass
class Back:
    """One refund as its network keeps it."""

    amount: Money
    way: Way = Way.DONE
    ref: str = ""
    stamp: str = ""  # the time it was sent with, by which UnionPay finds it


@dataclass
class Trade:
    """One order at the network.  ``state`` is the network's own word, None until there is one."""

    out_trade_no: str
    price: Money
    expires_at: datetime
    state: str | None = None
    trade_no: str = ""
    paid: Money | None = None
    backs: dict[str, Back] = field(default_factory=dict)
    owner: str = ""  # which merchant of the network's it belongs to
    stamp: str = ""
    paid_at: datetime | None = None
    is_late: bool = False  # the network took the money after it had closed the order
    is_stray: bool = False  # nobody of ours asked for it
    by_code: bool = False  # a till scanned the shopper's phone

    @property
    def refunds(self) -> dict[str, Money]:
        """What went back, by number."""
        return {number: back.amount for number, back in self.backs.items() if back.way is Way.DONE}

    @property
    def gone(self) -> int:
        """Minor units that went back or are on their way."""
        return sum(back.amount.minor for back in self.backs.values() if back.way is not Way.CLOSED)


class Network:
    """An ``Outbound``.  ``calls`` records what was called, whether answered or not."""

    code = ""

    def __init__(self) -> None:
        self.trades: dict[str, Trade] = {}
        self.calls: list[str] = []
        self.unpaid_answers: list[str] = []  # numbers, each time somebody was told "not paid"
        self.is_down = False  # nothing gets through
        self.answers_lost = 0  # this many calls take effect without an answer
        self.refuses_refunds = False
        self.is_poor = False  # the merchant's balance does not suffice for refunds
        self.refunds_wait = False  # accepted now, done by ``finish_refund``
        self.code_mood = "paid"  # what a payment code comes to: paid, asked, refused
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
        name, answer = self._read(method, url, headers or {}, body)
        self.calls.append(name)
        if self.is_down:
            raise ProviderUnreachable("no answer")
        answered = answer()
        if self.answers_lost > 0:
            self.answers_lost -= 1
            raise ProviderUnreachable("no answer")
        return answered

    def pay(self, number: str, amount: Money | None = None, *, late: bool = False) -> Trade:
        """The shopper pays.  ``late``: the network takes the money although the trade is closed."""
        trade = self.trades[number]
        trade.is_late = late and self.is_over(number)
        assert trade.is_late or self.is_payable(number), trade.state
        trade.paid, trade.paid_at = amount or trade.price, clock.now()
        self._mark_paid(trade)
        return trade

    def take_stray(self, number: str, owner: str, amount: Money) -> Trade:
        """Somebody pays a merchant by another way than through us: a till, a code on a poster."""
        begun_at = clock.now() - timedelta(seconds=2)
        trade = self._order(Trade(number, amount, clock.now(), owner=owner, is_stray=True))
        trade.stamp = clock.to_beijing(begun_at, "%Y%m%d%H%M%S")
        trade.paid, trade.paid_at = amount, clock.now()
        self._mark_paid(trade)
        return trade

    def finish_refund(self, number: str, refund_no: str, way: Way) -> None:
        """What becomes of a refund that was waiting, or stuck until a person saw to it."""
        trade = self.trades[number]
        trade.backs[refund_no].way = way
        self._after_refund(trade)

    def visit(self, step: NextStep) -> Trade:
        """The shopper does what the checkout said: a browser goes there, a camera looks at the code."""
        raise NotImplementedError

    def is_payable(self, number: str) -> bool:
        """Whether the shopper can pay it now."""
        raise NotImplementedError

    def is_over(self, number: str) -> bool:
        """Whether it was never paid and has ended."""
        raise NotImplementedError

    def notice(self, number: str) -> Inbound:
        """The notification of a payment as it stands, genuinely signed."""
        raise NotImplementedError

    def refund_notice(self, number: str, refund_no: str) -> Inbound | None:
        """The notification of a refund as it stands; None if the network says nothing of it."""
        raise NotImplementedError

    def posted(self, inbound: Inbound) -> Inbound:
        """The same notification as it arrives when the network sends it now."""
        return replace(inbound, received_at=clock.now())

    def _read(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Callable[[], HttpAnswer]]:
        """What a request is called, and how to answer it."""
        raise NotImplementedError

    def _mark_paid(self, trade: Trade) -> None:
        raise NotImplementedError

    def _give_all_back(self, trade: Trade) -> bool:
        """What a reversal does of a payment by code; whether there was anything left of it."""
        left = 0 if trade.paid is None else trade.paid.minor - trade.gone
        if trade.paid is None or left <= 0:
            return False
        trade.backs[REVERSED] = Back(Money(left, trade.paid.currency))
        return True

    def _after_refund(self, trade: Trade) -> None:
        """A refund has gone, or has not."""

    def _order(self, trade: Trade) -> Trade:
        """The trade of this number: the one before, or this one from now on."""
        return self.trades.setdefault(trade.out_trade_no, trade)

    def _next(self, prefix: str, digits: int = 24) -> str:
        self._serial += 1
        return f"{prefix}{self._serial:0{digits}d}"


class AlipayFarSide(Network):
    """Alipay.  A trade comes to be when the shopper opens it."""

    code = "alipay"

    def open(self, url_or_number: str) -> Trade:
        """What the shopper's browser does with a cashier's address, or their camera with a code."""
        query = dict(parse_qsl(urlsplit(url_or_number).query))
        if "biz_content" in query:
            trade = self._ordered(query)
        else:
            trade = self.trades[url_or_number.rpartition("/")[2]]
        self._expire(trade)
        if trade.state is None:
            trade.state = "WAIT_BUYER_PAY"
            trade.trade_no = trade.trade_no or self._next("2024")
        return trade

    def visit(self, step: NextStep) -> Trade:
        match step:
            case ShowQR(content):
                return self.open(content)
            case Redirect(url):
                return self.open(url)
            case AppParams(params):
                return self.open(f"?{params['order_string']}")
        raise AssertionError(step)

    def pay(self, number: str, amount: Money | None = None, *, late: bool = False) -> Trade:
        return super().pay(self.open(number).out_trade_no, amount, late=late)

    def is_payable(self, number: str) -> bool:
        self._expire(self.trades[number])
        return self.trades[number].state == "WAIT_BUYER_PAY"

    def is_over(self, number: str) -> bool:
        self._expire(self.trades[number])
        return self.trades[number].state == "TRADE_CLOSED" and self.trades[number].paid is None

    def notice(self, number: str, **changes: str) -> Inbound:
        """``changes`` alter fields before they are signed."""
        trade = self.trades[number]
        fields = self._notice_fields(trade)
        inbound = forge.notice(fields | changes)
        return Inbound(inbound.headers, inbound.body, clock.now())

    def refund_notice(self, number: str, refund_no: str) -> Inbound | None:
        trade = self.trades[number]
        if trade.backs[refund_no].way is not Way.DONE:
            return None
        return self.notice(
            number,
            gmt_refund=f"{clock.to_beijing(clock.now())}.123",
            out_biz_no=refund_no,
            refund_fee=self._refunded(trade).major(),
        )

    def _notice_fields(self, trade: Trade) -> dict[str, str]:
        state = trade.state or "WAIT_BUYER_PAY"
        fields = forge.notice_fields(trade.out_trade_no, state, trade.paid or trade.price)
        fields["trade_no"] = trade.trade_no
        fields["app_id"] = fields["auth_app_id"] = trade.owner or forge.APP_ID
        if trade.paid_at:
            fields["gmt_payment"] = clock.to_beijing(trade.paid_at)
        return fields

    def _read(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Callable[[], HttpAnswer]]:
        params = dict(parse_qsl(urlsplit(url).query)) | dict(parse_qsl(body.decode()))
        return params["method"], lambda: self._answer(params["method"], params)

    def _answer(self, method: str, params: Mapping[str, str]) -> HttpAnswer:
        forge.verified_params(dict(params))
        biz = json.loads(params["biz_content"])
        if method == "alipay.trade.pay":
            return self._charge_code(method, self._ordered(params))
        if method == "alipay.trade.precreate":
            trade = self._ordered(params)
            return forge.accepted(
                method, out_trade_no=trade.out_trade_no, qr_code=f"https://qr.alipay.com/{trade.out_trade_no}"
            )
        trade_or_none = self.trades.get(biz["out_trade_no"])
        if trade_or_none is None or trade_or_none.state is None:
            if method == "alipay.trade.query":
                self.unpaid_answers.append(biz["out_trade_no"])
            return forge.refused(method, "ACQ.TRADE_NOT_EXIST")
        self._expire(trade_or_none)
        verb = {
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.trade.cancel": self._cancel,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._query_refund,
        }[method]
        return verb(method, trade_or_none, biz)

    def _query(self, method: str, trade: Trade, _biz: dict[str, str]) -> HttpAnswer:
        more = {"send_pay_date": clock.to_beijing(trade.paid_at)} if trade.paid_at else {}
        if trade.paid is None:
            self.unpaid_answers.append(trade.out_trade_no)
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

    def _charge_code(self, method: str, trade: Trade) -> HttpAnswer:
        """As ``code_mood`` says; the shopper who is asked pays, or does not, by ``pay``."""
        self._expire(trade)
        if trade.state == "TRADE_CLOSED":
            return forge.refused(method, "ACQ.TRADE_HAS_CLOSE")
        if self.code_mood == "refused" and trade.state is None:
            del self.trades[trade.out_trade_no]
            return forge.refused(method, "ACQ.PAYMENT_AUTH_CODE_INVALID")
        if trade.state is None:
            self.open(trade.out_trade_no).by_code = True
        if self.code_mood == "asked" and trade.paid is None:
            return forge.envelope(method, {"code": "10003", "msg": "order success pay inprocess"})
        if trade.paid is None:
            super().pay(trade.out_trade_no)
        assert trade.paid is not None
        assert trade.paid_at is not None
        return forge.accepted(
            method,
            out_trade_no=trade.out_trade_no,
            trade_no=trade.trade_no,
            total_amount=trade.paid.major(),
            gmt_payment=clock.to_beijing(trade.paid_at),
        )

    def _cancel(self, method: str, trade: Trade, _biz: dict[str, str]) -> HttpAnswer:
        action = "close"
        if trade.paid is None:
            trade.state = "TRADE_CLOSED"
        elif self._give_all_back(trade):
            action = "refund"
            self._after_refund(trade)
        return forge.accepted(
            method, out_trade_no=trade.out_trade_no, trade_no=trade.trade_no, retry_flag="N", action=action
        )

    def _refund(self, method: str, trade: Trade, biz: dict[str, str]) -> HttpAnswer:
        assert trade.paid is not None
        amount = Money.from_major(biz["refund_amount"], trade.paid.currency)
        number = biz["out_request_no"]
        is_new = number not in trade.backs
        if is_new:
            if self.refuses_refunds:
                return forge.refused(method, "ACQ.TRADE_NOT_ALLOW_REFUND")
            if self.is_poor:
                return forge.refused(method, "ACQ.SELLER_BALANCE_NOT_ENOUGH")
            if trade.gone + amount.minor > trade.paid.minor:
                return forge.refused(method, "ACQ.REASON_TRADE_REFUND_FEE_ERR")
            trade.backs[number] = Back(amount, Way.WAITING if self.refunds_wait else Way.DONE)
            self._after_refund(trade)
        moved = is_new and trade.backs[number].way is Way.DONE
        return forge.accepted(
            method,
            out_trade_no=trade.out_trade_no,
            trade_no=trade.trade_no,
            fund_change="Y" if moved else "N",
            refund_fee=self._refunded(trade).major(),
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

    def _ordered(self, params: Mapping[str, str]) -> Trade:
        biz = json.loads(params["biz_content"])
        price = Money.from_major(biz["total_amount"], "CNY")
        deadline = clock.from_beijing(biz["time_expire"])
        return self._order(Trade(biz["out_trade_no"], price, deadline, owner=params["app_id"]))

    def _expire(self, trade: Trade) -> None:
        if trade.state in (None, "WAIT_BUYER_PAY") and trade.expires_at <= clock.now():
            trade.state = "TRADE_CLOSED"

    def _mark_paid(self, trade: Trade) -> None:
        trade.state = "TRADE_SUCCESS"
        trade.trade_no = trade.trade_no or self._next("2024")

    def _after_refund(self, trade: Trade) -> None:
        if trade.paid and self._refunded(trade) == trade.paid:
            trade.state = "TRADE_CLOSED"

    def _refunded(self, trade: Trade) -> Money:
        assert trade.paid is not None
        return Money(sum(money.minor for money in trade.refunds.values()), trade.paid.currency)
