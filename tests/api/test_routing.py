"""Where a payment would go and what it would cost, over the API; how accounts do, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.charges import outcomes
from app.errors import ProviderUnreachable
from app.ledger import rates
from app.ledger.rates import NewRate
from app.merchants import accounts, keys, routing_rules
from app.merchants.health import OPEN_AFTER
from app.merchants.routing import Share
from app.merchants.routing_rules import RuleTerms
from app.merchants.scopes import scopes_of
from tests.books import make_charge
from tests.providers import alipay_forge

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NIGHT = datetime(2026, 1, 15, 15, 30, tzinfo=UTC)  # 23:30 in Beijing


@pytest.fixture
def second(merchant) -> str:
    """Another account at Alipay, which is cheaper."""
    account_id = accounts.add_account(
        merchant.id, "alipay", livemode=False, name="新账户", settings=alipay_forge.KEY_MODE
    )
    for each, basis_points in ((merchant.account_id, 60), (account_id, 38)):
        rates.add_rate(merchant.id, NewRate(each, "CNY", basis_points, 0, NIGHT))
    return account_id


def ask(client, shop, **wish):
    answer = client.post(
        "/v1/routing/preview", json={"provider": "alipay", "amount": 10_000, **wish}, headers=shop.headers
    )
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def whys(answer) -> list[str]:
    return [line["why"] for line in answer["accounts"]]


def test_without_rules_it_is_the_oldest_at_its_rate(client, merchant, second):
    found = ask(client, merchant)
    assert (found["account"], found["fee"], found["rule"]) == (merchant.account_id, 60, None)
    assert whys(found) == ["chosen", "older_first"]
    assert [line["fee"] for line in found["accounts"]] == [60, 38]
    assert ask(client, merchant, currency="usd")["fee"] is None  # no rate is known


def test_rules_decide_by_the_time_that_is_asked_for(client, merchant, second):
    terms = RuleTerms("alipay", "夜间", (Share(second, 1),), from_minute=22 * 60, until_minute=6 * 60)
    rule_id = routing_rules.add_rule(merchant.id, terms, livemode=False)
    found = ask(client, merchant, at=NIGHT.isoformat())
    assert (found["account"], found["fee"]) == (second, 38)
    assert found["rule"] == {"id": rule_id, "name": "夜间"}
    assert whys(found) == ["not_in_rule", "chosen"]
    assert ask(client, merchant, at="2026-01-15T04:00:00Z")["account"] == merchant.account_id


def test_a_charge_is_told_its_own_draw(client, merchant, second):
    terms = RuleTerms("alipay", "一半", (Share(merchant.account_id, 60), Share(second, 40)))
    routing_rules.add_rule(merchant.id, terms, livemode=False)
    assert ask(client, merchant)["account"] == merchant.account_id
    charges = [make_charge(merchant).id for _ in range(20)]
    drawn = {charge_id: ask(client, merchant, charge=charge_id)["account"] for charge_id in charges}
    assert set(drawn.values()) == {merchant.account_id, second}
    assert {line["share"] for line in ask(client, merchant)["accounts"]} == {0.6, 0.4}


def test_a_failing_and_a_disabled_account_say_so(client, merchant, second):
    for _ in range(OPEN_AFTER):
        outcomes.note_refusal(accounts.open_account(merchant.account_id), ProviderUnreachable("no answer"))
    assert whys(ask(client, merchant)) == ["unhealthy", "chosen"]
    listed = client.get("/v1/provider_accounts", headers=merchant.headers).get_json()["data"]
    assert [(each["health"], each["failures"], each["reason"]) for each in listed] == [
        ("unhealthy", OPEN_AFTER, "no_answer"),
        ("healthy", 0, None),
    ]
    [event] = client.get("/v1/events?type=provider_account.unhealthy", headers=merchant.headers).get_json()[
        "data"
    ]
    assert event["data"]["object"] == listed[0]
    accounts.disable_account(merchant.id, second)
    assert whys(ask(client, merchant)) == ["chosen", "disabled"]  # trying is better than refusing


def test_a_strict_rule_without_an_account_leads_nowhere(client, merchant, second):
    terms = RuleTerms("alipay", "分店", (Share(second, 1),), is_strict=True)
    routing_rules.add_rule(merchant.id, terms, livemode=False)
    accounts.disable_account(merchant.id, second)
    found = ask(client, merchant)
    assert (found["account"], found["fee"]) == (None, None)
    assert whys(found) == ["not_in_rule", "disabled"]


@pytest.mark.parametrize("wish", [{"provider": "paypal"}, {"amount": 0}, {"currency": "xxx"}, {"more": 1}])
def test_what_cannot_be_asked_is_refused(client, merchant, wish):
    body = {"provider": "alipay", "amount": 1, **wish}
    assert client.post("/v1/routing/preview", json=body, headers=merchant.headers).status_code == 400


def test_it_takes_a_scope_of_its_own_and_shows_nobody_elses(client, merchant, other_merchant):
    _, key = keys.create_key(merchant.id, livemode=False, name="till", scopes=scopes_of(["charges:write"]))
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/v1/provider_accounts", headers=headers).status_code == 403
    listed = client.get("/v1/provider_accounts", headers=other_merchant.headers).get_json()["data"]
    assert [each["id"] for each in listed] == [other_merchant.account_id]
