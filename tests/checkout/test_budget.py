"""What a page weighs, and that it stays within its own walls: read off the pages themselves."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from tests.books import make_charge
from tests.checkout.conftest import DESKTOP, IPHONE, ROOT, WECHAT

REQUESTS_MAX = 5
GZIPPED_MAX = 20_000


class Page(HTMLParser):
    """Every tag with its attributes, and what a browser would fetch for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def fetched(self) -> list[str]:
        found = [attrs["href"] for tag, attrs in self.tags if tag == "link"]
        return found + [attrs["src"] for tag, attrs in self.tags if attrs.get("src")]


@pytest.fixture(params=["phone", "desktop", "help", "code", "receipt"])
def page(request, shopper, merchant, far_side):
    """A page and the browser it is in: the first on each device, help, a wallet's code, and the receipt."""
    agents = {"phone": IPHONE, "receipt": IPHONE, "help": WECHAT}
    user_agent = agents.get(request.param, DESKTOP)
    browser = shopper(make_charge(merchant), user_agent=user_agent)
    if request.param == "code":
        browser.post()
    if request.param == "receipt":
        far_side.pay(browser.post().headers["Location"])
        browser.status()
    return browser, browser.get().text


def test_a_page_is_five_requests_and_twenty_kilobytes_in_all(page):
    browser, text = page
    is_within_budget(browser.client, browser.path, text)


def is_within_budget(client, path, text):
    """Asserts it.  What a page names twice a browser fetches once."""
    weights = [len(gzip.compress(text.encode()))]
    for address in dict.fromkeys(Page(text).fetched()):
        with client.get(urljoin(path, address)) as answer:
            assert answer.status_code == 200
            weights.append(len(gzip.compress(answer.data)))
    assert len(weights) <= REQUESTS_MAX
    assert sum(weights) <= GZIPPED_MAX


def test_nothing_comes_from_elsewhere_and_a_changed_file_has_another_address(page):
    for address in Page(page[1]).fetched():
        parts = urlsplit(address)
        assert not parts.netloc
        assert re.fullmatch(r"v=[0-9a-f]{10}", parts.query)


def test_no_script_or_style_is_inline(page):
    tags = Page(page[1]).tags
    assert "style" not in {tag for tag, _ in tags}
    assert all(attrs.get("src") for tag, attrs in tags if tag == "script")
    names = {name for _, attrs in tags for name in attrs}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    assert "javascript:" not in page[1]


def test_every_control_can_be_named_and_every_id_is_said_once(page):
    tags = Page(page[1]).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in tags:
        if tag == "img":
            assert "alt" in attrs
        if tag == "svg":
            assert attrs.get("role") == "img" or attrs.get("aria-hidden") == "true"
    assert [tag for tag, _ in tags].count("h1") == 1
    assert [tag for tag, _ in tags].count("main") == 1


def test_the_script_is_small_and_touches_no_markup():
    source = (ROOT / "static/js/checkout.js").read_text()
    code = re.sub(r"^\s*//.*$|\s//\s.*$", "", source, flags=re.MULTILINE)
    assert len(re.sub(r"\s+", " ", code)) <= 4000
    for word in ("innerHTML", "eval(", "document.write", "http://", "https://"):
        assert word not in source
