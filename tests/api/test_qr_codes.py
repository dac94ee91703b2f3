"""/v1/qr_codes and /v1/stores: printed codes made, changed, listed and drawn over the API."""

from __future__ import annotations

import json

import pytest
import zxingcpp

from app.codes.models import QRCode
from app.merchants import keys
from app.merchants.scopes import Scope
from app.webhooks.models import Event
from tests.api.calls import Api, refusal
from tests.books import pay, row_of, rows_of
from tests.codes.signs import begin
from tests.qr.pictures import picture_of_png

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

OPEN = {"name": "堂食", "min_amount": 100, "max_amount": 9900, "suggested_amounts": [1000, 2000]}


def make(api: Api, **more: object) -> dict:
    answer = api.post("/v1/qr_codes", {**OPEN, **more})
    assert answer.status_code == 201, answer.get_json()
    body: dict = answer.get_json()
    return body


def test_a_code_is_answered_as_it_will_be_read(api):
    store = api.post("/v1/stores", {"name": "武康路店", "address": "上海市武康路 100 号"}).get_json()
    made = make(api, store=store["id"], label={"kind": "table", "text": "7"}, daily_cap=50000)
    assert made["url"] == f"http://PAY.EXAMPLE.COM/P/{made['code'].replace('-', '')}"
    assert (made["active"], made["amount"], made["max_amount"]) == (True, None, 9900)
    assert (made["store"], made["label"]) == (store["id"], {"kind": "table", "text": "7"})
    assert made["charges"] == {"begun": 0, "paid": 0, "amount_paid": 0}
    assert api.get(f"/v1/qr_codes/{made['id']}").get_json() == made
    assert api.get(f"/v1/qr_codes?store={store['id']}").get_json()["data"] == [made]
    assert api.get("/v1/qr_codes?active=false").get_json()["data"] == []


