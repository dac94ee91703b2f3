"""What WeChat Pay's daily bills say: tables of text, read line by line.  Pure but for lazy unpacking.

UTF-8 with a mark, nothing quoted; a data cell starts with a backtick, a header cell does not; amounts in
yuan.  A summary of two lines ends a table.
Source: WeChat Pay API v3, trade bill and fund flow bill; downloading bills.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from app import clock
from app.errors import ProviderUnreachable
from app.money import Money
from app.providers.base import BillLine, StatementLine, UnreadLine, WrongTotals
from app.providers.bill_text import lines_of
from app.providers.bill_totals import Added

log = logging.getLogger(__name__)

# A merchant of a million payments a day has a bill of about 400 MB; more is a bomb.
UNPACKED_BYTES_MAX = 1 << 30
CHUNK_BYTES = 1 << 16

_AT, _STATE, _CURRENCY = "交易时间", "交易状态", "货币种类"
_TRADE_NO, _OUT_TRADE_NO, _REFUND_NO = "微信订单号", "商户订单号", "商户退款单号"
_AMOUNT, _REFUND_AMOUNT, _REFUND_STATE = "订单金额", "申请退款金额", "退款状态"
_FEE, _GOODS, _MCHID, _SUB_MCHID = "手续费", "商品名称", "商户号", "特约商户号"
_TRADE_NEEDED = frozenset({_AT, _STATE, _CURRENCY, _TRADE_NO, _OUT_TRADE_NO, _AMOUNT, _FEE})
_REFUND_NEEDED = frozenset({_REFUND_NO, _REFUND_AMOUNT})  # a bill of payments alone leaves them out
KINDS = {"SUCCESS": "payment", "REFUND": "refund", "REVOKED": "refund"}

_FLOW_AT, _FLOW_TRADE_NO, _FLOW_NO = "记账时间", "微信支付业务单号", "资金流水单号"
_FLOW_NAME, _FLOW_KIND, _FLOW_WAY = "业务名称", "业务类型", "收支类型"
_FLOW_AMOUNT, _FLOW_BALANCE = "收支金额(元)", "账户结余(元)"
_FLOW_REMARK, _FLOW_VOUCHER = "备注", "业务凭证号"
_FLOW_NEEDED = frozenset(
    {
        _FLOW_AT,
        _FLOW_TRADE_NO,
        _FLOW_NO,
        _FLOW_NAME,
        _FLOW_KIND,
        _FLOW_WAY,
        _FLOW_AMOUNT,
        _FLOW_BALANCE,
        _FLOW_REMARK,
        _FLOW_VOUCHER,
    }
)
_SIGNS = {"收入": 1, "支出": -1}

_TRADE_COUNT = "总交易单数"
_SUMMARIES = (_TRADE_COUNT, "资金流水总笔数")
# Which column each total of a trade bill sums up; of older names there are none any more.
_TOTALS = {
    "应结订单总金额": "应结订单金额",
    "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": _FEE,
    "订单总金额": _AMOUNT,
    "申请退款总金额": _REFUND_AMOUNT,
}
_GZIP_MAGIC = b"\x1f\x8b"
_FRACTIONS = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,8})?", re.ASCII)
_BROKEN = (gzip.BadGzipFile, zlib.error, EOFError)


@dataclass(frozen=True, slots=True)
class FundLine:
    """One movement on an account of the merchant at WeChat Pay.  Money that left is negative."""

    happened_at: datetime
    provider_ref: str  # the payment or refund behind it
    flow_no: str
    name: str
    kind: str
    amount: Money
    balance: Money
    remark: str
    voucher: str
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Foot:
    """What a table states of itself, by name."""

    stated: Mapping[str, str]


def check_hash(file: bytes, sha1: str) -> None:
    """Return if this is the file whose SHA-1 was signed.  Raises ProviderUnreachable.

    The official example hashes the plain table; the manual does not say which it is for GZIP, so
    either counts.
    """
    if sha1.lower() not in (_plain_hash(file), hashlib.sha1(file, usedforsecurity=False).hexdigest()):
        raise ProviderUnreachable("wechatpay's bill is not the one that was announced")


def read_trades(file: bytes, owner: tuple[str, str] | None = None) -> Iterator[BillLine]:
    """Yield the lines of a trade bill, plain or gzip, in its order.

    A line of another than ``owner`` is marked as such: a merchant's number, and that of the one it serves or
    nothing.  Last comes what of its totals is wrong.  Raises ProviderUnreachable for anything that is not
    such a bill, and at its end if the end is not there.
    """
    added, payments = Added(), 0
    for number, row in _rows(file, _TRADE_NEEDED, _GOODS):
        if isinstance(row, UnreadLine):
            added.unread += 1
            yield row
            continue
        if isinstance(row, _Foot):
            yield from _wrong_totals(row, number, added, payments)
            continue
        added.add({name: row[name] for name in _TOTALS.values() if name in row})
        payments += row[_STATE] == "SUCCESS"
        try:
            line = _trade(row, number, owner)
        except (ValueError, OverflowError, KeyError) as error:
            yield UnreadLine(number, str(error), ",".join(row.values()))
            continue
        if line is not None:
            yield line


def read_funds(file: bytes) -> Iterator[FundLine]:
    """Yield the lines of a fund flow bill, plain or gzip, in its order.  Raises ProviderUnreachable."""
    for number, row in _rows(file, _FLOW_NEEDED, _FLOW_REMARK):
        if isinstance(row, UnreadLine):
            raise _unreadable(number)
        if isinstance(row, _Foot):
            continue
        try:
            yield _flow(row)
        except (ValueError, OverflowError, KeyError) as error:
            raise _unreadable(number) from error


def _plain_hash(file: bytes) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    try:
        with _plain(file) as plain:
            while chunk := plain.read(CHUNK_BYTES):
                size += len(chunk)
                if size > UNPACKED_BYTES_MAX:
                    raise ProviderUnreachable("wechatpay's bill is too large to unpack")
                digest.update(chunk)
    except _BROKEN as error:
        raise ProviderUnreachable("wechatpay's bill cannot be unpacked") from error
    return digest.hexdigest()


def _plain(file: bytes) -> io.BytesIO | gzip.GzipFile:
    packed = io.BytesIO(file)
    return gzip.GzipFile(fileobj=packed) if file.startswith(_GZIP_MAGIC) else packed


def _rows(
    file: bytes, needed: frozenset[str], text: str
) -> Iterator[tuple[int, Mapping[str, str] | UnreadLine | _Foot]]:
    """Number and cells of each data line, then the foot.  ``text`` is the column that may hold separators."""
    header: list[str] = []
    lines = _lines(file)
    for number, line in lines:
        if line.startswith("`"):
            cells = [cell.strip() for cell in line[1:].split(",`")]
            if not header or text not in header:
                raise _unreadable(number)
            if len(cells) < len(header):
                yield number, UnreadLine(number, f"{len(cells)} of {len(header)} columns", line)
            else:
                yield number, dict(zip(header, _fitted(cells, header, text), strict=True))
        elif not header:
            header = [cell.strip().replace("（", "(").replace("）", ")") for cell in line.split(",")]
            if not needed.issubset(header):
                raise ProviderUnreachable("wechatpay's bill lacks a column we need")
        elif line.startswith(_SUMMARIES):
            yield _foot(line, lines)
            return
        else:
            yield number, UnreadLine(number, "no line of the table", line)
    raise ProviderUnreachable("wechatpay's bill has no end")


def _foot(names: str, lines: Iterator[tuple[int, str]]) -> tuple[int, _Foot]:
    """Raises ProviderUnreachable where the totals are missing: the table was cut short."""
    number, line = next(lines, (0, ""))
    if not line.startswith("`"):
        raise ProviderUnreachable("wechatpay's bill has no end")
    return number, _Foot(dict(zip(_cells_of(names), _cells_of(line.replace("`", "")), strict=False)))


def _wrong_totals(foot: _Foot, number: int, added: Added, payments: int) -> Iterator[WrongTotals]:
    # The manual does not say whether a refund counts; if not, the sums of refunds tell of one that is lost.
    found = list(added.wrong_count(_TRADE_COUNT, foot.stated.get(_TRADE_COUNT, ""), payments))
    for name, column in _TOTALS.items():
        if name in foot.stated and column in added.sums:
            found += added.wrong_sum(name, foot.stated[name], column)
    if found:
        yield WrongTotals(number, "; ".join(found))


def _cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


def _lines(file: bytes) -> Iterator[tuple[int, str]]:
    """The lines that are not empty.  Where lines end with CRLF, a lone newline is part of a text."""
    try:
        with _plain(file) as plain:
            newline = "\r\n" if plain.readline(CHUNK_BYTES).endswith(b"\r\n") else "\n"
        with io.TextIOWrapper(_plain(file), encoding="utf-8-sig", errors="replace", newline=newline) as lines:
            for number, line in enumerate(lines_of(lines), start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except _BROKEN as error:
        raise ProviderUnreachable("wechatpay's bill cannot be unpacked") from error


def _fitted(cells: list[str], header: list[str], text: str) -> list[str]:
    """Nothing is quoted, so a text that holds a separator makes too many cells: rejoin them.

    Payers' and shops' texts stand side by side, with money on both sides: what is too much is theirs.
    """
    surplus = len(cells) - len(header)
    at = header.index(text)
    return [*cells[:at], ",`".join(cells[at : at + surplus + 1]), *cells[at + surplus + 1 :]]


def _trade(row: Mapping[str, str], number: int, owner: tuple[str, str] | None) -> StatementLine | None:
    """One row, None for a refund that failed: no money moved.  Raises ValueError, KeyError."""
    currency, state = row[_CURRENCY], row[_STATE]
    back = Money.from_major(row.get(_REFUND_AMOUNT) or "0", currency)
    kind = KINDS.get(state)
    if kind is None:
        # Kept, by its amounts: reconciliation then shows it as a difference instead of nobody seeing it.
        log.warning("wechatpay: unknown kind of bill line", extra={"kind": state[:32]})
        kind = "refund" if back.minor else "payment"
    if kind == "refund" and not row.keys() >= _REFUND_NEEDED:
        raise ValueError("a refund without its columns")
    if kind == "refund" and row.get(_REFUND_STATE) == "FAIL":
        return None
    is_open = kind == "refund" and row.get(_REFUND_STATE) != "SUCCESS"
    amount = Money.from_major(row[_AMOUNT], currency) if kind == "payment" else back
    return StatementLine(
        kind=kind,
        out_trade_no=row[_OUT_TRADE_NO],
        provider_ref=row[_TRADE_NO],
        amount=amount if kind == "payment" else Money(-abs(amount.minor), currency),
        # What WeChat Pay keeps is positive there, and what it gives back with a refund negative.
        fee=Money(-_rounded(row[_FEE] or "0", currency).minor, currency),
        happened_at=clock.from_beijing(row[_AT]),
        # A payment by code that was reversed has no number of a refund.
        out_refund_no=row[_REFUND_NO].strip("0") and row[_REFUND_NO] if kind == "refund" else None,
        is_open=is_open,
        is_foreign=owner is not None and not _is_of(row, *owner),
        number=number,
        raw=row,
    )


def _is_of(row: Mapping[str, str], mchid: str, sub_mchid: str) -> bool:
    """Whether a line is of this merchant.  A service provider's own bill has its sub-merchants' lines, too.

    Source: WeChat Pay API v3, trade bill of a service provider: without sub_mchid, all of them.
    """
    named = row.get(_SUB_MCHID, "")
    return row.get(_MCHID, "") == mchid and (named if named.strip("0") else "") == sub_mchid


def _flow(row: Mapping[str, str]) -> FundLine:
    """One row.  Raises ValueError, KeyError."""
    amount = Money.from_major(row[_FLOW_AMOUNT], "CNY")
    return FundLine(
        happened_at=clock.from_beijing(row[_FLOW_AT]),
        provider_ref=row[_FLOW_TRADE_NO],
        flow_no=row[_FLOW_NO],
        name=row[_FLOW_NAME],
        kind=row[_FLOW_KIND],
        amount=Money(_SIGNS[row[_FLOW_WAY]] * abs(amount.minor), "CNY"),
        balance=Money.from_major(row[_FLOW_BALANCE], "CNY"),
        remark=row[_FLOW_REMARK],
        voucher=row[_FLOW_VOUCHER],
        raw=row,
    )


def _rounded(text: str, currency: str) -> Money:
    """Fees have five decimals (``0.12000``); what is less than a fen is rounded.  Raises ValueError."""
    if _FRACTIONS.fullmatch(text) is None:
        raise ValueError(f"{text[:32]!r} is not a decimal amount")
    return Money.from_major(str(Decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP)), currency)


def _unreadable(number: int) -> ProviderUnreachable:
    return ProviderUnreachable(f"line {number} of wechatpay's bill cannot be read")
