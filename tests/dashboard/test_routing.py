"""The room of routing: rules in their order, explained, tried; how accounts do."""

from __future__ import annotations

import re

import pytest

from app.charges import attempts, outcomes, routes
from app.charges.attempts import Payer
from app.db import transaction
from app.errors import ProviderUnreachable
from app.ledger import rates
from app.ledger.rates import NewRate
from app.merchants import accounts, routing_rules, stores
from app.merchants.health import OPEN_AFTER
from app.merchants.models import AuditEntry, RoutingRule
from app.merchants.stores import StoreTerms
from app.providers.base import Scene
from tests.books import make_charge, rows_of
from tests.dashboard.person import Person
from tests.dashboard.test_people import hired
from tests.providers import alipay_forge

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def second(merchant) -> str:
    """Another account at Alipay."""
    return accounts.add_account(
        merchant.id, "alipay", livemode=False, name="新账户", settings=alipay_forge.KEY_MODE
    )


def fields(**more: str) -> dict[str, str]:
    return {"mode": "test", "name": "夜间大额", "currency": "CNY", **more}


def rules_of(merchant) -> list:
    return routing_rules.list_rules(merchant.id, livemode=False)


def test_a_rule_is_made_explained_edited_disabled_and_deleted(owner: Person, merchant, second):
    with transaction() as tx:
        store = stores.add_store(tx, merchant.id, StoreTerms("武康路店"), livemode=False)
    owner.get("/settings/routing/rules/new?provider=alipay")
    typed = fields(
        **{f"weight-{second}": "70", f"weight-{merchant.account_id}": "30"},
        **{"min": "100", "max": "5000", "store": store.id, "from": "22:00", "until": "06:00"},
    )
    assert owner.post("/settings/routing/rules/new?provider=alipay", typed).status_code == 303
    page = owner.get("/settings/routing").text
    for text in ("夜间大额", "¥100.00", "¥5,000.00", "武康路店", "from 22:00 to 06:00 in Beijing", "70 %"):
        assert text in page, text
    [rule] = rules_of(merchant)
    form = owner.get(f"/settings/routing/rules/{rule.id}").text
    assert re.search(r'name="from" value="22:00"', form)
    assert owner.post(f"/settings/routing/rules/{rule.id}", {**typed, "strict": "1"}).status_code == 303
    [edited] = rules_of(merchant)
    assert (edited.is_strict, edited.position) == (True, rule.position)
    owner.get("/settings/routing")
    assert owner.post(f"/settings/routing/rules/{edited.id}/switch", {"mode": "test"}).status_code == 303
    [disabled] = rules_of(merchant)
    assert not disabled.enabled
    owner.get("/settings/routing")
    assert owner.post(f"/settings/routing/rules/{disabled.id}/delete", {"mode": "test"}).status_code == 303
    assert rules_of(merchant) == []
    # Nothing is forgotten: each has ended, and the log says who did it.
    assert all(row.ended_at for row in rows_of(RoutingRule))
    actions = [row.action for row in rows_of(AuditEntry) if row.action.startswith("routing_rule")]
    assert actions == ["routing_rule.added", *["routing_rule.changed"] * 2, "routing_rule.deleted"]
    ended = owner.get(f"/settings/routing/rules/{rule.id}").text
    for text in ("No longer in force", "武康路店", "from 22:00 to 06:00 in Beijing", "70 %"):
        assert text in ended, text
    assert '<form class="panel' not in ended
    owner.get("/settings/routing")
    assert owner.post(f"/settings/routing/rules/{rule.id}", typed).status_code == 404


