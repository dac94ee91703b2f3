"""易支付 at the dashboard: the key shown once, what to enter at the shop, what shops were told."""

from __future__ import annotations

import re

import pytest

from app.epay import notices, orders, switch, wire
from app.epay.models import EpayFront, EpayOrder
from app.http import Sent
from app.merchants.models import AuditEntry
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def paid_order(shop: Shop) -> str:
    front = switch.front_of(books.row_of(EpayFront, merchant_id=shop.id))
    asked = {"out_trade_no": "A1", "money": "12.50", "name": "会员月卡", "notify_url": "http://127.0.0.1:9/n"}
    charge = orders.place(front, wire.read_order(asked))
    books.pay(charge.id)
    return str(charge.id)


def test_the_key_is_shown_once_and_changed_at_will(owner: Person, merchant: Shop) -> None:
    assert "Before you switch it on" in owner.get("/epay").text
    page = owner.post("/epay/enable")
    assert page.status_code == 201
    row = books.row_of(EpayFront, merchant_id=merchant.id)
    key = switch.front_of(row).key
    assert key in page.text
    assert (row.livemode, row.enabled, row.refunds_enabled) == (False, True, False)
    again = owner.get("/epay").text
    assert key not in again
    assert row.pid in again
    assert "http://pay.example.com/" in again

    fresh = owner.post("/epay/rotate").text
    changed = switch.front_of(books.row_of(EpayFront, merchant_id=merchant.id))
    assert changed.key in fresh
    assert (changed.pid, changed.key == key) == (row.pid, False)
    owner.post("/epay/refunds", {"allowed": "1"})
    assert books.row_of(EpayFront, merchant_id=merchant.id).refunds_enabled
    owner.post("/epay/disable")
    assert not books.row_of(EpayFront, merchant_id=merchant.id).enabled

    log = [entry for entry in books.rows_of(AuditEntry) if entry.action.startswith("epay.")]
    assert [entry.action.partition(".")[2] for entry in log] == [
        "enabled",
        "key_rotated",
        "changed",
        "disabled",
    ]
    assert not any(secret in entry.after for entry in log for secret in (key, changed.key))


def test_an_order_says_what_the_shop_answered_and_is_sent_again(owner: Person, merchant: Shop) -> None:
    switch.enable(merchant.id, livemode=False)
    charge_id = paid_order(merchant)
    [errand], _ = notices.claim_errands(1)
    answer = Sent("", 200, None, 41, "签名错误".encode())
    notices.record([notices.Outcome(errand, books.later(), answer)])
    for path in ("/epay", f"/charges/{charge_id}"):
        assert f"/epay/orders/{charge_id}" in owner.get(path).text
    page = owner.get(f"/epay/orders/{charge_id}").text
    assert "签名错误" in page
    assert "trade_status=TRADE_SUCCESS" in page
    assert not re.search(r"sign=[0-9a-f]{32}", page)
    sent = owner.post(f"/epay/orders/{charge_id}/resend")
    assert sent.location.endswith("notice=told_again")
    [errand], _ = notices.claim_errands(1)
    notices.record([notices.Outcome(errand, books.later(), Sent("", 200, None, 5, b"success"))])
    assert books.row_of(EpayOrder, charge_id=charge_id).notice_state == "delivered"
    assert "The shop was told" in owner.get(f"/charges/{charge_id}").text
    books.refund(merchant, charge_id)
    assert owner.post(f"/epay/orders/{charge_id}/resend").location.endswith("notice=not_told")
