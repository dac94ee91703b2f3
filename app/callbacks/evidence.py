"""What providers told us of a charge: the callbacks kept as evidence, for its merchant to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.callbacks.models import Callback
from app.charges.dossier import Step, Turn
from app.charges.models import Attempt
from app.db import reading, table_of

SHOWN_MAX = 50
BODY_CHARS_MAX = 8000

_callbacks, _attempts = table_of(Callback), table_of(Attempt)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One verified message; ``text`` is its body as far as it is text, cut to 8,000 characters."""

    id: str
    provider: str
    out_trade_no: str
    outcome: str
    digest: str
    first_at: datetime
    last_at: datetime
    times: int
    text: str


def exhibits_of(merchant_id: str, charge_id: str) -> list[Exhibit]:
    """The callbacks about a charge's attempts, oldest first; empty for another merchant's charge."""
    with reading() as connection:
        rows = connection.execute(_OF_CHARGE, {"merchant_id": merchant_id, "charge_id": charge_id}).all()
    return [
        Exhibit(
            id=row.id,
            provider=row.provider,
            out_trade_no=row.out_trade_no,
            outcome=row.outcome,
            digest=row.digest,
            first_at=row.first_at,
            last_at=row.last_at,
            times=row.times,
            text=bytes(row.body).decode(errors="replace")[:BODY_CHARS_MAX],
        )
        for row in rows
    ]


def steps_of(merchant_id: str, charge_id: str) -> list[Step]:
    """For the charge's story: when each message first came."""
    return [Step(exhibit.first_at, Turn.HEARD, exhibit) for exhibit in exhibits_of(merchant_id, charge_id)]


_OF_CHARGE = (
    sa.select(*_callbacks.c, _attempts.c.provider)
    .join(
        _attempts,
        sa.and_(
            _attempts.c.merchant_id == _callbacks.c.merchant_id,
            _attempts.c.account_id == _callbacks.c.account_id,
            _attempts.c.out_trade_no == _callbacks.c.out_trade_no,
        ),
    )
    .where(
        _attempts.c.merchant_id == sa.bindparam("merchant_id"),
        _attempts.c.charge_id == sa.bindparam("charge_id"),
    )
    .order_by(_callbacks.c.id)
    .limit(SHOWN_MAX)
)
