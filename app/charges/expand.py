"""What a caller may see unfolded in one answer: a charge's refunds, latest attempt, printed code and store,
a refund's charge.

One level and no more, each by one statement for the whole page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.charges.models import Attempt, Charge, Refund
from app.charges.present import charge_json, refund_json
from app.clock import to_rfc3339
from app.db import is_among, reading, table_of

REFUNDS_SHOWN = 10  # of each charge; the rest by GET /v1/refunds?charge=

_charges, _attempts, _refunds = table_of(Charge), table_of(Attempt), table_of(Refund)


class OfCharge(StrEnum):
    """What a charge may be asked to unfold."""

    REFUNDS = "refunds"
    LATEST_ATTEMPT = "latest_attempt"
    QR_CODE = "qr_code"
    STORE = "store"


class OfRefund(StrEnum):
    """What a refund may be asked to unfold."""

    CHARGE = "charge"


# (merchant, ids) -> objects of the API by id.
Unfold = Callable[[str, Sequence[str]], dict[str, dict[str, Any]]]
_unfolders: dict[OfCharge, Unfold] = {}


def teach(name: OfCharge, unfold: Unfold) -> None:
    """Let the wiring say who unfolds what this floor does not know how to show."""
    _unfolders[name] = unfold


def charges_json(charges: Sequence[sa.Row[Any]], wanted: Sequence[OfCharge]) -> list[dict[str, Any]]:
    """One merchant's charges as the API has them, with what is wanted unfolded."""
    shown = [charge_json(charge) for charge in charges]
    if not wanted or not charges:
        return shown
    lists = {"merchant_id": charges[0].merchant_id, "charge_ids": [charge.id for charge in charges]}
    if OfCharge.REFUNDS in wanted:
        refunds = _by_charge(_REFUNDS, lists)
        for charge in shown:
            charge["refunds"] = _refund_list(charge["id"], refunds.get(charge["id"], []))
    if OfCharge.LATEST_ATTEMPT in wanted:
        attempts = _by_charge(_LATEST_ATTEMPTS, lists)
        for charge in shown:
            latest = attempts.get(charge["id"])
            charge["latest_attempt"] = attempt_json(latest[0]) if latest else None
    for name, unfold in _unfolders.items():
        if name in wanted:
            ids = [charge[name] for charge in shown if charge[name] is not None]
            found = unfold(charges[0].merchant_id, ids) if ids else {}
            for charge in shown:
                charge[name] = found.get(charge[name])
    return shown


def refunds_json(refunds: Sequence[sa.Row[Any]], wanted: Sequence[OfRefund]) -> list[dict[str, Any]]:
    """One merchant's refunds as the API has them, with what is wanted unfolded."""
    shown = [refund_json(refund) for refund in refunds]
    ids = [refund.charge_id for refund in refunds if refund.charge_id is not None]
    if OfRefund.CHARGE not in wanted or not ids:
        return shown
    with reading() as connection:
        lists = {"merchant_id": refunds[0].merchant_id, "charge_ids": ids}
        charges = {row.id: charge_json(row) for row in connection.execute(_CHARGES, lists)}
    for refund in shown:
        refund["charge"] = charges.get(refund["charge"], refund["charge"])
    return shown


def attempt_json(attempt: sa.Row[Any]) -> dict[str, Any]:
    """The attempt object of the API: one try of a charge in one wallet."""
    return {
        "id": attempt.id,
        "object": "attempt",
        "provider": attempt.provider,
        "scene": attempt.scene,
        "provider_account": attempt.account_id,
        "routing_rule": attempt.routing_rule_id,
        "status": attempt.state,
        "out_trade_no": attempt.out_trade_no,
        "provider_ref": attempt.provider_ref,
        "failure_code": attempt.failure_code,
        "started_at": to_rfc3339(attempt.started_at),
        "finished_at": to_rfc3339(attempt.finished_at) if attempt.finished_at else None,
    }


def _by_charge(statement: sa.Select[Any], lists: dict[str, Any]) -> dict[str, list[sa.Row[Any]]]:
    found: dict[str, list[sa.Row[Any]]] = {}
    with reading() as connection:
        for row in connection.execute(statement, lists):
            found.setdefault(row.charge_id, []).append(row)
    return found


def _refund_list(charge_id: str, refunds: list[sa.Row[Any]]) -> dict[str, Any]:
    return {
        "object": "list",
        "url": f"/v1/refunds?charge={charge_id}",
        "has_more": len(refunds) > REFUNDS_SHOWN,
        "data": [refund_json(refund) for refund in refunds[:REFUNDS_SHOWN]],
    }


def _newest_of_each(table: sa.Table, count: int) -> sa.Select[Any]:
    """The newest rows of each charge in a list, newest first."""
    rank = sa.func.row_number().over(partition_by=table.c.charge_id, order_by=table.c.id.desc())
    ranked = (
        sa.select(*table.c, rank.label("rank"))
        .where(table.c.merchant_id == sa.bindparam("merchant_id"), is_among(table.c.charge_id, "charge_ids"))
        .subquery()
    )
    columns = [column for column in ranked.c if column.name != "rank"]
    return sa.select(*columns).where(ranked.c.rank <= count).order_by(ranked.c.id.desc())


_REFUNDS = _newest_of_each(_refunds, REFUNDS_SHOWN + 1)
_LATEST_ATTEMPTS = _newest_of_each(_attempts, 1)
_CHARGES = sa.select(*_charges.c).where(
    _charges.c.merchant_id == sa.bindparam("merchant_id"), is_among(_charges.c.id, "charge_ids")
)
