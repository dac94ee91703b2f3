"""The settlement file of one day: fixed columns in GBK, in a zip, in zlib, in base64.

Source: UnionPay ACP 5.1.0, file transfer (76/01), and part 3 (files), 6.1 ZM and 6.2 ZME.
"""

from __future__ import annotations

import base64
import io
import sqlite3
import zipfile
import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sandbox import levers, timing, trades
from sandbox.shopper import bent
from sandbox.trades import Refund, Trade
from sandbox.unionpay import codes, news
from sandbox.unionpay.calls import Call
from sandbox.unionpay.codes import Refusal
from sandbox.unionpay.merchants import NETWORK, Merchant
from sandbox.yuan import fen_of, yuan_of

FEE_PER_MILLE = 6  # 0.6 %, what a small merchant pays.

ZM_WIDTHS = (
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2),
    *(6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131),
)
ZME_WIDTHS = (3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135)

_CODE, _ACQUIRER, _SENDER, _MCC, _TERMINAL = "S56", "48020000", "00049992", "5812", "01080209"
_ADJUSTMENT, _REASON = "E74", "4507"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of ZM: a payment, or a refund or void of it."""

    trade: Trade
    refund: Refund | None
    amount_minor: int
    fee_minor: int


def download(call: Call) -> dict[str, str]:
    """76/01: settlement days that are over, or the present one with ``bill_now``; 98 for an empty day."""
    call.check_time()
    if call.word("fileType") != "00":
        raise Refusal(codes.BAD_FORM, "fileType")
    day, today = _day_of(call.word("settleDate")), _settlement_day(timing.now())
    if day == today and levers.held(call.db, "bill_now") is None:
        raise Refusal(codes.NO_FILE)
    rows = lines(call.db, call.merchant, day)
    adjusted = levers.held(call.db, "bill_adjust")
    if not rows and adjusted is None:
        raise Refusal(codes.NO_FILE)
    content = archive(call.merchant, day, rows, None if adjusted is None else _fen(adjusted))
    return codes.result(codes.DONE) | {
        "fileName": f"{call.merchant.mer_id}_{day:%Y%m%d}.zip",
        "fileContent": packed(content),
        "settleDate": call.word("settleDate"),
        "fileType": "00",
    }


def lines(db: sqlite3.Connection, merchant: Merchant, day: date) -> list[Line]:
    """The day's payments, refunds and voids, bent by the levers ``bill_omit`` and ``bill_amount``."""
    end = datetime(day.year, day.month, day.day, 23, tzinfo=timing.BEIJING)
    span = (end - timedelta(days=1)).timestamp(), end.timestamp()
    found = [
        Line(trade, None, trade.paid_minor, fee_of(trade.paid_minor))
        for trade in trades.paid_between(db, NETWORK, merchant.mer_id, *span)
    ] + [
        Line(trade, refund, refund.amount_minor, 0)
        for trade, refund in trades.refunded_between(db, NETWORK, merchant.mer_id, *span)
    ]
    return [
        _bent(db, line) for line in found if levers.held(db, "bill_omit", line.trade.out_trade_no) is None
    ]


def fee_of(amount_minor: int) -> int:
    """The service fee in fen, half a fen rounded up: ``1250 -> 8``.  Pure."""
    return (amount_minor * FEE_PER_MILLE + 500) // 1000


def packed(content: bytes) -> str:
    """A file as it stands in ``fileContent``: zlib, then base64.  Pure."""
    return base64.b64encode(zlib.compress(content)).decode()


def archive(merchant: Merchant, day: date, rows: list[Line], adjusted_minor: int | None) -> bytes:
    """The zip of ZM, ZME and the report for people.  Pure but for the time in the zip."""
    adjustments = b"" if adjusted_minor is None else adjustment(merchant, day, adjusted_minor)
    table = b"".join(detail(merchant, row) for row in rows)
    return zipped(merchant, day, table, adjustments, _report(merchant, day, rows))


