"""WeChat Pay's API in this process: see ``far_side``.  An order exists from the moment it is made."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from app import clock
from app.money import Money
from app.providers.base import (
    AppParams,
    CallBridge,
    HttpAnswer,
    Inbound,
    NextStep,
    Redirect,
    ShowQR,
)
from tests.far_side import Back, Network, Trade, Way
from tests.providers import wechatpay_forge as forge

_PREPAY = "wx"
_OPEN = ("NOTPAY", "USERPAYING")
_CODE_LIFE = timedelta(minutes=5)
_STATUS = {Way.WAITING: "PROCESSING", Way.DONE: "SUCCESS", Way.CLOSED: "CLOSED", Way.STUCK: "ABNORMAL"}
_ROUTES = (
    ("GET", r"/v3/certificates", "_certificates"),
    ("POST", r"/v3/pay/transactions/(native|jsapi|h5|app)", "_make"),
    ("POST", r"/v3/pay/transactions/codepay", "_charge_code"),
    ("POST", r"/v3/pay/transactions/out-trade-no/(\w+)/reverse", "_reverse"),
    ("GET", r"/v3/pay/transactions/out-trade-no/(\w+)", "_query"),
    ("GET", r"/v3/pay/transactions/id/(\w+)", "_query_by_id"),
    ("POST", r"/v3/pay/transactions/out-trade-no/(\w+)/close", "_close"),
    ("POST", r"/v3/refund/domestic/refunds", "_refund"),
    ("GET", r"/v3/refund/domestic/refunds/(\w+)", "_query_refund"),
)


class WechatPayFarSide(Network):
    """WeChat Pay.  Only success notifies, and a refund is on its way before it is done."""

    code = "wechatpay"

    def __init__(self) -> None:
        super().__init__()
        self._orders: dict[str, tuple[str, dict[str, Any]]] = {}  # the request that made each

    def visit(self, step: NextStep) -> Trade:
        match step:
            case ShowQR(content):
                return self.trades[content.rpartition("=")[2]]
            case Redirect(url):
                handle = parse_qs(urlsplit(url).query)["prepay_id"][0]
            case CallBridge(_, params):
                handle = params["package"].removeprefix("prepay_id=")
            case AppParams(params):
                handle = params["prepayid"]
            case _:
                raise AssertionError(step)
        return self.trades[handle.removeprefix(_PREPAY)]

    def is_payable(self, number: str) -> bool:
        self._expire(self.trades[number])
        return self.trades[number].state in _OPEN

    def is_over(self, number: str) -> bool:
        self._expire(self.trades[number])
        return self.trades[number].state == "CLOSED"

    def notice(self, number: str) -> Inbound:
        """Nothing but success notifies; the words for anything else are those of a query."""
        return forge.payment_notice(self._transaction(self.trades[number]))

    def refund_notice(self, number: str, refund_no: str) -> Inbound | None:
        trade = self.trades[number]
        way = trade.backs[refund_no].way
        if way is Way.WAITING:
            return None
        fields = self._refund_fields(trade, refund_no, "refund_status") | {"mchid": trade.owner}
        fields["amount"] = {name: value for name, value in fields["amount"].items() if name != "currency"}
        return forge.refund_notice(fields, f"REFUND.{_STATUS[way]}")

    def posted(self, inbound: Inbound) -> Inbound:
        """Signed anew each time, because the signature is good for five minutes."""
        headers = dict(inbound.headers) | forge.signed_headers(inbound.body, forge.PUBLIC_KEY_ID)
        return Inbound(headers, inbound.body, clock.now())

    def _read(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Callable[[], HttpAnswer]]:
        path = urlsplit(url).path
        mchid = _verified(method, url, headers, body)
        for verb, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                fields = json.loads(body) if body else {}
                answer = partial(getattr(self, name), mchid, fields, *found.groups())
                return name.strip("_"), answer
        raise AssertionError(f"{method} {path}")

    def _certificates(self, _mchid: str, _fields: dict[str, Any]) -> HttpAnswer:
        return forge.certificates_answer((forge.PLATFORM_SERIAL, forge.KEYS["wx_platform.crt"]))

    def _make(self, mchid: str, fields: dict[str, Any], product: str) -> HttpAnswer:
        number, amount = fields["out_trade_no"], fields["amount"]
        deadline = clock.from_beijing(fields["time_expire"], "%Y-%m-%dT%H:%M:%S+08:00")
        price = Money(amount["total"], amount["currency"])
        trade = self._order(Trade(number, price, deadline, state="NOTPAY", owner=mchid))
        self._expire(trade)
        if self._orders.setdefault(number, (product, fields)) != (product, fields):
            return forge.refused(403, "OUT_TRADE_NO_USED")
        if trade.state != "NOTPAY":
            return forge.refused(400, "ORDER_CLOSED" if trade.state == "CLOSED" else "ORDERPAID")
        handle = f"{_PREPAY}{number}"
        if product == "native":
            return forge.answer({"code_url": f"weixin://wxpay/bizpayurl?pr={number}"})
        if product == "h5":
            return forge.answer({"h5_url": f"https://wx.tenpay.com/checkmweb?prepay_id={handle}"})
        return forge.answer({"prepay_id": handle})

    def _charge_code(self, mchid: str, fields: dict[str, Any]) -> HttpAnswer:
        """As ``code_mood`` says; the shopper who is asked pays, or does not, by ``pay``."""
        number, amount = fields["out_trade_no"], fields["amount"]
        if number in self.trades:
            return forge.refused(403, "OUT_TRADE_NO_USED")
        if self.code_mood == "refused":
            return forge.refused(400, "AUTH_CODE_INVALID")
        price, deadline = Money(amount["total"], amount["currency"]), clock.now() + _CODE_LIFE
        trade = self._order(Trade(number, price, deadline, state="USERPAYING", owner=mchid, by_code=True))
        if self.code_mood == "paid":
            self.pay(number)
        return forge.answer(self._transaction(trade), 200 if trade.paid else 202)

    def _reverse(self, mchid: str, fields: dict[str, Any], number: str) -> HttpAnswer:
        trade = self.trades.get(number)
        if trade is None or trade.owner != mchid:
            return forge.refused(404, "ORDER_NOT_EXIST")
        assert trade.by_code
        self._give_all_back(trade)
        trade.state = "REVOKED"
        return forge.answer({"appid": fields["appid"], "mchid": mchid, "out_trade_no": number})

    def _query(self, mchid: str, _fields: dict[str, Any], number: str) -> HttpAnswer:
        trade = self.trades.get(number)
        if trade is None or trade.owner != mchid:
            self.unpaid_answers.append(number)
            return forge.refused(404, "ORDER_NOT_EXIST")
        self._expire(trade)
        if trade.paid is None:
            self.unpaid_answers.append(number)
        return forge.answer(self._transaction(trade))

    def _query_by_id(self, mchid: str, fields: dict[str, Any], ref: str) -> HttpAnswer:
        number = next((trade.out_trade_no for trade in self.trades.values() if trade.trade_no == ref), "")
        return self._query(mchid, fields, number)

    def _close(self, mchid: str, _fields: dict[str, Any], number: str) -> HttpAnswer:
        trade = self.trades.get(number)
        if trade is None or trade.owner != mchid:
            return forge.refused(404, "ORDER_NOT_EXIST")
        self._expire(trade)
        if trade.paid:
            return forge.refused(400, "ORDERPAID")
        if trade.state == "CLOSED":
            return forge.refused(400, "ORDER_CLOSED")
        trade.state = "CLOSED"
        return forge.answer(None, 204)

    def _refund(self, mchid: str, fields: dict[str, Any]) -> HttpAnswer:
        trade = self.trades[fields["out_trade_no"]]
        amount, number = fields["amount"], fields["out_refund_no"]
        assert trade.owner == mchid
        if number not in trade.backs:
            if self.refuses_refunds:
                return forge.refused(403, "USER_ACCOUNT_ABNORMAL")
            if self.is_poor:
                return forge.refused(403, "NOT_ENOUGH")
            if trade.paid is None or amount["total"] != trade.paid.minor:
                return forge.refused(400, "INVALID_REQUEST")
            if trade.gone + amount["refund"] > trade.paid.minor:
                return forge.refused(400, "INVALID_REQUEST")
            way = Way.WAITING if self.refunds_wait else Way.DONE
            trade.backs[number] = Back(
                Money(amount["refund"], amount["currency"]), way, self._next("5030", digits=20)
            )
            trade.state = "REFUND"
        if trade.backs[number].amount.minor != amount["refund"]:
            return forge.refused(400, "INVALID_REQUEST")
        return forge.answer(self._refund_fields(trade, number, "status"))

    def _query_refund(self, mchid: str, _fields: dict[str, Any], number: str) -> HttpAnswer:
        trade = next((each for each in self.trades.values() if number in each.backs), None)
        if trade is None or trade.owner != mchid:
            return forge.refused(404, "RESOURCE_NOT_EXISTS")
        return forge.answer(self._refund_fields(trade, number, "status"))

    def _transaction(self, trade: Trade) -> dict[str, Any]:
        fields = forge.transaction(trade.out_trade_no, trade.state or "NOTPAY", trade.paid or trade.price)
        fields["mchid"] = trade.owner
        if trade.paid_at:
            fields["transaction_id"] = trade.trade_no
            fields["success_time"] = clock.to_beijing(trade.paid_at, "%Y-%m-%dT%H:%M:%S+08:00")
        elif trade.state not in _OPEN:
            fields = {name: value for name, value in fields.items() if name not in _OF_PAID}
        return fields

    def _refund_fields(self, trade: Trade, number: str, status_name: str) -> dict[str, Any]:
        back = trade.backs[number]
        assert trade.paid is not None
        return {
            "refund_id": back.ref,
            "out_refund_no": number,
            "transaction_id": trade.trade_no,
            "out_trade_no": trade.out_trade_no,
            status_name: _STATUS[back.way],
            "amount": {
                "total": trade.paid.minor,
                "refund": back.amount.minor,
                "payer_total": trade.paid.minor,
                "payer_refund": back.amount.minor,
                "currency": trade.paid.currency,
            },
        }

    def _expire(self, trade: Trade) -> None:
        if trade.state in _OPEN and trade.expires_at <= clock.now():
            trade.state = "CLOSED"

    def _mark_paid(self, trade: Trade) -> None:
        trade.state = "SUCCESS"
        trade.trade_no = trade.trade_no or self._next("4200")


_OF_PAID = ("transaction_id", "success_time", "payer", "bank_type")


def _verified(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    """Which merchant sent this request, once its signature was checked as WeChat Pay would."""
    scheme, _, rest = headers["authorization"].partition(" ")
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    said = {name: value.strip('"') for name, _, value in (part.partition("=") for part in rest.split(","))}
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    message = f"{method}\n{path}\n{said['timestamp']}\n{said['nonce_str']}\n".encode() + body + b"\n"
    signature = base64.b64decode(said["signature"])
    forge.merchant_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    return said["mchid"]
