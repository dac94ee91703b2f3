"""Orders that shops ask for in 易支付: one order number, one charge."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import lifecycle
from app.charges.commands import EXPIRES_IN_S_MAX, NewCharge
from app.charges.models import Attempt, Charge
from app.charges.states import ChargeState
from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.epay import wire
from app.epay.models import EpayOrder
from app.epay.notices import MARK, fits
from app.epay.switch import Front
from app.epay.wire import Asked
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id
from app.runtime import settings

# The protocol knows no deadline.  A card shop's order lives for minutes, an invoice for weeks, and a new
# charge for the same number could be paid beside the old one: so a charge lives as long as any may.
LIVES_S = EXPIRES_IN_S_MAX
LIST_MAX, OFFSET_MAX = 50, 2000  # "最大50", "最大2000"

_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_orders, _charges, _attempts = table_of(EpayOrder), table_of(Charge), table_of(Attempt)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many orders there are: all, and those of today and yesterday in Beijing."""

    all: int
    today: int
    yesterday: int


def place(front: Front, asked: Asked) -> sa.Row[Any]:
    """The charge of this order, made if it is not there.

    The same number with the same content is the same charge, whatever became of it; another wallet is no
    other content, as shoppers go back and choose again.  Raises Conflict (the number has other content
    here, or belongs to a charge that was made another way), InvalidRequest (the notice could not be sent).
    """
    if not fits(front, asked):
        raise InvalidRequest(
            "notify_url and param are too long together", code="too_long", param="notify_url"
        )
    known = _find(front, asked.out_trade_no)
    if known is None:
        return _make(front, asked)
    return _checked(front, known, asked)


def find(front: Front, *, trade_no: str, out_trade_no: str) -> sa.Row[Any]:
    """An order with its charge's state; our number counts if both are given.  Raises NotFound."""
    if not (is_id(trade_no, "ch") if trade_no else wire.is_order_no(out_trade_no)):
        raise NotFound("no such order")
    which = _orders.c.charge_id == trade_no if trade_no else _orders.c.out_trade_no == out_trade_no
    with reading() as connection:
        row = connection.execute(_of(front).where(which)).first()
    if row is None:
        raise NotFound("no such order")
    return row


def find_of_charge(merchant_id: str, charge_id: str) -> sa.Row[Any]:
    """The same for the dashboard.  Raises NotFound."""
    if not is_id(charge_id, "ch"):
        raise NotFound("no such order")
    with reading() as connection:
        row = connection.execute(
            _WHOLE.where(_orders.c.merchant_id == merchant_id, _orders.c.charge_id == charge_id)
        ).first()
    if row is None:
        raise NotFound("no such order")
    return row


def find_by_token(token: str) -> sa.Row[Any]:
    """The order to whose shop a browser goes back.  Raises NotFound."""
    if not _TOKEN.fullmatch(token):
        raise NotFound("no such order")
    with reading() as connection:
        row = connection.execute(_WHOLE.where(_orders.c.return_token == token)).first()
    if row is None:
        raise NotFound("no such order")
    return row


def list_orders(
    merchant_id: str, *, livemode: bool, limit: int, offset: int = 0, before: str | None = None
) -> list[sa.Row[Any]]:
    """Newest first; ``before`` is a charge's id, and cheaper than an offset."""
    query = _WHOLE.where(_orders.c.merchant_id == merchant_id, _orders.c.livemode == livemode)
    if before is not None:
        query = query.where(_orders.c.charge_id < before)
    with reading() as connection:
        return list(
            connection.execute(query.order_by(_orders.c.charge_id.desc()).limit(limit).offset(offset))
        )


def count(front: Front, today: datetime, yesterday: datetime) -> Counts:
    """Orders since the beginning, and of the days that begin then."""
    column = _orders.c.created_at
    query = sa.select(
        sa.func.count(),
        sa.func.count().filter(column >= today),
        sa.func.count().filter(column >= yesterday, column < today),
    ).where(_orders.c.merchant_id == front.merchant_id, _orders.c.livemode == front.livemode)
    with reading() as connection:
        return Counts(*connection.execute(query).one())


