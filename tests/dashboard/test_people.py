"""People at the dashboard: what each role may open and is shown, the second door, proofs, team, log."""

from __future__ import annotations

import re
from datetime import timedelta

import pyotp
import pytest
from flask import Flask
from werkzeug.routing import RequestRedirect

from app import clock
from app.merchants import guessing, people, policy, sessions, team
from app.merchants.actor import SERVER
from app.merchants.models import AuditEntry, Session, User
from app.merchants.policy import Policy
from app.merchants.roles import ROUTES, Role, permissions_of
from app.merchants.sessions import PROOF_LIFE, Browser
from app.merchants.team import NewPerson
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person, rules
from tests.dashboard.test_rooms import PUBLIC, all_pages, filled, full_shop
from tests.far_side import AlipayFarSide

# One database will do: the services below were tried on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PASSWORD = "another good password"


def hired(app: Flask, shop: Shop, role: str) -> Person:
    """Somebody of this role, signed in, reading English."""
    new = NewPerson.of(f"{role}@team.example", role.title(), role)
    team.join(team.invite(shop.id, new, by=SERVER), PASSWORD, Browser())
    person = Person(app)
    person.get("/sign-in")
    person.post("/sign-in", {"email": new.email, "password": PASSWORD})
    person.get("/security")  # for its guard
    return person


@pytest.mark.parametrize("role", list(Role))
def test_a_role_opens_what_the_table_says_and_nothing_else(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, role: Role
) -> None:
    things, person = full_shop(merchant, far_side), hired(app, merchant, role)
    tried = 0
    for rule in rules(app):
        if rule.rule in PUBLIC or rule.endpoint == "merchants.sign_out":
            continue
        may = ROUTES[rule.endpoint] in permissions_of(role)
        path = filled(rule.rule, things)
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            response = person.get(path) if method == "GET" else person.post(path)
            if rule.endpoint == "merchants.home" and not may:
                assert response.location == "/counter"
            elif may:
                assert b"Your role does not include this" not in response.data, (method, path)
            else:
                assert response.status_code == 403, (method, path)
                assert "Your role does not include this" in response.text, (method, path)
            tried += 1
            if rule.endpoint == "security.change_password":
                person.get("/security")
    assert tried > 50


@pytest.mark.parametrize("role", list(Role))
def test_no_page_shows_a_link_or_a_form_that_leads_to_a_closed_door(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, role: Role
) -> None:
    things, person = full_shop(merchant, far_side), hired(app, merchant, role)
    addresses = app.url_map.bind("pay.example.com")
    for path in all_pages(app, things):
        page = person.get(path)
        if page.status_code != 200 or "html" not in page.content_type:
            continue
        ways = [("GET", way) for way in re.findall(r'<a [^>]*href="(/[^"#?]*)', page.text)]
        for form in re.findall(r"<form[^>]*>", page.text):
            method = "POST" if 'method="post"' in form else "GET"
            ways += [(method, way) for way in re.findall(r'action="(/[^"#?]*)', form)]
        for method, way in ways:
            try:
                endpoint, _ = addresses.match(way, method)
            except RequestRedirect:
                continue
            needed = ROUTES.get(endpoint)
            is_home = endpoint == "merchants.home"
            shown = f"{path} shows {method} {way}"
            assert needed is None or needed in permissions_of(role) or is_home, shown


def test_a_role_is_judged_anew_with_each_request(app: Flask, merchant: Shop) -> None:
    """Whoever is made a cashier while a page is open sends its form for nothing."""
    person = hired(app, merchant, "developer")
    user = books.row_of(User, email="developer@team.example")
    person.get("/keys")
    team.change_role(merchant.id, user.id, "cashier", by=SERVER)
    assert person.post("/keys", {"name": "x"}).location.startswith("/sign-in")


# The second door


