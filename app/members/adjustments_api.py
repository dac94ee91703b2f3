"""/v1/members/{member}/adjustments: a balance is put right by hand, for a reason."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    OnceHeader,
    validated,
)
from app.charges.api import PLAIN
from app.members.api import MemberPath, MovementAnswer
from app.merchants.auth import actor, caller, require_key
from app.merchants.once_api import done_once
from app.money import MINOR_MAX
from app.purses import adjustments
from app.purses.adjustments import REASON_CHARS_MAX, NewAdjustment
from app.purses.present import movement_json

bp = APIBlueprint(
    "adjustments_api",
    __name__,
    url_prefix="/v1/members/<member>/adjustments",
    abp_tags=[Tag(name="Adjustments", description="What was given or taken by hand.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)


class AdjustmentBody(BaseModel):
    """A new adjustment: at least one of the two amounts is not 0."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"amount": 500, "bonus": 100, "reason": "等太久的补偿"}]},
    )

    amount: Annotated[
        StrictInt,
        Field(
            ge=-MINOR_MAX,
            le=MINOR_MAX,
            description="So much more of what was paid in, in minor units; below 0: less.",
        ),
    ] = 0
    bonus: Annotated[
        StrictInt,
        Field(ge=-MINOR_MAX, le=MINOR_MAX, description="So much more bonus; below 0: less."),
    ] = 0
    reason: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=REASON_CHARS_MAX,
            description="Why: it stands in the statement and in the audit log.",
            json_schema_extra={"pattern": f"^[^{PLAIN}]*$"},
        ),
    ]


@bp.post(
    "",
    summary="Give or take by hand",
    responses={201: MovementAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, path: MemberPath, body: AdjustmentBody) -> Response:
    """The answer is the new line of the statement.  Neither balance nor bonus is taken below zero, whatever
    your rules let a refund do: 409 with `member_balance_too_low` says what is left.

    Send an Idempotency-Key: without it, the same body twice gives or takes twice.
    """
    new = NewAdjustment(path.member, body.amount, body.bonus, body.reason)
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        return movement_json(adjustments.adjust(tx, who.merchant_id, new, livemode=who.livemode, by=actor()))

    return done_once(header, work, 201)
