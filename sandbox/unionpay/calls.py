"""One verified call at the gateway: what its handler is given, and readers for its fields."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox import levers, shopper, timing, trades
from sandbox.box import Box
from sandbox.trades import Refund, Trade
from sandbox.unionpay import wire
from sandbox.unionpay.codes import BAD_FORM, DUPLICATE, Refusal
from sandbox.unionpay.keys import Keyring
from sandbox.unionpay.merchants import NETWORK, Merchant

STAMP = "%Y%m%d%H%M%S"
# How far the time of a new transaction may be from now; the manual only says "the time of sending".
SKEW_MAX_S = 3600.0

Found = tuple[Trade, Refund | None]


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose signature held, inside the transaction that answers it.

    ``method`` is the type and subtype of the transaction, for instance ``04/00``; every field has the
    form that the manual gives it.
    """

    box: Box
    ring: Keyring
    db: sqlite3.Connection
    merchant: Merchant
    method: str
    fields: Mapping[str, str]

    def word(self, name: str) -> str:
        """A field, "" if it was not sent."""
        return self.fields.get(name, "")

    def moment(self, name: str) -> float | None:
        """A time, None if it was not sent.  Raises Refusal for a day that is in no calendar."""
        if name not in self.fields:
            return None
        try:
            return timing.from_beijing(self.fields[name], STAMP)
        except ValueError:
            raise Refusal(BAD_FORM, name) from None

    def check_time(self) -> None:
        """A new transaction was sent about now.  Raises Refusal."""
        sent_ts = self.moment("txnTime")
        if sent_ts is None or abs(timing.now() - sent_ts) > SKEW_MAX_S:
            raise Refusal(BAD_FORM, "txnTime")

    def check_new(self) -> None:
        """Neither a payment nor a refund has this orderId.  Raises Refusal."""
        if self.payment() is not None or self.refund() is not None:
            raise Refusal(DUPLICATE)

    def payment(self) -> Trade | None:
        """The payment with this orderId, as it is now."""
        trade = trades.find(self.db, NETWORK, self.merchant.mer_id, self.word("orderId"))
        return None if trade is None else shopper.progress(self.box, self.db, trade)

    def refund(self) -> tuple[Trade, Refund] | None:
        """The refund or void with this orderId, as it is now."""
        return self._refund(self.word("orderId"))

    def original(self) -> Trade | None:
        """The payment that ``origQryId`` names, as it is now."""
        trade = trades.by_trade_no(self.db, NETWORK, self.merchant.mer_id, self.word("origQryId"))
        return None if trade is None else shopper.progress(self.box, self.db, trade)

    def asked(self) -> Found | None:
        """What a query is about, found by orderId and txnTime or by UnionPay's own number."""
        query_id = self.word("queryId")
        if query_id:
            return self._of_query_id(query_id)
        trade = self.payment()
        if trade is not None:
            return (trade, None) if trade.details["txnTime"] == self.word("txnTime") else None
        found = self.refund()
        return found if found and found[1].details["txnTime"] == self.word("txnTime") else None

    def lever(self, name: str) -> str | None:
        """Use a lever on the payment that this call is about."""
        return levers.take(self.db, name, self.number(), self.method, self.merchant.mer_id)

    def number(self) -> str:
        """The orderId of the payment that the call is about, also when it names a refund or a queryId."""
        mer_id = self.merchant.mer_id
        for name in ("origQryId", "queryId"):
            if self.word(name):
                trade = trades.by_trade_no(self.db, NETWORK, mer_id, self.word(name))
                return "" if trade is None else trade.out_trade_no
        number = self.word("orderId")
        found = trades.refund_of_number(self.db, NETWORK, mer_id, number)
        return number if found is None else found[0].out_trade_no

    def fingerprint(self) -> str:
        """The same for the same request, whenever and with whichever certificate it was signed."""
        kept = {name: value for name, value in self.fields.items() if name != "certId"}
        return hashlib.sha256(wire.signed_text(kept)).hexdigest()

    def _of_query_id(self, query_id: str) -> Found | None:
        trade = trades.by_trade_no(self.db, NETWORK, self.merchant.mer_id, query_id)
        if trade is not None:
            return shopper.progress(self.box, self.db, trade), None
        row = self.db.execute(
            "SELECT out_refund_no FROM refunds WHERE network = ? AND app_id = ?"
            " AND json_extract(details, '$.queryId') = ?",
            (NETWORK, self.merchant.mer_id, query_id),
        ).fetchone()
        return None if row is None else self._refund(row["out_refund_no"])

    def _refund(self, number: str) -> tuple[Trade, Refund] | None:
        mer_id = self.merchant.mer_id
        found = trades.refund_of_number(self.db, NETWORK, mer_id, number)
        if found is None:
            return None
        shopper.progress(self.box, self.db, found[0])
        return trades.refund_of_number(self.db, NETWORK, mer_id, number)
