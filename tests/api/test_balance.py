"""/v1/balance: the sums of the books, the same that the dashboard shows."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import sqlalchemy as sa

from app import clock
from app.charges import overview
from app.charges.models import Charge, Refund
from app.clock import to_rfc3339
from app.db import transaction
from tests.api.calls import refusal
from tests.books import make_charge, make_paid, rows_of


def sums(api, query=""):
    answer = api.get(f"/v1/balance{query}")
    assert answer.status_code == 200, answer.data
    assert answer.get_json()["object"] == "balance"
    return answer.get_json()["sums"]


def test_nothing_was_collected_yet(api, merchant):
    make_charge(merchant)
    assert sums(api) == []


def test_what_was_paid_and_what_goes_back_is_summed_up(api, merchant):
    first, second, _ = [make_paid(merchant) for _ in range(3)]
    make_charge(merchant)
    api.refund(first.id, amount=450)
    done = api.refund(second.id, amount=100).get_json()["id"]
    with transaction() as tx:
        tx.execute(sa.update(Refund.__table__).where(Refund.id == done).values(state="succeeded"))
    assert sums(api) == [
        {
            "currency": "cny",
            "charges_paid": 3,
            "collected": 3750,
            "refunded": 100,
            "refunds_pending": 450,
            "net": 3200,
        }
    ]


def test_the_dashboard_shows_the_same(api, merchant):
    for _ in range(2):
        make_paid(merchant)
    [today] = overview.overview_of(merchant.id, livemode=False).today
    start = to_rfc3339(overview.start_of(overview.day_of(clock.now())))
    [shown] = sums(api, f"?paid_from={start}")
    assert (shown["charges_paid"], shown["collected"]) == (today.so_far.count, today.so_far.takings.minor)


def test_a_span_is_cut_at_when_charges_were_paid(api, merchant):
    make_paid(merchant)
    [charge] = rows_of(Charge)
    paid_at = quote(to_rfc3339(charge.paid_at - timedelta(seconds=1)))
    later = quote(to_rfc3339(charge.paid_at + timedelta(seconds=1)))
    assert len(sums(api, f"?paid_from={paid_at}&paid_before={later}")) == 1
    assert sums(api, f"?paid_from={later}") == sums(api, f"?paid_before={paid_at}") == []
    assert refusal(api.get("/v1/balance?paid_from=today")) == (400, "parameter_invalid", "paid_from")


def test_each_sees_its_own_sums(api, live_api, stranger, merchant, other_merchant):
    make_paid(merchant)
    assert len(sums(api)) == 1
    assert sums(live_api) == sums(stranger) == []
