"""axe-core finds nothing on any page: dashboard, till, checkout, scan, verification, documents, doors.

Each page is looked at in one of the eight combinations of language, theme and width, by turns; AXE=all looks
at each in all of them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext

from app import clock, heartbeat
from app.charges import lifecycle
from app.purses.models import Member
from app.purses.present import link_of
from tests import books
from tests.checkout.conftest import path_of
from tests.checkout.test_browser import CHROMIUM, chromium, serving  # noqa: F401 - a fixture
from tests.conftest import ROOT, Shop
from tests.dashboard.person import Person
from tests.dashboard.test_rooms import all_pages, full_shop
from tests.far_side import AlipayFarSide

AXE = ROOT / "tests" / "strangers" / "node_modules" / "axe-core" / "axe.min.js"
LOOKS = list(itertools.product(("zh", "en"), ("light", "dark"), (390, 1280)))
# Whatever it knows, WCAG 2.2 A and AA and good practice; what it cannot decide is not a finding.  A page in a
# frame is looked at by itself: together with the one around it, it has everything twice.
RUN = """async () => (await axe.run(document, {resultTypes: ["violations"], iframes: false})).violations.map(
    (fault) => fault.id + ": " + fault.nodes.map((node) => node.html.slice(0, 200)).join(" | "))"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make strangers"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


def pages_of(app: Flask, shop: Shop, owner: Person, far_side: AlipayFarSide) -> list[str]:
    """The address of every page there is, with something to show, and a few that have nothing."""
    heartbeat.beat("wk_1", clock.now())
    things = full_shop(shop, far_side)
    begun, canceled = books.make_charge(shop), books.make_charge(shop)
    books.make_attempt(shop, begun.id)
    lifecycle.cancel_charge(shop.id, canceled.id)
    paid, waiting = books.charge_of(shop, things["paid_id"]), books.charge_of(shop, things["charge_id"])
    letters = owner.get("/codes").text.partition('translate="no">')[2][:14]
    pages = [
        *all_pages(app, things),
        *[path_of(charge) for charge in (begun, canceled, paid, waiting)],
        *(f"/P/{letters.replace('-', '')}", f"/v/{letters.replace('-', '')}", "/v", "/C/nothing", "/docs"),
        "/M/" + link_of(books.row_of(Member, id=things["member_id"])).rpartition("/")[2],
        *("/operator", "/charges?status=paid&q=x", "/?mode=live", "/charges?mode=live", "/codes?mode=live"),
        *("/refunds?mode=live", "/webhooks?mode=live", "/?mode=test"),
    ]
    return [path for path in dict.fromkeys(pages) if _is_page(owner, path)]


def _is_page(owner: Person, path: str) -> bool:
    answer = owner.get(path)
    assert answer.status_code in (200, 302, 303, 404, 410), path
    return "html" in (answer.content_type or "") and answer.status_code not in (302, 303)


def looked_at(browser: Browser, origin: str, session: str, look: tuple[str, Any, int]) -> BrowserContext:
    """A browser of the owner's, reading a language, in a theme, of a width."""
    language, theme, width = look
    context = browser.new_context(
        base_url=origin,
        color_scheme=theme,
        viewport={"width": width, "height": 844},
        locale={"zh": "zh-CN", "en": "en-US"}[language],
        reduced_motion="reduce",
    )
    context.add_cookies([{"name": "mafu_session", "value": session, "url": origin}])
    context.add_init_script(path=AXE)
    return context


@pytest.fixture
def origin(app: Flask) -> Iterator[str]:
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


def test_axe_finds_nothing(
    app: Flask,
    merchant: Shop,
    owner: Person,
    far_side: AlipayFarSide,
    origin: str,
    chromium: Browser,  # noqa: F811
) -> None:
    pages = pages_of(app, merchant, owner, far_side)
    assert len(pages) > 50
    cookie = owner.client.get_cookie("mafu_session", domain="pay.example.com")
    assert cookie is not None
    everything = os.environ.get("AXE") == "all"
    found: list[str] = []
    for number, look in enumerate(LOOKS):
        context = looked_at(chromium, origin, cookie.value, look)
        page = context.new_page()
        for path in pages if everything else pages[number :: len(LOOKS)]:
            page.goto(path)  # with its styles, or contrast is judged without them
            found += [f"{path} {look}: {fault}" for fault in page.evaluate(RUN)]
        context.close()
    assert not found, "\n".join(found)