def is_paid(order: sa.Row[Any]) -> bool:
    """Whether goods may be handed over: paid, and not wholly given back since.  Pure."""
    return order.state == ChargeState.PAID and order.refunded_minor < order.paid_minor


def _make(front: Front, asked: Asked) -> sa.Row[Any]:
    new = NewCharge(
        amount=asked.amount,
        description=asked.name,
        merchant_order_no=asked.out_trade_no,
        metadata={MARK: front.pid},
        return_url=_way_back(front, asked),
        expires_in_s=LIVES_S,
    )
    with transaction() as tx:
        try:
            charge = lifecycle.create_charge(tx, front.merchant_id, livemode=front.livemode, new=new)
        except Conflict:
            raise _taken() from None
        values = {
            "merchant_id": front.merchant_id,
            "charge_id": charge.id,
            "livemode": front.livemode,
            "return_token": _token(front, asked.out_trade_no),
            "method": asked.method,
            "created_at": moment(tx),
            "tries": 0,
            **_content(asked),
        }
        if tx.execute(insert_or_skip(tx, _orders), values).rowcount == 0:
            # Twice at once: the other was first, and its charge is the one.
            _refuse_other(tx, charge, asked)
        return charge


def _checked(front: Front, known: sa.Row[Any], asked: Asked) -> sa.Row[Any]:
    _compare(known, asked)
    return lifecycle.find(front.merchant_id, known.charge_id)


def _refuse_other(tx: Connection, charge: sa.Row[Any], asked: Asked) -> None:
    key = (_orders.c.merchant_id == charge.merchant_id, _orders.c.charge_id == charge.id)
    _compare(tx.execute(sa.select(*_orders.c).where(*key)).one(), asked)


def _compare(known: Any, asked: Asked) -> None:
    content = _content(asked)
    # "1.0" and "1.00" are one amount; the first is what the shop hears again.
    same_money = wire.read_money(known.money) == asked.amount
    del content["money"]
    if not same_money or any(getattr(known, name) != value for name, value in content.items()):
        raise _taken()


def _content(asked: Asked) -> dict[str, Any]:
    return {
        "out_trade_no": asked.out_trade_no,
        "name": asked.name,
        "money": asked.money,
        "param": asked.param,
        "notify_url": asked.notify_url,
        "return_url": asked.return_url,
    }


def _find(front: Front, out_trade_no: str) -> sa.Row[Any] | None:
    with reading() as connection:
        return connection.execute(_of(front).where(_orders.c.out_trade_no == out_trade_no)).first()


def _of(front: Front) -> sa.Select[Any]:
    return _WHOLE.where(_orders.c.merchant_id == front.merchant_id, _orders.c.livemode == front.livemode)


def _way_back(front: Front, asked: Asked) -> str | None:
    """Our own address in front of the shop's: what is signed for the shop is known only after the payment."""
    if asked.return_url is None:
        return None
    return f"{settings().origin}/epay/return/{_token(front, asked.out_trade_no)}"


def _token(front: Front, out_trade_no: str) -> str:
    # Of the order alone, so that two requests at once make one charge; and nobody guesses it, because what
    # it opens (a page of the shop's, signed for it) may show what was bought.
    secret, text = settings().secret_keys[-1], f"{front.pid} {out_trade_no}"
    return hmac.new(b"mafu.epay.return " + secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def _taken() -> Conflict:
    return Conflict("this out_trade_no belongs to an order with other content", code="order_no_taken")


_WHOLE: sa.Select[Any] = (
    sa.select(
        *_orders.c,
        *[
            _charges.c[name]
            for name in (
                "state",
                "provider",
                "paid_at",
                "paid_minor",
                "refunded_minor",
                "amount_minor",
                "currency",
            )
        ],
        _attempts.c.provider_ref,
    )
    .join(
        _charges,
        sa.and_(_charges.c.merchant_id == _orders.c.merchant_id, _charges.c.id == _orders.c.charge_id),
    )
    .outerjoin(
        _attempts,
        sa.and_(
            _attempts.c.merchant_id == _charges.c.merchant_id, _attempts.c.id == _charges.c.paid_attempt_id
        ),
    )
)
