"""What a shop hears of a payment: once it is paid, until it says "success", and nothing that is not true."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from app import queue
from app.charges import lifecycle
from app.charges.models import Attempt, Charge
from app.charges.settle import settle
from app.charges.states import ChargeState
from app.db import transaction
from app.epay import notices, switch
from app.epay.models import EpayOrder, EpayTry
from app.errors import Conflict
from app.http import Sent
from app.providers.base import Outcome, PaymentResult
from app.queue import Job, Kind
from app.webhooks import delivery
from tests import books
from tests.epay.conftest import carry
from tests.epay.shops import CardShop, LibraryShop, PanelShop

ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def paid(client: FlaskClient, shop: LibraryShop) -> str:
    """The trade_no of an order that was paid just now."""
    return pay(client, shop, "A1", param="user-7")


def make(client: FlaskClient, shop: LibraryShop, number: str, **more: str) -> str:
    answer = client.post("/mapi.php", data=shop.order(number, "月卡 & 30天", "12.50", **more)).json
    assert answer["code"] == 1, answer
    return str(answer["trade_no"])


def pay(client: FlaskClient, shop: LibraryShop, number: str, **more: str) -> str:
    trade_no = make(client, shop, number, **more)
    books.pay(trade_no)
    return trade_no


def state(charge_id: str) -> tuple[str, int]:
    row = books.row_of(EpayOrder, charge_id=charge_id)
    return row.notice_state, row.tries


def due_now() -> None:
    """What waits for its time need not wait any longer."""
    table = Job.__table__
    with transaction() as tx:
        tx.execute(sa.update(table).where(table.c.kind == Kind.NOTICE).values(due_at=books.later(days=-1)))


def test_a_shop_hears_once_what_it_asked_for_and_believes_it(shop, door, paid):
    carry()
    carry()
    [(path, query)] = door.heard
    assert path == "/user/epay/notify"
    assert {name: query[name] for name in query if name != "sign"} == {
        "pid": shop.pid,
        "trade_no": paid,
        "out_trade_no": "A1",
        "type": "alipay",
        "name": "月卡 & 30天",
        "money": "12.50",
        "trade_status": "TRADE_SUCCESS",
        "param": "user-7",
        "sign_type": "MD5",
    }
    assert shop.delivered == ["A1"]
    assert state(paid) == ("delivered", 1)
    assert books.rows_of(Job, kind=Kind.NOTICE) == []


@ONLY_SQLITE
def test_shops_of_the_other_kinds_believe_theirs_too(client, front, door, merchant):
    card = CardShop("http://pay.example.com/", front.pid, front.key, door.url)
    panel = PanelShop("http://pay.example.com/", front.pid, front.key, door.url)
    action, fields = card.form("SN1", "月卡", 12.5, "alipay")
    client.get(urlsplit(action).path, query_string=fields)
    client.get(panel.address("P1", 1900))
    for order in books.rows_of(EpayOrder):
        books.pay(order.charge_id)
    door.answer = lambda query: (panel if query["out_trade_no"] == "P1" else card).hears(query)
    carry()
    assert (card.delivered, panel.delivered) == (["SN1"], ["P1"])
    assert {query["money"] for _, query in door.heard} == {"12.5", "19"}, "as each wrote it"
    assert all("param" not in query for _, query in door.heard), "nothing empty is sent"


@ONLY_SQLITE
def test_nothing_is_said_of_an_order_that_is_not_paid(client, shop, door, merchant):
    for number, end in (("A1", None), ("A2", lifecycle.cancel_charge)):
        trade_no = make(client, shop, number)
        if end is not None:
            end(merchant.id, trade_no)
        with pytest.raises(Conflict):
            notices.resend(merchant.id, trade_no)
    carry()
    assert door.heard == []


def test_what_is_not_answered_with_success_is_said_again_in_the_same_words(shop, door, paid, merchant):
    door.moods = [
        (500, "success"),
        (200, ""),
        (200, '{"success": false}'),
        (200, "fail"),
        (302, "success"),
        (200, "<b>Warning</b>: mysql\r\n success"),
    ]
    for number in range(1, 7):
        carry()
        assert state(paid) == ("pending" if number < 6 else "delivered", number)
        due_now()
    assert len({tuple(sorted(query.items())) for _, query in door.heard}) == 1
    tries = notices.list_tries(merchant.id, paid)
    assert [row.status for row in tries] == [500, 200, 200, 200, 302, 200]
    assert tries[3].response_head == "fail"


@ONLY_SQLITE
def test_a_shop_that_never_answers_is_given_up_and_can_be_told_by_hand(shop, door, paid, merchant):
    door.answer = lambda _query: "fail"
    for _ in range(delivery.TRIES_MAX):
        carry()
        due_now()
    assert state(paid) == ("exhausted", delivery.TRIES_MAX)
    carry()
    assert len(door.heard) == delivery.TRIES_MAX
    door.answer = shop.hears
    notices.resend(merchant.id, paid)
    carry()
    assert state(paid) == ("delivered", delivery.TRIES_MAX + 1)
    assert shop.delivered == ["A1"]
    notices.resend(merchant.id, paid)  # twice is harmless: shops deliver an order once
    carry()
    assert shop.delivered == ["A1"]


@ONLY_SQLITE
def test_a_changed_key_signs_what_is_still_to_be_said(shop, door, paid, merchant):
    shop.key = switch.rotate(merchant.id, livemode=False)
    carry()
    assert shop.delivered == ["A1"]


def test_money_that_went_back_before_anybody_heard_is_not_announced(shop, door, paid, merchant):
    door.moods = [(503, "down")]
    carry()
    books.refund(merchant, paid)
    due_now()
    carry()
    assert len(door.heard) == 1
    assert state(paid) == ("abandoned", 1)
    with pytest.raises(Conflict, match="nothing is sent"):
        notices.resend(merchant.id, paid)


@ONLY_SQLITE
def test_a_part_that_went_back_changes_nothing(shop, door, paid, merchant):
    books.refund(merchant, paid, 100)
    carry()
    assert shop.delivered == ["A1"]


@ONLY_SQLITE
def test_a_shop_that_is_switched_off_hears_nothing(shop, door, paid, merchant):
    switch.disable(merchant.id, livemode=False)
    carry()
    assert door.heard == []
    assert state(paid) == ("abandoned", 0)
    switch.enable(merchant.id, livemode=False)
    notices.resend(merchant.id, paid)
    carry()
    assert shop.delivered == ["A1"]


@ONLY_SQLITE
def test_money_that_came_too_late_pays_and_is_announced(client, shop, door, merchant):
    trade_no = make(client, shop, "A1")
    number = books.make_attempt(merchant, trade_no)
    attempt = books.row_of(Attempt, out_trade_no=number)
    with transaction() as tx:
        lifecycle.close_charge(
            tx, merchant.id, trade_no, ChargeState.EXPIRED, retired=frozenset([attempt.id])
        )
    result = PaymentResult(number, Outcome.SUCCEEDED, books.PRICE, "T1")
    for _ in range(2):  # the same news twice
        with transaction() as tx:
            settle(tx, merchant.account_id, result)
    assert books.row_of(Charge, id=trade_no).paid_late
    carry()
    assert shop.delivered == ["A1"]
    assert len(door.heard) == 1


@ONLY_SQLITE
def test_an_address_is_judged_when_it_is_connected_to(client, shop, door, merchant):
    """Whatever a name meant when the order was made: here the row is changed behind everybody's back."""
    trade_no = pay(client, shop, "A1")
    table = EpayOrder.__table__
    with transaction() as tx:
        tx.execute(sa.update(table).values(notify_url="http://169.254.169.254/latest/meta-data"))
    carry()
    [attempt] = books.rows_of(EpayTry, charge_id=trade_no)
    assert (attempt.status, state(trade_no)) == (None, ("pending", 1))
    assert "public internet" in attempt.error


@ONLY_SQLITE
def test_a_worker_that_lost_its_claim_moves_nothing(client, shop, door, paid):
    errands, _ = notices.claim_errands(5)
    with transaction() as tx:
        queue.drop(tx, errands[0].claim.merchant_id, (Kind.NOTICE, paid))
    notices.record([notices.Outcome(errands[0], books.later(), Sent("", 200, None, 5, b"success"))])
    assert state(paid) == ("pending", 0)
    assert len(books.rows_of(EpayTry)) == 1, "what was said is kept"


@ONLY_SQLITE
def test_a_shop_that_hangs_takes_four_slots_at_most(client, shop, door, merchant):
    for number in range(7):
        pay(client, shop, f"A{number}")
    seen: list[int] = []
    door.answer = lambda query: seen.append(1) or shop.hears(query)
    carry()
    assert len(seen) == 4
    due_now()
    carry()
    assert len(shop.delivered) == 7


@ONLY_SQLITE
def test_old_tries_are_forgotten(client, shop, door, paid, at):
    carry()
    assert notices.forget_old() == 0
    at(timedelta(days=91))
    assert notices.forget_old() == 1
    assert books.rows_of(EpayTry) == []
