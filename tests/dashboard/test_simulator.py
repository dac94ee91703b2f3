"""The simulator: every lever at the real sandbox, frames that nobody else may make, the list of events."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import expect, sync_playwright
from werkzeug.serving import make_server

from app.charges.models import Charge
from app.charges.present import link_of
from app.charges.simulator import Deed
from app.cli import demo
from app.cli.places import places_of
from app.db import table_of, transaction
from app.merchants import people
from tests import books
from tests.conftest import Shop, running, settings_for
from tests.dashboard.person import Person
from tests.dashboard.test_in_a_browser import ARGUMENTS, CHROMIUM

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def house(database_url, tmp_path, far) -> Iterator[Flask]:
    """The demo shop at a free port, with an account at each network of the sandbox."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    more = {"sandbox_port": urlsplit(far).port, "base_url": f"http://127.0.0.1:{port}"}
    with running(settings_for(database_url, tmp_path, **more)) as app:
        demo.seed(places_of(app.extensions["mafu.runtime"].settings))
        yield app


def way_in() -> str:
    user = people.find_user(demo.EMAIL)
    return f"/sign-in/{people.make_sign_in_link(user.merchant_id, user.id)}"


@pytest.fixture
def player(house: Flask) -> Person:
    origin = house.extensions["mafu.runtime"].settings.origin
    person, link = Person(house, origin=origin), way_in()
    person.get(link)
    person.post(link)
    person.get("/simulator")
    return person


def begin(person: Person) -> str:
    answer = person.post("/simulator", {"amount": "12.50", "mode": "test"})
    assert answer.status_code == 303, answer.text
    return answer.location


def test_each_lever_does_what_it_says(player: Person) -> None:
    told = {
        Deed.BEGIN: ["charge.created"],
        Deed.PAY: ["charge.created", "charge.paid"],
        Deed.DECLINE: ["charge.created"],
        Deed.WRONG_AMOUNT: ["charge.created", "charge.amount_mismatched"],
        Deed.LOST_CALLBACK: ["charge.created", "charge.paid"],
        Deed.EXPIRE: ["charge.created", "charge.expired"],
        Deed.LATE: ["charge.created", "charge.expired", "charge.paid", "charge.paid_late"],
        Deed.DOUBLE: ["charge.created", "charge.paid", "charge.double_paid"],
        Deed.REFUND_FAILS: ["charge.created"],
    }
    assert set(told) == set(Deed)
    for deed, events in told.items():
        place = begin(player)
        form = {"deed": deed.value, "provider": "wechatpay", "mode": "test"}
        answer = player.post(place, form)
        assert answer.status_code == 303, (deed, answer.text)
        assert player.get(answer.location).status_code == 200
        assert books.event_types(place.rpartition("/")[2]) == events, deed
    refused = player.post(place, {"deed": "gravity", "mode": "test"})
    assert refused.status_code == 409


def test_the_page_frames_the_checkout_and_the_sandbox_and_nothing_else(player: Person, far: str) -> None:
    place = begin(player)
    page = player.get(place)
    policy = page.headers["Content-Security-Policy"]
    assert policy.endswith(f"frame-src 'self' http://127.0.0.1:{urlsplit(far).port}")
    assert "frame-ancestors 'none'" in policy
    path = urlsplit(link_of(books.row_of(Charge, id=place.rpartition("/")[2]))).path
    assert f'src="{path}?scene=mobile"' in page.text
    checkout = player.get(path)
    assert "frame-ancestors 'self'" in checkout.headers["Content-Security-Policy"]
    assert checkout.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_a_live_checkout_is_framed_by_nobody_and_live_mode_has_no_simulator(
    app: Flask, merchant: Shop, owner: Person
) -> None:
    charge = books.make_charge(merchant)
    owner.get("/simulator?mode=live")
    assert "is for test mode" in owner.get("/simulator").text
    assert owner.post("/simulator", {"amount": "1", "mode": "live"}).status_code == 404
    assert owner.post(f"/simulator/{charge.id}", {"deed": "pay", "mode": "live"}).status_code == 404
    with transaction() as tx:
        tx.execute(sa.update(table_of(Charge)).values(livemode=True))
    assert owner.get(f"/simulator/{charge.id}").status_code == 404
    checkout = owner.get(urlsplit(link_of(charge)).path)
    assert "frame-ancestors 'none'" in checkout.headers["Content-Security-Policy"]
    assert checkout.headers["X-Frame-Options"] == "DENY"


def test_events_are_listed_by_type_and_object(owner: Person, merchant: Shop) -> None:
    paid, other = books.make_paid(merchant), books.make_charge(merchant)
    page = owner.get("/events").text
    assert page.count(f"?object={paid.id}") == 2
    assert page.count(f"?object={other.id}") == 1
    page = owner.get(f"/events?type=charge.paid&object={paid.id}").text
    assert page.count(f"?object={paid.id}") == 1
    assert "Nothing fits this filter." in owner.get(f"/events?type=charge.paid&object={other.id}").text


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_payment_is_played_through_in_a_browser(house: Flask) -> None:
    """The shopper goes on to the sandbox's cashier inside the phone and pays; the left tells of it."""
    address = urlsplit(house.extensions["mafu.runtime"].settings.origin)
    server = make_server(address.hostname, address.port, house, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    complaints: list[str] = []
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_context(base_url=address.geturl(), locale="en-US").new_page()
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            page.goto(way_in())
            page.get_by_role("main").get_by_role("button").first.click()
            page.goto("/simulator")
            page.get_by_role("button", name="Begin").click()
            phone = page.frame_locator("iframe.phone")
            phone.get_by_role("button", name="Pay ¥12.50").click()
            phone.get_by_role("button", name="Approve payment").click()
            expect(page.locator("#state")).to_contain_text("Paid", timeout=15_000)
            browser.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert complaints == []
