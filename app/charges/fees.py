"""What a provider kept of a payment after all: its bill corrects what was foreseen, once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import bookings
from app.charges.models import Attempt
from app.db import table_of
from app.errors import Conflict, InvalidRequest, NotFound
from app.merchants.models import ProviderAccount

_attempts, _accounts = table_of(Attempt), table_of(ProviderAccount)
_LOCK: sa.Select[Any] = (
    sa.select(*_attempts.c, _accounts.c.livemode)
    .join(
        _accounts,
        sa.and_(_accounts.c.merchant_id == _attempts.c.merchant_id, _accounts.c.id == _attempts.c.account_id),
    )
    .where(
        _attempts.c.merchant_id == sa.bindparam("merchant_id"), _attempts.c.id == sa.bindparam("attempt_id")
    )
    .with_for_update(of=_attempts)
)


def correct_fee(tx: Connection, merchant_id: str, attempt_id: str, billed_minor: int) -> bool:
    """Book the fee of a payment as its provider's bill says.  A step.  False if that was done before.

    The same bill read again changes nothing.  Raises NotFound, InvalidRequest (a fee is no more than what
    came in), or Conflict: another bill said otherwise, or no money came in.
    """
    attempt = tx.execute(_LOCK, {"merchant_id": merchant_id, "attempt_id": attempt_id[:40]}).first()
    if attempt is None:
        raise NotFound("no such attempt")
    if attempt.received_minor is None:
        raise Conflict("no money came of this attempt", code="not_paid")
    if not 0 <= billed_minor <= attempt.received_minor:
        raise InvalidRequest("a fee is 0 to all of the payment", param="billed_minor")
    if attempt.fee_billed_minor is not None:
        if attempt.fee_billed_minor != billed_minor:
            raise Conflict(f"it was billed as {attempt.fee_billed_minor} before", code="fee_billed")
        return False
    corrected = tx.execute(
        sa.update(_attempts)
        .where(
            _attempts.c.merchant_id == merchant_id,
            _attempts.c.id == attempt.id,
            _attempts.c.fee_billed_minor.is_(None),
        )
        .values(fee_billed_minor=billed_minor)
        .returning(*_attempts.c)
    ).one()
    if billed_minor != (attempt.fee_minor or 0):
        bookings.post_fee_adjusted(tx, corrected, livemode=attempt.livemode)
    return True
