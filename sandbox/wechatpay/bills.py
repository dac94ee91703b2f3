"""The trade bill and the fund-flow bill of one day: an address that lives five minutes, a CSV behind it.

Source: WeChat Pay API v3, 申请交易账单, 申请资金账单 and 下载账单.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

from itsdangerous import BadSignature, URLSafeTimedSerializer

from sandbox import levers, timing, trades
from sandbox.shopper import bent
from sandbox.trades import Refund, Trade
from sandbox.wechatpay import merchants
from sandbox.wechatpay.calls import Call
from sandbox.wechatpay.keys import Keyring
from sandbox.wechatpay.merchants import NETWORK, Merchant
from sandbox.wechatpay.orders import TRADE_TYPES, openid_of
from sandbox.wechatpay.wire import Node, Refusal, bad_field
from sandbox.yuan import yuan_of

FILE_PATH = "/v3/billdownload/file"
URL_LIFE_S = 300
FEE_PER_MILLE = 6  # 0.6 %, what a small merchant pays.
_KEPT = timedelta(days=92)

_PAID = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额"
)
_REFUNDED = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态"
_REST = "商品名称,商户数据包,手续费,费率,订单金额"
TRADE_COLUMNS = {
    "ALL": f"{_PAID},{_REFUNDED},{_REST},申请退款金额,费率备注",
    "SUCCESS": f"{_PAID},{_REST},费率备注",
    "REFUND": f"{_PAID},退款申请时间,退款成功时间,{_REFUNDED},{_REST},申请退款金额,费率备注",
}
_TRADE_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
FLOW_COLUMNS = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)
_FLOW_TOTALS = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
_REFUND_WORDS = {"pending": "PROCESSING", "done": "SUCCESS", "closed": "FAIL", "abnormal": "CHANGE"}


@dataclass(frozen=True, slots=True)
class File:
    """Which file an address stands for.  ``sort`` is a bill_type, or the fund-flow bill's account_type."""

    mchid: str
    kind: str  # "trade" | "flow"
    day: str
    sort: str
    gzip: bool
    sub_mchid: str = ""  # of a service provider's sub-merchants, this one alone


@dataclass(frozen=True, slots=True)
class Flow:
    """Money into (above zero) or out of the merchant's account."""

    at_ts: float
    trade: Trade
    name: str
    amount_minor: int
    voucher: str


def trade_bill(call: Call) -> Node:
    """GET /v3/bill/tradebill."""
    sort = call.query.get("bill_type", "ALL")
    if sort not in TRADE_COLUMNS:
        raise bad_field("/bill_type", sort, "不是ALL、SUCCESS或REFUND", "query")
    return _address(call, "trade", sort)


def flow_bill(call: Call) -> Node:
    """GET /v3/bill/fundflowbill."""
    sort = call.query.get("account_type", "BASIC")
    if sort not in ("BASIC", "OPERATION", "FEES"):
        raise bad_field("/account_type", sort, "不是BASIC、OPERATION或FEES", "query")
    return _address(call, "flow", sort)


def file_of(db: sqlite3.Connection, ring: Keyring, merchant: Merchant, token: str) -> tuple[bytes, bool]:
    """The file behind a token, and whether it is packed.  Raises Refusal for another's, or an old one."""
    try:
        file = File(**_signer(ring).loads(token, max_age=URL_LIFE_S))
    except BadSignature:
        raise Refusal("INVALID_REQUEST", "下载地址已失效，请重新申请") from None
    if file.mchid != merchant.mchid:
        raise Refusal("NO_AUTH")
    text = content(db, file)
    return (gzip.compress(text, mtime=0) if file.gzip else text), file.gzip


def content(db: sqlite3.Connection, file: File) -> bytes:
    """The plain file, or b"" when there is nothing to tell.  The bill levers act here."""
    merchant = merchants.find(db, file.mchid)
    assert merchant is not None  # We wrote its name; merchants go only with everything else.
    return _trades_csv(db, merchant, file) if file.kind == "trade" else _flows_csv(db, merchant, file)


def fee_of(amount_minor: int) -> int:
    """The service fee in fen, half a fen rounded up: ``1250 -> 8``.  Pure."""
    return (amount_minor * FEE_PER_MILLE + 500) // 1000


