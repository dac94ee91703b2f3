"""How the shop is doing, on one page: takings, what came in last, what is left to set up, what is stuck.

A day is the merchant's: midnight to midnight in Beijing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, heartbeat
from app.charges import search, unclaimed
from app.charges.models import Charge, Incident
from app.charges.search import Turn, Wanted
from app.charges.states import ChargeState
from app.clock import day_of, start_of
from app.db import reading, table_of
from app.merchants.models import ProviderAccount
from app.money import Money
from app.queue import Job, Kind
from app.webhooks import endpoints
from app.webhooks.models import Delivery, DeliveryState, WebhookEndpoint

DAYS = 14
WEEK = timedelta(days=7)
_WEEK_AGO_SO_FAR = -1  # a span that is no whole day
RECENT = 8
COUNT_MAX = 1000  # beyond it a number says only "very many", and costs more to know
PATIENCE = timedelta(minutes=2)  # work that is due for longer says that no worker is running

_charges, _incidents, _accounts = table_of(Charge), table_of(Incident), table_of(ProviderAccount)
_jobs, _endpoints, _deliveries = table_of(Job), table_of(WebhookEndpoint), table_of(Delivery)
# Each span is looked up in the index of what was paid; sorting every payment into its day is slower.
_SPANS = sa.values(
    sa.column("ago", sa.Integer),
    sa.column("since", _charges.c.paid_at.type),
    sa.column("until", _charges.c.paid_at.type),
    name="spans",
)


@dataclass(frozen=True, slots=True)
class Day:
    """What was paid on one day in one currency; refunds are not taken off."""

    day: date
    count: int
    takings: Money


@dataclass(frozen=True, slots=True)
class Today:
    """Today so far, beside the same weekday of last week: until the same time of day, and as a whole."""

    so_far: Day
    week_ago_so_far: Day
    week_ago: Day

    @property
    def change_percent(self) -> int | None:
        """Rounded towards nothing; None where there is nothing to compare with."""
        then = self.week_ago_so_far.takings.minor
        return int(100 * (self.so_far.takings.minor - then) / then) if then else None


@dataclass(frozen=True, slots=True)
class Bar:
    """A day drawn: whole units of a picture 100 high, of which 6 belong to each day."""

    day: Day
    x: int
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What a new merchant has done so far, in the order in which it is best done."""

    has_charge: bool
    has_payment: bool
    has_endpoint: bool
    has_delivery: bool
    has_account: bool
    has_live_account: bool

    @property
    def is_done(self) -> bool:
        return all(
            (
                *(self.has_charge, self.has_payment, self.has_endpoint, self.has_delivery),
                *(self.has_account, self.has_live_account),
            )
        )


@dataclass(frozen=True, slots=True)
class Health:
    """What is stuck.  ``late_since`` is when the oldest work was due, if it should long have been done."""

    waiting_deliveries: int  # not delivered yet
    failing_deliveries: int  # of those, tried in vain at least once
    disabled_endpoints: int
    open_incidents: int
    unclaimed: int  # payments that wait for a person's decision
    late_since: datetime | None
    worker_seen_at: datetime | None  # when any worker last said that it lives
    worker_lives: bool

    @property
    def is_good(self) -> bool:
        stuck = (self.failing_deliveries, self.disabled_endpoints, self.open_incidents, self.unclaimed)
        return self.worker_lives and not (any(stuck) or self.late_since)


@dataclass(frozen=True, slots=True)
class Overview:
    """The home page.  ``today`` has one entry a currency, ``days`` are of the first of them."""

    today: list[Today]
    days: list[Day]
    recent: list[sa.Row[Any]]
    setup: Setup
    health: Health
    latest_pending_id: str | None


def overview_of(merchant_id: str, *, livemode: bool) -> Overview:
    """Everything on the home page, as it is now."""
    now = clock.now()
    today = day_of(now)
    recent, _ = search.page_of(merchant_id, livemode=livemode, wanted=Wanted(), turn=Turn(RECENT))
    with reading() as connection:
        takings = _takings(connection, merchant_id, livemode, now)
        setup = _setup(connection, merchant_id, livemode)
        health = _health(connection, merchant_id, livemode, now)
    currencies = _by_weight(takings)
    pending = [row.id for row in recent if row.state == ChargeState.PENDING]
    return Overview(
        today=[
            Today(
                so_far=_day(takings, today, 0, currency),
                week_ago_so_far=_day(takings, today - WEEK, _WEEK_AGO_SO_FAR, currency),
                week_ago=_day(takings, today - WEEK, WEEK.days, currency),
            )
            for currency in currencies
        ],
        days=[
            _day(takings, today - timedelta(days=ago), ago, currencies[0]) for ago in reversed(range(DAYS))
        ],
        recent=recent,
        setup=setup,
        health=health,
        latest_pending_id=pending[0] if pending else None,
    )


