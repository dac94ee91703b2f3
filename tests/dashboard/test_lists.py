"""The list of charges: found by whatever number somebody holds, narrowed, kept under a name, taken along."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.charges import attempts, export, search
from app.charges.models import Attempt, Charge, SavedView
from app.charges.search import Turn, Wanted
from app.codes import codes
from app.codes.scan import begin_charge
from app.codes.terms import Terms
from app.db import table_of, transaction
from app.merchants import stores
from app.merchants.stores import StoreTerms
from app.money import Money
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.far_side import AlipayFarSide

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def shown(page: str) -> list[str]:
    """The charges of a list, in its order."""
    return re.findall(r'<th scope="row"><a href="/charges/(ch_\w+)"', page)


def at_a_code(shop: Shop, *, in_store: bool = False, minor: int = 300) -> tuple[Any, Any]:
    """A printed code and a charge that was begun there."""
    with transaction() as tx:
        store_id = None
        if in_store:
            store_id = stores.add_store(tx, shop.id, StoreTerms("南门店"), livemode=False).id
        code = codes.create_code(tx, shop.id, Terms("前台", store_id=store_id), livemode=False)
    with transaction() as tx:
        return code, begin_charge(tx, code, Money(minor, "CNY"))


def test_a_charge_is_found_by_every_number_that_somebody_may_hold(
    owner: Person, merchant: Shop, other_merchant: Shop
) -> None:
    for shop in (merchant, other_merchant):
        books.make_charge(shop, minor=9900)
    wanted = books.make_charge(merchant, minor=1250, merchant_order_no="NO-1")
    books.pay(wanted.id)
    refund = books.refund(merchant, wanted.id, 100)
    [attempt] = attempts.list_attempts(merchant.id, wanted.id)
    numbers = (
        *("NO-1", "12.5", "¥12.50", "１２．５０", " 12.50元 ", attempt.out_trade_no, attempt.provider_ref),
        *(attempt.out_trade_no.lower(), refund.id, refund.out_refund_no),
    )
    for number in numbers:
        assert shown(owner.get("/charges", query_string={"q": number}).text) == [wanted.id], number
    assert owner.get(f"/charges?q={wanted.id}").location == f"/charges/{wanted.id}"
    for nothing in (
        "NO-",
        "no-1",
        "12.51",
        "12",
        "x",
        "%",
        "1' OR 1=1",
        "\x00x",
        "9" * 64,
        "ch_x",
    ):
        assert shown(owner.get("/charges", query_string={"q": nothing}).text) == [], nothing


def test_a_printed_code_is_searched_by_the_letters_below_it(
    owner: Person, merchant: Shop, other_merchant: Shop
) -> None:
    code, charge = at_a_code(merchant)
    theirs, _ = at_a_code(other_merchant)
    for letters in (code.code, f"{code.code[:4]}-{code.code[4:8]} {code.code[8:]}".lower()):
        assert shown(owner.get(f"/charges?q={letters}").text) == [charge.id]
    assert shown(owner.get(f"/charges?q={theirs.code}").text) == []
    page = owner.get(f"/charges?code={code.id}").text
    assert shown(page) == [charge.id]
    assert f'<a href="/codes/{code.id}">前台</a>' in page
    assert "前台" in owner.get(f"/charges/{charge.id}").text


def test_a_text_with_two_meanings_finds_both_once_and_pages_through_them(
    owner: Person, merchant: Shop
) -> None:
    by_amount = [books.make_charge(merchant, minor=700).id for _ in range(25)]
    by_number = books.make_charge(merchant, minor=100, merchant_order_no="7").id
    both = books.make_charge(merchant, minor=700, merchant_order_no="7.00").id
    ids = [both, by_number, *reversed(by_amount)]
    walk, path = [], "/charges?q=7"
    for _ in range(3):
        page = owner.get(path).text
        walk += shown(page)
        turned = re.search(r'rel="next" href="([^"]+)"', page)
        if turned is None:
            break
        path = turned[1].replace("&amp;", "&")
    assert walk == ids
    back = re.search(r'rel="prev" href="([^"]+)"', page)
    assert back is not None
    assert shown(owner.get(back[1].replace("&amp;", "&")).text) == ids[:20]
    assert shown(owner.get("/charges?q=7.00").text)[0] == both


@ONE_DATABASE
def test_each_filter_narrows_and_all_of_them_together(
    owner: Person, merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    midnight = datetime(2026, 3, 9, 16, tzinfo=UTC)  # in Beijing
    at(midnight - timedelta(seconds=1))
    before = books.make_charge(merchant)
    at(midnight)
    paid = books.make_paid(merchant)
    code, in_store = at_a_code(merchant, in_store=True)
    at(midnight + timedelta(days=1))
    after = books.make_charge(merchant)
    for query, found in {
        "": [after, in_store, paid, before],
        "status=paid": [paid],
        "provider=alipay": [paid],
        "provider=unionpay": [],
        f"store={in_store.store_id}": [in_store],
        f"code={code.id}": [in_store],
        "from=2026-03-10": [after, in_store, paid],
        "to=2026-03-10": [in_store, paid, before],
        "from=2026-03-10&to=2026-03-10": [in_store, paid],
        "from=2026-03-10&to=2026-03-10&status=pending&q=3": [in_store],
        "from=2026-03-12": [],
        "mode=live": [],
        "status=nonsense&provider=x&from=yesterday&to=2026-02-30&mode=test": [after, in_store, paid, before],
    }.items():
        assert shown(owner.get(f"/charges?{query}").text) == [row.id for row in found], query
    assert "No charge fits this filter." in owner.get("/charges?from=2026-03-12&mode=test").text


@ONE_DATABASE
def test_every_link_of_a_list_keeps_its_filters_and_its_mode(owner: Person, merchant: Shop) -> None:
    for _ in range(21):
        books.make_charge(merchant, minor=700)
    page = owner.get("/charges?q=7&status=pending&from=2020-01-01").text
    links = re.findall(r'href="(/charges(?:\.csv)?\?[^"]*)"', page)
    assert len(links) == 4  # the older page, the file, and both languages
    for link in links:
        if "lang=" not in link:
            assert "q=7&amp;status=pending&amp;from=2020-01-01&amp;mode=test" in link


@ONE_DATABASE
def test_filters_are_kept_under_a_name_by_the_person_who_gave_it(
    app: Flask, owner: Person, merchant: Shop, other_merchant: Shop
) -> None:
    owner.get("/charges?status=paid&q=a+b%26c")
    form = {"status": "paid", "q": "a b&c", "name": "  paid\tones ", "mode": "test"}
    response = owner.post("/charges/views", form)
    assert "notice=view_saved" in response.location
    page = owner.get(response.location).text
    assert '<a href="/charges?q=a+b%26c&amp;status=paid" aria-current="true">paid ones</a>' in page
    owner.post("/charges/views", {"status": "expired", "name": "paid ones"})
    [view] = books.rows_of(SavedView)
    assert (view.query, view.user_id) == ("status=expired", merchant.user_id)

    stranger = Person(app)
    stranger.sign_in(other_merchant)
    assert "paid ones" not in stranger.get("/charges").text
    assert stranger.post(f"/charges/views/{view.id}/delete").status_code == 404
    for fields in ({"name": "all"}, {"name": "", "status": "paid"}, {"name": "x" * 41, "status": "paid"}):
        assert "notice=view_unnamed" in owner.post("/charges/views", fields).location
    owner.get("/charges?status=expired")
    assert owner.post(f"/charges/views/{view.id}/delete").location == "/charges?notice=view_deleted"
    assert books.rows_of(SavedView) == []


@ONE_DATABASE
def test_nobody_keeps_more_views_than_fit_above_a_list(owner: Person) -> None:
    owner.get("/charges?status=paid")
    for number in range(20):
        assert "view_saved" in owner.post("/charges/views", {"name": f"v{number}", "q": "1"}).location
    assert "too_many_views" in owner.post("/charges/views", {"name": "one more", "q": "1"}).location


def test_the_file_says_what_the_list_says_in_two_clocks_and_two_units(
    owner: Person, merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    at(datetime(2026, 3, 9, 16, tzinfo=UTC))
    paid = books.make_paid(merchant)
    books.refund(merchant, paid.id, 100)
    _, pending = at_a_code(merchant, in_store=True, minor=123450)
    answer = owner.get("/charges.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="charges-test-20260310-\d{4}\.csv"', answer.headers["Content-Disposition"]
    )
    assert answer.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [row["Charge id"] for row in rows] == [pending.id, paid.id]
    [attempt] = attempts.list_attempts(merchant.id, paid.id)
    assert rows[1] == rows[1] | {
        "Created (Beijing time)": "2026-03-10 00:00:00",
        "Created (UTC)": "2026-03-09 16:00:00",
        "Paid (UTC)": "2026-03-09 16:00:00",
        "Status": "Paid",
        "Amount": "12.50",
        "Amount (minor units)": "1250",
        "Amount paid": "12.50",
        "Amount refunded": "1.00",
        "Provider": "Alipay",
        "out_trade_no": attempt.out_trade_no,
        "Provider's number": attempt.provider_ref,
    }
    assert (rows[0]["Amount"], rows[0]["Store"], rows[0]["Amount paid"]) == ("1234.50", "南门店", "")
    narrowed = owner.get("/charges.csv?status=paid").data.decode("utf-8-sig")
    assert (paid.id in narrowed, pending.id in narrowed) == (True, False)
    owner.language = "zh"
    assert "订单号" in owner.get("/charges.csv").data.decode("utf-8-sig")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("一杯拿铁", "一杯拿铁"),
        ("", ""),
        *[(f"{sign}1+1", f"'{sign}1+1") for sign in "=+-@\t\r\n＝＋－＠"],
        ("=HYPERLINK(...)", "'=HYPERLINK(...)"),
        ("a=1", "a=1"),
        ("123456789012345", "123456789012345"),
        ("1234567890123456", "1234567890123456\t"),
        ("１234567890123456", "１234567890123456"),
    ],
)
def test_a_spreadsheet_runs_nothing_and_rounds_nothing(text: str, cell: str) -> None:
    assert export.safe(text) == cell


@ONE_DATABASE
def test_no_cell_of_the_file_begins_like_a_formula(owner: Person, merchant: Shop) -> None:
    nasty = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", '"=1', "a,=1")
    for number, text in enumerate(nasty):
        books.make_charge(merchant, merchant_order_no=f"={number}")
        with transaction() as tx:
            charges = table_of(Charge)
            tx.execute(
                sa.update(charges).where(charges.c.merchant_order_no == f"={number}").values(description=text)
            )
    for row in csv.reader(io.StringIO(owner.get("/charges.csv").data.decode("utf-8-sig"))):
        assert not [cell for cell in row if cell[:1] in tuple("=+-@\t\r")]


@ONE_DATABASE
def test_the_first_line_is_sent_before_the_database_is_asked(
    merchant: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = export.Words(dict.fromkeys(export.COLUMNS, "x"), {"pending": "Waiting"}, {})
    rows: Iterator[str] = export.csv_of(merchant.id, livemode=False, wanted=Wanted(), words=words)
    with monkeypatch.context() as patched:
        patched.setattr(search, "reading", lambda: pytest.fail("it asked"))
        patched.setattr(export, "reading", lambda: pytest.fail("it asked"))
        assert next(rows).startswith("\ufeffx,")
    assert list(rows) == []


@ONE_DATABASE
def test_a_long_file_is_read_in_batches_and_has_an_end(merchant: Shop) -> None:
    ids = [books.make_charge(merchant).id for _ in range(7)][::-1]
    batches = search.walk(merchant.id, livemode=False, wanted=Wanted(), batch=3, limit=7)
    assert [[row.id for row in rows] for rows in batches] == [ids[:3], ids[3:6], ids[6:]]
    batches = search.walk(merchant.id, livemode=False, wanted=Wanted(), batch=3, limit=5)
    assert [len(rows) for rows in batches] == [3, 2]


@ONE_DATABASE
def test_charges_of_one_moment_are_all_shown_once(
    merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    ids = [books.make_charge(merchant).id for _ in range(5)][::-1]
    with transaction() as tx:
        tx.execute(sa.update(table_of(Charge)).values(created_at=datetime(2026, 3, 10, tzinfo=UTC)))
    seen: list[str] = []
    more = True
    while more:
        turn = Turn(2, after=seen[-1] if seen else None)
        rows, more = search.page_of(merchant.id, livemode=False, wanted=Wanted(), turn=turn)
        seen += [row.id for row in rows]
    assert seen == ids


@ONE_DATABASE
def test_a_provider_is_asked_when_a_person_wants_to_know(
    owner: Person, merchant: Shop, far_side: AlipayFarSide, at: Callable[[datetime | timedelta], None]
) -> None:
    charge = books.make_charge(merchant)
    page = f"/charges/{charge.id}"

    def ask() -> str:
        owner.get(page)
        location: str = owner.post(f"{page}/ask").location
        return location.partition("notice=")[2]

    assert ask() == "asked_nobody"
    assert "Ask the provider now" not in owner.get(page).text
    number = books.make_attempt(merchant, charge.id)
    assert "Ask the provider now" in owner.get(page).text
    assert ask() == "asked_nothing_new"
    assert ask() == "asked_just_now"
    far_side.is_down = True
    at(timedelta(seconds=4))
    assert ask() == "asked_in_vain"
    far_side.is_down = False
    far_side.pay(number)
    at(timedelta(seconds=4))
    assert ask() == "asked_paid"
    assert books.charge_of(merchant, charge.id).state == "paid"
    assert "The provider says that it is paid." in owner.get(f"{page}?notice=asked_paid").text
    assert "Ask the provider now" not in owner.get(page).text


@ONE_DATABASE
def test_money_that_came_after_a_close_is_found_by_asking(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    charge = books.make_charge(merchant)
    number = books.make_attempt(merchant, charge.id)
    owner.get(f"/charges/{charge.id}")
    assert owner.post(f"/charges/{charge.id}/cancel").location.endswith("canceled")
    far_side.pay(number)
    with transaction() as tx:
        tx.execute(sa.update(table_of(Attempt)).values(asked_at=None))
    owner.post(f"/charges/{charge.id}/ask")
    assert books.row_of(Attempt).received_minor == 1250
