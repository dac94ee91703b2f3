"""The room for printed codes: made, found, changed while they hang, and told of when they go quiet."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
import zxingcpp

from app import clock
from app.codes.models import QRCode
from app.db import transaction
from app.merchants.models import Store
from app.qr.short_code import in_groups
from tests.books import pay, row_of, rows_of
from tests.codes.signs import Passer, begin, hang
from tests.dashboard.person import Person
from tests.qr.pictures import picture_of_png

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

FORM = {
    "name": "堂食",
    "kind": "open",
    "currency": "CNY",
    "min_amount": "1",
    "max_amount": "500",
    "suggested_amounts": "10、20，50",
    "label_kind": "table",
    "label": "7",
}


def fill_in(owner: Person, path: str, **changes: str) -> dict[str, str]:
    """The form as it was shown, filled in."""
    [token] = re.findall(r'name="token" value="(\w+)"', owner.get(path).text)
    return {**FORM, "token": token, **changes}


def test_an_empty_room_says_what_codes_are_for(owner):
    page = owner.get("/codes").text
    assert "without printing it again" in page
    assert 'href="/codes/new"' in page
    assert "With one shop you need none" in owner.get("/stores").text
    assert "No code fits this filter" in owner.get("/codes?q=x").text


def test_a_code_is_made_once_and_shown_with_its_symbol(owner, merchant):
    form = fill_in(owner, "/codes/new", daily_cap="￥５００", valid_until="2026-12-31T18:00")
    places = {owner.post("/codes/new", form).location.partition("?")[0] for _ in range(2)}
    code = row_of(QRCode)
    assert places == {f"/codes/{code.id}"}
    assert (code.min_minor, code.max_minor, list(code.suggested)) == (100, 50000, [1000, 2000, 5000])
    assert (code.daily_cap_minor, code.valid_until.isoformat()) == (50000, "2026-12-31T10:00:00+00:00")
    page = owner.get(f"/codes/{code.id}").text
    for text in (in_groups(code.code), f"http://PAY.EXAMPLE.COM/P/{code.code}", "Table 7", "Open amount"):
        assert text in page.replace("<wbr>", "")
    [symbol] = zxingcpp.read_barcodes(picture_of_png(owner.get(f"/codes/{code.id}/qr.png").data))
    assert symbol.text == f"http://PAY.EXAMPLE.COM/P/{code.code}"


def test_a_form_with_a_fault_comes_back_as_it_was_filled_in(owner):
    for changes, fault in (
        ({"name": ""}, "on one line, what is paid for"),
        ({"kind": "fixed", "amount": "12,50"}, "Enter an amount such as 12.50"),
        ({"max_amount": "0.5"}, "not below the least"),
        ({"valid_from": "tomorrow"}, "Enter a day and a time"),
        ({"label": ""}, "A label has 1 to 40 characters"),
    ):
        answer = owner.post("/codes/new", fill_in(owner, "/codes/new", **changes))
        assert answer.status_code == 400
        assert fault in answer.text
        assert 'value="10、20，50"' in answer.text
    assert rows_of(QRCode) == []


def test_tables_one_to_twenty_four_are_one_form(owner):
    form = fill_in(owner, "/codes/series", series="大厅", first="1", last="24", prefix="A")
    answer = owner.post("/codes/series", form)
    assert answer.status_code == 303
    assert len(rows_of(QRCode)) == 24
    page = owner.get(answer.location).text
    assert "Table A24" in page
    assert "大厅 (24)" in page
    assert (
        "Table A1<" in owner.get(re.search(r'rel="next" href="([^"]+)"', page)[1].replace("&amp;", "&")).text
    )
    assert owner.post("/codes/series", {**form, "last": "600"}).status_code == 400


def test_codes_are_found_by_what_is_printed_on_them(owner, merchant):
    codes = [hang(merchant, name=name) for name in ("堂食", "门票 100%")]
    for query, found in (
        (in_groups(codes[0].code).lower(), codes[:1]),
        ("门票", codes[1:]),
        ("100%", codes[1:]),
        ("%", codes[1:]),
        ("nothing", []),
    ):
        page = owner.get("/codes", query_string={"q": query}).text
        assert re.findall(r'href="/codes/(qr_\w+)"', page) == [code.id for code in found], query


def test_a_code_is_re_priced_and_moved_and_the_old_print_asks_for_it(app, owner, merchant):
    owner.get("/stores")
    assert owner.post("/stores", {"name": "武康路店", "address": "上海"}).status_code == 303
    code, store = hang(merchant), row_of(Store)
    form = fill_in(owner, f"/codes/{code.id}/edit", kind="fixed", amount="18", store=store.id)
    assert owner.post(f"/codes/{code.id}/edit", form).status_code == 303
    page = Passer(app).get(f"/P/{code.code}").text
    assert "¥18.00" in page
    assert "武康路店" in page
    owner.get(f"/stores/{store.id}")
    owner.post(f"/stores/{store.id}", {"name": "安福路店", "address": ""})
    assert "安福路店" in Passer(app).get(f"/P/{code.code}").text


def test_a_code_is_disabled_and_enabled_again(app, owner, merchant):
    code = hang(merchant)
    for deed, status in (("disable", 410), ("enable", 200)):
        owner.get(f"/codes/{code.id}")
        answer = owner.post(f"/codes/{code.id}/{deed}")
        assert "takes payments" in owner.get(answer.location).text or deed == "disable"
        assert Passer(app).get(f"/P/{code.code}").status_code == status


def test_what_came_of_a_code_stands_beside_it(owner, merchant):
    code = hang(merchant)
    paid = pay(begin(code, 1250).id)
    begin(code, 2000)
    assert "¥12.50" in owner.get("/codes").text
    page = owner.get(f"/codes/{code.id}").text
    assert re.search(r"Payments begun</dt><dd>2<", page)
    assert re.search(r"Takings</dt><dd>¥12.50<", page)
    listed = owner.get(f"/charges?code={code.id}").text
    assert paid.id in listed
    assert "begun at one printed code" in listed
    assert f'href="/codes/{code.id}"' in owner.get(f"/charges/{paid.id}").text


def test_a_code_that_has_gone_quiet_is_told_of_at_home_and_on_its_page(owner, merchant):
    code = hang(merchant)
    with transaction() as tx:
        tx.execute(sa.update(QRCode.__table__).values(quiet_since=clock.now(), last_scan_at=clock.now()))
    assert f'href="/codes/{code.id}"' in owner.get("/").text
    assert "nothing is pasted over it" in owner.get(f"/codes/{code.id}").text
    assert code.id in owner.get("/codes?status=quiet").text
    owner.post(f"/codes/{code.id}/disable")
    assert "gone quiet" not in owner.get("/").text


def test_a_report_waits_among_the_incidents(app, owner, merchant):
    code = hang(merchant)
    Passer(app).post(f"/v/{code.code}", reason="covered", note="贴了别的码")
    page = owner.get("/incidents").text
    assert "Somebody reported a printed code" in page
    assert f'href="/codes/{code.id}"' in page
