"""A bill that was brought by hand may be a bomb."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import date

import pytest

from app.errors import ProviderUnreachable
from app.providers import alipay_bill, bill_text, wechatpay_bill
from app.providers.base import BillLine
from tests.providers import alipay_forge, wechatpay_forge

BOMB = b"x" * (32 << 20)


def alipay_bomb() -> Iterator[BillLine]:
    packed = io.BytesIO()
    header = ",".join(alipay_forge.BILL_COLUMNS).encode("gbk")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("bill.csv", header + b"\r\n" + BOMB)
    return alipay_bill.read_bill(packed.getvalue(), day=date(2026, 1, 15))


def wechatpay_bomb() -> Iterator[BillLine]:
    header = wechatpay_forge.TRADE_HEADER.encode()
    return wechatpay_bill.read_trades(gzip.compress(header + b"\r\n`" + BOMB))


@pytest.mark.parametrize("bomb", [alipay_bomb, wechatpay_bomb])
def test_one_line_without_end_is_not_taken_into_memory(bomb) -> None:
    lines = bomb()
    tracemalloc.start()
    try:
        with pytest.raises(ProviderUnreachable, match="too large"):
            list(lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_many_lines_are_too_many_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill_text, "UNPACKED_CHARS_MAX", 1 << 20)
    header = wechatpay_forge.TRADE_HEADER.encode()
    many = gzip.compress(header + b"\r\n" + b"`x\r\n" * (1 << 20))
    with pytest.raises(ProviderUnreachable, match="too large"):
        for _ in wechatpay_bill.read_trades(many):
            pass
