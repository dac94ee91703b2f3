"""The print shop of a charge, as its merchant sees it."""

from __future__ import annotations

import html
import io
import re

import pytest
from flask import Flask
from PIL import Image

from app.callbacks import inbox
from app.charges import lifecycle
from app.charges.commands import NewCharge
from app.charges.present import link_of
from app.merchants import accounts, brand, profile
from app.money import Money
from app.qr.print.preflight import read
from app.qr.print.shop import Kind, forms_of
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.far_side import AlipayFarSide
from tests.qr.pictures import picture_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

TYPES = {
    "pdf": ("application/pdf", b"%PDF"),
    "png": ("image/png", b"\x89PNG"),
    "svg": ("image/svg+xml", b"<svg"),
    "escpos": ("application/octet-stream", b"\x1b@"),
    "escpos-picture": ("application/octet-stream", b"\x1b@"),
}


def test_the_page_says_how_well_it_reads_before_it_offers_a_file(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    page = owner.get(f"/charges/{charge.id}/print?kind=labels21").text
    for text in ("Phones read it", "37 × 37", "0.73 mm", "about 27 cm", "from the side", "Calibration page"):
        assert text in page
    assert "not a public https address" in page
    assert f"/charges/{charge.id}/print/file?kind=labels21&amp;form=pdf" in page
    assert "Calibration page" not in owner.get(f"/charges/{charge.id}/print").text


@pytest.mark.parametrize("kind", Kind)
def test_every_format_is_offered_and_comes(owner: Person, merchant: Shop, kind: Kind) -> None:
    charge = books.make_charge(merchant)
    page = owner.get(f"/charges/{charge.id}/print?kind={kind}").text
    files = [html.unescape(path) for path in re.findall(r'href="(/[^"]*/print/file[^"]*)" download', page)]
    assert len(files) == len(forms_of(kind))
    for path, form in zip(files, forms_of(kind), strict=True):
        answer = owner.get(path)
        media, begin = TYPES[form]
        assert (answer.status_code, answer.mimetype) == (200, media)
        assert answer.data.startswith(begin)
        assert f'attachment; filename="{charge.id}-{kind}.' in answer.headers["Content-Disposition"]
        assert answer.headers["Cache-Control"] == "no-store"
    preview = re.search(r'<img class="sheet" src="([^"]+)"', page)
    assert preview
    assert "Content-Disposition" not in owner.get(html.unescape(preview[1])).headers


def test_what_comes_is_the_link_of_the_charge(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    for language in ("zh", "en", "both", "xx"):
        data = owner.get(f"/charges/{charge.id}/print/file?form=png&words={language}").data
        assert read(Image.open(io.BytesIO(data)).convert("L")) == [link_of(charge)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("ink=%23dddddd", "too pale"),
        ("ink=%23ffffff", "darker than its ground"),
        ("accent=%23ffee88", "too pale"),
        ("accent=red", "Write a colour"),
        ("kind=labels12&start=13", "no label with that number"),
        ("kind=labels12&start=-1", "no label with that number"),
        ("kind=labels12&right=0.6", "0.5 mm at most"),
        ("kind=labels12&down=nan", "0.5 mm at most"),
        ("kind=labels12&down=x", "0.5 mm at most"),
    ],
)
def test_what_cannot_be_printed_is_said_and_not_offered(
    owner: Person, merchant: Shop, query: str, text: str
) -> None:
    charge = books.make_charge(merchant)
    page = owner.get(f"/charges/{charge.id}/print?{query}")
    assert page.status_code == 400
    assert text in page.text
    assert "print/file" not in page.text
    assert owner.get(f"/charges/{charge.id}/print/file?{query}").status_code == 400


def test_a_name_that_cannot_be_printed_names_its_characters(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    profile.save_merchant(merchant.id, name="晨光🥐咖啡馆𠮷", language="zh")
    page = owner.get(f"/charges/{charge.id}/print")
    assert page.status_code == 400
    assert "have no 🥐 𠮷" in page.text


def test_the_shops_colour_and_logo_come_along(app: Flask, merchant: Shop) -> None:
    person = Person(app)
    person.sign_in(merchant)
    new = NewCharge(Money(1250, "CNY"), "拿铁")
    charge = lifecycle.open_charge(merchant.id, livemode=True, new=new)
    path = f"/charges/{charge.id}/print"
    plain = person.get(f"{path}/file?form=png").data
    brand.choose_accent(merchant.id, "#7a3b12")
    coloured = person.get(f"{path}/file?form=png").data
    brand.choose_logo(merchant.id, picture_of("#c03030"))
    page = person.get(f"{path}?mode=live").text
    assert 'name="logo"' in page
    assert 'name="accent" value="#7a3b12"' in page
    with_logo = person.get(f"{path}/file?form=png").data
    assert len({plain, coloured, with_logo}) == 3
    assert read(Image.open(io.BytesIO(with_logo)).convert("L")) == [link_of(charge)]
    assert person.get(f"{path}/file?form=png&logo=0").data == coloured
    assert person.get(f"{path}/file?form=png&logo=0&accent=%231f3f77").data == plain


def test_only_what_can_be_paid_is_printed(owner: Person, merchant: Shop, far_side: AlipayFarSide) -> None:
    charge = books.make_charge(merchant)
    number = books.make_attempt(merchant, charge.id)
    far_side.pay(number)
    inbox.receive(accounts.open_account(merchant.account_id), far_side.notice(number))
    assert owner.get(f"/charges/{charge.id}/print").location.endswith("notice=not_printed")
    assert owner.get(f"/charges/{charge.id}/print/file").status_code == 409
