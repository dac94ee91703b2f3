"""What UnionPay's settlement file says: fixed columns in GBK, in a zip, in zlib, in base64.  Pure.

Two tables count.  ZM lists the day's transactions.  ZME lists errors and adjustments, which name no order
of ours: they are handed on without one, so that reconciliation shows them to a person.
Source: UnionPay ACP 5.1.0, part 3 (files), 6.1 ZM and 6.2 ZME.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import count
from typing import IO

from app.clock import BEIJING
from app.errors import ProviderUnreachable
from app.money import Money
from app.providers import unionpay_wire
from app.providers.base import BillLine, StatementLine, UnreadLine

log = logging.getLogger(__name__)

# A merchant of a million payments a day has a table of about 600 MB; more is a bomb.
UNPACKED_BYTES_MAX = 1 << 30
# The zip itself, out of its zlib wrapping, cannot be much larger than what came over the wire.
ZIP_BYTES_MAX = 64 << 20
ENTRIES_MAX = 32
LINE_BYTES_MAX = 4096

ZM = (
    *(("code", 3), ("acquirer", 11), ("sender", 11), ("traceNo", 6), ("traceTime", 10), ("accNo", 19)),
    *(("txnAmt", 12), ("mcc", 4), ("termType", 2), ("queryId", 21), ("oldPayType", 2), ("orderId", 32)),
    *(("payCardType", 2), ("origTraceNo", 6), ("origTraceTime", 10), ("fee", 13), ("settleAmt", 13)),
    *(("payType", 4), ("groupMerId", 15), ("txnType", 2), ("txnSubType", 2), ("bizType", 6), ("accType", 2)),
    *(("billType", 4), ("billNo", 32), ("interactMode", 1), ("origQryId", 21), ("merId", 15)),
    *(
        ("splitMode", 1),
        ("subMerId", 15),
        ("subMerAbbr", 32),
        ("splitAmt", 13),
        ("netAmt", 13),
        ("termId", 8),
    ),
    *(("merReserved", 32), ("discountAmt", 13), ("invoiceAmt", 13), ("instalmentFee", 12)),
    *(("instalments", 2), ("medium", 1), ("origOrderId", 32), ("reserved", 98)),
)
# Lines may come with their trailing blanks cut off; what is needed ends before.
_ZM_NEEDED = "netAmt"
# The manual's widths; only the columns that ZM has in the same order are named.
ZME = (
    *(("code", 3), ("acquirer", 11), ("sender", 11), ("traceNo", 6), ("traceTime", 10), ("accNo", 19)),
    *(("txnAmt", 12), ("mcc", 4), ("termType", 2), ("column10", 2), ("origTraceNo", 6)),
    *(("origTraceTime", 10), ("column13", 4), ("column14", 12), ("fee", 13), ("settleAmt", 13)),
    *(("merId", 15), ("column18", 15), ("column19", 1), ("column20", 12), ("column21", 2), ("reserved", 135)),
)
_ZME_NEEDED = "settleAmt"

KINDS = {"01": "payment", "04": "refund", "31": "refund"}

_TABLE = re.compile(r"(?:.*/)?INN([0-9]{6})[0-9]{2}(ZME?)_[0-9A-Za-z]+(?:\.txt)?")
_FILE_DAY = re.compile(r".*_([0-9]{8})\.zip", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{12}")
_SIGNED = re.compile(r"([CD])([0-9]{12})")
_BROKEN = (zipfile.BadZipFile, zlib.error, binascii.Error, EOFError, NotImplementedError, RuntimeError)


def unwrapped(content: str, name: str, day: date) -> bytes:
    """The zip out of an answer's ``fileContent``.  Raises ProviderUnreachable, also for another day's."""
    named = _FILE_DAY.fullmatch(name)
    if named is not None and named[1] != f"{day:%Y%m%d}":  # asked for by month and day, without a year
        raise ProviderUnreachable("unionpay's settlement file is of another day")
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(base64.b64decode("".join(content.split()), validate=True), ZIP_BYTES_MAX)
        if not unpacker.eof:  # cut short, or too much of it
            raise EOFError
    except _BROKEN as error:
        raise ProviderUnreachable("unionpay's settlement file cannot be unpacked") from error
    return packed


def read_file(archive: bytes, mer_id: str, day: date) -> Iterator[BillLine]:
    """Yield the lines of the tables in a settlement file's zip, in their order.

    A line of another merchant is marked as such.  Raises ProviderUnreachable for anything that is not the
    file of this day.
    """
    numbers = count(1)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
            for entry, is_detail in _tables(bundle, day):
                with bundle.open(entry) as packed:
                    yield from _lines(packed, numbers, mer_id, day, is_detail=is_detail)
    except _BROKEN as error:
        raise ProviderUnreachable("unionpay's settlement file cannot be unpacked") from error


def _tables(bundle: zipfile.ZipFile, day: date) -> list[tuple[zipfile.ZipInfo, bool]]:
    """The entries that are tables, and whether each is a ZM."""
    entries = bundle.infolist()
    if len(entries) > ENTRIES_MAX or sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
        raise ProviderUnreachable("unionpay's settlement file is too large to unpack")
    found = []
    for entry in entries:
        match = _TABLE.fullmatch(entry.filename)
        if match is None:  # the report for people
            continue
        if match[1] != f"{day:%y%m%d}":
            raise ProviderUnreachable("unionpay's settlement file is of another day")
        found.append((entry, match[2] == "ZM"))
    if not any(is_detail for _, is_detail in found):
        raise ProviderUnreachable("unionpay's settlement file holds no table of transactions")
    return found


def _lines(
    table: IO[bytes], numbers: Iterator[int], mer_id: str, day: date, *, is_detail: bool
) -> Iterator[BillLine]:
    """``numbers`` go on from one table to the next."""
    noon = datetime.combine(day, time(12), BEIJING).astimezone(UTC)
    while line := table.readline(LINE_BYTES_MAX):
        number, line = next(numbers), line.rstrip(b"\r\n\x1a")
        if not line.strip():
            continue
        try:
            columns = _columns(line, *((ZM, _ZM_NEEDED) if is_detail else (ZME, _ZME_NEEDED)))
            read = (_transaction if is_detail else _adjustment)(columns, noon)
            is_foreign = is_detail and columns["merId"] != mer_id
            yield replace(read, number=number, is_foreign=is_foreign)
        except (ValueError, OverflowError) as error:
            yield UnreadLine(number, str(error), line.decode("gb18030", "replace"))


def _columns(line: bytes, layout: Sequence[tuple[str, int]], needed: str) -> dict[str, str]:
    """Cut a line by bytes: a Chinese letter is two, and a name may be cut through one.  Raises ValueError.

    A blank must stand between columns: where it does not, everything behind has moved.
    """
    columns: dict[str, str] = {}
    at, wanted = 0, True
    for name, width in layout:
        if wanted and (len(line) < at + width or line[at + width : at + width + 1] not in (b" ", b"")):
            raise ValueError(f"no column {name}")
        columns[name] = line[at : at + width].decode("gb18030", "replace").strip()
        at += width + 1
        wanted = wanted and name != needed
    if len(line.rstrip()) > at:
        raise ValueError("longer than the manual's")
    return columns


def _transaction(columns: Mapping[str, str], noon: datetime) -> StatementLine:
    """A line of ZM.  A refund is a transaction of its own and names the payment's number behind."""
    sign, _ = _signed(columns["settleAmt"])
    kind = KINDS.get(columns["txnType"])
    if kind is None:
        # Kept, by its sign: reconciliation then shows it as a difference instead of nobody seeing it.
        log.warning("unionpay: unknown kind of file line", extra={"txn_type": columns["txnType"]})
        kind = "refund" if sign < 0 else "payment"
    amount = _amount(columns["txnAmt"])
    leaves = kind == "refund" or sign < 0
    return StatementLine(
        kind=kind,
        out_trade_no=columns["origOrderId"] if kind == "refund" else columns["orderId"],
        provider_ref=columns["queryId"],
        amount=Money(-amount if leaves else amount, "CNY"),
        fee=_fee(columns["fee"]),
        happened_at=unionpay_wire.moment_near(columns["traceTime"], noon),
        out_refund_no=columns["orderId"] if kind == "refund" else None,
        raw=columns,
    )


