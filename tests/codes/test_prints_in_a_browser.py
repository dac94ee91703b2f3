"""From an empty dashboard to money on table 7: printed, read off the paper, paid, counted, re-priced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.charges.models import Charge
from tests.books import rows_of
from tests.checkout.conftest import DESKTOP, attempts_of
from tests.checkout.test_browser import CHROMIUM, chromium, serving  # noqa: F401 - a fixture
from tests.conftest import Shop
from tests.qr.print.readers import zxing
from tests.qr.print.samples import needs_poppler, pixels_of_pdf, told_by

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
    needs_poppler,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


def test_a_series_is_printed_scanned_paid_counted_and_re_priced_on_the_same_paper(
    app,
    merchant,
    far_side,
    chromium,  # noqa: F811
):
    with serving(app) as port:
        desk = at_the_desk(chromium, f"http://127.0.0.1:{port}", merchant)
        sheet = prints_a_series(desk)
        addresses = zxing(pixels_of_pdf(sheet, 300))
        assert len(addresses) == 12
        tables = re.findall(r"(\d+) 号桌", told_by("pdftotext", sheet))
        assert sorted(tables, key=int) == [str(number) for number in range(1, 13)]
        code = min(addresses).rpartition("/")[2]

        phone = chromium.new_page(user_agent=DESKTOP, locale="en-GB")
        phone.goto(f"http://127.0.0.1:{port}/P/{code}")
        phone.get_by_label("How much do you pay?").fill("12.50")
        phone.get_by_role("button", name="Go on to pay").click()
        phone.get_by_role("button", name="Pay ¥12.50 with Alipay").click()
        expect(phone.get_by_role("heading", name="Open Alipay and scan")).to_be_visible()
        [charge] = rows_of(Charge)
        far_side.pay(attempts_of(charge)[0].out_trade_no)
        expect(phone.get_by_role("heading", name="Paid")).to_be_visible(timeout=10000)

        desk.goto(f"/codes/{charge.qr_code_id}")
        for what, count in (("Scans", "1"), ("Payments", "1"), ("Takings", "¥12.50")):
            row = desk.locator(f"dt:text-is('{what}') + dd")
            expect(row).to_have_text(re.compile(rf"^{re.escape(count)}\b"))

        desk.get_by_role("link", name="Change", exact=True).click()
        desk.get_by_label("A fixed price").check()
        desk.get_by_label("Price", exact=True).fill("18")
        desk.get_by_role("button", name="Save").click()
        phone.goto(f"http://127.0.0.1:{port}/P/{code}")
        phone.get_by_role("button", name="Pay ¥18.00").click()
        expect(phone.get_by_role("heading", name="¥18.00")).to_be_visible()
        phone.context.close()
        desk.context.close()


def at_the_desk(browser: Browser, origin: str, shop: Shop) -> Page:
    page = browser.new_context(base_url=origin, locale="en-US").new_page()
    page.goto("/sign-in?next=/codes")
    page.get_by_label("E-mail address").fill(shop.email)
    page.get_by_label("Password").fill(shop.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    return page


def prints_a_series(desk: Page) -> bytes:
    """Tables 1 to 12, on the sheet of labels that is offered first."""
    desk.get_by_role("link", name="New series").click()
    desk.get_by_label("Name", exact=True).fill("堂食")
    desk.get_by_label("Name of the series").fill("大堂")
    desk.get_by_label("Last number").fill("12")
    desk.get_by_role("button", name="Make the series").click()
    desk.get_by_role("link", name="Print the series").click()
    expect(desk.get_by_text("Phones read it")).to_be_visible()
    with desk.expect_download() as download:
        desk.get_by_role("link", name="PDF").click()
    return Path(download.value.path()).read_bytes()
