"""What Alipay's daily bill says: a zip of GBK tables, read line by line.  Pure but for lazy unpacking.

Source: Alipay open platform, bill download, trade bill (业务明细).
"""

from __future__ import annotations

import csv
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import date

from app import clock
from app.errors import ProviderUnreachable
from app.money import Money
from app.providers.base import BillLine, StatementLine, UnreadLine, WrongTotals
from app.providers.bill_text import lines_of
from app.providers.bill_totals import Added

log = logging.getLogger(__name__)

KINDS = {"交易": "payment", "退款": "refund"}
# A merchant of a million payments a day has a detail file of about 300 MB; more is a bomb.
UNPACKED_BYTES_MAX = 1 << 30
ENTRIES_MAX = 32

_TRADE_NO, _OUT_TRADE_NO, _KIND = "支付宝交易号", "商户订单号", "业务类型"
_NAME, _CREATED, _FINISHED = "商品名称", "创建时间", "完成时间"
_AMOUNT, _FEE, _REFUND_NO = "订单金额（元）", "服务费（元）", "退款批次号/请求号"
_NEEDED = frozenset({_TRADE_NO, _OUT_TRADE_NO, _KIND, _NAME, _CREATED, _FINISHED, _AMOUNT, _FEE, _REFUND_NO})
_SUMMARY = "汇总"
_TOTAL = re.compile(r"#(交易|退款)合计：([0-9]+)笔(.*)")
_TOTAL_SUM = re.compile(r"(商家实收|商家优惠)(?:退款)?共(-?[0-9.]+)元")
_SUMMED = ("商家实收（元）", "商家优惠（元）")
_END = re.compile(r"#-+业务明细列表结束-*")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_ACCOUNT = re.compile(r"#账号：\[([0-9]+)\]")
_SINCE = re.compile(r"#起始日期：\[(\d{4}年\d\d月\d\d日)")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, csv.Error)


def read_bill(archive: bytes, seller_id: str = "", day: date | None = None) -> Iterator[BillLine]:
    """Yield the lines of the detail table in a bill's zip, in order, and last what is wrong with its totals.

    Raises ProviderUnreachable for anything that is not such a bill, or the bill of another seller or day,
    and at its end if the end is not there.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as bundle, bundle.open(_detail(bundle)) as packed:
            # GB18030 is a superset of GBK; a spoilt character in a product's name is no reason to stop.
            text = io.TextIOWrapper(packed, encoding="gb18030", errors="replace", newline="")
            yield from _lines(csv.reader(lines_of(text), quoting=csv.QUOTE_NONE), seller_id, day)
    except _BROKEN as error:
        raise ProviderUnreachable("alipay's bill cannot be unpacked") from error


def _detail(bundle: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The detail table's entry: the csv whose name does not say "summary"."""
    entries = bundle.infolist()
    if len(entries) > ENTRIES_MAX or sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
        raise ProviderUnreachable("alipay's bill is too large to unpack")
    for entry in entries:
        name = _entry_name(entry)
        if name.lower().endswith(".csv") and _SUMMARY not in name:
            return entry
    raise ProviderUnreachable("alipay's bill holds no detail table")


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """Names are GBK without the flag that says so; zipfile then took them for cp437."""
    if entry.flag_bits & 0x800:  # the name is marked as UTF-8
        return entry.filename
    return entry.filename.encode("cp437", "replace").decode("gbk", "replace")


def _lines(rows: Iterator[list[str]], seller_id: str, day: date | None) -> Iterator[BillLine]:
    header: list[str] = []
    foot = _Foot()
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]  # numbers end with a tab, so that Excel keeps them whole
        if not any(cells):
            continue
        if cells[0].startswith("#"):
            _check_head(cells[0], seller_id, day)
            foot.hear(cells[0], number)
            continue
        if not header:
            header = [cell.replace("(", "（").replace(")", "）") for cell in cells]
            if not _NEEDED.issubset(header):
                raise ProviderUnreachable("alipay's bill lacks a column we need")
            continue
        try:
            line = _line(dict(zip(header, _fitted(cells, header), strict=True)), number)
        except (ValueError, OverflowError) as error:
            foot.skip()
            yield UnreadLine(number, str(error), ",".join(cells))
        else:
            foot.add(line)
            yield line
    if not header:
        raise ProviderUnreachable("alipay's bill has no header")
    yield from foot.wrong()


