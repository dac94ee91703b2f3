"""Whatever a form carries is taken or refused: bytes that no browser sends break no page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, ClassVar
from urllib.parse import quote_plus, urlsplit

import pytest
from flask import Flask, Request
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.test import TestResponse

from app.charges.models import Charge
from app.codes.models import QRCode
from app.db import db
from app.merchants import team
from app.merchants.actor import SERVER
from app.merchants.team import NewPerson
from app.purses import present
from app.purses.models import Member
from tests.books import row_of
from tests.checkout.conftest import path_of
from tests.conftest import Shop
from tests.dashboard.person import Person, token_of
from tests.dashboard.test_rooms import all_pages, filled, full_shop
from tests.far_side import AlipayFarSide

ROOM = 100_000  # bytes that fit into a form
ZERO, SURROGATE, DIGITS, LONG = "a%00b", "%ED%A0%80%FF", "9" * 400, "x" * ROOM

LAST = ("security.", "door.", "merchants.sign_")  # after these, the session is another one


class _Forms(HTMLParser):
    """The POST forms of a page: where each goes, and what it carries if nothing is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = given.get("method") == "post"
            if self._inside:
                self.found.append((given.get("action", ""), {}))
        elif self._inside and tag in ("input", "select", "textarea", "button") and given.get("name"):
            self.found[-1][1].setdefault(given["name"], given.get("value") or "1")
        elif self._inside and tag == "option" and self.found[-1][1]:
            name = next(reversed(self.found[-1][1]))
            if self.found[-1][1][name] == "1":
                self.found[-1][1][name] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


class _Asked(ImmutableMultiDict):
    """What a request carries, which notes what it is asked for."""

    names: ClassVar[set[str]] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def getlist(self, name: str, *how: Any) -> list[Any]:
        self.names.add(name)
        return super().getlist(name, *how)


def test_no_form_breaks_a_page(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address that takes a form, with one field of it poisoned, and with all of them."""
    things = full_shop(merchant, far_side)
    forms = forms_of(app, merchant, things, owner)
    monkeypatch.setattr(Request, "parameter_storage_class", _Asked)
    # Only PostgreSQL minds a zero, and more than a column holds; a number is too great for both.
    poisons = (ZERO, LONG) if db.engine.dialect.name == "postgresql" else (DIGITS, SURROGATE)
    broken = []
    for _, path, fields in sorted(forms, key=lambda form: form[0].startswith(LAST)):
        _Asked.names.clear()
        send(owner, path, "")
        for body in poisoned(dict.fromkeys(_Asked.names, "1") | fields, *poisons):
            answer = send(owner, path, body)
            if (answer.location or "").startswith("/sign-in"):
                owner.sign_in(merchant)
                owner.get("/security")
                answer = send(owner, path, body)
            if answer.status_code >= 500 or b"ask for the order before you try" in answer.data:
                broken.append((path, body[:200]))
    assert broken == []


def forms_of(
    app: Flask, shop: Shop, things: dict[str, str], owner: Person
) -> list[tuple[str, str, dict[str, str]]]:
    """Endpoint, path and what the form there carries if a page shows one: one each of the POST addresses."""
    shown: dict[str, tuple[str, dict[str, str]]] = {}
    addresses = app.url_map.bind("pay.example.com")
    member = present.link_of(row_of(Member, id=things["member_id"])).rpartition("/")[2]
    checkout = path_of(row_of(Charge, id=things["charge_id"]))
    sign = row_of(QRCode, id=things["code_id"]).code
    for page in [*all_pages(app, things), checkout, f"/M/{member}", f"/P/{sign}", f"/V/{sign}"]:
        reader = _Forms()
        reader.feed(owner.get(page).data.decode(errors="replace"))
        for action, fields in reader.found:
            path = urlsplit(action or page).path
            endpoint, _ = addresses.match(path, "POST")
            # What it would press on is a sandbox, which does not run here.
            if endpoint != "simulator.act" and len(fields) >= len(shown.get(endpoint, ("", {}))[1]):
                shown[endpoint] = path, fields
    tokens = {
        "door.join": team.invite(shop.id, NewPerson.of("new@team.example", "王五", "cashier"), by=SERVER),
        "door.reset": team.make_reset_link(shop.id, things["user_id"], by=SERVER),
        "checkout.pay": checkout.rpartition("/")[2],
        "topup_pages.pay": member,
    }
    forms = []
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) and not rule.rule.startswith("/v1/"):
            known = things | {"code": sign, "token": tokens.get(rule.endpoint, things["token"])}
            forms.append((rule.endpoint, *shown.get(rule.endpoint, (filled(rule.rule, known), {}))))
    return forms


def poisoned(fields: Mapping[str, str], poison: str, other: str) -> Iterator[str]:
    """Bodies of forms, encoded: one field in turn, all, each twice, and none."""
    good = {quote_plus(name): quote_plus(value) for name, value in fields.items() if name != "csrf_token"}
    for name in good:
        yield joined(good | {name: poison})
    yield joined(dict.fromkeys(good, poison))
    yield joined(dict.fromkeys(good, other[: ROOM // len(good)] if good else ""))
    yield "&".join((joined(good), joined(dict.fromkeys(good, poison))))
    yield ""


def joined(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in fields.items())


def send(person: Person, path: str, body: str) -> TestResponse:
    kind = "application/x-www-form-urlencoded"
    guard = f"csrf_token={quote_plus(token_of(person.page))}&"
    return person._open("POST", path, data=guard + body, content_type=kind)
