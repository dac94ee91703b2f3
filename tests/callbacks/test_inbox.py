"""A provider's callback through the real door."""

from __future__ import annotations

import threading

import pytest

from app.callbacks.models import Callback
from app.charges.models import Attempt, Incident
from app.charges.states import ChargeState
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of, rows_of
from tests.providers import alipay_forge


@pytest.fixture
def post(client, merchant):
    """Send a callback as Alipay would; the status and what we said."""

    def send(inbound, account_id=None):
        answer = client.post(
            f"/callbacks/{account_id or merchant.account_id}",
            data=inbound.body,
            content_type="application/x-www-form-urlencoded",
        )
        return answer.status_code, answer.data

    return send


def test_a_genuine_notification_settles_and_is_answered_success(merchant, far_side, post):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.pay(number)
    assert post(far_side.notice(number)) == (200, b"success")
    assert charge_of(merchant, charge.id).state == ChargeState.PAID
    kept = row_of(Callback, out_trade_no=number)
    assert kept.body == far_side.notice(number).body or kept.times == 1


def test_the_same_notification_again_is_answered_alike_and_counted(merchant, far_side, post):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.pay(number)
    notice = far_side.notice(number)
    assert {post(notice) for _ in range(3)} == {(200, b"success")}
    assert row_of(Callback, out_trade_no=number).times == 3
    assert event_types(charge.id).count("charge.paid") == 1


def test_twenty_notifications_at_once_settle_once(app, merchant, far_side):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.pay(number)
    notice, barrier, answers = far_side.notice(number), threading.Barrier(20), []

    def send():
        client = app.test_client()
        barrier.wait()
        answers.append(client.post(f"/callbacks/{merchant.account_id}", data=notice.body).data)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"success"] * 20
    assert event_types(charge.id) == ["charge.created", "charge.paid"]
    assert row_of(Callback, out_trade_no=number).times == 20


def test_a_forged_notification_is_refused_and_leaves_nothing(merchant, far_side, post):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.pay(number)
    fields = alipay_forge.notice_fields(number, "TRADE_SUCCESS", far_side.trades[number].price)
    forged = alipay_forge.notice(fields, key=alipay_forge.private_key("app.pkcs8.pem"))
    status, words = post(forged)
    assert words != b"success"
    assert status in (200, 400)
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert rows_of(Callback) == []


def test_a_wrong_amount_is_kept_answered_and_raised(merchant, far_side, post):
    charge = make_charge(merchant)
    number = make_attempt(merchant, charge.id)
    far_side.pay(number)
    assert post(far_side.notice(number, total_amount="0.01")) == (200, b"success")
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert row_of(Incident, charge_id=charge.id).kind == "amount_mismatched"


def unknown_notice():
    return alipay_forge.notice(
        alipay_forge.notice_fields("20240115100000000009", "TRADE_SUCCESS", alipay_forge.Money(1999, "CNY"))
    )


def test_money_under_a_number_that_we_do_not_know_is_booked_and_raised(merchant, post):
    """Acknowledged only because it is in the books: nobody would ever hear of it again."""
    notice = unknown_notice()
    assert {post(notice) for _ in range(2)} == {(200, b"success")}
    assert row_of(Callback, out_trade_no="20240115100000000009").times == 2
    booked = row_of(Attempt, merchant_id=merchant.id)
    assert (booked.charge_id, booked.received_minor, booked.settles) == (None, 1999, False)
    assert row_of(Incident, merchant_id=merchant.id).kind == "unknown_payment"


def test_twenty_notifications_of_unknown_money_at_once_are_booked_once(app, merchant):
    notice, barrier, answers = unknown_notice(), threading.Barrier(20), []

    def send():
        client = app.test_client()
        barrier.wait()
        answers.append(client.post(f"/callbacks/{merchant.account_id}", data=notice.body).data)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"success"] * 20
    assert row_of(Attempt).received_minor == 1999
    assert row_of(Incident).kind == "unknown_payment"
    assert row_of(Callback).times == 20


def test_a_notification_for_the_wrong_account_settles_nothing(merchant, other_merchant, far_side, post):
    """The money came to the account that it was signed for: it is booked there, and pays nobody's charge."""
    charge = make_charge(other_merchant)
    number = make_attempt(other_merchant, charge.id)
    far_side.pay(number)
    assert post(far_side.notice(number)) == (200, b"success")
    assert charge_of(other_merchant, charge.id).state == ChargeState.PENDING
    assert row_of(Attempt, merchant_id=merchant.id).charge_id is None


def test_an_unknown_account_is_a_plain_404(post, far_side, merchant):
    fields = alipay_forge.notice_fields("20240115100000000009", "TRADE_SUCCESS", alipay_forge.Money(1, "CNY"))
    assert post(alipay_forge.notice(fields), account_id="pa_nobody")[0] == 404


@pytest.mark.parametrize("body", [b"", b"sign=", b"\xff\xfe", b"a=1&a=2&sign=x", b"&" * 5000])
def test_rubbish_is_refused_without_an_error_of_ours(merchant, client, body):
    answer = client.post(f"/callbacks/{merchant.account_id}", data=body)
    assert answer.data != b"success"
    assert answer.status_code < 500
    assert rows_of(Callback) == []
