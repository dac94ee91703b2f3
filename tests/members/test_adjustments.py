"""What is given or taken by hand over the API: once, for a reason, and by a key that may."""

from __future__ import annotations

import pytest

from app.merchants import keys, policy
from app.merchants.actor import SERVER
from app.merchants.models import AuditEntry
from app.merchants.policy import Policy
from app.merchants.scopes import Scope, scopes_of
from app.webhooks.models import Event
from tests.api.calls import Api, refusal
from tests.books import rows_of
from tests.members.purse import add_member, faults, has, kinds, top_up

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PLACE = "/v1/members/user-42/adjustments"


def test_it_is_done_once_for_each_idempotency_key_and_everybody_is_told(client, merchant):
    member = add_member(merchant)
    key_id, key = keys.create_key(
        merchant.id, livemode=False, name="support", scopes=scopes_of(["adjustments:write", "members:read"])
    )
    api = Api(client, key)
    wish, once = {"amount": 500, "bonus": 70, "reason": " long  wait "}, {"Idempotency-Key": "a1"}
    first, again = (api.post(PLACE, wish, headers=once) for _ in range(2))
    assert (first.status_code, again.get_json()) == (201, first.get_json())
    assert refusal(api.post(PLACE, {**wish, "amount": 501}, headers=once))[0] == 422
    assert has(member.id) == (500, 70)
    (line,) = api.get("/v1/members/user-42/movements").get_json()["data"]
    assert line == first.get_json()
    assert (line["kind"], line["note"], line["made_by"]) == ("adjustment", "long wait", key_id)
    noted = [entry for entry in rows_of(AuditEntry) if entry.action == "member.adjusted"]
    assert [(entry.actor, entry.object_id) for entry in noted] == [(key_id, member.id)]
    assert [event.type for event in rows_of(Event, object_id=member.id)] == ["member.balance_changed"]
    assert faults() == []


@one_database
def test_a_hand_takes_nothing_below_zero_even_where_members_may_owe(api, merchant):
    member = add_member(merchant)
    top_up(merchant, member.id, 1_000)
    policy.save_policy(merchant.id, Policy(members_may_owe=True), by=SERVER)
    for move in ({"amount": -1_001}, {"amount": 500, "bonus": -1}):
        assert refusal(api.post(PLACE, {**move, "reason": "a slip"}))[:2] == (409, "member_balance_too_low")
    assert api.post(PLACE, {"amount": -1_000, "reason": "a slip"}).status_code == 201
    assert has(member.id) == (0, 0)
    assert kinds(member.id) == ["topup", "adjustment"]


@one_database
@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"reason": "why"}, "amount"),
        ({"amount": 0, "bonus": 0, "reason": "why"}, "amount"),
        ({"amount": 10**15, "reason": "why"}, "amount"),
        ({"amount": 1.5, "reason": "why"}, "amount"),
        ({"amount": 1}, "reason"),
        ({"amount": 1, "reason": " "}, "reason"),
        ({"amount": 1, "reason": "x" * 201}, "reason"),
    ],
)
def test_what_says_too_little_moves_nothing(api, merchant, wish, field):
    member = add_member(merchant)
    assert refusal(api.post(PLACE, wish))[::2] == (400, field)
    assert kinds(member.id) == []


@one_database
def test_who_may_change_members_and_take_debits_may_not_adjust(client, merchant):
    add_member(merchant)
    others = frozenset(Scope) - {Scope.ADJUSTMENTS_WRITE}
    _, key = keys.create_key(merchant.id, livemode=False, name="till", scopes=others)
    assert Api(client, key).post(PLACE, {"amount": 1, "reason": "mine"}).status_code == 403


def test_that_scope_reads_nothing():
    assert scopes_of(["adjustments:write"]) == {Scope.ADJUSTMENTS_WRITE}
