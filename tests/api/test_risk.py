"""/v1/risk: rules are added, replaced and ended, tried on what was, and their decisions read."""

from __future__ import annotations

import pytest

from app.merchants.risk import Action, RuleKind
from tests.books import make_charge, make_paid
from tests.charges.test_screening import add, outcome_of

RULE = {"kind": "payment_amount", "action": "block", "name": "too much", "terms": {"max_amount": 1000}}


@pytest.fixture
def ask(client, merchant):
    def call(method, path, body=None, headers=None, shop=merchant):
        answer = client.open(path, method=method, json=body, headers=shop.headers | (headers or {}))
        return answer.status_code, answer.get_json()

    return call


def test_a_rule_lives_until_another_takes_its_place(ask):
    status, rule = ask("POST", "/v1/risk/rules", RULE)
    assert (status, rule["terms"], rule["currency"], rule["ended_at"]) == (
        201,
        {"max_amount": 1000},
        "cny",
        None,
    )
    status, other = ask("POST", f"/v1/risk/rules/{rule['id']}", RULE | {"terms": {"max_amount": 2000}})
    assert (status, other["replaces"]) == (201, rule["id"])
    status, refusal = ask("POST", f"/v1/risk/rules/{rule['id']}", RULE)
    assert (status, refusal["error"]["code"]) == (409, "risk_rule_ended")
    _, before = ask("GET", f"/v1/risk/rules/{rule['id']}")
    assert (before["terms"], before["replaced_by"]) == ({"max_amount": 1000}, other["id"])
    for _ in range(2):
        status, ended = ask("POST", f"/v1/risk/rules/{other['id']}/end")
        assert (status, ended["ended_at"] is None) == (200, False)
    assert ask("GET", "/v1/risk/rules?live=true")[1]["data"] == []
    assert [each["id"] for each in ask("GET", "/v1/risk/rules")[1]["data"]] == [other["id"], rule["id"]]


def test_a_rule_sent_twice_under_one_key_is_one(ask):
    once = {"Idempotency-Key": "rule-1"}
    first, again = ask("POST", "/v1/risk/rules", RULE, once), ask("POST", "/v1/risk/rules", RULE, once)
    assert first == again


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"terms": {}}, "terms.min_amount"),
        ({"terms": {"max_count": 1}}, "terms.max_count"),
        ({"terms": {"max_amount": 0}}, "terms.max_amount"),
        ({"terms": {"most": 1}}, "terms.most"),
        ({"kind": "mood"}, "kind"),
        ({"name": " "}, "name"),
        ({"currency": "xxx"}, "currency"),
    ],
)
def test_what_is_no_rule_is_refused(ask, change, param):
    status, refusal = ask("POST", "/v1/risk/rules", RULE | change)
    assert (status, refusal["error"]["param"]) == (400, param)


def test_no_more_than_fifty_rules_are_in_force(ask, merchant):
    for _ in range(50):
        add(merchant, RuleKind.DAY_TOTAL, Action.NOTE, max_count=1)
    status, refusal = ask("POST", "/v1/risk/rules", RULE)
    assert (status, refusal["error"]["code"]) == (409, "too_many_rules")


def test_a_trial_tells_what_it_would_have_stopped(ask, merchant, far_side):
    paid = make_paid(merchant, minor=1250)
    make_paid(merchant, minor=990)
    status, trial = ask("POST", "/v1/risk/trials", RULE)
    assert status == 200
    assert (trial["judged"], trial["is_whole"]) == (2, True)
    assert trial["stopped"] == trial["lost"] == [{"currency": "cny", "charges": 1, "amount": 1250}]
    assert [each["charge"] for each in trial["examples"]] == [paid.id]
    assert ask("GET", "/v1/risk/rules")[1]["data"] == []


def test_a_held_charge_says_so_and_is_pending(ask, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    charge = make_charge(merchant)
    assert outcome_of(merchant, charge.id) == "payment_held"
    _, shown = ask("GET", f"/v1/charges/{charge.id}")
    assert (shown["status"], shown["review"]["status"]) == ("pending", "open")
    ask("POST", f"/v1/charges/{charge.id}/cancel")
    assert ask("GET", f"/v1/charges/{charge.id}")[1]["review"]["status"] == "lapsed"


def test_a_desk_of_the_merchants_own_releases_and_refuses(ask, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    for verdict, status, review in (("release", "pending", "released"), ("refuse", "canceled", "refused")):
        charge = make_charge(merchant)
        path, body = f"/v1/risk/reviews/{charge.id}", {"verdict": verdict, "reason": "known guest"}
        assert ask("POST", path, body)[0] == 409
        assert outcome_of(merchant, charge.id) == "payment_held"
        told, closed = ask("POST", path, body)
        assert (told, closed["status"], closed["review"]["status"]) == (200, status, review)
        assert closed["review"]["reason"] == "known guest"
        assert ask("POST", path, body)[0] == 409


def test_a_payment_code_is_refused_with_a_word_and_without_a_number(ask, merchant, far_side):
    rule_id = add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1000)
    charge = make_charge(merchant)
    status, refusal = ask("POST", f"/v1/charges/{charge.id}/pay_code", {"code": "2876543210987654"})
    assert (status, refusal["error"]["code"]) == (409, "payment_blocked")
    assert "1000" not in refusal["error"]["message"]
    _, listed = ask("GET", f"/v1/risk/decisions?charge={charge.id}&rule={rule_id}&action=block")
    [decision] = listed["data"]
    assert (decision["facts"], decision["scene"]) == ({"amount": 1250, "max_amount": 1000}, "counter")
    assert ask("GET", f"/v1/risk/decisions/{decision['id']}") == (200, decision)
    assert ask("GET", "/v1/risk/decisions?action=note")[1]["data"] == []


def test_another_merchant_finds_none_of_it(ask, merchant, other_merchant, far_side):
    rule_id = add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1000)
    charge = make_charge(merchant)
    outcome_of(merchant, charge.id)
    [decision] = ask("GET", "/v1/risk/decisions")[1]["data"]
    for method, path, body in (
        ("GET", f"/v1/risk/rules/{rule_id}", None),
        ("POST", f"/v1/risk/rules/{rule_id}", RULE),
        ("POST", f"/v1/risk/rules/{rule_id}/end", None),
        ("GET", f"/v1/risk/decisions/{decision['id']}", None),
    ):
        assert ask(method, path, body, shop=other_merchant)[0] == 404, path
    for path in ("/v1/risk/rules", "/v1/risk/decisions"):
        assert ask("GET", path, shop=other_merchant)[1]["data"] == []
    assert outcome_of(other_merchant, make_charge(other_merchant).id) == "begun"