def bars_of(days: list[Day]) -> list[Bar]:
    """The days as bars, the best of them 100 high; a day with any takings is seen.  Pure."""
    most = max((day.takings.minor for day in days), default=0)
    bars = []
    for number, day in enumerate(days):
        height = max(100 * day.takings.minor // most, 2) if day.takings.minor else 0
        bars.append(Bar(day, x=6 * number + 1, y=100 - height, height=height))
    return bars


def _takings(
    connection: Connection, merchant_id: str, livemode: bool, now: datetime
) -> dict[tuple[int, str], tuple[int, int]]:
    """(days ago, currency) -> (count, minor units).  The boundaries are ours: no date function of SQL."""
    starts = [start_of(day_of(now) - timedelta(days=ago)) for ago in range(-1, DAYS)]
    spans = [(ago, starts[ago + 1], starts[ago]) for ago in range(DAYS)]
    spans.append((_WEEK_AGO_SO_FAR, starts[WEEK.days + 1], now - WEEK))
    span = _SPANS.data(spans).cte("spans")
    rows = connection.execute(
        sa.select(
            span.c.ago,
            _charges.c.currency,
            sa.func.count().label("payments"),
            sa.func.sum(sa.func.coalesce(_charges.c.paid_minor, _charges.c.amount_minor)).label("minor"),
        )
        .where(
            _charges.c.merchant_id == merchant_id,
            _charges.c.livemode == livemode,
            _charges.c.paid_at >= span.c.since,
            _charges.c.paid_at < span.c.until,
        )
        .group_by(span.c.ago, _charges.c.currency)
    )
    return {(row.ago, row.currency): (row.payments, int(row.minor)) for row in rows}


def _by_weight(takings: dict[tuple[int, str], tuple[int, int]]) -> list[str]:
    counts: dict[str, int] = {}
    for (ago, currency), (count, _minor) in takings.items():
        if ago != _WEEK_AGO_SO_FAR:
            counts[currency] = counts.get(currency, 0) + count
    return sorted(counts, key=lambda currency: (-counts[currency], currency)) or ["CNY"]


def _day(takings: dict[tuple[int, str], tuple[int, int]], day: date, span: int, currency: str) -> Day:
    count, minor = takings.get((span, currency), (0, 0))
    return Day(day, count, Money(minor, currency))


def _setup(connection: Connection, merchant_id: str, livemode: bool) -> Setup:
    def any_of(table: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return sa.exists(
            sa.select(sa.literal(1)).select_from(table).where(table.c.merchant_id == merchant_id, *conditions)
        )

    delivered = sa.and_(
        _deliveries.c.merchant_id == _endpoints.c.merchant_id, _deliveries.c.endpoint_id == _endpoints.c.id
    )
    row = connection.execute(
        sa.select(
            any_of(_charges, _charges.c.livemode == livemode),
            any_of(_charges, _charges.c.livemode == livemode, _charges.c.paid_at.is_not(None)),
            any_of(_endpoints, _endpoints.c.livemode == livemode, _endpoints.c.deleted_at.is_(None)),
            sa.exists(
                sa.select(sa.literal(1))
                .select_from(_endpoints.join(_deliveries, delivered))
                .where(
                    _endpoints.c.merchant_id == merchant_id,
                    _endpoints.c.livemode == livemode,
                    _deliveries.c.state == DeliveryState.DELIVERED,
                )
            ),
            any_of(_accounts, _accounts.c.livemode == livemode, _accounts.c.enabled.is_(True)),
            any_of(_accounts, _accounts.c.livemode.is_(True), _accounts.c.enabled.is_(True)),
        )
    ).one()
    return Setup(*[bool(value) for value in row])


def _health(connection: Connection, merchant_id: str, livemode: bool, now: datetime) -> Health:
    # The queue holds unfinished work alone, so it is asked and not the table of all deliveries.
    waiting = (
        sa.select(_deliveries.c.tries)
        .select_from(
            _jobs.join(
                _deliveries,
                sa.and_(
                    _deliveries.c.merchant_id == _jobs.c.merchant_id, _deliveries.c.id == _jobs.c.subject_id
                ),
            ).join(
                _endpoints,
                sa.and_(
                    _endpoints.c.merchant_id == _deliveries.c.merchant_id,
                    _endpoints.c.id == _deliveries.c.endpoint_id,
                ),
            )
        )
        .where(
            _jobs.c.merchant_id == merchant_id,
            _jobs.c.kind == Kind.DELIVER,
            _endpoints.c.livemode == livemode,
        )
        .limit(COUNT_MAX)
        .subquery()
    )
    total, failing = connection.execute(
        sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(sa.case((waiting.c.tries > 0, 1), else_=0)), 0)
        ).select_from(waiting)
    ).one()
    incidents = (
        sa.select(_incidents.c.id)
        .where(_incidents.c.merchant_id == merchant_id, _incidents.c.resolved_at.is_(None))
        .limit(COUNT_MAX)
        .subquery()
    )
    disabled = sa.select(sa.func.count()).where(
        _endpoints.c.merchant_id == merchant_id,
        _endpoints.c.livemode == livemode,
        _endpoints.c.deleted_at.is_(None),
        _endpoints.c.disabled_at.is_not(None),
        _endpoints.c.disabled_reason != endpoints.ASKED,
    )
    oldest = connection.execute(
        sa.select(sa.func.min(_jobs.c.due_at)).where(_jobs.c.merchant_id == merchant_id)
    ).scalar()
    seen_at = heartbeat.last_seen(connection)
    return Health(
        waiting_deliveries=total,
        failing_deliveries=int(failing),
        disabled_endpoints=connection.execute(disabled).scalar_one(),
        open_incidents=connection.execute(sa.select(sa.func.count()).select_from(incidents)).scalar_one(),
        unclaimed=unclaimed.count_unclaimed(merchant_id, livemode=livemode),
        late_since=oldest if oldest is not None and now - oldest > PATIENCE else None,
        worker_seen_at=seen_at,
        worker_lives=seen_at is not None and now - seen_at < heartbeat.ALIVE,
    )
