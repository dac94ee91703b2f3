"""The bill of one day: a signed, short-lived address and the zip of GBK tables behind it.

Source: Alipay open platform, alipay.data.dataservice.bill.downloadurl.query, and the 业务明细 file's layout.
"""

from __future__ import annotations

import io
import re
import sqlite3
import zipfile
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from flask import Blueprint, Response, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from sandbox import levers, timing, trades
from sandbox.alipay import apps, buyer
from sandbox.alipay.apps import NETWORK, App
from sandbox.alipay.calls import Call, success
from sandbox.alipay.keys import Keyring
from sandbox.alipay.wire import Node, business
from sandbox.box import here
from sandbox.shopper import bent
from sandbox.trades import Refund, Trade
from sandbox.yuan import yuan_of

URL_LIFE_S = 30
FEE_PER_MILLE = 6  # 0.6 %, what a small merchant pays.

COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,"
    "券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_SUMMARY_COLUMNS = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,"
    "商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the detail table; a refund's amounts are negative."""

    trade: Trade
    refund: Refund | None
    amount_minor: int
    fee_minor: int


def download_url(call: Call) -> Node:
    """alipay.data.dataservice.bill.downloadurl.query: days that are over, or today with ``bill_now``."""
    if call.word("bill_type", 32, required=True) not in ("trade", "signcustomer"):
        raise business("isp.INVAILID_ARGUMENTS", "账单类型不支持")
    day = _day_of(call.word("bill_date", 10, required=True))
    today = datetime.fromtimestamp(timing.now(), timing.BEIJING).date()
    if day > today or (day == today and levers.held(call.db, "bill_now") is None):
        raise business("isp.bill_not_exist", "账单不存在")
    if not lines(call.db, call.app, day):
        raise business("isp.bill_not_exist", "账单不存在")
    token = _signer(call.ring).dumps(
        [call.app.app_id, day.isoformat(), call.app.auth_app_id, call.app.seller_id]
    )
    return success(bill_download_url=f"{call.box.public_url}/alipay/bill?token={token}")


def blueprint(ring: Keyring) -> Blueprint:
    """``/alipay/bill``: the file itself; the address is the only authority, and dies soon."""
    bp = Blueprint("alipay_bills", __name__)

    @bp.get("/alipay/bill")
    def bill() -> Response:
        try:
            app_id, day, auth_app_id, seller_id = _signer(ring).loads(
                request.args.get("token", ""), max_age=URL_LIFE_S
            )
        except BadSignature:
            return Response("bill address is not valid, or not any more", 403, mimetype="text/plain")
        with here().store.read() as db:
            app = apps.find(db, app_id)
            assert app is not None  # We signed its name; apps go only with everything else.
            app = replace(app, auth_app_id=auth_app_id, seller_id=seller_id)
            rows = lines(db, app, date.fromisoformat(day))
            content = archive(app, date.fromisoformat(day), rows, levers.held(db, "bill_total"))
        name = f"{app.seller_id}_{day.replace('-', '')}.csv.zip"
        headers = {"Content-Disposition": f"attachment; filename={name}"}
        return Response(content, mimetype="application/zip", headers=headers)

    return bp


def lines(db: sqlite3.Connection, app: App, day: date) -> list[Line]:
    """The day's payments and refunds, bent by the levers ``bill_omit`` and ``bill_amount``."""
    start = datetime(day.year, day.month, day.day, tzinfo=timing.BEIJING)
    span = start.timestamp(), (start + timedelta(days=1)).timestamp()
    found = [
        Line(trade, None, trade.paid_minor, -fee_of(trade.paid_minor))
        for trade in trades.paid_between(db, NETWORK, app.app_id, *span)
    ] + [
        Line(trade, refund, -refund.amount_minor, 0)
        for trade, refund in trades.refunded_between(db, NETWORK, app.app_id, *span)
    ]
    return [
        _bent(db, line)
        for line in found
        if levers.held(db, "bill_omit", line.trade.out_trade_no) is None
        and line.trade.details.get("auth_app_id", "") == app.auth_app_id
    ]


def fee_of(amount_minor: int) -> int:
    """The service fee in fen, half a fen rounded up: ``1250 -> 8``.  Pure."""
    return (amount_minor * FEE_PER_MILLE + 500) // 1000


def archive(app: App, day: date, rows: list[Line], bend: str | None = None) -> bytes:
    """The zip of detail and summary.  Pure but for the time of export."""
    return packed(app, day, detail(app, day, rows, bend), _summary(app, day, rows))


def packed(app: App, day: date, detail_text: str, summary_text: str = "") -> bytes:
    """The two tables in their zip.  Pure."""
    stem = f"{app.seller_id}0156_{day:%Y%m%d}_业务明细"
    return _zip({f"{stem}.csv": detail_text, f"{stem}(汇总).csv": summary_text})