def test_the_rule_that_chose_an_account_is_named_where_the_payment_is(app, owner: Person, merchant, second):
    def attempt(wanted: str) -> str:
        charge = make_charge(merchant)
        account = routes.account_for(merchant.id, charge.id, "alipay", livemode=False)
        assert account.id == wanted
        attempts.start_attempt(charge.id, account, Payer(Scene.MOBILE, "https://pay.example.com/C/x"))
        return charge.id

    plain = attempt(merchant.account_id)
    terms = routing_rules.RuleTerms("alipay", "夜间 <大额>", (routing_rules.Share(second, 1),))
    rule_id = routing_rules.add_rule(merchant.id, terms, livemode=False)
    dealt = attempt(second)
    routing_rules.delete_rule(merchant.id, rule_id)
    page = owner.get(f"/charges/{dealt}").text
    assert f'<a href="/settings/routing/rules/{rule_id}">夜间 &lt;大额&gt;</a>' in page
    assert "新账户" in page
    assert "No rule: the first account that worked" in owner.get(f"/charges/{plain}").text
    page = hired(app, merchant, "cashier").get(f"/charges/{dealt}").text
    assert "夜间 &lt;大额&gt;" in page
    assert f"/settings/routing/rules/{rule_id}" not in page


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"name": ""}, "A name has 1 to 80 characters."),
        ({"min": "x"}, "Enter amounts such as"),
        ({"min": "9", "max": "8"}, "Enter amounts such as"),
        ({"from": "22:00"}, "Enter both times"),
        ({"from": "24:30", "until": "06:00"}, "Enter both times"),
        ({"store": "st_none"}, "Choose one of the stores."),
        ({"weight": "2000"}, "Give at least one account"),
        ({"weight": ""}, "Give at least one account"),
    ],
)
def test_what_cannot_be_meant_is_said_beside_the_field(owner: Person, merchant, wrong, text):
    with transaction() as tx:
        stores.add_store(tx, merchant.id, StoreTerms("武康路店"), livemode=False)
    wrong = dict(wrong)
    weight = wrong.pop("weight", "1")
    owner.get("/settings/routing/rules/new?provider=alipay")
    typed = {**fields(**{f"weight-{merchant.account_id}": weight}), **wrong}
    answer = owner.post("/settings/routing/rules/new?provider=alipay", typed)
    assert (answer.status_code, text in answer.text) == (400, True)
    assert rules_of(merchant) == []


def test_rules_change_places(owner: Person, merchant, second):
    for name, account_id in (("甲", merchant.account_id), ("乙", second)):
        owner.get("/settings/routing/rules/new?provider=alipay")
        typed = fields(**{f"weight-{account_id}": "1"}) | {"name": name}
        owner.post("/settings/routing/rules/new?provider=alipay", typed)
    later = rules_of(merchant)[1]
    owner.get("/settings/routing")
    owner.post(f"/settings/routing/rules/{later.id}/move", {"mode": "test", "direction": "earlier"})
    assert [row.name for row in rules_of(merchant)] == ["乙", "甲"]


def test_what_a_payment_would_cost_is_told_with_why_not_elsewhere(owner: Person, merchant, second):
    rates.add_rate(merchant.id, NewRate(second, "CNY", 38, 0))
    owner.get("/settings/routing/rules/new?provider=alipay")
    owner.post(
        "/settings/routing/rules/new?provider=alipay", fields(**{f"weight-{second}": "1", "min": "100"})
    )
    page = owner.get("/settings/routing?try_provider=alipay&amount=100&currency=CNY&at=23:30").text
    for text in (
        "Through 新账户.",
        "It would cost ¥0.38.",
        "Rule: 夜间大额.",
        "The rule names other accounts.",
    ):
        assert text in page, text
    page = owner.get("/settings/routing?try_provider=alipay&amount=99.99&currency=CNY").text
    for text in ("Through 支付宝", "No rule fits.", "No rule: an older account works.", "no rate"):
        assert text in page, text
    assert owner.get("/settings/routing?try_provider=alipay&amount=x").status_code == 400


def test_a_failing_account_is_shown_where_people_look(owner: Person, merchant, second):
    for _ in range(OPEN_AFTER):
        outcomes.note_refusal(accounts.open_account(merchant.account_id), ProviderUnreachable("no answer"))
    assert "Payments could not begin here since" in owner.get("/settings/providers").text
    assert "Payments fail" in owner.get("/settings/routing").text
    assert "Payments fail through one of your accounts" in owner.get("/incidents").text
    found = owner.get("/settings/routing?try_provider=alipay&amount=1&currency=CNY").text
    assert "Payments through it fail at the moment." in found
    assert "Through 新账户" in found


def test_another_shops_rule_and_account_are_not_there(owner: Person, merchant, other_merchant):
    owner.get("/settings/routing/rules/new?provider=alipay")
    typed = fields(**{f"weight-{other_merchant.account_id}": "1"})
    assert owner.post("/settings/routing/rules/new?provider=alipay", typed).status_code == 400
    terms = routing_rules.RuleTerms("alipay", "theirs", (routing_rules.Share(other_merchant.account_id, 1),))
    theirs = routing_rules.add_rule(other_merchant.id, terms, livemode=False)
    assert owner.get(f"/settings/routing/rules/{theirs}").status_code == 404
    assert owner.post(f"/settings/routing/rules/{theirs}/delete", {"mode": "test"}).status_code == 404
