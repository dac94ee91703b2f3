"""What is forgotten of events and deliveries, and when: nothing that is on its way, and a slice at a time.

MAFU_KEEP_TRIES_DAYS is for the log of tries, MAFU_KEEP_EVENTS_DAYS for events with their deliveries; 0 keeps
them for ever.  Slices are short, so that no payment waits behind one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.db import is_among, moment, reading, retried, table_of, transaction
from app.merchants.models import Merchant
from app.runtime import settings
from app.webhooks import types
from app.webhooks.models import Delivery, DeliveryAttempt, DeliveryState, Event

Forget = Callable[[str, datetime], int]

SLICE = 500
SLICES_MAX = 200  # of a merchant in one round: the rest waits for the next

_events, _deliveries, _attempts = table_of(Event), table_of(Delivery), table_of(DeliveryAttempt)
_merchants = table_of(Merchant)
# What keeps no number of its own counts its events by what is here (``outbox.next_sequence``), so the few
# that are about endpoints and provider accounts stay.
_COUNTED = (
    types.WEBHOOK_ENDPOINT_DISABLED,
    types.ENDPOINT_PING,
    types.PROVIDER_ACCOUNT_UNHEALTHY,
    types.PROVIDER_ACCOUNT_RECOVERED,
)
_of_event = (
    _deliveries.c.merchant_id == _events.c.merchant_id,
    _deliveries.c.event_id == _events.c.id,
)
_MINE = _events.c.merchant_id == sa.bindparam("of_merchant_id")
_OLD_EVENTS = (
    sa.select(_events.c.id)
    .where(
        _MINE,
        _events.c.created_at < sa.bindparam("before"),
        _events.c.type.not_in(_COUNTED),
        ~sa.exists().where(*_of_event, _deliveries.c.state == DeliveryState.PENDING),
    )
    .order_by(_events.c.created_at)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_DELIVERIES = (
    sa.select(_deliveries.c.id)
    .where(
        _deliveries.c.merchant_id == sa.bindparam("of_merchant_id"),
        is_among(_deliveries.c.event_id, "event_ids"),
        _deliveries.c.state != DeliveryState.PENDING,
    )
    .with_for_update()
)
_FORGET_TRIES_OF = sa.delete(_attempts).where(
    _attempts.c.merchant_id == sa.bindparam("of_merchant_id"), is_among(_attempts.c.delivery_id, "ids")
)
_FORGET_DELIVERIES = sa.delete(_deliveries).where(
    _deliveries.c.merchant_id == sa.bindparam("of_merchant_id"), is_among(_deliveries.c.id, "ids")
)
# One that was sent again a moment ago keeps its event.
_FORGET_EVENTS = sa.delete(_events).where(
    _MINE, is_among(_events.c.id, "event_ids"), ~sa.exists().where(*_of_event)
)
_OLDEST_TRIES = (
    sa.select(_attempts.c.id, _attempts.c.started_at)
    .where(_attempts.c.merchant_id == sa.bindparam("of_merchant_id"))
    .order_by(_attempts.c.id)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_FORGET_TRIES = sa.delete(_attempts).where(
    _attempts.c.merchant_id == sa.bindparam("of_merchant_id"), is_among(_attempts.c.id, "ids")
)


def forget_old() -> int:
    """One round over all merchants; how many events and tries are gone."""
    with reading() as connection:
        now = moment(connection)
        merchant_ids = list(connection.scalars(sa.select(_merchants.c.id)))
    count = 0
    for days, forget in (
        (settings().keep_tries_days, _forget_tries),
        (settings().keep_events_days, _forget_events),
    ):
        if days:
            before = now - timedelta(days=days)
            for merchant_id in merchant_ids:
                count += _in_slices(forget, merchant_id, before)
    return count


def _in_slices(forget: Forget, merchant_id: str, before: datetime) -> int:
    count = 0
    for _ in range(SLICES_MAX):
        gone = forget(merchant_id, before)
        count += gone
        if gone < SLICE:
            break
    return count


@retried
def _forget_tries(merchant_id: str, before: datetime) -> int:
    owner = {"of_merchant_id": merchant_id}
    with reading() as connection:  # in order of their ids, which is that of their time
        rows = connection.execute(_OLDEST_TRIES, {**owner, "at_most": SLICE})
        ids = [row.id for row in rows if row.started_at < before]
    if ids:
        with transaction() as tx:
            tx.execute(_FORGET_TRIES, {**owner, "ids": ids})
    return len(ids)


@retried
def _forget_events(merchant_id: str, before: datetime) -> int:
    owner = {"of_merchant_id": merchant_id}
    with reading() as connection:
        wanted = {**owner, "before": before, "at_most": SLICE}
        event_ids = list(connection.scalars(_OLD_EVENTS, wanted))
    if not event_ids:
        return 0
    with transaction() as tx:
        ids = list(tx.scalars(_DELIVERIES, {**owner, "event_ids": event_ids}))
        tx.execute(_FORGET_TRIES_OF, {**owner, "ids": ids})
        tx.execute(_FORGET_DELIVERIES, {**owner, "ids": ids})
        return tx.execute(_FORGET_EVENTS, {**owner, "event_ids": event_ids}).rowcount