def detail(app: App, day: date, rows: list[Line], bend: str | None = None) -> str:
    """The table of the day's trades; ``bend`` makes the total of payments wrong.  Pure but for the time."""
    paid = [row for row in rows if row.refund is None]
    back = [row for row in rows if row.refund is not None]
    body = [
        *_head(app, day, "#支付宝业务明细查询"),
        "#-----------------------------------------业务明细列表----------------------------------------",
        COLUMNS,
        *(_row(line) for line in rows),
        "#-----------------------------------------业务明细列表结束------------------------------------",
        f"#交易合计：{len(paid)}笔，商家实收共{yuan_of(_total(paid, bend))}元，商家优惠共0.00元",
        f"#退款合计：{len(back)}笔，商家实收退款共{yuan_of(_total(back))}元，商家优惠退款共0.00元",
        f"#导出时间：[{timing.beijing(timing.now(), '%Y年%m月%d日 %H:%M:%S')}]",
    ]
    return "".join(f"{line}\r\n" for line in body)


def _summary(app: App, day: date, rows: list[Line]) -> str:
    paid = sum(1 for row in rows if row.refund is None)
    amount, fee = sum(row.amount_minor for row in rows), sum(row.fee_minor for row in rows)
    cells = ["合计", "", str(paid), str(len(rows) - paid), yuan_of(amount), yuan_of(amount)]
    cells += ["0.00", "0.00", "0.00", yuan_of(fee), "0.00", yuan_of(amount + fee)]
    body = [
        *_head(app, day, "#支付宝业务汇总查询"),
        "#-----------------------------------------业务汇总列表----------------------------------------",
        _SUMMARY_COLUMNS,
        ",".join(cells),
        "#-----------------------------------------业务汇总列表结束------------------------------------",
        f"#导出时间：[{timing.beijing(timing.now(), '%Y年%m月%d日 %H:%M:%S')}]",
    ]
    return "".join(f"{line}\r\n" for line in body)


def _head(app: App, day: date, title: str) -> list[str]:
    end = day + timedelta(days=1)
    return [
        title,
        f"#账号：[{app.seller_id}0156]",
        f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{end:%Y年%m月%d日} 00:00:00]",
    ]


def _row(line: Line) -> str:
    trade, refund = line.trade, line.refund
    done_ts = trade.paid_ts if refund is None else refund.done_ts
    cells = [
        f"{trade.trade_no}\t",
        f"{trade.out_trade_no}\t",
        "交易" if refund is None else "退款",
        _plain(trade.subject),
        timing.beijing(trade.opened_ts or trade.created_ts),
        timing.beijing(done_ts or trade.created_ts),
        _plain(trade.details.get("store_id", "")),
        "",
        _plain(trade.details.get("operator_id", "")),
        _plain(trade.details.get("terminal_id", "")),
        buyer.BUYER_LOGON_ID,
        yuan_of(line.amount_minor),
        yuan_of(line.amount_minor),
        *["0.00"] * 5,
        "",
        *["0.00"] * 2,
        "" if refund is None else f"{refund.out_refund_no}\t",
        yuan_of(line.fee_minor),
        "0.00",
        "" if refund is None else _plain(refund.reason),
    ]
    return ",".join(cells)


def _plain(text: str) -> str:
    """Text that cannot break a row: the real file has no quotes either.  Pure."""
    return re.sub(r"[,\s]+", " ", text)


def _total(rows: list[Line], bend: str | None = None) -> int:
    amount = sum(row.amount_minor for row in rows)
    return amount if bend is None else bent(amount, bend)


def _bent(db: sqlite3.Connection, line: Line) -> Line:
    value = levers.held(db, "bill_amount", line.trade.out_trade_no)
    if value is None or line.refund is not None:
        return line
    return Line(line.trade, None, bent(line.amount_minor, value), line.fee_minor)


def _day_of(text: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # The thirteenth month is refused below, like everything else that is no day.
    raise business("isp.INVAILID_ARGUMENTS", "账单时间格式错误")  # Alipay's own spelling.


def _zip(files: dict[str, str]) -> bytes:
    """A zip whose entry names are GBK without the UTF-8 flag, which zipfile cannot write by itself.

    So each entry is written under an ASCII name of the same length, and the bytes are exchanged.
    """
    buffer = io.BytesIO()
    names = {}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for turn, (name, content) in enumerate(files.items()):
            real = name.encode("gbk")
            names[f"{turn}-placeholder-".ljust(len(real), "~")[: len(real)].encode()] = real
            bundle.writestr(next(reversed(names)).decode(), content.encode("gbk", "replace"))
    whole = buffer.getvalue()
    for placeholder, real in names.items():
        whole = whole.replace(placeholder, real)
    return whole


def _signer(ring: Keyring) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(ring.token_secret, salt="alipay-bill")
