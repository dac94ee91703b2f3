"""Members, top-ups, debits and bonus rules over the API, as a merchant's server uses them."""

from __future__ import annotations

import jsonschema_rs
import pytest

from app import catalogue
from app.clock import to_rfc3339
from app.errors import ProviderUnreachable
from app.merchants import keys
from app.providers.alipay import Alipay
from app.purses.models import Debit, Member, Topup
from app.webhooks.models import Event
from tests.api.calls import Api, refusal
from tests.books import later, make_attempt, pay, rows_of
from tests.members.purse import has

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def add(api, account="user-42", **more):
    return api.post("/v1/members", {"account": account, **more})


def begin(api, **more):
    return api.post("/v1/topups", {"member": "user-42", "amount": 10_000, **more})


def test_the_four_steps_of_a_payment_in_an_app(api):
    """Asked for, confirmed in the wallet, called back, and asked before it is believed."""
    api.post("/v1/bonus_rules", {"tiers": [{"amount": 10_000, "bonus": 1_000}]})
    add(api)
    topup = begin(api, scene="app", method="alipay").get_json()
    assert topup["app_params"]["params"]["order_string"]
    assert (topup["status"], topup["bonus"], topup["amount_credited"]) == ("pending", 1_000, None)
    ask = f"/v1/topups/{topup['id']}/ask"
    assert api.post(ask).get_json()["status"] == "pending"
    pay(topup["charge"])
    told = api.get(f"/v1/topups/{topup['id']}").get_json()
    assert (told["status"], told["amount_credited"], told["bonus_credited"]) == ("succeeded", 10_000, 1_000)


def test_asking_settles_what_a_callback_would_have_settled(api, merchant, far_side):
    add(api)
    topup = begin(api).get_json()
    far_side.pay(make_attempt(merchant, topup["charge"]))  # and its callback is lost
    told = api.post(f"/v1/topups/{topup['id']}/ask").get_json()
    assert (told["status"], told["amount_credited"], told["provider"]) == ("succeeded", 10_000, "alipay")
    assert api.get("/v1/members/user-42").get_json()["balance"] == 10_000


@one_database
def test_a_top_up_is_sold_in_the_store_that_was_named(api):
    add(api)
    store = api.post("/v1/stores", {"name": "国贸店"}).get_json()["id"]
    topup = begin(api, store=store).get_json()
    assert api.get(f"/v1/charges/{topup['charge']}").get_json()["store"] == store
    assert refusal(begin(api, store="st_1")) == (400, "no_such_store", "store")


def test_a_member_is_added_once_and_brought_up_to_date(api):
    first = add(api, name="王小明", phone="13800138000").get_json()
    again = add(api, name="王大明").get_json()
    assert (again["id"], again["name"], again["phone"]) == (first["id"], "王大明", "13800138000")
    assert add(api).get_json()["name"] == "王大明"
    assert refusal(add(api, currency="usd")) == (409, "member_currency", None)
    assert refusal(add(api, "user-43", phone="13800138000")) == (409, "phone_taken", None)
    changed = api.post("/v1/members/user-42", {"phone": "", "blocked": True}).get_json()
    assert (changed["phone"], changed["blocked"], changed["available"]) == (None, True, 0)
    assert add(api, "user-43", phone="13800138000").status_code == 200
    assert len(rows_of(Member)) == 2


def test_the_same_top_up_again_goes_on_with_the_first(api, merchant, monkeypatch):
    """After 503 nothing is known: the same request makes no second one."""
    add(api)
    wish = {"scene": "app", "method": "alipay", "merchant_order_no": "T1"}
    real = Alipay.start
    monkeypatch.setattr(Alipay, "start", lambda *_: (_ for _ in ()).throw(ProviderUnreachable("silent")))
    assert begin(api, **wish).status_code == 503
    monkeypatch.setattr(Alipay, "start", real)
    assert begin(api, **wish).get_json()["app_params"]["provider"] == "alipay"
    assert len(rows_of(Topup)) == 1
    assert refusal(begin(api, **wish, description="x")) == (409, "merchant_order_no_taken", None)


@one_database
@pytest.mark.parametrize(
    ("wish", "code", "param"),
    [
        ({"scene": "app"}, "unknown_provider", "method"),
        ({"scene": "app", "method": "paypal"}, "unknown_provider", "method"),
        ({"method": "alipay"}, "invalid_request", "method"),
        ({"amount": 0}, "parameter_invalid", "amount"),
        ({"return_url": "javascript:alert(1)"}, "invalid_request", "return_url"),
    ],
)
def test_what_is_no_top_up_is_refused(api, wish, code, param):
    add(api)
    assert refusal(begin(api, **wish)) == (400, code, param)
    assert rows_of(Topup) == []


