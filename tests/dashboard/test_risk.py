"""The rooms for rules about payments: tried before they are in force, explained, decided by who may."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from app.charges.states import ChargeState
from app.db import transaction
from app.errors import InvalidRequest, PaymentStopped
from app.merchants import risk_rules
from app.merchants.actor import SERVER
from app.merchants.risk import Action, Rule, RuleKind, Terms
from app.merchants.risk_models import RiskDecision, RiskRule
from tests.books import charge_of, make_charge, make_paid, row_of, rows_of, start
from tests.charges.test_screening import add, outcome_of
from tests.dashboard.test_ledger import colleague

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

RULE = {"kind": "payment_amount", "name": "too much", "action": "block", "max_amount": "10"}


def held(shop):
    """A charge that waits for a person."""
    add(shop, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    charge = make_charge(shop)
    assert outcome_of(shop, charge.id) == "payment_held"
    return charge


def test_every_kind_has_a_form_that_makes_its_rule(owner, merchant, far_side):
    page = owner.get("/risk/rules/new").text
    terms = {
        "payment_amount": {"min_amount": "1", "max_amount": "10"},
        "day_total": {"max_sum": "100", "max_count": "5"},
        "code_day_total": {"max_count": "5"},
        "payer_day_total": {"max_sum": "100"},
        "address_pace": {"max_count": "5", "window": "10"},
        "device_pace": {"max_count": "5", "window": "10"},
        "repeated_amount": {"max_count": "5", "window": "10"},
        "round_amounts": {"step": "100", "max_count": "5", "window": "10"},
        "just_below": {"max_amount": "500", "margin": "10", "max_count": "0", "window": "60"},
        "block_list": {"on": "order", "entries": "TEST-*\r\nA-1\r\n"},
    }
    assert set(terms) == set(RuleKind)
    for kind, fields in terms.items():
        assert f"kind={kind}" in page
        assert "<form" in owner.get(f"/risk/rules/new?kind={kind}").text
        wanted = {"kind": kind, "name": f"my {kind}", "action": "note", "valid_until": "2099-01-31", **fields}
        trial = owner.get("/risk/rules/new", query_string=wanted)
        assert trial.status_code == 200
        assert "Trial of the last 30 days" in trial.text
        made = owner.post("/risk/rules/new", wanted)
        assert made.status_code == 303
        assert f"my {kind}" in owner.get(made.location).text
    assert [row.kind for row in rows_of(RiskRule)] == list(terms)
    assert row_of(RiskRule, kind="block_list").terms == {"on": "order", "entries": ["TEST-*", "A-1"]}
    assert row_of(RiskRule, kind="address_pace").terms == {"max_count": 5, "window_s": 600}
    assert all(f"my {kind}" in owner.get("/risk").text for kind in terms)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"max_amount": "much"}, "Enter an amount such as 500"),
        ({"max_amount": "10", "min_amount": "11"}, "not below the least"),
        ({"max_amount": ""}, "leave it empty"),
        ({"action": "explode"}, "Choose what happens."),
        ({"valid_until": "soon"}, "Enter a day such as 2026-01-31"),
        ({"kind": "block_list", "on": "address", "entries": "10.0.0.0/8"}, "at most 65536 addresses"),
        ({"kind": "address_pace", "max_count": "3", "window": "0"}, "Enter 1 to 1440 minutes."),
    ],
)
def test_a_mistake_is_said_beside_its_field(owner, merchant, change, fault):
    page = owner.get("/risk/rules/new", query_string=RULE | change)
    assert page.status_code == 400
    assert fault in page.text
    assert owner.post("/risk/rules/new", RULE | change).status_code == 400
    assert rows_of(RiskRule) == []


def test_a_nameless_rule_is_not_put_in_force(owner, merchant):
    assert "Give it a name" in owner.post("/risk/rules/new", RULE | {"name": " "}).text


def test_a_trial_says_how_much_and_shows_which(owner, merchant, far_side):
    paid = make_paid(merchant, minor=1250)
    start(merchant, make_charge(merchant, minor=990).id)
    page = owner.get("/risk/rules/new", query_string=RULE).text
    assert re.search(r"Begun to be paid</dt><dd>2<", page)
    assert re.search(r"It would have matched</dt><dd>1 · ¥12.50", page)
    assert re.search(r"Of these were paid</dt><dd>1 · ¥12.50", page)
    assert "¥12.50 is more than ¥10.00." in page
    assert f"/charges/{paid.id}" in page
    assert rows_of(RiskRule) == []
    change = owner.get("/risk/rules/new", query_string=RULE | {"change": "1"}).text
    assert 'value="too much"' in change


def test_a_rule_is_replaced_by_its_form_and_ended(owner, merchant):
    rule_id = add(merchant, RuleKind.DAY_TOTAL, max_count=3, max_sum_minor=5000)
    form = owner.get(f"/risk/rules/{rule_id}/replace").text
    assert 'value="50.00"' in form
    assert 'value="3"' in form
    fields = {"name": "stricter", "action": "review", "max_count": "2"}
    assert "Replace the rule" in owner.get(f"/risk/rules/{rule_id}/replace", query_string=fields).text
    made = owner.post(f"/risk/rules/{rule_id}/replace", fields)
    assert "The rule before" in owner.get(made.location).text
    assert "The rule after" in owner.get(f"/risk/rules/{rule_id}").text
    again = owner.post(f"/risk/rules/{rule_id}/replace", fields)
    assert again.location.endswith("notice=risk_rule_ended")
    new_id = made.location.partition("?")[0].rpartition("/")[2]
    owner.get(f"/risk/rules/{new_id}")
    owner.post(f"/risk/rules/{new_id}/end")
    assert risk_rules.find(merchant.id, new_id, livemode=False).ended_at


def test_a_window_of_seconds_survives_its_form(owner, merchant):
    """Over the API any number from 60 is a window; rounded to minutes the rule would say something else."""
    rule_id = add(merchant, RuleKind.ADDRESS_PACE, max_count=3, window_s=61)
    assert "61 seconds" in owner.get(f"/risk/rules/{rule_id}").text
    form = owner.get(f"/risk/rules/{rule_id}/replace").text
    window = re.search(r'name="window" value="([^"]*)"', form)[1]
    fields = {"name": "renamed", "action": "block", "max_count": "3", "window": window}
    owner.post(f"/risk/rules/{rule_id}/replace", fields)
    assert row_of(RiskRule, name="renamed").terms["window_s"] == 61


def test_a_block_is_explained_on_the_page_of_the_charge_and_on_its_own(owner, merchant, far_side):
    rule_id = add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1000)
    charge = make_charge(merchant)
    with pytest.raises(PaymentStopped):
        start(merchant, charge.id)
    for page in (
        f"/charges/{charge.id}",
        "/risk/decisions",
        f"/risk/decisions?charge={charge.id}&action=block&kind=payment_amount&rule={rule_id}",
        f"/risk/rules/{rule_id}",
    ):
        assert "¥12.50 is more than ¥10.00." in owner.get(page).text, page
    for other in ("action=note", "kind=day_total", "charge=ch_x", "rule=rr_x"):
        assert "No decision fits" in owner.get(f"/risk/decisions?{other}").text, other


def test_the_inbox_releases_and_refuses_with_a_reason(owner, merchant, far_side):
    first, second = held(merchant), held(merchant)
    page = owner.get("/risk/reviews").text
    assert page.count("Release: it can be paid") == 2
    assert "2 payments are held" in owner.get("/").text
    assert owner.post(f"/risk/reviews/{first.id}/release", {"reason": ""}).status_code == 400
    assert owner.post(f"/risk/reviews/{first.id}/release", {"reason": "known guest"}).status_code == 303
    assert owner.post(f"/risk/reviews/{second.id}/refuse", {"reason": "unknown"}).status_code == 303
    assert charge_of(merchant, first.id).review == "released"
    assert charge_of(merchant, second.id).state == ChargeState.CANCELED
    assert "released it: known guest" in owner.get(f"/charges/{first.id}").text
    assert "refused it: unknown" in owner.get(f"/charges/{second.id}").text
    late = owner.post(f"/risk/reviews/{first.id}/refuse", {"reason": "no"})
    assert late.location.endswith("notice=review_closed")
    assert "Nobody waits." in owner.get("/risk/reviews").text


@pytest.mark.parametrize("role", ["cashier", "accountant"])
def test_who_may_read_may_not_decide(app, merchant, far_side, role):
    charge = held(merchant)
    [decision] = rows_of(RiskDecision)
    person = colleague(app, merchant, role)
    for address in ("/risk", "/risk/reviews", "/risk/decisions", f"/risk/rules/{decision.rule_id}"):
        page = person.get(address)
        assert page.status_code == 200
        assert not re.search(r'action="/risk/(rules|reviews)', page.text)
    assert person.get("/risk/rules/new").status_code == 403
    for address in (f"/risk/reviews/{charge.id}/release", f"/risk/rules/{decision.rule_id}/end"):
        assert person.post(address, {"reason": "x"}).status_code == 403
    assert charge_of(merchant, charge.id).review == "open"


def test_the_till_says_what_stops_a_sale(owner, merchant, far_side):
    add(merchant, RuleKind.PAYMENT_AMOUNT, Action.REVIEW, max_amount_minor=1000)
    owner.get("/cashier")
    sale = owner.post("/cashier", {"amount": "12.50", "code": ""}).location
    assert "holds this payment" in owner.post(sale, {"code": "2876543210987654"}).text
    assert "Look at it" in owner.get(sale).text
    add(merchant, RuleKind.PAYMENT_AMOUNT, max_amount_minor=1000)
    owner.get("/cashier")
    sale = owner.post("/cashier", {"amount": "12.50", "code": ""}).location
    assert "stops this payment" in owner.post(sale, {"code": "2876543210987655"}).text


def test_the_rooms_of_one_merchant_are_closed_to_another(owner, merchant, other_merchant, far_side):
    charge = held(other_merchant)
    [decision] = rows_of(RiskDecision)
    assert owner.get(f"/risk/rules/{decision.rule_id}").status_code == 404
    assert charge.id not in owner.get("/risk/reviews").text + owner.get("/risk/decisions").text
    owner.get("/risk/reviews")
    assert owner.post(f"/risk/reviews/{charge.id}/release", {"reason": "mine"}).status_code == 404


def test_another_rule_in_its_place_has_its_currency(owner, merchant):
    rule = Rule(RuleKind.DAY_TOTAL, Action.BLOCK, Terms(max_sum_minor=50000), currency="JPY", name="yen")
    with transaction() as tx:
        old = risk_rules.add_rule(tx, merchant.id, rule, livemode=False, by=SERVER)
    wanted = {"kind": "day_total", "name": "yen", "action": "block", "max_sum": "60000"}
    assert owner.post(f"/risk/rules/{old.id}/replace", wanted).status_code == 303
    new = row_of(RiskRule, replaces=old.id)
    assert (new.currency, new.terms) == ("JPY", {"max_sum": 60000})


@pytest.mark.parametrize("year", [1, 1999, 9999])
def test_a_rule_has_dates_that_its_pages_can_show(merchant, year):
    end = datetime(year, 12, 31, tzinfo=UTC)
    rule = Rule(RuleKind.DAY_TOTAL, Action.BLOCK, Terms(max_count=1), name="x", valid_until=end)
    with pytest.raises(InvalidRequest, match="years"), transaction() as tx:
        risk_rules.add_rule(tx, merchant.id, rule, livemode=False, by=SERVER)