def test_a_code_is_made_once_for_each_idempotency_key(api):
    answers = [api.post("/v1/qr_codes", OPEN, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert len(rows_of(QRCode)) == 1


def test_what_hangs_is_re_priced_re_pointed_closed_and_opened_without_a_new_print(api):
    made = make(api, max_payments=10)
    place = f"/v1/qr_codes/{made['id']}"
    store = api.post("/v1/stores", {"name": "武康路店"}).get_json()["id"]
    fixed = api.post(place, {"amount": 1800, "store": store, "max_payments": None}).get_json()
    assert (fixed["amount"], fixed["store"], fixed["max_payments"]) == (1800, store, None)
    assert (fixed["max_amount"], fixed["suggested_amounts"]) == (None, [])
    closed = api.post(place, {"active": False, "inactive_message": {"zh": "打烊了"}}).get_json()
    assert (closed["active"], closed["inactive_message"]) == (False, {"zh": "打烊了", "en": ""})
    again = api.post(place, {"active": True, "amount": None, "store": None, "label": None}).get_json()
    assert (again["active"], again["amount"], again["disabled_at"]) == (True, None, None)
    assert again["suggested_amounts"] == [1000, 2000]  # as they were
    for name in ("code", "url", "id", "created_at"):
        assert again[name] == made[name]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": " "}, "name"),
        ({"amount": 0}, "amount"),
        ({"currency": "XXX"}, "currency"),
        ({"min_amount": 500, "max_amount": 400}, "max_amount"),
        ({"preset_amount": 99}, "preset_amount"),
        ({"suggested_amounts": [50]}, "suggested_amounts"),
        ({"suggested_amounts": [1000, 1000]}, "suggested_amounts"),
        ({"store": "st_01jd3w6j7hqk2m8n4p6r8t0v2x"}, "store"),
        ({"label": {"kind": "roof", "text": "7"}}, "label.kind"),
        ({"valid_from": "2026-05-01T00:00:00Z", "valid_until": "2026-05-01T00:00:00Z"}, "valid_until"),
        ({"max_payments": 0}, "max_payments"),
        ({"inactive_message": {"zh": "a\nb"}}, "inactive_message.zh"),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(api, body, param):
    status, _, said = refusal(api.post("/v1/qr_codes", {**OPEN, **body}))
    assert (status, said) == (400, param)
    assert rows_of(QRCode) == []


def test_a_store_of_another_merchant_or_mode_is_no_place_for_a_code(api, live_api, stranger):
    for other in (live_api, stranger):
        store = other.post("/v1/stores", {"name": "武康路店"}).get_json()["id"]
        assert refusal(api.post("/v1/qr_codes", {**OPEN, "store": store}))[1] == "no_such_store"
        made = make(api)
        assert refusal(api.post(f"/v1/qr_codes/{made['id']}", {"store": store}))[1] == "no_such_store"


def test_a_series_is_one_call(api):
    body = {**OPEN, "series": "1–24 号桌", "label_kind": "table", "prefix": "A", "first": 1, "last": 24}
    made = api.post("/v1/qr_codes/series", body).get_json()["data"]
    assert [code["label"]["text"] for code in made] == [f"A{number}" for number in range(1, 25)]
    [series] = {code["series"]["id"] for code in made}
    page = api.get(f"/v1/qr_codes?series={series}&limit=100").get_json()
    assert page["data"] == made[::-1]
    for first, last in ((1, 501), (5, 4)):
        assert refusal(api.post("/v1/qr_codes/series", {**body, "first": first, "last": last}))[2] == "last"


def test_charges_know_their_code(api, merchant):
    made = make(api)
    code = row_of(QRCode)
    paid, other = pay(begin(code, 1250).id), begin(code, 2000)
    api.charge()
    listed = api.get(f"/v1/charges?qr_code={made['id']}&expand[]=qr_code").get_json()["data"]
    assert [charge["id"] for charge in listed] == [other.id, paid.id]
    assert {charge["qr_code"]["id"] for charge in listed} == {made["id"]}
    assert listed[0]["qr_code"]["charges"] == {"begun": 2, "paid": 1, "amount_paid": 1250}
    assert api.get(f"/v1/charges/{paid.id}").get_json()["qr_code"] == made["id"]
    plain = api.get("/v1/charges?expand[]=qr_code&limit=1").get_json()["data"]
    assert plain[0]["qr_code"] is None


def test_a_key_reaches_codes_by_its_scopes_alone(client, merchant):
    def key(*scopes: Scope) -> Api:
        made = keys.create_key(merchant.id, livemode=False, name="k", scopes=frozenset(scopes))
        return Api(client, made[1])

    reader, writer, other = key(Scope.CODES_READ), key(Scope.CODES_WRITE), key(Scope.CHARGES_READ)
    assert refusal(reader.post("/v1/qr_codes", OPEN))[:2] == (403, "scope_missing")
    assert writer.post("/v1/qr_codes", OPEN).status_code == 201
    assert reader.get("/v1/qr_codes").status_code == 200
    assert refusal(other.get("/v1/stores"))[:2] == (403, "scope_missing")
    assert refusal(other.get("/v1/charges?expand[]=qr_code"))[:2] == (403, "scope_missing")


def test_the_drawing_says_the_address_and_may_be_kept(api):
    made = make(api)
    picture = api.get(f"/v1/qr_codes/{made['id']}/qr.png?level=Q&size=400")
    [found] = zxingcpp.read_barcodes(picture_of_png(picture.data))
    assert found.text == made["url"]
    assert "immutable" in picture.headers["Cache-Control"]
    drawing = api.get(f"/v1/qr_codes/{made['id']}/qr.svg?level=Q")
    assert drawing.mimetype == "image/svg+xml"
    again = api.get(
        f"/v1/qr_codes/{made['id']}/qr.svg?level=Q", headers={"If-None-Match": drawing.headers["ETag"]}
    )
    assert again.status_code == 304


def test_a_store_is_corrected_for_all_its_codes(api):
    store = api.post("/v1/stores", {"name": "武康路店"}).get_json()
    changed = api.post(f"/v1/stores/{store['id']}", {"address": "上海市"}).get_json()
    assert changed == {**store, "address": "上海市"}
    assert api.get("/v1/stores").get_json()["data"] == [changed]
    assert refusal(api.post("/v1/stores", {"name": " "}))[0] == 400


def told(code_id: str) -> list[tuple[str, int]]:
    """The events of a code, in their order, with their numbers."""
    return [(row.type, row.sequence) for row in rows_of(Event, object_id=code_id)]


def test_what_happens_to_a_code_is_told_with_the_code_as_it_then_stands(api):
    made = make(api)
    place = f"/v1/qr_codes/{made['id']}"
    assert json.loads(row_of(Event, object_id=made["id"]).body)["data"] == {"object": made}
    api.post(place, {"amount": 1800})
    api.post(place, {"amount": 1800})  # nothing is another way than it was
    api.post(place, {"name": "外带", "active": False})
    api.post(place, {"active": False})
    api.post(place, {"active": True})
    assert told(made["id"]) == [
        ("qr_code.created", 1),
        ("qr_code.updated", 2),
        ("qr_code.updated", 3),
        ("qr_code.disabled", 4),
        ("qr_code.enabled", 5),
    ]
    last = json.loads(rows_of(Event, object_id=made["id"])[-1].body)["data"]["object"]
    assert last == api.get(place).get_json()


def test_of_a_series_each_code_is_told(api):
    wish = {"name": "堂食", "series": "桌", "label_kind": "table", "first": 1, "last": 3}
    made = api.post("/v1/qr_codes/series", wish).get_json()["data"]
    assert [told(one["id"]) for one in made] == [[("qr_code.created", 1)]] * 3


def test_in_test_mode_a_code_goes_quiet_when_it_is_asked_to(api, live_api, stranger):
    made = make(api)
    place = f"/v1/test_helpers/qr_codes/{made['id']}/go_quiet"
    assert api.post(place).get_json()["quiet_since"] == made["created_at"]
    assert told(made["id"])[-1] == ("qr_code.quiet", 2)
    for nobody in (live_api, stranger):
        assert refusal(nobody.post(place))[0] == 404
    api.post(f"/v1/qr_codes/{made['id']}", {"active": False})
    assert refusal(api.post(place))[:2] == (409, "code_disabled")
