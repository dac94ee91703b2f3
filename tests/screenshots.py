"""The pictures of the documentation, taken of the application itself: ``python -m tests.screenshots``.

The shop is the demo's after two weeks of trade, on a working day at twenty to four.  The browser believes to
be at https://pay.example.com, as a merchant's would be at theirs; nothing leaves this machine.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import click
import flask_migrate
from flask import Flask
from PIL import Image
from playwright.sync_api import Browser, Page, Route, sync_playwright

from app import clock, worker
from app.charges import lifecycle
from app.charges.commands import NewCharge
from app.charges.lifecycle import ChargeFilter
from app.charges.overview import overview_of
from app.charges.present import link_of
from app.charges.states import ChargeState
from app.cli import demo, trade
from app.clock import BEIJING
from app.codes import codes, search
from app.codes.search import CodeFilter
from app.codes.terms import LabelKind, Terms
from app.db import transaction
from app.merchants import accounts, people
from app.money import Money
from tests.checkout.networks import open_wallets
from tests.checkout.test_browser import CHROMIUM, FLAGS, serving
from tests.conftest import ROOT, Shop, running, settings_for
from tests.live import PHONE, wait_until
from tests.providers import alipay_forge

FOLDER = ROOT / "docs/img"
ORIGIN = "https://pay.example.com"
PASSWORD = "a password for pictures only"
DESKTOP, POCKET = {"width": 1200, "height": 800}, {"width": 390, "height": 760}
TALL = {"width": 1200, "height": 1050}
ON_TALL = ("print-stand", "print-labels", "branding", "code-new", "charge")
LOCALES = {"zh": "zh-CN", "en": "en-GB"}
COLOURS = 128  # a page has few: a quarter of the bytes, and nobody sees it
_AFTERNOON_S = (15 * 60 + 40) * 60


def main() -> None:
    """Take them all, in both languages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    real = clock.now
    midnight = real().astimezone(BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
    moved = midnight + timedelta(seconds=_AFTERNOON_S) - real()
    with TemporaryDirectory() as data, _application(Path(data)) as app, sync_playwright() as play:
        clock.now = lambda: real() + moved
        shop = _open_shop()
        with serving(app) as port, _working(app, shop):
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for language, locale in LOCALES.items():
                for name, picture in _pictures(browser, port, shop, locale):
                    _keep(picture, folder / f"{name}.{language}.png")
            browser.close()
        _overview(folder)
        (folder / "stand.zh.png").unlink()
        (folder / "stand.en.png").unlink()
        clock.now = real


@contextmanager
def _application(data: Path) -> Iterator[Flask]:
    url = f"sqlite:///{data / 'mafu.sqlite3'}"
    with running(settings_for(url, data, base_url=ORIGIN)) as app:
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        yield app


@contextmanager
def _working(app: Flask, shop: Shop) -> Iterator[None]:
    """With a worker, which has caught up."""
    is_over = threading.Event()
    thread = threading.Thread(target=worker.run, args=(app, is_over.is_set))
    thread.start()
    try:
        wait_until(lambda: overview_of(shop.id, livemode=False).health.late_since is None)
        yield
    finally:
        is_over.set()
        thread.join()


def _open_shop() -> Shop:
    merchant_id, user_id = people.add_merchant(demo.NAME, email=demo.EMAIL, password=PASSWORD)
    account_id = accounts.add_account(
        merchant_id, "alipay", livemode=False, name="支付宝", settings=alipay_forge.KEY_MODE
    )
    shop = Shop(merchant_id, user_id, demo.EMAIL, PASSWORD, "", account_id)
    open_wallets(shop)
    for row in accounts.list_accounts(merchant_id, livemode=False):
        settings = accounts.settings_of(row.id)
        accounts.add_account(merchant_id, row.provider, livemode=True, name=row.name, settings=settings)
    trade.fill(merchant_id)
    return shop


def _pictures(browser: Browser, port: int, shop: Shop, locale: str) -> Iterator[tuple[str, bytes]]:
    desk = _window(browser, port, locale, viewport=DESKTOP)
    desk.goto(f"{ORIGIN}/sign-in")
    yield "sign-in", desk.screenshot()
    desk.locator("input[name=email]").fill(shop.email)
    desk.locator("input[name=password]").fill(shop.password)
    desk.locator("form button").first.click()
    desk.wait_for_url(f"{ORIGIN}/")
    for name, path in _rooms(shop).items():
        desk.set_viewport_size(TALL if name in ON_TALL else DESKTOP)
        desk.goto(ORIGIN + path)
        yield name, desk.screenshot()
        if name == "print-stand":
            yield "stand", desk.locator("img.sheet").screenshot()
    desk.context.close()
    hand = _window(browser, port, locale, viewport=POCKET, user_agent=PHONE, device_scale_factor=2)
    for name, address in _shoppers_pages(shop).items():
        hand.goto(address)
        yield name, hand.screenshot()
    hand.context.close()


def _rooms(shop: Shop) -> dict[str, str]:
    rows, _ = search.list_codes(shop.id, CodeFilter(limit=100), livemode=False)
    counter = next(row for row in rows if row.label_kind == LabelKind.TERMINAL and row.disabled_at is None)
    tables = next(row.series_id for row in rows if row.series_id)
    paid, _ = lifecycle.list_charges(
        shop.id, livemode=False, wanted=ChargeFilter(status=ChargeState.PAID, limit=1)
    )
    with transaction() as tx:
        terms = Terms("前台收款", label_kind=LabelKind.TERMINAL, label_text="1")
        real = codes.create_code(tx, shop.id, terms, livemode=True)
    return {
        "home": "/?mode=test",
        "code-new": "/codes/new",
        "code": f"/codes/{counter.id}",
        "print-stand": f"/codes/{real.id}/print?mode=live",
        "print-labels": f"/codes/series/{tables}/print?kind=labels21&start=4&mode=test",
        "charges": "/charges",
        "charge": f"/charges/{paid[0].id}",
        "refund": f"/charges/{paid[0].id}/refund",
        "counter": "/counter",
        "cashier": "/cashier",
        "team": "/team",
        "branding": "/settings/branding",
    }


def _shoppers_pages(shop: Shop) -> dict[str, str]:
    rows, _ = search.list_codes(shop.id, CodeFilter(limit=100), livemode=False)
    table = next(row for row in rows if row.label_text == "7")
    new = NewCharge(Money(3850, "CNY"), "两杯拿铁与一块巴斯克蛋糕")
    charge = lifecycle.open_charge(shop.id, livemode=False, new=new)
    return {
        "scan": f"{ORIGIN}/P/{table.code}",
        "checkout": link_of(charge).replace("PAY.EXAMPLE.COM", "pay.example.com"),
        "verify": f"{ORIGIN}/v/{table.code}",
    }


def _window(browser: Browser, port: int, locale: str, **more: Any) -> Page:
    """A page at our origin, whose requests go to the application on its port."""
    context = browser.new_context(locale=locale, **more)
    context.route(f"{ORIGIN}/**", _led_to(port))
    return context.new_page()


def _led_to(port: int) -> Callable[[Route], None]:
    def lead(route: Route) -> None:
        parts = urlsplit(route.request.url)
        there = parts._replace(scheme="http", netloc=f"127.0.0.1:{port}").geturl()
        route.fulfill(response=route.fetch(url=there, max_redirects=0))

    return lead


def _keep(data: bytes, path: Path) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_bytes(data)
    with Image.open(draft) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)
    draft.unlink()
    click.echo(f"{path}  {path.stat().st_size // 1024} kB")


def _overview(folder: Path) -> None:
    """A shopper's phone, the print shop and the merchant's desk, side by side."""
    height, gap = 800, 32
    shown = []
    for name in ("scan.zh", "stand.zh", "home.zh"):
        with Image.open(folder / f"{name}.png") as picture:
            whole = picture.convert("RGB")
        shown.append(
            whole.resize((round(whole.width * height / whole.height), height), Image.Resampling.LANCZOS)
        )
    canvas = Image.new(
        "RGB", (sum([each.width for each in shown]) + gap * (len(shown) + 1), height + 2 * gap), "#dfe4ec"
    )
    across = gap
    for each in shown:
        canvas.paste(each, (across, gap))
        across += each.width + gap
    canvas.quantize(COLOURS, dither=Image.Dither.NONE).save(folder / "overview.png", "PNG", optimize=True)


if __name__ == "__main__":
    main()
