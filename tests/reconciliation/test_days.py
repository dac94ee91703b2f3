"""Days of bills: Beijing's, and UnionPay's end at 23:00."""

from __future__ import annotations

from datetime import date, timedelta

from app import clock
from app.providers.alipay import Alipay
from app.providers.unionpay import UnionPay
from app.reconciliation import days

DAY = date(2026, 3, 2)


def test_most_days_end_at_midnight_and_unionpays_at_eleven():
    for provider, begins, ends in (
        (Alipay, "2026-03-02 00:00:00", "2026-03-03 00:00:00"),
        (UnionPay, "2026-03-01 23:00:00", "2026-03-02 23:00:00"),
    ):
        cut = provider.info.bill_cut
        span = days.span_of(cut, DAY)
        assert tuple(clock.to_beijing(each) for each in span) == (begins, ends)
        assert days.day_of(cut, span[0]) == DAY == days.day_of(cut, span[1] - timedelta(seconds=1))
        assert days.day_of(cut, span[1]) == DAY + timedelta(days=1)


def test_what_is_near_a_days_end_may_be_on_a_neighbours_bill():
    cut = UnionPay.info.bill_cut
    begins, ends = days.span_of(cut, DAY)
    for at, is_near in (
        (begins, True),
        (begins + days.EDGE, False),
        (ends - days.EDGE - timedelta(seconds=1), False),
        (ends - days.EDGE, True),
    ):
        assert days.is_near_edge(cut, DAY, at) is is_near
