"""How a merchant's accounts at the providers are doing: what was heard last, paid last, and what will end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.callbacks.models import Callback
from app.charges.models import Attempt
from app.charges.states import AttemptState
from app.db import reading, table_of
from app.merchants import accounts, health
from app.providers import REGISTRY
from app.providers.expiry import Ending, endings_of
from app.runtime import settings

WARN_BEFORE = timedelta(days=45)  # a new certificate takes some wallets two weeks

_attempts, _callbacks = table_of(Attempt), table_of(Callback)


@dataclass(frozen=True, slots=True)
class State:
    """One account as its page shows it."""

    account: sa.Row[Any]
    heard_at: datetime | None  # the last verified callback
    paid_at: datetime | None  # the last payment that succeeded
    endings: list[Ending]  # of its certificates, the soonest first
    callback_url: str
    health: sa.Row[Any] | None  # of payments that could not begin lately

    @property
    def ends_soon(self) -> bool:
        """Whether a certificate is over, or nearly."""
        return bool(self.endings) and self.endings[0].at < clock.now() + WARN_BEFORE

    @property
    def is_deaf(self) -> bool:
        """Whether payments were found by asking, and never by being told."""
        return self.paid_at is not None and self.heard_at is None


def states_of(merchant_id: str, *, livemode: bool) -> list[State]:
    """Every account of one mode, disabled ones too, oldest first."""
    rows = accounts.list_all(merchant_id, livemode=livemode)
    ailing = health.ailing(merchant_id)
    with reading() as connection:
        return [
            State(
                account=row,
                heard_at=_newest(
                    connection,
                    _callbacks.c.last_at,
                    _callbacks.c.merchant_id == merchant_id,
                    _callbacks.c.account_id == row.id,
                    by=_callbacks.c.id,
                ),
                paid_at=_newest(
                    connection,
                    _attempts.c.finished_at,
                    _attempts.c.merchant_id == merchant_id,
                    _attempts.c.account_id == row.id,
                    _attempts.c.state == AttemptState.SUCCEEDED,
                    by=_attempts.c.id,
                ),
                endings=endings_of(REGISTRY[row.provider].credentials, accounts.settings_of(row.id)),
                callback_url=f"{settings().origin}/callbacks/{row.id}",
                health=ailing.get(row.id),
            )
            for row in rows
        ]


def _newest(
    connection: Connection,
    column: sa.ColumnElement[Any],
    *conditions: sa.ColumnElement[bool],
    by: sa.ColumnElement[str],
) -> datetime | None:
    """Of the newest row: ids are in order, so the index ends the search at the first that fits."""
    found: datetime | None = connection.execute(
        sa.select(column).where(*conditions).order_by(by.desc()).limit(1)
    ).scalar()
    return found
