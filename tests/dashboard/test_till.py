"""The till: a counter that shows a code, a cashier who scans one; both without a script."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from app import worker
from app.callbacks import inbox
from app.charges import till
from app.charges.models import Attempt, Charge, Refund
from app.charges.states import AttemptState, ChargeState
from app.charges.till import Face
from app.db import transaction
from app.merchants import accounts, stores
from app.queue import Kind
from tests.books import charge_of, make_attempt, make_charge, row_of, rows_of
from tests.dashboard.person import Person, token_of

CODE, OTHER_CODE, WECHAT = "2876543210987654", "2812345678901234", "134567890123456789"


def sell(person, room, amount="12.50", **fields):
    """Fill in the form of a room; the page that comes of it, or the answer if it is no way onward."""
    token = re.search(r'name="token" value="(\w+)"', person.get(f"/{room}").text)[1]
    return person.post(f"/{room}", {"amount": amount, "token": token, "mode": "test", **fields})


def page_of(person, answer):
    assert answer.status_code == 303, answer.text
    return person.get(answer.location).text


def state_of(person, charge_id):
    return person.get(f"/till/{charge_id}/state").get_json()


# The counter


def test_an_amount_becomes_a_code_and_a_green_page(owner: Person, merchant, far_side):
    page = page_of(owner, sell(owner, "counter", "１２。５"))
    charge = row_of(Charge)
    assert (charge.amount_minor, charge.state) == (1250, ChargeState.PENDING)
    assert f"/charges/{charge.id}/qr.svg" in page
    assert '<noscript><meta http-equiv="refresh"' in page
    version = state_of(owner, charge.id)["version"]
    number = make_attempt(merchant, charge.id)
    assert state_of(owner, charge.id)["version"] != version
    far_side.pay(number)
    inbox.receive(accounts.open_account(merchant.account_id), far_side.notice(number))
    page = owner.get(f"/counter/{charge.id}").text
    assert 'data-say="Received 12.50 yuan"' in page
    for text in ("Paid", "¥12.50", "Alipay", "Next customer"):
        assert text in page
    assert "data-state" not in page
    assert "refresh" not in page


def test_the_voice_speaks_chinese_to_those_who_read_it(app, merchant, far_side):
    person = Person(app, language="zh")
    person.sign_in(merchant)
    page = page_of(person, sell(person, "cashier", code=CODE))
    assert 'data-say="收款12.50元"' in page
    assert "下一位顾客" in page


def test_a_form_sent_twice_is_one_sale_and_another_amount_another(owner: Person):
    first = sell(owner, "counter", "5")
    token = re.search(r'name="token" value="(\w+)"', owner.get("/counter").text)[1]
    answers = {
        owner.post("/counter", {"amount": amount, "token": token}).location for amount in ("5", "5", "6")
    }
    assert len(answers) == 2
    assert len({first.location, *answers}) == len(rows_of(Charge)) == 3


@pytest.mark.parametrize("amount", ["", "0", "nonsense", "1.234", "999999999"])
@pytest.mark.parametrize("room", ["counter", "cashier"])
def test_an_amount_that_is_none_is_said_beside_the_field(room, amount, owner: Person):
    answer = sell(owner, room, amount)
    assert answer.status_code == 400
    assert "Enter an amount such as 12.50" in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert rows_of(Charge) == []


def test_a_code_on_the_screen_is_withdrawn(owner: Person, merchant):
    page_of(owner, sell(owner, "counter"))
    charge = row_of(Charge)
    assert owner.post(f"/counter/{charge.id}/cancel").location == "/counter"
    assert charge_of(merchant, charge.id).state == ChargeState.CANCELED
    assert "This sale is over" in owner.get(f"/counter/{charge.id}").text
    assert owner.post(f"/counter/{charge.id}/cancel").location == "/counter"


# The cashier


def test_a_scan_is_a_payment(owner: Person, far_side):
    page = page_of(owner, sell(owner, "cashier", code=CODE))
    assert 'data-say="Received 12.50 yuan"' in page
    assert far_side.calls == ["alipay.trade.pay"]
    assert CODE not in page


def test_a_shopper_who_is_asked_is_counted_down_and_may_be_given_up(owner: Person, merchant, far_side, at):
    far_side.code_mood = "asked"
    answer = sell(owner, "cashier", code=CODE)
    page = page_of(owner, answer)
    charge = row_of(Charge)
    assert "The shopper confirms in the wallet" in page
    assert 43 <= int(re.search(r'data-left="(\d+)"', page)[1]) <= 45
    assert "data-code" not in page
    at(timedelta(seconds=20))
    assert 23 <= state_of(owner, charge.id)["left_s"] <= 25
    page = page_of(owner, owner.post(f"/cashier/{charge.id}/give-up"))
    assert "Nobody confirmed" in page
    assert far_side.calls[-3:] == ["alipay.trade.query", "alipay.trade.cancel", "alipay.trade.query"]
    far_side.code_mood = "paid"
    assert "Next customer" in page_of(owner, owner.post(f"/cashier/{charge.id}", {"code": OTHER_CODE}))


def test_one_who_is_given_up_too_early_is_reversed_by_the_worker(owner: Person, merchant, far_side, at):
    far_side.code_mood = "asked"
    sell(owner, "cashier", code=CODE)
    charge = row_of(Charge)
    owner.get(f"/cashier/{charge.id}")
    page = page_of(owner, owner.post(f"/cashier/{charge.id}/give-up"))
    for text in ("Given up", "it goes back by itself", "Next customer", "data-code"):
        assert text in page
    answer = owner.post(f"/cashier/{charge.id}/cancel")
    assert answer.location == f"/cashier/{charge.id}?notice=not_yet"
    assert "It is withdrawn as soon as" in owner.get(answer.location).text
    at(timedelta(seconds=16))
    worker.JOBS[Kind.QUERY](worker._claim(Kind.QUERY))
    assert row_of(Attempt).state == AttemptState.CLOSED
    assert "Nobody confirmed" in owner.get(f"/cashier/{charge.id}").text
    assert rows_of(Refund) == []


def test_the_wallets_no_asks_for_a_fresh_code(owner: Person, far_side):
    far_side.code_mood = "refused"
    page = page_of(owner, sell(owner, "cashier", code=CODE))
    for text in ("The wallet refused", "PAYMENT_AUTH_CODE_INVALID", "data-code", 'role="alert"'):
        assert text in page


def test_one_shopper_scanned_twice_is_one_sale(owner: Person, merchant, far_side):
    first, second = sell(owner, "cashier", code=CODE), sell(owner, "cashier", code="2876 5432 1098 7654")
    assert second.location == f"{first.location}?notice=again"
    page = page_of(owner, second)
    assert "nothing was charged again" in page
    assert "data-say" not in page
    assert far_side.calls == ["alipay.trade.pay"]
    assert len(rows_of(Charge)) == 1


def test_a_used_code_never_looks_like_the_payment_of_another_amount(owner: Person, merchant, far_side):
    sell(owner, "cashier", code=CODE)
    answer = sell(owner, "cashier", "7", code=CODE)
    assert answer.status_code == 409
    assert "This code was used a moment ago" in answer.text
    assert (far_side.calls, len(rows_of(Charge))) == (["alipay.trade.pay"], 1)


def test_a_code_that_paid_another_sale_shows_that_one(owner: Person, merchant, far_side):
    first = sell(owner, "cashier", code=CODE).location
    second = sell(owner, "cashier", "7").location
    owner.get(second)
    assert owner.post(second, {"code": CODE}).location == f"{first}?notice=again"
    assert charge_of(merchant, second.rpartition("/")[2]).state == ChargeState.CANCELED
    assert far_side.calls == ["alipay.trade.pay"]


def test_what_is_no_code_or_no_wallet_of_ours_is_said(owner: Person, far_side):
    answer = sell(owner, "cashier", code="12345")
    assert (answer.status_code, rows_of(Charge)) == (400, [])
    assert "This is no payment code" in answer.text
    assert 'value="12.50"' in answer.text
    answer = sell(owner, "cashier", code=WECHAT)
    assert answer.status_code == 409
    assert "This wallet is not set up here" in answer.text
    assert WECHAT not in answer.text


def test_without_a_script_the_amount_comes_first_and_then_the_code(owner: Person, far_side):
    answer = sell(owner, "cashier")
    assert "Scan the shopper" in page_of(owner, answer)
    assert "Paid" in page_of(owner, owner.post(answer.location, {"code": CODE}))


def test_the_scanners_field_knows_the_wallets_by_their_codes(owner: Person):
    page = owner.get("/cashier").text
    for text in ("1[0-5][0-9]{16}", "(2[5-9]|30)[0-9]{14,22}", "62[0-9]{17}"):
        assert text in page


# Walls


def test_nobody_sees_or_touches_anothers_sale(app, owner: Person, merchant, other_merchant, far_side):
    charge = make_charge(merchant)
    stranger = Person(app)
    stranger.sign_in(other_merchant)
    stranger.get("/counter")
    for path in (f"/counter/{charge.id}", f"/cashier/{charge.id}", f"/till/{charge.id}/state"):
        assert stranger.get(path).status_code == 404
    for path in ("counter/{}/cancel", "cashier/{}/cancel", "cashier/{}/give-up"):
        assert stranger.post("/" + path.format(charge.id)).status_code == 404
    assert stranger.post(f"/cashier/{charge.id}", {"code": CODE}).status_code == 404
    assert rows_of(Attempt) == []
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert token_of(stranger.page)


# The screen's word


class Row:
    def __init__(self, state, scene="counter", given_up_at=None, settles=False):
        self.state, self.scene, self.given_up_at, self.settles = state, scene, given_up_at, settles


@pytest.mark.parametrize(
    ("state", "tries", "face"),
    [
        ("pending", [], Face.READY),
        ("pending", [Row("started", "mobile")], Face.PAYING),
        ("pending", [Row("closed", "mobile")], Face.READY),
        ("pending", [Row("started")], Face.ASKING),
        ("pending", [Row("started", given_up_at=1)], Face.LEAVING),
        ("pending", [Row("failed")], Face.REFUSED),
        ("pending", [Row("closed")], Face.NOTHING),
        ("pending", [Row("failed", given_up_at=1)], Face.NOTHING),
        ("pending", [Row("failed"), Row("started")], Face.ASKING),
        ("pending", [Row("mismatched")], Face.REVIEW),
        ("paid", [Row("succeeded", settles=True), Row("closed")], Face.PAID),
        ("canceled", [], Face.OVER),
        ("expired", [Row("closed")], Face.OVER),
    ],
)
def test_the_screen_says_how_it_stands(state, tries, face):
    told, attempt = till.face_of(state, tries)
    assert told is face
    assert attempt is (tries[0] if face is Face.PAID else tries[-1] if tries else None)


# Where the till stands


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_till_is_set_to_a_store_and_remembers_it(owner: Person, merchant, far_side):
    assert 'name="store"' not in owner.get("/counter").text  # nobody who has none is asked
    with transaction() as tx:
        store = stores.add_store(tx, merchant.id, stores.StoreTerms("国贸店"), livemode=False)
    sell(owner, "counter", store=store.id)
    for room in ("counter", "cashier"):
        assert f'<option value="{store.id}" selected>国贸店' in owner.get(f"/{room}").text
    sell(owner, "cashier", store=store.id, code=CODE)
    page = owner.get(f"/charges/{rows_of(Charge)[-1].id}").text
    assert "国贸店" in page
    sell(owner, "cashier", store="")
    assert [charge.store_id for charge in rows_of(Charge)] == [store.id, store.id, None]
    for unknown in ("st_1", "st_01jd3w6j7hqk2m8n4p6r8t0v2x"):
        refused = sell(owner, "counter", store=unknown)
        assert (refused.status_code, "Choose one of the stores." in refused.text) == (400, True)
    form = {"amount": "1", "description": "tea", "currency": "CNY", "expires_in_s": "900", "mode": "test"}
    assert owner.post("/charges/new", {**form, "store": "st_1"}).status_code == 400
    assert owner.post("/charges/new", {**form, "store": store.id}).status_code == 303
    assert rows_of(Charge)[-1].store_id == store.id
