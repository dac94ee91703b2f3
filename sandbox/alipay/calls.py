"""One verified call at the gateway: what its handler is given, and readers for its fields."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from sandbox import levers, shopper, timing, trades
from sandbox.alipay.apps import NETWORK, App
from sandbox.alipay.keys import Keyring
from sandbox.alipay.wire import Node, Params, business
from sandbox.box import Box
from sandbox.trades import State, Trade
from sandbox.yuan import fen_of

NUMBER = re.compile(r"[0-9A-Za-z_]{1,64}", re.ASCII)
_SPAN = re.compile(r"([1-9]\d{0,4})([mhd])", re.ASCII)
_UNITS_S = {"m": 60, "h": 3600, "d": 86400}
_LIFE_MAX_S = 15 * 86400


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose signature held, inside the transaction that answers it."""

    box: Box
    ring: Keyring
    db: sqlite3.Connection
    app: App
    method: str
    params: Params
    biz: Node

    def word(self, name: str, longest: int, required: bool = False) -> str:
        """A field of biz_content as text, "" if absent.  Raises Refusal."""
        value = self.biz.get(name) or ""
        if not isinstance(value, str) or len(value) > longest or (required and not value.strip()):
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        return value

    def amount(self, name: str) -> int:
        """A required amount in fen, at least one.  Raises Refusal."""
        try:
            fen = fen_of(self.word(name, 13, required=True))
        except ValueError:
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}") from None
        if fen < 1:
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        return fen

    def url(self, name: str) -> str:
        """A notify_url or return_url, "" if absent.  Raises Refusal for anything but http(s)."""
        url = self.params.text(name)
        if url and (len(url) > 256 or re.match(r"https?://[^\s/]", url) is None):
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        return url

    def span_s(self, name: str) -> float | None:
        """``15m``, ``2h``, ``1d``, or ``1c`` for the end of today; None if absent.  Raises Refusal."""
        text = self.word(name, 6)
        if not text:
            return None
        if text == "1c":
            return timing.end_of_day(timing.now()) - timing.now()
        match = _SPAN.fullmatch(text)
        if match is None or int(match[1]) * _UNITS_S[match[2]] > _LIFE_MAX_S:
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        return float(int(match[1]) * _UNITS_S[match[2]])

    def moment(self, name: str) -> float | None:
        """An absolute ``yyyy-MM-dd HH:mm:ss``; None if absent.  Raises Refusal."""
        text = self.word(name, 32)
        if not text:
            return None
        try:
            return timing.from_beijing(text)
        except ValueError:
            raise business("ACQ.INVALID_PARAMETER", f"参数无效: {name}") from None

    def named_trade(self) -> Trade | None:
        """The trade that out_trade_no or trade_no (which wins) names, brought up to the present.

        Raises Refusal when neither is given.
        """
        trade_no, out_trade_no = self.word("trade_no", 64), self.word("out_trade_no", 64)
        if trade_no:
            trade = trades.by_trade_no(self.db, NETWORK, self.app.app_id, trade_no)
        elif out_trade_no:
            trade = trades.find(self.db, NETWORK, self.app.app_id, out_trade_no)
        else:
            raise business("ACQ.INVALID_PARAMETER", "参数无效: out_trade_no, trade_no")
        if trade is None or trade.details.get("auth_app_id", "") != self.app.auth_app_id:
            return None  # another merchant's of the same service provider
        return shopper.progress(self.box, self.db, trade)

    def existing_trade(self) -> Trade:
        """The named trade, if a shopper ever opened it.  Raises Refusal TRADE_NOT_EXIST."""
        trade = self.named_trade()
        if trade is None or trade.state in (State.OFFERED, State.WITHDRAWN):
            raise business("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return trade

    def lever(self, name: str) -> str | None:
        """Use a lever on the payment that this call names."""
        out_trade_no = self.number()
        return levers.take(self.db, name, out_trade_no, self.method, self.app.app_id)

    def number(self) -> str:
        """The out_trade_no that the call is about, also when it says trade_no; "" if unknown."""
        trade_no = self.biz.get("trade_no")
        if isinstance(trade_no, str) and trade_no:
            trade = trades.by_trade_no(self.db, NETWORK, self.app.app_id, trade_no)
            return "" if trade is None else trade.out_trade_no
        return str(self.biz.get("out_trade_no", ""))[:64]


def success(**fields: Any) -> Node:
    """A node of code 10000 with the fields that are not empty."""
    kept = {name: value for name, value in fields.items() if value not in ("", None)}
    return {"code": "10000", "msg": "Success", **kept}
