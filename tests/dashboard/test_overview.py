"""The home page: what a day is, what counts as takings, what is ticked off and what is called stuck."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from app import clock, heartbeat
from app.charges import lifecycle, overview
from app.charges.commands import NewCharge
from app.charges.models import Charge
from app.charges.overview import Day, Today, bars_of
from app.clock import day_of, start_of
from app.codes import codes
from app.codes.terms import Terms
from app.db import transaction
from app.merchants import accounts
from app.money import Money
from app.webhooks import endpoints
from app.webhooks.models import Delivery
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person
from tests.providers import alipay_forge

NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)  # in Beijing


def paid(
    shop: Shop, at: datetime, minor: int = 100, currency: str = "CNY", *, livemode: bool = False
) -> None:
    """A charge that was paid at a moment."""
    charge = lifecycle.open_charge(shop.id, livemode=livemode, new=NewCharge(Money(minor, currency), "x"))
    table = Charge.__table__
    with transaction() as tx:
        tx.execute(sa.update(table).where(table.c.id == charge.id).values(state="paid", paid_at=at))


def test_a_day_is_from_midnight_to_midnight_in_beijing() -> None:
    assert day_of(datetime(2026, 3, 9, 15, 59, 59, tzinfo=UTC)) == date(2026, 3, 9)
    assert day_of(datetime(2026, 3, 9, 16, 0, 0, tzinfo=UTC)) == date(2026, 3, 10)
    assert start_of(date(2026, 3, 10)).astimezone(UTC) == datetime(2026, 3, 9, 16, tzinfo=UTC)


def test_takings_fall_on_their_day(
    merchant: Shop, other_merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    at(NOON)
    midnight = datetime(2026, 3, 9, 16, 0, tzinfo=UTC)
    paid(merchant, midnight, 1)
    paid(merchant, NOON, 10)
    paid(merchant, midnight - timedelta(microseconds=1), 100)
    paid(merchant, midnight - timedelta(days=13), 1000)
    paid(merchant, midnight - timedelta(days=13, microseconds=1), 10_000)
    paid(merchant, NOON, 100_000, livemode=True)
    paid(other_merchant, NOON, 1_000_000)
    books.make_charge(merchant)
    seen = overview.overview_of(merchant.id, livemode=False)
    [today] = seen.today
    assert today.so_far == Day(date(2026, 3, 10), 2, Money(11, "CNY"))
    assert [day.takings.minor for day in seen.days] == [1000, *[0] * 11, 100, 11]
    assert [day.day for day in seen.days] == [date(2026, 2, 25) + timedelta(days=n) for n in range(14)]


def test_currencies_are_never_added_up(merchant: Shop, at: Callable[[datetime | timedelta], None]) -> None:
    at(NOON)
    paid(merchant, NOON, 500, "JPY")
    for _ in range(2):
        paid(merchant, NOON, 300, "CNY")
    seen = overview.overview_of(merchant.id, livemode=False)
    assert [today.so_far.takings for today in seen.today] == [Money(600, "CNY"), Money(500, "JPY")]
    assert seen.days[-1].takings == Money(600, "CNY")


def test_a_new_shop_has_taken_nothing(merchant: Shop) -> None:
    seen = overview.overview_of(merchant.id, livemode=False)
    assert [(today.so_far.count, today.so_far.takings) for today in seen.today] == [(0, Money(0, "CNY"))]
    assert seen.today[0].change_percent is None
    assert len(seen.days) == overview.DAYS


def test_today_is_compared_with_the_same_day_a_week_ago_until_this_time(
    merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    at(NOON)
    paid(merchant, NOON, 150)
    paid(merchant, NOON - timedelta(days=7, seconds=60), 100)
    paid(merchant, NOON - timedelta(days=7) + timedelta(seconds=60), 1000)
    paid(merchant, NOON - timedelta(days=8), 10_000)
    [today] = overview.overview_of(merchant.id, livemode=False).today
    day = date(2026, 3, 3)
    assert today.week_ago_so_far == Day(day, 1, Money(100, "CNY"))
    assert today.week_ago == Day(day, 2, Money(1100, "CNY"))
    assert today.change_percent == 50


@pytest.mark.parametrize(("now", "then", "percent"), [(0, 100, -100), (100, 0, None), (199, 100, 99)])
def test_a_change_is_told_in_whole_percent(now: int, then: int, percent: int | None) -> None:
    days = [Day(date(2026, 3, 1), 1, Money(minor, "CNY")) for minor in (now, then, 5000)]
    assert Today(*days).change_percent == percent


def test_a_worker_is_alive_until_three_beats_are_missed(
    owner: Person, merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    assert "No worker is running" in owner.get("/").text
    at(NOON)
    heartbeat.beat("wk_1", NOON)
    assert overview.overview_of(merchant.id, livemode=False).health.is_good
    at(timedelta(seconds=29))
    heartbeat.beat("wk_2", NOON)
    at(timedelta(seconds=29))
    assert overview.overview_of(merchant.id, livemode=False).health.worker_lives
    at(timedelta(seconds=2))
    assert not overview.overview_of(merchant.id, livemode=False).health.is_good
    heartbeat.beat("wk_1", NOON)
    assert overview.overview_of(merchant.id, livemode=False).health.worker_lives
    for worker_id in ("wk_1", "wk_2"):
        heartbeat.end(worker_id)
    assert overview.overview_of(merchant.id, livemode=False).health.worker_seen_at is None


@pytest.mark.parametrize(
    ("takings", "heights"),
    [([0, 0], [0, 0]), ([50, 100], [50, 100]), ([1, 10_000], [2, 100]), ([7], [100]), ([], [])],
)
def test_the_best_day_is_as_high_as_the_picture(takings: list[int], heights: list[int]) -> None:
    bars = bars_of([Day(date(2026, 3, 1), 1, Money(minor, "CNY")) for minor in takings])
    assert [bar.height for bar in bars] == heights
    assert all(bar.y + bar.height == 100 for bar in bars)


def test_setup_is_ticked_off_step_by_step(owner: Person, merchant: Shop) -> None:
    assert owner.get("/").text.count("✓") == 1  # the provider's account
    books.make_charge(merchant)
    assert owner.get("/").text.count("✓") == 2
    endpoints.create_endpoint(merchant.id, livemode=False, url="http://127.0.0.1:9/hook")
    assert owner.get("/").text.count("✓") == 3
    paid(merchant, clock.now())
    assert owner.get("/").text.count("✓") == 4
    with transaction() as tx:
        tx.execute(sa.update(Delivery.__table__).values(state="delivered"))
    assert owner.get("/").text.count("✓") == 5
    with transaction() as tx:
        codes.create_code(tx, merchant.id, Terms("前台"), livemode=False)
    assert owner.get("/").text.count("✓") == 6
    live = {"livemode": True, "name": "支付宝", "settings": alipay_forge.KEY_MODE}
    accounts.add_account(merchant.id, "alipay", **live)
    assert "Getting started" not in owner.get("/").text


def test_the_next_step_leads_to_the_charge_that_waits_for_its_payment(owner: Person, merchant: Shop) -> None:
    charge = books.make_charge(merchant)
    assert f'<a href="/charges/{charge.id}">Pay it in the sandbox' in owner.get("/").text


def test_work_that_nobody_does_is_called_stuck(
    owner: Person, merchant: Shop, at: Callable[[datetime | timedelta], None]
) -> None:
    endpoints.create_endpoint(merchant.id, livemode=False, url="http://127.0.0.1:9/hook")
    books.make_charge(merchant)
    seen = overview.overview_of(merchant.id, livemode=False).health
    assert (seen.waiting_deliveries, seen.failing_deliveries, seen.late_since) == (1, 0, None)
    assert "1 webhook on its way" in owner.get("/").text
    at(timedelta(minutes=3))
    seen = overview.overview_of(merchant.id, livemode=False).health
    assert seen.late_since is not None
    assert not seen.is_good
    assert "is the worker running?" in owner.get("/").text
    with transaction() as tx:
        tx.execute(sa.update(Delivery.__table__).values(tries=1))
    assert "1 webhook failed and will be tried again" in owner.get("/").text
    assert overview.overview_of(merchant.id, livemode=True).health.waiting_deliveries == 0


def test_the_picture_has_a_table_beside_it(owner: Person, merchant: Shop) -> None:
    paid(merchant, clock.now(), 1250)
    page = owner.get("/").text
    assert page.count("<rect") == overview.DAYS
    assert (
        f'<th scope="row">{day_of(clock.now())}</th><td class="num">1</td><td class="num">¥12.50</td>' in page
    )
