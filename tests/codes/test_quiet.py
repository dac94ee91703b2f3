"""A busy code that goes quiet is noticed within hours; one that is just closed for the night is not."""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app import queue
from app.codes import quiet, search
from app.codes.models import QRCode, ScanHour
from app.codes.quiet import TOO_MANY, missed_since
from app.codes.tally import KEPT_FOR, Tally, forget_old
from app.db import transaction
from app.queue import Job, Kind
from app.webhooks.models import Event
from tests.books import row_of, rows_of
from tests.codes.signs import change, hang

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday, eight o'clock in Beijing
STEP = timedelta(minutes=15)
WARM_UP = timedelta(weeks=5)
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def usual(hour: datetime, a_day: float) -> float:
    """Scans in an hour: open from 8 to 20 with a crowd at noon, closed on Sundays.  UTC stands for local."""
    if hour.weekday() == 6 or not 8 <= hour.hour < 20:
        return 0.0
    return a_day / 16 * (3.0 if hour.hour in (12, 13) else 1.0)


def a_life(seed: int, a_day: float, weeks: int) -> list[datetime]:
    """When a code was scanned, in parties that come by chance, on days that are better and worse."""
    chance = random.Random(seed)
    scans, hour, mood = [], START, 1.0
    while hour < START + timedelta(weeks=weeks):
        if hour.hour == 0:
            mood = chance.lognormvariate(-0.03, 0.25)
        left = usual(hour, a_day) * mood / 1.3
        at_s = chance.expovariate(left / 3600) if left else math.inf
        while at_s < 3600:
            scans += [hour + timedelta(seconds=at_s)] * (2 if chance.random() < 0.3 else 1)
            at_s += chance.expovariate(left / 3600)
        hour += timedelta(hours=1)
    return scans


def alarms(scans: list[datetime], until: datetime) -> list[datetime]:
    """When the rule would have called the code quiet, looked at every quarter of an hour."""
    hours: Counter[datetime] = Counter()
    found, last, number, now = [], None, 0, START + STEP
    while now < until:
        while number < len(scans) and scans[number] < now:
            last = scans[number]
            hours[last.replace(minute=0, second=0, microsecond=0)] += 1
            number += 1
        is_new = last is not None and (not found or last > found[-1])
        if now > START + WARM_UP and is_new and missed_since(last, now, hours) >= TOO_MANY:
            found.append(now)
        now += STEP
    return found


def test_false_alarms_are_rare_and_a_covered_sign_is_found_the_same_day(database_url):
    """Twenty codes for ten weeks, from 30 to 200 scans a day; then each is pasted over at ten."""
    false, delays = 0, []
    covered = START + timedelta(weeks=10, days=1, hours=10)  # a Tuesday
    for seed, a_day in enumerate([30.0, 60.0, 100.0, 200.0] * 5):
        scans = [scan for scan in a_life(seed, a_day, 11) if scan < covered]
        found = alarms(scans, covered + timedelta(days=3))
        before = [alarm for alarm in found if alarm < covered]
        false += len(before)
        after = [alarm for alarm in found if alarm >= covered]
        assert len(after) == 1
        delays.append((a_day, (after[0] - scans[-1]) / timedelta(hours=1)))
    assert false == 0  # in a hundred weeks of a code hanging there
    worst = {a_day: max(hours for each, hours in delays if each == a_day) for a_day, _ in delays}
    assert worst[200.0] < 3
    assert worst[100.0] < 4
    assert worst[60.0] < 6
    assert worst[30.0] < 36  # the next day


def test_nights_closed_days_and_new_codes_are_not_missed(database_url):
    hours = {START + timedelta(hours=hour): 0 for hour in range(24 * 35)}
    for hour in hours:
        hours[hour] = round(usual(hour, 100))
    evening = START + timedelta(weeks=4, days=5, hours=20)  # Saturday, closing time
    assert missed_since(evening, evening + timedelta(hours=36), hours) == 0
    monday = evening + timedelta(days=1, hours=14)
    assert missed_since(evening, monday, hours) == pytest.approx(2 * round(usual(monday, 100)))
    half = missed_since(evening, monday - timedelta(hours=1, minutes=30), hours)
    assert half == pytest.approx(round(usual(monday, 100)) / 2)
    young = {hour: count for hour, count in hours.items() if hour > monday - timedelta(weeks=2)}
    assert missed_since(evening, monday, young) == 0


@pytest.fixture
def busy(merchant, at):
    """A code that was scanned twenty times an hour from eight to twenty for five weeks, until just now."""
    now = START + timedelta(weeks=5, days=1, hours=12)
    at(now)
    code = hang(merchant)
    with transaction() as tx:
        for number in range(24 * 36 + 13):
            hour = START + timedelta(hours=number)
            if 8 <= hour.hour < 20:
                key = {"merchant_id": merchant.id, "code_id": code.id, "hour": hour, "scans": 20}
                tx.execute(sa.insert(ScanHour.__table__), key)
    return code, now


def look(app) -> None:
    """The worker's turn."""
    with transaction() as tx:
        claims = queue.claim(tx, Kind.QUIET, limit=10, lease=timedelta(minutes=1))
    for claim in claims:
        quiet.watch(claim)


def test_the_worker_calls_a_silent_code_quiet_until_it_is_scanned_again(app, merchant, busy, at):
    code, now = busy
    tally = Tally(app.app_context)
    tally.add(merchant.id, code.id)
    assert tally.write() == 1
    for minutes, is_quiet in ((16, False), (45, False), (64, True)):
        at(now + timedelta(minutes=minutes))
        look(app)
        assert bool(search.list_quiet(merchant.id, livemode=False)) == is_quiet, minutes
    assert row_of(QRCode).quiet_since == row_of(QRCode).last_scan_at
    [event] = [row for row in rows_of(Event) if row.type == "qr_code.quiet"]
    assert (event.object_id, event.merchant_id) == (code.id, merchant.id)
    tally.add(merchant.id, code.id)
    tally.write()
    assert search.list_quiet(merchant.id, livemode=False) == []
    assert row_of(QRCode).scans == 2
    tally.close()


def test_a_sign_that_was_taken_down_is_not_missed_and_the_work_ends_with_the_last(app, merchant, busy, at):
    code, now = busy
    tally = Tally(app.app_context)
    tally.add(merchant.id, code.id)
    tally.write()
    change(code, active=False)
    at(now + timedelta(minutes=16))
    look(app)
    assert rows_of(Job, kind="quiet") == []
    tally.add(merchant.id, code.id)  # somebody scans what is disabled
    tally.write()
    at(now + timedelta(hours=3))
    change(code, active=True)
    at(now + timedelta(hours=3, minutes=20))
    look(app)
    assert search.list_quiet(merchant.id, livemode=False) == []
    assert len(rows_of(Job, kind="quiet")) == 1
    tally.close()


def test_scans_are_written_together_and_forgotten_after_a_quarter(app, merchant, at):
    code = hang(merchant)
    tally = Tally(app.app_context)
    for _ in range(50):
        tally.add(merchant.id, code.id)
    tally.close()
    assert row_of(QRCode).scans == 50
    assert sum(row.scans for row in rows_of(ScanHour)) == 50
    assert forget_old() == 0
    at(KEPT_FOR + timedelta(hours=2))
    assert forget_old() >= 1
    assert rows_of(ScanHour) == []