def _address(call: Call, kind: str, sort: str) -> Node:
    packed = call.query.get("tar_type", "")
    if packed not in ("", "GZIP"):
        raise bad_field("/tar_type", packed, "只能是GZIP", "query")
    day = _day_of(call.query.get("bill_date", ""))
    today = datetime.fromtimestamp(timing.now(), timing.BEIJING).date()
    if day > today or (day == today and levers.held(call.db, "bill_now") is None):
        raise Refusal("NO_STATEMENT_EXIST")
    if day < today - _KEPT:
        raise Refusal("INVALID_REQUEST", "仅支持三个月内的账单")
    file = File(call.merchant.mchid, kind, day.isoformat(), sort, packed == "GZIP", call.sub_mchid)
    text = content(call.db, file)
    if not text:
        raise Refusal("NO_STATEMENT_EXIST")
    token = _signer(call.ring).dumps(asdict(file))
    return {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(text, usedforsecurity=False).hexdigest(),
        "download_url": f"{call.box.public_url}{FILE_PATH}?token={token}",
    }


def _trades_csv(db: sqlite3.Connection, merchant: Merchant, file: File) -> bytes:
    span = _span(file.day)
    owner = (db, NETWORK, merchant.mchid)
    rows: list[tuple[Trade, Refund | None, int]] = []
    if file.sort != "REFUND":
        rows += [(trade, None, _billed(db, trade)) for trade in trades.paid_between(*owner, *span)]
    if file.sort != "SUCCESS":
        asked = trades.refunded_between(*owner, *span, by="created_ts")
        rows += [(trade, item, item.amount_minor) for trade, item in asked]
    rows = [row for row in rows if levers.held(db, "bill_omit", row[0].out_trade_no) is None]
    if file.sub_mchid:
        rows = [row for row in rows if row[0].details.get("sub_mchid") == file.sub_mchid]
    return trade_table(rows, file.sort, levers.held(db, "bill_total")) if rows else b""


def trade_table(
    rows: list[tuple[Trade, Refund | None, int]], sort: str = "ALL", bend: str | None = None
) -> bytes:
    """A trade bill with these payments and refunds, each with its amount.  Pure.

    ``bend`` makes the total of payments wrong.
    """
    columns = TRADE_COLUMNS[sort]
    paid = sum(amount for _, item, amount in rows if item is None)
    back = sum(amount for _, item, amount in rows if item is not None)
    fees = sum(fee_of(amount) * (1 if item is None else -1) for _, item, amount in rows)
    if bend is not None:
        paid = bent(paid, bend)
    totals = [str(len(rows)), yuan_of(paid), yuan_of(back), "0.00", _fee(fees), yuan_of(paid), yuan_of(back)]
    lines = [columns]
    for trade, item, amount in rows:
        cells = _paid_cells(trade, amount) if item is None else _refund_cells(trade, item)
        lines.append(_row(cells[name] for name in columns.split(",")))
    return _csv([*lines, _TRADE_TOTALS, _row(totals)])


def _paid_cells(trade: Trade, amount_minor: int) -> dict[str, str]:
    money = yuan_of(amount_minor)
    return _common_cells(trade, trade.paid_ts or trade.created_ts) | {
        "交易状态": "SUCCESS",
        "应结订单金额": money,
        "微信退款单号": "0",
        "商户退款单号": "0",
        "退款金额": "0.00",
        "退款类型": "",
        "退款状态": "",
        "手续费": _fee(fee_of(amount_minor)),
        "订单金额": money,
        "申请退款金额": "0.00",
    }


def _refund_cells(trade: Trade, item: Refund) -> dict[str, str]:
    money = yuan_of(item.amount_minor)
    return _common_cells(trade, item.created_ts) | {
        "交易状态": "REFUND",
        "应结订单金额": "0.00",
        "退款申请时间": timing.beijing(item.created_ts),
        "退款成功时间": "" if item.done_ts is None else timing.beijing(item.done_ts),
        "微信退款单号": item.details["refund_id"],
        "商户退款单号": item.out_refund_no,
        "退款金额": money,
        "退款类型": "ORIGINAL",
        "退款状态": _REFUND_WORDS[item.state],
        "手续费": _fee(-fee_of(item.amount_minor)),
        "订单金额": "0.00",
        "申请退款金额": money,
    }


