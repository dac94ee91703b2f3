"""What belongs to another merchant, or to the other mode, does not exist."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from app.ids import new_id
from app.merchants import accounts, keys
from app.webhooks.models import Event
from tests.api.calls import Api, refusal, row_counts
from tests.books import log_call, pay, rows_of
from tests.reconciliation.plain import reconcile_a_day

# Every operation that names a thing; the test below compares this list with the document.
HELPS = ("begin", "decline", "expire", "levers", "pay")
NAMED = [
    ("GET", "/v1/request_logs/{request_id}"),
    ("GET", "/v1/api_keys/{key_id}"),
    ("POST", "/v1/api_keys/{key_id}"),
    ("POST", "/v1/api_keys/{key_id}/revoke"),
    ("POST", "/v1/api_keys/{key_id}/roll"),
    ("GET", "/v1/charges/{charge_id}"),
    ("GET", "/v1/charges/{charge_id}/qr.png"),
    ("GET", "/v1/charges/{charge_id}/qr.svg"),
    ("POST", "/v1/charges/{charge_id}/app_params"),
    ("POST", "/v1/charges/{charge_id}/cancel"),
    ("POST", "/v1/charges/{charge_id}/pay_code"),
    ("GET", "/v1/deliveries/{delivery_id}"),
    ("POST", "/v1/deliveries/{delivery_id}/resend"),
    ("GET", "/v1/events/{event_id}"),
    ("GET", "/v1/risk/decisions/{decision_id}"),
    ("GET", "/v1/risk/rules/{risk_rule_id}"),
    ("POST", "/v1/risk/reviews/{charge_id}"),
    ("POST", "/v1/risk/rules/{risk_rule_id}"),
    ("POST", "/v1/risk/rules/{risk_rule_id}/end"),
    ("GET", "/v1/qr_codes/series/{series_id}/print"),
    ("GET", "/v1/qr_codes/{code_id}"),
    ("GET", "/v1/qr_codes/{code_id}/print"),
    ("GET", "/v1/qr_codes/{code_id}/qr.png"),
    ("GET", "/v1/qr_codes/{code_id}/qr.svg"),
    ("POST", "/v1/qr_codes/{code_id}"),
    ("GET", "/v1/reconciliations/{reconciliation_id}"),
    ("GET", "/v1/discrepancies/{discrepancy_id}"),
    ("GET", "/v1/members/{member}"),
    ("POST", "/v1/members/{member}"),
    ("GET", "/v1/members/{member}/movements"),
    ("GET", "/v1/members/{member}/debits"),
    ("POST", "/v1/members/{member}/debits"),
    ("GET", "/v1/members/{member}/debits/{debit_id}"),
    ("POST", "/v1/members/{member}/debits/{debit_id}/reverse"),
    ("POST", "/v1/members/{member}/adjustments"),
    ("GET", "/v1/topups/{topup_id}"),
    ("POST", "/v1/topups/{topup_id}/ask"),
    ("DELETE", "/v1/bonus_rules/{rule_id}"),
    ("GET", "/v1/refunds/{refund_id}"),
    ("GET", "/v1/stores/{store_id}"),
    ("POST", "/v1/stores/{store_id}"),
    ("POST", "/v1/test_helpers/qr_codes/{code_id}/go_quiet"),
    *(("POST", f"/v1/test_helpers/charges/{{charge_id}}/{verb}") for verb in HELPS),
    ("DELETE", "/v1/webhook_endpoints/{endpoint_id}"),
    ("GET", "/v1/webhook_endpoints/{endpoint_id}"),
    ("POST", "/v1/webhook_endpoints/{endpoint_id}"),
    ("POST", "/v1/webhook_endpoints/{endpoint_id}/ping"),
    ("POST", "/v1/webhook_endpoints/{endpoint_id}/rotate_secret"),
]
LISTS = [
    "/v1/api_keys",
    "/v1/bonus_rules",
    "/v1/charges",
    "/v1/deliveries",
    "/v1/discrepancies",
    "/v1/events",
    "/v1/members",
    "/v1/provider_accounts",
    "/v1/qr_codes",
    "/v1/reconciliations",
    "/v1/refunds",
    "/v1/request_logs",
    "/v1/risk/decisions",
    "/v1/risk/rules",
    "/v1/stores",
    "/v1/topups",
    "/v1/webhook_endpoints",
]
# What they are about is in their body: tests/webhooks/test_replay.py, tests/api/test_{routing,risk}.py.
DEEDS = ["/v1/events/replay", "/v1/risk/trials", "/v1/routing/preview"]
PREFIXES = {
    "charge_id": "ch",
    "delivery_id": "dlv",
    "event_id": "evt",
    "refund_id": "re",
    "reconciliation_id": "rec",
    "discrepancy_id": "dis",
    "endpoint_id": "we",
    "key_id": "key",
    "request_id": "req",
    "code_id": "qr",
    "series_id": "qs",
    "store_id": "st",
    "member": "mb",
    "topup_id": "tu",
    "debit_id": "db",
    "rule_id": "br",
    "risk_rule_id": "rr",
    "decision_id": "rd",
}


def possessions(owner: Api) -> dict[str, str]:
    """One thing of each kind, by the name of its path parameter."""
    charge_id = owner.charge(merchant_order_no="A-1").get_json()["id"]
    endpoint_id = owner.endpoint().get_json()["id"]
    event_id = owner.get(f"/v1/events?object_id={charge_id}").get_json()["data"][0]["id"]
    key_id = owner.post("/v1/api_keys", {"name": "till"}).get_json()["id"]
    owner.post(f"/v1/webhook_endpoints/{endpoint_id}/ping")
    deliveries = owner.get(f"/v1/deliveries?endpoint={endpoint_id}").get_json()["data"]
    refund_id = owner.refund(pay(owner.charge().get_json()["id"]).id).get_json()["id"]
    who = keys.authenticate(owner.key)
    store_id = owner.post("/v1/stores", {"name": "武康路店"}).get_json()["id"]
    code_id = owner.post("/v1/qr_codes", {"name": "堂食", "store": store_id}).get_json()["id"]
    [account, *_] = accounts.list_accounts(who.merchant_id, livemode=who.livemode)
    day = reconcile_a_day(account.id)
    terms = {"on": "order", "entries": ["A-9"]}
    rule = {"kind": "block_list", "action": "block", "name": "A-9", "terms": terms}
    rule_id = owner.post("/v1/risk/rules", rule).get_json()["id"]
    blocked_id = owner.charge(merchant_order_no="A-9").get_json()["id"]
    assert owner.post(f"/v1/charges/{blocked_id}/pay_code", {"code": "2876543210987654"}).status_code == 409
    [decision] = owner.get(f"/v1/risk/decisions?charge={blocked_id}").get_json()["data"]
    table = {"name": "堂食", "series": "桌", "label_kind": "table", "first": 1, "last": 1}
    [of_series] = owner.post("/v1/qr_codes/series", table).get_json()["data"]
    return {
        "account_id": account.id,
        "reconciliation_id": day["reconciliation_id"],
        "discrepancy_id": day["discrepancy_id"],
        "risk_rule_id": rule_id,
        "decision_id": decision["id"],
        "request_id": log_call(who.merchant_id, who.key_id, livemode=who.livemode),
        "charge_id": charge_id,
        "delivery_id": deliveries[0]["id"],
        "event_id": event_id,
        "refund_id": refund_id,
        "endpoint_id": endpoint_id,
        "key_id": key_id,
        "code_id": code_id,
        "series_id": of_series["series"]["id"],
        "store_id": store_id,
        **of_a_member(owner),
    }


def of_a_member(owner: Api) -> dict[str, str]:
    """A member who has topped up and spent, and a rule that has not begun."""
    member_id = owner.post("/v1/members", {"account": "u1"}).get_json()["id"]
    topup = owner.post("/v1/topups", {"member": "u1", "amount": 1000}).get_json()
    pay(topup["charge"])
    debit = owner.post("/v1/members/u1/debits", {"debit_no": "d1", "amount": 1}).get_json()
    rule = {"tiers": [], "valid_from": "2126-01-01T00:00:00Z"}
    return {
        "member": member_id,
        "topup_id": topup["id"],
        "debit_id": debit["id"],
        "rule_id": owner.post("/v1/bonus_rules", rule).get_json()["id"],
    }


def call(who: Api, method: str, path: str) -> TestResponse:
    """Call it as a stranger would: with a body that is good enough to be judged by the address."""
    if path.endswith("/app_params"):
        return who.post(path, {"provider": "alipay"})
    if path.endswith("/levers"):
        return who.post(path, {"name": "drop"})
    if "/risk/rules/" in path and method == "POST" and not path.endswith("/end"):
        return who.post(
            path, {"kind": "day_total", "action": "note", "name": "day", "terms": {"max_count": 1}}
        )
    if "/risk/reviews/" in path:
        return who.post(path, {"verdict": "release", "reason": "mine"})
    if path.endswith("/pay_code"):
        return who.post(path, {"code": "2876543210987654"})
    if path.endswith("/debits"):
        return who.post(path, {"debit_no": "d9", "amount": 1})
    if path.endswith("/adjustments"):
        return who.post(path, {"amount": 1, "reason": "mine"})
    deeds = ("/revoke", "/ping", "/resend", "/cancel", "/expire", "/ask", "/end", "/go_quiet")
    is_deed = path.endswith(deeds)
    return who._call(method, path, {"json": {}} if method == "POST" and not is_deed else {})


@pytest.mark.parametrize("who", ["stranger", "live_api"])
def test_a_foreign_id_is_answered_like_an_unknown_one(who, api, request):
    outsider: Api = request.getfixturevalue(who)
    theirs = possessions(api)
    before = row_counts()
    for method, path in NAMED:
        unknown = path.format(**{name: new_id(prefix) for name, prefix in PREFIXES.items()})
        answers = [call(outsider, method, place) for place in (path.format(**theirs), unknown)]
        bodies = [{**answer.get_json()["error"], "request_id": None} for answer in answers]
        assert [answer.status_code for answer in answers] == [404, 404], path
        assert bodies[0] == bodies[1]
        headers = [{**answer.headers, "Request-Id": None} for answer in answers]
        assert headers[0] == headers[1]
    assert row_counts() == before
    for method, path in reversed(NAMED):  # deleting comes last
        if method == "GET":
            assert api._call(method, path.format(**theirs), {}).status_code == 200


@pytest.mark.parametrize("who", ["stranger", "live_api"])
def test_no_list_shows_what_is_foreign(who, api, request):
    outsider: Api = request.getfixturevalue(who)
    theirs = possessions(api)
    mine = possessions(outsider)
    for path in LISTS:
        text = outsider.get(path).get_data(as_text=True)
        assert not any(value in text for value in theirs.values())
        assert any(value in text for value in mine.values())
    for query in (f"starting_after={theirs['charge_id']}", f"ending_before={theirs['charge_id']}"):
        assert theirs["charge_id"] not in outsider.get(f"/v1/charges?{query}").get_data(as_text=True)
    assert outsider.get(f"/v1/refunds?charge={theirs['charge_id']}").get_json()["data"] == []
    assert refusal(outsider.refund(theirs["charge_id"])) == (404, "not_found", None)
    found = outsider.get("/v1/charges?merchant_order_no=A-1").get_json()["data"]
    assert [charge["id"] for charge in found] == [mine["charge_id"]]
    assert outsider.get(f"/v1/events?object_id={theirs['charge_id']}").get_json()["data"] == []
    assert outsider.get(f"/v1/events?after={theirs['event_id']}").status_code == 404
    for name, key in (("endpoint", "endpoint_id"), ("event", "event_id"), ("object_id", "endpoint_id")):
        assert outsider.get(f"/v1/deliveries?{name}={theirs[key]}").get_json()["data"] == []


def test_the_mode_of_everything_is_the_mode_of_its_key(api, live_api):
    for caller, livemode in ((api, False), (live_api, True)):
        possessions(caller)
        for path in LISTS:
            assert {thing["livemode"] for thing in caller.get(path).get_json()["data"]} == {livemode}, path
    assert {row.livemode for row in rows_of(Event)} == {False, True}


def test_no_operation_that_names_a_thing_is_forgotten_here(api):
    paths = api.get("/v1/openapi.json").get_json()["paths"]
    named = {
        (method.upper(), path) for path, operations in paths.items() for method in operations if "{" in path
    }
    assert named == set(NAMED)
    others = {*DEEDS, "/v1/balance", "/v1/charges/batch", "/v1/qr_codes/series"}
    assert {path for path in paths if "{" not in path} == {*LISTS, *others}
