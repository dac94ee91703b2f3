"""The three networks in this process, for tests of the pages: real adapters, real signatures, no sockets.

Alipay is the far side that the books are tested with; the other two keep orders and say what their manuals
say.  UnionPay closes nothing and opens a code once; WeChat Pay wants to know the payer inside WeChat.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from app.errors import ProviderUnreachable
from app.merchants import accounts
from app.money import Money
from app.providers.base import HttpAnswer
from tests.conftest import Shop
from tests.far_side import AlipayFarSide
from tests.providers import unionpay_forge, wechatpay_forge

OPENED = {
    "native": {"code_url": wechatpay_forge.CODE_URL},
    "h5": {"h5_url": wechatpay_forge.H5_URL},
    "jsapi": {"prepay_id": wechatpay_forge.PREPAY_ID},
    "app": {"prepay_id": wechatpay_forge.PREPAY_ID},
}


@dataclass
class Order:
    """One order at WeChat Pay or UnionPay.  ``state`` is one of WeChat Pay's words."""

    number: str
    price: Money
    state: str = "NOTPAY"
    payer: str = ""


@dataclass
class Networks:
    """An ``Outbound`` to all three.  ``loses``: this many answers of UnionPay do not arrive."""

    alipay: AlipayFarSide
    orders: dict[str, Order] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    loses: int = 0

    def send(self, method: str, url: str, **more: Any) -> HttpAnswer:
        host = urlsplit(url).netloc
        if host.startswith("alipay"):
            return self.alipay.send(method, url, **more)
        if host == "sns.example":
            # Whoever brings code "a" is the payer "openid-a".
            [code] = parse_qs(urlsplit(url).query)["code"]
            return wechatpay_forge.unsigned(
                {"openid": f"openid-{code}-0123456789abcdef", "access_token": "t"}
            )
        body = more.get("body", b"")
        answer = self._wechatpay(url, body) if host == "wechatpay.example" else self._unionpay(url, body)
        if host != "wechatpay.example" and self.loses:
            self.loses -= 1
            raise ProviderUnreachable("no answer")
        return answer

    def pay(self, number: str) -> None:
        """The shopper pays."""
        if number in self.orders:
            assert self.orders[number].state == "NOTPAY", self.orders[number].state
            self.orders[number].state = "SUCCESS"
        else:
            self.alipay.pay(number)

    def is_closed(self, number: str) -> bool:
        """Whether the network refuses money for it."""
        if number in self.orders:
            return self.orders[number].state == "CLOSED"
        return self.alipay.trades[number].state == "TRADE_CLOSED"

    def _wechatpay(self, url: str, body: bytes) -> HttpAnswer:
        product = urlsplit(url).path.rpartition("/")[2]
        self.calls.append(f"wechatpay {product if product in OPENED else 'other'}")
        if product in OPENED:
            sent = json.loads(body)
            number = sent["out_trade_no"]
            payer = sent.get("payer", {}).get("openid", "")
            order = self.orders.setdefault(number, Order(number, Money(sent["amount"]["total"], "CNY")))
            order.payer = payer
            return wechatpay_forge.answer(OPENED[product])
        number = urlsplit(url).path.split("out-trade-no/")[1].partition("/")[0]
        order = self.orders.get(number)
        if order is None:
            return wechatpay_forge.refused(404, "ORDER_NOT_EXIST")
        if product == "close":
            if order.state == "SUCCESS":
                return wechatpay_forge.refused(400, "ORDERPAID")
            order.state = "CLOSED"
            return wechatpay_forge.answer(None, 204)
        told = wechatpay_forge.transaction(number, order.state, order.price)
        if order.state == "SUCCESS":
            told["transaction_id"] = f"42{number}"
        return wechatpay_forge.answer(told)

    def _unionpay(self, url: str, body: bytes) -> HttpAnswer:
        sent = dict(parse_qsl(body.decode()))
        number, about = sent["orderId"], {"orderId": sent["orderId"], "txnTime": sent["txnTime"]}
        endpoint = urlsplit(url).path.rpartition("/")[2]
        self.calls.append(f"unionpay {endpoint}")
        order = self.orders.get(number)
        if not endpoint.startswith("queryTrans"):
            if order is not None:
                return unionpay_forge.refused("12", **about)
            self.orders[number] = Order(number, Money(int(sent["txnAmt"]), "CNY"))
            handle = {"qrCode": unionpay_forge.QR_CODE, "tn": unionpay_forge.TN}
            return unionpay_forge.refused(
                "00", **about, txnType="01", txnSubType=sent["txnSubType"], **handle
            )
        if order is None or order.state == "NOTPAY":
            return unionpay_forge.refused("34", **about)
        fields = unionpay_forge.payment_fields(number, "00", order.price, origRespCode="00", origRespMsg="ok")
        return unionpay_forge.answer({**fields, **about, "queryId": f"2024{number}"[:21]})


def open_wallets(shop: Shop) -> None:
    """Give a shop that takes Alipay the other two wallets as well."""
    for code, settings in _settings():
        accounts.add_account(shop.id, code, livemode=False, name=code, settings=settings)


def _settings() -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "wechatpay", wechatpay_forge.PUBLIC_KEY_MODE
    yield "unionpay", unionpay_forge.PAIR | {"desktop_product": "qr"}