def with_totp(owner: Person, at) -> tuple[str, list[str]]:
    """Set up an authenticator app by hand: its secret, and the recovery codes that were shown."""
    owner.get("/security")
    owner.post("/security/totp")
    page = owner.get("/security").text
    secret = re.search(r'<code class="wordy" translate="no">([A-Z2-7]{32})</code>', page)[1]
    assert "<svg" in page
    done = owner.post("/security/totp/confirm", {"code": pyotp.TOTP(secret).at(clock.now())})
    codes = re.findall(r"<li><code>([0-9a-z-]{19})</code></li>", done.text)
    assert len(codes) == 10
    assert codes[0] not in owner.get("/security").text
    at(timedelta(minutes=1))
    return secret, codes


def test_signing_in_asks_for_the_code_and_then_goes_where_one_wanted(
    app: Flask, owner: Person, merchant: Shop, at
) -> None:
    secret, codes = with_totp(owner, at)
    person = Person(app)
    led = person.sign_in(merchant, onward="/keys")
    before = person.client.get_cookie("mafu_session", domain="pay.example.com").value
    asked = person.get(person.get(led.location).location)
    assert "One more step" in asked.text
    assert 'name="next" value="/keys"' in asked.text
    assert person.post("/second-factor", {"code": "000000", "next": "/keys"}).status_code == 401
    done = person.post("/second-factor", {"code": pyotp.TOTP(secret).at(clock.now()), "next": "/keys"})
    assert (done.status_code, done.location) == (303, "/keys")
    after = person.client.get_cookie("mafu_session", domain="pay.example.com").value
    assert before != after
    assert person.get("/keys").status_code == 200
    thief = Person(app)
    thief.client.set_cookie("mafu_session", before, domain="pay.example.com")
    assert thief.get("/keys").location.startswith("/sign-in")
    other = Person(app)
    other.sign_in(merchant)
    other.get("/second-factor")
    assert other.post("/second-factor", {"code": codes[0], "next": "//evil.example"}).location == "/"


def test_a_half_session_opens_no_room(app: Flask, owner: Person, merchant: Shop, at) -> None:
    with_totp(owner, at)
    person = Person(app)
    person.sign_in(merchant)
    for rule in rules(app, "GET"):
        if rule.rule not in PUBLIC and "<" not in rule.rule:
            assert person.get(rule.rule).location.startswith("/second-factor"), rule.rule


def test_turning_it_off_wants_a_code_where_the_proof_is_old(owner: Person, at) -> None:
    secret, _ = with_totp(owner, at)
    at(PROOF_LIFE)
    owner.get("/security")
    asked = owner.post("/security/totp/drop")
    assert asked.status_code == 401
    assert 'name="proof_code"' in asked.text
    done = owner.post("/security/totp/drop", {"proof_code": pyotp.TOTP(secret).at(clock.now())})
    assert done.location == "/security?notice=totp_dropped"
    assert "Set up an authenticator app" in owner.get("/security").text


# Proofs


def test_an_old_proof_is_asked_for_and_the_form_is_not_lost(owner: Person, merchant: Shop, at) -> None:
    at(PROOF_LIFE)
    owner.get("/keys")
    fields = {"name": '收银 "till"', "reach": "restricted", "scopes": ["charges:read", "refunds:read"]}
    asked = owner.post("/keys", fields)
    assert asked.status_code == 401
    assert "mafu_rk_" not in asked.text
    old = owner.client.get_cookie("mafu_session", domain="pay.example.com").value
    kept = re.findall(r'<input type="hidden" name="(name|reach|scopes)" value="([^"]*)"', asked.text)
    assert kept == [
        ("name", "收银 &#34;till&#34;"),
        ("reach", "restricted"),
        ("scopes", "charges:read"),
        ("scopes", "refunds:read"),
    ]
    wrong = owner.post("/keys", {**fields, "proof_password": "wrong horse battery"})
    assert wrong.status_code == 401
    assert "The password is wrong." in wrong.text
    done = owner.post("/keys", {**fields, "proof_password": merchant.password})
    assert done.status_code == 201
    assert "mafu_rk_test_" in done.text
    new = owner.client.get_cookie("mafu_session", domain="pay.example.com").value
    assert old != new
    assert sessions.who_is(old) is None
    assert owner.post("/keys", fields).status_code == 201  # it holds for a while


