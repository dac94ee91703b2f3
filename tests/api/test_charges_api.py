"""/v1/charges: what a merchant's system sends and reads."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET

import zxingcpp
from PIL import Image

from app.charges import lifecycle
from app.charges.models import Charge
from app.charges.settle import settle
from app.charges.states import ChargeState
from app.db import transaction
from app.ids import is_id
from app.providers.base import Outcome, PaymentResult
from app.queue import Job
from tests.api.calls import Api, error_of, refusal, row_counts
from tests.books import PRICE, event_types, make_attempt, make_charge, row_of, start


def test_a_new_charge_is_answered_as_it_will_be_read(api):
    created = api.charge(
        metadata={"table": "7"}, merchant_order_no="A-1", return_url="https://shop.example/x?y=1"
    )
    assert created.status_code == 201
    charge = created.get_json()
    assert is_id(charge["id"], "ch")
    assert list(charge) == [
        *("id", "object", "livemode", "status", "amount", "amount_paid", "amount_refunded", "currency"),
        "description",
        *("merchant_order_no", "metadata", "return_url", "qr_code", "store", "topup"),
        *("url", "qr", "provider"),
        *("created_at", "expires_at", "paid_at", "paid_late", "expired_at", "canceled_at"),
        "review",
    ]
    sent = {
        name: charge[name] for name in ("amount", "currency", "description", "merchant_order_no", "metadata")
    }
    assert sent == {
        "amount": 1250,
        "currency": "cny",
        "description": "一杯拿铁",
        "merchant_order_no": "A-1",
        "metadata": {"table": "7"},
    }
    assert (charge["object"], charge["livemode"], charge["status"]) == ("charge", False, "pending")
    assert charge["return_url"] == "https://shop.example/x?y=1"
    assert charge["url"].startswith("http://PAY.EXAMPLE.COM/C/")
    read = api.get(f"/v1/charges/{charge['id']}")
    assert read.status_code == 200
    assert read.data == created.data
    assert created.headers["Cache-Control"] == read.headers["Cache-Control"] == "no-store"


def test_a_charge_lives_as_long_as_was_asked(api):
    for sent, seconds in (({}, 7200), ({"expires_in_s": 60}, 60), ({"expires_in_s": 1296000}, 1296000)):
        charge = api.charge(**sent).get_json()
        born, dies = (datetime.fromisoformat(charge[name]) for name in ("created_at", "expires_at"))
        assert dies - born == timedelta(seconds=seconds)
        assert charge["created_at"].endswith("Z")
        assert row_of(Job, subject_id=charge["id"]).due_at == row_of(Charge, id=charge["id"]).expires_at


def test_a_charge_is_told_of_once(api):
    charge = api.charge().get_json()
    assert event_types(charge["id"]) == ["charge.created"]


def test_currency_may_be_written_in_either_case_and_description_is_trimmed(api):
    charge = api.charge(currency="CNY", description="  tea ").get_json()
    assert (charge["currency"], charge["description"]) == ("cny", "tea")


def test_the_same_order_number_with_the_same_content_is_the_same_charge(api):
    """Answered 201 both times: a client that lost the first answer need not tell the difference."""
    first = api.charge(merchant_order_no="A-1")
    before = row_counts()
    again = api.charge(merchant_order_no="A-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert row_counts() == before


def test_the_same_order_number_with_other_content_is_refused(api, live_api, stranger):
    first = api.charge(merchant_order_no="A-1").get_json()
    for other in ({"amount": 1251}, {"currency": "usd"}, {"description": "x"}, {"metadata": {"a": "b"}}):
        before = row_counts()
        assert refusal(api.charge(merchant_order_no="A-1", **other)) == (
            409,
            "merchant_order_no_taken",
            None,
        ), other
        assert row_counts() == before
    assert live_api.charge(merchant_order_no="A-1", amount=5).get_json()["id"] != first["id"]
    assert stranger.charge(merchant_order_no="A-1", amount=5).get_json()["id"] != first["id"]


def test_a_charge_belongs_to_the_store_that_was_named(api, live_api, stranger, merchant):
    def store(of: Api) -> str:
        return of.post("/v1/stores", {"name": "国贸店"}).get_json()["id"]

    mine = store(api)
    made = api.charge(store=mine, merchant_order_no="A-1")
    charge = made.get_json()
    assert charge["store"] == row_of(Charge).store_id == mine
    assert api.charge(store=mine, merchant_order_no="A-1").data == made.data
    for other in ({}, {"store": store(api)}):
        assert refusal(api.charge(merchant_order_no="A-1", **other))[1] == "merchant_order_no_taken"
    api.charge()
    listed = api.get(f"/v1/charges?store={mine}&expand[]=store").get_json()["data"]
    assert [(each["id"], each["store"]["name"]) for each in listed] == [(charge["id"], "国贸店")]
    unknown = (store(live_api), store(stranger), "st_1", "国贸店", "")
    before = row_counts()
    for other in unknown:
        assert refusal(api.charge(store=other)) == (400, "no_such_store", "store"), other
    assert row_counts() == before


def test_pages_follow_one_another_in_both_directions(api):
    ids = [api.charge().get_json()["id"] for _ in range(5)][::-1]  # newest first

    def page(query: str) -> tuple[list[str], bool]:
        body = api.get(f"/v1/charges?{query}").get_json()
        assert (body["object"], body["url"]) == ("list", "/v1/charges")
        return [charge["id"] for charge in body["data"]], body["has_more"]

    assert page("") == (ids, False)
    assert page("limit=5") == (ids, False)
    assert page("limit=2") == (ids[:2], True)
    assert page(f"limit=2&starting_after={ids[1]}") == (ids[2:4], True)
    assert page(f"limit=2&starting_after={ids[3]}") == (ids[4:], False)
    assert page(f"limit=3&starting_after={ids[1]}") == (ids[2:], False)
    assert page(f"starting_after={ids[4]}") == ([], False)
    # Backwards: the page that touches the cursor, still newest first; more means newer ones.
    assert page(f"limit=2&ending_before={ids[4]}") == (ids[2:4], True)
    assert page(f"limit=2&ending_before={ids[2]}") == (ids[:2], False)
    assert page(f"limit=2&ending_before={ids[1]}") == (ids[:1], False)
    assert page(f"ending_before={ids[0]}") == ([], False)


def test_a_list_can_be_narrowed(api, at):
    first = api.charge(merchant_order_no="A-1").get_json()
    api.post(f"/v1/charges/{first['id']}/cancel")
    at(timedelta(days=1))
    second = api.charge().get_json()

    def ids(**query: str) -> list[str]:
        answer = api.get("/v1/charges", query_string=query)
        assert answer.status_code == 200, answer.data
        return [charge["id"] for charge in answer.get_json()["data"]]

    assert ids(status="canceled") == [first["id"]]
    assert ids(status="pending") == [second["id"]]
    assert ids(merchant_order_no="A-1") == [first["id"]]
    assert ids(merchant_order_no="A-2") == []
    assert ids(created_from=second["created_at"]) == [second["id"]]
    assert ids(created_before=second["created_at"]) == [first["id"]]
    assert ids(created_from="2020-01-01T00:00:00+08:00") == [second["id"], first["id"]]


def test_a_list_shows_what_a_read_shows(api):
    created = api.charge().get_json()
    assert api.get("/v1/charges").get_json()["data"] == [created]


def test_canceling_is_told_once_and_harmless_twice(api):
    charge = api.charge().get_json()
    first = api.post(f"/v1/charges/{charge['id']}/cancel")
    again = api.post(f"/v1/charges/{charge['id']}/cancel")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.get_json()["status"] == "canceled"
    assert first.get_json()["canceled_at"] is not None
    assert first.get_json()["expired_at"] is None
    assert first.data == again.data
    assert event_types(charge["id"]) == ["charge.created", "charge.canceled"]


def test_what_is_over_cannot_be_canceled(api, merchant):
    paid, expired = make_charge(merchant), make_charge(merchant)
    number = make_attempt(merchant, paid.id)
    with transaction() as tx:
        settle(tx, merchant.account_id, PaymentResult(number, Outcome.SUCCEEDED, PRICE, f"T{number}"))
        lifecycle.close_charge(tx, merchant.id, expired.id, ChargeState.EXPIRED)
    for charge, code in ((paid, "charge_paid"), (expired, "charge_expired")):
        before = row_counts()
        assert refusal(api.post(f"/v1/charges/{charge.id}/cancel")) == (409, code, None)
        assert row_counts() == before
    shown = api.get(f"/v1/charges/{paid.id}").get_json()
    assert (shown["status"], shown["provider"], shown["paid_late"]) == ("paid", "alipay", False)
    assert shown["paid_at"] is not None
    assert api.get(f"/v1/charges/{expired.id}").get_json()["expired_at"] is not None


def test_while_the_provider_cannot_be_asked_nothing_is_canceled(api, merchant, far_side):
    """A shopper may be paying at this moment: nobody may be told that the charge is canceled."""
    charge = make_charge(merchant)
    far_side.open(start(merchant, charge.id).content)
    far_side.is_down = True
    answer = api.post(f"/v1/charges/{charge.id}/cancel")
    assert refusal(answer) == (503, "provider_unreachable", None)
    assert error_of(answer)["type"] == "provider_error"
    assert int(answer.headers["Retry-After"]) > 0
    far_side.is_down = False
    assert api.post(f"/v1/charges/{charge.id}/cancel").get_json()["status"] == "canceled"


def test_the_code_says_the_link_in_both_drawings(api):
    charge = api.charge().get_json()
    png = api.get(f"/v1/charges/{charge['id']}/qr.png?size=300&level=Q")
    assert (png.status_code, png.content_type) == (200, "image/png")
    [found] = zxingcpp.read_barcodes(Image.open(io.BytesIO(png.data)))
    assert (found.text, found.ec_level) == (charge["url"], "Q")
    svg = api.get(f"/v1/charges/{charge['id']}/qr.svg")
    assert (svg.status_code, svg.content_type) == (200, "image/svg+xml")
    assert ET.fromstring(svg.data).tag == "{http://www.w3.org/2000/svg}svg"


def test_who_has_a_drawing_need_not_fetch_it_again(api):
    charge = api.charge().get_json()
    first = api.get(f"/v1/charges/{charge['id']}/qr.svg")
    assert "immutable" in first.headers["Cache-Control"]
    again = api.get(f"/v1/charges/{charge['id']}/qr.svg", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = api.get(
        f"/v1/charges/{charge['id']}/qr.svg?level=H", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert other.status_code == 200