def zipped(merchant: Merchant, day: date, zm: bytes, zme: bytes, report: bytes = b"") -> bytes:
    """The tables in their zip.  Pure but for the time in it."""
    stem = f"INN{day:%y%m%d}88"
    entries = {
        f"{stem}ZM_{merchant.mer_id}": zm,
        f"{stem}ZME_{merchant.mer_id}": zme,
        f"RD20{day:%y%m%d}88_{merchant.mer_id}": report,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in entries.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def detail(merchant: Merchant, line: Line) -> bytes:
    """A line of ZM.  Pure."""
    trade, refund = line.trade, line.refund
    paid_ts = trade.paid_ts or trade.created_ts
    query_id = trade.trade_no if refund is None else refund.details["queryId"]
    net = line.amount_minor - line.fee_minor
    settled = _signed(net if refund is None else -net)
    cells = [
        *(_CODE, _ACQUIRER, _SENDER, query_id[-6:]),
        _short(paid_ts if refund is None else refund.done_ts or paid_ts),
        *(news.CARD["accNo"], f"{line.amount_minor:012}", _MCC, "08", query_id, ""),
        (trade.out_trade_no if refund is None else refund.out_refund_no)[:32],
        "01",
        *(("", "") if refund is None else (trade.trade_no[-6:], _short(paid_ts))),
        _signed(-line.fee_minor),
        settled,
        *("0201", ""),
        *(("01", trade.details["txnSubType"]) if refund is None else (refund.details["txnType"], "00")),
        *(trade.details["bizType"], "01", "", "", "1"),
        "" if refund is None else trade.trade_no,
        *(merchant.mer_id, "", "", merchant.name, ""),
        settled,
        _TERMINAL,
        (trade.details if refund is None else refund.details).get("reqReserved", ""),
        *(_signed(0), _signed(0), "0" * 12, "", "0"),
        "" if refund is None else trade.out_trade_no[:32],
    ]
    return _row(cells, ZM_WIDTHS)


def adjustment(merchant: Merchant, day: date, amount_minor: int) -> bytes:
    """A line of ZME.  Pure."""
    cells = [
        *(_ADJUSTMENT, _ACQUIRER, _SENDER, "900001", f"{day:%m%d}220000", news.CARD["accNo"]),
        *(f"{abs(amount_minor):012}", _MCC, "08", "", "900000", f"{day:%m%d}100000", _REASON, ""),
        *(_signed(0), _signed(amount_minor), merchant.mer_id, "", "", "", "", ""),
    ]
    return _row(cells, ZME_WIDTHS)


def _report(merchant: Merchant, day: date, rows: list[Line]) -> bytes:
    paid = [row for row in rows if row.refund is None]
    total = sum(row.amount_minor for row in paid)
    back = sum(row.amount_minor for row in rows) - total
    text = [
        f"商户 {merchant.mer_id} {merchant.name}",
        f"清算日期 {day:%Y-%m-%d}",
        f"消费 {len(paid)} 笔 {yuan_of(total)} 元",
        f"退货及撤销 {len(rows) - len(paid)} 笔 {yuan_of(back)} 元",
        f"手续费 {yuan_of(sum(row.fee_minor for row in rows))} 元",
    ]
    return "".join(f"{line}\r\n" for line in text).encode("gbk", "replace")


def _row(cells: list[str], widths: tuple[int, ...]) -> bytes:
    """Columns of so many bytes each, a blank between two; a letter that would be cut in half is left out."""
    assert len(cells) == len(widths)
    columns = []
    for cell, width in zip(cells, widths, strict=True):
        whole = cell.encode("gbk", "replace")[:width].decode("gbk", "ignore").encode("gbk")
        columns.append(whole.ljust(width))
    return b" ".join(columns) + b"\r\n"


def _signed(minor: int) -> str:
    """``-12 -> "D000000000012"``: C comes to the merchant, D leaves.  Pure."""
    return f"{'D' if minor < 0 else 'C'}{abs(minor):012}"


def _fen(text: str) -> int:
    """``"-1.00" -> -100``, ``"0.50" -> 50``.  Pure."""
    fen = fen_of(text.lstrip("+-"))
    return -fen if text[0] == "-" else fen


def _short(ts: float) -> str:
    return timing.beijing(ts, "%m%d%H%M%S")


def _bent(db: sqlite3.Connection, line: Line) -> Line:
    value = levers.held(db, "bill_amount", line.trade.out_trade_no)
    if value is None or line.refund is not None:
        return line
    return Line(line.trade, None, bent(line.amount_minor, value), line.fee_minor)


def _settlement_day(ts: float) -> date:
    return date.fromisoformat(news.settle_date(ts, "%Y-%m-%d"))


def _day_of(text: str) -> date:
    """The latest settlement day of this month and day.  Raises Refusal."""
    today = _settlement_day(timing.now())
    for year in (today.year, today.year - 1):
        try:
            day = date(year, int(text[:2]), int(text[2:]))
        except ValueError:
            continue  # The 29th of February is in one year of four.
        if day <= today:
            return day
    raise Refusal(codes.BAD_FORM, "settleDate")
