"""Everything that is sealed at rest, and its sealing afresh once MAFU_ENCRYPTION_KEYS has a newer key.

Whatever the vault seals for a table stands in SEALED; a test looks for columns that do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app.db import reading, table_of, transaction
from app.epay import switch
from app.epay.models import EpayFront
from app.merchants import accounts, idempotency, letters, second_factor
from app.merchants.models import IdempotencyKey, Letter, ProviderAccount, User
from app.vault import SealBroken, Vault
from app.webhooks import endpoints
from app.webhooks.models import WebhookEndpoint

BATCH = 200  # values in a transaction: some milliseconds

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of sealed values, and where the vault believes each of them to be."""

    column: sa.Column[Any]
    place_of: Callable[[Any], str]

    @property
    def name(self) -> str:
        """``"users.totp_sealed"``."""
        return f"{self.column.table.name}.{self.column.name}"

    @property
    def key(self) -> tuple[sa.Column[Any], ...]:
        """The primary key of its table."""
        return tuple(self.table.primary_key.columns)

    @property
    def table(self) -> sa.Table:
        """Its table."""
        table = self.column.table
        assert isinstance(table, sa.Table)  # noqa: S101 - a column of a model has no other
        return table

    def old(self, vault: Vault) -> tuple[sa.ColumnElement[bool], ...]:
        """What another key than the newest has sealed; an answer that is still worked on is empty."""
        return (
            self.column.is_not(None),
            self.column != "",
            ~self.column.startswith(vault.current_prefix, autoescape=True),
        )


SEALED = (
    Sealed(table_of(ProviderAccount).c.sealed, lambda row: accounts.place_of(row.id)),
    Sealed(table_of(WebhookEndpoint).c.sealed_secret, lambda row: endpoints.secret_place(row.id)),
    Sealed(table_of(User).c.totp_sealed, lambda row: second_factor.totp_place(row.id)),
    Sealed(table_of(Letter).c.sealed, lambda row: letters.place_of(row.id)),
    Sealed(
        table_of(EpayFront).c.sealed_key,
        lambda row: switch.key_place(row.merchant_id, livemode=row.livemode),
    ),
    Sealed(
        table_of(IdempotencyKey).c.body,
        lambda row: idempotency.place_of(merchant_id=row.merchant_id, livemode=row.livemode, key=row.key),
    ),
)


@dataclass(frozen=True, slots=True)
class Resealed:
    """What came of a column: values sealed afresh, and values that none of our keys opens."""

    name: str
    sealed: int
    broken: int


def find_old(connection: Connection, vault: Vault) -> list[str]:
    """The columns that hold something which the newest key has not sealed."""
    return [
        one.name
        for one in SEALED
        if connection.execute(sa.select(sa.literal(1)).where(*one.old(vault)).limit(1)).first() is not None
    ]


def reseal_all(vault: Vault) -> list[Resealed]:
    """Seal everything under the newest key.  Cut short, it is run again; while it runs all goes on.

    What was changed meanwhile was sealed by whoever changed it.
    """
    done = [_reseal(one, vault) for one in SEALED]
    log.info("sealed afresh", **{each.name: each.sealed for each in done})
    return done


def _reseal(one: Sealed, vault: Vault) -> Resealed:
    sealed, broken, last = 0, 0, None
    while True:
        rows = _next(one, vault, last)
        if not rows:
            return Resealed(one.name, sealed, broken)
        last = tuple(rows[-1][: len(one.key)])
        with transaction() as tx:
            for row in rows:
                try:
                    sealed += _seal_afresh(tx, one, vault, row)
                except SealBroken:
                    broken += 1


def _next(one: Sealed, vault: Vault, last: tuple[Any, ...] | None) -> list[sa.Row[Any]]:
    query = sa.select(*one.key, one.column.label("was")).where(*one.old(vault))
    if last is not None:
        query = query.where(sa.tuple_(*one.key) > sa.tuple_(*[sa.literal(value) for value in last]))
    with reading() as connection:
        return list(connection.execute(query.order_by(*one.key).limit(BATCH)))


def _seal_afresh(tx: Connection, one: Sealed, vault: Vault, row: sa.Row[Any]) -> int:
    place = one.place_of(row)
    afresh = vault.seal(vault.unseal(row.was, place), place)
    mine = [column == value for column, value in zip(one.key, row, strict=False)]
    changed = sa.update(one.table).where(*mine, one.column == row.was).values({one.column: afresh})
    return tx.execute(changed).rowcount
