"""Refunds at the dashboard: asked for, confirmed, sent once, found again, and repeated when they failed."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from app.charges.models import Charge, Refund
from app.ids import is_id
from app.providers.base import Outcome
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def paid(merchant: Shop) -> sa.Row[Any]:
    return books.make_paid(merchant)


def confirmed(owner: Person, charge_id: str, **typed: str) -> dict[str, str]:
    """The form as the confirming page carries it."""
    page = owner.get(f"/charges/{charge_id}/refund", query_string=typed).text
    return dict(re.findall(r'name="(token|amount|reason)" value="([^"]*)"', page))


def test_what_is_left_stands_in_the_form(owner: Person, merchant: Shop, paid: sa.Row[Any]) -> None:
    assert f'href="/charges/{paid.id}/refund"' in owner.get(f"/charges/{paid.id}").text
    assert 'value="12.50"' in owner.get(f"/charges/{paid.id}/refund").text
    books.refund(merchant, paid.id, 450)
    assert 'value="8.00"' in owner.get(f"/charges/{paid.id}/refund").text


def test_it_is_confirmed_with_amount_and_wallet_and_then_sent(owner: Person, paid: sa.Row[Any]) -> None:
    page = owner.get(f"/charges/{paid.id}/refund?amount=￥４.５&reason=少了一份").text
    assert "Refund ¥4.50 through Alipay" in page
    assert "¥8.00" in page  # left afterwards
    assert books.rows_of(Refund) == []
    form = confirmed(owner, paid.id, amount="￥４.５", reason="少了一份")
    response = owner.post(f"/charges/{paid.id}/refund", form)
    assert (response.status_code, response.location) == (303, f"/charges/{paid.id}?notice=refunding#refunds")
    refund = books.row_of(Refund)
    assert (refund.amount_minor, refund.reason, refund.asked_by) == (450, "少了一份", "owner@cafe.example")
    page = owner.get(f"/charges/{paid.id}").text
    assert "On its way" in page
    assert "by owner@cafe.example" in page
    assert refund.out_refund_no in page


def test_a_double_click_refunds_once_even_if_nothing_is_left_then(owner: Person, paid: sa.Row[Any]) -> None:
    form = confirmed(owner, paid.id, amount="12.50")
    first, second = (owner.post(f"/charges/{paid.id}/refund", form) for _ in range(2))
    assert first.location == second.location
    assert books.row_of(Refund).amount_minor == 1250


def test_a_form_changed_and_sent_again_asks_first(owner: Person, paid: sa.Row[Any]) -> None:
    form = confirmed(owner, paid.id, amount="1")
    owner.post(f"/charges/{paid.id}/refund", form)
    again = owner.post(f"/charges/{paid.id}/refund", {**form, "amount": "2"})
    assert again.status_code == 409
    assert "This form was sent before." in again.text
    assert len(books.rows_of(Refund)) == 1


@pytest.mark.parametrize("amount", ["", "0", "-1", "1.005", "12.51", "1e1", "1" * 40, "x"])
def test_an_amount_that_cannot_go_back_is_said_beside_the_field(
    owner: Person, paid: sa.Row[Any], amount: str
) -> None:
    response = owner.get(f"/charges/{paid.id}/refund", query_string={"amount": amount, "reason": "typed"})
    assert response.status_code == 400
    assert "at most what is left" in response.text
    assert 'value="typed"' in response.text


def test_a_reason_of_two_lines_is_said_beside_the_field(owner: Person, paid: sa.Row[Any]) -> None:
    response = owner.get(f"/charges/{paid.id}/refund", query_string={"amount": "1", "reason": "a\nb"})
    assert response.status_code == 400
    assert "A reason has at most 80 characters" in response.text


def test_what_went_back_meanwhile_is_not_sent_again(owner: Person, merchant: Shop, paid: sa.Row[Any]) -> None:
    form = confirmed(owner, paid.id, amount="12.50")
    books.refund(merchant, paid.id, 450)
    response = owner.post(f"/charges/{paid.id}/refund", form)
    assert response.status_code == 409
    assert "Meanwhile more of it went back." in response.text
    assert "¥8.00" in response.text
    assert len(books.rows_of(Refund)) == 1


def test_an_unpaid_charge_offers_no_refund(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    assert f"/charges/{charge.id}/refund" not in owner.get(f"/charges/{charge.id}").text
    assert "Only a paid charge can be refunded." in owner.get(f"/charges/{charge.id}/refund").text
    owner.get("/charges/new")
    assert owner.post(f"/charges/{charge.id}/refund", {"amount": "1"}).status_code == 409
    assert books.rows_of(Refund) == []


def test_a_failed_one_is_tried_again_once(owner: Person, merchant: Shop, paid: sa.Row[Any]) -> None:
    failed = books.refund(merchant, paid.id, 450)
    books.end_refund(merchant, failed.id, Outcome.FAILED, "TRADE_NOT_ALLOW_REFUND")
    page = owner.get(f"/charges/{paid.id}").text
    assert "Nothing went back, and the amount can be refunded again." in page
    assert "TRADE_NOT_ALLOW_REFUND" in page
    for _ in range(2):
        response = owner.post(f"/refunds/{failed.id}/again")
        assert response.location == f"/charges/{paid.id}?notice=refunding#refunds"
    [repeat] = books.rows_of(Refund, replaces=failed.id)
    assert is_id(repeat.id, "re")
    assert (repeat.amount_minor, repeat.asked_by) == (450, "owner@cafe.example")
    page = owner.get(f"/charges/{paid.id}").text
    assert f"Tried again: {repeat.id}" in page
    assert f"/refunds/{failed.id}/again" not in page


def test_trying_again_without_enough_left_says_so(owner: Person, merchant: Shop, paid: sa.Row[Any]) -> None:
    failed = books.refund(merchant, paid.id)
    books.end_refund(merchant, failed.id, Outcome.FAILED)
    books.refund(merchant, paid.id)
    owner.get(f"/charges/{paid.id}")
    response = owner.post(f"/refunds/{failed.id}/again")
    assert "Nothing was sent" in owner.get(response.location).text


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("ABNORMAL", "could not reach the payer"),
        ("NOT_ENOUGH", "balance at WeChat Pay is too low"),
        ("ACQ.SELLER_BALANCE_NOT_ENOUGH", "balance at Alipay is too low"),
        ("provider_unreachable", "no final answer for a long time"),
    ],
)
def test_one_that_waits_for_a_person_says_what_to_do(
    owner: Person, merchant: Shop, paid: sa.Row[Any], word: str, said: str
) -> None:
    refund = books.refund(merchant, paid.id)
    books.end_refund(merchant, refund.id, Outcome.PENDING, word, needs_person=True)
    for path in (f"/charges/{paid.id}", "/refunds", "/refunds?status=attention"):
        page = owner.get(path).text
        assert "Needs you" in page
        assert said in page


def test_the_list_is_filtered_and_paged(owner: Person, merchant: Shop) -> None:
    charge = books.make_paid(merchant, minor=10_000)
    made = [books.refund(merchant, charge.id, 100 + n) for n in range(25)]
    books.end_refund(merchant, made[0].id, Outcome.SUCCEEDED)
    books.end_refund(merchant, made[1].id, Outcome.FAILED)
    page = owner.get("/refunds").text
    assert "¥1.24" in page
    assert "¥1.04" not in page
    older = re.findall(r'rel="next" href="([^"]+)"', page)[0]
    page = owner.get(older).text
    assert "¥1.04" in page
    assert 'rel="prev"' in page
    assert "¥1.00" in owner.get("/refunds?status=succeeded").text
    assert "¥1.01" in owner.get("/refunds?status=failed").text
    assert "No refund fits this filter." in owner.get("/refunds?status=attention").text
    assert "There is nothing beyond this page." in owner.get(f"/refunds?after={made[0].id}").text
    assert "Nothing has gone back yet." in owner.get("/refunds?mode=live").text


def test_the_list_keeps_the_modes_apart(owner: Person, merchant: Shop, paid: sa.Row[Any]) -> None:
    books.refund(merchant, paid.id)
    assert f"/charges/{books.row_of(Charge).id}" in owner.get("/refunds?mode=test").text
    assert f"/charges/{books.row_of(Charge).id}" not in owner.get("/refunds?mode=live").text
