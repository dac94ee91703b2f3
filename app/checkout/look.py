"""What a payment link opens, in one statement: the charge, its merchant, their wallets, every try.

On PostgreSQL a round trip costs more than all the rest of a page, so the tries come as further rows of
the charge's own row, and the wallets as one text.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.charges.attempts import read_step
from app.charges.models import Attempt, Charge
from app.charges.states import AttemptState
from app.checkout.steps import Opened, Try
from app.db import Prepared, reading, table_of
from app.errors import BadLink
from app.merchants.models import Brand, Merchant, ProviderAccount
from app.qr.links import LinkFacts, parse_token
from app.runtime import runtime

# No charge takes more (attempts.ATTEMPTS_MAX); open ones come first all the same.
TRIES_MAX = 50

_charges, _merchants, _brands = table_of(Charge), table_of(Merchant), table_of(Brand)
_attempts, _accounts = table_of(Attempt), table_of(ProviderAccount)

_WALLETS = (
    # A literal, because a bound separator is written into the statement anew each time it runs.
    sa.select(sa.func.aggregate_strings(_accounts.c.provider, sa.literal_column("' '")))  # type: ignore[arg-type]
    .where(
        _accounts.c.merchant_id == _charges.c.merchant_id,
        _accounts.c.livemode == _charges.c.livemode,
        _accounts.c.enabled.is_(True),
    )
    .scalar_subquery()
)
_CHARGE_COLUMNS = 21
_LOOK = (
    sa.select(  # in the order of the fields of Opened, then of Try
        _charges.c.id,
        _charges.c.merchant_id,
        _merchants.c.name,
        _merchants.c.language,
        _charges.c.livemode,
        _charges.c.state,
        _charges.c.amount_minor,
        _charges.c.currency,
        _charges.c.description,
        _charges.c.merchant_order_no,
        _charges.c.return_url,
        _charges.c.created_at,
        _charges.c.expires_at,
        _charges.c.paid_at,
        _charges.c.paid_minor,
        _charges.c.refunded_minor,
        _charges.c.provider,
        _charges.c.review,
        _brands.c.accent,
        _brands.c.logo_version,
        _WALLETS,
        _attempts.c.id,
        _attempts.c.provider,
        _attempts.c.scene,
        _attempts.c.state,
        _attempts.c.asked_at,
        _attempts.c.step_expires_at,
        _attempts.c.payer_key,
        _attempts.c.next_step,
    )
    .join(_merchants, _merchants.c.id == _charges.c.merchant_id)
    .outerjoin(_brands, _brands.c.merchant_id == _charges.c.merchant_id)
    .outerjoin(
        _attempts,
        sa.and_(_attempts.c.merchant_id == _charges.c.merchant_id, _attempts.c.charge_id == _charges.c.id),
    )
    .where(_charges.c.id == sa.bindparam("charge_id"))
    .order_by((_attempts.c.state == AttemptState.STARTED).desc(), _attempts.c.id.desc())
    .limit(sa.literal_column(str(TRIES_MAX)))
)
_PREPARED = Prepared(_LOOK)


def look(token: str) -> Opened:
    """What this link opens, as it is now.

    Raises BadLink, in the same words for an unknown charge and for a signature that does not fit the
    charge, its merchant, its amount or its currency.
    """
    claimed = parse_token(token)
    with reading() as connection:
        rows = _PREPARED.rows(connection, {"charge_id": claimed.charge_id})
    if not rows or not runtime().charge_links.is_genuine(claimed, _facts(rows[0])):
        raise BadLink("this link does not open a charge")
    columns = rows[0][:_CHARGE_COLUMNS]
    wallets, tries = columns[-1] or "", [_try(row) for row in rows if row[_CHARGE_COLUMNS] is not None]
    tries.sort(key=lambda each: each.id, reverse=True)
    return Opened(*[*columns[:-1], frozenset(wallets.split()), tuple(tries)])


def _facts(row: tuple[Any, ...]) -> LinkFacts:
    return LinkFacts(charge_id=row[0], merchant_id=row[1], amount_minor=row[6], currency=row[7])


def _try(row: tuple[Any, ...]) -> Try:
    *columns, stored = row[_CHARGE_COLUMNS:]
    return Try(*columns) if stored is None else Try(*[*columns, read_step(stored)])
