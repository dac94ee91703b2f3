"""/v1/api_keys: no key reaches further than its scopes, and none can lengthen its own arm."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.ids import is_id
from app.merchants.models import ApiKey
from app.merchants.scopes import ROUTES, Scope
from tests.api.calls import Api, refusal, row_counts
from tests.books import row_of, rows_of

ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def made(api: Api, *scopes: str, **more: Any) -> dict[str, Any]:
    """A restricted key, or a full one without scopes."""
    answer = api.post(
        "/v1/api_keys", {"name": "till", **({"scopes": list(scopes)} if scopes else {}), **more}
    )
    assert answer.status_code == 201, answer.data
    key: dict[str, Any] = answer.get_json()
    return key


def with_scopes(api: Api, *scopes: str) -> Api:
    return Api(api.client, made(api, *scopes)["secret"])


def test_a_new_key_is_shown_once_with_what_it_may_do(api):
    key = made(api, "refunds:write", "charges:read")
    secret = key.pop("secret")
    assert re.fullmatch(r"mafu_rk_test_[0-9A-Za-z]{49}", secret)
    assert is_id(key["id"], "key")
    assert key == {
        "id": key["id"],
        "object": "api_key",
        "livemode": False,
        "name": "till",
        "scopes": ["charges:read", "refunds:read", "refunds:write"],
        "prefix": "mafu_rk_test_",
        "last4": secret[-4:],
        "version": "2026-11-21",
        "created_at": key["created_at"],
        "last_used_at": None,
        "expires_at": None,
        "revoked_at": None,
    }
    assert api.get(f"/v1/api_keys/{key['id']}").get_json() == key
    assert api.get("/v1/api_keys").get_json()["data"][0] == key
    assert secret not in str(rows_of(ApiKey))


def test_a_full_key_has_no_scopes_and_the_mode_of_its_maker(api, live_api):
    full, live = made(api), made(live_api)
    assert (full["scopes"], full["prefix"]) == (None, "mafu_sk_test_")
    assert (live["livemode"], live["prefix"]) == (True, "mafu_sk_live_")


def test_every_address_of_the_api_names_its_scope_and_nothing_else_is_named(app: Flask):
    rules = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1/")}
    assert set(ROUTES) == rules - {"openapi"}


def test_an_address_without_a_scope_is_open_to_nobody(api, monkeypatch):
    monkeypatch.delitem(ROUTES, "charges_api.list_all")
    assert refusal(api.get("/v1/charges")) == (403, "scope_missing", None)


@ONLY_SQLITE
def test_a_key_opens_what_its_scopes_say_and_nothing_else(app: Flask, api):
    """Every address times every scope: refused with 403 exactly where the scope is another one."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint in ROUTES]
    for scope in Scope:
        holder = with_scopes(api, scope)
        held = {scope, scope.replace(":write", ":read")}
        for rule in rules:
            path = re.sub(r"<\w+>", "none", rule.rule)
            [method] = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            status = holder._call(method, path, {}).status_code
            assert (status == 403) == (ROUTES[rule.endpoint] not in held), (scope, method, path)
            assert status != 401


def test_a_refused_call_changes_nothing(api):
    reader = with_scopes(api, "charges:read")
    charge_id = api.charge().get_json()["id"]
    before = row_counts()
    assert refusal(reader.charge()) == (403, "scope_missing", None)
    assert refusal(reader.post(f"/v1/charges/{charge_id}/cancel")) == (403, "scope_missing", None)
    assert row_counts() == before
    assert reader.get(f"/v1/charges/{charge_id}").status_code == 200


def test_no_key_makes_one_that_may_do_more(api):
    clerk = with_scopes(api, "keys:write", "charges:read")
    before = row_counts()
    for scopes in (["charges:write"], ["charges:read", "refunds:read"], None):
        body = {"name": "more"} if scopes is None else {"name": "more", "scopes": scopes}
        assert refusal(clerk.post("/v1/api_keys", body)) == (403, "scope_exceeded", None)
    assert row_counts() == before
    assert made(clerk, "charges:read")["scopes"] == ["charges:read"]


