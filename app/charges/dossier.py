"""Everything that is known of one charge, and the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.charges import attempts, decisions, incidents, lifecycle, refund_search, statements, topups
from app.charges.states import ChargeState
from app.merchants import accounts, routing_rules
from app.webhooks import history
from app.webhooks.history import DeliveryStory, Page

_DELIVERIES_SHOWN = 20
_REFUNDS_FOLLOWED = 5


class Turn(StrEnum):
    """What can happen in the life of a charge, causes before effects."""

    CREATED = "created"
    ATTEMPT_STARTED = "attempt_started"
    HEARD = "heard"  # a callback came
    ATTEMPT_ENDED = "attempt_ended"
    EXPIRED = "expired"
    CANCELED = "canceled"
    PAID = "paid"
    PAID_LATE = "paid_late"
    DECIDED = "decided"  # by a person, about money that no charge had taken
    REFUND_RESERVED = "refund_reserved"
    REFUND_ENDED = "refund_ended"
    INCIDENT = "incident"
    TOLD = "told"  # a webhook was delivered
    NOTIFIED = "notified"  # the shop's own program said that it has heard


# One transaction reads the clock several times; within a second the cause comes first.
_RANK = {turn: rank for rank, turn in enumerate(Turn)}


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline; ``of`` is what it is about: an attempt, decision, refund, callback…"""

    at: datetime
    turn: Turn
    of: Any = None


# (merchant, charge) -> what else happened to it.
Witness = Callable[[str, str], Sequence[Step]]
_witnesses: dict[str, Witness] = {}


@dataclass(frozen=True, slots=True)
class Dossier:
    """A charge with what belongs to it, each list oldest first but for deliveries (newest first)."""

    charge: sa.Row[Any]
    member: sa.Row[Any] | None  # whose top-up it is
    was_canceled: bool  # it may be paid all the same, by a person's decision
    attempts: list[sa.Row[Any]]
    accounts: dict[str, tuple[str, str]]  # provider and name of those of its mode, by id
    rules: dict[str, str]  # names of those that chose accounts, by id
    refunds: list[sa.Row[Any]]
    incidents: list[sa.Row[Any]]
    deliveries: list[DeliveryStory]
    entries: list[sa.Row[Any]]  # of the ledger
    steps: list[Step]


def call(name: str, witness: Witness) -> None:
    """Let the wiring say who knows of steps that lie on a floor above this one."""
    _witnesses[name] = witness


def compile_dossier(merchant_id: str, charge_id: str) -> Dossier:
    """Read it all.  Raises NotFound."""
    charge = lifecycle.find(merchant_id, charge_id)
    tried = attempts.list_attempts(merchant_id, charge.id)
    returned = refund_search.list_of_charge(merchant_id, charge.id)
    raised = incidents.list_of_charge(merchant_id, charge.id)
    decided = decisions.list_decisions_of_charge(merchant_id, charge.id)
    told: list[DeliveryStory] = []
    for object_id in (charge.id, *[refund.id for refund in returned[:_REFUNDS_FOLLOWED]]):
        told += history.list_deliveries(
            merchant_id, livemode=charge.livemode, object_id=object_id, page=Page(limit=_DELIVERIES_SHOWN)
        )[0]
    was_canceled = charge.state == ChargeState.CANCELED or any(
        row.charge_id == charge.id and row.found == ChargeState.CANCELED for row in decided
    )
    steps = [*_own_steps(charge, was_canceled), *_steps_of_others(tried, returned, raised, told)]
    steps += [Step(row.created_at, Turn.DECIDED, row) for row in decided]
    for witness in _witnesses.values():
        steps += witness(merchant_id, charge.id)
    steps.sort(key=lambda step: (step.at.replace(microsecond=0), _RANK[step.turn]))
    return Dossier(
        charge,
        _member_of(charge),
        was_canceled,
        tried,
        accounts.names_of(merchant_id, livemode=charge.livemode),
        routing_rules.names_of(merchant_id, {row.routing_rule_id for row in tried if row.routing_rule_id}),
        returned,
        raised,
        told,
        statements.entries_of_attempts(merchant_id, [row.id for row in tried]),
        steps,
    )


def _member_of(charge: sa.Row[Any]) -> sa.Row[Any] | None:
    if charge.topup_id is None:
        return None
    member: sa.Row[Any] = topups.find(charge.merchant_id, charge.topup_id, livemode=charge.livemode).member
    return member


def _own_steps(charge: sa.Row[Any], was_canceled: bool) -> list[Step]:
    steps = [Step(charge.created_at, Turn.CREATED)]
    if charge.closed_at is not None:
        steps.append(Step(charge.closed_at, Turn.CANCELED if was_canceled else Turn.EXPIRED))
    if charge.paid_at is not None:
        steps.append(Step(charge.paid_at, Turn.PAID_LATE if charge.paid_late else Turn.PAID))
    return steps


def _steps_of_others(
    tried: Sequence[sa.Row[Any]],
    returned: Sequence[sa.Row[Any]],
    raised: Sequence[sa.Row[Any]],
    told: Sequence[DeliveryStory],
) -> list[Step]:
    steps = [Step(attempt.started_at, Turn.ATTEMPT_STARTED, attempt) for attempt in tried]
    steps += [Step(row.finished_at, Turn.ATTEMPT_ENDED, row) for row in tried if row.finished_at is not None]
    steps += [Step(refund.created_at, Turn.REFUND_RESERVED, refund) for refund in returned]
    steps += [
        Step(row.finished_at, Turn.REFUND_ENDED, row) for row in returned if row.finished_at is not None
    ]
    steps += [Step(incident.created_at, Turn.INCIDENT, incident) for incident in raised]
    arrived = [story.delivery for story in told if story.delivery.delivered_at is not None]
    return steps + [Step(row.delivered_at, Turn.TOLD, row) for row in arrived]
