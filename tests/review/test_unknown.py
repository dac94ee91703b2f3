"""Genuine messages about payments that were not started here."""

from __future__ import annotations

import pytest

from app.charges.models import Attempt, Incident
from app.money import Money
from tests.books import row_of, rows_of
from tests.providers import alipay_forge


@pytest.mark.parametrize("chars", [32, 51, 64])
def test_money_under_the_longest_number_is_booked_and_raised(client, merchant, chars):
    """An application may serve other systems too, and Alipay allows them 64 characters."""
    number = "9" * chars
    fields = alipay_forge.notice_fields(number, "TRADE_SUCCESS", Money(1999, "CNY"))
    answer = client.post(f"/callbacks/{merchant.account_id}", data=alipay_forge.notice(fields).body)
    assert (answer.status_code, answer.data) == (200, b"success")
    assert row_of(Attempt, merchant_id=merchant.id).out_trade_no == number
    assert row_of(Incident, merchant_id=merchant.id).subject_id == f"{merchant.account_id}:{number}"


def test_one_that_is_no_money_is_raised_and_answered_no(client, merchant):
    fields = alipay_forge.notice_fields("9" * 32, "TRADE_CLOSED", Money(1999, "CNY"))
    answer = client.post(f"/callbacks/{merchant.account_id}", data=alipay_forge.notice(fields).body)
    assert (answer.status_code, answer.data) == (200, b"failure")
    assert row_of(Incident, merchant_id=merchant.id).kind == "unknown_payment"
    assert rows_of(Attempt) == []
