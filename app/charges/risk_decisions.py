"""What the rules about payments decided, to be listed, searched and explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.clock import to_rfc3339
from app.db import is_among, reading, table_of
from app.errors import InvalidRequest, NotFound
from app.ids import is_id
from app.merchants.risk import Action, RuleKind
from app.merchants.risk_models import RiskDecision, RiskRule

OF_CHARGE_MAX = 50  # a charge has one for each rule at most

_decisions, _rules = table_of(RiskDecision), table_of(RiskRule)
_WITH_RULE: sa.Select[Any] = sa.select(*_decisions.c, _rules.c.name.label("rule_name")).join(
    _rules, sa.and_(_rules.c.merchant_id == _decisions.c.merchant_id, _rules.c.id == _decisions.c.rule_id)
)


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """What a list is narrowed to.  ``starting_after`` and ``ending_before`` are ids: a page's cursor."""

    charge_id: str | None = None
    rule_id: str | None = None
    action: Action | None = None
    kind: RuleKind | None = None
    starting_after: str | None = None
    ending_before: str | None = None
    limit: int = 10


def search(merchant_id: str, *, livemode: bool, wanted: DecisionFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, each with ``rule_name``, and whether there is more.

    Raises InvalidRequest for a bad cursor.
    """
    for name in ("starting_after", "ending_before"):
        cursor = getattr(wanted, name)
        if cursor is not None and not is_id(cursor, "rd"):
            raise InvalidRequest("a cursor is the id of a decision", param=name)
    own = (_decisions.c.merchant_id == merchant_id, _decisions.c.livemode == livemode)
    query = _WITH_RULE.where(*own, *_conditions(wanted))
    order = _decisions.c.id.desc() if wanted.ending_before is None else _decisions.c.id.asc()
    with reading() as connection:
        rows = list(connection.execute(query.order_by(order).limit(wanted.limit + 1)))
    page = rows[: wanted.limit]
    return (page if wanted.ending_before is None else page[::-1]), len(rows) > wanted.limit


def find(merchant_id: str, decision_id: str, *, livemode: bool) -> sa.Row[Any]:
    """Raises NotFound, for another merchant's or mode's decision too."""
    own = (_decisions.c.merchant_id == merchant_id, _decisions.c.livemode == livemode)
    with reading() as connection:
        found = connection.execute(_WITH_RULE.where(*own, _decisions.c.id == decision_id[:64])).first()
    if found is None:
        raise NotFound("no such decision")
    return found


def list_of_charges(merchant_id: str, charge_ids: Sequence[str]) -> list[sa.Row[Any]]:
    """Those of these charges, oldest first."""
    query = (
        _WITH_RULE.where(_decisions.c.merchant_id == merchant_id, is_among(_decisions.c.charge_id, "ids"))
        .order_by(_decisions.c.id)
        .limit(OF_CHARGE_MAX * max(1, len(charge_ids)))
    )
    with reading() as connection:
        return list(connection.execute(query, {"ids": list(charge_ids)}))


def decision_json(row: sa.Row[Any]) -> dict[str, Any]:
    """The decision object of the API."""
    return {
        "id": row.id,
        "object": "risk_decision",
        "livemode": row.livemode,
        "charge": row.charge_id,
        "rule": row.rule_id,
        "kind": row.kind,
        "action": row.action,
        "facts": row.facts,
        "amount": row.amount_minor,
        "currency": row.currency.lower(),
        "qr_code": row.qr_code_id,
        "provider": row.provider,
        "scene": row.scene,
        "payer": row.payer_key,
        "address": row.address_key,
        "device": row.device_key,
        "times": row.times,
        "created_at": to_rfc3339(row.created_at),
        "last_at": to_rfc3339(row.last_at),
    }


def _conditions(wanted: DecisionFilter) -> list[sa.ColumnElement[bool]]:
    column, conditions = _decisions.c, []
    for name in ("charge_id", "rule_id", "action", "kind"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(column[name] == value)
    if wanted.starting_after is not None:
        conditions.append(column.id < wanted.starting_after)
    if wanted.ending_before is not None:
        conditions.append(column.id > wanted.ending_before)
    return conditions