def test_guessing_at_a_proof_is_slowed_down(owner: Person, at) -> None:
    at(PROOF_LIFE)
    owner.get("/keys")
    fields = {"name": "x", "proof_password": "wrong horse battery"}
    statuses = [owner.post("/keys", fields).status_code for _ in range(guessing.FREE_TRIES + 1)]
    assert statuses == [401] * guessing.FREE_TRIES + [429]


def test_a_shop_can_close_refunds_and_keys_to_who_has_no_second_factor(
    owner: Person, merchant: Shop, at
) -> None:
    paid = books.make_paid(merchant)
    policy.save_policy(merchant.id, Policy(requires_second_factor=True), by=SERVER)
    for refused in (owner.get(f"/charges/{paid.id}/refund"), owner.post("/keys", {"name": "x"})):
        assert refused.status_code == 403
        assert "Set up a second factor first" in refused.text
    with_totp(owner, at)
    assert owner.get(f"/charges/{paid.id}/refund").status_code == 200
    assert owner.post("/keys", {"name": "x"}).status_code == 201


# Sessions


def test_browsers_are_listed_and_ended_one_by_one_or_all(app: Flask, owner: Person, merchant: Shop) -> None:
    others = [Person(app) for _ in range(3)]
    for other in others:
        other.get("/sign-in", headers={"User-Agent": "Evil <b>Browser</b>"})
        other.post(
            "/sign-in",
            {"email": merchant.email, "password": merchant.password},
            headers={"User-Agent": "Evil <b>Browser</b>"},
        )
    page = owner.get("/security").text
    assert page.count("Evil &lt;b&gt;Browser&lt;/b&gt;") >= 3
    assert page.count("This one") == 1
    [first] = re.findall(r'action="(/security/sessions/ses_[^"]*/end)"', page)[:1]
    owner.post(first)
    assert len(books.rows_of(Session)) == 3
    assert owner.post("/security/sessions/end").status_code == 303
    assert [other.get("/").status_code for other in others] == [302] * 3
    assert owner.get("/").status_code == 200


def test_nobody_ends_a_colleagues_session(app: Flask, owner: Person, merchant: Shop) -> None:
    hired(app, merchant, "cashier")
    user = books.row_of(User, email="cashier@team.example")
    theirs = books.rows_of(Session, user_id=user.id)[0]
    owner.get("/security")
    assert owner.post(f"/security/sessions/{theirs.id}/end").status_code == 404


def test_when_a_session_was_seen_is_kept_to_five_minutes(owner: Person, at) -> None:
    first = books.row_of(Session).last_seen_at
    owner.get("/keys")
    assert books.row_of(Session).last_seen_at == first
    at(timedelta(minutes=6))
    owner.get("/keys")
    assert books.row_of(Session).last_seen_at > first


