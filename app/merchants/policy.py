"""What protects a shop from its own people: the limit of refunds, and where a second factor is a must."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import reading, table_of, transaction
from app.errors import InvalidRequest
from app.merchants import audit
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.models import Merchant
from app.merchants.roles import Permission
from app.money import MINOR_MAX

_merchants = table_of(Merchant)


@dataclass(frozen=True, slots=True)
class Policy:
    """A merchant's.  Building one checks it: raises InvalidRequest.

    A refund that takes what goes back of its charge above ``refund_limit_minor`` (minor units of whatever
    currency) waits for a second person; None: no refund does.
    """

    refund_limit_minor: int | None = None
    refund_limit_for_keys: bool = False
    requires_second_factor: bool = False
    members_may_owe: bool = False  # a refund of a top-up that is spent is not refused, and leaves a debt

    def __post_init__(self) -> None:
        if self.refund_limit_minor is not None and not 0 <= self.refund_limit_minor <= MINOR_MAX:
            raise InvalidRequest(f"a limit is 0 to {MINOR_MAX} minor units", param="refund_limit")

    def limit_for(self, by: Actor) -> int | None:
        """The limit of whoever asks: of every person, and of keys if the merchant says so.  Pure."""
        return None if by.is_key and not self.refund_limit_for_keys else self.refund_limit_minor

    def holds_back(self, by: Actor, total_minor: int) -> bool:
        """Whether a refund waits that brings what goes back of its charge to so much.  Pure."""
        limit_minor = self.limit_for(by)
        return limit_minor is not None and total_minor > limit_minor


def policy_of(merchant_id: str) -> Policy:
    """As it is now."""
    with reading() as connection:
        return read_policy(connection, merchant_id)


def read_policy(connection: Connection, merchant_id: str) -> Policy:
    """The same, on a connection of the caller's."""
    return Policy(*connection.execute(_FIND, {"merchant_id": merchant_id}).one())


def save_policy(merchant_id: str, new: Policy, *, by: Actor) -> None:
    """Raises PermissionDenied."""
    by.require(Permission.POLICY_WRITE)
    with transaction() as tx:
        old = read_policy(tx, merchant_id)
        tx.execute(sa.update(_merchants).where(_merchants.c.id == merchant_id).values(**asdict(new)))
        facts = {"before": asdict(old), "after": asdict(new)}
        audit.append(tx, merchant_id, by, Action.POLICY_CHANGED, merchant_id, **facts)


_FIND = sa.select(
    _merchants.c.refund_limit_minor,
    _merchants.c.refund_limit_for_keys,
    _merchants.c.requires_second_factor,
    _merchants.c.members_may_owe,
).where(_merchants.c.id == sa.bindparam("merchant_id"))
