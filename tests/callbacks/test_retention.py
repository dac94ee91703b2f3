"""Evidence is kept for a time, and that it came is kept longer."""

from __future__ import annotations

from datetime import timedelta

from app.callbacks import retention
from app.callbacks.models import Callback
from app.runtime import settings
from tests.books import make_attempt, make_charge, row_of


def test_old_bodies_go_and_a_repeated_message_is_still_known(client, merchant, far_side, at):
    number = make_attempt(merchant, make_charge(merchant).id)
    far_side.pay(number)
    notice = far_side.notice(number)
    client.post(f"/callbacks/{merchant.account_id}", data=notice.body)
    at(timedelta(days=settings().keep_callbacks_days - 1))
    assert retention.forget_old_bodies() == 0
    at(timedelta(days=1, minutes=1))
    assert retention.forget_old_bodies() == 1
    kept = row_of(Callback)
    assert (kept.body, kept.out_trade_no, len(kept.digest)) == (b"", number, 64)
    assert retention.forget_old_bodies() == 0