def test_over_https_no_cookie_can_be_set_by_a_neighbour(app: Flask, merchant: Shop, monkeypatch) -> None:
    settings = app.extensions["mafu.runtime"].settings
    monkeypatch.setitem(
        app.extensions,
        "mafu.runtime",
        _with(app.extensions["mafu.runtime"], settings.model_copy(update={"base_url": "https://a.example"})),
    )
    person = Person(app, origin="https://pay.example.com")
    cookies = person.sign_in(merchant).headers.getlist("Set-Cookie")
    [session] = [cookie for cookie in cookies if "mafu_session" in cookie]
    assert session.startswith("__Host-mafu_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(session.split("; "))
    assert "Domain" not in session


def _with(runtime, settings):
    return type(runtime)(
        settings, runtime.vault, runtime.charge_links, runtime.outbound, runtime.rates, runtime.adapters
    )


# Team and rules


def test_somebody_is_invited_joins_and_is_let_go(app: Flask, owner: Person) -> None:
    owner.get("/team")
    made = owner.post("/team/invitations", {"name": "张三", "email": "zhang@x.example", "role": "cashier"})
    assert made.status_code == 201
    link = re.search(r"http://pay\.example\.com(/join/[^<\"]+)</code>", made.text)[1]
    assert link not in owner.get("/team").text
    zhang = Person(app)
    assert "You are invited as Cashier" in zhang.get(link).text
    assert zhang.post(link, {"password": "short"}).status_code == 400
    assert zhang.post(link, {"password": PASSWORD}).location == "/"
    assert zhang.get("/").location == "/counter"
    assert zhang.get("/charges").status_code == 200
    assert zhang.get(link).status_code == 410
    user = books.row_of(User, email="zhang@x.example")
    owner.get("/team")
    assert owner.post(f"/team/{user.id}/role", {"role": "king"}).status_code == 400
    assert owner.post(f"/team/{user.id}/role", {"role": "manager"}).location == "/team?notice=role"
    reset = owner.post(f"/team/{user.id}/reset")
    link = re.search(r"http://pay\.example\.com(/reset/[^<\"]+)</code>", reset.text)[1]
    fresh = Person(app)
    fresh.get(link)
    assert fresh.post(link, {"password": "a third good password"}).location == "/sign-in?notice=reset"
    assert "Sign in with it." in fresh.get("/sign-in?notice=reset").text
    assert people.sign_in("zhang@x.example", "a third good password", address="x")
    assert owner.post(f"/team/{user.id}/deactivate").location == "/team?notice=deactivated"
    assert zhang.get("/charges").location.startswith("/sign-in")
    done = [row.action for row in books.rows_of(AuditEntry, object_id=user.id)]
    assert done == [
        "person.joined",
        "person.role_changed",
        "password.reset_link_made",
        "password.changed",
        "sign_in.succeeded",
        "person.deactivated",
    ]


@pytest.mark.parametrize(
    ("typed", "minor"), [("", None), ("0", 0), ("200", 20000), ("5.5", 550), ("x", "bad"), ("-1", "bad")]
)
def test_the_limit_of_refunds_is_typed_as_an_amount(owner: Person, merchant: Shop, typed, minor) -> None:
    owner.get("/settings/rules")
    response = owner.post("/settings/rules", {"refund_limit": typed, "requires_second_factor": "1"})
    assert response.status_code == (400 if minor == "bad" else 303)
    if minor != "bad":
        assert policy.policy_of(merchant.id) == Policy(minor, requires_second_factor=True)


def test_a_refund_above_the_limit_waits_for_somebody_else(app: Flask, owner: Person, merchant: Shop) -> None:
    policy.save_policy(merchant.id, Policy(500), by=SERVER)
    paid, manager = books.make_paid(merchant), hired(app, merchant, "manager")
    assert "Ask for approval" in manager.get(f"/charges/{paid.id}/refund?amount=8.00").text
    assert "Ask for approval" not in manager.get(f"/charges/{paid.id}/refund?amount=5.00").text
    asked = manager.post(f"/charges/{paid.id}/refund", {"amount": "8.00", "token": "a1"})
    assert "notice=awaiting" in asked.location
    mine = manager.get(f"/charges/{paid.id}").text
    assert "Waits for approval" in mine
    assert "Approve and send" not in mine
    theirs = owner.get(f"/charges/{paid.id}").text
    assert "Approve and send" in theirs
    assert "1 refund waits for approval" in theirs
    address = re.search(r'action="(/refunds/re_[^"]*/approve)"', theirs)[1]
    assert manager.post(address).status_code == 403
    assert owner.post(address).location.startswith(f"/charges/{paid.id}?notice=refunding")
    assert owner.post(address).location.startswith(f"/charges/{paid.id}?notice=already_decided")
    assert "On its way" in owner.get("/refunds").text


def test_the_log_is_shown_narrowed_and_downloaded(owner: Person, other_merchant: Shop) -> None:
    owner.get("/keys")
    owner.post("/keys", {"name": "till"})
    page = owner.get("/audit?what=key&who=owner%40cafe.example").text
    assert page.count("API key made") == 1
    assert "sign_in.succeeded" not in page
    assert "Nothing fits this filter." in owner.get("/audit?who=nobody").text
    file = owner.get("/audit/export.csv?what=key")
    assert file.content_type == "text/csv; charset=utf-8"
    assert file.text.count("\n") == 3  # the head, the key of the tests, this one
    assert other_merchant.id not in owner.get("/audit").text
