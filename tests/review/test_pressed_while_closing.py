"""A shopper presses Pay in the moment in which a charge is ended: nothing is closed by guess (I-16)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import queue
from app.charges import lifecycle, sweeps
from app.charges.attempts import list_attempts
from app.charges.states import ChargeState
from app.db import transaction
from app.errors import Conflict
from app.queue import Job, Kind
from tests.books import charge_of, event_types, make_attempt, make_charge, row_of, start


@pytest.fixture
def while_closing(merchant, far_side, monkeypatch):
    """Do something, once for each of ``times``, when Alipay is asked to close the newest attempt."""

    def arm(charge_id, *times):
        left, send = list(times), far_side.send

        def send_and_more(method, url, **more):
            newest = list_attempts(merchant.id, charge_id)[-1].out_trade_no
            if left and "trade.close" in url and newest in more["body"].decode():
                with monkeypatch.context() as meanwhile:  # what begins closes the others, which is no news
                    meanwhile.setattr(far_side, "send", send)
                    left.pop(0)()
            return send(method, url, **more)

        monkeypatch.setattr(far_side, "send", send_and_more)

    return arm


def test_an_attempt_begun_while_canceling_is_asked_about_before_the_charge_is_canceled(
    merchant, far_side, while_closing
):
    charge = make_charge(merchant)
    make_attempt(merchant, charge.id)
    while_closing(charge.id, lambda: start(merchant, charge.id, "mobile"))
    assert lifecycle.cancel_charge(merchant.id, charge.id).state == ChargeState.CANCELED
    first, second = list_attempts(merchant.id, charge.id)
    assert {first.out_trade_no, second.out_trade_no} <= set(far_side.unpaid_answers)


def test_a_charge_that_shoppers_keep_beginning_to_pay_cannot_be_canceled(merchant, while_closing):
    charge = make_charge(merchant)
    make_attempt(merchant, charge.id)
    while_closing(
        charge.id,
        *[lambda scene=scene: start(merchant, charge.id, scene) for scene in ("mobile", "alipay", "app")],
    )
    with pytest.raises(Conflict) as refused:
        lifecycle.cancel_charge(merchant.id, charge.id)
    assert refused.value.code == "charge_in_payment"
    assert charge_of(merchant, charge.id).state == ChargeState.PENDING
    assert event_types(charge.id) == ["charge.created"]


def test_a_charge_does_not_expire_over_an_attempt_that_nobody_asked_about(merchant, at, while_closing):
    """The clocks of two machines differ: for the one that begins to pay there is still time."""
    charge = make_charge(merchant, life=timedelta(minutes=5))
    make_attempt(merchant, charge.id)

    def begin_in_time():
        at(timedelta(minutes=-2))
        start(merchant, charge.id, "mobile")
        at(timedelta(minutes=2))

    at(timedelta(minutes=6))
    while_closing(charge.id, begin_in_time)
    for expected in (ChargeState.PENDING, ChargeState.EXPIRED):
        with transaction() as tx:
            [claim] = queue.claim(tx, Kind.EXPIRE, limit=1, lease=timedelta(minutes=1))
        sweeps.expire_charge(claim)
        assert charge_of(merchant, charge.id).state == expected
        if expected == ChargeState.PENDING:
            assert row_of(Job, kind=Kind.EXPIRE).token is None
            at(timedelta(minutes=1))
