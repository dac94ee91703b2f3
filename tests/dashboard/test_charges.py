"""Charges at the dashboard: made once, shown as a code, found again, withdrawn, and told as a story."""

from __future__ import annotations

import io
import re

import pytest
import zxingcpp
from flask import Flask
from PIL import Image

from app.callbacks import inbox
from app.callbacks.models import Callback
from app.charges import incidents
from app.charges.models import Charge, Incident
from app.charges.present import link_of
from app.charges.settle import settle
from app.db import transaction
from app.merchants import accounts
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.far_side import AlipayFarSide

# One database will do for pages: test_rooms.py opens each of them on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

FORM = {
    "amount": "12.50",
    "currency": "CNY",
    "description": "一杯拿铁",
    "merchant_order_no": "",
    "expires_in_s": "7200",
}


def fill_in(owner: Person, **changes: str) -> dict[str, str]:
    """The form as it was shown, filled in."""
    page = owner.get("/charges/new").text
    [token] = re.findall(r'name="token" value="(\w+)"', page)
    return {**FORM, "token": token, **changes}


def pay(shop: Shop, far_side: AlipayFarSide, charge_id: str, amount: Money | None = None) -> None:
    number = books.make_attempt(shop, charge_id)
    far_side.pay(number, amount)
    inbox.receive(accounts.open_account(shop.account_id), far_side.notice(number))


def test_a_charge_is_made_and_its_code_shown(owner: Person, merchant: Shop) -> None:
    response = owner.post(
        "/charges/new", fill_in(owner, amount="￥１，２３４。５０", merchant_order_no="A-1")
    )
    charge = books.row_of(Charge)
    assert (response.status_code, response.location) == (303, f"/charges/{charge.id}")
    assert (charge.amount_minor, charge.currency, charge.livemode) == (123450, "CNY", False)
    assert (charge.description, charge.merchant_order_no) == ("一杯拿铁", "A-1")
    page = owner.get(response.location).text
    assert "¥1,234.50" in page
    assert f'src="/charges/{charge.id}/qr.svg"' in page
    assert f'href="{link_of(charge)}"' in page


def test_a_double_click_makes_one_charge(owner: Person) -> None:
    form = fill_in(owner)
    first, second = owner.post("/charges/new", form), owner.post("/charges/new", form)
    assert first.location == second.location
    assert len(books.rows_of(Charge)) == 1


def test_a_form_changed_and_sent_again_asks_first(owner: Person) -> None:
    form = fill_in(owner)
    owner.post("/charges/new", form)
    again = owner.post("/charges/new", {**form, "amount": "13.00"})
    assert again.status_code == 409
    assert "This form was sent before." in again.text
    assert 'value="13.00"' in again.text
    assert len(books.rows_of(Charge)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": ""}, "Enter an amount such as 12.50"),
        ({"amount": "0"}, "Enter an amount such as 12.50"),
        ({"amount": "-1"}, "Enter an amount such as 12.50"),
        ({"amount": "1.005"}, "Enter an amount such as 12.50"),
        ({"amount": "1e3"}, "Enter an amount such as 12.50"),
        ({"amount": "100000000.01"}, "Enter an amount such as 12.50"),
        ({"amount": "1" * 40}, "Enter an amount such as 12.50"),
        ({"description": ""}, "Say in 1 to 127 characters"),
        ({"description": "x" * 128}, "Say in 1 to 127 characters"),
        ({"description": "a\u202eb"}, "Say in 1 to 127 characters"),
        ({"merchant_order_no": "a b"}, "An order number has 1 to 64"),
        ({"currency": "XYZ"}, "Choose one of the currencies."),
        ({"expires_in_s": "9" * 30}, "Choose how long the code is valid."),
        ({"expires_in_s": "-5"}, "Choose how long the code is valid."),
    ],
)
def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(
    owner: Person, changes: dict[str, str], said: str
) -> None:
    form = fill_in(owner, description="typed before", merchant_order_no="N-7") | changes
    response = owner.post("/charges/new", form)
    assert response.status_code == 400
    assert said in response.text
    assert response.text.count('aria-invalid="true"') == 1
    for name in ("description", "merchant_order_no"):
        if name not in changes:
            assert f'value="{form[name]}"' in response.text
    assert books.rows_of(Charge) == []