class _Foot:
    """What stands below the table, held against the table.

    ``#交易合计：6笔，商家实收共0.06元，商家优惠共0.00元`` is of the payments, ``#退款合计`` of the refunds.
    """

    def __init__(self) -> None:
        self._added = {word: Added() for word in KINDS}
        self._totals: list[re.Match[str]] = []
        self._number = 0
        self._is_there = False

    def hear(self, comment: str, number: int) -> None:
        """A line that is no row."""
        total = _TOTAL.fullmatch(comment)
        if total is not None:
            self._totals.append(total)
            self._number = number
        self._is_there |= total is not None or _END.fullmatch(comment) is not None

    def add(self, line: StatementLine) -> None:
        added = self._added.get(line.raw[_KIND])
        if added is None:  # nobody knows in which total it is
            self.skip()
        else:
            # Refunds are negative in the table and in their total; which is the same without the sign.
            added.add({name: line.raw[name].lstrip("-") for name in _SUMMED if name in line.raw})

    def skip(self) -> None:
        for added in self._added.values():
            added.unread += 1

    def wrong(self) -> Iterator[WrongTotals]:
        """Raises ProviderUnreachable if the table has no end: then it was cut short."""
        if not self._is_there:
            raise ProviderUnreachable("alipay's bill has no end")
        found = [text for total in self._totals for text in self._wrong_of(total)]
        if found:
            yield WrongTotals(self._number, "; ".join(found))

    def _wrong_of(self, total: re.Match[str]) -> Iterator[str]:
        added = self._added[total[1]]
        yield from added.wrong_count(f"{total[1]}合计", total[2])
        for each in _TOTAL_SUM.finditer(total[3]):
            column = f"{each[1]}（元）"
            if column in added.sums:
                yield from added.wrong_sum(f"{total[1]}{each[1]}", each[2].lstrip("-"), column)


def _check_head(comment: str, seller_id: str, day: date | None) -> None:
    """The lines above the table say whose bill it is and of which day.  Raises ProviderUnreachable."""
    whose, since = _ACCOUNT.match(comment), _SINCE.match(comment)
    if seller_id and whose is not None and not whose[1].startswith(seller_id):
        raise ProviderUnreachable("alipay's bill is another seller's")
    if day is not None and since is not None and since[1] != f"{day:%Y年%m月%d日}":
        raise ProviderUnreachable("alipay's bill is of another day")


def _fitted(cells: list[str], header: list[str]) -> list[str]:
    """Cells are not quoted, so a comma in the product's name or the remark makes too many: rejoin them."""
    surplus = len(cells) - len(header)
    if surplus <= 0:
        return cells
    in_place = _MOMENT.fullmatch(cells[header.index(_CREATED)])
    at = len(header) - 1 if in_place else header.index(_NAME)
    return [*cells[:at], ",".join(cells[at : at + surplus + 1]), *cells[at + surplus + 1 :]]


def _line(row: Mapping[str, str], number: int) -> StatementLine:
    """One row.  Raises ValueError."""
    amount = Money.from_major(row[_AMOUNT], "CNY")
    kind = KINDS.get(row[_KIND])
    if kind is None:
        # Kept, by its sign: reconciliation then shows it as a difference instead of nobody seeing it.
        log.warning("alipay: unknown kind of bill line", extra={"kind": row[_KIND][:32]})
        kind = "refund" if amount.minor < 0 else "payment"
    if kind == "refund":
        amount = Money(-abs(amount.minor), "CNY")
    return StatementLine(
        kind=kind,
        out_trade_no=row[_OUT_TRADE_NO],
        provider_ref=row[_TRADE_NO],
        amount=amount,
        fee=Money.from_major(row[_FEE] or "0", "CNY"),  # already signed: negative leaves the merchant
        happened_at=clock.from_beijing(row[_FINISHED] or row[_CREATED]),
        out_refund_no=row[_REFUND_NO] or None,
        number=number,
        raw=row,
    )
