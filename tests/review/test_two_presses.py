"""Two shoppers press Pay at the same moment: one attempt, one number, two calls."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from app.charges.models import Attempt, Charge
from app.charges.states import AttemptState, ChargeState
from app.db import transaction
from app.errors import Conflict, PlatformError, ProviderRejected
from app.providers.base import ShowQR
from app.queue import Job, Kind
from tests.books import make_charge, row_of, rows_of, start
from tests.providers import alipay_forge


@pytest.fixture
def press_twice(app, merchant, far_side, monkeypatch):
    """The first call hangs while the second is made.  What came of each; ``refused`` is the one refused."""

    def press(charge_id, *, refused):
        calls, is_in, may_end, ends = [], threading.Event(), threading.Event(), {}
        answer = far_side.send

        def send(*args, **kwargs):
            calls.append(1)
            number = len(calls)
            if number == 1:
                is_in.set()
                may_end.wait(5)
            if number == refused:
                return alipay_forge.refused("alipay.trade.precreate", "ACQ.INVALID_PARAMETER")
            return answer(*args, **kwargs)

        def do(number):
            with app.app_context():
                try:
                    ends[number] = start(merchant, charge_id)
                except PlatformError as error:
                    ends[number] = error

        monkeypatch.setattr(far_side, "send", send)
        first = threading.Thread(target=do, args=(1,))
        first.start()
        assert is_in.wait(5)
        do(2)
        may_end.set()
        first.join()
        return ends[1], ends[2]

    return press


def test_a_refusal_does_not_end_what_the_other_call_has_opened(merchant, press_twice):
    charge = make_charge(merchant)
    first, second = press_twice(charge.id, refused=1)
    assert isinstance(first, ProviderRejected)
    assert isinstance(second, ShowQR)
    attempt = row_of(Attempt, charge_id=charge.id)
    assert attempt.state == AttemptState.STARTED
    assert [job.subject_id for job in rows_of(Job, kind=Kind.QUERY)] == [attempt.id]


def test_nobody_is_shown_how_to_pay_what_nobody_asks_about(merchant, press_twice):
    charge = make_charge(merchant)
    first, second = press_twice(charge.id, refused=2)
    assert isinstance(first, Conflict)
    assert isinstance(second, ProviderRejected)
    attempt = row_of(Attempt, charge_id=charge.id)
    assert (attempt.state, attempt.next_step) == (AttemptState.FAILED, None)
    assert rows_of(Job, kind=Kind.QUERY) == []


def test_nobody_is_shown_how_to_pay_what_was_withdrawn_meanwhile(merchant, far_side, monkeypatch):
    charge = make_charge(merchant)
    answer = far_side.send

    def send(*args, **kwargs):
        with transaction() as tx:
            tx.execute(sa.update(Charge.__table__).values(state=ChargeState.CANCELED))
        return answer(*args, **kwargs)

    monkeypatch.setattr(far_side, "send", send)
    with pytest.raises(Conflict, match="ended meanwhile"):
        start(merchant, charge.id)
    attempt = row_of(Attempt, charge_id=charge.id)
    assert (attempt.state, attempt.next_step) == (AttemptState.STARTED, None)
    assert [job.subject_id for job in rows_of(Job, kind=Kind.QUERY)] == [attempt.id]
