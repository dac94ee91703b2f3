"""The shopper's phone: a page that works without a script, in two languages."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from sandbox import words


class Page(HTMLParser):
    """The forms, links and language of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.buttons: list[dict[str, str | None]] = []
        self.methods: list[str | None] = []
        self.links: list[str | None] = []
        self.tags: set[str] = set()
        self.lang: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if tag == "button":
            self.buttons.append(found)
        elif tag == "form":
            self.methods.append(found.get("method"))
        elif tag == "a":
            self.links.append(found.get("href"))
        elif tag == "html":
            self.lang = found.get("lang")


@pytest.fixture
def cashier(far: Any, merchant: Any, shop: Any) -> str:
    """The address of an open pay sheet for order T1 of 12.50."""
    query = merchant.client.api_alipay_trade_wap_pay(
        "<b>咖啡</b>", "T1", "12.50", notify_url=shop.url, quit_url="http://127.0.0.1:1/quit"
    )
    address: str = far.get(f"/gateway.do?{query}").headers["location"]
    return address


def test_the_sheet_says_who_what_how_much_and_that_it_is_no_real_money(
    far: Any, merchant: Any, cashier: str
) -> None:
    answer = far.get(cashier)
    page = Page(answer.text)
    assert [(one["name"], one["value"]) for one in page.buttons] == [
        ("action", "approve"),
        ("action", "decline"),
        ("action", "cancel"),
    ]
    assert page.methods == ["post"]
    assert "script" not in page.tags
    for sentence in (merchant.facts["name"], "¥12.50", "&lt;b&gt;咖啡&lt;/b&gt;", "T1", "SANDBOX 沙箱"):
        assert sentence in answer.text
    assert "script" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "query", "lang", "sentence"),
    [
        ({"Accept-Language": "en-GB,en;q=0.9"}, "", "en", "Approve payment of"),
        ({"Accept-Language": "zh-CN,zh;q=0.9"}, "", "zh-CN", "确认付款"),
        ({}, "", "zh-CN", "没有真钱"),
        ({"Accept-Language": "zh"}, "?lang=en", "en", "no real money"),
        ({"Cookie": "sandbox_lang=en"}, "", "en", "no real money"),
    ],
)
def test_the_sheet_speaks_the_shoppers_language(
    far: Any, cashier: str, headers: dict[str, str], query: str, lang: str, sentence: str
) -> None:
    answer = far.get(cashier + query, **headers)
    assert Page(answer.text).lang == lang
    assert sentence in answer.text


def test_without_a_return_address_approval_leads_to_the_paid_page(far: Any, cashier: str) -> None:
    answer = far.press(cashier, "approve")
    assert (answer.status, answer.headers["location"]) == (303, cashier)
    page = far.get(f"{cashier}?lang=en").text
    assert "Payment successful" in page
    assert Page(page).buttons == []


def test_pressing_twice_pays_once(far: Any, cashier: str, shop: Any) -> None:
    assert [far.press(cashier, "approve").status for _ in range(2)] == [303, 303]
    shop.wait(1)
    assert len(far.trade("T1")["notifications"]) == 1


def test_a_declined_shopper_may_try_again(far: Any, cashier: str) -> None:
    assert far.press(cashier, "decline").status == 303
    page = far.get(f"{cashier}?lang=en").text
    assert "Insufficient funds" in page
    assert len(Page(page).buttons) == 3
    assert far.trade("T1")["status"] == "WAIT_BUYER_PAY"
    far.press(cashier, "approve")
    assert far.trade("T1")["status"] == "TRADE_SUCCESS"


def test_a_shopper_who_leaves_paid_nothing_and_finds_the_shop_again(far: Any, cashier: str) -> None:
    answer = far.press(cashier, "cancel")
    page = far.get(answer.headers["location"] + "&lang=en").text
    assert "nothing was charged" in page
    assert "http://127.0.0.1:1/quit" in Page(page).links
    assert far.trade("T1")["status"] == "WAIT_BUYER_PAY"


def test_a_closed_trade_offers_no_button(far: Any, cashier: str) -> None:
    far.act("T1", "close")
    page = far.get(f"{cashier}?lang=en").text
    assert "closed" in page
    assert Page(page).buttons == []
    far.press(cashier, "approve")
    assert far.trade("T1")["status"] == "TRADE_CLOSED"


def test_money_on_its_way_is_shown_as_processing(far: Any, cashier: str) -> None:
    far.pull("slow_payment", value="30", out_trade_no="T1")
    far.press(cashier, "approve")
    page = far.get(f"{cashier}?lang=en").text
    assert "Processing" in page
    assert Page(page).buttons == []
    assert far.press(cashier, "approve").status == 303
    assert far.trade("T1")["status"] == "WAIT_BUYER_PAY"


def test_unknown_codes_and_buttons_are_refused(far: Any, cashier: str) -> None:
    assert far.get("/qr/unknown").status == 404
    assert far.get("/cashier/unknown").status == 404
    assert far.press("/cashier/unknown", "approve").status == 404
    assert far.press(cashier, "steal").status == 400
    assert far.trade("T1")["status"] == "WAIT_BUYER_PAY"


def test_both_languages_have_every_sentence() -> None:
    for key, pair in words.WORDS.items():
        assert all(pair), key