def test_spending_and_what_comes_back(api):
    add(api)
    pay(begin(api).get_json()["charge"])
    wish = {"debit_no": "d1", "amount": 4_000, "description": "两杯拿铁"}
    headers = {"Idempotency-Key": "k1"}
    first = api.post("/v1/members/user-42/debits", wish, headers=headers)
    again = api.post("/v1/members/user-42/debits", wish, headers=headers)
    assert (first.status_code, again.data) == (201, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    debit = api.post("/v1/members/user-42/debits", wish).get_json()  # without its key
    assert debit["id"] == first.get_json()["id"]
    too_much = api.post("/v1/members/user-42/debits", {"debit_no": "d2", "amount": 6_001})
    assert refusal(too_much) == (409, "member_balance_too_low", None)
    assert "60.00" in too_much.get_json()["error"]["message"]
    place = f"/v1/members/user-42/debits/{debit['id']}/reverse"
    assert refusal(api.post(place, {"amount": 4_001})) == (400, "invalid_request", "amount")
    back = api.post(place, {"amount": 1_000}).get_json()
    assert (back["amount"], back["amount_reversed"]) == (4_000, 1_000)
    assert refusal(api.post(place, {})) == (409, "debit_reversed", None)
    assert has(rows_of(Member)[0].id) == (7_000, 0)
    lines = api.get("/v1/members/user-42/movements").get_json()["data"]
    assert [(line["kind"], line["balance"]) for line in lines] == [
        ("reversal", 1_000),
        ("debit", -4_000),
        ("topup", 10_000),
    ]
    older = api.get(f"/v1/members/user-42/movements?starting_after={lines[0]['id']}&limit=1").get_json()
    assert [line["id"] for line in older["data"]] == [lines[1]["id"]]
    assert older["has_more"]
    assert len(rows_of(Debit)) == 1


def test_a_refund_of_what_is_spent_says_so(api):
    add(api)
    charge_id = begin(api).get_json()["charge"]
    pay(charge_id)
    api.post("/v1/members/user-42/debits", {"debit_no": "d1", "amount": 4_000})
    assert refusal(api.refund(charge_id)) == (409, "member_balance_too_low", None)
    assert api.refund(charge_id, amount=6_000).status_code == 201
    assert api.get("/v1/topups?member=user-42").get_json()["data"][0]["amount_taken_back"] == 6_000


@one_database
def test_a_rule_that_has_begun_stays(api):
    begun = api.post("/v1/bonus_rules", {"tiers": [{"amount": 100, "bonus": 10}]}).get_json()
    at = to_rfc3339(later(hours=1))
    planned = api.post("/v1/bonus_rules", {"tiers": [], "valid_from": at}).get_json()
    assert refusal(api.post("/v1/bonus_rules", {"tiers": [], "valid_from": at})) == (
        409,
        "bonus_rule_exists",
        None,
    )
    assert api.delete(f"/v1/bonus_rules/{planned['id']}").get_json()["deleted"]
    assert refusal(api.delete(f"/v1/bonus_rules/{begun['id']}")) == (409, "bonus_rule_begun", None)
    for never in ("2020-01-01T00:00:00Z", "9999-12-31T08:00:00Z"):  # the second is the end of time
        assert refusal(api.post("/v1/bonus_rules", {"tiers": [], "valid_from": never})) == (
            400,
            "invalid_request",
            "valid_from",
        )
    assert [rule["id"] for rule in api.get("/v1/bonus_rules").get_json()["data"]] == [begun["id"]]


@one_database
def test_a_key_without_the_scope_opens_nothing(client, merchant):
    _, key = keys.create_key(merchant.id, livemode=False, name="till", scopes=frozenset({"charges:read"}))
    weak = Api(client, key)
    for path in ("/v1/members", "/v1/topups", "/v1/bonus_rules", "/v1/members/x/debits"):
        assert weak.get(path).status_code == 403, path


def test_every_event_of_a_member_fits_its_description(api, client):
    document = client.get("/v1/openapi.json").get_json()
    add(api)
    charge_id = begin(api).get_json()["charge"]
    pay(charge_id)
    rows = [row for row in rows_of(Event) if row.type.startswith(("topup.", "member."))]
    assert {row.type for row in rows} == {"topup.succeeded", "member.balance_changed"}
    for row in rows:
        schema = document["components"]["schemas"][catalogue.schema_name(row.type)]
        jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(
            api.get(f"/v1/events/{row.id}").get_json()
        )
