"""The keypad in a real browser: fingers, keys, a full-width keyboard and paste all say the same amount."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import expect

from app.charges.models import Charge
from app.db import reading
from tests.checkout.test_browser import CHROMIUM, chromium, serving  # noqa: F401 - a fixture
from tests.codes.signs import hang

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or shutil.which("chromium") is None, reason="no chromium"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


def test_a_shopper_pays_by_keypad_keyboard_and_paste(app, merchant, chromium):  # noqa: F811
    code = hang(merchant)
    with serving(app) as port:
        phone = chromium.new_context(
            viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, locale="en-US"
        )
        page = phone.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/P/{code.code}")
        field = page.get_by_label("How much do you pay?")
        expect(field).to_have_attribute("inputmode", "none")
        for key in ("1", "2", ".", "5", "0", "7"):  # a third digit after the point is not taken
            page.get_by_role("button", name=key, exact=True).tap()
        expect(field).to_have_value("12.50")
        page.get_by_role("button", name="Delete the last digit").tap()
        expect(field).to_have_value("12.5")
        field.fill("")
        field.press_sequentially("8.8")  # a hardware keyboard
        expect(field).to_have_value("8.8")
        field.fill("￥１，２３４。５")  # as pasted
        expect(field).to_have_value("1234.5")
        page.get_by_role("button", name="Go on to pay").tap()
        page.wait_for_url("**/C/*")
        expect(page.get_by_role("heading", name="¥1,234.50")).to_be_visible()
        assert faults == []
        phone.close()
    with reading() as connection:
        assert [row.amount_minor for row in connection.execute(Charge.__table__.select())] == [123450]


def test_the_page_works_without_a_script(app, merchant, chromium):  # noqa: F811
    code = hang(merchant)
    with serving(app) as port:
        plain = chromium.new_context(java_script_enabled=False, locale="en-US")
        page = plain.new_page()
        page.goto(f"http://127.0.0.1:{port}/p/{code.code.lower()}")
        expect(page.get_by_role("button", name="7", exact=True)).to_be_hidden()
        page.get_by_label("How much do you pay?").fill("１２")
        page.keyboard.press("Enter")
        page.wait_for_url("**/C/*")
        expect(page.get_by_role("heading", name="¥12.00")).to_be_visible()
        plain.close()
