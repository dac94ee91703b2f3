"""UnionPay's gateway in this process: see ``far_side``.

A transaction is found by number *and* time; nothing unpaid can be closed, a failed try may be repeated
until the deadline, and a refund is a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

from app import clock
from app.money import Money
from app.providers.base import AppParams, HttpAnswer, Inbound, NextStep, PostForm, ShowQR
from tests.far_side import Back, Network, Trade, Way
from tests.providers import unionpay_forge as forge

_STAMP = "%Y%m%d%H%M%S"
OPEN, PAID, DECLINED, OVER = "05", "00", "64", "69"
BEING_ENTERED, UNDONE = "70", "46"  # of payments by code
_CODE_LIFE = timedelta(minutes=5)
_CODE = {Way.WAITING: "05", Way.DONE: "00", Way.CLOSED: "01", Way.STUCK: "05"}


class UnionPayFarSide(Network):
    """UnionPay.  A form makes the order when the browser brings it; a code or a number exists at once."""

    code = "unionpay"

    def visit(self, step: NextStep) -> Trade:
        match step:
            case PostForm(_, fields):
                trade = self._ordered(forge.verified_fields(fields))
            case ShowQR(content):
                trade = self.trades[content.rpartition("/")[2]]
            case AppParams(params):
                trade = self.trades[params["tn"]]
            case _:
                raise AssertionError(step)
        if trade.state is None:
            trade.state = OPEN
        self._expire(trade)
        return trade

    def decline(self, number: str) -> None:
        """The card is refused; the shopper may try another."""
        assert self.is_payable(number)
        self.trades[number].state = DECLINED

    def is_payable(self, number: str) -> bool:
        self._expire(self.trades[number])
        trade = self.trades[number]
        return trade.state == OPEN or (trade.state == DECLINED and not trade.by_code)

    def is_over(self, number: str) -> bool:
        self._expire(self.trades[number])
        return self.trades[number].state == OVER

    def notice(self, number: str) -> Inbound:
        trade = self.trades[number]
        fields = self._fields(trade, trade.state or OPEN)
        inbound = forge.notice(fields)
        return Inbound(inbound.headers, inbound.body, clock.now())

    def refund_notice(self, number: str, refund_no: str) -> Inbound | None:
        trade = self.trades[number]
        if trade.backs[refund_no].way in (Way.WAITING, Way.STUCK):
            return None
        fields = self._refund_fields(trade, refund_no, _CODE[trade.backs[refund_no].way])
        return self.posted(forge.notice(fields))

    def _read(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Callable[[], HttpAnswer]]:
        name = urlsplit(url).path.rpartition("/")[2].removesuffix(".do")
        fields = forge.verified_fields(dict(parse_qsl(body.decode("ascii"), strict_parsing=True)))
        verb = {"queryTrans": self._query, "appTransReq": self._open}.get(name)
        if verb is None:
            verb = {"01": self._open, "99": self._reverse}.get(fields["txnType"], self._refund)
        if "qrNo" in fields:
            verb = self._charge_code
        return f"{name} {fields['txnType']}", lambda: verb(fields)

    def _open(self, fields: dict[str, str]) -> HttpAnswer:
        if fields["orderId"] in self.trades:
            return self._refused(fields, "12")
        self._ordered(fields)
        handle = {"qrCode": f"https://qr.95516.com/00010001/{fields['orderId']}", "tn": fields["orderId"]}
        return self._refused(fields, "00", **handle)

    def _charge_code(self, fields: dict[str, str]) -> HttpAnswer:
        """As ``code_mood`` says; the shopper who is asked pays, or does not, by ``pay``."""
        number = fields["orderId"]
        if number in self.trades:
            return self._refused(fields, "12")
        if self.code_mood == "refused":
            return self._refused(fields, "88")
        deadline = clock.to_beijing(clock.now() + _CODE_LIFE, _STAMP)
        trade = self._ordered({**fields, "payTimeout": deadline})
        trade.state, trade.by_code = OPEN, True
        if self.code_mood == "paid":
            self.pay(number)
        return self._refused(fields, "00" if trade.paid else BEING_ENTERED)

    def _reverse(self, fields: dict[str, str]) -> HttpAnswer:
        trade = self.trades.get(fields["orderId"])
        if trade is None or (trade.stamp, trade.owner) != (fields["txnTime"], fields["merId"]):
            return self._refused(fields, "34")
        assert trade.by_code
        self._give_all_back(trade)
        trade.state = UNDONE
        return self._refused(fields, "00")

    def _query(self, fields: dict[str, str]) -> HttpAnswer:
        number, stamp = fields["orderId"], fields["txnTime"]
        trade = self.trades.get(number)
        if trade is not None and trade.stamp == stamp and trade.owner == fields["merId"]:
            self._expire(trade)
            if trade.paid is None:
                self.unpaid_answers.append(number)
            if trade.state is not None:
                told = {"origRespCode": trade.state, "origRespMsg": f"[{trade.state}00000]"}
                return forge.answer(self._fields(trade, "00") | told)
        for each in self.trades.values():
            back = each.backs.get(number)
            if back is not None and back.stamp == stamp and each.owner == fields["merId"]:
                code = _CODE[back.way]
                told = {"origRespCode": code, "origRespMsg": f"[{code}00000]"}
                return forge.answer(self._refund_fields(each, number, "00") | told)
        if trade is None:
            self.unpaid_answers.append(number)
        return self._refused(fields, "34")

    def _refund(self, fields: dict[str, str]) -> HttpAnswer:
        number, amount = fields["orderId"], int(fields["txnAmt"])
        if any(number in trade.backs for trade in self.trades.values()):
            return self._refused(fields, "12")
        trade = next(each for each in self.trades.values() if each.trade_no == fields["origQryId"])
        assert trade.paid is not None
        assert trade.owner == fields["merId"]
        if self.refuses_refunds:
            return self._refused(fields, "36")
        if self.is_poor:
            return self._refused(fields, "39")
        if trade.gone + amount > trade.paid.minor:
            return self._refused(fields, "33")
        way = Way.WAITING if self.refunds_wait else Way.DONE
        back = Back(Money(amount, trade.paid.currency), way, self._next("2031", 17), fields["txnTime"])
        trade.backs[number] = back
        answered = self._refund_fields(trade, number, "00")
        return forge.answer({k: v for k, v in answered.items() if k not in ("traceNo", "traceTime")})

    def _refused(self, fields: Mapping[str, str], code: str, **more: str) -> HttpAnswer:
        about = {name: fields[name] for name in ("orderId", "txnTime", "merId")}
        return forge.refused(code, **about, **more)

    def _fields(self, trade: Trade, code: str) -> dict[str, str]:
        fields = forge.payment_fields(trade.out_trade_no, code, trade.paid or trade.price, merId=trade.owner)
        fields["txnTime"] = trade.stamp
        if trade.by_code:
            fields["txnSubType"] = "06"
        if trade.paid_at:
            fields["queryId"] = trade.trade_no
            fields["traceTime"] = clock.to_beijing(trade.paid_at, "%m%d%H%M%S")
            fields["settleDate"] = clock.to_beijing(trade.paid_at, "%m%d")
            return fields
        return {name: value for name, value in fields.items() if name not in _OF_PAID}

    def _refund_fields(self, trade: Trade, number: str, code: str) -> dict[str, str]:
        back = trade.backs[number]
        fields = forge.payment_fields(number, code, back.amount, merId=trade.owner)
        return fields | {
            "origQryId": trade.trade_no,
            "queryId": back.ref,
            "reqReserved": trade.out_trade_no,
            "traceTime": clock.to_beijing(clock.now(), "%m%d%H%M%S"),
            "txnSubType": "00",
            "txnTime": back.stamp,
            "txnType": "04",
        }

    def _ordered(self, fields: Mapping[str, str]) -> Trade:
        return self._order(
            Trade(
                fields["orderId"],
                Money(int(fields["txnAmt"]), "CNY"),
                clock.from_beijing(fields["payTimeout"], _STAMP),
                owner=fields["merId"],
                stamp=fields["txnTime"],
            )
        )

    def _expire(self, trade: Trade) -> None:
        if trade.state in (OPEN, DECLINED) and trade.expires_at <= clock.now():
            trade.state = OVER

    def _mark_paid(self, trade: Trade) -> None:
        trade.state = PAID
        trade.trade_no = trade.trade_no or self._next("2030", 17)


_OF_PAID = ("queryId", "traceNo", "traceTime", "settleDate", "settleAmt", "settleCurrencyCode")