def _common_cells(trade: Trade, at_ts: float) -> dict[str, str]:
    return {
        "交易时间": timing.beijing(at_ts),
        "公众账号ID": trade.details["appid"],
        "商户号": trade.app_id,
        "特约商户号": trade.details.get("sub_mchid", "0"),
        "设备号": "",
        "微信订单号": trade.trade_no,
        "商户订单号": trade.out_trade_no,
        "用户标识": openid_of(trade.details["appid"]),
        "交易类型": TRADE_TYPES[trade.product],
        "付款银行": "OTHERS",
        "货币种类": "CNY",
        "代金券金额": "0.00",
        "充值券退款金额": "0.00",
        "商品名称": trade.subject,
        "商户数据包": trade.details.get("attach", ""),
        "费率": "0.60%",
        "费率备注": "",
    }


def _flows_csv(db: sqlite3.Connection, merchant: Merchant, file: File) -> bytes:
    flows = _flows(db, merchant, file.day) if file.sort == "BASIC" else []
    if not flows:
        return b""
    lines, balance = [FLOW_COLUMNS], 0
    for turn, flow in enumerate(flows):
        balance += flow.amount_minor
        cells = [timing.beijing(flow.at_ts), flow.trade.trade_no, f"{flow.trade.trade_no}{turn:04d}"]
        cells += [flow.name, flow.name, "收入" if flow.amount_minor > 0 else "支出"]
        cells += [yuan_of(abs(flow.amount_minor)), yuan_of(balance), "system", "", flow.voucher]
        lines.append(_row(cells))
    came = [flow.amount_minor for flow in flows if flow.amount_minor > 0]
    went = [-flow.amount_minor for flow in flows if flow.amount_minor <= 0]
    totals = [str(len(flows)), str(len(came)), yuan_of(sum(came)), str(len(went)), yuan_of(sum(went))]
    return _csv([*lines, _FLOW_TOTALS, _row(totals)])


def _flows(db: sqlite3.Connection, merchant: Merchant, day: str) -> list[Flow]:
    owner, span = (db, NETWORK, merchant.mchid), _span(day)
    found: list[Flow] = []
    for trade in trades.paid_between(*owner, *span):
        at_ts, amount = trade.paid_ts or trade.created_ts, _billed(db, trade)
        found.append(Flow(at_ts, trade, "交易", amount, trade.trade_no))
        found.append(Flow(at_ts, trade, "扣除交易手续费", -fee_of(amount), trade.trade_no))
    for trade, item in trades.refunded_between(*owner, *span):
        net = item.amount_minor - fee_of(item.amount_minor)  # The fee's share comes back with it.
        found.append(Flow(item.done_ts or item.created_ts, trade, "退款", -net, item.details["refund_id"]))
    kept = [flow for flow in found if levers.held(db, "bill_omit", flow.trade.out_trade_no) is None]
    return sorted(kept, key=lambda flow: flow.at_ts)


def _billed(db: sqlite3.Connection, trade: Trade) -> int:
    value = levers.held(db, "bill_amount", trade.out_trade_no)
    return trade.paid_minor if value is None else bent(trade.paid_minor, value)


def _span(day: str) -> tuple[float, float]:
    start = datetime.fromisoformat(day).replace(tzinfo=timing.BEIJING)
    return start.timestamp(), (start + timedelta(days=1)).timestamp()


def _day_of(text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass  # The thirteenth month is refused below, like everything else that is no day.
    raise bad_field("/bill_date", text, "日期格式不是yyyy-MM-DD", "query")


def _fee(fee_minor: int) -> str:
    """Fees have five places: ``8 -> "0.08000"``.  Pure."""
    return f"{yuan_of(fee_minor)}000"


def _row(cells: Iterable[str]) -> str:
    """Each cell behind a backtick, no quotes; what would break a row is taken out of the texts.  Pure."""
    return ",".join("`" + re.sub(r"[`\r\n]", " ", cell).replace(",", "，") for cell in cells)


def _csv(lines: list[str]) -> bytes:
    return ("\ufeff" + "".join(f"{line}\r\n" for line in lines)).encode()


def _signer(ring: Keyring) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(ring.token_secret, salt="wechatpay-bill")
