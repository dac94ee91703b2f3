"""A shop's colour and logo: chosen once, seen by shoppers, and gone when they are taken away."""

from __future__ import annotations

import io
import re
from contextvars import Context
from typing import Any

import pytest
from flask import Flask
from PIL import Image

from app.merchants import brand
from app.qr.print.logo import SCREEN_BYTES_MAX
from tests.books import make_charge
from tests.checkout.conftest import path_of
from tests.checkout.test_budget import Page, is_within_budget
from tests.codes.signs import hang
from tests.conftest import Shop
from tests.dashboard.person import Person, token_of
from tests.qr.pictures import picture_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BROWN = "#7a3b12"
ROOM = "/settings/branding"


def choose(person: Person, logo: bytes | None = None, **fields: str) -> Any:
    """Send the page's form."""
    sent: dict[str, Any] = {"csrf_token": token_of(person.get(ROOM).text), "form": "save", **fields}
    if logo is not None:
        sent["logo"] = (io.BytesIO(logo), "logo.png")
    return Context().run(
        person.client.post,
        ROOM,
        data=sent,
        base_url=person.origin,
        headers={"Referer": f"{person.origin}/", "Accept-Language": "en"},
    )


def shopper_sees(app: Flask, path: str) -> str:
    return Context().run(app.test_client().get, path).text


def test_shoppers_see_the_colour_and_the_logo_where_they_pay(
    app: Flask, owner: Person, merchant: Shop
) -> None:
    paths = [path_of(make_charge(merchant)), f"/P/{hang(merchant).code}"]
    before = [shopper_sees(app, path) for path in paths]
    assert choose(owner, picture_of(BROWN), accent=BROWN).status_code == 303
    version = brand.find(merchant.id).logo_version
    for path, plain in zip(paths, before, strict=True):
        page = shopper_sees(app, path)
        assert f"/accent/{BROWN[1:]}.css?v=" in page
        assert f'<img class="payee__mark" src="/logo/{version}.png"' in page
        assert f'<link rel="icon" href="/logo/{version}.png">' in page
        assert "/logo/" not in plain
        assert "/accent/" not in plain
    assert choose(owner, form="no_logo").status_code == 303
    assert choose(owner, form="no_accent").status_code == 303
    now = [shopper_sees(app, path) for path in paths]
    unnamed = re.compile(r'name="token" value="\w+"')
    assert [unnamed.sub("", page) for page in now] == [unnamed.sub("", page) for page in before]
    assert app.test_client().get(f"/logo/{version}.png").status_code == 404


def test_a_logo_is_served_as_a_picture_and_kept_for_good(app: Flask, merchant: Shop) -> None:
    brand.choose_logo(merchant.id, picture_of(BROWN))
    first = brand.find(merchant.id).logo_version
    answer = app.test_client().get(f"/logo/{first}.png")
    assert answer.mimetype == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Set-Cookie" not in answer.headers
    brand.choose_logo(merchant.id, picture_of("#105020"))
    assert brand.find(merchant.id).logo_version != first  # another picture, another address


def test_the_checkout_stays_within_its_budget_with_the_heaviest_logo(app: Flask, merchant: Shop) -> None:
    noise = io.BytesIO()
    Image.effect_noise((400, 400), 90).convert("RGB").save(noise, "PNG")
    brand.choose_logo(merchant.id, noise.getvalue())
    brand.choose_accent(merchant.id, BROWN)
    assert len(brand.screen_logo(brand.find(merchant.id).logo_version)) <= SCREEN_BYTES_MAX
    path = path_of(make_charge(merchant))
    is_within_budget(app.test_client(), path, shopper_sees(app, path))
    assert len(set(Page(shopper_sees(app, path)).fetched())) == 4


@pytest.mark.parametrize(
    ("logo", "accent", "text"),
    [
        (b"<svg onload='alert(1)'/>", BROWN, "must be one PNG"),
        (None, "#ffee88", "Choose a darker one"),
        (None, "red", "Choose a darker one"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_reason(
    owner: Person, merchant: Shop, logo: bytes | None, accent: str, text: str
) -> None:
    answer = choose(owner, logo, accent=accent)
    assert answer.status_code == 400
    assert text in answer.text
    assert brand.find(merchant.id) == brand.Looks()


@pytest.mark.parametrize("colour", ["ffffff", "ffee88", "red", "1f3f7", "1F3F77", "..%2f"])
def test_a_colour_that_nobody_can_have_chosen_is_no_file(app: Flask, colour: str) -> None:
    assert app.test_client().get(f"/accent/{colour}.css").status_code == 404


def test_the_preview_is_a_stand_in_the_shops_colour(owner: Person, merchant: Shop) -> None:
    brand.choose_accent(merchant.id, BROWN)
    drawing = owner.get(f"{ROOM}/stand.svg")
    assert drawing.mimetype == "image/svg+xml"
    assert BROWN in drawing.text


def test_one_merchants_look_is_not_anothers(app: Flask, merchant: Shop, other_merchant: Shop) -> None:
    brand.choose_accent(merchant.id, BROWN)
    brand.choose_logo(merchant.id, picture_of(BROWN))
    assert brand.find(other_merchant.id) == brand.Looks()
    assert "/logo/" not in shopper_sees(app, path_of(make_charge(other_merchant)))
