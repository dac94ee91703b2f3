"""Yuan as the networks write it, fen as the trade book keeps it: integers, no float anywhere."""

from __future__ import annotations

import re

FEN_MAX = 10_000_000_000  # 100 million yuan: the largest total_amount that Alipay takes.

_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)


def fen_of(text: str) -> int:
    """``"12.5" -> 1250``.  Pure.  Raises ValueError for a third decimal, and above the cap."""
    match = _YUAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:32]!r} is not an amount in yuan")
    fen = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if fen > FEN_MAX:
        raise ValueError(f"{text[:32]!r} is above the largest amount")
    return fen


def yuan_of(fen: int) -> str:
    """``1250 -> "12.50"``, ``-5 -> "-0.05"``.  Pure."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"