def _adjustment(columns: Mapping[str, str], noon: datetime) -> StatementLine:
    """A line of ZME, which has no order's number; its trace number is all there is to find it by."""
    sign, _ = _signed(columns["settleAmt"])
    log.warning("unionpay: the file holds an adjustment", extra={"trace_no": columns["traceNo"]})
    return StatementLine(
        kind="refund" if sign < 0 else "payment",
        out_trade_no="",
        provider_ref=columns["traceNo"],
        amount=Money(sign * _amount(columns["txnAmt"]), "CNY"),
        fee=_fee(columns["fee"]),
        happened_at=unionpay_wire.moment_near(columns["traceTime"], noon),
        raw=columns,
    )


def _amount(text: str) -> int:
    """Fen, without a sign.  Raises ValueError."""
    if _DIGITS.fullmatch(text) is None:
        raise ValueError(f"{text[:16]!r} is not an amount")
    return int(text)


def _signed(text: str) -> tuple[int, int]:
    """``"D000000000012" -> (-1, 12)``: C comes to the merchant, D leaves.  Raises ValueError."""
    match = _SIGNED.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:16]!r} is not an amount with its sign")
    return (1 if match[1] == "C" else -1), int(match[2])


def _fee(text: str) -> Money:
    sign, minor = _signed(text) if text else (1, 0)
    return Money(sign * minor, "CNY")
