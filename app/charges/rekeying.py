"""Other credentials for an account: not another merchant's while payments or refunds are under way.

What was started under one application or merchant number is asked about under the same, or never found
again: money would come in that nobody here hears of.  Whoever opened the account a moment before the
change and starts a payment after it is refused by ``accounts.require_unchanged``.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges.models import Attempt, Refund
from app.charges.states import AttemptState, RefundState
from app.db import retried, table_of
from app.errors import Conflict
from app.merchants import accounts
from app.merchants.actor import SERVER, Actor

_attempts, _refunds = table_of(Attempt), table_of(Refund)


@retried
def change_account(account_id: str, settings: Mapping[str, str], *, by: Actor = SERVER) -> None:
    """Replace all credentials of an account.

    Raises NotFound, InvalidRequest naming the field at fault, PermissionDenied, or Conflict with the code
    ``account_in_use``: another application or merchant number, and something is under way.
    """
    accounts.change_account(account_id, settings, by=by, before_another=_refuse_if_in_use)


def _refuse_if_in_use(tx: Connection, merchant_id: str, account_id: str) -> None:
    """A step; the account's row is locked, and whoever stores an attempt shares it.  Raises Conflict."""
    mine = (_attempts.c.merchant_id == merchant_id, _attempts.c.account_id == account_id)
    open_ = tx.execute(
        sa.select(sa.func.count()).where(*mine, _attempts.c.state == AttemptState.STARTED)
    ).scalar_one()
    same = sa.and_(_attempts.c.merchant_id == _refunds.c.merchant_id, _attempts.c.id == _refunds.c.attempt_id)
    waiting = tx.execute(
        sa.select(sa.func.count())
        .select_from(_refunds.join(_attempts, same))
        .where(*mine, _refunds.c.state.in_([RefundState.AWAITING, RefundState.RESERVED]))
    ).scalar_one()
    if open_ or waiting:
        raise Conflict(
            f"{open_} payments and {waiting} refunds are under way under the present application or merchant "
            "number, and would never be found under another: wait for them, or add a second account",
            code="account_in_use",
        )
