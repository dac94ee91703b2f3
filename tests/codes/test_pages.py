"""What a scan opens: a keypad or a price, never a charge by itself; and whose sign it is."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace

import pytest

from app.charges.models import Attempt, Charge, Incident
from app.codes.models import QRCode
from app.codes.terms import LabelKind
from app.db import transaction
from app.merchants import stores
from app.merchants.stores import StoreTerms
from app.qr.short_code import in_groups, new_code
from app.rates import rates_of
from tests.books import pay, row_of, rows_of
from tests.checkout.test_budget import GZIPPED_MAX, REQUESTS_MAX, Page
from tests.codes.signs import Passer, change, hang

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def passer(app) -> Passer:
    return Passer(app)


def test_a_scan_shows_who_is_paid_where_and_how_much_may_be(merchant, passer):
    with transaction() as tx:
        store = stores.add_store(
            tx, merchant.id, StoreTerms("武康路店", "上海市武康路 100 号"), livemode=False
        )
    code = hang(
        merchant,
        store_id=store.id,
        label_kind=LabelKind.TABLE,
        label_text="7",
        min_minor=100,
        max_minor=5000,
        preset_minor=1500,
        suggested=(1000, 2000),
    )
    page = passer.get(f"/P/{code.code}")
    assert page.status_code == 200
    shown = (
        "晨光咖啡馆",
        "武康路店",
        "上海市武康路 100 号",
        "Table 7",
        "¥1.00",
        "¥50.00",
        'value="15.00"',
        "¥20.00",
    )
    for text in (*shown, in_groups(code.code), "Test mode"):
        assert text in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    assert "7 号桌" not in page.text
    assert 'lang="zh-CN"' in passer.get(f"/p/{code.code.lower()}?lang=zh").text


def test_looking_makes_no_charge_and_is_counted(app, merchant, passer):
    code = hang(merchant)
    for headers in ({}, {"User-Agent": "Googlebot/2.1"}, {"Sec-Purpose": "prefetch"}):
        passer.get(f"/P/{code.code}", **headers)
    passer._open("HEAD", f"/P/{code.code}", {})
    app.extensions["mafu.tally"].write()
    assert rows_of(Charge) == []
    assert row_of(QRCode).scans == 2  # what a browser fetches ahead and HEAD are no scans


@pytest.mark.parametrize(
    ("typed", "minor"),
    [
        ("12.5", 1250),
        ("１２．５０", 1250),
        ("¥12。5", 1250),
        ("￥1,234.50元", 123450),
        (" 0.01 ", 1),
        ("12,50", None),
        ("1,2345", None),
        ("12.505", None),
        ("-1", None),
        ("1e3", None),
        ("", None),
        ("0", None),
    ],
)
def test_an_amount_is_read_as_people_type_it_or_asked_for_again(merchant, passer, typed, minor):
    code = hang(merchant)
    passer.get(f"/P/{code.code}")
    answer = passer.post(f"/P/{code.code}", amount=typed)
    if minor is None:
        assert answer.status_code == 400
        assert 'aria-invalid="true"' in answer.text
        assert f'value="{typed}"' in answer.text
        assert rows_of(Charge) == []
    else:
        assert answer.status_code == 303
        assert answer.location.startswith("/C/")
        assert row_of(Charge).amount_minor == minor
        assert passer.get(answer.location).status_code == 200
        assert rows_of(Attempt) == []


def test_a_suggested_amount_needs_one_press_and_no_script(merchant, passer):
    code = hang(merchant, suggested=(1000, 2000))
    picks = re.findall(r'name="pick" value="([^"]+)"', passer.get(f"/P/{code.code}").text)
    assert picks == ["10.00", "20.00"]
    assert passer.post(f"/P/{code.code}", amount="", pick=picks[1]).status_code == 303
    assert row_of(Charge).amount_minor == 2000


def test_a_fixed_price_cannot_be_talked_down(merchant, passer):
    code = hang(merchant, amount_minor=1800)
    assert 'id="amount"' not in passer.get(f"/P/{code.code}").text
    assert passer.post(f"/P/{code.code}", amount="0.01", pick="0.01", amount_minor="1").status_code == 303
    assert row_of(Charge).amount_minor == 1800


def test_a_form_sent_twice_makes_one_charge_and_another_page_another(merchant, passer):
    code = hang(merchant)
    passer.get(f"/P/{code.code}")
    form = passer.page
    places = set()
    for _ in range(2):
        passer.page = form
        places.add(passer.post(f"/P/{code.code}", amount="12.50").location)
    assert len(places) == 1
    passer.page = form
    passer.post(f"/P/{code.code}", amount="13.00")
    passer.get(f"/P/{code.code}")
    passer.post(f"/P/{code.code}", amount="12.50")
    assert sorted(row.amount_minor for row in rows_of(Charge)) == [1250, 1250, 1300]


def test_a_sign_that_is_not_in_use_says_what_the_merchant_says(merchant, passer):
    code = hang(merchant, inactive_zh="请到前台付款", inactive_en="Please pay at the counter")
    change(code, active=False)
    for language, text in (("en", "Please pay at the counter"), ("zh", "请到前台付款")):
        page = Passer(passer.client.application, language).get(f"/P/{code.code}")
        assert page.status_code == 410
        assert text in page.text
        assert "<form" not in page.text
    assert passer.post(f"/P/{code.code}", amount="1").status_code == 410
    assert rows_of(Charge) == []
    change(code, inactive_en="")
    assert "请到前台付款" in passer.get(f"/P/{code.code}").text


def test_a_code_that_has_taken_its_payments_says_so(merchant, passer):
    code = hang(merchant, amount_minor=100, max_payments=1)
    passer.get(f"/P/{code.code}")
    passer.post(f"/P/{code.code}")
    passer.get(f"/P/{code.code}")
    waiting = passer.post(f"/P/{code.code}")
    assert waiting.status_code == 409
    assert "Others are paying" in waiting.text
    pay(row_of(Charge).id)
    assert "All payments here have been taken" in passer.get(f"/P/{code.code}").text


def test_unknown_mistyped_and_foreign_codes_look_alike_and_guessing_is_slowed(app, merchant, passer):
    mine = app.extensions["mafu.runtime"]
    limits = {"reads_per_s": 0, "writes_per_s": 0, "failures_per_min": 4, "payments_per_min": 0}
    app.extensions["mafu.runtime"] = replace(mine, rates=rates_of(**limits))
    code = hang(merchant)
    pages = [passer.get(f"/{door}/{text}") for door in "Pv" for text in (new_code(), "7K2M9QXT4CW2")]
    assert [page.status_code for page in pages] == [404] * 4
    bodies = {re.sub(r"req_\w+", "", page.text) for page in pages}
    assert len(bodies) == 1
    assert "No shop has this code" in bodies.pop()
    stopped = passer.get(f"/P/{code.code}")
    assert stopped.status_code == 429
    assert int(stopped.headers["Retry-After"]) > 0


def test_ten_thousand_presses_by_one_visitor_make_few_charges(app, merchant, passer):
    mine = app.extensions["mafu.runtime"]
    limits = {"reads_per_s": 0, "writes_per_s": 0, "failures_per_min": 0, "payments_per_min": 5}
    app.extensions["mafu.runtime"] = replace(mine, rates=rates_of(**limits))
    code = hang(merchant)
    answers = [passer.post(f"/P/{code.code}", amount="0.01").status_code for _ in range(40)]
    assert answers.count(303) == 5
    assert answers.count(429) == 35
    assert len(rows_of(Charge)) == 5


def test_anybody_sees_whose_code_it_is_and_can_report_it_once_a_day(merchant, passer):
    code = hang(merchant, label_kind=LabelKind.TERMINAL, label_text="2")
    found = passer.get(f"/v?code={in_groups(code.code).lower()}")
    assert (found.status_code, found.location) == (303, f"/v/{code.code}")
    page = passer.get(found.location)
    for text in ("晨光咖啡馆", "Till 2", "it is in use", "pay.example.com"):
        assert text in page.text
    assert passer.get("/v?code=7K2M").status_code == 404
    assert passer.get("/v").status_code == 200
    assert passer.post(f"/v/{code.code}", reason="nonsense").status_code == 400
    for _ in range(3):
        told = passer.post(f"/v/{code.code}", reason="covered", note="<b>贴了别的码</b>")
        assert told.status_code == 303
    assert "The shop has been told" in passer.get(told.location).text
    incident = row_of(Incident)
    assert (incident.merchant_id, incident.kind) == (merchant.id, "code_reported")
    assert in_groups(code.code) in incident.detail
    change(code, active=False)
    assert "nothing can be paid there now" in passer.get(f"/v/{code.code}").text


def test_markup_in_names_stays_text(merchant, passer):
    nasty = "<script>alert(1)</script>\"'&"
    code = hang(merchant, name=nasty, label_kind=LabelKind.STAFF, label_text=nasty)
    for path in (f"/P/{code.code}", f"/v/{code.code}", f"/v?code={nasty}"):
        assert "<script>alert" not in passer.get(path).text
    assert "<script>alert" not in passer.post(f"/P/{code.code}", amount="<script>alert(1)").text


def test_a_page_is_five_requests_and_twenty_kilobytes_in_all(merchant, passer):
    code = hang(merchant, suggested=(1000, 2000, 5000))
    text = passer.get(f"/P/{code.code}").text
    weights = [len(gzip.compress(text.encode()))]
    page = Page(text)
    for address in page.fetched():
        with passer.client.get(address) as answer:
            assert answer.status_code == 200
            weights.append(len(gzip.compress(answer.data)))
    assert len(weights) <= REQUESTS_MAX
    assert sum(weights) <= GZIPPED_MAX / 2  # the checkout comes after it
    assert all(attrs.get("src") for tag, attrs in page.tags if tag == "script")
    assert not {name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")}
    assert [tag for tag, _ in page.tags].count("h1") == 1
