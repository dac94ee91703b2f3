"""Endpoints in trouble: one try at a time finds out whether they are well again, and the rest waits.

After OPEN_AFTER records in a row that hold nothing but failures, an endpoint's breaker opens: what is
due for it goes back into the queue without using a slot of the network.  From ``next_probe_at`` on one
delivery is sent, whoever claims it; a success closes the breaker, a failure moves the next probe
further away.  All of it is in the endpoint's row, so every worker knows what one of them has learnt.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from app import queue
from app.db import moment, retried, transaction
from app.queue import Claim
from app.webhooks.models import WebhookEndpoint

OPEN_AFTER = 5
# From the last failure to the next probe, after OPEN_AFTER records and each one more.
GAPS = tuple(timedelta(seconds=seconds) for seconds in (5, 10, 20, 40, 60))
PROBE_LEASE = timedelta(seconds=20)  # 15 on the wire, and the rest to write it down
BEHIND = timedelta(seconds=2)  # what waits behind a probe looks again after so long
_SPREAD_S, _SPREAD_S_MAX = 0.01, 10.0  # of those that wait, so that they do not all come back at once

_endpoints = WebhookEndpoint.__table__
_THESE = (
    _endpoints.c.merchant_id.in_(sa.bindparam("merchant_ids", expanding=True)),
    _endpoints.c.id.in_(sa.bindparam("ids", expanding=True)),
)
_rounds = _endpoints.c.failed_rounds + 1
_AILING = (
    sa.update(WebhookEndpoint)
    .where(*_THESE)
    .values(
        failing_since=sa.func.coalesce(
            _endpoints.c.failing_since, sa.bindparam("now", type_=_endpoints.c.failing_since.type)
        ),
        failed_rounds=_rounds,
        next_probe_at=sa.case(
            *[
                (
                    _rounds >= OPEN_AFTER + number,
                    sa.bindparam(f"probe_{number}", type_=_endpoints.c.next_probe_at.type),
                )
                for number in reversed(range(len(GAPS)))
            ],
            else_=_endpoints.c.next_probe_at,
        ),
    )
    .returning(_endpoints.c.id, _endpoints.c.next_probe_at)
)
_WELL = (
    sa.update(WebhookEndpoint)
    .where(*_THESE, _endpoints.c.failing_since.is_not(None))
    .values(failing_since=None, failed_rounds=0, next_probe_at=None)
)
_PROBE = (
    sa.update(WebhookEndpoint)
    .where(
        _endpoints.c.merchant_id == sa.bindparam("of_merchant_id"),
        _endpoints.c.id == sa.bindparam("of_id"),
        _endpoints.c.next_probe_at == sa.bindparam("seen"),
    )
    .values(next_probe_at=sa.bindparam("until"))
)

Key = tuple[str, str]  # merchant, endpoint


class Waiting(Protocol):
    """What is claimed and may have to wait: a parcel of ``delivery.py``."""

    @property
    def claim(self) -> Claim: ...
    @property
    def endpoint_id(self) -> str: ...
    @property
    def next_probe_at(self) -> datetime | None: ...


T = TypeVar("T", bound=Waiting)


def note(tx: Connection, failed: Collection[Key], succeeded: Collection[Key], now: datetime) -> set[str]:
    """Write down which endpoints only failed and which answered well.  A step.  The ids of open breakers."""
    is_open: set[str] = set()
    # One order everywhere, so that two workers do not each wait for a row that the other has.
    if only_failed := sorted(set(failed) - set(succeeded)):
        probes = {f"probe_{number}": now + gap for number, gap in enumerate(GAPS)}
        rows = tx.execute(_AILING, {**_listed(only_failed), **probes, "now": now})
        is_open = {row.id for row in rows if row.next_probe_at is not None}
    if succeeded:
        tx.execute(_WELL, _listed(sorted(set(succeeded))))
    return is_open


def hasten(tx: Connection, merchant_id: str, endpoint_id: str, now: datetime) -> None:
    """A person wants something sent there: if the breaker is open, the next probe is due at once.  A step."""
    tx.execute(
        sa.update(WebhookEndpoint)
        .where(
            _endpoints.c.merchant_id == merchant_id,
            _endpoints.c.id == endpoint_id,
            _endpoints.c.next_probe_at > now,
        )
        .values(next_probe_at=now)
    )


def sift(parcels: Sequence[T]) -> list[T]:
    """Those that may go now; the others, whose endpoint's breaker is open, are due again later."""
    doubtful: dict[Key, list[T]] = {}
    for parcel in parcels:
        if parcel.next_probe_at is not None:
            doubtful.setdefault((parcel.claim.merchant_id, parcel.endpoint_id), []).append(parcel)
    if not doubtful:
        return list(parcels)
    probes = _send_home(doubtful)
    return [parcel for parcel in parcels if parcel.next_probe_at is None] + probes


@retried
def _send_home(doubtful: dict[Key, list[T]]) -> list[T]:
    """Put all of them back but the one of each endpoint that is the probe now."""
    probes: list[T] = []
    home: list[tuple[Claim, datetime]] = []
    with transaction() as tx:
        now = moment(tx)
        for (merchant_id, endpoint_id), group in sorted(doubtful.items()):
            seen = max(parcel.next_probe_at for parcel in group if parcel.next_probe_at is not None)
            waiting, due_at = group, max(seen, now + BEHIND)
            if seen <= now:
                # Whoever moves it sends the probe: the others find another time there than they have seen.
                mine = {"of_merchant_id": merchant_id, "of_id": endpoint_id}
                if tx.execute(_PROBE, {**mine, "seen": seen, "until": now + PROBE_LEASE}).rowcount == 1:
                    probes.append(group[0])
                    waiting = group[1:]
            spread_s = min(len(waiting) * _SPREAD_S, _SPREAD_S_MAX)
            home += [
                (parcel.claim, due_at + timedelta(seconds=random.uniform(0, spread_s))) for parcel in waiting
            ]
        if home:
            queue.put_back_many(tx, home)
    return probes


def _listed(keys: Sequence[Key]) -> dict[str, list[str]]:
    return {"merchant_ids": list({key[0] for key in keys}), "ids": [key[1] for key in keys]}
