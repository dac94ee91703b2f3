"""A provider that says what a test tells it to, for what the books make of it.

What each adapter makes of its network's words is tested with the adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

from app.errors import ProviderError
from app.merchants import accounts
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import BillLine, Outcome, PaymentRef, PaymentResult, RefundOrder, RefundResult
from app.runtime import runtime
from tests.conftest import Shop

Said = Outcome | ProviderError | RefundResult


class Scripted:
    """Each call takes the next word of its list, and the last one for good."""

    info, credentials = Alipay.info, Alipay.credentials

    def __init__(self) -> None:
        self.refunds: list[Said] = [Outcome.PENDING]
        self.refund_queries: list[Said] = [Outcome.PENDING]
        self.queries: list[Outcome | ProviderError] = [Outcome.PENDING]
        self.bill: list[BillLine] | ProviderError = []
        self._bills: dict[bytes, list[BillLine]] = {}
        self.calls: list[str] = []
        self.orders: list[RefundOrder] = []

    def refund(self, order: RefundOrder) -> RefundResult:
        return self._answer("refund", self.refunds, order)

    def query_refund(self, order: RefundOrder) -> RefundResult:
        return self._answer("query_refund", self.refund_queries, order)

    def query(self, ref: PaymentRef) -> PaymentResult:
        self.calls.append("query")
        said = _next(self.queries)
        if isinstance(said, ProviderError):
            raise said
        return PaymentResult(ref.out_trade_no, said, Money(1250, "CNY"), f"T{ref.out_trade_no}")

    def fetch_bill(self, _day: date) -> bytes:
        self.calls.append("fetch_bill")
        if isinstance(self.bill, ProviderError):
            raise self.bill
        self._bills[(file := repr(list(self.bill)).encode())] = list(self.bill)
        return file

    def read_bill(self, file: bytes, _day: date) -> Iterator[BillLine]:
        for number, line in enumerate(self._bills[file], 1):
            yield replace(line, number=number)

    def _answer(self, call: str, script: list[Said], order: RefundOrder) -> RefundResult:
        self.calls.append(call)
        self.orders.append(order)
        said = _next(script)
        if isinstance(said, ProviderError):
            raise said
        plain = RefundResult(order.payment.out_trade_no, order.out_refund_no, Outcome.PENDING)
        if isinstance(said, RefundResult):
            return replace(said, out_trade_no=plain.out_trade_no, out_refund_no=plain.out_refund_no)
        return replace(plain, outcome=said, provider_status=said.upper())


def stand_in(shop: Shop) -> Scripted:
    """From now on the shop's account speaks with this one."""
    provider = Scripted()
    accounts.open_account(shop.account_id)
    adapters: dict[Any, Any] = runtime().adapters
    [key] = [key for key in adapters if key[0] == shop.account_id]
    adapters[key] = provider
    return provider


def _next(script: list[Any]) -> Any:
    return script.pop(0) if len(script) > 1 else script[0]
