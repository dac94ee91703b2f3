"""The door: passwords, links, where it leads, and what slows a guesser down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask import Flask

from app.merchants import guessing, people
from app.merchants.models import Session, SignInLink, User
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person

# One database will do: test_rooms.py comes through here on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n//evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "http:evil.example",
    "evil.example",
    "@evil.example",
    "/charges\r\nSet-Cookie: a=b",
    "/\u2028/evil.example",
    "／／evil.example",
    "/" + "a" * 3000,
    "",
]


def test_the_right_password_opens_the_door(passer_by: Person, merchant: Shop) -> None:
    response = passer_by.sign_in(merchant)
    assert (response.status_code, response.location) == (303, "/")
    assert merchant.email in passer_by.get("/settings").text
    assert passer_by.get("/sign-in").location == "/"


def test_the_session_cookie_is_closed_to_scripts_and_to_other_sites(
    passer_by: Person, merchant: Shop
) -> None:
    [cookie] = [c for c in passer_by.sign_in(merchant).headers.getlist("Set-Cookie") if "mafu_session" in c]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    token = cookie.partition("=")[2].partition(";")[0]
    assert token not in str(books.rows_of(Session))


def test_a_wrong_password_and_an_unknown_address_look_the_same(passer_by: Person, merchant: Shop) -> None:
    wrong = passer_by.sign_in(merchant, password="wrong horse battery")
    said = passer_by.post("/sign-in", {"email": "nobody@cafe.example", "password": "wrong horse battery"})
    assert wrong.status_code == said.status_code == 401
    assert "The e-mail address or the password is wrong." in wrong.text
    assert wrong.text.replace(merchant.email, "").count("\n") == said.text.count("\n")
    assert "The e-mail address or the password is wrong." in said.text


def test_a_password_is_never_written_back(passer_by: Person, merchant: Shop) -> None:
    assert "wrong horse battery" not in passer_by.sign_in(merchant, password="wrong horse battery").text


def test_guessing_is_slowed_down_and_the_page_says_for_how_long(passer_by: Person, merchant: Shop) -> None:
    statuses = [
        passer_by.sign_in(merchant, password=f"wrong horse {n}").status_code
        for n in range(guessing.FREE_TRIES + 1)
    ]
    assert statuses == [401] * guessing.FREE_TRIES + [429]
    refused = passer_by.sign_in(merchant)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert f"Wait {refused.headers['Retry-After']} second" in refused.text


def test_a_visitor_goes_on_to_where_they_wanted(passer_by: Person, merchant: Shop) -> None:
    wanted = passer_by.get("/charges?status=paid&q=%E6%8B%BF%E9%93%81").location
    page = passer_by.get(wanted)
    assert 'name="next" value="/charges?status=paid&amp;q=%E6%8B%BF%E9%93%81"' in page.text
    response = passer_by.sign_in(merchant, onward="/charges?status=paid&q=%E6%8B%BF%E9%93%81")
    assert response.location == "/charges?status=paid&q=%E6%8B%BF%E9%93%81"


@pytest.mark.parametrize("onward", ELSEWHERE)
def test_the_door_leads_nowhere_else(app: Flask, merchant: Shop, onward: str) -> None:
    person = Person(app)
    assert person.sign_in(merchant, onward=onward).location == "/"
    assert person.get("/sign-in", query_string={"next": onward}).location == "/"


def test_a_link_is_used_by_its_button_and_not_by_looking(passer_by: Person, merchant: Shop) -> None:
    link = f"/sign-in/{people.make_sign_in_link(merchant.id, merchant.user_id)}"
    for _ in range(3):  # previews, scanners, the person
        page = passer_by.get(link)
        assert f"Continue as {merchant.email}" in page.text
    assert books.row_of(SignInLink).used_at is None
    assert passer_by.post(link).location == "/"
    assert passer_by.get("/").status_code == 200


def test_a_link_works_once(app: Flask, merchant: Shop, passer_by: Person) -> None:
    link = f"/sign-in/{people.make_sign_in_link(merchant.id, merchant.user_id)}"
    passer_by.get(link)
    passer_by.post(link)
    second = Person(app)
    second.get("/sign-in")
    assert second.get(link).status_code == 410
    refused = second.post(link)
    assert refused.status_code == 410
    assert "Set-Cookie" not in refused.headers or "mafu_session" not in str(refused.headers)
    assert second.get("/").status_code == 302


def test_an_old_link_is_refused(
    passer_by: Person, merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    link = f"/sign-in/{people.make_sign_in_link(merchant.id, merchant.user_id)}"
    at(timedelta(days=1, minutes=1))
    assert passer_by.get(link).status_code == 410


def test_signing_out_ends_the_session_on_the_server(owner: Person) -> None:
    stolen = owner.client.get_cookie("mafu_session", domain="pay.example.com")
    assert stolen is not None
    assert owner.post("/sign-out").location == "/sign-in"
    owner.client.set_cookie("mafu_session", stolen.value, domain="pay.example.com")
    assert owner.get("/").status_code == 302


def test_a_new_password_signs_every_other_browser_out(app: Flask, owner: Person, merchant: Shop) -> None:
    other = Person(app)
    other.sign_in(merchant)
    owner.get("/security")
    fields = {"current": merchant.password, "password": "another good password"}
    assert owner.post("/security/password", fields).location == "/security?notice=password"
    assert owner.get("/").status_code == 200
    assert other.get("/").status_code == 302
    assert other.sign_in(merchant).status_code == 401
    assert other.sign_in(merchant, password="another good password").status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "said"),
    [
        ("wrong horse battery", "another good password", "This is not your current password."),
        ("correct horse battery", "short", "A password has 10 to 200 characters."),
        ("", "another good password", "This is not your current password."),
    ],
)
def test_a_password_is_not_changed_by_who_does_not_know_it(
    owner: Person, merchant: Shop, current: str, new: str, said: str
) -> None:
    before = books.row_of(User, id=merchant.user_id).password_hash
    owner.get("/security")
    response = owner.post("/security/password", {"current": current, "password": new})
    assert response.status_code == 400
    assert said in response.text
    assert books.row_of(User, id=merchant.user_id).password_hash == before


def test_the_current_password_cannot_be_guessed_at_leisure(owner: Person) -> None:
    owner.get("/security")
    fields = {"current": "wrong horse battery", "password": "another good password"}
    statuses = [owner.post("/security/password", fields).status_code for _ in range(guessing.FREE_TRIES + 1)]
    assert statuses[-1] == 429


def test_who_came_by_link_sets_a_first_password(app: Flask) -> None:
    merchant_id, user_id = people.add_merchant("新店", email="new@cafe.example")
    person = Person(app)
    link = f"/sign-in/{people.make_sign_in_link(merchant_id, user_id)}"
    person.get(link)
    person.post(link)
    assert 'name="current"' not in person.get("/security").text
    assert person.post("/security/password", {"password": "a first good password"}).status_code == 303
    assert people.sign_in("new@cafe.example", "a first good password", address="x")


def test_the_shop_is_renamed(owner: Person, merchant: Shop) -> None:
    owner.get("/settings")
    assert (
        owner.post("/settings", {"form": "shop", "name": " 星光咖啡 ", "language": "en"}).status_code == 303
    )
    assert "星光咖啡" in owner.get("/").text
    for fields, said in (
        ({"name": "", "language": "zh"}, "A name has 1 to 80 characters."),
        ({"name": "x" * 81, "language": "zh"}, "A name has 1 to 80 characters."),
        ({"name": "a\u202eb", "language": "zh"}, "A name has 1 to 80 characters."),
        ({"name": "x", "language": "xx"}, "Choose one of the languages."),
    ):
        response = owner.post("/settings", {"form": "shop", **fields})
        assert response.status_code == 400
        assert said in response.text
    assert "星光咖啡" in owner.get("/").text


def test_the_door_offers_a_link_by_mail_where_there_is_mail_and_answers_everybody_alike(
    app: Flask, passer_by: Person, merchant: Shop
) -> None:
    assert "Forgot your password?" not in passer_by.get("/sign-in").text
    assert "sends no mail" in passer_by.get("/forgot").text
    mine = app.extensions["mafu.runtime"]
    by_mail = mine.settings.model_copy(
        update={"smtp_host": "127.0.0.1", "smtp_port": 1, "smtp_from": "mafu@example.com"}
    )
    app.extensions["mafu.runtime"] = replace(mine, settings=by_mail)
    assert "Forgot your password?" in passer_by.get("/sign-in").text
    passer_by.get("/forgot")
    answers = [
        passer_by.post("/forgot", {"email": email})
        for email in (merchant.email, "nobody@x.example", "no one")
    ]
    assert "a link is on its way" in answers[0].text
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    for _ in range(3):
        passer_by.get("/forgot")
        passer_by.post("/forgot", {"email": merchant.email})
    passer_by.get("/forgot")
    refused = passer_by.post("/forgot", {"email": merchant.email})
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
