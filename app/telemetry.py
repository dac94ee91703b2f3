"""``/metrics``: what an operator's Prometheus may read, and who may read it.

Counts come from ``metrics.py``; what is due, how much of it and for how long is asked of the database
at each look, so that it is the same whichever process is asked.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

import sqlalchemy as sa
from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from app import metrics
from app.charges.models import Attempt
from app.db import moment, reading, table_of
from app.errors import NotFound
from app.queue import Job, Kind
from app.runtime import settings
from app.webhooks.models import WebhookEndpoint

_jobs, _attempts, _endpoints = table_of(Job), table_of(Attempt), table_of(WebhookEndpoint)
_DUE = sa.select(
    _jobs.c.kind,
    sa.func.count().label("waiting"),
    sa.func.count(sa.case((_jobs.c.due_at <= sa.bindparam("now"), 1))).label("due"),
    sa.func.min(_jobs.c.due_at, type_=_jobs.c.due_at.type).label("oldest"),
).group_by(_jobs.c.kind)
# An attempt is open as long as there is a job that asks about it: the table of jobs is small.
_OPEN = (
    sa.select(sa.func.count(), sa.func.min(_attempts.c.started_at, type_=_attempts.c.started_at.type))
    .select_from(_jobs)
    .join(
        _attempts,
        sa.and_(_attempts.c.merchant_id == _jobs.c.merchant_id, _attempts.c.id == _jobs.c.subject_id),
    )
    .where(_jobs.c.kind == Kind.QUERY)
)
_TROUBLE = sa.select(
    sa.func.count(sa.case((_endpoints.c.failing_since.is_not(None), 1))),
    sa.func.count(sa.case((_endpoints.c.next_probe_at.is_not(None), 1))),
).where(_endpoints.c.deleted_at.is_(None), _endpoints.c.disabled_at.is_(None))
# Headers that a reverse proxy adds: then the peer that we see is the proxy, and says nothing of the asker.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


def init_app(app: Flask) -> None:
    """Time every request, and answer ``/metrics``."""
    app.before_request(_begin)
    app.after_request(_end)
    app.add_url_rule("/metrics", "metrics", _show)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The jobs of one kind: how many there are, how many are due, and for how long the oldest of those."""

    jobs: int = 0
    due: int = 0
    lag_s: float = 0.0


def backlog(connection: Connection, now: datetime) -> dict[Kind, Backlog]:
    """What waits in the queue, by kind; every kind is there."""
    rows = {row.kind: row for row in connection.execute(_DUE, {"now": now})}
    return {
        kind: Backlog(row.waiting, row.due, max(0.0, (now - row.oldest).total_seconds()))
        if (row := rows.get(kind))
        else Backlog()
        for kind in Kind
    }


class Books(Collector):
    """What the database says, now."""

    def collect(self) -> Iterator[Metric]:
        """One look, a few statements."""
        with reading() as connection:
            now = moment(connection)
            jobs = backlog(connection, now)
            open_attempts, oldest_attempt = connection.execute(_OPEN).one()
            failing, cut_off = connection.execute(_TROUBLE).one()
        depth = GaugeMetricFamily("mafu_jobs", "Jobs in the queue, due or not.", labels=["kind"])
        due = GaugeMetricFamily("mafu_jobs_due", "Jobs whose time has come.", labels=["kind"])
        age = GaugeMetricFamily(
            "mafu_job_lag_seconds", "How long the oldest due job has been due.", labels=["kind"]
        )
        for kind, waiting in jobs.items():
            depth.add_metric([kind], waiting.jobs)
            due.add_metric([kind], waiting.due)
            age.add_metric([kind], waiting.lag_s)
        yield from (depth, due, age)
        yield GaugeMetricFamily("mafu_attempts_open", "Attempts of unknown outcome.", open_attempts)
        since = (now - oldest_attempt).total_seconds() if oldest_attempt else 0.0
        yield GaugeMetricFamily("mafu_attempt_oldest_seconds", "Age of the oldest of them.", since)
        yield GaugeMetricFamily("mafu_endpoints_failing", "Enabled endpoints that fail.", failing)
        yield GaugeMetricFamily("mafu_endpoints_cut_off", "Those whose breaker is open.", cut_off)


def _show() -> Response:
    if not _may_look():
        raise NotFound("no such page")
    return Response(metrics.exposition(Books()), content_type=CONTENT_TYPE_LATEST)


def _may_look() -> bool:
    token = settings().metrics_token
    if token:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    return is_this_machine()


def is_this_machine() -> bool:
    """Whether whoever asks sits at this machine, and not behind a proxy on it."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:  # a socket of the file system has no address
        return False


def _begin() -> None:
    g.began_s = time.perf_counter()


def _end(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    took_s = time.perf_counter() - g.get("began_s", time.perf_counter())
    method = request.method if request.url_rule else "any"
    metrics.REQUESTS.labels(method, route, str(response.status_code)).observe(took_s)
    return response
