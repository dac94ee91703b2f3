"""The room of unclaimed money: found from everywhere, decided with a press or two, told as a story."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from app.charges import decisions, lifecycle, unclaimed
from app.charges.decisions import Press
from app.charges.models import Attempt, Charge, Decision, Refund
from app.charges.states import ChargeState
from app.providers.base import Outcome
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.review.rounds import hear
from tests.strays import hear_unknown, pay_twice, tell_refund

# One database will do for pages: test_rooms.py opens each of them on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def wrong(shop: Shop, minor: int, currency: str = "CNY") -> str:
    """A charge of 12.50 for which something else came; its id."""
    charge = books.make_charge(shop)
    hear(shop.account_id, books.make_attempt(shop, charge.id), minor, currency)
    return str(charge.id)


@pytest.fixture
def press(owner: Person) -> Callable[..., str]:
    """Send one of the forms on the page as it was shown; what the page says then."""

    def send(deed: str, **fields: str) -> str:
        page = owner.get("/unclaimed").text
        [form] = re.findall(
            rf'<form[^>]*action="(/unclaimed/\w+/{deed})".*?name="seen" value="(\d+)"', page, re.DOTALL
        )
        response = owner.post(form[0], {"seen": form[1], **fields})
        assert response.status_code == 303
        return notice_of(owner.get(response.location).text)

    return send


def notice_of(page: str) -> str:
    found = re.search(r"data-notice>([^<]*)<", page)
    return found[1] if found else ""


def test_nothing_is_said_while_nothing_waits(owner: Person, merchant: Shop) -> None:
    hear(merchant.account_id, books.make_attempt(merchant, books.make_charge(merchant).id))
    home = owner.get("/").text
    assert "No unclaimed money" in home
    assert 'class="badge"' not in home
    page = owner.get("/unclaimed").text
    assert "Nothing waits for you." in page
    assert "it adds up" in page


def test_every_page_counts_what_waits_and_home_names_it(owner: Person, merchant: Shop) -> None:
    wrong(merchant, 1000)
    hear_unknown(merchant)
    assert "2 unclaimed payments wait for a decision" in owner.get("/").text
    for path in ("/", "/charges", "/keys", "/unclaimed"):
        assert "2 payments wait" in owner.get(path).text
    assert "payments wait" not in owner.get("/keys?mode=live").text


@pytest.mark.parametrize(
    ("happen", "said"),
    [
        (lambda shop: wrong(shop, 1000), "¥10.00 came for a charge of ¥12.50."),
        (lambda shop: wrong(shop, 1250, "USD"), "It came in another currency"),
        (hear_unknown, "It came under a number that was not given out here."),
        (
            lambda shop: (pay_twice(shop), tell_refund(shop, books.row_of(Refund), Outcome.FAILED)),
            'It could not go back: <code translate="no">SELLER_',
        ),
    ],
)
def test_why_it_waits_is_said(
    owner: Person, merchant: Shop, happen: Callable[[Shop], object], said: str
) -> None:
    happen(merchant)
    assert said in owner.get("/unclaimed").text


def test_it_is_offered_what_makes_sense_and_nothing_else(owner: Person, merchant: Shop) -> None:
    def offered() -> set[str]:
        return set(re.findall(r'action="/unclaimed/\w+/([\w-]+)"', owner.get("/unclaimed").text))

    everywhere = {"refund", "set-aside"}
    wrong(merchant, 1250, "USD")
    assert offered() == {*everywhere, "match"}
    charge_id = wrong(merchant, 1300)
    assert offered() == {*everywhere, "match", "accept"}
    tried = books.row_of(Attempt, charge_id=charge_id)
    decisions.accept(Press(merchant.id, tried.id, 1300, "x"), return_surplus=False)
    [item, _], _ = unclaimed.list_unclaimed(merchant.id, livemode=False)
    assert (item.can_be_accepted, item.can_be_matched) == (False, False)


def test_less_is_accepted(owner: Person, merchant: Shop, press: Callable[..., str]) -> None:
    charge_id = wrong(merchant, 1000)
    assert "Accept ¥10.00 instead of ¥12.50" in owner.get("/unclaimed").text
    assert press("accept").startswith("Accepted:")
    assert books.charge_of(merchant, charge_id).paid_minor == 1000
    told = owner.get(f"/charges/{charge_id}").text
    assert "owner@cafe.example accepted ¥10.00 as payment" in told
    assert "¥10.00 was accepted" in told
    assert "¥10.00 <small>CNY" in owner.get("/").text  # what was taken today


@pytest.mark.parametrize(("choice", "left"), [("back", []), ("keep", [50])])
def test_what_is_too_much_goes_where_it_was_told(
    merchant: Shop, press: Callable[..., str], choice: str, left: list[int]
) -> None:
    wrong(merchant, 1300)
    press("accept", surplus=choice)
    items, _ = unclaimed.list_unclaimed(merchant.id, livemode=False)
    assert [item.waiting.minor for item in items] == left
    assert len(books.rows_of(Refund)) == 1 - len(left)


def test_a_canceled_charge_that_is_accepted_tells_both(
    owner: Person, merchant: Shop, press: Callable[..., str]
) -> None:
    charge = books.make_charge(merchant)
    number = books.make_attempt(merchant, charge.id)
    lifecycle.cancel_charge(merchant.id, charge.id)
    hear(merchant.account_id, number)
    tell_refund(merchant, books.row_of(Refund), Outcome.FAILED)
    assert "The charge was canceled; accepting pays it late." in owner.get("/unclaimed").text
    press("accept")
    page = owner.get(f"/charges/{charge.id}").text
    assert 'class="timeline__canceled"' in page
    assert "Paid, after it had been canceled" in page


def test_money_is_matched_by_order_number(owner: Person, merchant: Shop, press: Callable[..., str]) -> None:
    charge = books.make_charge(merchant, merchant_order_no="A-1")
    hear_unknown(merchant, minor=1250)
    assert press("match", wanted="A-2").startswith("Nothing was done: there is no charge")
    assert press("match", wanted="A-1").startswith("Matched:")
    assert books.charge_of(merchant, charge.id).state == ChargeState.PAID
    assert "matched a payment of ¥12.50 to this charge" in owner.get(f"/charges/{charge.id}").text


def test_what_cannot_be_matched_is_said(merchant: Shop, press: Callable[..., str]) -> None:
    hear_unknown(merchant, minor=1250, currency="USD")
    paid = books.make_charge(merchant, merchant_order_no="A-1")
    assert "another currency" in press("match", wanted="A-1")
    books_before = books.rows_of(Charge)
    hear(merchant.account_id, books.make_attempt(merchant, paid.id))
    [attempt] = [row for row in books.rows_of(Attempt) if row.charge_id is None]
    decisions.refund(Press(merchant.id, attempt.id, 1250, "x"))
    hear_unknown(merchant, "X2", minor=1250)
    assert "is paid already" in press("match", wanted="A-1")
    assert len(books.rows_of(Charge)) == len(books_before)


def test_the_second_to_press_is_told(owner: Person, merchant: Shop, press: Callable[..., str]) -> None:
    wrong(merchant, 1000)
    attempt = books.row_of(Attempt)
    assert press("refund") == "The money is on its way back."
    again = owner.post(f"/unclaimed/{attempt.id}/refund", {"seen": "1000"})
    assert "has changed since you saw it" in owner.get(again.location).text
    for nonsense in ("", "-1", "1e3", "٣", "9" * 99):
        answer = owner.post(f"/unclaimed/{attempt.id}/refund", {"seen": nonsense})
        assert answer.location.endswith("already_decided")
    assert len(books.rows_of(Refund)) == 1


def test_what_was_settled_elsewhere_says_how(
    owner: Person, merchant: Shop, press: Callable[..., str]
) -> None:
    wrong(merchant, 1000)
    assert "say in a note" in press("set-aside", note=" ")
    press("set-aside", note="<b>in cash</b>")
    page = owner.get("/unclaimed").text
    assert "settled ¥10.00 elsewhere: &lt;b&gt;in cash" in page
    assert '<th scope="row">Settled elsewhere</th><td class="num">¥10.00</td>' in page
    assert books.row_of(Decision).decided_by == merchant.email


def test_an_incident_about_money_leads_here(owner: Person, merchant: Shop) -> None:
    wrong(merchant, 1000)
    assert 'href="/unclaimed">Unclaimed money' in owner.get("/incidents").text