def test_an_order_number_that_is_taken_is_said(owner: Person) -> None:
    owner.post("/charges/new", fill_in(owner, merchant_order_no="A-1"))
    response = owner.post("/charges/new", fill_in(owner, merchant_order_no="A-1", amount="99"))
    assert response.status_code == 409
    assert "A charge with other content has this order number." in response.text


def test_without_a_provider_the_form_says_that_nobody_can_pay(owner: Person) -> None:
    assert "No payment provider is connected" not in owner.get("/charges/new").text
    assert "No payment provider is connected" in owner.get("/charges/new?mode=live").text


def test_the_code_says_the_link_in_both_drawings(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    png = owner.get(f"/charges/{charge.id}/qr.png?download=1")
    assert "attachment" in png.headers["Content-Disposition"]
    [found] = zxingcpp.read_barcodes(Image.open(io.BytesIO(png.data)).convert("L"))
    assert found.text == link_of(charge)
    svg = owner.get(f"/charges/{charge.id}/qr.svg")
    assert svg.content_type.startswith("image/svg+xml")
    assert svg.data.startswith(b"<svg")
    tag = svg.headers["ETag"]
    assert owner.get(f"/charges/{charge.id}/qr.svg", headers={"If-None-Match": tag}).status_code == 304


def test_pages_turn_both_ways_and_keep_the_filter(owner: Person, merchant: Shop) -> None:
    ids = [books.make_charge(merchant).id for _ in range(45)][::-1]
    walk, path = [], "/charges?status=pending"
    while True:
        page = owner.get(path).text
        walk.append(re.findall(r'href="/charges/(ch_\w+)"', page))
        turned = re.search(r'rel="next" href="([^"]+)"', page)
        if turned is None:
            break
        path = turned[1].replace("&amp;", "&")
        assert "status=pending" in path
    assert walk == [ids[:20], ids[20:40], ids[40:]]
    back = re.search(r'rel="prev" href="([^"]+)"', page)
    assert back is not None
    middle = owner.get(back[1].replace("&amp;", "&")).text
    assert re.findall(r'href="/charges/(ch_\w+)"', middle) == ids[20:40]
    first = re.search(r'rel="prev" href="([^"]+)"', middle)
    assert first is not None
    page = owner.get(first[1].replace("&amp;", "&")).text
    assert re.findall(r'href="/charges/(ch_\w+)"', page) == ids[:20]
    assert 'rel="prev"' not in page


def test_a_charge_is_found_by_id_by_order_number_and_by_state(owner: Person, merchant: Shop) -> None:
    mine = books.make_charge(merchant, merchant_order_no="A-1")
    canceled = books.make_charge(merchant)
    owner.get(f"/charges/{canceled.id}")
    owner.post(f"/charges/{canceled.id}/cancel")
    assert owner.get(f"/charges?q={mine.id}").location == f"/charges/{mine.id}"
    by_number = owner.get("/charges?q=A-1").text
    assert mine.id in by_number
    assert canceled.id not in by_number
    by_state = owner.get("/charges?status=canceled").text
    assert canceled.id in by_state
    assert mine.id not in by_state
    assert "No charge fits this filter." in owner.get("/charges?q=A-2").text
    assert "No charge fits this filter." in owner.get("/charges?status=expired").text
    assert "A charge asks a shopper for an amount." in owner.get("/charges?mode=live").text


def test_a_charge_is_canceled(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    owner.get(f"/charges/{charge.id}")
    response = owner.post(f"/charges/{charge.id}/cancel")
    assert response.location == f"/charges/{charge.id}?notice=canceled"
    page = owner.get(response.location).text
    assert "The charge is canceled." in page
    assert "tile-qr" not in page
    assert books.charge_of(merchant, charge.id).state == "canceled"


def test_cancelling_a_paid_charge_comes_too_late(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    charge = books.make_charge(merchant)
    owner.get(f"/charges/{charge.id}")
    pay(merchant, far_side, charge.id)
    assert owner.post(f"/charges/{charge.id}/cancel").location.endswith("notice=too_late")


def test_a_silent_provider_leaves_the_charge_as_it_is(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    charge = books.make_charge(merchant)
    books.make_attempt(merchant, charge.id)
    owner.get(f"/charges/{charge.id}")
    far_side.is_down = True
    response = owner.post(f"/charges/{charge.id}/cancel")
    assert "The provider did not answer" in owner.get(response.location).text
    assert books.charge_of(merchant, charge.id).state == "pending"


def test_an_unknown_notice_says_nothing(owner: Person) -> None:
    assert 'class="notice' not in owner.get("/charges?notice=<b>Call 12345</b>").text


def test_the_story_of_a_paid_charge_is_told_in_order(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    charge = books.make_charge(merchant)
    pay(merchant, far_side, charge.id)
    page = owner.get(f"/charges/{charge.id}").text
    turns = re.findall(r'class="timeline__(\w+)"', page)
    assert [turn for turn in turns if turn != "what"] == [
        "created",
        "attempt_started",
        "heard",
        "attempt_ended",
        "paid",
    ]
    assert "data-live" not in page
    assert "¥12.50" in page
    assert "Alipay" in page


def test_a_pending_page_keeps_itself_fresh(owner: Person, merchant: Shop) -> None:
    assert 'data-live="3"' in owner.get(f"/charges/{books.make_charge(merchant).id}").text


def test_money_that_went_back_is_shown(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    numbers = [books.make_attempt(merchant, charge.id, scene) for scene in ("desktop", "mobile")]
    for number in numbers:
        with transaction() as tx:
            settle(
                tx, merchant.account_id, PaymentResult(number, Outcome.SUCCEEDED, Money(1250, "CNY"), number)
            )
    page = owner.get(f"/charges/{charge.id}").text
    assert "Paid twice" in page
    assert "Refund of ¥12.50" in page


def test_what_a_provider_sent_is_shown_as_it_came(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    charge = books.make_charge(merchant)
    assert "No message has come yet." in owner.get(f"/charges/{charge.id}/callbacks").text
    pay(merchant, far_side, charge.id)
    kept = books.row_of(Callback)
    page = owner.get(f"/charges/{charge.id}/callbacks").text
    assert kept.digest in page
    assert "trade_status=TRADE_SUCCESS" in page
    assert (
        "No message has come yet." in owner.get(f"/charges/{books.make_charge(merchant).id}/callbacks").text
    )


def test_an_incident_waits_until_a_person_has_dealt_with_it(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    charge = books.make_charge(merchant)
    pay(merchant, far_side, charge.id, Money(1, "CNY"))
    incident = books.row_of(Incident)
    assert "1 incident needs a person" in owner.get("/").text
    assert "A payment of the wrong amount came in" in owner.get(f"/charges/{charge.id}").text
    assert f"/charges/{charge.id}" in owner.get("/incidents").text
    assert owner.post(f"/incidents/{incident.id}/resolve").location == "/incidents?notice=resolved"
    assert "Nothing waits for you." in owner.get("/incidents").text
    assert owner.post(f"/incidents/{incident.id}/resolve").status_code == 404
    home = owner.get("/").text
    assert "needs a person" not in home
    assert "1 unclaimed payment waits for a decision" in home  # the money is still there
    assert "Dealt with" in owner.get(f"/charges/{charge.id}").text


def test_incidents_are_paged(merchant: Shop, owner: Person) -> None:
    with transaction() as tx:
        for number in range(25):
            incidents.raise_incident(
                tx, merchant.id, kind="x", subject_id=f"subject-{number:02}", charge_id=None, detail="d"
            )
    page = owner.get("/incidents").text
    turned = re.search(r'rel="next" href="([^"]+)"', page)
    assert turned is not None
    assert re.findall(r"<wbr>(\d\d)<wbr>", owner.get(turned[1]).text) == ["04", "03", "02", "01", "00"]


def test_a_live_charge_is_shown_as_live_whatever_was_chosen(
    app: Flask, owner: Person, merchant: Shop
) -> None:
    owner.post("/charges/new", fill_in(owner, mode="live"))
    charge = books.row_of(Charge)
    assert charge.livemode
    assert 'class="testbar"' not in owner.get(f"/charges/{charge.id}").text
    assert charge.id not in owner.get("/charges").text
