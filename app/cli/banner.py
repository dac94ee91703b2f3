"""What ``flask serve`` prints once everything answers."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from app.cli.children import ROOT
from app.cli.demo import PRICE, Demo
from app.cli.output import aligned, qr_code
from app.config import Settings


def demo_banner(settings: Settings, shop: Demo) -> str:
    """All that a newcomer needs: where to sign in, what to scan, what to try."""
    flask, api = _flask(), f"{shop.base_url}/v1"
    places = [
        ("Dashboard", f"{click.style(shop.sign_in_url, bold=True)}   (signs you in once)"),
        ("API key", shop.api_key),
        ("Sandbox", f"{shop.sandbox_url}/   (the networks, a shopper's phone, a webhook receiver)"),
        ("All of this", str(settings.data / "demo.json")),
    ]
    charge = [("Scan to pay", f"{PRICE.text()}  {click.style(shop.charge_url, bold=True)}")]
    if "127.0.0.1" in shop.base_url or "localhost" in shop.base_url:
        charge.append(("", "from a phone on the same network: HOST=0.0.0.0 make run"))
    tries = [
        ("Pay it", f"{flask} simulate pay   (--as wechat --provider wechatpay, …)"),
        ("Look at it", f'curl -H "Authorization: Bearer {shop.api_key}" {api}/charges/{shop.charge_id}'),
        ("Another", f"{flask} charge create --amount 9.90 --description Espresso"),
        ("All well?", f"{flask} doctor"),
    ]
    parts = [
        click.style("Mafu is running.", bold=True) + "  Demo mode: no real money moves.",
        "码付已启动。演示模式，不涉及真实资金。用登录链接打开后台，或扫描下面的二维码付款。",
        "",
        aligned(places),
        "",
        aligned(charge),
        "",
        qr_code(shop.charge_url),
        "",
        aligned(tries),
        "",
        "Ctrl-C stops everything; your data stays.  按 Ctrl-C 停止，数据会保留。",
    ]
    return "\n" + "\n".join(f"  {line}".rstrip() for line in "\n".join(parts).split("\n")) + "\n"


def live_banner(settings: Settings) -> str:
    """Two lines: a service manager's log wants no more."""
    return f"Mafu is running at {settings.origin} (live mode).\nCtrl-C or SIGTERM stops everything."


def _flask() -> str:
    """How to say ``flask`` in a second terminal, where this one's environment is not set."""
    program = Path(sys.prefix, "bin", "flask")
    if program.is_relative_to(ROOT):
        program = program.relative_to(ROOT)
    data = os.environ.get("MAFU_DATA")
    return f"MAFU_DATA={shlex.quote(data)} {program}" if data else str(program)
