"""Printed codes in the print shop: every format, a series in its order, and what paper says of them."""

from __future__ import annotations

import html
import io
import re
import time

import pytest
from flask import Flask
from PIL import Image

from app.codes import codes
from app.codes.codes import SERIES_MAX
from app.codes.present import address_of_code
from app.codes.terms import LabelKind, Terms
from app.db import transaction
from app.merchants import brand, stores
from app.merchants.stores import StoreTerms
from app.qr.print.preflight import read
from app.qr.print.shop import Kind, forms_of
from app.qr.short_code import in_groups
from tests.codes.signs import change, hang
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.qr.print.readers import READERS
from tests.qr.print.samples import needs_poppler, pixels_of_pdf, told_by

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def owner(app: Flask, merchant: Shop) -> Person:
    person = Person(app)
    person.sign_in(merchant)
    return person


def tables(shop: Shop, last: int, **terms: object) -> list:
    labels = [str(number) for number in range(1, last + 1)]
    wanted = Terms("堂食", label_kind=LabelKind.TABLE, label_text="1", **terms)  # type: ignore[arg-type]
    with transaction() as tx:
        return codes.create_series(tx, shop.id, wanted, labels, livemode=False, series="大堂")


def said(owner: Person, path: str) -> str:
    """What a person reads on the paper: the letters of its PDF."""
    answer = owner.get(path)
    assert answer.status_code == 200, answer.text
    return told_by("pdftotext", answer.data, "-layout").replace("\n", " ")


@pytest.mark.parametrize("kind", Kind)
def test_a_code_comes_in_every_format_and_says_its_own_address(
    owner: Person, merchant: Shop, kind: Kind
) -> None:
    code = hang(merchant)
    page = owner.get(f"/codes/{code.id}/print?kind={kind}").text
    files = [html.unescape(path) for path in re.findall(r'href="(/[^"]*/print/file[^"]*)" download', page)]
    assert [re.search(r"form=([\w-]+)", path)[1] for path in files] == list(forms_of(kind))  # type: ignore[index]
    for path in files:
        answer = owner.get(path)
        assert answer.status_code == 200
        assert f'filename="{in_groups(code.code)}-{kind}.' in answer.headers["Content-Disposition"]
    picture = Image.open(io.BytesIO(owner.get(f"/codes/{code.id}/print/file?kind={kind}&form=png").data))
    assert set(read(picture.convert("L"))) == {address_of_code(code)}


@needs_poppler
def test_paper_says_who_where_what_and_where_to_look_it_up(owner: Person, merchant: Shop) -> None:
    with transaction() as tx:
        store = stores.add_store(tx, merchant.id, StoreTerms("武康路店", "武康路 378 号"), livemode=False)
    code = hang(merchant, store_id=store.id, label_kind=LabelKind.TABLE, label_text="7")
    place = f"/codes/{code.id}/print/file?form=pdf"
    both = said(owner, place)
    for text in ("晨光咖啡馆·武康路店", "7 号桌 / Table 7", "金额由您输入", "You type the amount"):
        assert text.replace(" · ", "·").replace(" ", "") in both.replace(" · ", "·").replace(" ", "")
    assert f"pay.example.com/v/{in_groups(code.code)}" in both
    assert "TEST" in both
    english = said(owner, f"{place}&words=en")
    assert "号桌" not in english
    assert "Whose code is this?" in english


@needs_poppler
def test_a_price_is_printed_or_left_off(owner: Person, merchant: Shop) -> None:
    code = hang(merchant, amount_minor=1800)
    place = f"/codes/{code.id}/print"
    assert "Price on paper" in owner.get(place).text
    assert "18.00" in said(owner, f"{place}/file?form=pdf")
    without = said(owner, f"{place}/file?form=pdf&price=0")
    assert "18.00" not in without
    assert "You type the amount" not in without
    change(code, amount_minor=None)
    assert "Price on paper" not in owner.get(place).text


@needs_poppler
def test_a_series_is_printed_in_its_order_from_the_first_free_label(owner: Person, merchant: Shop) -> None:
    rows = tables(merchant, 12)
    change(rows[4], active=False)  # table 5 is closed, and not printed again
    place = f"/codes/series/{rows[0].series_id}/print"
    page = owner.get(f"{place}?kind=labels12&start=3").text
    assert "11 codes. This is the first page." in page
    assert "PNG" not in page
    sheet = owner.get(f"{place}/file?kind=labels12&start=3&form=pdf").data
    shown = [set(read(pixels_of_pdf(sheet, 203, page))) for page in (1, 2)]
    wanted = [address_of_code(row) for row in rows if row is not rows[4]]
    assert shown == [set(wanted[:10]), set(wanted[10:])]
    told = told_by("pdftotext", sheet)
    assert re.findall(r"(\d+) 号桌", told) == [str(n) for n in (*range(1, 5), *range(6, 13))]


@needs_poppler
def test_three_readers_read_a_test_code_with_the_shops_colour_from_the_pdf(
    owner: Person, merchant: Shop
) -> None:
    brand.choose_accent(merchant.id, "#7a3b12")
    code = hang(merchant)
    page = pixels_of_pdf(owner.get(f"/codes/{code.id}/print/file?kind=sticker&form=pdf").data, 203)
    for name, reader in READERS.items():
        assert reader(page) == {address_of_code(code)}, name


def test_five_hundred_labels_take_a_few_seconds(owner: Person, merchant: Shop) -> None:
    rows = tables(merchant, SERIES_MAX)
    place = f"/codes/series/{rows[0].series_id}/print"
    began_s = time.monotonic()
    assert "500 codes" in owner.get(f"{place}?kind=labels24").text
    assert owner.get(f"{place}/file?kind=labels24&form=pdf").data.startswith(b"%PDF")
    assert time.monotonic() - began_s < 30  # three on a free machine: the goal is ten


def test_a_series_of_nobodys_is_not_found(owner: Person, merchant: Shop, other_merchant: Shop) -> None:
    rows = tables(other_merchant, 2)
    assert owner.get(f"/codes/series/{rows[0].series_id}/print").status_code == 404
    mine = tables(merchant, 1)
    change(mine[0], active=False)
    assert owner.get(f"/codes/series/{mine[0].series_id}/print").status_code == 404


def test_the_ways_to_paper_are_on_a_codes_page_and_on_a_series(owner: Person, merchant: Shop) -> None:
    rows = tables(merchant, 2)
    series = f"/codes/series/{rows[0].series_id}/print?kind=labels21"
    page = owner.get(f"/codes/{rows[0].id}").text
    assert f'href="/codes/{rows[0].id}/print"' in page
    assert f'href="{series}"' in page
    assert f'href="{series}"' in owner.get(f"/codes?series={rows[0].series_id}").text
