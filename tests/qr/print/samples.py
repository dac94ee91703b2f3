"""Cards to print, and printed files as pixels by somebody else's renderer."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image, ImageDraw

from app.qr.print.card import Card, Look, Words
from app.qr.print.logo import read_logo

needs_poppler = pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="no poppler-utils")

ZH = Words(
    "zh",
    "扫码付款",
    "支付宝、微信支付、云闪付",
    "付款前请核对收款方和金额。",
    "测试：不会真实扣款",
    "金额由您输入",
    "这是谁的收款码？",
)
EN = Words(
    "en",
    "Scan to pay",
    "Alipay, WeChat Pay, UnionPay",
    "Check the payee and the amount before you pay.",
    "TEST: no money moves",
    "You type the amount",
    "Whose code is this?",
)
WORDS = {"zh": (ZH,), "en": (EN,), "both": (ZH, EN)}

# A printed code's address is short, a charge's long: 29 and 37 modules at level Q.
CODE = Card(
    "https://PAY.EXAMPLE.COM/P/7K2M9QXT4CWJ",
    "晨光咖啡馆·武康路店",
    (ZH, EN),
    label="前台 1 号",
    code="7K2M-9QXT-4CWJ",
    serial="2026-11-30",
    verify="pay.example.com/v",
    open=True,
)
CHARGE = Card(
    "https://PAY.EXAMPLE.COM/C/01JD3W6J7HK8QZ4V9X2B5N7M0T01JD3W6J7HK8QZ4V9X2B5N7M0T",
    "晨光咖啡馆",
    (ZH, EN),
    amount="¥12.50",
    label="拿铁咖啡，大杯，两份",
    note="有效期至 / Valid until 2026-12-01 12:00 (UTC+8)",
    serial="ch_01jd3w6j7hk8qz4v9x2b5n7m0t",
    test=True,
)
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def series(count: int, card: Card = CODE) -> list[Card]:
    """Tables 1 to ``count``, each with an address of its own."""
    return [
        replace(card, address=f"{card.address[:-2]}{n:02}", label=f"桌号 {n}") for n in range(1, count + 1)
    ]


@lru_cache(maxsize=1)
def look_with_logo() -> Look:
    """A colourful logo, larger than it will be."""
    picture = Image.new("RGBA", (600, 400), (255, 255, 255, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 580, 380), fill="#c0392b")
    draw.rectangle((200, 150, 400, 250), fill="#f1c40f")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return Look(ink="#10224d", accent="#7a1f2b", logo=read_logo(out.getvalue()))


def pixels_of_pdf(data: bytes, dpi: int, page: int = 1) -> Image.Image:
    """A page in grey, by poppler."""
    with TemporaryDirectory() as folder:
        source = Path(folder, "print.pdf")
        source.write_bytes(data)
        target = Path(folder, "page")
        only = ["-f", str(page), "-l", str(page), "-singlefile", "-r", str(dpi), "-gray"]
        subprocess.run(["pdftoppm", *only, str(source), str(target)], check=True, timeout=60)
        with Image.open(target.with_suffix(".pgm")) as picture:
            picture.load()
            return picture


def told_by(program: str, data: bytes, *options: str) -> str:
    """What one of poppler's programs says of a PDF."""
    done = subprocess.run(
        [program, *options, "-", *(["-"] if program == "pdftotext" else [])],
        input=data,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout.decode()
