"""/v1/bonus_rules: what comes on top of a top-up, from which day on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    Moment,
    OnceHeader,
    PublicId,
    dump,
    json_answer,
    validated,
)
from app.charges.commands import currency_of
from app.merchants.auth import actor, caller, require_key
from app.merchants.once_api import done_once
from app.money import EXPONENTS, MINOR_MAX
from app.purses import bonus
from app.purses.bonus import RULES_SHOWN, TIERS_MAX, NewRule
from app.purses.present import rule_json

bp = APIBlueprint(
    "bonus_rules_api",
    __name__,
    url_prefix="/v1/bonus_rules",
    abp_tags=[Tag(name="Bonus rules", description="What comes on top of a top-up, and from when on.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

RULE_EXAMPLE: dict[str, Any] = {
    "id": "br_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "bonus_rule",
    "livemode": False,
    "currency": "cny",
    "valid_from": "2026-02-01T00:00:00.000Z",
    "tiers": [{"amount": 10000, "bonus": 1000}, {"amount": 50000, "bonus": 8000}],
    "created_at": "2026-01-15T02:00:00.123Z",
}
_CURRENCIES = [code for currency in EXPONENTS for code in (currency.lower(), currency)]


class TierBody(BaseModel):
    """From so much on, so much on top; in minor units."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[StrictInt, Field(ge=1, le=MINOR_MAX)]
    bonus: Annotated[StrictInt, Field(ge=1, le=MINOR_MAX, description="At most as much as the amount.")]


class RuleBody(BaseModel):
    """A rule that follows the one before."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"tiers": [{"amount": 10000, "bonus": 1000}, {"amount": 50000, "bonus": 8000}]},
                {"tiers": [], "valid_from": "2040-02-01T00:00:00Z"},
            ]
        },
    )

    tiers: Annotated[
        list[TierBody],
        Field(max_length=TIERS_MAX, description="With rising amounts.  None: nothing comes on top any more."),
    ]
    currency: Annotated[
        StrictStr,
        Field(min_length=3, max_length=3, description="ISO 4217.", json_schema_extra={"enum": _CURRENCIES}),
    ] = "cny"
    valid_from: Annotated[Moment | None, Field(description="RFC 3339; left out: now.")] = None

    @field_validator("valid_from", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if value is not None and not isinstance(value, str):
            raise PydanticCustomError("time_text", "must be a time like 2026-01-15T00:00:00Z")
        return value


class RulePath(BaseModel):
    """Names one rule."""

    rule_id: PublicId = Field(examples=["br_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class TierAnswer(BaseModel):
    """From so much on, so much on top."""

    amount: int
    bonus: int


class RuleAnswer(BaseModel):
    """A bonus rule."""

    model_config = ConfigDict(json_schema_extra={"examples": [RULE_EXAMPLE]})

    id: str
    object: str = Field(pattern="^bonus_rule$")
    livemode: bool
    currency: str
    valid_from: datetime
    tiers: list[TierAnswer]
    created_at: datetime


class RuleList(BaseModel):
    """The rules, latest first; of each currency the first that has begun holds now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/bonus_rules", "has_more": False, "data": [RULE_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool
    data: list[RuleAnswer]


class WithdrawnAnswer(BaseModel):
    """What remains of a rule that was taken back."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": RULE_EXAMPLE["id"], "object": "bonus_rule", "deleted": True}]}
    )

    id: str
    object: str
    deleted: bool


@bp.post(
    "",
    summary="Add a bonus rule",
    responses={201: RuleAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: RuleBody) -> Response:
    """From its moment on it stands in place of the rule before.  Rules are never changed: add a later one.

    Whoever began a top-up earlier gets what they were promised then.
    """
    tiers = tuple((tier.amount, tier.bonus) for tier in body.tiers)
    new = NewRule(currency_of(body.currency), tiers, body.valid_from)
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        return rule_json(bonus.put_rule(tx, who.merchant_id, new, livemode=who.livemode, by=actor()))

    return done_once(header, work, 201)


@bp.get("", summary="List bonus rules", responses={200: RuleList})
@validated
def list_all() -> Response:
    """The latest by when they begin, newest first."""
    who = caller()
    rows = bonus.list_rules(who.merchant_id, livemode=who.livemode)
    page = {
        "object": "list",
        "url": "/v1/bonus_rules",
        "has_more": len(rows) == RULES_SHOWN,
        "data": [rule_json(row) for row in rows],
    }
    return json_answer(dump(page))


@bp.delete(
    "/<rule_id>",
    summary="Take back a bonus rule",
    responses={200: WithdrawnAnswer, 404: ErrorAnswer, 409: ErrorAnswer},
)
@validated
def withdraw(path: RulePath) -> Response:
    """Only one that has not begun."""
    who = caller()
    gone = bonus.withdraw_rule(who.merchant_id, path.rule_id, livemode=who.livemode, by=actor())
    return json_answer(dump({"id": gone.id, "object": "bonus_rule", "deleted": True}))