def test_no_key_changes_rolls_or_revokes_one_that_may_do_more(api):
    clerk = with_scopes(api, "keys:write", "charges:read")
    clerk.get("/v1/api_keys")  # notes its use
    stronger = [made(api)["id"], made(api, "charges:write")["id"]]
    deeds = [("", {"name": "mine"}), ("", {"scopes": ["charges:read"]}), ("/roll", {}), ("/revoke", None)]
    before = rows_of(ApiKey)
    for key_id in stronger:
        for path, body in deeds:
            answer = clerk.post(f"/v1/api_keys/{key_id}{path}", body)
            assert refusal(answer) == (403, "scope_exceeded", None)
    assert rows_of(ApiKey) == before
    weaker = made(api, "charges:read")["id"]
    answer = clerk.post(f"/v1/api_keys/{weaker}", {"scopes": ["charges:write"]})
    assert refusal(answer) == (403, "scope_exceeded", None)
    assert clerk.post(f"/v1/api_keys/{weaker}", {"name": "renamed"}).get_json()["name"] == "renamed"


def test_changed_scopes_hold_from_the_next_request_on(api):
    key = made(api, "charges:write")
    holder = Api(api.client, key["secret"])
    assert holder.charge().status_code == 201
    changed = api.post(f"/v1/api_keys/{key['id']}", {"scopes": ["events:read"]}).get_json()
    assert changed["scopes"] == ["events:read"]
    assert holder.charge().status_code == 403
    assert holder.get("/v1/events").status_code == 200


def test_a_full_key_cannot_be_narrowed(api):
    key_id = made(api)["id"]
    answer = api.post(f"/v1/api_keys/{key_id}", {"scopes": ["charges:read"]})
    assert refusal(answer) == (409, "api_key_not_restricted", None)


def test_a_rolled_key_opens_until_its_overlap_is_over(api, at):
    old = made(api, "charges:read")
    new = api.post(f"/v1/api_keys/{old['id']}/roll", {"expires_in_s": 3600}).get_json()
    assert (new["scopes"], new["name"], new["version"]) == (old["scopes"], old["name"], old["version"])
    assert new["secret"] != old["secret"]
    shown = api.get(f"/v1/api_keys/{old['id']}").get_json()
    assert shown["expires_at"]
    holders = [Api(api.client, key["secret"]) for key in (old, new)]
    assert [holder.get("/v1/charges").status_code for holder in holders] == [200, 200]
    again = api.post(f"/v1/api_keys/{old['id']}/roll", {})
    assert refusal(again) == (409, "api_key_rolled", None)
    at(timedelta(seconds=3601))
    assert refusal(holders[0].get("/v1/charges")) == (401, "api_key_expired", None)
    assert holders[1].get("/v1/charges").status_code == 200
    assert refusal(api.post(f"/v1/api_keys/{old['id']}/roll", {})) == (409, "api_key_over", None)


def test_a_leaked_key_is_rolled_at_once(api):
    old = made(api, "charges:read")
    assert api.post(f"/v1/api_keys/{old['id']}/roll", {}).status_code == 200
    assert refusal(Api(api.client, old["secret"]).get("/v1/charges")) == (401, "api_key_revoked", None)


@pytest.mark.parametrize("overlap_s", [-1, 7 * 86400 + 1, 1.0, "60", True, None])
def test_an_overlap_has_an_end(api, overlap_s):
    answer = api.post(f"/v1/api_keys/{made(api)['id']}/roll", {"expires_in_s": overlap_s})
    assert refusal(answer) == (400, "parameter_invalid", "expires_in_s")


