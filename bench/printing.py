"""``python -m bench.printing``: how long a series of 500 codes takes on paper, and how large its file is."""

from __future__ import annotations

import time

from app.qr.print.card import Card, Words
from app.qr.print.preflight import preflight
from app.qr.print.shop import CARDS_MAX, Kind, draw

# The most that a person who clicks "download" should wait, from a cold start.
GOAL_S = 10.0
KINDS = (Kind.LABELS_24, Kind.LABELS_12, Kind.A6, Kind.THERMAL_80)
WORDS = (
    Words("zh", "扫码付款", "支付宝、微信支付、云闪付", "付款前请核对收款方和金额。"),
    Words(
        "en", "Scan to pay", "Alipay, WeChat Pay, UnionPay", "Check the payee and the amount before you pay."
    ),
)


def main() -> None:
    """Print one line a printable."""
    cards = [
        Card(
            f"https://PAY.EXAMPLE.COM/P/{number:04}9QXT4B",
            "晨光咖啡馆",
            WORDS,
            label=f"桌号 {number}",
            code=f"{number:04}-9QXT-4B",
        )
        for number in range(1, CARDS_MAX + 1)
    ]
    for kind in KINDS:
        start = time.perf_counter()
        printed = draw(kind, cards)
        drawn = time.perf_counter()
        verdict = preflight(kind, cards)
        judged = time.perf_counter()
        goal = "met" if drawn - start < GOAL_S else "missed"
        print(
            f"{kind:>10}: {len(cards)} codes in {drawn - start:5.2f} s ({GOAL_S:.0f} s {goal}),"
            f" {len(printed.body):>9,} bytes;"
            f" pre-flight {judged - drawn:.2f} s, {'read' if verdict.passed else 'NOT READ'}"
        )


if __name__ == "__main__":
    main()
