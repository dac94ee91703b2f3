"""One verified call at the gateway: what its handler is given, and readers for its fields."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sandbox import levers, shopper, trades
from sandbox.box import Box
from sandbox.trades import Trade
from sandbox.wechatpay import merchants
from sandbox.wechatpay.keys import Keyring
from sandbox.wechatpay.merchants import NETWORK, Merchant
from sandbox.wechatpay.wire import Node, Refusal, bad_field

OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}", re.ASCII)
OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}", re.ASCII)
TOTAL_MAX = 10_000_000_000  # The shared book's own cap; WeChat publishes none.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.ASCII)
_URL = re.compile(r"https?://[^\s/?#]+[^\s?#]*")


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose signature held, inside the transaction that answers it.

    ``name`` is what the levers call this sort of call; ``path`` holds what stood in the address, and
    ``is_partner`` says whether that was a service provider's.
    """

    box: Box
    ring: Keyring
    db: sqlite3.Connection
    merchant: Merchant
    name: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Node
    is_partner: bool = False

    def text(self, pointer: str, longest: int, required: bool = False) -> str:
        """A text in the body, "" if absent: ``call.text("/payer/openid", 128)``.  Raises Refusal."""
        value = self.at(pointer)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or (required and not value.strip()):
            raise bad_field(pointer, value, "必填" if value in (None, "") else "类型不是字符串")
        if len(value) > longest:
            raise bad_field(pointer, value, f"长度超过{longest}")
        if any(letter > "\uffff" for letter in value):
            # API v3 takes UTF-8 of up to three bytes a letter: no emoji.
            raise bad_field(pointer, value, "含有不支持的字符")
        return value

    def whole(self, pointer: str) -> int:
        """A required whole number of at least one.  Raises Refusal."""
        value = self.at(pointer)
        if type(value) is not int:
            raise bad_field(pointer, value, "必填" if value is None else "类型不是整数")
        if not 1 <= value <= TOTAL_MAX:
            raise bad_field(pointer, value, "数值超出范围")
        return value

    def url(self, pointer: str, required: bool = False) -> str:
        """A notify_url, "" if absent: no query string, no fragment.  Raises Refusal."""
        value = self.text(pointer, 255, required)
        if value and _URL.fullmatch(value) is None:
            raise bad_field(pointer, value, "通知地址不能携带参数，且必须是完整地址")
        return value

    def moment(self, pointer: str) -> float | None:
        """An RFC 3339 time with its offset; None if absent.  Raises Refusal."""
        value = self.text(pointer, 64)
        if not value:
            return None
        try:
            if _MOMENT.fullmatch(value):
                return datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass  # The thirteenth month is refused below, like everything else that is no time.
        raise bad_field(pointer, value, "时间格式不是RFC3339")

    def at(self, pointer: str) -> object:
        """Whatever stands at a place of the body, None if nothing does.  Raises Refusal."""
        value: object = self.body
        for part in pointer.strip("/").split("/"):
            if value is None:
                return None
            if not isinstance(value, dict):
                raise bad_field(pointer.rpartition("/")[0], value, "类型不是对象")
            value = value.get(part)
        return value

    def check_owner(self, location: str) -> None:
        """Who a call names must be who signed it, and where it says so a sub-merchant of theirs.

        ``location`` is "body" or "query".  Raises Refusal.
        """
        name = "sp_mchid" if self.is_partner else "mchid"
        given = self.query.get(name, "") if location == "query" else self.text(f"/{name}", 32)
        self.check_mchid(given, f"/{name}", location)
        if self.is_partner and not self.sub_mchid:
            raise bad_field("/sub_mchid", "", "必填", location)

    @property
    def sub_mchid(self) -> str:
        """The sub-merchant that a call is about, "" if it is about none.  Raises Refusal for a stranger."""
        sub_mchid = self.query.get("sub_mchid", "") or self.text("/sub_mchid", 32)
        if sub_mchid and sub_mchid not in self.merchant.subs:
            raise Refusal("NO_AUTH", "特约子商户商户号未授权服务商的产品权限")
        return sub_mchid

    def sellers(self) -> dict[str, str]:
        """Who sells, for the book: ``appid`` is the one that the payer sees.  Raises Refusal."""
        if not self.is_partner:
            appid = self.text("/appid", 32, required=True)
            self.check_owner("body")
            if appid not in (self.merchant.appid, self.merchant.mobile_appid):
                raise Refusal("APPID_MCHID_NOT_MATCH")
            return {"appid": appid}
        sp_appid, sub_appid = self.text("/sp_appid", 32, required=True), self.text("/sub_appid", 32)
        self.check_owner("body")
        bound = (self.merchant.subs[self.sub_mchid], self.merchant.mobile_appid)
        if sp_appid != self.merchant.appid or (sub_appid and sub_appid not in bound):
            raise Refusal("APPID_MCHID_NOT_MATCH")
        return {
            "appid": sub_appid or sp_appid,
            "sp_appid": sp_appid,
            "sub_appid": sub_appid,
            "sub_mchid": self.sub_mchid,
        }

    def is_about(self, trade: Trade) -> bool:
        """Whether a trade is of the sub-merchant that the call names, or of none if it names none."""
        return trade.details.get("sub_mchid", "") == self.sub_mchid

    def check_mchid(self, mchid: str, field: str, location: str) -> None:
        """The mchid that a call names must be the one that signed it.  Raises Refusal."""
        if not mchid:
            raise bad_field(field, mchid, "必填", location)
        if mchid != self.merchant.mchid:
            known = merchants.find(self.db, mchid) is not None
            raise Refusal("NO_AUTH" if known else "MCH_NOT_EXISTS")

    def trade(self, out_trade_no: str = "", transaction_id: str = "") -> Trade | None:
        """The merchant's trade under either number, brought up to the present."""
        owner = (self.db, NETWORK, self.merchant.mchid)
        if transaction_id:
            found = trades.by_trade_no(*owner, transaction_id)
            if found is not None and found.paid_ts is None:
                found = None  # The network's number is given at payment; nobody can know it before.
        else:
            found = trades.find(*owner, out_trade_no)
        if found is None or not self.is_about(found):
            return None
        return shopper.progress(self.box, self.db, found)

    def lever(self, name: str) -> str | None:
        """Use a lever on the payment that this call names."""
        return levers.take(self.db, name, self.number(), self.name, self.merchant.mchid)

    def number(self) -> str:
        """The out_trade_no that the call is about, whichever number it says; "" if it is about none."""
        owner = (self.db, NETWORK, self.merchant.mchid)
        named = self.path.get("out_trade_no") or self.body.get("out_trade_no")
        if isinstance(named, str) and named:
            return named[:64]
        transaction_id = self.path.get("transaction_id") or self.body.get("transaction_id")
        if isinstance(transaction_id, str) and transaction_id:
            trade = trades.by_trade_no(*owner, transaction_id)
            return "" if trade is None else trade.out_trade_no
        pair = trades.refund_of_number(*owner, self.path.get("out_refund_no", ""))
        return "" if pair is None else pair[0].out_trade_no