def test_a_key_may_roll_and_revoke_itself(api):
    """The one that rolls itself at once gets the answer, and nothing after it."""
    old = made(api)
    me = Api(api.client, old["secret"])
    new = me.post(f"/v1/api_keys/{old['id']}/roll", {}).get_json()
    assert refusal(me.get("/v1/charges"))[1] == "api_key_revoked"
    me = Api(api.client, new["secret"])
    assert me.post(f"/v1/api_keys/{new['id']}/revoke").get_json()["revoked_at"]
    assert refusal(me.get("/v1/charges"))[1] == "api_key_revoked"


def test_a_revoked_key_stays_revoked(api):
    key = made(api, "charges:read")
    first = api.post(f"/v1/api_keys/{key['id']}/revoke").get_json()
    assert api.post(f"/v1/api_keys/{key['id']}/revoke").get_json() == first
    for path, body in (("", {"name": "x"}), ("/roll", {})):
        assert refusal(api.post(f"/v1/api_keys/{key['id']}{path}", body)) == (409, "api_key_over", None)


def test_a_key_is_made_once_for_each_idempotency_key_and_kept_sealed(api):
    ways = [
        lambda: api.post("/v1/api_keys", {"name": "a"}, headers={"Idempotency-Key": "k-1"}) for _ in range(2)
    ]
    first, again = (way() for way in ways)
    assert again.data == first.data
    assert len(rows_of(ApiKey)) == 2
    rolled = [
        api.post(f"/v1/api_keys/{first.get_json()['id']}/roll", {}, headers={"Idempotency-Key": "k-2"}).data
        for _ in range(2)
    ]
    assert rolled[0] == rolled[1]


def test_bad_keys_are_refused_by_name(api):
    cases: dict[str, list[Any]] = {
        "name": ["", " ", "x" * 81, "a\nb", "a\n", "\u202egnp", 7, None, [], "\ud800"],
        "scopes": [[], "charges:read", {}, 7, ["charges:read"] * 41],
        "scopes.0": [[7], [None], ["\ud800"]],
        "livemode": [True],
        "merchant_id": ["mch_1"],
    }
    before = row_counts()
    for param, values in cases.items():
        for value in values:
            answer = api.post("/v1/api_keys", {"name": "till", param.removesuffix(".0"): value})
            assert (answer.status_code, refusal(answer)[2]) == (400, param), value
    for unknown in ("charges:delete", "*", "", "CHARGES:READ", "charges:read "):
        answer = api.post("/v1/api_keys", {"name": "till", "scopes": [unknown]})
        assert refusal(answer) == (400, "unknown_scope", "scopes")
    assert row_counts() == before


def test_there_are_at_most_so_many_keys_and_those_that_are_over_do_not_count(api, at, monkeypatch):
    monkeypatch.setattr("app.merchants.keys.ACTIVE_MAX", 3)
    ids = [made(api)["id"] for _ in range(2)]
    assert refusal(api.post("/v1/api_keys", {"name": "one more"})) == (409, "too_many_api_keys", None)
    api.post(f"/v1/api_keys/{ids[0]}/revoke")
    assert made(api)
    api.post(f"/v1/api_keys/{ids[1]}/roll", {"expires_in_s": 60})  # never refused: a leak must be stopped
    at(timedelta(seconds=61))
    assert refusal(api.post("/v1/api_keys", {"name": "one more"}))[1] == "too_many_api_keys"


def test_keys_are_paged(api):
    ids = [made(api)["id"] for _ in range(3)][::-1]

    def page(query: str) -> tuple[list[str], bool]:
        answer = api.get(f"/v1/api_keys?{query}").get_json()
        return [key["id"] for key in answer["data"]], answer["has_more"]

    first = row_of(ApiKey, name="tests").id
    assert page("") == ([*ids, first], False)
    assert page("limit=2") == (ids[:2], True)
    assert page(f"starting_after={ids[1]}") == ([ids[2], first], False)
    assert page(f"limit=1&ending_before={ids[2]}") == ([ids[1]], True)
