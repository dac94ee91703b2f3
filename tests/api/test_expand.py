"""expand[]: a charge with its refunds and latest attempt, a refund with its charge, one level deep."""

from __future__ import annotations

from app.charges.expand import REFUNDS_SHOWN
from tests.api.calls import Api, refusal
from tests.books import make_attempt, make_charge, make_paid


def test_a_charge_unfolds_its_refunds_newest_first(api, merchant):
    charge = make_paid(merchant)
    refunds = [api.refund(charge.id, amount=amount).get_json() for amount in (1, 2)]
    answer = api.get(f"/v1/charges/{charge.id}?expand[]=refunds")
    assert answer.get_json()["refunds"] == {
        "object": "list",
        "url": f"/v1/refunds?charge={charge.id}",
        "has_more": False,
        "data": refunds[::-1],
    }
    assert "refunds" not in api.get(f"/v1/charges/{charge.id}").get_json()


def test_a_charge_unfolds_its_latest_attempt(api, merchant):
    charge = make_charge(merchant)
    assert api.get(f"/v1/charges/{charge.id}?expand[]=latest_attempt").get_json()["latest_attempt"] is None
    number = make_attempt(merchant, charge.id)
    latest = api.get(f"/v1/charges/{charge.id}?expand[]=latest_attempt").get_json()["latest_attempt"]
    assert (latest["object"], latest["status"], latest["provider"]) == ("attempt", "started", "alipay")
    assert latest["out_trade_no"] == number
    assert (latest["provider_account"], latest["routing_rule"]) == (merchant.account_id, None)


def test_a_page_unfolds_each_of_its_own(api, merchant):
    charges = [make_paid(merchant) for _ in range(3)]
    refunds = {charge.id: [api.refund(charge.id, amount=1).get_json()["id"]] for charge in charges[:2]}
    page = api.get("/v1/charges?expand[]=refunds&expand[]=latest_attempt").get_json()["data"]
    found = {charge["id"]: [refund["id"] for refund in charge["refunds"]["data"]] for charge in page}
    assert found == {**refunds, charges[2].id: []}
    assert {charge["latest_attempt"]["status"] for charge in page} == {"succeeded"}


def test_of_many_refunds_the_latest_are_shown(api, merchant):
    charge = make_paid(merchant)
    ids = [api.refund(charge.id, amount=1).get_json()["id"] for _ in range(REFUNDS_SHOWN + 1)]
    shown = api.get(f"/v1/charges/{charge.id}?expand[]=refunds").get_json()["refunds"]
    assert shown["has_more"] is True
    assert [refund["id"] for refund in shown["data"]] == ids[:0:-1]


def test_a_refund_unfolds_its_charge(api, merchant):
    charge = make_paid(merchant)
    refund_id = api.refund(charge.id, amount=1).get_json()["id"]
    unfolded = api.get(f"/v1/charges/{charge.id}").get_json()
    assert api.get(f"/v1/refunds/{refund_id}?expand[]=charge").get_json()["charge"] == unfolded
    assert api.get("/v1/refunds?expand[]=charge").get_json()["data"][0]["charge"] == unfolded
    assert api.get(f"/v1/refunds/{refund_id}").get_json()["charge"] == charge.id


def test_what_cannot_be_unfolded_is_refused(api, merchant):
    charge = make_charge(merchant)
    path = f"/v1/charges/{charge.id}"
    for query in ("expand[]=merchant", "expand[]=refunds.charge", "expand[]=", "expand[]=charge"):
        assert refusal(api.get(f"{path}?{query}")) == (400, "parameter_invalid", "expand[].0"), query
    assert refusal(api.get(f"{path}?expand=refunds")) == (400, "parameter_unknown", "expand")
    twice = api.get(f"{path}?expand[]=refunds&expand[]=refunds")
    assert refusal(twice) == (400, "parameter_repeated", "expand[]")
    assert refusal(api.post(f"{path}/cancel?expand[]=refunds"))[0] == 400


def test_nobody_unfolds_what_their_key_may_not_read(api, merchant):
    charge = make_paid(merchant)
    refund_id = api.refund(charge.id, amount=1).get_json()["id"]

    def holder(scope: str) -> Api:
        made = api.post("/v1/api_keys", {"name": "till", "scopes": [scope]}).get_json()
        return Api(api.client, made["secret"])

    reader, refunder = holder("charges:read"), holder("refunds:read")
    for path in (f"/v1/charges/{charge.id}", "/v1/charges"):
        assert refusal(reader.get(f"{path}?expand[]=refunds")) == (403, "scope_missing", None)
        assert refusal(reader.get(f"{path}?expand[]=store")) == (403, "scope_missing", None)
        assert reader.get(f"{path}?expand[]=latest_attempt").status_code == 200
    for path in (f"/v1/refunds/{refund_id}", "/v1/refunds"):
        assert refusal(refunder.get(f"{path}?expand[]=charge")) == (403, "scope_missing", None)
